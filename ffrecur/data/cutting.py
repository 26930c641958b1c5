"""Cutting text into documents where a regular expression matches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ffrecur.bars import bar
from ffrecur.errors import UserError, check_setting
from ffrecur.text.alphabet import with_line_feeds

PIECE = 1 << 20  # characters of a document whose words are separate strings at a time
WHITE_SPACE = re.compile(r"\s")
CARRIAGE_RETURN = re.compile(r"\r|(?<!\\)(\\\\)*\\r")  # in an expression


class Cutting(NamedTuple):
    """How text becomes documents."""

    separator: re.Pattern[str] | None = None
    keep_white_space: bool = False  # otherwise white space of any kind and length becomes a space


def compile_separator(separator: str | None) -> re.Pattern[str] | None:
    """Return the compiled expression; raises `UserError` for an invalid one, or one that matches an empty text."""
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
        "an expression that does not match an empty text",
    )
    return pattern


def sees_line_ends(separator: re.Pattern[str] | None) -> bool:
    r"""Return whether an expression names `\r`, so that line ends stay as they are for it."""
    return separator is not None and CARRIAGE_RETURN.search(separator.pattern) is not None


def cut(text: str, separator: re.Pattern[str] | None, keep_white_space: bool = False) -> list[str]:
    r"""Return the documents of a text, without those that are white space alone.

    White space of any kind and length becomes a space, without any at either end of a document. Where it is kept, a document
    is what stands between two matches of the separator, to the last character; line ends of all kinds become `\n`.

    >>> cut("one\nline\n---\ntwo\n---\n", re.compile("---"))
    ['one line', 'two']
    >>> cut("one\nline\r\n---two\n", re.compile("---"), keep_white_space=True)
    ['one\nline\n', 'two\n']
    """
    parts = bar(spans(text, separator), "cutting the text", "characters", len(text), length)
    if keep_white_space:
        kept = (with_line_feeds(text[start:stop]) for start, stop in parts)
        return [document for document in kept if document and not document.isspace()]
    documents = [with_single_spaces(text, *part) for part in parts]
    return [document for document in documents if document]


def spans(text: str, separator: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    """Yield where the parts between the matches begin and end."""
    start = 0
    for match in () if separator is None else separator.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def length(span: tuple[int, int]) -> int:
    """Return the number of characters of a span."""
    return span[1] - span[0]


def with_single_spaces(text: str, start: int, stop: int) -> str:
    """Return a part of a text, white space of any kind and length as a space, without any at either end."""
    parts = bar(pieces(text, start, stop), "cutting the text", "characters", stop - start, length)
    words = (" ".join(text[begin:end].split()) for begin, end in parts)
    return " ".join(piece for piece in words if piece)


def pieces(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces of about `PIECE` characters of a part of a text begin and end, none within a word."""
    while start < stop:
        space = WHITE_SPACE.search(text, start + PIECE, stop)
        end = space.start() if space else stop
        yield start, end
        start = end
