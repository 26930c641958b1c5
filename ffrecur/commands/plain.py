"""What the commands that start without Lightning share."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ffrecur.core.goodness import Goodness
from ffrecur.errors import UserError
from ffrecur.storage.checkpoint import kind_of
from ffrecur.storage.classes import imported_goodness
from ffrecur.storage.museum import said, standing_in
from ffrecur.storage.output import DISK_ERRORS, closed_pipe, not_written, output_closed, refused, tell_own_warnings


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake as `UserError`, one sentence without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake, told with the option's name, its value and what is allowed or nearest."""
        if match := re.fullmatch(r"argument --(\w+): invalid (int|float) value: '(.*)'", message, flags=re.DOTALL):
            raise UserError(f"{match[1]} is {match[3]!r}, but must be a {'whole ' * (match[2] == 'int')}number")
        if match := re.match(r"unrecognized arguments: ([^\s=]+)", message):
            known = [option for action in self._actions for option in action.option_strings]
            found = difflib.get_close_matches(match[1], known, n=1)
            raise UserError(f"{match[1]} is not an option{f' (nearest: {found[0]})' if found else ''}")
        if match := re.match(r"the following arguments are required: --(.*)", message):
            raise UserError(f"{match[1]} is not given, but must be")
        raise UserError(message)


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


def exit_code(run: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Run a command; return the exit code: 0, 2 after a mistake of the user's, told in one line, 130 after Ctrl-C.

    A full disk, that of standard output too, is one line as well; a reader that has seen enough ends the command quietly.
    """
    tell_own_warnings()
    try:
        run(arguments)
    except UserError as error:
        return refused(str(error))
    except BrokenPipeError:
        if not output_closed():
            raise
        return closed_pipe()
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return refused(not_written(error))
    except KeyboardInterrupt:
        print()
        return 130  # what a shell expects of a command that was interrupted
    return 0
