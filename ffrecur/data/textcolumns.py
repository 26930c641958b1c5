"""The text of a data set that `datasets` has read: which splits are used, and which column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from ffrecur.bars import bar
from ffrecur.data.huggingface import Splits
from ffrecur.data.splits import WORDS
from ffrecur.errors import UserError

STRINGS = ("string", "large_string")


class Rows(NamedTuple):
    """The rows of the splits that are used: each with its number, and None where there is no text."""

    of_split: dict[str, Iterator[tuple[int, str | None]]]
    column: str
    unused: list[str]  # names of other splits


def rows_of(source: str, splits: Splits, text_column: str | None) -> Rows:
    """Return the rows of the splits named train, validation or test, or as people call them (`WORDS`).

    A single split of another name trains. Raises `UserError` where none is used, for two of one kind, and for a text column
    that is missing or not clear.
    """
    if len(splits) == 1 and next(iter(splits)).lower() not in WORDS:
        splits = {"train": next(iter(splits.values()))}
    name_of: dict[str, str] = {}
    for name in splits:
        kind = WORDS.get(name.lower())
        if kind in name_of:
            raise UserError(f"data.source is {source!r}, which has two {kind} splits, {name_of[kind]} and {name}")
        if kind is not None:
            name_of[kind] = name
    if not name_of:
        raise UserError(
            f"data.source is {source!r}, which has the splits {', '.join(splits)}, but must have one named train"
        )
    used = {kind: splits[name_of[kind]] for kind in ("train", "validation", "test") if kind in name_of}
    column = choose_text_column(source, next(iter(used.values())).features, text_column)
    for kind, split in used.items():
        if column not in split.column_names or not is_text(split.features[column]):
            columns = with_kinds(split.features)
            raise UserError(
                f"data.source is {source!r}, whose {kind} split has no column {column!r} of text; its columns are {columns}"
            )
    numbered: dict[str, Iterator[tuple[int, str | None]]] = {
        kind: iter(bar(enumerate(split[column], start=1), f"reading {kind} rows", "rows", len(split)))
        for kind, split in used.items()
    }
    return Rows(numbered, column, [name for name in splits if name not in name_of.values()])


def is_text(feature: object) -> bool:
    """Whether a column's type is text."""
    return getattr(feature, "dtype", "") in STRINGS


def with_kinds(features: Mapping[str, object]) -> str:
    """Return the columns' names, with the types of those that hold no text."""

    def kind(feature: object) -> str:
        return str(getattr(feature, "dtype", None) or type(feature).__name__)

    return ", ".join(name if is_text(own) else f"{name} ({kind(own)})" for name, own in features.items())


def choose_text_column(source: str, features: Mapping[str, object], chosen: str | None) -> str:
    """Return the column that `data.text_column` names, or the one named text in any case, or the only one of strings."""
    strings = [name for name, feature in features.items() if is_text(feature)]
    if chosen is not None:
        if chosen in strings:
            return chosen
        near = [name for name in strings if name.lower() == chosen.lower()] or get_close_matches(chosen, strings, 1)
        raise UserError(
            f"data.text_column is {chosen!r}, but must be a column of text: {', '.join(strings) or 'none'}"
            + (f"; did you mean {near[0]!r}?" if near else f"; the columns are {with_kinds(features)}")
        )
    named = [name for name in strings if name == "text"] or [name for name in strings if name.lower() == "text"]
    if len(named) == 1:
        return named[0]
    if len(strings) != 1:
        found = f"several text columns, {', '.join(strings)}: set data.text_column" if strings else "no text column"
        raise UserError(f"data.source is {source!r}, which has {found}; its columns are {with_kinds(features)}")
    if len(features) == 1 and re.search("[;\t|]", strings[0]):
        raise UserError(
            f"data.source is {source!r}, whose only column is {strings[0]!r}: columns must be separated by commas, or by tabs "
            "in a file that ends in .tsv"
        )
    return strings[0]
