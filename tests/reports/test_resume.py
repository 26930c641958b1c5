"""Resuming: whichever way a training stops, and wherever, what goes on from there ends as a training that was never stopped."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, Timer
from making import make_digits
from running import TINY, At, BoomError, boom, check_same_run, fit_with, kill, loaded, rows, run, slow

from ffrecur.lit.report.callbacks import Minutes
from ffrecur.lit.run.saving import LastCheckpoint

LAST = "last.ckpt"
# 50 images to train on: 5 batches an epoch, 2 epochs.
RUN = [
    *TINY,
    "--trainer.logger=false",
    "--trainer.enable_model_summary=false",
    "--data.batch_size=10",
    "--model.image_dropout=0.2",
    "--model.peer_normalization=0.03",
]
GO_ON = ["fit", "--ckpt_path=last"]


def time_is_up(trainer):
    (timer,) = (each for each in trainer.callbacks if isinstance(each, Timer))
    timer._duration = 0.0


def should_stop(trainer):
    trainer.should_stop = True


@functools.cache
def uninterrupted(folder: Path, *options: str):
    """Checkpoint and rows of a training that was never stopped."""
    outcome = run("fit", *RUN, *options, f"--trainer.default_root_dir={folder}")
    assert outcome.code == 0, outcome.err
    return loaded(folder), rows(folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The data, and the trainings that are compared with, each run once."""
    folder = tmp_path_factory.mktemp("shared")
    make_digits(folder / "digits")
    return folder


