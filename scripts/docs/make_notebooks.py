"""Execute the notebooks of docs/notebooks and write a page of the site for each, with its outputs: `make notebooks`.

A notebook is a Python file in jupytext's percent format. It is converted into build/notebooks, executed there by nbmake, which
stops at the first error, and becomes docs/notebooks/NAME.md with pictures in docs/notebooks/images. Everything computes in one
thread, so that a second run writes the same. A cell that draws says what is seen in its metadata: `# %% alt="..."`.

    python scripts/docs/make_notebooks.py [NAME ...]
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
BUILD = ROOT / "build" / "notebooks"
SECONDS_A_CELL = 900  # on a busy machine; a whole notebook computes for less than two minutes
COLOURS = 128  # of a picture: plots have few, and their files become half as large
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class NotebookError(Exception):
    """A notebook that cannot become a page."""


# --- execution --------------------------------------------------------------------------------------------------------


def computed() -> float:
    """Return the seconds that a core has computed for processes of this one that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(source: Path, build: Path) -> tuple[dict[str, Any], float]:
    """Return the executed notebook and how many seconds a core computed; raises `NotebookError` where a cell fails."""
    build.mkdir(parents=True, exist_ok=True)
    made = build / f"{source.stem}.ipynb"
    convert = [sys.executable, "-m", "jupytext", "--quiet", "--to", "ipynb", "--output", str(made), str(source)]
    subprocess.run(convert, check=True)
    words = f"--nbmake --overwrite --nbmake-kernel=python3 --nbmake-timeout={SECONDS_A_CELL} -q -p no:cacheprovider"
    begun = computed()
    run = [sys.executable, "-m", "pytest", *words.split(), "-o", "addopts=", str(made)]
    done = subprocess.run(run, env={**os.environ, **ONE_THREAD}, check=False)
    if done.returncode:
        raise NotebookError(f"{source.name} fails")
    return json.loads(made.read_text()), computed() - begun


# --- the page ---------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Return how long something took, in whole minutes, so that a second run says the same.

    >>> duration(50), duration(70)
    ('less than a minute', 'less than 2 minutes')
    """
    minutes = int(seconds // 60) + 1
    return "less than a minute" if minutes == 1 else f"less than {minutes} minutes"


def made_from(name: str, seconds: float) -> str:
    """Return the lines that say where a page comes from."""
    return (
        f"*`make notebooks` made this page from `docs/notebooks/{name}.py`, with {duration(seconds)} of computing on one core.\n"
        "[How to run it yourself](index.md#run-them-yourself).*"
    )


def fenced(text: str, language: str) -> str:
    """Return a block of code or of output."""
    return f"```{language}\n{text.rstrip()}\n```"


def text_of(lines: str | Sequence[str]) -> str:
    """Return what a notebook keeps as a text or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def outputs(cell: dict[str, Any]) -> Iterator[str | bytes]:
    """Yield the outputs of a cell, texts that follow one another as one, and pictures as PNG.

    Raises `NotebookError` for an error and for a warning: a page shows neither.
    """
    printed = ""
    for output in cell["outputs"]:
        kind, data = output["output_type"], output.get("data", {})
        said = text_of(output.get("text", ""))
        if kind == "error" or (output.get("name") == "stderr" and "warning" in said.lower()):
            raise NotebookError(said or output["evalue"])
        if "image/png" in data:
            if printed:
                yield printed
            printed = ""
            yield base64.b64decode(text_of(data["image/png"]))
        else:
            printed += (said or text_of(data["text/plain"])).rstrip("\n") + "\n"
    if printed:
        yield printed


def small(picture: bytes) -> bytes:
    """Return a PNG with few colours and without what its program wrote into it."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    reduced = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    kept = io.BytesIO()
    reduced.save(kept, "PNG", optimize=True)
    return kept.getvalue()


def page_of(notebook: dict[str, Any], name: str, seconds: float) -> tuple[str, dict[str, bytes]]:
    """Return the page of an executed notebook, and its pictures by the names of their files.

    Raises `NotebookError` for what `outputs` refuses, and for a picture that no text describes.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = text_of(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            if len(parts) == 1:
                parts.append(made_from(name, seconds))
            continue
        parts.append(fenced(source, "python"))
        for output in outputs(cell):
            if isinstance(output, str):
                parts.append(fenced(output, "text {.output}"))
                continue
            if "alt" not in cell["metadata"]:
                raise NotebookError(f"a picture needs a text for those who cannot see it: # %% alt=... above\n{source}")
            file = f"{name}_{len(pictures) + 1}.png"
            pictures[file] = small(output)
            parts.append(f"![{cell['metadata']['alt']}](images/{file})")
    return "\n\n".join(parts) + "\n", pictures


def write(folder: Path, name: str, page: str, pictures: dict[str, bytes]) -> None:
    """Write a page and its pictures, and remove those of an earlier page."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for old in images.glob(f"{name}_*.png"):
        old.unlink()
    for file, picture in pictures.items():
        (images / file).write_bytes(picture)
    (folder / f"{name}.md").write_text(page)


def make(source: Path, build: Path = BUILD) -> str:
    """Execute a notebook and write its page next to it; return a line that says so."""
    notebook, seconds = execute(source, build)
    try:
        page, pictures = page_of(notebook, source.stem, seconds)
    except NotebookError as error:
        raise NotebookError(f"{source.name}: {error}") from error
    write(source.parent, source.stem, page, pictures)
    size = sum(map(len, pictures.values())) / 1000
    return f"{source.stem}.md: {seconds:.0f} s, {len(pictures)} pictures of {size:.0f} kB"


def main() -> int:
    """Make the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(file.stem for file in NOTEBOOKS.glob("*.py"))
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(names)}; all by default")
    chosen = parser.parse_args().names or names
    if wrong := sorted(set(chosen) - set(names)):
        parser.error(f"NAME is {wrong[0]}, but must be one of {', '.join(names)}")
    try:
        for name in chosen:
            print(make(NOTEBOOKS / f"{name}.py"), flush=True)
    except NotebookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
