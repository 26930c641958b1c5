"""What the modules that classify images share: sizes learned from the data, one optimiser, checkpoints, evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ffrecur.checkpoint import NET_KEY, describe
from ffrecur.errors import UserError, check_setting
from ffrecur.lit.optim import (
    apply_configured,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
)
from ffrecur.seeding import seeded_generator

OPTIMIZER_KEY = "ffrecur_optimizer"  # entry of a checkpoint: how its optimiser and schedule were configured


class ClassifierModule(L.LightningModule, ABC):
    """Base of the modules. A subclass builds its net in `build_net`, trains it, and says how it is evaluated.

    Every net has hidden layers and a `head` with a learning rate and a weight decay of its own, `settings()` that build
    another like it, and `dropout_masks`.
    """

    kind: str  # of its net, in `ffrecur.checkpoint.KINDS`
    net: Any
    evaluation: Any

    def __init__(
        self,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        weight_decay: float,
        head_learning_rate_scale: float,
        head_weight_decay: float | None,
        image_dropout: float,
        state_dropout: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.image_dropout, self.state_dropout, self.seed = image_dropout, state_dropout, seed
        self.weight_decay, self.head_learning_rate_scale = weight_decay, head_learning_rate_scale
        self.head_weight_decay = weight_decay if head_weight_decay is None else head_weight_decay
        check_setting(
            head_learning_rate_scale > 0, "head_learning_rate_scale", head_learning_rate_scale, "greater than 0"
        )
        for name in ("weight_decay", "head_weight_decay", "seed"):
            check_setting(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("image_dropout", "state_dropout"):
            check_setting(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and less than 1")
        self.net = None
        self._stored: dict[str, Any] | None = None

    # --- what a subclass says -----------------------------------------------------------------------------------------

    @abstractmethod
    def build_net(self, in_features: int, num_classes: int) -> nn.Module:
        """Return a new net."""

    @abstractmethod
    def new_evaluation(self) -> nn.Module:
        """Return metrics with `update(net, images, labels)` and `compute()`, a dictionary with `error` in it."""

    # --- building -----------------------------------------------------------------------------------------------------

    def check_net_settings(self) -> None:
        """Refuse bad settings of the net before any data is read, by a net without memory; build it if sizes are known."""
        sizes = [self.hparams["in_features"], self.hparams["num_classes"]]
        with torch.device("meta"):
            self.build_net(sizes[0] or 1, sizes[1] or 2)
        if None not in sizes:
            self.configure_model()

    def setup(self, stage: str) -> None:
        """Learn the sizes from the data, or refuse data that does not fit."""
        self.match_data(getattr(self.trainer, "datamodule", None))

    def match_data(self, data: Any) -> None:
        """Take `in_features` and `num_classes` from a data module that has been set up, unless they are known already.

        Raises `UserError` for data of other sizes.
        """
        for name in ("in_features", "num_classes"):
            found, known = getattr(data, name, None), self.hparams[name]
            if known is None:
                check_setting(found is not None, name, None, "given where the data does not tell it")
                self.hparams[name] = found
            elif found not in (None, known):
                raise UserError(
                    f"{name} of the net is {known}, but the data has {found}; train a net on this data first"
                )

    def configure_model(self) -> None:
        """Build the net, now that its sizes are known, with weights that depend on the seed only."""
        if self.net is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.net = self.build_net(self.hparams["in_features"], self.hparams["num_classes"])

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
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/error"}}

    def check_optimizer(self, stored: dict[str, Any] | None) -> None:
        """Make optimiser and schedule for the sake of their errors, before anything is written.

        `stored` is how those of the run that is continued were configured. Raises `UserError`.
        """
        self.configure_model()
        self._stored = stored
        self.configure_optimizers()

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

    def check_loss(self, loss: Tensor, batch_index: int) -> None:
        """Raise `UserError` for a loss that is not finite: before the optimiser step, so that weights and checkpoints stay so."""
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()} in epoch {self.current_epoch}, batch {batch_index}: training has "
                "diverged; a lower learning rate (model.optimizer.init_args.lr) is the usual cure"
            )

    def noise(self, batch_size: int, batch_index: int, columns: int = 0) -> tuple[Tensor, list[Tensor | None]]:
        """Uniform noise `(B, columns)` and dropout masks, functions of (seed, epoch, place in the global batch)."""
        source = seeded_generator(self.seed, self.current_epoch, batch_index)
        world, rank = self.trainer.world_size, self.trainer.global_rank
        # For several processes: every part of a batch is as large as this one, but for a last batch that is cut unevenly.
        noise = torch.rand(world * batch_size, columns, generator=source)
        masks = self.net.dropout_masks(world * batch_size, self.image_dropout, self.state_dropout, source)
        mine = slice(rank * batch_size, (rank + 1) * batch_size)
        return noise[mine].to(self.device), [None if mask is None else mask[mine] for mask in masks]

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def _start_evaluation(self) -> None:
        self.evaluation = self.new_evaluation().to(self.device)

    on_validation_epoch_start = on_test_epoch_start = _start_evaluation

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Evaluate one batch."""
        self.evaluation.update(self.net, prepare(batch[0]), batch[1])

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Evaluate one batch."""
        self.validation_step(batch, batch_index)

    def on_validation_epoch_end(self) -> None:
        """Log the errors."""
        self._log_errors("val", prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log the errors."""
        self._log_errors("test", prog_bar=False)

    def _log_errors(self, stage: str, prog_bar: bool) -> None:
        results = self.evaluation.compute()
        figures = {f"{stage}/{name}": float(results[name]) for name in ("error", "one_pass_error") if name in results}
        self.log_dict(figures, prog_bar=prog_bar)


def prepare(images: Tensor) -> Tensor:
    """Turn a batch as stored, uint8 `(B, D)` or video `(B, T, D)`, into what the net reads: `(B, D)` or `(T, B, D)` in [0, 1]."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return images.transpose(0, 1) if images.ndim == 3 else images
