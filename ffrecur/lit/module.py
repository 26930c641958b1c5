"""What all modules share: one optimiser with a schedule, checkpoints that rebuild the net, and a finite loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ffrecur.errors import CommonError, UserError, check_seed, check_setting, one_line
from ffrecur.lit.epoch import EpochFigures
from ffrecur.lit.optim import (
    Interval,
    apply_configured,
    as_stored,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
    interval_of,
    make_schedule,
    use_rate,
)
from ffrecur.lit.run.first import First, catch_up
from ffrecur.lit.run.health import check_tensors, making, warn_of_other_seed
from ffrecur.lit.run.places import broken_off, goes_on_after, progress, step_taken
from ffrecur.lit.schedules import FlatThenLinear, warn_of_end
from ffrecur.storage.checkpoint import NET_KEY, describe

OPTIMIZER_KEY = "ffrecur_optimizer"  # entry of a checkpoint: how its optimiser and schedule were configured
EPOCH_KEY = "ffrecur_epoch"  # entry: the sums of the epoch's figures so far, and what has been warned of
UNAVERAGED_KEY = "ffrecur_unaveraged"  # entry: weights to go on with, where others are to be used

COMPONENTS = ("goodness", "objective", "negatives")  # settings that may be objects
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")  # in which there are local gradients


class NetModule(EpochFigures):
    """Base of the modules. A subclass builds its net, of hidden layers and a `head`, once its sizes are known from the data.

    The head has a learning rate and a weight decay of its own, and the net `settings()` that build another like it.

    Args:
        optimizer: any optimiser, for example torch.optim.Adam.
        lr_scheduler: any schedule, such as PyTorch's.
        weight_decay: every step multiplies the weights, not the biases, by (1 - rate * weight_decay).
        head_learning_rate_scale: the head's learning rate over that of the hidden layers.
        head_weight_decay: weight decay of the head; as `weight_decay` where not given.
        seed: seed of the first weights and of all noise; the command line sets it to `seed_everything`.
        lr_scheduler_interval: what the schedule is stepped after, "epoch" or "step" (of the optimiser). By default each
            epoch; OneCycleLR and CyclicLR, which are meant for it, each step.
    """

    kind: ClassVar[str]  # of its net, in `ffrecur.storage.checkpoint.KINDS`
    target: str = "val/error"  # the validation figure, low is good, that chooses the best checkpoint
    structure: ClassVar[tuple[str, ...]]  # settings of the net that a checkpoint's weights must agree with
    widths: tuple[str, ...] = ("hidden_features",)  # settings that tell how large the net is
    refused: ClassVar[Mapping[str, str]] = {}  # commands that there are not for such a net, and why
    next_commands: ClassVar[tuple[str, ...]] = ()  # what may follow training besides `test`, before the run's folder

    def __init__(
        self,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        weight_decay: float = 0.0,
        head_learning_rate_scale: float = 1.0,
        head_weight_decay: float | None = None,
        seed: int = 0,
        lr_scheduler_interval: Interval | None = None,
    ) -> None:
        super().__init__()
        # Of the subclass too. Callables do not load with weights_only=True; the command line keeps them as text.
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        for name in COMPONENTS:  # an object may not load with weights_only=True either
            if not isinstance(self.hparams.get(name), str | dict | None):
                del self._hparams[name], self._hparams_initial[name]  # type: ignore[index]
        self.optimizer, self.lr_scheduler, self.seed = optimizer, lr_scheduler, seed
        self.weight_decay, self.head_learning_rate_scale = weight_decay, head_learning_rate_scale
        self.head_weight_decay = weight_decay if head_weight_decay is None else head_weight_decay
        self.lr_scheduler_interval = lr_scheduler_interval
        known, scale = lr_scheduler_interval in (None, "epoch", "step"), head_learning_rate_scale
        check_setting(known, "lr_scheduler_interval", lr_scheduler_interval, "epoch or step")
        check_setting(scale > 0, "head_learning_rate_scale", scale, "greater than 0")
        check_seed("seed", seed)
        for name in ("weight_decay", "head_weight_decay"):
            check_setting(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        self.net = None
        self._configured: dict[str, Any] = {}  # how optimiser and schedule were made
        self._stored: dict[str, Any] | None = None
        self._stop_waits = self._stepping = False  # for the step of batches accumulated; weights may be amid a step
        self._found_rate: float | None = None

    # --- building -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def match_data(self, data: Any) -> None:
        """Learn the sizes of the net from a data module that has been set up; raises `UserError` for data that does not fit."""

    @abstractmethod
    def build(self) -> Any:
        """Return a new net of the sizes learned."""

    def configure_callbacks(self) -> list[Callback]:
        """Put the callback before all others that builds the net and puts right what a checkpoint brings back."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, First) for callback in callbacks):
            callbacks.insert(0, First())
        return []

    def setup(self, stage: str) -> None:
        """Learn the sizes from the data, or refuse data that does not fit; build the net, in the training's precision.

        `First` calls it before any other callback is set up, Lightning after all of them.
        """
        precision = self.trainer.precision_plugin.precision
        check_setting(precision in PRECISIONS, "trainer.precision", precision, " or ".join(PRECISIONS))
        self.match_data(getattr(self.trainer, "datamodule", None))
        if stage == "fit":
            warn_of_other_seed(self.seed)
        self.configure_model()
        self.trainer.precision_plugin.convert_module(self)

    def configure_model(self) -> None:
        """Build the net, now that its sizes are known, with weights that depend on the seed only."""
        if self.net is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                with making(self.hparams, self.widths):
                    self.net = self.build()

    def configure_optimizers(self) -> Any:
        """Return one optimiser for all layers, and the schedule."""
        optimizer = grouped_optimizer(
            self.optimizer, self.net, self.weight_decay, self.head_weight_decay, self.head_learning_rate_scale
        )
        scheduler = make_schedule(self.lr_scheduler, optimizer, self.head_learning_rate_scale)
        stored = self._stored
        interval = interval_of(scheduler, self.lr_scheduler_interval, stored)
        if isinstance(scheduler, FlatThenLinear) and self._trainer is not None:  # else its settings are looked at alone
            scheduler.take_length(self.trainer, interval)
        self._configured = {**configured_settings(optimizer, scheduler), "interval": interval}
        if stored is not None:
            check_continued(self._configured, stored)
            if self.optimizer is torch.optim.Adam:  # the default: nobody has said how fast to learn
                self._configured = as_stored(self._configured, stored)
        if scheduler is None:
            return optimizer
        # `on_train_epoch_end` steps the one that looks at a figure: Lightning would after the epoch's checkpoint.
        plan = {"scheduler": scheduler, "interval": interval, "reduce_on_plateau": False}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule; raises `UserError` for one that has come to its end."""
        if isinstance(scheduler, ReduceLROnPlateau):
            return
        try:
            super().lr_scheduler_step(scheduler, metric)
        except ValueError as error:
            raise CommonError(f"model.lr_scheduler: {one_line(error)}") from error

    @property
    def learning_rate(self) -> float:
        """The learning rate of the hidden layers; the head's is `head_learning_rate_scale` times as high.

        `LearningRateFinder` sets it, and the training that follows starts with it.
        """
        if self._found_rate is not None:
            return self._found_rate
        return float(self._optimizer.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._found_rate = float(rate)

    def check_optimizer(self, stored: dict[str, Any] | None) -> None:
        """Make optimiser and schedule for the sake of their errors, before anything is written.

        `stored` is how those of the run that is continued were configured. Raises `UserError`.
        """
        self.configure_model()
        self._stored = stored
        self.configure_optimizers()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def check_stored(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """Raise `UserError` for the net of a checkpoint that is of another kind or size; take the classes of one that fits."""
        kind, settings = stored["kind"], stored["settings"]
        if kind != self.kind:
            raise UserError(
                f"model is {type(self).__name__}, which trains a {self.kind}, but {checkpoint} holds a {kind}"
            )
        for name in self.structure:
            asked, known = self.hparams.get(name), settings.get(name)
            if None not in (asked, known) and asked != known:
                raise UserError(f"{name} is {asked}, but the net in {checkpoint} has {known}")
        self.adopt(stored)

    def adopt(self, entry: dict[str, Any]) -> None:  # a net without classes has nothing to take
        """Take from a stored net what the data is matched with; `entry` as of `ffrecur.storage.checkpoint.describe`."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `ffrecur.load` needs to rebuild the net, how the optimiser was configured, and the epoch's figures.

        An epoch that was left amid its batches is one to be continued. Raises `UserError` for weights that are not finite:
        the checkpoint before stands.
        """
        check_tensors("weight", self.net.named_parameters(), f"epoch {self.current_epoch}")
        checkpoint[NET_KEY] = describe(self.net)
        found = (self._stored or {}).get("found_rate") if self._found_rate is None else self._found_rate
        checkpoint[OPTIMIZER_KEY] = {**self._configured, "found_rate": found}
        checkpoint[EPOCH_KEY] = {"sums": dict(self.epoch_sums), "warned": list(self.warned)}
        if self._trainer is not None and broken_off(self.trainer):
            _, batches = progress(self.trainer)
            loops, steps = checkpoint["loops"]["fit_loop"], self.trainer.global_step
            goes_on_after(loops, batches.total.processed, batches.current.processed, steps)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how the optimiser of a run that is continued was configured; get ready for weights in its precision."""
        if self._trainer is not None:  # Lightning does so when weights in float64 have become float32 already
            self.trainer.precision_plugin.convert_module(self)
            if self.trainer.state.fn == TrainerFn.FITTING and UNAVERAGED_KEY in checkpoint:
                checkpoint["state_dict"] = checkpoint[UNAVERAGED_KEY]
        else:
            self.check_goodness(checkpoint[NET_KEY]["settings"].get("goodness"))
        self._stored = checkpoint[OPTIMIZER_KEY]
        epoch = checkpoint.get(EPOCH_KEY, {"sums": {}, "warned": []})  # version 0.1.0 has none
        self.epoch_sums, self.warned = dict(epoch["sums"]), list(epoch["warned"])

    def check_goodness(self, stored: Any) -> None:
        """Raise `UserError` where `load_from_checkpoint` made the module with another goodness than that of the checkpoint.

        An object is no hyper-parameter that a checkpoint could keep.
        """
        own = describe(self.net)["settings"].get("goodness")
        if own != stored:
            names = ["the mean square" if entry is None else entry["class_path"] for entry in (own, stored)]
            raise UserError(
                f"goodness is {names[0]}, but the net of the checkpoint was trained with {names[1]}: "
                "give it, as in load_from_checkpoint(path, goodness=...)"
            )

    def between_steps(self) -> dict[str, Any]:
        """Return what a batch changes before its optimiser step, for `go_back` should it get no further."""
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        return {"epoch_sums": dict(self.epoch_sums), "warned": list(self.warned), "buffers": buffers}

    def go_back(self, before: dict[str, Any]) -> None:
        """Take back what a batch has changed that broke off before its optimiser step."""
        self.epoch_sums, self.warned = dict(before["epoch_sums"]), list(before["warned"])
        for name, buffer in self.net.named_buffers():
            buffer.copy_(before["buffers"][name])

    # --- training -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Let settings that were changed win over those in a checkpoint's optimiser state; use a rate that was found."""
        optimizer, scheduler = self._optimizer, self.lr_schedulers()
        if not self._configured:  # by a `configure_optimizers` of the user's own
            self._configured = configured_settings(optimizer, scheduler)
        if self._stored is not None:
            apply_configured(optimizer, scheduler, self._configured, self._stored)
        warn_of_end(scheduler, self.trainer, self._configured.get("interval", "epoch"))
        catch_up(self.trainer, self)
        if self._found_rate is not None:
            use_rate(optimizer, scheduler, self._configured, self._found_rate)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let a stop that has waited come after this batch."""
        if self._stop_waits:
            self.trainer.should_stop, self._stop_waits = True, False

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let a stop wait for the optimiser step of the batches accumulated, lest they are lost."""
        if self.trainer.should_stop and not step_taken(self.trainer):
            self.trainer.should_stop, self._stop_waits = False, True

    def on_validation_end(self) -> None:
        """Let a stop wait, such as that of `EarlyStopping`."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.on_train_batch_end(None, None, 0)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Decay the weights, now that the gradients have been taken at the old ones.

        Raises `UserError` for a gradient or a weight that is not finite.
        """
        where = f"epoch {self.current_epoch}, batch {self.trainer.fit_loop.epoch_loop.batch_idx}"
        named = list(self.net.named_parameters())
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # one that scales looks out for infinities
            check_tensors("gradient", [(name, weight.grad) for name, weight in named if weight.grad is not None], where)
        check_tensors("weight", named, where)
        self._stepping = True
        decay_weights(optimizer)