@pytest.fixture
def place(tmp_path, shared, monkeypatch):
    """An empty current folder with the data, and a function that gives the uninterrupted training with some options."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").symlink_to(shared / "digits")
    return lambda *options: uninterrupted(shared / str(abs(hash(options))), *options)


ACCUMULATED = "--trainer.accumulate_grad_batches=2"  # steps after batches 2, 4, 5 of each epoch
OFTEN = "--trainer.val_check_interval=2"  # validation after batches 2 and 4
PLACES = [  # options, the batch that is the last before the stop, counted over both epochs
    ((), 2),  # amid an epoch
    ((), 5),  # an epoch's last batch
    ((), 6),  # the first of the next epoch
    ((ACCUMULATED,), 3),  # between two batches that make one step
    ((OFTEN,), 2),  # followed by a validation
    ((OFTEN, ACCUMULATED), 3),
]


# The first three places: see test_stopping.py.
@pytest.mark.parametrize(("options", "batch"), [PLACES[3], *(slow(*place) for place in PLACES[4:])])
def test_signal(place, monkeypatch, options, batch):
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *RUN, *options)
    outcome = run(*GO_ON)
    assert outcome.code == 0, outcome.err
    check_same_run(place(*options))


@pytest.mark.parametrize(("options", "batch"), [*(slow(*place) for place in PLACES[:5]), PLACES[5]])
def test_max_time(place, monkeypatch, options, batch):
    """The batch is finished and the command ends with 0; the next one has the time anew."""
    time = "--trainer.max_time=00:01:00:00"
    outcome = fit_with(monkeypatch, At("on_train_batch_start", batch, time_is_up), *RUN, *options, time)
    assert outcome.code == 0, outcome.err
    assert loaded("runs")["global_step"] < 10
    assert run(*GO_ON).code == 0
    check_same_run(place(*options))


@pytest.mark.parametrize(
    ("hook", "options", "call"),
    [
        ("on_train_batch_start", (), 2),
        slow("on_train_batch_start", (OFTEN, ACCUMULATED), 3),
        slow("on_train_batch_start", (OFTEN,), 5),
        ("on_before_optimizer_step", (OFTEN, ACCUMULATED), 3),
        slow("on_before_optimizer_step", (ACCUMULATED,), 1),
        slow("on_train_batch_end", (), 6),
        slow("on_train_batch_end", (ACCUMULATED,), 1),
        slow("on_validation_end", (OFTEN,), 1),
        ("on_train_epoch_end", (), 1),
    ],
)
def test_should_stop_of_a_callback(place, monkeypatch, hook, options, call):
    outcome = fit_with(monkeypatch, At(hook, call, should_stop), *RUN, *options)
    assert outcome.code == 0, outcome.err
    assert run(*GO_ON).code == 0
    check_same_run(place(*options))


@pytest.mark.parametrize(
    ("steps", "options"), [(3, ()), slow(5, ()), slow(6, ()), slow(3, (OFTEN,)), (4, (OFTEN,)), slow(5, (OFTEN,))]
)
def test_max_steps(place, options, steps):
    assert run("fit", *RUN, *options, f"--trainer.max_steps={steps}").code == 0
    assert loaded("runs")["global_step"] == steps
    assert run(*GO_ON, "--trainer.max_steps=-1").code == 0
    check_same_run(place(*options))


@pytest.mark.parametrize("steps", [slow(1), slow(3), 5, slow(6)])
def test_max_steps_raised(place, steps):
    """While Lightning counts steps it takes an epoch that is over for one that was broken off."""
    assert run("fit", *RUN, f"--trainer.max_steps={steps}").code == 0
    assert run(*GO_ON, f"--trainer.max_steps={steps + 1}").code == 0
    assert loaded("runs")["global_step"] == steps + 1
    assert run(*GO_ON, "--trainer.max_steps=10").code == 0
    check_same_run(place())


def test_max_steps_of_accumulated_batches(place):
    assert run("fit", *RUN, ACCUMULATED, "--trainer.max_steps=4").code == 0
    assert run(*GO_ON, "--trainer.max_steps=-1").code == 0
    check_same_run(place(ACCUMULATED))


@pytest.mark.parametrize("options", [(), slow((ACCUMULATED,)), (OFTEN,), slow(("--trainer.limit_train_batches=3",))])
def test_max_epochs_reached_and_raised(place, options):
    assert run("fit", *RUN, *options, "--trainer.max_epochs=1").code == 0
    assert run(*GO_ON, "--trainer.max_epochs=2").code == 0
    check_same_run(place(*options))


@pytest.mark.parametrize("batch", [slow(1), 3, slow(4)])
def test_limit_train_batches(place, monkeypatch, batch):
    limit = "--trainer.limit_train_batches=3"
    fit_with(monkeypatch, At("on_train_batch_start", batch, kill), *RUN, limit)
    assert run(*GO_ON).code == 0
    check_same_run(place(limit))


def test_limit_train_batches_raised_amid_an_epoch(place, monkeypatch):
    fit_with(monkeypatch, At("on_train_batch_start", 2, kill), *RUN, "--trainer.limit_train_batches=3")
    assert run(*GO_ON, "--trainer.limit_train_batches=1.0").code == 0
    check_same_run(place())


def test_limit_train_batches_below_what_was_done(place, monkeypatch):
    fit_with(monkeypatch, At("on_train_batch_start", 3, kill), *RUN)
    before = loaded("runs")
    outcome = run(*GO_ON, "--trainer.limit_train_batches=2")
    assert outcome.code == 2
    assert outcome.err == (
        "error: trainer.limit_train_batches leaves 2 batches an epoch, but the epoch that is continued has had 3; "
        "give more, or continue from a checkpoint of an epoch's end\n"
    )
    assert loaded("runs")["global_step"] == before["global_step"] == 3


AMID = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/error"]
AMID += ["--trainer.callbacks.min_delta=1e9", "--trainer.callbacks.check_on_train_epoch_end=false", OFTEN]


def test_early_stopping_amid_an_epoch(place):
    """After the second validation, that is batch 4; a larger patience that is typed counts."""
    assert run("fit", *RUN, *AMID, "--trainer.callbacks.patience=1").code == 0
    assert loaded("runs")["global_step"] == 4
    outcome = run(*GO_ON, "--trainer.callbacks.patience=99")
    assert outcome.code == 0, outcome.err
    check_same_run(place(*AMID, "--trainer.callbacks.patience=99"))


def test_early_stopping_goes_on_to_the_next_check_only(place):
    assert run("fit", *RUN, *AMID, "--trainer.callbacks.patience=1").code == 0
    assert run(*GO_ON).code == 0
    assert loaded("runs")["global_step"] == 7, "after batch 2 of the second epoch"


EXCEPTIONS = [  # hook, its call, optimiser steps that are kept
    ("on_train_batch_start", 3, 2),
    slow("on_before_zero_grad", 3, 2),
    slow("on_before_backward", 3, 2),
    ("on_after_backward", 3, 2),
    slow("on_before_optimizer_step", 3, 2),
    slow("on_train_batch_end", 3, 3),
    ("on_train_batch_end", 5, 5),  # an epoch's last batch, whose validation is to come
    slow("on_validation_start", 1, 5),
    slow("on_validation_batch_start", 1, 5),
    slow("on_validation_batch_end", 1, 5),
    slow("on_validation_epoch_end", 1, 5),
    ("on_train_epoch_end", 1, 5),
    slow("on_train_epoch_start", 2, 5),
    slow("on_train_batch_start", 6, 5),
    slow("on_train_batch_end", 6, 6),
    ("on_train_epoch_end", 2, 10),
]


@pytest.mark.parametrize(("hook", "call", "steps"), EXCEPTIONS)
def test_exception_in_a_callback(place, monkeypatch, hook, call, steps):
    fit_with(monkeypatch, At(hook, call, boom), *RUN)
    assert loaded("runs")["global_step"] == steps
    outcome = run(*GO_ON)
    assert outcome.code == 0, outcome.err
    check_same_run(place())


@pytest.mark.parametrize(
    ("hook", "call", "steps"),
    [
        ("on_train_batch_start", 4, 1),  # of batches 3 and 4, that make one step, the first is done
        slow("on_train_batch_end", 3, 1),
        slow("on_after_backward", 4, 1),
        slow("on_train_batch_end", 4, 2),
        slow("on_train_batch_end", 5, 3),
    ],
)
def test_exception_amid_accumulated_batches(place, monkeypatch, hook, call, steps):
    fit_with(monkeypatch, At(hook, call, boom), *RUN, ACCUMULATED)
    assert loaded("runs")["global_step"] == steps
    assert run(*GO_ON).code == 0
    check_same_run(place(ACCUMULATED))


@pytest.mark.parametrize(
    ("hook", "call"), [slow("on_train_batch_end", 2), ("on_validation_start", 1), slow("on_validation_start", 2)]
)
def test_exception_by_a_validation_amid_an_epoch(place, monkeypatch, hook, call):
    fit_with(monkeypatch, At(hook, call, boom), *RUN, OFTEN)
    assert loaded("runs")["global_step"] == 2 * call // (1 + (hook == "on_train_batch_end"))
    assert run(*GO_ON).code == 0
    check_same_run(place(OFTEN))


def test_exception_in_an_epoch_without_validation(place, monkeypatch):
    seldom = "--trainer.check_val_every_n_epoch=2"
    fit_with(monkeypatch, At("on_train_batch_end", 5, boom), *RUN, seldom)
    assert loaded("runs")["global_step"] == 5
    assert run(*GO_ON).code == 0
    check_same_run(place(seldom))


def test_exception_before_the_first_step_leaves_nothing(place, monkeypatch):
    fit_with(monkeypatch, At("on_after_backward", 1, boom), *RUN)
    assert not list(Path("runs").glob("*/last.ckpt"))


# --- the place is kept in samples -------------------------------------------------------------------------------------


class Rows(Callback):
    """Which images have been trained on, by their first and second pixel, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append([hash(tuple(image.tolist())) for image in batch[0]])


