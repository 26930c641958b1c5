"""What all modules share: one optimiser with a schedule, checkpoints that rebuild the net, and a finite loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from ffrecur.checkpoint import NET_KEY, describe
from ffrecur.errors import CommonError, UserError, check_setting
from ffrecur.lit.optim import (
    apply_configured,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
)
from ffrecur.metrics import MeanGoodness
from ffrecur.processes import Part, mean_over_processes, part_of_batch

OPTIMIZER_KEY = "ffrecur_optimizer"  # entry of a checkpoint: how its optimiser and schedule were configured


class NetModule(L.LightningModule, ABC):
    """Base of the modules. A subclass builds its net, of hidden layers and a `head`, once the data has told its sizes.

    The head has a learning rate and a weight decay of its own, and the net `settings()` that build another like it.
    """

    kind: ClassVar[str]  # of its net, in `ffrecur.checkpoint.KINDS`
    target: ClassVar[str]  # the validation figure, low is good, that chooses the best checkpoint
    structure: ClassVar[tuple[str, ...]]  # settings of the net that a checkpoint's weights must agree with
    net: Any

    def __init__(
        self,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        weight_decay: float,
        head_learning_rate_scale: float,
        head_weight_decay: float | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.optimizer, self.lr_scheduler, self.seed = optimizer, lr_scheduler, seed
        self.weight_decay, self.head_learning_rate_scale = weight_decay, head_learning_rate_scale
        self.head_weight_decay = weight_decay if head_weight_decay is None else head_weight_decay
        check_setting(
            head_learning_rate_scale > 0, "head_learning_rate_scale", head_learning_rate_scale, "greater than 0"
        )
        for name in ("weight_decay", "head_weight_decay", "seed"):
            check_setting(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        self.net = None
        self._stored: dict[str, Any] | None = None

    # --- building -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def match_data(self, data: Any) -> None:
        """Learn the sizes of the net from a data module that has been set up; raises `UserError` for data that does not fit."""

    @abstractmethod
    def build(self) -> Any:
        """Return a new net of the sizes learned."""

    def setup(self, stage: str) -> None:
        """Learn the sizes from the data, or refuse data that does not fit."""
        self.match_data(getattr(self.trainer, "datamodule", None))

    def configure_model(self) -> None:
        """Build the net, now that its sizes are known, with weights that depend on the seed only."""
        if self.net is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.net = self.build()

    def configure_optimizers(self) -> Any:
        """Return one optimiser for all layers, and the schedule."""
        optimizer = grouped_optimizer(
            self.optimizer, self.net, self.weight_decay, self.head_weight_decay, self.head_learning_rate_scale
        )
        try:
            scheduler = None if self.lr_scheduler is None else self.lr_scheduler(optimizer)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise error if isinstance(error, UserError) else UserError(f"model.lr_scheduler: {error}") from error
        self._configured = configured_settings(optimizer, scheduler)
        if self._stored is not None:
            check_continued(self._configured, self._stored)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": self.target}}

    def check_optimizer(self, stored: dict[str, Any] | None) -> None:
        """Make optimiser and schedule for the sake of their errors, before anything is written.

        `stored` is how those of the run that is continued were configured. Raises `UserError`.
        """
        self.configure_model()
        self._stored = stored
        self.configure_optimizers()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `ffrecur.load` needs to rebuild the net, and how the optimiser was configured."""
        checkpoint[NET_KEY] = describe(self.net)
        checkpoint[OPTIMIZER_KEY] = self._configured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how the optimiser of a run that is continued was configured; get ready for weights in its precision."""
        if self._trainer is not None:  # Lightning does so when weights in float64 have become float32 already
            self.trainer.precision_plugin.convert_module(self)
        self._stored = checkpoint[OPTIMIZER_KEY]

    # --- training -----------------------------------------------------------------------------------------------------

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer), "configure_optimizers returns one"
        return optimizer

    def on_train_start(self) -> None:
        """Let settings that were changed win over those in a checkpoint's optimiser state."""
        if self._stored is not None:
            apply_configured(self._optimizer, self.lr_schedulers(), self._configured, self._stored)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Decay the weights, now that the gradients have been taken at the old ones."""
        decay_weights(optimizer)

    def on_train_epoch_start(self) -> None:
        """Log the hidden layers' learning rate."""
        self.log("train/learning_rate", float(self._optimizer.param_groups[0]["lr"]))

    def part_of_batch(self, batch_size: int) -> Part:
        """Return which part of the global batch ours is; every process must call it at the same time."""
        return part_of_batch(batch_size, self.device)

    def batch_noise(self, part: Part, columns: int, source: torch.Generator) -> Tensor:
        """Uniform noise `(B, columns)` that depends on the place in the global batch, not on the number of processes."""
        return torch.rand(part.total, columns, generator=source)[part.mine].to(self.device)

    def batch_masks(self, part: Part, rates: Sequence[float], source: torch.Generator) -> list[Tensor | None]:
        """Dropout masks of our part of the global batch; `rates` are those that the net's `dropout_masks` takes."""
        masks = self.net.dropout_masks(part.total, *rates, source)
        return [None if mask is None else mask[part.mine] for mask in masks]

    def finish_step(self, loss: Tensor, figures: dict[str, Tensor], part: Part, batch_index: int) -> Tensor:
        """Log a step's figures, means over the global batch of `train/loss` and others; return the loss to be derived.

        DDP takes the plain mean of the processes' gradients; the loss is weighted so that it becomes the mean over samples.
        What is logged and checked is the same in every process. Raises `UserError` for a loss that is not finite.
        """
        means = mean_over_processes(torch.stack(list(figures.values())), part.size)
        means_by_name = dict(zip(figures, means, strict=True))
        self.check_loss(means_by_name["train/loss"], batch_index)
        self.log_dict(means_by_name, on_step=False, on_epoch=True, batch_size=part.total)
        return loss if part.weight == 1 else loss * part.weight

    def check_loss(self, loss: Tensor, batch_index: int) -> None:
        """Raise `UserError` for a loss that is not finite: before the optimiser step, so that weights and checkpoints stay so."""
        if not torch.isfinite(loss):
            raise CommonError(
                f"the loss is {loss.item()} in epoch {self.current_epoch}, batch {batch_index}: training has "
                "diverged; a lower learning rate (model.optimizer.init_args.lr) is the usual cure"
            )

    def start_goodness_means(self, iterations: int) -> None:
        """Start an epoch's means of the positive and negative data's goodness, to be updated with `(T, L, B)`."""
        layers = len(self.net.hidden_features)
        self.goodness_means = {
            kind: MeanGoodness(iterations, layers).to(self.device) for kind in ("positive", "negative")
        }

    def log_goodness_means(self) -> None:
        """Log the mean goodness of each layer."""
        for kind, metric in self.goodness_means.items():
            for layer, value in enumerate(metric.compute().reshape(metric.sum_TL.shape).mean(dim=0), start=1):
                self.log(f"train/goodness_{kind}_layer_{layer}", value)
