"""What a run's trainer gets beside what the user gives it: loggers, checkpoints, progress. What is given takes precedence."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only

from ffrecur import bars
from ffrecur.errors import check_setting
from ffrecur.lit.report.callbacks import EpochLines

LIMITS = ("accumulate_grad_batches", "check_val_every_n_epoch")


class BestCheckpoint(ModelCheckpoint):
    """The checkpoint with the lowest validation figure. It has a state of its own beside a user's `ModelCheckpoint`."""

    def __init__(self, folder: Path, target: str) -> None:
        super().__init__(folder, filename="best", monitor=target, mode="min", enable_version_counter=False)

    @property
    def _legacy_state_key(self) -> Any:
        """Where checkpoints of earlier versions have the state: it was a plain `ModelCheckpoint` then."""
        return self.state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)


def listed(given: Any) -> list[Any]:
    """Return what a setting of the trainer has: one, several or none, as a list."""
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]


def progress(given: list[Callback], enabled: bool | None) -> tuple[list[Callback], bool]:
    """Return our callback that shows progress, if any, and whether Lightning may have a bar.

    A bar that the user gives is the only one of a training. A file gets a line an epoch instead of a bar that would be written
    again at each step. The bars of other work (`ffrecur.bars`) are switched on where a bar of the same kind is shown.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    alike = all(isinstance(each, TQDMProgressBar) for each in given if isinstance(each, ProgressBar))
    bars.switch(terminal and alike and enabled is not False and rank_zero_only.rank == 0)  # type: ignore[attr-defined]
    if enabled is False or any(isinstance(callback, ProgressBar) for callback in given):
        return [], enabled is not False
    if terminal:
        return [TQDMProgressBar(refresh_rate=10, leave=False)], True
    return [EpochLines()], False


def loggers_of(given: Any, run: Path, purge_step: int | None) -> list[Logger]:
    """Return the loggers that the user gives; without any, one for TensorBoard, if it is installed.

    `pip install 'ffrecur[tensorboard]'` does that. With `purge_step` it leaves out what an earlier part of the run logged
    from that step on.
    """
    own = [logger for logger in listed(given) if isinstance(logger, Logger)]
    if given not in (None, True) or find_spec("tensorboard") is None:
        return own
    return [TensorBoardLogger(str(run.parent), name=run.name, version="", purge_step=purge_step)]


def check_settings(settings: Any) -> None:
    """Raise `UserError` for settings of the trainer that it would take and choke on later."""
    for name in LIMITS:
        value = settings[name]
        check_setting(value is None or value >= 1, f"trainer.{name}", value, "at least 1")
    between = settings.val_check_interval
    allowed = not isinstance(between, int) or between >= 1
    check_setting(allowed, "trainer.val_check_interval", between, "at least 1 batch, or a fraction of an epoch")
    every = settings.log_every_n_steps
    check_setting(every is None or every >= 0, "trainer.log_every_n_steps", every, "at least 0")
    clip = settings.gradient_clip_val
    check_setting(clip is None or clip >= 0, "trainer.gradient_clip_val", clip, "at least 0")
    missing = settings.profiler == "xla" and find_spec("torch_xla") is None
    check_setting(
        not missing, "trainer.profiler", "xla", "simple, advanced or pytorch where torch_xla is not installed"
    )
    check_setting(not settings.barebones, "trainer.barebones", True, "false: a run keeps its figures and checkpoints")


def check_trainer(trainer: Trainer) -> None:
    """Raise `UserError` for processes that would be copies of this one."""
    copies = isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
    name = getattr(trainer.strategy, "_start_method", type(trainer.strategy).__name__)
    check_setting(
        not copies, "trainer.strategy", f"ddp_{name}", "auto or ddp: it starts processes as copies of this one"
    )
