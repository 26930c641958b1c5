"""What all tests run with, and the places in which commands run: see `running.py` and `making.py`."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from making import make_digits, make_tales
from running import TINY, run


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis try twenty times as much where slow tests run too; the same every time."""
    common: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "derandomize": True,
        "suppress_health_check": list(HealthCheck),
    }
    settings.register_profile("dozens", max_examples=50, **common)
    settings.register_profile("thousands", max_examples=1000, **common)
    settings.load_profile("dozens" if config.option.markexpr == "not slow" else "thousands")


# The files that take longest, those with tests of ten minutes by the clock before the others.
LONGEST = (
    "test_soak",
    "test_processes",
    "test_readme",
    "test_resume",
    "test_text_cli",
    "test_stopping",
    "test_cli",
    "test_typed_values",
    "test_pages",
    "test_compare_runs",
    "test_local_learning",
    "test_feedforward_cli",
    "test_bad_settings",
    "test_augment_cli",
    "test_bad_input",
    "test_released_versions",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def one_thread():
    """Tests compare numbers bit by bit and run beside others; the command line's flushing of denormals is undone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture
def messages(caplog, monkeypatch):
    """What is logged. Lightning's loggers propagate or not, depending on what was imported first."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder with a little IDX data set in `digits`: 60 training and 20 test images of 6x5, 3 classes."""
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    return tmp_path


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """A folder for `staged`, which makes current folders as `here` in it."""
    folder = tmp_path_factory.mktemp("stage")
    (folder / "here").mkdir()
    return folder


@pytest.fixture
def staged(stage, monkeypatch):
    """A function that makes a current folder: by `make` at first, afterwards as a copy of what that has left.

    The copy has the same path, which checkpoints hold, so that a test cannot tell the two apart.
    """

    def current(name: str, make: Callable[[Path], None]) -> Path:
        kept, here = stage / name, stage / "here"
        shutil.rmtree(here)
        if not kept.exists():
            here.mkdir()
            monkeypatch.chdir(here)
            make(here)
            shutil.copytree(here, kept, symlinks=True)
        else:
            shutil.copytree(kept, here, symlinks=True)
            monkeypatch.chdir(here)
        return here

    return current


@pytest.fixture
def trained(staged):
    """The same after a short training."""
    return staged("trained", train_a_little)


@pytest.fixture
def beside_whole(staged):
    """A function that makes a folder as `workplace` with a training in `whole`, the same for all tests with its options."""

    def current(*options: str) -> Path:
        def train(folder):
            make_digits(folder / "digits")
            outcome = run("fit", *options, "--trainer.default_root_dir=whole")
            assert outcome.code == 0, outcome.err

        return staged(f"whole {hash(options)}", train)

    return current


def train_a_little(folder):
    make_digits(folder / "digits")
    outcome = run("fit", *TINY)
    assert outcome.code == 0, outcome.err


@pytest.fixture
def tales(tmp_path, monkeypatch):
    """An empty current folder with six short documents in `tales.txt`."""
    monkeypatch.chdir(tmp_path)
    make_tales(tmp_path / "tales.txt")
    return tmp_path
