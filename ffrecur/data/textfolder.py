"""Which files of a folder are its text, of which split, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ffrecur.data.splits import is_saved
from ffrecur.data.textnames import MARKDOWN, PLAIN, TABLES, assign_splits, describes, ending
from ffrecur.errors import UserError

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


class Listing(NamedTuple):
    """The files of a folder that hold its text."""

    builder: str | None  # that reads them, of `datasets`; None for plain text
    splits: dict[str, list[Path]]
    left_out: dict[str, list[str]]  # why: names of files
    doubtful: list[str]  # files that train, although there is a word for held-out text in their names


def is_data_set(folder: Path) -> bool:
    """Whether a folder says itself how it is to be read: by `save_to_disk`, or in the README.md of a data set of the hub."""
    if is_saved(folder):
        return True
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:10_000]
    except OSError:
        return False
    return head.startswith("---") and "data_files:" in head.split("\n---")[0]


def list_folder(source: str, folder: Path) -> Listing:
    """Return the files of a folder that hold its text: tables where it has some, else text files, Markdown, or no ending.

    Raises `UserError` for a folder without any.
    """
    below = sorted(path.relative_to(folder) for path in files_below(folder))
    broken: list[PurePath] = [path for path in below if not (folder / path).exists()]
    found: list[PurePath] = [path for path in below if path not in set(broken)] if broken else [*below]
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
    splits, unnamed, doubtful = assign_splits(used)
    rest = sorted(set(visible) - set(used))
    left_out: dict[str, Sequence[PurePath]] = {
        "named for no split": unnamed,
        "describing the others": [file for file in rest if describes(file)],
        "of other kinds": [file for file in rest if not describes(file)],
        "hidden": sorted(set(found) - set(visible)),
        "linked to nothing": broken,
    }
    listed = {why: [file.as_posix() for file in files] for why, files in left_out.items() if files}
    of_split = {name: [folder / file for file in files] for name, files in splits.items()}
    return Listing(builder, of_split, listed, [file.as_posix() for file in doubtful])


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder. Links are followed, but for those to a folder that they lie in, which have no end."""
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from files_below(path, above | {real})
        elif path.is_file() or path.is_symlink():  # a link to nothing is told
            yield path


def own(files: Iterable[PurePath]) -> list[PurePath]:
    """Return the files but for those that, by their names, describe the others."""
    return [file for file in files if not describes(file)]


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
