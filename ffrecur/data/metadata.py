"""Tables that name image files: metadata.csv, .jsonl and .parquet, with a column `file_name`."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffrecur.data.clips import OF_VIDEO
from ffrecur.errors import UserError, one_line

FILE = "file_name"
ENDINGS = (".csv", ".jsonl", ".parquet")
Row = dict[str, Any]


def is_metadata(file: Path) -> bool:
    """Whether a file has the name of such a table."""
    return file.stem.casefold() == "metadata" and file.suffix.lower() in ENDINGS


def read_rows(source: str, folder: Path, table: Path) -> list[Row] | None:
    """The same, but None for a table without a column `file_name`."""
    rows = read_table(source, folder, table)
    return rows if rows and all(isinstance(row, dict) and isinstance(row.get(FILE), str) for row in rows) else None


def read_table(source: str, folder: Path, table: Path) -> list[Row]:
    """The rows of a table (its path relative to `folder`).

    The values of a CSV file are text. Raises `UserError`, with the line, for a file that cannot be read.
    """
    try:
        if table.suffix.lower() == ".parquet":
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(folder / table).to_pylist()
        elif table.suffix.lower() == ".csv":
            rows = read_csv(folder / table)
        else:
            rows = read_json_lines(folder / table)
    except Exception as error:  # csv.Error, json's, pyarrow's, UnicodeDecodeError, OSError
        raise UserError(
            f"data.source is {source!r}, whose file {table.as_posix()} cannot be read: {one_line(error)}"
        ) from error
    return rows


def read_csv(file: Path) -> list[Row]:
    """Rows of text, one for each line."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has not as many values as the first line has names")
            rows.append(row)
    return rows


def read_json_lines(file: Path) -> list[Row]:
    """An object for each line."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON ({error})") from error
    return rows


def columns_of(source: str, folder: Path, table: Path) -> str:
    """The names of the columns of a table, for a message."""
    rows = read_table(source, folder, table)
    names = list(rows[0]) if rows and isinstance(rows[0], dict) else []
    if not names:
        return "has no rows"
    held = f"has the column {names[0]!r}" if len(names) == 1 else f"has the columns {', '.join(map(repr, names))}"
    return held + (" (commas must separate the values)" if len(names) == 1 and re.search("[;\t|]", names[0]) else "")


def rows_by_file(source: str, folder: Path, tables: Sequence[Path], video: bool = False) -> dict[Path, list[Row]]:
    """The rows of each image file (relative to `folder`) that the tables name, which lie beside or above their images; the files
    in the order in which they come first. Of a `video` they name the folders of clips.

    Raises `UserError` for a file that is not there.
    """
    found: dict[Path, list[Row]] = {}
    for table in tables:
        for row in read_rows(source, folder, table) or []:
            file = Path(os.path.normpath(table.parent / row[FILE].replace("\\", "/")))
            place = folder / file
            if not (place.is_dir() if video else place.is_file()):
                kind, hint = ("folder", "") if video else ("file", OF_VIDEO if place.is_dir() else "")
                raise UserError(
                    f"data.source is {source!r}, whose {table.as_posix()} names the {kind} {row[FILE]}, which is not there{hint}"
                )
            found.setdefault(file, []).append({name: value for name, value in row.items() if name != FILE})
    return found


def labels_by_file(source: str, rows: dict[Path, list[Row]], column: str) -> dict[Path, Any]:
    """The label of each file. Raises `UserError` where rows of one file contradict one another."""
    for file, own in rows.items():
        for row in own:
            if row.get(column) != own[0].get(column):
                raise UserError(
                    f"data.source is {source!r}, whose metadata has two labels (column {column!r}) for {file.as_posix()}: "
                    f"{own[0].get(column)!r} and {row.get(column)!r}"
                )
    return {file: own[0].get(column) for file, own in rows.items()}
