"""Learning-rate schedules that PyTorch lacks, for `--model.lr_scheduler`."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ffrecur.errors import check_setting, check_whole


class FlatThenLinear(LRScheduler):
    """Constant rate for the first part of the epochs, then a straight line that would reach 0 after the last one.

    Hinton's published schedule, with `flat=0.5`: in epoch e (from 0) of E the rate is multiplied by
    `min(1, (E - e) / (E - flat * E))`.

    Args:
        optimizer: the optimiser whose rates are scheduled.
        epochs: number of epochs E of the whole training, at least 1; later ones have rate 0.
        flat: share of the epochs with the full rate, in [0, 1).
        last_epoch: for PyTorch, when a schedule is continued.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, flat: float = 0.5, last_epoch: int = -1) -> None:
        check_whole("lr_scheduler.epochs", epochs)
        check_setting(0 <= flat < 1, "lr_scheduler.flat", flat, "at least 0 and less than 1")
        self.epochs, self.flat = epochs, flat
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each parameter group in the current epoch."""
        left = (self.epochs - self.last_epoch) / (self.epochs * (1 - self.flat))
        return [rate * min(1.0, max(0.0, left)) for rate in self.base_lrs]

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return self.get_lr()
