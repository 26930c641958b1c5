"""Text in tables, which `datasets` reads: the text column of each split, and which file and line is wrong."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from ffrecur.data.huggingface import OF_CSV, Splits, read_tables
from ffrecur.data.textfiles import blocks, encoding_of, read_text
from ffrecur.data.textnames import ending
from ffrecur.errors import UserError, one_line

WRITTEN_AS_TEXT = ("csv", "json")  # kinds of table
NO_ROWS = "corresponds to no data"  # what `datasets` says of a table without rows


def load_tables(
    source: str, builder: str, files_of: Mapping[str, Sequence[Path]], encoding: str
) -> tuple[Splits, dict[str, list[str]]]:
    """Return the splits of tables, and the names of those without rows; raises `UserError` with the file that is wrong."""
    splits: Splits = {}
    empty: list[str] = []
    for name, files in files_of.items():
        parts = []
        empty += [file.name for file in files if file.stat().st_size == 0]
        for group, options in by_options(source, builder, [file for file in files if file.stat().st_size], encoding):
            try:
                parts.append(read_tables(builder, {"train": group}, **options)["train"])
            except Exception:  # one of some twenty kinds; which file it was is found by reading each on its own
                for file in group:
                    alone = load_one(source, builder, file, options, encoding)
                    parts += [] if alone is None else [alone]
                    empty += [file.name] if alone is None else []
        if parts:
            splits[name] = joined(source, name, parts)
    return splits, {"without rows": empty}


def by_options(
    source: str, builder: str, files: Sequence[Path], encoding: str
) -> Iterator[tuple[list[Path], dict[str, Any]]]:
    """Yield files that are read with the same options, one after the other, and these."""
    group: list[Path] = []
    options: dict[str, Any] = {}
    for file in files:
        own: dict[str, Any] = {}
        if builder in WRITTEN_AS_TEXT:
            head = beginning(file)
            if b"\0" in head:  # no text, which must not be unpacked first, or in an encoding such as UTF-16
                read_text(source, file, file.name, encoding)
            own = {"encoding": encoding_of(head, encoding)}
        if builder == "csv":
            own |= {"sep": "\t" if ending(file.name) == ".tsv" else ",", **OF_CSV}
        if group and own != options:
            yield group, options
            group = []
        group, options = [*group, file], own
    if group:
        yield group, options


def beginning(file: Path) -> bytes:
    """Return the first part of a file, unpacked; nothing of one that cannot be read."""
    try:
        return next(blocks(file), b"")
    except (OSError, EOFError, zlib.error):
        return b""


def load_one(
    source: str, builder: str, file: Path, options: Mapping[str, Any], encoding: str
) -> datasets.Dataset | None:
    """Read one table; None if it has no rows. Raises `UserError` that says what is wrong, with the line where it is known."""
    text = read_text(source, file, file.name, encoding) if builder in WRITTEN_AS_TEXT else None
    if text is not None and not text.strip():
        return None
    try:
        return read_tables(builder, {"train": [file]}, **options)["train"]
    except Exception as error:
        cause = error.__cause__ or error
        if NO_ROWS in str(cause):
            return None
        what = f"data.source is {source!r}, whose file {file.name} cannot be read as a table"
        reason = (bad_json_line(text) if builder == "json" and text else None) or in_lines(one_line(cause))
        raise UserError(f"{what}: {reason}") from error


def bad_json_line(text: str) -> str | None:
    """Return what is wrong with the first line that is no JSON, or with a text that is one list of JSON."""
    lines = enumerate(text.split("\n"), start=1)
    one_value = text.lstrip().startswith("[")
    for number, line in [(0, text)] if one_value else lines:
        try:
            json.loads(line or "0")
        except json.JSONDecodeError as error:
            if line.strip():
                return (
                    f"line {error.lineno if one_value else number} is no JSON, {error.msg} at character {error.colno}"
                )
        except (RecursionError, ValueError) as error:
            return f"line {number} is no JSON that can be read, {one_line(error)}"
    return None


def in_lines(message: str) -> str:
    """Return a message of pandas with the number of the line where it counts rows from 0.

    >>> in_lines("Error tokenizing data. C error: EOF inside string starting at row 1")
    'a quote that is opened in line 2 is not closed'
    """
    quote = re.search(r"EOF inside string starting at row (\d+)", message)
    if quote:
        return f"a quote that is opened in line {int(quote[1]) + 1} is not closed"
    return message.removeprefix("Error tokenizing data. C error: ")


def joined(source: str, name: str, parts: Sequence[datasets.Dataset]) -> datasets.Dataset:
    """Return tables one after the other; raises `UserError` for those whose columns differ."""
    try:
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(list(parts))
    except Exception as error:
        raise UserError(
            f"data.source is {source!r}, whose {name} files have different columns: {one_line(error)}"
        ) from error


def header_like_data(splits: Splits) -> str | None:
    """Return a clause about the first line of CSV or TSV, if a name of a column in it looks like data; else None."""
    for split, table in splits.items():
        for name in table.column_names:
            if looks_like_data(name):
                return (
                    f"the first line of the {split} table was taken as the names of its columns, though {name[:40]!r} looks like "
                    "data: if it is, put a line of names above it, such as text"
                )
    return None


def looks_like_data(name: str) -> bool:
    """Whether a name of a column is a number, has 40 characters or more, or is several words with the end of a sentence.

    >>> [looks_like_data(name) for name in ("1", "-2.5", "A fox ran off.", "first text", "Nr.", "Unnamed: 0")]
    [True, True, True, False, False, False]
    """
    sentence = re.search(r"""\s\S+[.!?…。]["'\u201d\u2019)]*$""", name.strip())
    return len(name) >= 40 or sentence is not None or re.fullmatch(r"\s*[-+]?\d+([.,]\d+)*\s*", name) is not None
