"""From the setting `data.source` to documents of text, split into training, validation and test documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch

from ffrecur.errors import UserError, check_setting

TABLES = (".parquet", ".json", ".jsonl", ".csv", ".arrow")  # what `datasets` reads, by the ending of the name
BUNDLED_TEST = 26  # of the 300 fables: the last 26 test, the 26 before them validate
PIECE = 1 << 20  # characters of a document whose words are separate strings at a time
WHITE_SPACE = re.compile(r"\s")
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


class Documents(NamedTuple):
    """Documents of a source: strings without line breaks, and where they came from."""

    description: str
    train: list[str]
    validation: list[str] | None  # None where the source has no such split
    test: list[str] | None


def read_documents(source: str, separator: str | None = None, text_column: str | None = None) -> Documents:
    """Read `source`, which is tried as: `bundled`; a text file; a folder with `.txt` files; what `datasets` reads.

    A file is cut into documents where the regular expression `separator` matches (`^` and `$` match at every line); what
    it matches is left out. Without one, each file and each row of a data set is a document. White space of any kind and
    length becomes a space. Raises `UserError` for everything that is wrong with the source.
    """
    pattern = compile_separator(separator)
    if source == "bundled":
        text = resources.files("ffrecur.data").joinpath("fables.txt").read_text(encoding="utf-8")
        fables = cut(text, re.compile(r"\n\n"))
        size = BUNDLED_TEST
        return Documents("300 fables of our own", fables[: -2 * size], fables[-2 * size : -size], fables[-size:])
    path = existing(source)
    if path is None or path.suffix in TABLES or holds_tables(path):
        return read_data_set(source, path, pattern, text_column)
    files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    if not files:
        return read_data_set(source, path, pattern, text_column)
    documents = [document for file in files for document in cut(read_text(source, file), pattern)]
    what = f"text file {path.name}" if path.is_file() else f"folder {path.name} of {len(files)} text files"
    return Documents(what, documents, None, None)


def existing(source: str) -> Path | None:
    """Return the path of a file or folder that is there; None if there is none of that name."""
    path = Path(source)
    with suppress(RuntimeError):  # ~name of nobody: left as it is
        path = path.expanduser()
    try:
        return path if path.exists() else None
    except OSError:  # a name that no file can have
        return None


def holds_tables(path: Path) -> bool:
    """Whether a folder holds a data set; a text file beside it is then its licence or description."""
    return path.is_dir() and any(file.suffix in TABLES and file.suffix != ".json" for file in path.rglob("*"))


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


def read_text(source: str, file: Path) -> str:
    """Return a file's text. Raises `UserError` for one that is empty, may not be read or is not UTF-8."""
    try:
        text = file.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"data.source is {source!r}, whose file {file.name} is not UTF-8: byte {error.start} is "
            f"0x{error.object[error.start]:02x}"
        ) from error
    except OSError as error:
        raise UserError(
            f"data.source is {source!r}, whose file {file.name} cannot be read: {error.strerror}"
        ) from error
    if not text or text.isspace():
        raise UserError(f"data.source is {source!r}, whose file {file.name} is empty")
    return text


def read_data_set(
    source: str, path: Path | None, separator: re.Pattern[str] | None, text_column: str | None
) -> Documents:
    """Read what `datasets` knows: a file or folder (parquet, JSON lines, CSV, `save_to_disk`) or a hub id."""
    # Imported here, because `datasets` takes a second to import and text files do not need it.
    from ffrecur.data.huggingface import load_file, load_folder, load_hub
    from ffrecur.data.sources import HUB_ID

    if path is None and not HUB_ID.fullmatch(source):
        raise UserError(
            f"data.source is {source!r}, which is not there; it must be 'bundled', a text file, a folder of them or of "
            "a data set, or a hub id"
        )
    if path is None:
        kind, splits = load_hub(source)
    else:
        kind, splits = load_file(source, path) if path.is_file() else load_folder(source, path)
    if len(splits) == 1:
        splits = {"train": next(iter(splits.values()))}
    used = {SPLIT_NAMES[name]: split for name, split in splits.items() if name in SPLIT_NAMES}
    if "train" not in used:
        raise UserError(
            f"data.source is {source!r}, which has the splits {', '.join(splits)}, but must have one named train"
        )
    column = choose_text_column(source, used["train"].features, text_column)
    texts: dict[str, list[str]] = {}
    for name, split in used.items():
        if column not in split.column_names:
            raise UserError(f"data.source is {source!r}, whose {name} split has no column {column!r}")
        texts[name] = [part for text in split[column] for part in cut(text or "", separator)]
    return Documents(kind, texts["train"], texts.get("validation"), texts.get("test"))


def choose_text_column(source: str, features: dict[str, object], chosen: str | None) -> str:
    """Return the column that `data.text_column` names, or the one named text, or the only one of strings."""
    strings = [
        name for name, feature in features.items() if getattr(feature, "dtype", "") in ("string", "large_string")
    ]
    if chosen is not None:
        check_setting(
            chosen in strings, "data.text_column", chosen, f"a column of text: {', '.join(strings) or 'none'}"
        )
        return chosen
    if "text" in strings:
        return "text"
    if len(strings) != 1:
        found = f"several text columns, {', '.join(strings)}: set data.text_column" if strings else "no text column"
        raise UserError(f"data.source is {source!r}, which has {found}; its columns are {', '.join(features)}")
    return strings[0]


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
