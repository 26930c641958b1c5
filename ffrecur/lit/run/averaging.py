"""Averaged weights: those that are tested and exported, beside those that the training goes on with."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging

from ffrecur.lit.module import UNAVERAGED_KEY, NetModule
from ffrecur.lit.run.folders import BEST, notice
from ffrecur.storage.archive import read_archive


def keep_averaged(trainer: Trainer, module: LightningModule, last: Path) -> None:
    """Validate weights that are no longer those in last.ckpt, write them there and into best.ckpt, and say so.

    The weights that the training goes on with stay in the checkpoint beside them. Of a module of the user's own, which we
    cannot continue, nothing is changed.
    """
    if not isinstance(module, NetModule):
        return
    checkpoint = read_archive(last)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    if all(torch.equal(tensor, checkpoint["state_dict"][name]) for name, tensor in weights.items()):
        return
    averaging = [each for each in trainer.callbacks if isinstance(each, StochasticWeightAveraging)]  # type: ignore[attr-defined]
    if averaging and not any(each.n_averaged for each in averaging):
        module.load_state_dict(checkpoint["state_dict"])
        notice("No weights were averaged: the training ended before that began.")
        return
    checkpoint = {**checkpoint, UNAVERAGED_KEY: checkpoint["state_dict"], "state_dict": weights}
    figure = ""
    if trainer.enable_validation:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        figure = f" ({module.target} {float(trainer.callback_metrics[module.target]):.4f})"
    if trainer.is_global_zero:
        for path in (last, last.parent / BEST):
            trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, path)
    notice(f"{last.name} and {BEST} have the averaged weights{figure}; a run that goes on starts from those before.")
