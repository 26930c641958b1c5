"""What a section of a report is made of; the template writes it as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture: its address, which holds it, what it shows in words, and a line below it. A wide one scrolls on a phone."""

    address: str
    alt: str
    caption: str = ""
    wide: bool = False


class Cell(NamedTuple):
    """A cell of a table, and how dark its ground is, from 0 to 1."""

    text: str
    share: float = 0.0


class Grid(NamedTuple):
    """A table: the first cell of a row names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


ADDS = "ffrecur test with this version adds it."


class Section(NamedTuple):
    """A section: how to read it, notes on what is damaged, what it shows, and a sentence on what an older run has not."""

    title: str
    how: str
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Grid] = ()
    text: str = ""
    missing: str = ""


def grid(header: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> Grid:
    """Return a table of plain text."""
    return Grid(header, [[Cell(str(cell)) for cell in row] for row in rows], caption)


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction in percent, or a dash for none.

    >>> percent(0.046).replace("\N{NO-BREAK SPACE}", " "), percent(None)
    ('4.60 %', '-')
    """
    return "-" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"
