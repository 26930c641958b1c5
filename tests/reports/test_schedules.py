"""Learning-rate schedules: what each is stepped after, the figure it looks at, and that a run that goes on keeps its course."""

from __future__ import annotations

import csv
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from running import TINY, At, check_same_run, fit_with, kill, loaded, only_run, rows, run, slow
from torch.optim import lr_scheduler

from ffrecur import UserError
from ffrecur.data import ImageDataModule
from ffrecur.lit import FlatThenLinear, RecurrentModule

FIT = ["fit", *TINY, "--trainer.logger=false", "--trainer.enable_model_summary=false", "--data.batch_size=10"]
STEPS, EPOCHS = 10, 2  # 5 steps an epoch
SCHEDULE, LIGHTNING = "--model.lr_scheduler=torch.optim.lr_scheduler.", "--model.lr_scheduler=lightning.pytorch.cli."
ONE_CYCLE = [f"{SCHEDULE}OneCycleLR", "--model.lr_scheduler.max_lr=0.05", "--model.lr_scheduler.total_steps=10"]


class Rates(L.pytorch.Callback):
    """The rates of the four groups in each batch, and the first beta or momentum."""

    def __init__(self):
        self.rates, self.momenta = [], []

    def on_train_batch_start(self, trainer, *_):
        groups = trainer.optimizers[0].param_groups
        self.rates.append([group["lr"] for group in groups])
        self.momenta.append([group["betas"][0] if "betas" in group else group["momentum"] for group in groups])


def by_hand(make, rate, per_step, optimizer=torch.optim.Adam, steps=STEPS):
    """The rates of a schedule that PyTorch steps after each of 10 batches, or after each 5."""
    made = optimizer([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler, rates = make(made), []
    for step in range(1, steps + 1):
        rates.append(made.param_groups[0]["lr"])
        made.step()
        if per_step or step % 5 == 0:
            scheduler.step()
    return rates


TABLE = [  # schedule, interval given, stepped after each step
    (partial(lr_scheduler.OneCycleLR, max_lr=0.05, total_steps=STEPS), None, True),
    (partial(lr_scheduler.OneCycleLR, max_lr=0.05, epochs=EPOCHS, steps_per_epoch=5), None, True),
    (partial(lr_scheduler.OneCycleLR, max_lr=0.05, total_steps=EPOCHS), "epoch", False),
    (partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.05, step_size_up=3, cycle_momentum=False), None, True),
    (partial(lr_scheduler.CosineAnnealingLR, T_max=EPOCHS), None, False),
    (partial(lr_scheduler.CosineAnnealingLR, T_max=STEPS), "step", True),
    (partial(lr_scheduler.LinearLR, total_iters=EPOCHS), None, False),
    (partial(lr_scheduler.LinearLR, total_iters=STEPS), "step", True),
    (partial(lr_scheduler.StepLR, step_size=1), None, False),
    (partial(lr_scheduler.ExponentialLR, gamma=0.9), "step", True),
    (partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3), "step", True),
    (partial(FlatThenLinear, epochs=EPOCHS), None, False),
    (partial(FlatThenLinear, epochs=STEPS), "step", True),
]


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using")  # Lightning asks whether that is meant
@pytest.mark.parametrize(("make", "interval", "per_step"), TABLE)
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9)])
def test_what_a_schedule_is_stepped_after(workplace, make, interval, per_step, optimizer):
    """The head's rate is the hidden layers' times its scale, whatever the schedule sets."""
    seen = Rates()
    module = RecurrentModule(
        [12, 10],
        optimizer=partial(optimizer, lr=0.01),
        lr_scheduler=make,
        lr_scheduler_interval=interval,
        head_learning_rate_scale=0.5,
    )
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[seen], limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    expected = by_hand(make, 0.01, per_step, optimizer)
    assert [rates[0] for rates in seen.rates] == pytest.approx(expected, rel=1e-12)
    assert [rates[1] for rates in seen.rates] == pytest.approx(expected, rel=1e-12)
    assert [rates[3] for rates in seen.rates] == pytest.approx([rate / 2 for rate in expected], rel=1e-12)


