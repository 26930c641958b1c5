"""The pages as tests read them: their blocks, their prose, and the targets that their headings make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "docs").is_dir())
DOCS = ROOT / "docs"
OF_SITE = sorted(DOCS.rglob("*.md"))
READMES = [ROOT / "README.md", *sorted((ROOT / "tasks").glob("*/README.md"))]
PAGES = [*READMES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *OF_SITE]
LAB = DOCS / "extending.md"  # its blocks make up one file, and `test_pages.py` runs them

FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^ *\2`* *$", re.MULTILINE | re.DOTALL)
DOCUMENTED = re.compile(r"^::: (\S+)$", re.MULTILINE)  # names whose docstring mkdocstrings puts there
FOREIGN = re.compile(  # words that readers stumbled over
    r"\b(amid|anew|beside|but for|told|whatever|in place of|leave it alone|lays out|in vain|at hand|full disk is one sentence)\b",
    re.IGNORECASE,
)


class Block(NamedTuple):
    """A block of code on a page."""

    page: Path
    info: str  # such as "python notest"
    text: str
    before: str  # the line of text before it, empty lines left out
    section: str  # what stands between the last heading and the block
    line: int

    @property
    def language(self) -> str:
        """Return the first word of the info string."""
        return self.info.partition(" ")[0]

    @property
    def tested(self) -> bool:
        """Return whether the page lets tests run it."""
        return "notest" not in self.info.split()

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text, found = page.read_text(), []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip()
        line = text.count("\n", 0, match.start()) + 1
        info = re.sub(r"[{}.]", "", match[3]).strip()  # `{.notest}` is the site's own way of writing it
        before, section = above.rpartition("\n")[2], re.split(r"^#+ ", above, flags=re.MULTILINE)[-1]
        found.append(Block(page, info, match[4], before, section, line))
    return found


def lines(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is no code and no option of mkdocstrings."""
    text = FENCE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text())
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith((":::", "    options:")):
            yield number, line


def is_table(line: str) -> bool:
    """Return whether a line is a row of a table."""
    return line.lstrip().startswith("|")


def shown(text: str) -> str:
    """Return a line as a reader sees it: of links the text alone.

    >>> shown("see [the log](log.md#day), `code` and ![a picture](images/a.png)")
    'see the log, `code` and a picture'
    """
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)


def without_code(text: str) -> str:
    """Return a line without what stands in code font, with a word for each piece."""
    return re.sub(r"(`+).+?\1", "Code", text)


def links(page: Path) -> list[str]:
    """Return where the links and pictures of a page lead."""
    text = "\n".join(without_code(line) for _, line in lines(page))
    return re.findall(r"\]\(<?([^)>\s]+)[^)]*\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)


def anchors(page: Path) -> set[str]:
    """Return the targets on a page: of its headings, on the site or as a file of the repository, and of its docstrings."""
    headings = [line.lstrip("# ") for _, line in lines(page) if re.match(r"#+ ", line)]
    kept = [re.sub(r"[^\w\- ]", "", shown(heading).lower()).strip() for heading in headings]
    if DOCS in page.parents:
        slugs = [re.sub(r"[\s\-]+", "-", heading) for heading in kept]
    else:
        slugs = [heading.replace(" ", "-") for heading in kept]
    return {*slugs, *DOCUMENTED.findall(page.read_text())}
