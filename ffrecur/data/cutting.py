"""Cutting text into documents where a regular expression matches."""

from __future__ import annotations

import re

from ffrecur.errors import UserError, check_setting

PIECE = 1 << 20  # characters of a document whose words are separate strings at a time
WHITE_SPACE = re.compile(r"\s")
CARRIAGE_RETURN = re.compile(r"\r|(?<!\\)(\\\\)*\\r")  # in an expression


def compile_separator(separator: str | None) -> re.Pattern[str] | None:
    """Return the compiled expression; raises `UserError` for an invalid one, or one that matches nothing at all."""
    if separator is None:
        return None
    try:
        pattern = re.compile(separator, re.MULTILINE)
    except (re.error, OverflowError) as error:
        raise UserError(f"data.document_separator is {separator!r}, which is no regular expression: {error}") from error
    check_setting(
        pattern.match("") is None,
        "data.document_separator",
        separator,
        "an expression that matches at least one character",
    )
    return pattern


def sees_line_ends(separator: re.Pattern[str] | None) -> bool:
    r"""Return whether an expression names `\r`, so that line ends stay as they are for it."""
    return separator is not None and CARRIAGE_RETURN.search(separator.pattern) is not None


def cut(text: str, separator: re.Pattern[str] | None) -> list[str]:
    r"""Return the documents of a text, without those that are white space alone.

    >>> cut("one\nline\n---\ntwo\n---\n", re.compile("---"))
    ['one line', 'two']
    """
    documents, start = [], 0
    for match in () if separator is None else separator.finditer(text):
        documents.append(with_single_spaces(text, start, match.start()))
        start = match.end()
    documents.append(with_single_spaces(text, start, len(text)))
    return [document for document in documents if document]


def with_single_spaces(text: str, start: int, stop: int) -> str:
    """Return a part of a text, white space of any kind and length as a space, without any at either end."""
    pieces = []
    while start < stop:
        space = WHITE_SPACE.search(text, start + PIECE, stop)  # not amid a word
        end = space.start() if space else stop
        pieces.append(" ".join(text[start:end].split()))
        start = end
    return " ".join(piece for piece in pieces if piece)
