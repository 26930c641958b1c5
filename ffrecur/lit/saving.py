"""The last checkpoint of a run: written whole, often enough, and when somebody asks the run to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from ffrecur.errors import UserError
from ffrecur.files import replacing
from ffrecur.lit.csv_logger import ContinuedCSVLogger
from ffrecur.lit.runs import LAST, notice
from ffrecur.lit.stopping import SIGNALS, Stopped, launched


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning's own goes by way of the folder for temporary files: from another file system it would be copied, and be
    there in part for a while.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; raises `UserError` if the disk does not take it, and what was at `path` stays."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # PyTorch raises a RuntimeError of its own while it handles the disk's error.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            kept = "the one before it is untouched" if path.is_file() else "there is none before it"
            raise UserError(f"checkpoint '{path}' cannot be written ({cause.strerror}); {kept}") from error


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt at the end of each epoch, `seconds` after the one before, and when a signal asks the run to stop.

    SIGTERM and SIGINT (Ctrl-C) let the batch be finished, and a validation that has begun; then last.ckpt is written and
    `Stopped` raised. A second signal ends the process at once. Amid an epoch last.ckpt is written only after a batch that
    took an optimiser step, and never after the epoch's last, which the checkpoint of the epoch's end follows. Of several
    processes all stop after the same batch, also where only one was asked to.

    An epoch's figures are logged after the checkpoint of its end, which holds them too: if the process is killed in
    between, the run that goes on from there logs them.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.path, self.seconds = folder / LAST, seconds
        self.saved_at, self.saved_step = 0.0, -1
        self.received = 0  # the number of the first signal
        self.figures: dict[str, float] = {}  # of the epoch that has just ended
        self.launched: list[subprocess.Popen[bytes]] = []
        self.saved_path: Path | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the figures of the epoch, in the checkpoint of its end."""
        return {"figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the figures of the epoch that had ended."""
        self.figures = dict(state_dict["figures"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures of the epoch that had ended, if this run has not; a finished one gets no further than this."""
        figures, self.figures = self.figures, {}
        step = int(figures.pop("step", 0))
        own = trainer.is_global_zero and trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.path
        if own and any(
            isinstance(logger, ContinuedCSVLogger) and logger.lacks(step, figures) for logger in trainer.loggers
        ):
            for logger in trainer.loggers:
                logger.log_metrics(figures, step)
                logger.save()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen in place of Lightning, which ends with exit code 0 after SIGTERM and amid a batch after SIGINT.

        It brings back the handlers that were there before it when the training ends.
        """
        self.saved_at, self.launched = time.monotonic(), launched(trainer)
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
        """Save if it is time; save and stop if a signal has come."""
        number, late = self.agreed(trainer)
        done = batch_idx + 1
        if (number or late) and done % trainer.accumulate_grad_batches == 0 and done < trainer.num_training_batches:
            self.save(trainer)
            self.stop(trainer, number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, with the epoch's figures."""
        named = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
        self.figures = {"step": trainer.global_step - 1, "epoch": trainer.current_epoch, **named}
        self.save(trainer)
        self.figures = {}

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
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def stop(self, trainer: Trainer, number: int) -> None:
        """End the run if there is a signal's number."""
        if number:
            notice(f"Stopped. To go on: ffrecur fit --ckpt_path last, or --ckpt_path {self.path}")
            raise Stopped(number, together=trainer.world_size > 1)