@pytest.mark.parametrize(
    ("first", "second", "sizes"),
    [
        (10, 20, [10, 20, 10]),  # 10 done of 50; what is left of the first 20, then 20, then the rest
        slow(20, 10, [10, 10, 10]),  # 20 done
        slow(20, 15, [10, 15, 5]),
        slow(20, 50, [30]),
        slow(20, 1000, [30]),
        (20, 7, [1, 7, 7, 7, 7, 1]),
    ],
)
def test_another_batch_size_amid_an_epoch(place, monkeypatch, first, second, sizes):
    """Every sample of the epoch comes once; the next epoch has them all again."""
    before, after = Rows(), Rows()
    batch_size = f"--data.batch_size={first}"
    fit_with(monkeypatch, At("on_train_batch_start", 1, kill), *RUN, batch_size)  # a pair of callbacks is not needed
    fit_with(monkeypatch, before, *RUN, batch_size, "--trainer.max_steps=1", "--trainer.default_root_dir=seen")
    outcome = fit_with(monkeypatch, after, *GO_ON[1:], f"--data.batch_size={second}")
    assert outcome.code == 0, outcome.err
    assert [len(batch) for batch in after.batches[: len(sizes)]] == sizes
    of_epoch = [image for batch in [*before.batches, *after.batches[: len(sizes)]] for image in batch]
    assert len(of_epoch) == len(set(of_epoch)) == 50
    assert sorted(image for batch in after.batches[len(sizes) :] for image in batch) == sorted(of_epoch)
    steps = [int(row["step"]) for row in rows("runs")]
    assert steps == sorted(steps)
    assert [row["epoch"] for row in rows("runs")] == ["0", "0", "1", "1"], "validation and training, once each"


# --- what an exception leaves -----------------------------------------------------------------------------------------


def checkpoint_callback(monkeypatch):
    """The callback that writes last.ckpt, once it has been made."""
    made, init = [], LastCheckpoint.__init__
    monkeypatch.setattr(LastCheckpoint, "__init__", lambda self, *args: (made.append(self), init(self, *args))[1])
    return made


@pytest.mark.parametrize(("hook", "call", "left"), [("on_train_batch_end", 3, True), ("on_after_backward", 1, False)])
def test_where_an_exception_has_left_a_checkpoint(place, monkeypatch, hook, call, left):
    made = checkpoint_callback(monkeypatch)
    fit_with(monkeypatch, At(hook, call, boom), *RUN)
    written = list(Path("runs").glob("*/last.ckpt"))
    assert [made[0].saved_path] == (written if left else [None])
    assert len(written) == left


