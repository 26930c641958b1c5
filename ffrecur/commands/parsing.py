"""How the commands that start without Lightning read what is typed, and what they exit with; without PyTorch."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from ffrecur.errors import UserError
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
