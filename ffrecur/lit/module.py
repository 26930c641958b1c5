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
from ffrecur.errors import UserError, check_setting, one_line
from ffrecur.lit.optim import (
    apply_configured,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
)
from ffrecur.metrics import MeanGoodness

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
                try:
                    self.net = self.build()
                except RuntimeError as error:  # PyTorch's kind of MemoryError
                    widths = list(self.hparams["hidden_features"])
                    raise UserError(
                        f"hidden_features is {widths}, a net that cannot be made: {one_line(error)}"
                    ) from error

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
        """Note how the optimiser of a run that is continued was configured."""
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

    def global_batch(self, batch_size: int) -> tuple[int, slice]:
        """Return the rows of the batch of all processes, and which of them are ours.

        Every process' part is as large as ours, but for a last batch that is cut unevenly.
        """
        rank = self.trainer.global_rank
        return self.trainer.world_size * batch_size, slice(rank * batch_size, (rank + 1) * batch_size)

    def batch_noise(self, batch_size: int, columns: int, source: torch.Generator) -> Tensor:
        """Uniform noise `(B, columns)` that depends on the place in the global batch, not on the number of processes."""
        rows, mine = self.global_batch(batch_size)
        return torch.rand(rows, columns, generator=source)[mine].to(self.device)

    def batch_masks(self, batch_size: int, rates: Sequence[float], source: torch.Generator) -> list[Tensor | None]:
        """Dropout masks of our part of the global batch; `rates` are those that the net's `dropout_masks` takes."""
        rows, mine = self.global_batch(batch_size)
        masks = self.net.dropout_masks(rows, *rates, source)
        return [None if mask is None else mask[mine] for mask in masks]

    def check_loss(self, loss: Tensor, batch_index: int) -> None:
        """Raise `UserError` for a loss that is not finite: before the optimiser step, so that weights and checkpoints stay so."""
        if not torch.isfinite(loss):
            raise UserError(
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
