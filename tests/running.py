"""Running `ffrecur` in this process, what a run leaves, and what stops it: starting Python with Lightning takes seconds."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from PIL import Image
from torch.utils.tensorboard import writer

from ffrecur.commands.train import main

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TASKS = ROOT / "tasks"
TASK_FILES = sorted(TASKS.glob("*/*.yaml"))
# Of each kind of net, negatives and data one; the others train as one of these does.
KINDS = ["mnist-backprop_conv", "mnist-drift", "mnist-local_fields", "mnist-recurrent_shifts", "mnist-supervised"]
KINDS += [
    "mnist-unsupervised",
    "text-backprop",
    "text-dream",
    "text-random_hidden",
    "text-sleep",
    "text-stream",
    "text-teacher_forcing",
]
FIXTURES = TESTS / "fixtures"


def task_name(file: Path) -> str:
    """The name of a task in the tests: `mnist-bundled`."""
    return f"{file.parent.name}-{file.stem}"


def small_net(task: Path) -> list[str]:
    """Options for a task whose net is described by more than `hidden_features`: two small layers, and few images."""
    text, options = task.read_text(), []
    if "hidden_features" in text and "head_layers: [1, 2, 3]" in text:
        options += ["--model.head_layers=[1,2]"]
    if "candidate_layers: [1, 2, 3]" in text:
        options += ["--model.candidate_layers=[1,2]"]
    if "units_per_place" in text:
        options += ["--model.units_per_place=[2,1]", "--model.field=5"]
    if "validation_size" in text and "ImageDataModule" in text:
        options += ["--data.validation_size=100"]
    return options


TINY = [
    "--model.hidden_features=[12,10]",
    "--model.optimizer=torch.optim.Adam",
    "--model.optimizer.lr=0.01",
    "--data.source=digits",
    "--data.batch_size=20",
    "--trainer.max_epochs=2",
]
TINY_TEXT = [
    "--model=CharModule",
    "--model.hidden_features=[12,10]",
    "--model.optimizer=torch.optim.Adam",
    "--model.optimizer.lr=0.01",
    "--data=CorpusDataModule",
    "--data.source=tales.txt",
    "--data.document_separator=\\n\\n",
    "--data.window=4",
    "--data.batch_size=20",
    "--data.validation_size=2",
    "--trainer.max_epochs=2",
]
TINY_STREAM = [
    "--model=StreamModule",
    "--model.hidden_features=[12,10]",
    "--model.optimizer=torch.optim.Adam",
    "--model.optimizer.lr=0.01",
    "--data=CorpusDataModule",
    "--data.source=tales.txt",
    "--data.document_separator=\\n\\n",
    "--data.window=4",
    "--data.batch_size=5",
    "--data.validation_size=2",
    "--trainer.max_epochs=2",
]
DROPOUT = ["--model.image_dropout=0.2", "--model.state_dropout=0.1", "--model.peer_normalization=0.03"]


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def drafts() -> Iterator[None]:
    """Pictures are made, but not put on pixels, which takes longer than all the rest of a little evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, file, **_: Image.new("L", (1, 1)).save(file, "png"))
        patch.setattr(writer, "figure_to_image", lambda *_: np.zeros((3, 1, 1), np.uint8))
        yield


def run(*args: str | Path, render: bool = False) -> Outcome:
    """Run `ffrecur` with these arguments in the current folder; without `render`, its pictures are drafts."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.ExitStack() as drawing:
        if not render:
            drawing.enter_context(drafts())
        code = main([str(arg) for arg in args])
    return Outcome(code, out.getvalue(), err.getvalue())


# --- what it left -----------------------------------------------------------------------------------------------------


def only_run() -> Path:
    """The one run folder there is."""
    (folder,) = Path("runs").iterdir()
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def loaded(root):
    """The last checkpoint of the one run below a folder."""
    (folder,) = Path(root).iterdir()
    return torch.load(folder / "last.ckpt", weights_only=True)


def some_checkpoint(root):
    """Whether a run below a folder has a last checkpoint."""
    return any(Path(root).glob("*/last.ckpt"))


def rows(root):
    """All rows of metrics.csv, without the minutes."""
    (folder,) = Path(root).iterdir()
    with (folder / "metrics.csv").open(newline="") as file:
        found = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [{name: value for name, value in row.items() if name != "train/minutes"} for row in found]


def check_same(one, other):
    """Weights, optimisers and schedules of two checkpoints are equal, bit by bit."""
    assert one["global_step"] == other["global_step"]
    assert one["epoch"] == other["epoch"]
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, other["state_dict"][name]), name
    assert str(one["lr_schedulers"]) == str(other["lr_schedulers"])
    for mine, its in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        assert str(mine["param_groups"]) == str(its["param_groups"])
        for key, state in mine["state"].items():
            for name, value in state.items():
                assert torch.equal(value, its["state"][key][name]), (key, name)


def check_same_run(whole, root="runs"):
    """The last checkpoint of a run and its figures equal those given, bit by bit."""
    checkpoint, figures = whole
    check_same(checkpoint, loaded(root))
    assert rows(root) == figures


# --- what stops it ----------------------------------------------------------------------------------------------------


class BoomError(Exception):
    """What a callback of the user's raises."""


class At(Callback):
    """Does something at the nth call of a hook, counted over the whole training."""

    def __init__(self, hook: str, number: int, action: Callable) -> None:
        self.left, self.action = number, action
        setattr(self, hook, self.called)

    def called(self, trainer, *_, **__):
        if trainer.sanity_checking:
            return
        self.left -= 1
        if self.left == 0:
            self.action(trainer)


def boom(trainer):
    """Raise what a user's callback raises."""
    raise BoomError


def kill(trainer):
    """Ask this process to end."""
    os.kill(os.getpid(), signal.SIGTERM)


def fit_with(monkeypatch, callback, *args):
    """Run `fit` with a callback before those that write checkpoints; what it raises ends the command."""
    from ffrecur.commands import train as cli

    with monkeypatch.context() as patch, contextlib.suppress(BoomError):
        patch.setattr(cli, "Minutes", lambda: callback)  # in its place among the callbacks
        return run("fit", *args)
    return None


def wait_for(condition, process):
    """Wait until something is there; say what the process said if it ends before."""
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing in two minutes"
        time.sleep(0.005)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk that takes no file of more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def slow(*values):
    """Values of a test that `make test-all` runs."""
    return pytest.param(*values, marks=pytest.mark.slow)


def every_task(kinds=KINDS):
    """The parameter `task` of a test of every task: those that are of no other kind than another are slow."""
    tasks = [path if task_name(path) in kinds else slow(path) for path in TASK_FILES]
    return pytest.mark.parametrize("task", tasks, ids=map(task_name, TASK_FILES))
