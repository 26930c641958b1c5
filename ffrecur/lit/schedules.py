"""Learning-rate schedules that PyTorch lacks, for `--model.lr_scheduler`."""

from __future__ import annotations

import math
import warnings
from typing import Any

from lightning import Trainer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ffrecur.errors import SettingWarning, check_setting, check_whole


class FlatThenLinear(LRScheduler):
    """Constant rate for the first part of the epochs, then a straight line that would reach 0 after the last one.

    Hinton's published schedule, with `flat=0.5`: in epoch e (from 0) of E the rate is multiplied by
    `min(1, (E - e) / (E - flat * E))`.

    Args:
        optimizer: the optimiser whose rates are scheduled.
        epochs: number of epochs E of the whole training, at least 1; later ones have rate 0. In training, None is as many as
            `trainer.max_epochs`, or as many steps as there will be with `lr_scheduler_interval: step`.
        flat: share of the epochs with the full rate, in [0, 1).
        last_epoch: for PyTorch, when a schedule is continued.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(
        self, optimizer: Optimizer, epochs: int | None = None, flat: float = 0.5, last_epoch: int = -1
    ) -> None:
        if epochs is not None:
            check_whole("lr_scheduler.epochs", epochs)
        check_setting(0 <= flat < 1, "lr_scheduler.flat", flat, "at least 0 and less than 1")
        self.epochs, self.flat = epochs, flat
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each parameter group in the current epoch; the full one while the length is not known."""
        if self.epochs is None:
            return list(self.base_lrs)
        left = (self.epochs - self.last_epoch) / (self.epochs * (1 - self.flat))
        return [rate * min(1.0, max(0.0, left)) for rate in self.base_lrs]

    def take_length(self, trainer: Trainer, interval: str) -> None:
        """Take the length of the training where none was given; raises `UserError` for one without an end."""
        if self.epochs is None:
            length = trainer.max_epochs if interval == "epoch" else trainer.estimated_stepping_batches
            rule = "at least 1, or -1 with lr_scheduler.epochs"
            check_setting(trainer.max_epochs != 0, "trainer.max_epochs", 0, rule)
            allowed = "given where trainer.max_epochs is -1"
            check_setting(length is not None and 0 < length < math.inf, "lr_scheduler.epochs", None, allowed)
            self.epochs = int(length or 0)

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return self.get_lr()


def warn_of_end(scheduler: Any, trainer: Trainer, interval: str) -> None:
    """Warn of epochs after the last one that a schedule of ours has: nothing is learned in them."""
    last, end = trainer.max_epochs or 0, scheduler.epochs if isinstance(scheduler, FlatThenLinear) else None
    if end is not None and interval == "epoch" and last > end:
        warning = (
            f"lr_scheduler.epochs is {end}, but trainer.max_epochs is {last}: the epochs from {end + 1} on have the learning "
            f"rate 0; give lr_scheduler.epochs {last}"
        )
        warnings.warn(warning, SettingWarning, stacklevel=2)