def test_one_cycle_changes_the_momentum_of_all_groups(workplace):
    seen = Rates()
    make = partial(lr_scheduler.OneCycleLR, max_lr=0.05, total_steps=STEPS)
    module = RecurrentModule([12, 10], lr_scheduler=make)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[seen],
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    assert [min(of_group) for of_group in zip(*seen.momenta, strict=True)] == pytest.approx([0.85] * 4, abs=0.02)
    assert seen.momenta[0] == [0.95] * 4


@pytest.mark.parametrize(
    ("schedule", "batch"),
    [(ONE_CYCLE, 2), slow(ONE_CYCLE, 5), ([*ONE_CYCLE, "--trainer.accumulate_grad_batches=2"], 7)],
)
def test_a_run_that_goes_on_keeps_its_course(beside_whole, monkeypatch, schedule, batch):
    beside_whole(*FIT[1:], *schedule)
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *FIT[1:], *schedule)
    assert run("fit", "--ckpt_path=last").code == 0
    check_same_run((loaded("whole"), rows("whole")))


def test_a_changed_interval_is_refused(workplace):
    assert run(*FIT, *ONE_CYCLE, "--trainer.max_epochs=1").code == 0
    outcome = run("fit", "--ckpt_path=last", "--model.lr_scheduler_interval=epoch")
    assert (outcome.code, outcome.err) == (
        2,
        "error: model.lr_scheduler_interval is 'epoch', but the run that is continued has 'step'; start a new run for that\n",
    )


def test_a_schedule_that_has_come_to_its_end(workplace):
    """11 steps, but the schedule has 10: what was done before is kept."""
    outcome = run(*FIT, *ONE_CYCLE, "--trainer.max_epochs=3")
    assert outcome.code == 2
    assert outcome.err == (
        "error: model.lr_scheduler: Tried to step 11 times. The specified number of total steps is 10; the training so far "
        f"is in {only_run() / 'last.ckpt'}\n"
    )


# --- a schedule that looks at a figure --------------------------------------------------------------------------------

PLATEAU = [f"{LIGHTNING}ReduceLROnPlateau", "--model.lr_scheduler.patience=0", "--model.lr_scheduler.threshold=1e9"]


def rates_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/learning_rate"]) for row in csv.DictReader(file) if row["train/learning_rate"]]


@pytest.mark.parametrize(
    "monitor", ["train/loss", "val/error", slow("val/one_pass_error"), slow("train/goodness_positive_layer_2")]
)
def test_it_looks_at_the_figure_that_is_named(workplace, monkeypatch, monitor):
    """Its steps are by the figure of each epoch's row."""
    looked_at = []
    step = lr_scheduler.ReduceLROnPlateau.step
    monkeypatch.setattr(
        lr_scheduler.ReduceLROnPlateau, "step", lambda self, value: (looked_at.append(value), step(self, value))[1]
    )
    outcome = run(*FIT, *PLATEAU, f"--model.lr_scheduler.monitor={monitor}")
    assert outcome.code == 0, outcome.err
    with (only_run() / "metrics.csv").open(newline="") as file:
        logged = [float(row[monitor]) for row in csv.DictReader(file) if row[monitor]]
    assert looked_at == pytest.approx(logged)
    assert rates_of(only_run()) == pytest.approx([0.01, 0.001])


def test_the_rate_is_reduced(workplace):
    assert run(*FIT, *PLATEAU, "--model.lr_scheduler.monitor=train/loss", "--trainer.max_epochs=4").code == 0
    assert rates_of(only_run()) == pytest.approx([0.01, 0.001, 0.0001, 0.00001])


@pytest.mark.parametrize("schedule", ["ReduceLROnPlateau", "StepLR"])
def test_pytorchs_own_looks_at_the_validation_error(workplace, monkeypatch, schedule):
    looked_at = []
    monkeypatch.setattr(lr_scheduler.ReduceLROnPlateau, "step", lambda self, value: looked_at.append(value))
    make = {"ReduceLROnPlateau": lr_scheduler.ReduceLROnPlateau, "StepLR": partial(lr_scheduler.StepLR, step_size=1)}
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(RecurrentModule([12, 10], lr_scheduler=make[schedule]), datamodule=ImageDataModule("digits"))
    expected = [trainer.callback_metrics["val/error"].item()] if schedule == "ReduceLROnPlateau" else []
    assert looked_at == expected


