"""How a module evaluates its net, and what it says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import lightning as L
from torch import Tensor, nn

from ffrecur.metrics.evaluation import Evaluation


class EvaluatedModule(L.LightningModule, ABC):
    """Base of a module whose net is measured batch by batch, and reported as an `Evaluation`."""

    logged: ClassVar[tuple[str, ...]]  # the figures that are logged, as far as they are measured
    net: Any
    evaluation: Any  # the metrics in use
    measured: dict[str, Any]  # what the last evaluation measured, of all processes

    @abstractmethod
    def new_evaluation(self) -> nn.Module:
        """Return metrics with `update(net, inputs, targets)` and `compute()`, a dictionary."""

    @abstractmethod
    def inputs_and_targets(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Return what the net reads of a batch, and what it should answer, `(B,)`, if that is known."""

    @abstractmethod
    def evaluated(self, data: Any, stage: str) -> Evaluation:
        """Return what the evaluation that a Trainer has just ended found of a data module's split, "validation" or "test"."""

    def sample_of_epoch(self, data: Any) -> str | None:
        """Return text that the net writes, the same for the same seed, epoch and weights; None of a net that writes none."""
        return None

    def _start_evaluation(self) -> None:
        self.evaluation = self.new_evaluation().to(self.device)

    on_validation_epoch_start = on_test_epoch_start = _start_evaluation

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Measure one batch."""
        self.evaluation.update(self.net, *self.inputs_and_targets(batch))

    def test_step(self, batch: Any, batch_index: int) -> None:
        """Measure one batch."""
        self.validation_step(batch, batch_index)

    def on_validation_epoch_end(self) -> None:
        """Log the figures; a progress bar shows those that are not of the head alone."""
        self._end_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures."""
        self._end_evaluation("test")

    def _end_evaluation(self, stage: str) -> None:
        self.measured = self.evaluation.compute()
        for name in self.logged:
            if name in self.measured:
                shown = stage == "val" and not name.startswith("head_")
                self.log(f"{stage}/{name}", float(self.measured[name]), prog_bar=shown)
