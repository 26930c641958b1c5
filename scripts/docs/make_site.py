"""Build the documentation site into site/, and check it: `make docs`.

Zensical finds dead pages, anchors and pictures. Here also whatever mkdocstrings complains of is an error, and so is anything
that a reader's browser would fetch from another place: scripts, styles, fonts and pictures are all in the site.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COMPLAINTS = ("griffe:", "mkdocstrings:", "Warning:")
FETCHED = {"src", "srcset", "data", "poster"}  # attributes whose address a browser fetches at once
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"}
FETCHING_CLASSES = {"mermaid", "glightbox", "arithmatex"}  # for these the theme's script would fetch another
ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)


class Fetched(HTMLParser):
    """Collects what a browser fetches from elsewhere to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Look at the addresses of a tag; links that a reader follows are none of them."""
        given = {name: value or "" for name, value in attributes}
        addresses = [value for name, value in given.items() if name in FETCHED]
        if tag == "link" and FETCHED_LINKS & set(given.get("rel", "").split()):
            addresses.append(given.get("href", ""))
        addresses += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style", ""))
        self.found += [address for address in addresses if ELSEWHERE.match(address)]
        self.found += [f"class {name}" for name in given.get("class", "").split() if name in FETCHING_CLASSES]


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


def main(command: Sequence[str] = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")) -> int:
    """Build and check; return the exit code."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wrong = complaints(done.stdout)
    if done.returncode or wrong:
        print(COLOURS.sub("", done.stdout).partition("Traceback")[0])
        print(f"error: the site has {len(wrong)} warnings")
        return 1
    outside = list(fetched(SITE))
    print("\n".join(outside) or f"{len(list(SITE.rglob('*.html')))} pages in {SITE.name}/")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
