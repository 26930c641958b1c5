"""How two processes start, and how they end where something is wrong: one message, and nobody is left."""

import csv
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from launching import ONE, TESTS, TORCHRUN, TWO, check_weights, started
from running import TINY, largest_file, only_run, run

from ffrecur.errors import UserError
from ffrecur.lit.run.folders import SameCheckpoint

SETTINGS = [*TINY, "--trainer.precision=64-true", "--data.batch_size=11", "--data.evaluation_batch_size=7"]
NOISE = ["--model.state_dropout=0.2", "--model.peer_normalization=0.05", "--model.image_dropout=0.2"]


def test_a_batch_smaller_than_the_number_of_processes_is_refused_before_any_starts(workplace):
    for name in ("batch_size", "evaluation_batch_size"):
        outcome = run("fit", *SETTINGS, *TWO, f"--data.{name}=1")
        assert outcome.code == 2
        assert outcome.err == f"error: data.{name} is 1, but must be at least the number of processes, 2\n"
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_process_ends_both_with_one_error(workplace):
    """Three steps an epoch: the first epoch ends well, and the fifth step is the second of the next."""
    settings = [*SETTINGS, "--data.batch_size=20"]
    outcome = started(TESTS / "diverging_process.py", "fit", *settings, *TWO)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: the loss is nan in epoch 1, batch 1: training has diverged")
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == 3
    assert [int(row["epoch"]) for row in csv.DictReader((only_run() / "metrics.csv").open()) if row["val/error"]] == [0]


@pytest.mark.slow
def test_an_error_of_the_first_process_alone_ends_the_other_that_waits_for_it(workplace):
    """Only the first one writes checkpoints, and the disk takes none."""
    with largest_file(4000):
        outcome = started("-m", "ffrecur.main", "fit", *SETTINGS, *TWO, "--trainer.logger=false")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert re.match(r"error: checkpoint '.*' cannot be written \(File too large\); there is none before it", line)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], TORCHRUN], ids=["own", "torchrun"])
def test_both_ways_to_start_on_one_machine(workplace, launcher):
    outcome = started(*launcher, "-m", "ffrecur.main", "fit", *SETTINGS, *NOISE, *TWO)
    assert outcome.code == 0, outcome.err
    if not launcher:
        assert outcome.err == "", "no warning, neither of Lightning nor of the end of the second process"
    assert outcome.out.count("Run folder: ") == 1
    assert outcome.out.count("epoch 1 ") == 1
    weights = torch.load(only_run() / "last.ckpt", weights_only=True)["state_dict"]
    assert run("fit", *SETTINGS, *NOISE, *ONE, "--trainer.default_root_dir=one").code == 0
    (one,) = Path("one").iterdir()
    check_weights(weights, torch.load(one / "last.ckpt", weights_only=True)["state_dict"])


def test_processes_that_found_different_checkpoints_do_not_go_on():
    trainer = SimpleNamespace(global_rank=1, strategy=SimpleNamespace(broadcast=lambda _: "runs/first/last.ckpt"))
    SameCheckpoint(Path("runs/first/last.ckpt")).setup(trainer, None, "fit")
    with pytest.raises(UserError, match=r"means runs/first/last.ckpt to the first process, but .*second.* process 1"):
        SameCheckpoint(Path("runs/second/last.ckpt")).setup(trainer, None, "fit")


@pytest.mark.slow
def test_torchrun_tells_a_mistake_once(workplace):
    outcome = started(*TORCHRUN, "-m", "ffrecur.main", "fit", *SETTINGS, *TWO, "--data.source=nowhere")
    assert outcome.code != 0
    assert len([line for line in outcome.err.splitlines() if line.startswith("error: data.source")]) == 1


ALONE = """
import os
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException

class Alone(Callback):
    def __init__(self, rank: int, full: bool = False):
        self.rank, self.full = rank, full
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == self.rank and trainer.global_step == 4:
            raise OSError(28, "No space left on device", "theirs") if self.full else MisconfigurationException("alone")
"""


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_a_callback_in_one_process_ends_both_and_is_told(workplace, monkeypatch, rank, full):
    """Nobody waits for a checkpoint that all would have to write."""
    Path("alone.py").write_text(ALONE)
    monkeypatch.setenv("PYTHONPATH", f"{workplace}:{os.environ.get('PYTHONPATH', '')}")
    given = ["--trainer.callbacks+=alone.Alone", f"--trainer.callbacks.rank={rank}", f"--trainer.callbacks.full={full}"]
    outcome = started("-m", "ffrecur.main", "fit", *SETTINGS, *TWO, "--data.batch_size=20", *given)
    assert outcome.code != 0
    assert "Traceback" not in outcome.err
    cause = "'theirs' cannot be written" if full else "MisconfigurationException: alone"
    assert any(line.startswith("error: ") and cause in line for line in outcome.err.splitlines()), outcome.err
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == 3, "of the epoch's end"
