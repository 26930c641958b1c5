"""What the tables of a run must be like: CSV rows to numbers, or the reason why they are none."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Rows = Sequence[Sequence[str]]


class TooOddError(ValueError):
    """Why a file cannot be read, as the end of a sentence that begins with its name."""


class Confusion(NamedTuple):
    """How many images of each class, a row, were taken for which, a column."""

    names: list[str]
    counts: list[list[int]]


def metrics_rows(text: str) -> tuple[list[dict[str, float]], int]:
    r"""Return the rows of metrics.csv, with the figures that each has, and how many lines could not be read.

    A last line without its end was cut.

    >>> metrics_rows("epoch,step,val/error\n0,9,0.5\n1,19,\n2,29,0.2")
    ([{'epoch': 0.0, 'step': 9.0, 'val/error': 0.5}, {'epoch': 1.0, 'step': 19.0}], 1)
    """
    whole, end, cut = text.rpartition("\n")
    reader = csv.reader(io.StringIO(whole + end, newline=""))
    rows, damaged = [], int(bool(cut))
    try:
        header = next(reader, [])
        if not {"epoch", "step"} <= set(header):
            raise TooOddError("has not the columns epoch and step")
        for cells in reader:
            try:
                pairs = zip(header, cells, strict=True)
                row = {name: float(cell) for name, cell in pairs if cell}
                if "epoch" not in row and row.get("step", -1) >= 0:
                    continue  # of another callback: none of an epoch's figures
                if not (0 <= row["epoch"] < 2**53 and 0 <= row["step"] < 2**53):
                    raise ValueError
                rows.append({name: value for name, value in row.items() if math.isfinite(value)})
            except (ValueError, KeyError):  # too few cells, what is no number, no epoch
                damaged += 1
    except csv.Error:  # a line that no table can have ends what can be read
        damaged += 1
    if not rows:
        raise TooOddError("has no line that can be read")
    return rows, damaged


def number(cell: str) -> float:
    """Return the number in a cell; raises `ValueError` for one that is not finite."""
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError
    return value


def confusion(rows: Rows) -> Confusion:
    """Return the confusion of N classes, from a header and N rows."""
    header, *body = rows
    names = list(header[1:])
    if header[0] != "true" or not names or [row[0] for row in body] != names:
        raise TooOddError(f"has not a row and a column for each class ({len(body)} rows, {len(names)} columns)")
    try:
        counts = [[int(cell) for cell in row[1:]] for row in body]
    except ValueError as error:
        raise TooOddError("has cells that are no whole numbers") from error
    if any(len(row) != len(names) or min(row) < 0 for row in counts):
        raise TooOddError("has lines that are cut")
    return Confusion(names, counts)


def table_of(columns: Sequence[str], kinds: Sequence[Callable[[str], Any]]) -> Callable[[Rows], list[list[Any]]]:
    """Return a reader of tables with these columns, and what makes a value of each cell."""

    def parse(rows: Rows) -> list[list[Any]]:
        header, *body = rows
        if list(header) != list(columns):
            raise TooOddError(f"has other columns than {', '.join(columns)}")
        try:
            return [[kind(cell) for kind, cell in zip(kinds, row, strict=True)] for row in body]
        except ValueError as error:
            raise TooOddError("has lines that are cut, or cells that are no numbers") from error

    return parse


def number_or_none(cell: str) -> float | None:
    """Return the number in a cell, None for an empty one."""
    return number(cell) if cell else None


def goodness(rows: Rows) -> list[list[Any]]:
    """Return iteration, layer, and mean goodness of positive and negative data, for every layer of every iteration."""
    columns = ("iteration", "layer", "goodness_positive", "goodness_negative")
    found = table_of(columns, (int, int, number_or_none_if_nan, number_or_none_if_nan))(rows)
    places = [(iteration, layer) for iteration, layer, *_ in found]
    iterations, layers = max((place[0] for place in places), default=0), max((place[1] for place in places), default=0)
    limit = 10**5  # before so many places are made up
    odd = not 0 < len(found) <= limit or iterations * layers != len(found)
    if odd or places != [(t, layer) for t in range(1, iterations + 1) for layer in range(1, layers + 1)]:
        raise TooOddError("has not a line for each layer of each iteration")
    return found


def number_or_none_if_nan(cell: str) -> float | None:
    """Return the number in a cell, None where it is not finite: no image of that kind was seen."""
    value = float(cell)
    return value if math.isfinite(value) else None


TABLES: dict[str, Callable[[Rows], Any]] = {
    "confusion": confusion,
    "goodness": goodness,
    "calibration": table_of(
        ("from", "to", "images", "confidence", "accuracy"), (number, number, int, number_or_none, number_or_none)
    ),
    "mistakes": table_of(("true", "predicted", "confidence"), (str, str, number)),
}
