"""Averaged weights: the callbacks find the net, and what they average is what is validated, tested and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, StochasticWeightAveraging, WeightAveraging
from running import TINY, At, fit_with, kill, only_run, run, slow

import ffrecur
from ffrecur.commands import train as cli
from ffrecur.data import ImageDataModule
from ffrecur.lit import RecurrentModule

FIT = ["fit", *TINY, "--trainer.logger=false", "--trainer.enable_model_summary=false", "--data.batch_size=10"]
SWA = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.02"]
SWA += ["--trainer.callbacks.swa_epoch_start=3", "--trainer.callbacks.device=null", "--trainer.max_epochs=5"]
MEAN = ["--trainer.callbacks+=WeightAveraging"]
EMA = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.5"]


class Snapshots(Callback):
    """Keeps the weights at the beginning of each epoch and after each step."""

    def __init__(self):
        self.epochs, self.steps = [], []

    def on_train_epoch_start(self, trainer, module):
        self.epochs.append({name: tensor.clone() for name, tensor in module.net.state_dict().items()})

    def on_train_batch_end(self, trainer, module, *_):
        self.steps.append({name: tensor.clone() for name, tensor in module.net.state_dict().items()})


@pytest.fixture
def snapshots(workplace, monkeypatch):
    taken = Snapshots()
    monkeypatch.setattr(cli, "Minutes", lambda: taken)
    return taken


def check_mean(net, parts):
    for name, parameter in net.named_parameters():
        mean = torch.stack([part[name].double() for part in parts]).mean(dim=0)
        torch.testing.assert_close(parameter.detach().double(), mean, rtol=1e-5, atol=1e-6)
        assert not torch.equal(parameter, parts[-1][name])


def test_stochastic_weight_averaging(snapshots):
    """Epochs 3 to 5 (2 to 4 from 0): the mean of the weights that each of them begins with, as Lightning has it."""
    outcome = run(*FIT, *SWA)
    assert outcome.code == 0, outcome.err
    assert "last.ckpt and best.ckpt have the averaged weights (val/error" in outcome.out
    for name in ("last.ckpt", "best.ckpt"):
        check_mean(ffrecur.load(only_run() / name), snapshots.epochs[2:])
    ffrecur.save(ffrecur.load(only_run()), "net")
    check_mean(ffrecur.load("net"), snapshots.epochs[2:])
    with (only_run() / "metrics.csv").open(newline="") as file:
        figure = float(list(csv.DictReader(file))[-1]["val/error"])
    validated = run("validate")
    assert validated.code == 0, validated.err
    assert f"{figure:.2%}" in validated.out


def test_stochastic_weight_averaging_by_the_api(workplace):
    taken = Snapshots()
    module = RecurrentModule([12, 10], seed=5)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[StochasticWeightAveraging(0.02, 2), taken],
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    check_mean(module.net, taken.epochs[1:])


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_weight_averaging_by_the_api(workplace, precision):
    taken = Snapshots()
    module = RecurrentModule([12, 10], seed=5)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[WeightAveraging(), taken], precision=precision,
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    check_mean(module.net, taken.steps)
    assert module.net.head.weight.dtype == (torch.float32 if precision == "32-true" else torch.float64)


def test_weight_averaging(snapshots):
    outcome = run(*FIT, *MEAN)
    assert outcome.code == 0, outcome.err
    check_mean(ffrecur.load(only_run() / "last.ckpt"), snapshots.steps)


def test_exponential_averaging(snapshots):
    assert run(*FIT, *EMA).code == 0
    net = ffrecur.load(only_run() / "last.ckpt")
    average = snapshots.steps[0]
    for step in snapshots.steps[1:]:
        average = {name: tensor.lerp(step[name], 0.5) for name, tensor in average.items()}
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), average[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("averaging", "batch"),
    [slow(SWA, 3), (SWA, 12), slow(SWA, 15), slow(MEAN, 3), slow(MEAN, 12), slow(EMA, 3), (EMA, 12)],
)
def test_a_run_that_is_stopped_averages_the_same(workplace, monkeypatch, averaging, batch):
    options = [*FIT[1:], *averaging, *(["--trainer.max_epochs=3"] if averaging is not SWA else [])]
    assert run("fit", *options, "--trainer.default_root_dir=whole").code == 0
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *options)
    assert run("fit", "--ckpt_path=last").code == 0
    whole, other = (torch.load(next(Path(root).glob("*/last.ckpt")), weights_only=True) for root in ("whole", "runs"))
    assert whole["global_step"] == other["global_step"]
    for key in ("state_dict", "ffrecur_unaveraged", "current_model_state"):
        assert (key in whole) == (key in other)
        for name, tensor in whole.get(key, {}).items():
            assert torch.equal(tensor, other[key][name]), (key, name)


@pytest.mark.slow
def test_a_finished_average_goes_on_from_the_weights_before_it(workplace):
    """Of 4 epochs, then 6, as in one go: the average goes on too."""
    longer = "--trainer.max_epochs=6"
    assert run(*FIT, *SWA, longer, "--trainer.default_root_dir=whole").code == 0
    assert run(*FIT, *SWA, "--trainer.max_epochs=4").code == 0
    outcome = run("fit", "--ckpt_path=last", longer)
    assert outcome.code == 0, outcome.err
    whole, other = (ffrecur.load(next(Path(root).glob("*/last.ckpt"))) for root in ("whole", "runs"))
    for one, two in zip(whole.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


SENTENCES = [
    (
        ["--trainer.callbacks.swa_epoch_start=9"],
        "StochasticWeightAveraging.swa_epoch_start is 9, but must be at most trainer.max_epochs, 5",
    ),
]


@pytest.mark.parametrize(("options", "sentence"), SENTENCES)
def test_averages_that_are_refused(workplace, options, sentence):
    outcome = run(*FIT, *SWA, *options)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (2, f"error: {sentence}")


@pytest.mark.slow
def test_an_average_of_other_epochs_than_before_is_refused(workplace):
    share = "--trainer.callbacks.swa_epoch_start=0.5"
    assert run(*FIT, *SWA, share, "--trainer.max_epochs=4").code == 0
    outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=8")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "error: StochasticWeightAveraging.swa_epoch_start is 0.5, epoch 4 of 8, but the run that is continued averages "
        "from epoch 2 on; give swa_epoch_start=2\n"
    )


def test_a_training_that_ends_before_the_average_begins_keeps_its_weights(workplace):
    outcome = run(*FIT, *SWA, "--trainer.max_epochs=-1", "--trainer.max_steps=5")
    assert outcome.code == 0, outcome.err
    assert "No weights were averaged" in outcome.out
    assert run(*FIT, "--trainer.max_steps=5", "--trainer.default_root_dir=plain").code == 0
    plain, other = (ffrecur.load(next(Path(root).glob("*/last.ckpt"))) for root in ("plain", "runs"))
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
