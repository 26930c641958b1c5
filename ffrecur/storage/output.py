"""The output, and what keeps it or a file from being written: a full disk, and a reader that has seen enough."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ffrecur.errors import SettingWarning

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # full, or not to be written to


def not_written(error: OSError) -> str:
    """Return the sentence for a disk that does not take a file."""
    what = "a file" if error.filename is None else f"'{error.filename}'"
    return f"{what} cannot be written: {error.strerror}"


def output_closed() -> bool:
    """Whether standard output or standard error is a pipe that nobody reads any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # one that is no file, or is closed
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def closed_pipe() -> int:
    """Return the exit code of a program whose reader has seen enough, as `head` does; nothing more is written."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # one that is no file, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python complains when it flushes at exit
    return 128 + signal.SIGPIPE


def refused(message: str) -> int:
    """Tell a mistake in one line; return the exit code, 2."""
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr, flush=True)
    return 2


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def tell_own_warnings(tell: Callable[[str], None] = print_warning) -> None:
    """Let `tell` print each `SettingWarning` once; warnings of other packages are shown as before."""
    told: set[str] = set()
    show_others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, SettingWarning):
            show_others(message, category, *where, **more)
        elif str(message) not in told:
            told.add(str(message))
            tell(str(message))

    warnings.showwarning = show


def written_out(code: int) -> int:
    """Write what is left of the output; return the exit code, which is another one where it cannot be written.

    Without this Python would print a traceback of its own as it ends.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        return closed_pipe()
    except OSError as error:
        sys.stdout = None  # it keeps what it could not write, and would try again
        return refused(not_written(error))
    return code


def replace_unwritable() -> None:
    """Let characters that the output cannot show, where it is not UTF-8, be written as question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
