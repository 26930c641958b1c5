"""From the setting `data.source` to documents of text, in the splits that the source has itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from ffrecur.bars import bar
from ffrecur.data.cutting import Cutting, compile_separator, cut, sees_line_ends
from ffrecur.data.textfiles import check_encoding, read_text
from ffrecur.data.textfolder import Listing, is_data_set, list_folder, plural, shortened, told
from ffrecur.data.textnames import MARKDOWN, PLAIN, TABLES, ending
from ffrecur.errors import UserError
from ffrecur.storage.files import existing
from ffrecur.text.alphabet import with_line_feeds

BUNDLED_TEST = 26  # of the 300 fables: the last 26 test, the 26 before them validate
DOES = {"train": "train", "validation": "validate", "test": "test"}


class Documents(NamedTuple):
    """Documents of a source, and where they came from."""

    description: str
    train: list[str]  # empty where the source has held-out splits only
    validation: list[str] | None  # None where the source has no such split
    test: list[str] | None
    notes: tuple[str, ...] = ()  # lines for the log: which file is which split, and what was left out
    separated: bool = True  # whether the separator, if there is one, matches anywhere


def read_documents(
    source: str,
    separator: str | None = None,
    text_column: str | None = None,
    encoding: str = "utf-8",
    keep_white_space: bool = False,
) -> Documents:
    r"""Read `source`: `bundled`; a text file or a table; a folder of either, or one of `save_to_disk`; a hub id.

    A file, or a row of a table, is cut into documents where the regular expression `separator` matches (`^` and `$` match at
    every line); what it matches is left out. Without one, each file and each row is a document. Line ends of all kinds are
    `\n` to the separator, unless it names `\r` itself. White space of any kind and length becomes a space, unless it is
    kept: see `cutting.cut`.
    Raises `UserError` for everything that is wrong with the source.
    """
    cutting = Cutting(compile_separator(separator), keep_white_space)
    check_encoding(encoding)
    if source == "bundled":
        text = resources.files("ffrecur.data").joinpath("fables.txt").read_text(encoding="utf-8")
        fables = cut(text, re.compile(r"\n\n"), keep_white_space)
        size = BUNDLED_TEST
        return Documents("300 fables of our own", fables[: -2 * size], fables[-2 * size : -size], fables[-size:])
    path = existing(source)
    if path is None:
        return read_hub(source, cutting, text_column)
    if path.is_dir():
        try:
            return read_folder(source, path, cutting, text_column, encoding)
        except PermissionError as error:
            where = error.filename or path
            raise UserError(f"data.source is {source!r}, a folder that may not be read, because of {where}") from error
    if ending(path.name) in TABLES:
        return read_tables(
            source, f"file {path.name}", TABLES[ending(path.name)], {"train": [path]}, cutting, text_column, encoding
        )
    return read_files(source, f"text file {path.name}", path.parent, {"train": [path]}, cutting, encoding)


# --- files and folders of text ----------------------------------------------------------------------------------------


def read_files(
    source: str,
    description: str,
    folder: Path,
    files_of: Mapping[str, Sequence[Path]],
    cutting: Cutting,
    encoding: str,
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> Documents:
    """Read the text files of each split; those that are empty are left out, if not all of them are."""
    unify = not sees_line_ends(cutting.separator)
    names = ((split, file, file.relative_to(folder).as_posix()) for split, files in files_of.items() for file in files)
    count = sum(map(len, files_of.values()))
    shown = bar(names, "reading text files", "files", count)
    texts = ((split, name, read_text(source, file, name, encoding, unify)) for split, file, name in shown)
    documents, empty, separated = cut_all(files_of, texts, cutting)
    if len(empty) == count:
        which = f"file {empty[0]} is empty" if count == 1 else f"{count} text files are all empty"
        raise UserError(f"data.source is {source!r}, whose {which}")
    notes = [told({**(left_out or {}), "empty": empty})]
    if not separated and count > 1:
        notes.append("data.document_separator matches nowhere: each file is a document")
    return gathered(description, documents, notes, separated)


def read_folder(source: str, folder: Path, cutting: Cutting, text_column: str | None, encoding: str) -> Documents:
    """Read a folder of text files, of tables, or of a data set."""
    if is_data_set(folder):
        from ffrecur.data.huggingface import load_folder  # as in `read_tables`

        return from_splits(source, *load_folder(source, folder), cutting, text_column)
    listing = list_folder(source, folder)
    count = sum(map(len, listing.splits.values()))
    if listing.builder is None:
        what = f"folder {folder.name} of {plural(count, 'text file')}"
        found = read_files(source, what, folder, listing.splits, cutting, encoding, listing.left_out)
    else:
        what = f"folder {folder.name} of {plural(count, 'table')}"
        found = read_tables(
            source, what, listing.builder, listing.splits, cutting, text_column, encoding, listing.left_out
        )
    return found._replace(notes=(*splits_by_name(folder, listing), *found.notes))


def splits_by_name(folder: Path, listing: Listing) -> list[str]:
    """Return a line for the log, whatever is done with the splits: which files are which, or that there is doubt."""
    if listing.doubtful:
        return [
            "no splits by name: all files are taken together, also those whose names have a word for held-out text "
            f"({shortened(listing.doubtful)}); splits are folders named train, validation and test"
        ]
    if list(listing.splits) == ["train"]:
        return []
    names = {
        split: shortened(file.relative_to(folder).as_posix() for file in files)
        for split, files in listing.splits.items()
    }
    return ["splits by name: " + ", ".join(f"{split} ({files})" for split, files in names.items())]


def cut_all(
    splits: Iterable[str], texts: Iterable[tuple[str, str, str]], cutting: Cutting
) -> tuple[dict[str, list[str]], list[str], bool]:
    """Return the documents of each split; the names of the texts without any; and whether the separator matches anywhere.

    `texts` has split, name and text of each; one is let go before the next is asked for.
    """
    documents: dict[str, list[str]] = {split: [] for split in splits}
    empty: list[str] = []
    separator, separated = cutting.separator, cutting.separator is None
    for split, name, text in texts:
        found = cut(text, *cutting)
        separated = separated or len(found) > 1 or bool(separator and separator.search(text))
        del text
        documents[split] += found
        if not found:
            empty.append(name if len(empty) < 4 else "")  # as many as are told
    return documents, empty, separated


def gathered(
    description: str, documents: Mapping[str, list[str]], notes: Iterable[str | None], separated: bool = True
) -> Documents:
    """Return the documents of the splits, with the notes that there are."""
    held_out = documents.get("validation"), documents.get("test")
    return Documents(description, documents.get("train", []), *held_out, tuple(filter(None, notes)), separated)


# --- what `datasets` reads --------------------------------------------------------------------------------------------


def read_tables(
    source: str,
    description: str,
    builder: str,
    files_of: Mapping[str, Sequence[Path]],
    cutting: Cutting,
    text_column: str | None,
    encoding: str,
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> Documents:
    """Read the tables of each split."""
    # Imported here, because `datasets` takes a second to import and text files do not need it.
    from ffrecur.data.texttables import header_like_data, load_tables

    splits, empty = load_tables(source, builder, files_of, encoding)
    if not splits:
        raise UserError(f"data.source is {source!r}, which has no rows of text")
    description, left_out = f"{description} read by datasets", {**(left_out or {}), **empty}
    header = header_like_data(splits) if builder == "csv" else None
    try:
        found = from_splits(source, description, splits, cutting, text_column, left_out)
        return found._replace(notes=(*found.notes, f"warning: {header}")) if header else found
    except UserError as error:
        raise UserError(f"{error}; {header}") if header else error from error
    except UnicodeDecodeError as error:  # of JSON and parquet `datasets` looks at the bytes when they are asked for
        for file in (file for files in files_of.values() for file in files):
            if builder == "json":
                read_text(source, file, file.name, encoding)  # says where
        raise UserError(f"data.source is {source!r}, which has text that is not UTF-8: {error}") from error


def read_hub(source: str, cutting: Cutting, text_column: str | None) -> Documents:
    """Read a data set of the hub."""
    from ffrecur.data.huggingface import load_hub  # as above
    from ffrecur.data.sources import HUB_ID

    if not HUB_ID.fullmatch(source) or ending(source) in (*PLAIN, *MARKDOWN, *TABLES):
        raise UserError(
            f"data.source is {source!r}, which is not there, neither a file nor a folder here; it must be 'bundled', a text "
            "file, a folder of them or of a data set, or a hub id"
        )
    return from_splits(source, *load_hub(source), cutting, text_column)


def from_splits(
    source: str,
    description: str,
    splits: dict,
    cutting: Cutting,
    text_column: str | None,
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> Documents:
    """Return the documents of the rows; those without text are left out."""
    from ffrecur.data.textcolumns import rows_of  # as above

    rows = rows_of(source, splits, text_column)
    description += f", column {rows.column[:40]!r}" if rows.column != "text" else ""
    unify = not sees_line_ends(cutting.separator)

    def texts() -> Iterator[tuple[str, str, str]]:
        for split, numbered in rows.of_split.items():
            for number, text in numbered:
                if "\0" in (text or ""):
                    raise UserError(
                        f"data.source is {source!r}, whose {split} row {number} has a NUL character in its column "
                        f"{rows.column!r}: it is no text"
                    )
                yield split, f"{split} row {number}", (with_line_feeds(text) if unify else text) if text else ""

    documents, without, separated = cut_all(rows.of_split, texts(), cutting)
    return gathered(
        description,
        documents,
        [told({**(left_out or {}), "splits of other names": rows.unused, "without text": without})],
        separated,
    )
