"""What the commands that start without Lightning share of nets and runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ffrecur.core.goodness import Goodness
from ffrecur.errors import UserError
from ffrecur.storage.checkpoint import kind_of
from ffrecur.storage.classes import imported_goodness
from ffrecur.storage.museum import said, standing_in

GOODNESS_HELP = "class path of a goodness of your own that the net was trained with, such as my_lab.TopK"


def given_goodness(class_path: str | None) -> type[Goodness] | None:
    """Return the goodness that was typed. Raises `UserError` for what is none."""
    return None if class_path is None else imported_goodness(class_path)


TEXT_NETS = ("CharNet", "StreamNet")  # that write


def newest_run(root: str, kinds: Sequence[str] | None = None) -> Path | None:
    """Return the folder below `root` whose checkpoint was written last, of a net of these `kinds`; None if there is none.

    It says on standard error which one that is. Raises `UserError` for a root that cannot be read.
    """
    try:
        lasts = sorted(Path(root).glob("*/last.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError as error:  # a name that no folder can have
        raise UserError(f"root is '{root}', which cannot be read: {error.strerror}") from error
    for last in lasts:
        found = kind_of(last)
        if found is not None and (kinds is None or found in kinds):
            print(f"Using {last.parent}, the newest {'text ' if kinds == TEXT_NETS else ''}run.", file=sys.stderr)
            return last.parent
    return None


def newest_or_museum(root: str, kinds: Sequence[str] | None, name: str, command: str) -> Path:
    """Return the newest run's folder, see `newest_run`; where there is none, the path of a net that comes with ffrecur.

    It says on standard error which one that is, and the `command` that trains one like it.
    """
    newest = newest_run(root, kinds)
    if newest is None:
        print(said(name, command), file=sys.stderr)
    return newest or standing_in(name)
