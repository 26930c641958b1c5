"""Files that appear whole or not at all, paths that begin with `~`, and names of run folders."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; at a clean exit the file there replaces `path` in one step.

    Whoever reads `path` meanwhile finds the old file or the new one, never a part. After an exception the temporary file is
    removed and `path` is as it was. It ends like `path`, for writers that choose a format by the ending of the name.
    Nothing is forced onto the disk (no fsync): after a power cut the new file may be lost or empty.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def with_home(path: str) -> str:
    """Return a path with the home folder in place of a `~` or `~name` at its beginning; any other text as it is.

    >>> with_home("runs/~")
    'runs/~'
    """
    if path.startswith("~"):
        with suppress(RuntimeError):  # ~name of nobody
            return str(Path(path).expanduser())
    return path


def existing(source: str) -> Path | None:
    """Return the path of a file or folder that is there, `~` and all; None if there is none of that name."""
    path = Path(with_home(source))
    try:
        return path if path.exists() else None
    except OSError:  # a name that no file can have
        return None


def name_and_time(folder: str) -> tuple[str, datetime | None]:
    """Return the task of a run, and when it began, from the name of its folder; without a date in it all is the task.

    >>> name_and_time("small-20260102-030405-2"), name_and_time("small-20260102-990000")
    (('small', datetime.datetime(2026, 1, 2, 3, 4, 5)), ('small-20260102-990000', None))
    """
    match = re.fullmatch(r"(.+)-(\d{8}-\d{6})(?:-\d+)?", folder)
    try:
        return (match[1], datetime.strptime(match[2], "%Y%m%d-%H%M%S")) if match else (folder, None)
    except ValueError:  # other digits
        return folder, None
