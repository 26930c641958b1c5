"""SIGTERM, SIGINT and SIGKILL: what a training leaves behind, and that going on from it ends at the same weights, bit by bit."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback
from running import (
    DROPOUT,
    TINY,
    check_same,
    every_task,
    loaded,
    only_run,
    rows,
    run,
    slow,
    small_net,
    snapshot,
    some_checkpoint,
    wait_for,
)

LAST = Path("last.ckpt")
SMALL = ["--data.source=bundled", "--data.batch_size=10", "--data.evaluation_batch_size=20"]
SMALL += ["--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1", "--trainer.max_epochs=2"]
SMALL += ["--trainer.check_val_every_n_epoch=1", "--model.hidden_features=[9,8]"]
TEXT = ["--model.dream_every_steps=2", "--data.document_length=14"]


class Interrupt(Callback):
    """Sends this process a signal after some of its training batches, counted over all epochs."""

    def __init__(self, number: int, after: list[int]) -> None:
        self.number, self.after, self.count = number, after, 0

    def on_train_batch_start(self, *_):
        self.count += 1
        if self.count in self.after:
            os.kill(os.getpid(), self.number)


def interrupted(monkeypatch, number, after, *args):
    """Run `ffrecur fit` with a signal amid batches; return the outcome."""
    from ffrecur.commands import train as cli

    interrupt = Interrupt(number, after)
    with monkeypatch.context() as patch:
        patch.setattr(cli, "Minutes", lambda: interrupt)  # in its place among the callbacks
        return run("fit", *args)


@pytest.mark.parametrize(
    ("number", "code", "batch"),  # of 3 an epoch: the first, an epoch's last, the next one's first
    [
        slow(signal.SIGTERM, 143, 1),
        (signal.SIGTERM, 143, 3),
        slow(signal.SIGTERM, 143, 4),
        (signal.SIGINT, 130, 1),
        slow(signal.SIGINT, 130, 3),
        slow(signal.SIGINT, 130, 4),
    ],
)
def test_a_signal_saves_and_the_run_goes_on_where_it_was(beside_whole, monkeypatch, number, code, batch):
    beside_whole(*TINY, *DROPOUT)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    outcome = interrupted(monkeypatch, number, [batch], *TINY, *DROPOUT)
    assert outcome.code == code
    assert outcome.err == ""
    assert "To go on: ffrecur fit --ckpt_path last" in outcome.out
    assert loaded("runs")["global_step"] == batch
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert run("fit", "--ckpt_path=last").code == 0
    check_same(loaded("runs"), loaded("whole"))
    assert rows("runs") == rows("whole"), "the epochs' figures are those of all batches"


# Tasks with something of their own between two steps: hybrids, dreams, and carried states.
STATEFUL = ["mnist-unsupervised", "text-dream", "text-stream"]


@every_task(STATEFUL)
def test_every_task_goes_on_after_two_stops_in_one_epoch(task, workplace, monkeypatch):
    options = [
        "--config",
        task,
        *SMALL,
        *small_net(task),
        *(TEXT if "CharModule" in task.read_text() else TEXT[1:] * ("text" in str(task))),
    ]
    assert run("fit", *options, "--trainer.default_root_dir=whole").code == 0
    assert interrupted(monkeypatch, signal.SIGTERM, [1], *options).code == 143
    assert loaded("runs")["global_step"] == 1
    assert interrupted(monkeypatch, signal.SIGTERM, [1], "--ckpt_path=last").code == 143
    assert loaded("runs")["global_step"] == 2
    outcome = run("fit", "--ckpt_path=last")
    assert outcome.code == 0, outcome.err
    check_same(loaded("runs"), loaded("whole"))
    assert rows("runs") == rows("whole")


def test_accumulated_batches_are_not_torn_apart(workplace, monkeypatch):
    """Of 3 batches with 2 a step, the signal comes in the first: the checkpoint is that after the step."""
    options = [*TINY, *DROPOUT, "--trainer.accumulate_grad_batches=2"]
    assert run("fit", *options, "--trainer.default_root_dir=whole").code == 0
    assert interrupted(monkeypatch, signal.SIGTERM, [1], *options).code == 143
    assert loaded("runs")["global_step"] == 1
    assert run("fit", "--ckpt_path=last").code == 0
    check_same(loaded("runs"), loaded("whole"))


def test_checkpoint_seconds_writes_amid_an_epoch(workplace, monkeypatch):
    from lightning import Trainer

    saved = []
    monkeypatch.setattr(
        Trainer, "save_checkpoint", lambda self, path, *_, **__: saved.append((self.global_step, Path(path).name))
    )
    assert run("fit", *TINY, "--checkpoint_seconds=1e-9").code == 0
    last = [step for step, name in saved if name == "last.ckpt"]
    assert last == [1, 2, 3, 4, 5, 6], "after each batch, the epochs' ends among them"
    saved.clear()
    assert run("fit", *TINY, "--trainer.default_root_dir=seldom").code == 0
    assert [step for step, name in saved if name == "last.ckpt"] == [3, 6]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_run_that_dies_before_its_epoch_is_logged_logs_it_when_it_goes_on(workplace, monkeypatch, accumulated):
    """The checkpoint of an epoch's end comes first; there the process dies, at the first epoch's end or the second's."""
    from ffrecur.lit.run.saving import LastCheckpoint

    class Death(BaseException):
        pass

    save = LastCheckpoint.save

    def save_and_die(self, trainer):
        save(self, trainer)
        if self.figures:
            raise Death

    options = [*TINY, *DROPOUT, f"--trainer.accumulate_grad_batches={accumulated}"]
    assert run("fit", *options, "--trainer.default_root_dir=whole").code == 0
    for args in (options, ["--ckpt_path=last"]):
        with monkeypatch.context() as patch:
            patch.setattr(LastCheckpoint, "save", save_and_die)
            with pytest.raises(Death):
                run("fit", *args)
    assert len(rows("runs")) < len(rows("whole"))
    assert run("fit", "--ckpt_path=last").code == 0
    assert rows("runs") == rows("whole")
    check_same(loaded("runs"), loaded("whole"))


