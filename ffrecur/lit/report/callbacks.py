"""What a command prints and writes: lines of each epoch, samples, and what an evaluation or a prediction leaves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.loggers import TensorBoardLogger

from ffrecur.lit.module import NetModule
from ffrecur.lit.report.files import write_evaluation, write_table
from ffrecur.pages.report import NAME, write_report
from ffrecur.processes import gather_first


def boards_of(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the loggers that show text and pictures."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


class EpochLines(Callback):
    """Print the logged figures after each epoch, one line."""

    epoch: int | None = None  # the last one that has ended

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch has ended; its figures are logged after this."""
        self.epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before."""
        if self.epoch is None:
            return
        figures = {name: value.item() for name, value in trainer.callback_metrics.items() if "goodness" not in name}
        text = "  ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))
        if trainer.is_global_zero:
            print(f"epoch {self.epoch}  {text}", flush=True)

    on_train_end = on_train_epoch_start


class Minutes(Callback):
    """Log the minutes of training so far, validation included; a run that is continued goes on counting."""

    seconds, begun = 0.0, 0.0  # of the commands before; when this one began

    def elapsed(self) -> float:
        """Return the seconds of training so far."""
        return self.seconds + (time.monotonic() - self.begun if self.begun else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self.begun = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log them."""
        pl_module.log("train/minutes", self.elapsed() / 60)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds, as Lightning's `Timer` has them, which this callback once was."""
        return {"time_elapsed": {"train": self.elapsed()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds = float(state_dict["time_elapsed"].get("train", 0.0))


class TextSamples(Callback):
    """Write a sample to TensorBoard after each epoch, of a net that writes text."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        boards = boards_of(trainer)
        if not isinstance(pl_module, NetModule) or not trainer.is_global_zero or not boards:
            return
        sample = pl_module.sample_of_epoch(trainer.datamodule)  # type: ignore[attr-defined]
        # TensorBoard shows Markdown, which breaks a line after two spaces.
        written = None if sample is None else sample.replace("\n", "  \n")
        for board in boards if written is not None else ():
            board.experiment.add_text("sample", written, global_step=trainer.global_step)


class Report(Callback):
    """Print what an evaluation found, and write it into the folder, with a page about the run; see `write_evaluation`."""

    def __init__(self, folder: Path, checkpoint: Path | None) -> None:
        self.folder, self.checkpoint = folder, checkpoint

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the test split."""
        self._report(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the validation split, where validation is the command and not a part of training."""
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module, "validation")

    def _report(self, trainer: Any, module: Any, stage: str) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        data = trainer.datamodule
        found = module.evaluated(data, stage)
        checkpoint = None if self.checkpoint is None else self.checkpoint.name
        behind = {"source": getattr(data, "description", None), "checkpoint": checkpoint}
        found = found._replace(figures={**found.figures, **behind})
        written = write_evaluation(self.folder, stage, found, boards_of(trainer), trainer.global_step)
        print(found.text)
        write_report([self.folder], self.folder / NAME)
        print(f"\nWritten to {self.folder}: {', '.join([*written, NAME])}")


class PredictionWriter(BasePredictionWriter):
    """Write `predictions.csv`, see `ClassifierModule.predicted`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="epoch")
        self.folder = folder

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Any, batch_indices: Any
    ) -> None:
        """Write the file when all images are scored."""
        # Each process scored its part of every batch; the parts follow one another in the order of the ranks.
        of_ranks = gather_first([scores_BC.cpu() for scores_BC in predictions])
        if not trainer.is_global_zero:
            return
        scores_NC = torch.cat([scores_BC for parts in zip(*of_ranks, strict=True) for scores_BC in parts])
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "predictions.csv"
        files = getattr(trainer.datamodule, "predict_files", None)  # type: ignore[attr-defined]
        write_table(path, pl_module.predicted(scores_NC, files))  # type: ignore[operator]
        print(f"{len(scores_NC)} predictions written to {path}")
