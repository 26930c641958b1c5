"""Build the documentation site into site/, and check it: `make docs`.

Zensical finds dead pages, anchors and pictures. Here also whatever mkdocstrings complains of is an error, and so is anything
that a reader's browser would fetch from another place: scripts, styles, fonts and pictures are all in the site. The live pages
of the nets that come with ffrecur, to which `docs/live.md` links, are made and put into site/live/; other nets can take their
places, and another Python can make them: make_site.py --digits RUN --fables RUN --python PYTHON
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COMPLAINTS = ("griffe:", "mkdocstrings:", "Warning:")
FETCHED = {"src", "srcset", "data", "poster"}  # attributes whose address a browser fetches at once
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"}
FETCHING_CLASSES = {"mermaid", "glightbox", "arithmatex"}  # for these the theme's script would fetch another
LIVE = {"digits": "museum/digits", "fables": "museum/fables"}  # live pages, and the nets in them
LARGEST = 4_000_000  # bytes of a live page
ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)


class Fetched(HTMLParser):
    """Collects what a browser fetches from elsewhere to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Look at the addresses of a tag; links that a reader follows are none of them."""
        self.in_style = tag == "style"
        given = {name: value or "" for name, value in attributes}
        addresses = [value for name, value in given.items() if name in FETCHED]
        if tag == "link" and FETCHED_LINKS & set(given.get("rel", "").split()):
            addresses.append(given.get("href", ""))
        addresses += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style", ""))
        self.found += [address for address in addresses if ELSEWHERE.match(address)]
        self.found += [f"class {name}" for name in given.get("class", "").split() if name in FETCHING_CLASSES]

    def handle_data(self, data: str) -> None:
        """Look at the addresses of a style sheet within the page."""
        if self.in_style:
            self.found += fetched_by_style(data)


def fetched_by_page(text: str) -> list[str]:
    """Return what the page with this HTML fetches from elsewhere."""
    reader = Fetched()
    reader.feed(text)
    return reader.found


def fetched_by_style(text: str) -> list[str]:
    """Return what a style sheet fetches from elsewhere."""
    addresses = re.findall(r"(?:url\(|@import\s)\s*['\"]?([^'\")\s;]+)", text)
    return [address for address in addresses if ELSEWHERE.match(address)]


def fetched(site: Path) -> Iterator[str]:
    """Yield a line for each thing that the site fetches from elsewhere."""
    for suffix, reads in ((".html", fetched_by_page), (".css", fetched_by_style)):
        for file in sorted(site.rglob(f"*{suffix}")):
            yield from (f"{file.relative_to(site)}: {what}" for what in reads(file.read_text()))


def complaints(output: str) -> list[str]:
    r"""Return the lines of the builder's output that are complaints.

    >>> complaints("Build started\ngriffe: a.py:3: no such parameter\n")
    ['griffe: a.py:3: no such parameter']
    """
    return [line for line in COLOURS.sub("", output).splitlines() if line.startswith(COMPLAINTS)]


def make_live_pages(nets: Mapping[str, str], python: str) -> Iterator[str]:
    """Make the live pages in site/live/, one a net; yield a line for each that cannot be made or is too large."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, net in nets.items():
        page = SITE / "live" / f"{name}.html"
        words = ["export", "--format", "page", "--checkpoint", net, "--output", str(page)]
        command = [python, "-m", "ffrecur.main", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            yield f"live/{name}.html: {done.stderr.strip()}"
        elif page.stat().st_size > LARGEST:
            yield f"live/{name}.html: {page.stat().st_size:,} bytes, but at most {LARGEST:,} are allowed"


BUILD = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")


def main(command: Sequence[str] = BUILD, nets: Mapping[str, str] | None = None, python: str = sys.executable) -> int:
    """Build and check, with the live pages of these nets; return the exit code."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wrong = complaints(done.stdout)
    if done.returncode or wrong:
        print(COLOURS.sub("", done.stdout).partition("Traceback")[0])
        print(f"error: the site has {len(wrong)} warnings")
        return 1
    outside = [*make_live_pages(nets or {}, python), *fetched(SITE)]
    print("\n".join(outside) or f"{len(list(SITE.rglob('*.html')))} pages in {SITE.name}/")
    return 1 if outside else 0


def typed() -> argparse.Namespace:
    """Return what was typed: the nets of the live pages, and the Python that makes them."""
    parser = argparse.ArgumentParser(description="Build the documentation site into site/, and check it.")
    for name, net in LIVE.items():
        parser.add_argument(f"--{name}", default=net, help=f"net of the live page {name}.html (default: %(default)s)")
    parser.add_argument(
        "--python", default=sys.executable, help="Python with PyTorch that makes them (default: this one)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    options = typed()
    sys.exit(main(nets={name: getattr(options, name) for name in LIVE}, python=options.python))