def test_another_run_that_goes_on_from_there_logs_its_own_epochs_only(workplace):
    assert run("fit", *TINY, "--trainer.max_epochs=1").code == 0
    last = only_run() / LAST
    last.rename("elsewhere.ckpt")
    assert (
        run("fit", "--ckpt_path=elsewhere.ckpt", "--trainer.max_epochs=2", "--trainer.default_root_dir=new").code == 0
    )
    assert {row["epoch"] for row in rows("new")} == {"1"}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ("0", "0.0, but must be more than 0"),
        ("-1", "-1.0, but must be more than 0"),
        ("soon", "soon, but must be a number"),
    ],
)
def test_checkpoint_seconds_that_mean_nothing(workplace, seconds, told):
    outcome = run("fit", *TINY, f"--checkpoint_seconds={seconds}")
    assert outcome.code == 2
    assert outcome.err == f"error: checkpoint_seconds is {told}\n"
    assert not Path("runs").exists()


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(workplace, monkeypatch):
    """As two processes would find it: each looks for a free name before the other has made its folder."""
    from ffrecur.lit.run import folders as runs

    names = [Path("runs/fit-1"), Path("runs/fit-1"), Path("runs/fit-2")]
    monkeypatch.setattr(runs, "new_run_folder", lambda root, name: names.pop(0))
    reserved = partial(runs.reserved_run_folder, "runs", "fit")
    with reserved(lambda: True) as one, reserved(lambda: False) as other:
        assert (one, other) == (Path("runs/fit-1"), Path("runs/fit-2"))
        assert other.is_dir()
    assert one.is_dir()
    assert not other.exists(), "nothing was done in it"


# --- real processes, really killed ------------------------------------------------------------------------------------


def start(root, *args):
    command = [sys.executable, "-m", "ffrecur.main", "fit", *args, f"--trainer.default_root_dir={root}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


# Long enough to be killed amid the work, with checkpoints often.
LONG = [*TINY, *DROPOUT, "--data.batch_size=2", "--trainer.max_epochs=60", "--checkpoint_seconds=0.05"]


def test_a_second_signal_ends_at_once_and_leaves_a_checkpoint_that_loads(workplace):
    process = start("runs", *LONG, "--trainer.max_epochs=100000")
    wait_for(lambda: some_checkpoint("runs"), process)
    process.send_signal(signal.SIGSTOP)  # so that both are there before the batch can end
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (143, 130)
    assert err == ""
    assert loaded("runs")["global_step"] > 0
    assert run("validate").code == 0


def kill_and_go_on(count, seed, epochs):
    """Kill a training `count` times with SIGKILL at random, let it end; return how many kills it really met amid its work."""
    chance = random.Random(seed)
    long = [*LONG, f"--trainer.max_epochs={epochs}"]
    whole = start("whole", *long)
    whole.communicate()
    assert whole.returncode == 0
    met = 0
    for kill in range(count):
        steps = loaded("runs")["global_step"] if some_checkpoint("runs") else 0
        process = start("runs", *(["--ckpt_path=last"] if steps else long))
        wait_for(lambda: some_checkpoint("runs") and loaded("runs")["global_step"] > steps, process)  # noqa: B023
        time.sleep(chance.uniform(0, 0.2))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        met += not ended
        checkpoint = loaded("runs")
        assert checkpoint["global_step"] > steps, kill
        if ended:
            break
    process = start("runs", "--ckpt_path=last")
    process.communicate()
    assert process.returncode == 0
    check_same(loaded("runs"), loaded("whole"))
    assert rows("runs") == rows("whole"), "each once, in order"
    assert len([name for name in snapshot(only_run()) if name.startswith(".")]) <= count, "what was being written"
    return met


@pytest.mark.slow
def test_killed_and_gone_on(workplace):
    assert kill_and_go_on(1, seed=0, epochs=20) == 1


@pytest.mark.slow
def test_killed_often_and_gone_on(workplace):
    assert kill_and_go_on(20, seed=1, epochs=60) == 20
