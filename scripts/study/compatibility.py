"""Which parts of Lightning work with the program: each is tried on a small image and a small text task.

It prints the page docs/compatibility.md, a table in Markdown: for each callback, logger, profiler, precision, strategy of one
machine and flag of the trainer what was checked, or the message that refuses it. A traceback ends it with exit code 1.

    python scripts/study/compatibility.py > docs/compatibility.md
    python scripts/study/compatibility.py callbacks EarlyStopping
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path

import lightning
import numpy as np
import torch
from compatibility_checks import BOTH, IMAGES, TEXT, program
from compatibility_parts import PARTS, Part

from ffrecur.lit.run.quiet import silence_all

HEAD = """# What works with Lightning

Each part of Lightning was tried on a small image task and a small text task, on a machine without a GPU.
`python scripts/study/compatibility.py` prints this page (lightning {lightning}, torch {torch}).

A row says what was checked, or has the message that refuses the part; a long message is cut.
*Trained, tested, continued* means: two epochs of `fit`, `test`, and `fit --ckpt_path last` to a ninth epoch.
Give a callback as `--trainer.callbacks+=Name`, and its settings as `--trainer.callbacks.setting=value`.

"""
LONGEST = 160  # characters of a cell
LONGER = ["--trainer.max_epochs=9", "--trainer.max_steps=-1"]


def outcome(part: Part, task: list[str]) -> str:
    """Train, go on and test in the current folder; return what was checked, or the message that refused."""
    root = ["--trainer.default_root_dir=elsewhere"] if "elsewhere" in str(part.options) else []
    code, out, err = program(["fit", *task, *BOTH, *part.options], part.processes)
    told = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
    if code == 2 and len(told) == 1 and "Traceback" not in err:
        return f"refused: {told[0]}"
    assert code == 0, err
    runs = list(Path("elsewhere" if root else "runs").glob("*/last.ckpt"))
    if not runs:
        return "trained; nothing is kept, as asked"
    (run,) = (path.parent for path in runs)
    checked = [] if part.check is None else [part.check(run, out + err)]
    code, _, err = program(["test", *root], part.processes)
    assert (code, "Traceback" in err) == (0, False), (code, err)
    assert list(run.glob("test_results.json"))
    code, _, err = program(["fit", "--ckpt_path=last", *LONGER, *root], part.processes)
    assert code in (0, 2), (code, err)
    assert "Traceback" not in err, err
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    going_on = "continued" if code == 0 else f"not continued: {told[0].removeprefix('error: ')}"
    return "; ".join(["trained", "tested", going_on, *checked])


def try_part(part: Part, task: list[str]) -> str:
    """Return the outcome of a part in a new folder with a little data; a traceback where that is it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        make_data()
        try:
            return outcome(part, task)
        except BaseException:
            traceback.print_exc()
            return "TRACEBACK"
        finally:
            os.chdir(before)


def make_data() -> None:
    """Write 60 training and 20 test images of 6x5 in three classes, and six short documents."""
    random = np.random.default_rng(0)
    Path("digits").mkdir()
    for name, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = random.integers(0, 60, (count, 6, 5)).astype(np.uint8)
        images[np.arange(count), 0, labels] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            Path(f"digits/{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    animals = ("fox", "hen", "cow", "dog", "cat", "owl")
    tales = "\n\n".join(
        f"The {one} sat on the {other}, and slept." for one, other in zip(animals, animals[::-1], strict=True)
    )
    Path("tales.txt").write_text(tales, encoding="utf-8")


def table(parts: list[Part]) -> str:
    """Try the parts; return the table, with one row for both tasks where they agree."""
    lines = []
    for group in dict.fromkeys(part.group for part in parts):
        lines += ["", f"## {group.capitalize()}", "", "| | images | text |", "|---|---|---|"]
        for part in parts:
            if part.group == group:
                found = [shown(try_part(part, task)) for task in (IMAGES, TEXT)]
                lines.append(f"| `{part.name}` | {found[0]} | {found[1] if found[1] != found[0] else 'the same'} |")
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines).strip()


def shown(text: str) -> str:
    """Return text for a cell of a table, without what is a function of the machine or the time.

    Long text ends with its last whole sentence, or with "..." where its first sentence is long.
    """
    text = re.sub(r"0x[0-9a-f]+", "0x...", text.replace("|", "\\|"))
    if len(text) <= LONGEST:
        return text
    sentences, _, _ = text[: LONGEST + 1].rpartition(". ")
    return f"{sentences}." if sentences else f"{text[: LONGEST - 3]}..."


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="groups and names that are tried; all by default")
    only, known = (
        parser.parse_args().only,
        {part.group for part in PARTS} | {part.name.partition("=")[0] for part in PARTS},
    )
    for name in only:
        if name not in known:
            parser.error(f"{name!r} is no group and no part; there are {', '.join(sorted(known))}")
    silence_all()
    torch.set_num_threads(1)
    found = table([part for part in PARTS if not only or part.group in only or part.name.partition("=")[0] in only])
    print(HEAD.format(lightning=lightning.__version__, torch=torch.__version__.partition("+")[0]) + found)
    sys.exit("TRACEBACK" in found)


if __name__ == "__main__":
    main()
