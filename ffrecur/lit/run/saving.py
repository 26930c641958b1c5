"""The last checkpoint of a run: written whole, often enough, and when somebody asks the run to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging

from ffrecur.data.loader import TensorLoader
from ffrecur.errors import CommonError, UserError
from ffrecur.lit.module import NetModule
from ffrecur.lit.run.averaging import keep_averaged
from ffrecur.lit.run.csv_logger import ContinuedCSVLogger
from ffrecur.lit.run.folders import LAST, notice
from ffrecur.lit.run.health import DivergedError
from ffrecur.lit.run.places import (
    about_to_stop,
    epoch_is_whole,
    goes_on_after,
    goes_on_with_next_epoch,
    goes_on_with_validation,
    progress,
    step_taken,
    validation_due,
)
from ffrecur.lit.run.stopping import SIGNALS, Stopped, launched


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt at the end of each epoch, `seconds` after the one before, and wherever a training stops.

    A training that goes on from it ends as one that was never stopped, bit by bit. So it is written after batches that took an
    optimiser step, and after the validation that follows them; an epoch's last batch is followed by the checkpoint of the
    epoch's end.

    SIGTERM and SIGINT (Ctrl-C) let the batch be finished, and a validation that follows; then last.ckpt is written and
    `Stopped` raised. A second signal ends the process at once. Of several processes all stop after the same batch, also
    where only one was asked to. After an exception last.ckpt is written as of the last optimiser step, if there has been
    one since the training began; `saved_path` is where, or None.

    An epoch's figures are logged after the checkpoint of its end, which holds them too: if the process is killed in
    between, the run that goes on from there logs them.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.path, self.seconds = folder / LAST, seconds
        self.saved_at, self.saved_step = 0.0, -1
        self.saved_path: Path | None = None  # what an exception has left
        self.received = 0  # the number of the first signal
        self.waiting = False  # whether somebody wants a checkpoint that must wait for the next place to go on from
        self.figures: dict[str, float] = {}  # of the epoch that has just ended
        self.most: int | None = None  # how many rows of metrics.csv a run that goes on from here keeps
        self.begun: int | None = None  # optimiser steps when this training began
        self.place: dict[str, Any] | None = None  # after the last optimiser step
        self.correct: Callable[[dict[str, Any]], None] | None = None  # the loops' part of the checkpoint being written
        self.launched: list[subprocess.Popen[bytes]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the figures of the epoch, in the checkpoint of its end, and how many rows had been logged."""
        return {"figures": self.figures, "rows": self.most}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the figures of the epoch that had ended."""
        self.figures, self.most = dict(state_dict["figures"]), state_dict.get("rows")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the loops go on at the right place, where that is not the one they are at."""
        if self.correct is not None:
            self.correct(checkpoint["loops"]["fit_loop"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures of the epoch that had ended, if this run has not; a finished one gets no further than this."""
        figures, self.figures = self.figures, {}
        most, self.most = self.most, None
        step = int(figures.pop("step", 0))
        own = trainer.is_global_zero and trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.path
        tables = [logger for logger in trainer.loggers if isinstance(logger, ContinuedCSVLogger)] if own else []
        for table in tables:
            table.experiment.most = most
        if any(table.lacks(step, figures) for table in tables):
            for logger in trainer.loggers:
                logger.log_metrics(figures, step)
                logger.save()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen in place of Lightning, which ends with exit code 0 after SIGTERM and amid a batch after SIGINT.

        It brings back the handlers that were there before it when the training ends.
        """
        self.saved_at, self.launched, self.begun = time.monotonic(), launched(trainer), trainer.global_step
        for number in SIGNALS:
            signal.signal(number, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; at the second end the processes that this one has started, and exit."""
        if self.received:
            for process in self.launched:
                process.kill()
            os._exit(128 + number)
        self.received = number
        notice(f"\n{signal.Signals(number).name}: finishing the batch and saving; once more ends at once")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, or if the training ends here; stop if a signal has come. A validation comes first."""
        number, late = self.agreed(trainer)
        if not step_taken(trainer):
            return
        self.remember(trainer, pl_module)
        ending = about_to_stop(trainer)
        self.waiting = bool(number) or late or ending
        if not self.waiting or validation_due(trainer):
            return
        if not epoch_is_whole(trainer):
            self.save_and_stop(trainer, number)
        elif ending:  # by a validation that would not follow otherwise
            self.most = self.rows(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and stop, after a validation amid an epoch: what `on_train_batch_end` has left to be done."""
        if self.place is None or trainer.sanity_checking or epoch_is_whole(trainer) or not step_taken(trainer):
            return
        number, late = self.agreed(trainer)
        if (number or late or self.waiting or about_to_stop(trainer)) and self.saved_step != trainer.global_step:
            self.save_and_stop(trainer, number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, with the epoch's figures; where an epoch was left amid its batches, only if that place is not saved yet."""
        if epoch_is_whole(trainer):
            names = trainer.callback_metrics
            self.end_epoch(trainer, {name: names[name].item() for name in names if name.startswith("train/")})
        elif self.saved_step != trainer.global_step:
            self.save_and_stop(trainer, 0)

    def end_epoch(self, trainer: Trainer, figures: dict[str, float]) -> None:
        """Write the checkpoint of an epoch's end."""
        self.figures = {"step": trainer.global_step - 1, "epoch": trainer.current_epoch, **figures}
        self.save(trainer)
        self.figures, self.most = {}, None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal has come in the last batch of the epoch before, or after it: now its figures are logged."""
        number, _ = self.agreed(trainer)
        if number and self.saved_step == trainer.global_step:
            self.stop(trainer, number)

    def agreed(self, trainer: Trainer) -> tuple[int, bool]:
        """Return the signal that any of the processes has received, 0 for none, and whether it is time for one of them."""
        late = time.monotonic() - self.saved_at >= self.seconds
        if trainer.world_size == 1:
            return self.received, late
        ours = torch.tensor([self.received, int(late)], device=trainer.strategy.root_device)
        number, anyone_late = trainer.strategy.reduce(ours, reduce_op="max").tolist()
        return number, bool(anyone_late)

    def save(self, trainer: Trainer) -> None:
        """Write last.ckpt."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path, weights_only=False)
        self.saved_at, self.saved_step, self.waiting = time.monotonic(), trainer.global_step, False

    def save_and_stop(self, trainer: Trainer, number: int) -> None:
        """Write last.ckpt amid an epoch: what is logged after this, at this step, comes once more. Stop after a signal."""
        self.most = self.rows(trainer)
        self.save(trainer)
        self.most = None
        self.stop(trainer, number)

    def rows(self, trainer: Trainer) -> int | None:
        """Return how many rows metrics.csv has; None where there is no such file."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, ContinuedCSVLogger)]
        return len(loggers[0].experiment.rows()) if loggers and trainer.is_global_zero else None

    def stop(self, trainer: Trainer, number: int) -> None:
        """End the run if there is a signal's number."""
        if number:
            notice(f"Stopped. To go on: ffrecur fit --ckpt_path last, or --ckpt_path {self.path}")
            raise Stopped(number, together=trainer.world_size > 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep weights that another callback has put in the place of the trained ones, such as an average of several."""
        path = trainer.strategy.broadcast(self.path)  # only the first process knows the folder of a new run
        if self.saved_step == trainer.global_step and path.is_file():
            keep_averaged(trainer, pl_module, path)

    # --- exceptions ---------------------------------------------------------------------------------------------------

    def remember(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember this place, after an optimiser step; what a batch changes before its step, of our modules alone."""
        _, batches = progress(trainer)
        self.place = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "batches": (batches.total.processed, batches.current.processed),
            "before": module.between_steps() if isinstance(module, NetModule) else None,
        }
        if isinstance(module, NetModule):
            module._stepping = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write last.ckpt as of the last optimiser step, from which the run goes on as if nothing had happened.

        Nothing is written where no step was made, where the state is torn, where several processes may not all be here, and
        where training has diverged: the checkpoint before stands, as it does on a full disk.
        """
        alone = trainer.world_size == 1 or isinstance(exception, CommonError)
        made = self.begun is not None and trainer.global_step > self.begun
        if isinstance(exception, Stopped | DivergedError) or not alone or not made:
            return
        if self.saved_step != trainer.global_step:
            try:
                self.save_as_of_last_step(trainer, pl_module)
            except UserError:
                return
            finally:
                self.correct = None
        if self.saved_step == trainer.global_step and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.saved_path = self.path

    def save_as_of_last_step(self, trainer: Trainer, module: LightningModule) -> None:
        """See `on_exception`. A module of the user's own cannot be taken back to its last step: the checkpoint before stands."""
        if not isinstance(module, NetModule):
            return
        epoch, batches = (counts.current for counts in progress(trainer))
        if self.place is None or self.place["step"] != trainer.global_step:
            if batches.processed != batches.ready or not step_taken(trainer):
                return  # amid the step
            self.remember(trainer, module)
        elif module._stepping or self.place["epoch"] != trainer.current_epoch:
            return
        assert self.place is not None
        if batches.processed > self.place["batches"][1] or batches.ready > batches.processed:
            # Amid a batch, or amid several that are accumulated: what they have changed is taken back.
            module.go_back(self.place["before"])
            self.correct = partial(after_batch, place=self.place, loader=trainer.train_dataloader)
            self.save_and_stop(trainer, 0)
        elif epoch.processed == epoch.ready and epoch_is_whole(trainer):
            figures = module.end_epoch() if module.ended is None else module.ended
            self.correct = goes_on_with_next_epoch
            self.end_epoch(trainer, {name: float(value) for name, value in figures.items()})
        elif any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks) and trainer.validating:  # type: ignore[attr-defined]
            return  # other weights are in the net's place
        elif trainer.validating or validation_due(trainer):
            self.correct = goes_on_with_validation
            self.save_and_stop(trainer, 0)
        elif epoch_is_whole(trainer):
            self.correct = goes_on_with_next_epoch
            self.end_epoch(trainer, {name: float(value) for name, value in module.end_epoch().items()})
        else:
            self.correct = partial(after_batch, place=self.place, loader=trainer.train_dataloader)
            self.save_and_stop(trainer, 0)


def after_batch(loops: dict[str, Any], place: dict[str, Any], loader: Any) -> None:
    """Let the loops go on after a place that was remembered, and the loader with them."""
    total, current = place["batches"]
    goes_on_after(loops, total, current, place["step"])
    if isinstance(loader, TensorLoader):
        (state,) = loops["state_dict"]["combined_loader"]
        state.update(batches=current, samples=loader.end(current - 1))
