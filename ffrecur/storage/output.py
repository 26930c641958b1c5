"""What keeps a file or the output from being written: a full disk, and a reader that has seen enough."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from contextlib import suppress

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
