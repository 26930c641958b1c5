"""Callbacks that set up a training, such as LearningRateFinder: what they find is used, or a sentence says why not."""

from __future__ import annotations

from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, LearningRateFinder
from running import TINY, At, check_same_run, fit_with, kill, loaded, only_run, rows, run, slow
from torch.optim import lr_scheduler

from ffrecur import UserError
from ffrecur.data import CorpusDataModule, ImageDataModule
from ffrecur.lit import CharModule, FlatThenLinear, RecurrentModule

FIT = ["fit", *TINY, "--trainer.logger=false", "--trainer.enable_model_summary=false", "--data.batch_size=10"]
FINDER = ["--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.min_lr=1e-4", "--trainer.max_epochs=8"]
FINDER += ["--trainer.callbacks.num_training_steps=30", "--model.head_learning_rate_scale=0.5"]


class Begin(Callback):
    """The rates and weights that the training begins with."""

    def on_train_start(self, trainer, module):
        self.schedule = trainer.lr_scheduler_configs[0].scheduler if trainer.lr_scheduler_configs else None

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 0:
            self.rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
            self.weights = {name: tensor.clone() for name, tensor in module.net.state_dict().items()}


SCHEDULES = [  # a schedule, and its first rate over the highest
    (None, 1.0),
    (partial(FlatThenLinear, epochs=8), 1.0),
    (partial(lr_scheduler.LinearLR, start_factor=0.25, total_iters=4), 0.25),
    (partial(lr_scheduler.OneCycleLR, max_lr=0.5, total_steps=40), 1 / 25),
    (partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.5, cycle_momentum=False), 1 / 5),
]


@pytest.mark.parametrize(("schedule", "share"), SCHEDULES)
def test_the_rate_that_is_found_is_used(workplace, schedule, share):
    """The head's stays in proportion, the schedule keeps its course, and the weights are those from before the search."""
    finder, begin = LearningRateFinder(min_lr=1e-4, num_training_steps=30), Begin()
    module = RecurrentModule([12, 10], lr_scheduler=schedule, head_learning_rate_scale=0.5, seed=3)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=8, max_steps=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[finder, begin],
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    found = finder.optimal_lr.suggestion()
    assert module.learning_rate == found
    assert begin.rates == pytest.approx([found * share, found * share, found * share / 2, found * share / 2])
    fresh = RecurrentModule([12, 10], in_features=30, num_classes=3, seed=3)
    for name, tensor in fresh.net.state_dict().items():
        assert torch.equal(begin.weights[name], tensor), name
    assert trainer.global_step == 2


def test_text_too(tales):
    finder = LearningRateFinder(min_lr=1e-4, num_training_steps=20)
    module = CharModule([8, 8], optimizer=partial(torch.optim.SGD, lr=0.1))
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, callbacks=[finder])
    trainer.fit(module, datamodule=CorpusDataModule("tales.txt", document_separator="\n\n", batch_size=8))
    assert trainer.optimizers[0].param_groups[0]["lr"] == finder.optimal_lr.suggestion()


def test_the_command_line_keeps_what_was_found(workplace, monkeypatch):
    """A run that goes on does not search again; it ends as one that was not stopped."""
    outcome = run(*FIT, *FINDER, "--trainer.default_root_dir=whole")
    assert outcome.code == 0, outcome.err
    whole = loaded("whole")
    found = whole["ffrecur_optimizer"]["found_rate"]
    assert whole["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(found, rel=1e-12)
    assert whole["optimizer_states"][0]["param_groups"][2]["lr"] == pytest.approx(found / 2, rel=1e-12)
    fit_with(monkeypatch, At("on_train_batch_start", 7, kill), *FIT[1:], *FINDER)
    outcome = run("fit", "--ckpt_path=last")
    assert outcome.code == 0, outcome.err
    check_same_run((whole, rows("whole")))
    assert loaded("runs")["ffrecur_optimizer"]["found_rate"] == found
    assert [path.name for path in only_run().parent.iterdir()] == [only_run().name], "nothing of the search is left"
    # A rate that is typed is the rate, whatever was found before.
    outcome = run("fit", "--ckpt_path=last", "--model.optimizer.lr=0.02", "--trainer.max_epochs=9")
    assert outcome.code == 0, outcome.err
    assert "LearningRateFinder does not search again" in outcome.out
    groups = loaded("runs")["optimizer_states"][0]["param_groups"]
    assert [groups[0]["lr"], groups[2]["lr"]] == pytest.approx([0.02, 0.01], rel=1e-12)
    assert loaded("runs")["ffrecur_optimizer"]["found_rate"] is None


def test_a_search_that_finds_nothing(workplace):
    outcome = run(*FIT, "--trainer.callbacks+=LearningRateFinder", "--trainer.max_epochs=1")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        "error: LearningRateFinder has found no learning rate in 5 steps; it leaves out the first 10, and is given no "
        "more than trainer.max_epochs allows"
    )


SENTENCE = "trainer.callbacks has a BatchSizeFinder, but what it finds would not be kept with the run, "
SENTENCE += "and smaller batches learn faster"


def test_a_search_for_a_batch_size(workplace):
    outcome = run(*FIT, "--trainer.callbacks+=BatchSizeFinder")
    assert (outcome.code, outcome.err) == (2, f"error: {SENTENCE}; give data.batch_size\n")
    trainer = L.Trainer(accelerator="cpu", logger=False, callbacks=[L.pytorch.callbacks.BatchSizeFinder()])
    with pytest.raises(UserError, match=f"^{SENTENCE}"):
        trainer.fit(RecurrentModule([12, 10]), datamodule=ImageDataModule("digits"))


SCHEDULING = ["--trainer.callbacks+=GradientAccumulationScheduler", "--trainer.callbacks.scheduling={1: 2}"]


@pytest.mark.parametrize("batch", [slow(3), slow(6), 7])
def test_accumulation_by_epoch_goes_on(beside_whole, monkeypatch, batch):
    """5 steps in the first epoch, 3 in the second."""
    beside_whole(*FIT[1:], *SCHEDULING)
    assert loaded("whole")["global_step"] == 8
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *FIT[1:], *SCHEDULING)
    assert run("fit", "--ckpt_path=last").code == 0
    check_same_run((loaded("whole"), rows("whole")))