def test_an_exception_of_a_run_that_goes_on_keeps_what_was_there_before(place, monkeypatch):
    made = checkpoint_callback(monkeypatch)
    assert run("fit", *RUN, "--trainer.max_epochs=1").code == 0
    before = next(Path("runs").glob("*/last.ckpt")).read_bytes()
    made.clear()
    fit_with(monkeypatch, At("on_train_batch_start", 1, boom), *GO_ON[1:], "--trainer.max_epochs=2")
    assert made[0].saved_path is None, "no step was made"
    assert next(Path("runs").glob("*/last.ckpt")).read_bytes() == before


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_start"])
def test_weights_that_are_not_finite_are_not_written(place, monkeypatch, hook):
    def spoil(trainer):
        trainer.lightning_module.net.head.bias.data[0] = torch.nan
        raise BoomError

    made = checkpoint_callback(monkeypatch)
    fit_with(monkeypatch, At(hook, 2 if hook == "on_validation_start" else 7, spoil), *RUN)
    assert loaded("runs")["global_step"] == 5, "that of the first epoch's end"
    assert made[0].saved_path is None


def test_a_step_that_may_be_torn_is_not_written(place, monkeypatch):
    """An exception within the optimiser's step: some weights may be new and some old."""
    step = torch.optim.Adam.step
    calls = []

    def torn(self, closure=None):
        calls.append(None)
        step(self, closure)
        if len(calls) == 8:
            raise BoomError

    monkeypatch.setattr(torch.optim.Adam, "step", torn)
    with contextlib.suppress(BoomError):
        run("fit", *RUN)
    assert len(calls) == 8
    assert loaded("runs")["global_step"] == 5


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_max_time_by_the_clock(place):
    """Two seconds, of a training that would take hours; then two more."""
    long = ["--trainer.max_epochs=1000000", "--trainer.max_time=00:00:00:02", "--trainer.enable_progress_bar=false"]
    assert run("fit", *RUN, *long).code == 0
    steps = loaded("runs")["global_step"]
    assert steps > 0
    assert run(*GO_ON).code == 0
    assert loaded("runs")["global_step"] > steps


def test_a_timer_of_the_user_by_the_api(place):
    """It stops the training too, and one that goes on has its whole time."""
    import lightning as L

    from ffrecur.data import ImageDataModule
    from ffrecur.lit import RecurrentModule

    def fit(timer, **settings):
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[*timer, At("on_train_batch_start", 2, time_is_up)],
            **settings.pop("trainer", {}),
        )  # fmt: skip
        trainer.fit(RecurrentModule([6]), datamodule=ImageDataModule("digits", batch_size=10), **settings)
        return trainer

    stopped = fit([Timer("00:01:00:00")])
    assert stopped.global_step == 2
    stopped.save_checkpoint("stopped.ckpt")
    assert fit([Timer("00:01:00:00")], ckpt_path="stopped.ckpt", weights_only=True).global_step == 4
    assert fit([], trainer={"max_time": "00:01:00:00"}).global_step == 2


def test_minutes_go_on_counting_also_those_of_earlier_commits():
    """They were a `Timer`, under the same key."""
    minutes, old = Minutes(), Timer()
    assert minutes.state_key == "Minutes"
    old._offset = 90.0
    minutes.load_state_dict(old.state_dict())
    assert minutes.elapsed() == 90
    assert Minutes.__mro__[1] is Callback


# --- text -------------------------------------------------------------------------------------------------------------

TEXT = ["--model=CharModule", "--model.hidden_features=[6,5]", "--model.state_dropout=0.2", "--data=CorpusDataModule"]
TEXT += ["--data.source=tales.txt", "--data.document_separator=\\n\\n", "--data.window=4", "--data.batch_size=20"]
TEXT += ["--data.validation_size=2", "--trainer.max_epochs=2", "--trainer.logger=false"]
TEXT += ["--model.negatives=dream", "--model.dream_every_steps=3"]


@pytest.mark.parametrize(
    ("hook", "call", "action"),
    [
        ("on_after_backward", 4, boom),  # dreamt anew in this step, which is not taken
        slow("on_train_batch_end", 4, boom),
        ("on_train_batch_start", 3, should_stop),
    ],
)
def test_a_training_on_text(tales, monkeypatch, hook, call, action):
    """The dreams that the next steps are held against are those of a training that was not stopped."""
    assert run("fit", *TEXT, "--trainer.default_root_dir=whole").code == 0
    fit_with(monkeypatch, At(hook, call, action), *TEXT)
    assert 3 <= loaded("runs")["global_step"] <= 4
    outcome = run(*GO_ON)
    assert outcome.code == 0, outcome.err
    check_same_run((loaded("whole"), rows("whole")))
