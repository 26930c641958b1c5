"""The two tasks on which `compatibility.py` tries the parts of Lightning, and what it checks apart from that they train."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ffrecur.commands.train import main as ffrecur

IMAGES = [
    "--data.source=digits",
    "--data.batch_size=20",
    "--model.hidden_features=[12,10]",
    "--model.image_dropout=0.1",
]
TEXT = ["--model=CharModule", "--model.hidden_features=[8,8]", "--data=CorpusDataModule", "--data.source=tales.txt"]
TEXT += ["--data.document_separator=\\n\\n", "--data.batch_size=40"]
BOTH = ["--model.optimizer.lr=0.01", "--trainer.max_epochs=2"]
Check = Callable[[Path, str], str]  # from the run's folder and what was printed to a phrase for the table


def program(options: list[str], processes: bool = False) -> tuple[int, str, str]:
    """Run `ffrecur`; return its exit code and what it printed, and on standard error."""
    if processes:
        command = [sys.executable, "-m", "ffrecur.main", *options]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = ffrecur(options)
    torch.use_deterministic_algorithms(False)
    return code, out.getvalue(), err.getvalue()


def steps(run: Path) -> int:
    """Return the optimiser steps of a run."""
    return int(torch.load(run / "last.ckpt", weights_only=True)["global_step"])


def rows(run: Path, column: str) -> int:
    """Return how many rows of metrics.csv have a figure."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return sum(bool(row.get(column)) for row in csv.DictReader(file))


def made_steps(count: int) -> Check:
    """Check the number of steps."""

    def check(run: Path, out: str) -> str:
        assert steps(run) == count, steps(run)
        return f"{count} steps were made"

    return check


def has_figure(column: str) -> Check:
    """Check that a figure is in metrics.csv."""

    def check(run: Path, out: str) -> str:
        assert rows(run, column) > 0, column
        return f"`{column}` is in metrics.csv"

    return check


def has_file(pattern: str) -> Check:
    """Check that there is a file."""

    def check(run: Path, out: str) -> str:
        assert list(Path().glob(pattern)), pattern
        return f"there is {pattern}"

    return check


def prints(words: str) -> Check:
    """Check what is printed."""

    def check(run: Path, out: str) -> str:
        assert words in out, out
        return f"it prints '{words}'"

    return check


def finds_a_rate(run: Path, out: str) -> str:
    """Check that a learning rate was found, and that the training used it."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    found = checkpoint["ffrecur_optimizer"]["found_rate"]
    used = checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]
    assert math.isclose(used, found, rel_tol=1e-12), (used, found)
    return "the rate that was found is the optimiser's"


def changes_the_weights(run: Path, out: str) -> str:
    """Check that the weights are not those of the same training without it."""
    config = torch.load(run / "last.ckpt", weights_only=True)["ffrecur_config"]
    task = TEXT if "Char" in config["model"]["class_path"] else IMAGES
    assert program(["fit", *task, *BOTH, "--trainer.default_root_dir=plain"])[0] == 0
    (plain,) = Path("plain").glob("*/last.ckpt")
    found, other = (torch.load(path, weights_only=True)["state_dict"] for path in (run / "last.ckpt", plain))
    assert any(not torch.equal(weight, other[name]) for name, weight in found.items())
    return "the weights differ from those without it"
