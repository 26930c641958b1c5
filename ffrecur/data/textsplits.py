"""Which documents train, validate and test: by document, or within a single text by place; and which are too short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ffrecur.data.cutting import WHITE_SPACE
from ffrecur.errors import UserError, check_setting
from ffrecur.text.places import Text

TWENTIETHS = 20  # of a single text: the last tests, the one before it validates, the others train
NEAREST_SPACE = 1000  # characters after a place within which white space is looked for
PIECE = 1 << 20  # symbols that are moved at a time


def split_documents(
    source: str, documents: Sequence[str], validation_size: int | None, split_seed: int | None
) -> tuple[list[str], list[str]]:
    """Return training and validation documents: the last ones validate, or some drawn with `split_seed`.

    By default a tenth of them, at least one. Raises `UserError` for fewer than two documents, or more than there are.
    """
    if len(documents) < 2:
        found = "one document" if documents else "no document"
        raise UserError(
            f"data.source is {source!r}, which has {found}, but must have at least two, so that some can validate: "
            "data.document_separator cuts text into documents"
        )
    size = validation_size if validation_size is not None else max(1, len(documents) // 10)
    check_setting(size < len(documents), "data.validation_size", size, f"less than the {len(documents)} documents")
    order = list(range(len(documents)))
    if split_seed is not None:
        order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(split_seed)).tolist()
    return [documents[i] for i in order[:-size]], [documents[i] for i in order[-size:]]


def split_by_place(text: str, twentieths: Sequence[int], keep_white_space: bool = False) -> list[str]:
    r"""Return a text cut behind so many of its twentieths, each time at the next white space, so that no word is torn.

    The white space at a cut is left out, unless it is kept: then it begins the part after the cut, and the parts together
    are the text. A script without white space is cut at the place itself.

    >>> split_by_place("one two three four five six seven eight", [10, 15])
    ['one two three four five', 'six seven', 'eight']
    >>> split_by_place("one two\nthree ", [10], keep_white_space=True)
    ['one two', '\nthree ']
    """
    starts = [0]
    for count in twentieths:
        place = max(len(text) * count // TWENTIETHS, starts[-1])
        space = WHITE_SPACE.search(text, place, place + NEAREST_SPACE)
        starts.append(space.start() if space else place)
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return parts if keep_white_space else [part.strip() for part in parts]


def cut_by_place(
    source: str, documents: list[str], window: int, settings: Mapping[str, Any], with_test: bool
) -> dict[str, list[str]]:
    """Return a single document as training, validation and, if asked for, test documents; it is taken out of its list.

    Without test documents, the last tenth validates. Raises `UserError` for a text that is too short, and for settings of a
    data module that are about many documents.
    """
    for name in ("validation_size", "split_seed"):
        if settings[name] is not None:
            raise UserError(
                f"data.{name} is {settings[name]}, which is about documents, but {source!r} has one document, whose end is "
                "held out: set it to null, or cut the text with data.document_separator"
            )
    whole = len(documents[0])
    text = documents.pop()[: settings["document_length"]]
    cut = f", the first of {whole:,} (data.document_length)" if len(text) < whole else ""
    names = ("training", "validation", "test") if with_test else ("training", "validation")
    parts = split_by_place(text, [18, 19] if with_test else [18], settings["keep_white_space"])
    least = min(parts, key=len)
    if len(least) <= window:
        raise UserError(
            f"data.source is {source!r}, which has one document, of {len(text):,} characters{cut}: split by place, its "
            f"{names[parts.index(least)]} part has {len(least)}, but must have more than the window's {window}; "
            "data.document_separator cuts text into documents"
        )
    return {name: [part] for name, part in zip(names, parts, strict=True)}


def long_enough(documents: list[str], window: int, fold_case: bool) -> tuple[list[str], list[str]]:
    """Return the documents with more characters than the window, and the others."""

    def is_short(document: str) -> bool:
        return len(document) <= window and len(document.lower() if fold_case else document) <= window

    short = [document for document in documents if is_short(document)]
    return ([document for document in documents if not is_short(document)] if short else documents), short


def without_short(text: Text, window: int) -> Text:
    """Return a text without the documents of no more symbols than the window. It is changed in place, without a copy."""
    lengths = text.begins.diff()
    kept = lengths > window
    if kept.all():
        return text
    symbols, end = text.symbols_N.numpy(), 0
    for begin, length in zip(text.begins[:-1][kept].tolist(), lengths[kept].tolist(), strict=True):
        for start in range(begin, begin + length, PIECE):
            piece = symbols[start : min(start + PIECE, begin + length)]
            symbols[end : end + len(piece)] = piece  # NumPy looks out for overlap
            end += len(piece)
    begins = torch.cat([torch.zeros(1, dtype=torch.long), lengths[kept].cumsum(0)])
    return Text(text.symbols_N[:end], begins)
