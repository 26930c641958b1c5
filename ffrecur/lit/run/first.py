"""The callback that runs before all others: the net is there when they are set up, and a run goes on where it stopped."""

from __future__ import annotations

import inspect
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.trainer.states import TrainerFn

from ffrecur.data.loader import TensorLoader
from ffrecur.errors import CommonError
from ffrecur.lit.run.folders import notice
from ffrecur.lit.run.health import warn_of_chance
from ffrecur.lit.run.places import epoch_is_whole, progress

OURS = ("on_", "validation_step", "test_step")  # hooks in which our modules do work of their own


class First(Callback):
    """Builds the net before the other callbacks are set up, some of which copy it; puts right what a checkpoint brings back.

    What is typed wins over what a checkpoint holds: the patience of `EarlyStopping`, and the time of `max_time` or a
    `Timer`, of which each command gets the whole. A search for a learning rate is for new runs.
    """

    def __init__(self) -> None:
        self.patience: list[tuple[EarlyStopping, int]] = []
        self.begun = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build the net; note what was typed."""
        check_hooks(pl_module)
        pl_module.setup(stage)
        self.patience = [(each, each.patience) for each in trainer.callbacks if isinstance(each, EarlyStopping)]  # type: ignore[attr-defined]
        if any(isinstance(each, BatchSizeFinder) for each in trainer.callbacks):  # type: ignore[attr-defined]
            raise CommonError(
                "trainer.callbacks has a BatchSizeFinder, but what it finds would not be kept with the run, and smaller batches "
                "learn faster; give data.batch_size"
            )
        self.begun = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out a search for a learning rate: the run that is continued has one. The search loads a checkpoint too."""
        if trainer.state.fn == TrainerFn.FITTING and not self.begun:
            callbacks = trainer.callbacks  # type: ignore[attr-defined]
            kept = [each for each in callbacks if not isinstance(each, LearningRateFinder)]
            if len(kept) < len(callbacks):
                notice(
                    "LearningRateFinder does not search again: the training that is continued has its learning rate."
                )
            trainer.callbacks = kept  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let what was typed win; warn of a net that local gradients are wrong for."""
        warn_of_chance(pl_module.net)  # type: ignore[arg-type]  # of a module of ours
        self.begun = True
        for callback, patience in self.patience:
            callback.patience = patience
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Timer):
                callback._offset = 0
        check_averaging(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put right where Lightning would go on.

        With `max_steps` it takes an epoch that is over for one that was broken off, and leaves out the next. A place in an
        epoch becomes the batch of the present size in which it lies. Raises `UserError` for an epoch that has had more
        batches than it may have now.
        """
        check_rate_found(trainer)
        loop = trainer.fit_loop
        if not loop.is_resuming:
            return
        epoch, batches = progress(trainer)
        if epoch.current.processed == epoch.current.ready:
            for part in (epoch.total, epoch.current):
                part.completed = part.processed
            loop._restarting = loop.epoch_loop.restarting = False
            loop.reset_restart_stage()
            loop.epoch_loop.reset_restart_stage()
            return
        loader = trainer.train_dataloader
        if isinstance(loader, TensorLoader):
            batch = loader.place(epoch.current.processed)[0]
            behind = batches.current.processed - batches.current.completed
            batches.current.load_state_dict({"ready": batch, "started": batch, "processed": batch})
            batches.current.completed = batch - behind
        done, limit = batches.current.processed, trainer.num_training_batches
        if done >= limit and not epoch_is_whole(trainer):
            raise CommonError(
                f"trainer.limit_train_batches leaves {limit} batches an epoch, but the epoch that is continued has had "
                f"{done}; give more, or continue from a checkpoint of an epoch's end"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let figures be logged at the number of optimiser steps, however the run was continued."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def check_hooks(module: LightningModule) -> None:
    """Raise `UserError` for a hook that hides one of ours, without which figures or the decay of weights would be missing."""
    kinds = type(module).__mro__
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] == "ffrecur"]
    for kind in kinds[: kinds.index(own[0])] if own else ():
        for name, hook in vars(kind).items():
            code = getattr(inspect.unwrap(hook) if callable(hook) else None, "__code__", None)
            hides = name.startswith(OURS) and any(name in vars(other) for other in own)
            if hides and code is not None and not {"super", name} & set(code.co_names):
                raise CommonError(
                    f"{kind.__name__}.{name} must call super().{name}(...), where {own[0].__name__} does its own work"
                )


def catch_up(trainer: Trainer, module: LightningModule) -> None:
    """Let callbacks that set up a training at an epoch's start do so where an epoch is continued, which Lightning does not."""
    epochs, _ = progress(trainer)
    if not trainer.fit_loop.is_resuming or epochs.current.processed == epochs.current.ready:
        return
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler | StochasticWeightAveraging):
            callback.on_train_epoch_start(trainer, module)
    for group, rate in zip(trainer.optimizers[0].param_groups, rates, strict=True):
        group["lr"] = rate  # which a new schedule of the averaging has set anew


def check_rate_found(trainer: Trainer) -> None:
    """Raise `UserError` for a search for a learning rate that has found none: it says so in the log only."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LearningRateFinder) and callback.optimal_lr is not None:
            steps = len(callback.optimal_lr.results["lr"])
            if callback.optimal_lr.suggestion() is None:
                raise CommonError(
                    f"LearningRateFinder has found no learning rate in {steps} steps; it leaves out the first 10, and is "
                    "given no more than trainer.max_epochs allows"
                )


def check_averaging(trainer: Trainer) -> None:
    """Raise `UserError` for an average that would have no weights, or others than before where a run is continued.

    Lightning would end such a training with the first weights.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(callback, StochasticWeightAveraging) or trainer.max_epochs in (None, -1):
            continue
        given, epochs = callback._swa_epoch_start, int(trainer.max_epochs or 0)
        first = max(int(epochs * given) if isinstance(given, float) else given, 1)
        last, count = callback._latest_update_epoch, callback._init_n_averaged
        if first > epochs:
            raise CommonError(
                f"StochasticWeightAveraging.swa_epoch_start is {given}, but must be at most trainer.max_epochs, {epochs}"
            )
        if count and last - count + 2 != first:
            raise CommonError(
                f"StochasticWeightAveraging.swa_epoch_start is {given}, epoch {first} of {epochs}, but the run that is "
                f"continued averages from epoch {last - count + 2} on; give swa_epoch_start={last - count + 2}"
            )
