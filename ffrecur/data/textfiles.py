"""Reading one text file: its encoding, its line ends, gzip, and a sentence that names the line of what is wrong."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ffrecur.bars import bar
from ffrecur.errors import UserError, one_line
from ffrecur.text.alphabet import with_line_feeds

CHUNK = 1 << 20  # bytes that are decoded at a time
GZIP = b"\x1f\x8b"
MARKS = (  # byte order marks; that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NO_TEXT = ((b"PK\x03\x04", "a zip archive, as .docx and .epub are"), (b"%PDF", "a PDF"))


def check_encoding(encoding: str) -> None:
    """Raise `UserError` for a name that is not one of Python's encodings of text.

    >>> check_encoding("klingon")
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: data.encoding is 'klingon', but must be an encoding that Python knows, such as utf-8, latin-1, \
cp1252, utf-16 or gb18030
    """
    try:
        " ".encode(encoding)  # refuses those that are not of text, such as base64
        codecs.getincrementaldecoder(encoding)
    except (LookupError, TypeError, ValueError) as error:
        known = "utf-8, latin-1, cp1252, utf-16 or gb18030"
        raise UserError(
            f"data.encoding is {encoding!r}, but must be an encoding that Python knows, such as {known}"
        ) from error


def read_text(source: str, file: Path, name: str, encoding: str = "utf-8", unify: bool = True) -> str:
    r"""Return the text of a file, plain or gzipped; line ends of all kinds become `\n` where `unify` is set.

    A byte order mark decides over `encoding`. Raises `UserError`, with `name` and line, for a file that cannot be read or
    unpacked, is not in the encoding, has a NUL character, or does not fit into memory.
    """
    what = f"data.source is {source!r}, whose file {name}"
    try:
        return "".join(decoded(what, file, encoding, unify))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{what} is a damaged gzip file: {one_line(error)}") from error
    except OSError as error:
        raise UserError(f"{what} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise UserError(f"{what} does not fit into memory") from error


def decoded(what: str, file: Path, encoding: str, unify: bool) -> list[str]:
    """Return the text of a file in parts."""
    parts: list[str] = []
    size = file.stat().st_size if file.suffix != ".gz" else None
    chunks = iter(bar(blocks(file), f"reading {file.name}", "bytes", size, len))
    head = next(chunks, b"")
    for mark, kind in NO_TEXT:
        if head.startswith(mark):
            raise UserError(f"{what} is {kind}, but must be text: save it as plain text first")
    encoding = encoding_of(head, encoding)
    name = encoding.upper().removesuffix("-SIG")
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=unify)
    count = 0
    for chunk in chain([head] if head else [], chunks, [b""]):  # at the end decoders say what is missing
        count += len(chunk)
        try:
            part = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # `error.object` may begin before the chunk, with the beginning of a character, but ends with it.
            place = count - len(error.object) + error.start
            line = line_after(parts, error.object[: error.start].decode(encoding, "ignore"))
            raise UserError(
                f"{what} is not {name}: byte {place} is 0x{error.object[error.start]:02x}, in line {line}; "
                "set data.encoding to what it is in, such as latin-1 or cp1252"
            ) from error
        except UnicodeError as error:
            raise UserError(f"{what} is not {name}: {one_line(error)}") from error
        if "\0" in part:
            line = line_after(parts, part[: part.index("\0")])
            raise UserError(
                f"{what} has a NUL character in line {line}: it is no text, or in another encoding, such as "
                "data.encoding utf-16-le"
            )
        parts.append(with_line_feeds(part) if unify else part)
    return parts


def blocks(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, `CHUNK` at a time, unpacked if they begin as gzip's do, whatever the name is."""
    with file.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP else raw
        while chunk := stream.read(CHUNK):
            yield chunk


def encoding_of(head: bytes, encoding: str) -> str:
    r"""Return the encoding of a file's byte order mark; the given one where it has none.

    >>> encoding_of(b"\xff\xfea\x00", "utf-8"), encoding_of(b"a", "latin-1")
    ('utf-16', 'latin-1')
    """
    return next((marked for mark, marked in MARKS if head.startswith(mark)), encoding)


def line_after(parts: list[str], rest: str) -> int:
    """Return the number of the line that comes after some parts of a text."""
    return 1 + sum(with_line_feeds(part).count("\n") for part in [*parts, rest])