@pytest.mark.parametrize("monitor", ["val/eror", "error", "train/accuracy"])
def test_a_figure_that_is_never_logged_is_refused(workplace, monitor):
    outcome = run(*FIT, *PLATEAU, f"--model.lr_scheduler.monitor={monitor}")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: model.lr_scheduler.monitor is {monitor!r}, which is never logged; there are "
        "train/goodness_negative_layer_1, train/goodness_negative_layer_2, train/goodness_positive_layer_1, "
        "train/goodness_positive_layer_2, train/head_loss, train/learning_rate, train/loss, train/minutes, "
        "train/one_pass_error, val/error, val/one_pass_error; the training so far is in "
        f"{only_run() / 'last.ckpt'}\n"
    )


@pytest.mark.parametrize("monitor", ["val/error", "val/eror"])
def test_a_figure_of_validation_where_there_is_none_is_refused(workplace, monitor):
    given = [
        f"{LIGHTNING}ReduceLROnPlateau",
        f"--model.lr_scheduler.monitor={monitor}",
        "--trainer.limit_val_batches=0",
    ]
    outcome = run(*FIT, *given)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: model.lr_scheduler.monitor is {monitor!r}, which is never logged")


@pytest.mark.parametrize("name", [f"{LIGHTNING}ReduceLROnPlateau", slow(f"{SCHEDULE}ReduceLROnPlateau")])
def test_other_settings_of_a_plateau_count_where_it_is_continued(workplace, name):
    monitor = ["--model.lr_scheduler.monitor=train/loss"] if name.startswith(LIGHTNING) else []
    assert run(*FIT, name, *monitor, "--trainer.max_epochs=1").code == 0
    more = ["--model.lr_scheduler.patience=0", "--model.lr_scheduler.factor=0.5", "--trainer.max_epochs=2"]
    assert run("fit", "--ckpt_path=last", *more).code == 0
    (state,) = torch.load(only_run() / "last.ckpt", weights_only=True)["lr_schedulers"]
    assert (state["patience"], state["factor"]) == (0, 0.5)


def test_milestones_that_were_changed_count_where_a_run_is_continued(workplace):
    step = [f"{SCHEDULE}MultiStepLR", "--model.lr_scheduler.milestones=[1]", "--model.optimizer.lr=0.01"]
    assert run(*FIT, *step, "--trainer.max_epochs=1").code == 0
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--model.lr_scheduler.milestones=[5]").code == 0
    checkpoint = loaded("runs")
    assert dict(checkpoint["lr_schedulers"][0]["milestones"]) == {5: 1}
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize("batch", [5, slow(7)])
def test_a_plateau_goes_on(beside_whole, monkeypatch, batch):
    """The schedule has looked at the figure before the checkpoint of the epoch's end is written."""
    options = [*FIT[1:], *PLATEAU, "--model.lr_scheduler.monitor=train/loss", "--trainer.max_epochs=4"]
    beside_whole(*options)
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *options)
    assert run("fit", "--ckpt_path=last").code == 0
    check_same_run((loaded("whole"), rows("whole")))


def test_a_plateau_of_steps_is_refused(workplace):
    outcome = run(*FIT, *PLATEAU, "--model.lr_scheduler.monitor=train/loss", "--model.lr_scheduler_interval=step")
    assert (outcome.code, outcome.err) == (
        2,
        "error: model.lr_scheduler_interval is 'step', but ReduceLROnPlateau looks at figures of whole epochs\n",
    )


def test_by_the_api(workplace):
    module = RecurrentModule([12, 10], lr_scheduler=partial(ReduceLROnPlateau, monitor="val/eror"))
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=r"model.lr_scheduler.monitor is 'val/eror', which is never logged; there are"):
        trainer.fit(module, datamodule=ImageDataModule("digits", batch_size=10))
    with pytest.raises(UserError, match="^lr_scheduler_interval is 'batch', but must be epoch or step$"):
        RecurrentModule([12, 10], lr_scheduler_interval="batch")
