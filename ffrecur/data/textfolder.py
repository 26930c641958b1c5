"""Which files of a folder are its text, which of them trains, validates and tests, and what is left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ffrecur.errors import UserError

PLAIN = (".txt", ".text", ".tokens", ".raw")
MARKDOWN = (".md", ".markdown")  # text where a folder has none of the above
TABLES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
ABOUT = re.compile(  # names of files that describe the others
    r"(readme|license|licence|copying|notice|changelog|citation|authors|contributing|metadata|index|dataset_infos?)"
    r"([-_.].*)?",
    re.IGNORECASE,
)
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "heldout", "holdout"), "test"),
}
SPLIT_WORD = re.compile(rf"(?<![^\W\d_])({'|'.join(sorted(SPLITS, reverse=True))})(?![^\W\d_])", re.IGNORECASE)
SHARD = re.compile(r"\d+-of-\d+")


class Listing(NamedTuple):
    """The files of a folder that hold its text."""

    builder: str | None  # that reads them, of `datasets`; None for plain text
    splits: dict[str, list[Path]]
    left_out: dict[str, list[str]]  # why: names of files


def ending(name: str) -> str:
    """Return the ending of a file's name in small letters, that before `.gz` where it is gzipped.

    >>> ending("a.TXT"), ending("b.jsonl.gz"), ending("LICENSE")
    ('.txt', '.jsonl', '')
    """
    return PurePath(name.lower().removesuffix(".gz")).suffix


def is_data_set(folder: Path) -> bool:
    """Whether a folder says itself how it is to be read: by `save_to_disk`, or in the README.md of a data set of the hub."""
    if is_saved(folder):
        return True
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:10_000]
    except OSError:
        return False
    return head.startswith("---") and "data_files:" in head.split("\n---")[0]


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def list_folder(source: str, folder: Path) -> Listing:
    """Return the files of a folder that hold its text: tables where it has some, else text files, Markdown, or no ending.

    Raises `UserError` for a folder without any.
    """
    found: list[PurePath] = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    visible = [path for path in found if not any(part.startswith(".") or part in JUNK for part in path.parts)]
    plain, markdown, tables = ([p for p in visible if ending(p.name) in kind] for kind in (PLAIN, MARKDOWN, TABLES))
    text = own(plain) or own(markdown) or own(p for p in visible if not ending(p.name) and not tables)
    # JSON describes as a rule, and so does a table called metadata or index, beside text.
    chosen = [p for p in (own(tables) if text else tables) if ending(p.name) != ".json"]
    chosen = chosen or text or tables or plain or markdown
    if not chosen:
        raise no_text(source, visible, len(found) - len(visible))
    kinds = [TABLES.get(ending(file.name)) for file in chosen]
    builder = max((kind for kind in TABLES.values() if kind in kinds), key=kinds.count, default=None)
    used = [file for file, kind in zip(chosen, kinds, strict=True) if kind == builder]
    splits, unnamed = assign_splits(used)
    rest = sorted(set(visible) - set(used))
    left_out: dict[str, Sequence[PurePath]] = {
        "named for no split": unnamed,
        "of other kinds": rest,
        "hidden": sorted(set(found) - set(visible)),
    }
    listed = {why: [file.as_posix() for file in files] for why, files in left_out.items() if files}
    return Listing(builder, {name: [folder / file for file in files] for name, files in splits.items()}, listed)


def own(files: Iterable[PurePath]) -> list[PurePath]:
    """Return the files but for those that, by their names, describe the others."""
    return [file for file in files if not ABOUT.fullmatch(file.name)]


def no_text(source: str, visible: Sequence[PurePath], hidden: int) -> UserError:
    """Return the error for a folder without text."""
    endings = sorted({ending(file.name) or "no ending" for file in visible})
    held = f"whose files have other endings ({', '.join(endings[:8])})" if visible else "which is empty"
    held = "which holds hidden files only" if hidden and not visible else held
    looked_for = ", ".join([*PLAIN, *MARKDOWN, *TABLES])
    return UserError(
        f"data.source is {source!r}, a folder {held}; it must hold text or tables, in files that end in {looked_for}, or "
        "gzipped, in .gz"
    )


def named_split(file: PurePath) -> tuple[str | None, str]:
    """Return the split that a folder in a path, or else the file, is named for, and the other letters of that name.

    >>> named_split(PurePath("Training/a.txt")), named_split(PurePath("wiki.valid.tokens"))
    (('train', ''), ('validation', 'wiki'))
    >>> named_split(PurePath("the best train.txt")), named_split(PurePath("trains.txt"))
    (('train', 'thebest'), (None, ''))
    """
    for part in file.parts[:-1]:
        if part.lower() in SPLITS:
            return SPLITS[part.lower()], ""
    stem = SHARD.sub("", file.name.lower())
    while ending(stem) in (*PLAIN, *MARKDOWN, *TABLES) or stem.endswith(".gz"):
        stem = stem[: stem.rindex(".")]
    words = SPLIT_WORD.findall(stem)
    if len(words) != 1:
        return None, ""
    return SPLITS[words[0]], "".join(letter for letter in SPLIT_WORD.sub("", stem) if letter.isalpha())


def assign_splits(files: Sequence[PurePath]) -> tuple[dict[str, list[PurePath]], list[PurePath]]:
    """Return which files are which split, and those that are none where others are; all train where none is named for one.

    `train.txt` and `test.txt`, or folders of these names, are splits. So are `wiki.train.raw` and `wiki.test.raw`, whose
    names are otherwise alike, but not `night_train.txt` and `blood_test.txt`, nor `train_labels.txt` beside `train.txt`.
    """
    named = {file: named_split(file) for file in files}
    splits_of = defaultdict(set)
    for split, others in named.values():
        splits_of[others].add(split)
    held_out = {others for others, splits in splits_of.items() if splits & {"validation", "test"}}
    counted = {others for others in held_out if others == "" or "train" in splits_of[others]}
    counted = {""} if "train" in splits_of[""] and "" in counted else counted
    if not counted:
        return {"train": list(files)}, []
    found: dict[str, list[PurePath]] = defaultdict(list)
    unnamed = []
    for file, (split, others) in named.items():
        if split is not None and others in counted | {""}:
            found[split].append(file)
        else:
            unnamed.append(file)
    return {name: found[name] for name in ("train", "validation", "test") if name in found}, unnamed


def told(left_out: Mapping[str, Sequence[str]]) -> str | None:
    """Return a line for the log: what was left out, how many and which; None for nothing.

    >>> told({"empty": ["a.txt"], "hidden": [".a", ".b", ".c", ".d"]})
    'left out: 1 empty (a.txt), 4 hidden (.a, .b, .c, ...)'
    """
    phrases = [f"{len(names):,} {why} ({shortened(names)})" for why, names in left_out.items() if names]
    return f"left out: {', '.join(phrases)}" if phrases else None


def plural(count: int, name: str) -> str:
    """Return how many there are of what.

    >>> plural(1, "table"), plural(2000, "table")
    ('1 table', '2,000 tables')
    """
    return f"{count:,} {name}" + "s" * (count != 1)


def shortened(names: Iterable[object], most: int = 3) -> str:
    """Return names separated by commas, no more than so many.

    >>> shortened("abcd")
    'a, b, c, ...'
    """
    listed = [str(name) for name in names]
    return ", ".join(listed[:most] + ["..."] * (len(listed) > most))
