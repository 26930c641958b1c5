"""How a command ends when a signal comes, or an error, and with it the processes that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lightning import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ffrecur.errors import CommonError
from ffrecur.processes import count_processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 20.0  # seconds for the others to end in, where all know that they end


class Stopped(BaseException):
    """A signal has ended the command. No `Exception`, so that nothing on the way out takes it for a failure.

    `together` tells that all processes of a training end at this place, as they have agreed.
    """

    def __init__(self, number: int, together: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.together = together
        code = 128 + number  # what a shell reports of a process that a signal ended
        self.code = code_of_all(code) if together else code


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise `Stopped` in the block, wherever it is: for all that has nothing to save."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def local_rank() -> int:
    """Return which of the processes on this machine this one is."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def met_by_all(error: BaseException) -> bool:
    """Whether all processes that train together end with this error, at the same place."""
    if isinstance(error, Stopped):
        return error.together
    return count_processes() > 1 and isinstance(error, CommonError | MisconfigurationException)


def code_of_all(code: int) -> int:
    """Return the exit code of this process after what ends all of them with `code`.

    Those that the first one of a machine has started return 0, because Lightning kills a process whose children fail.
    """
    return code if local_rank() == 0 else 0


def silence_notifier(trainer: Trainer) -> None:
    """Take away what Lightning does first at SIGTERM; the handler that was there before it still follows.

    It broadcasts amid whatever the processes are at: where one waits for the other already, both wait for ever.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda signum, _: None  # type: ignore[method-assign]


def launched(trainer: Trainer) -> list[subprocess.Popen[bytes]]:
    """Return the processes that Lightning has started from this one: its own list, which grows when they start."""
    launcher = trainer.strategy.launcher
    return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []


def end_launched(trainer: Trainer, error: BaseException | None) -> None:
    """At the end of a command, or after an error, return when the processes that Lightning has started have ended.

    With the command, and with what all have met, they end by themselves. Of what this one alone knows they would learn only
    that it has gone, by an error or after minutes: they are killed.
    """
    processes = list(launched(trainer))
    launched(trainer).clear()  # lest Lightning sees one of them fail, and kills this process
    until = time.monotonic() + (GRACE if error is None or met_by_all(error) else 0)
    try:
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
    finally:  # also if a signal comes meanwhile
        for process in processes:
            process.kill()
            process.wait()
