"""Fixtures for tests of the command line, which run it in this process: starting Python with Lightning takes seconds."""

from __future__ import annotations

import contextlib
import io
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from test_data_idx import idx_bytes

from ffrecur.commands.train import main

TASKS = Path(__file__).parent.parent / "tasks"
TINY = [
    "--model.hidden_features=[12,10]",
    "--model.optimizer=torch.optim.Adam",
    "--model.optimizer.lr=0.01",
    "--data.source=digits",
    "--data.batch_size=20",
    "--trainer.max_epochs=2",
]


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis try ten times as much where slow tests run too; the same every time."""
    common: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "derandomize": True,
        "suppress_health_check": list(HealthCheck),
    }
    settings.register_profile("hundreds", max_examples=100, **common)
    settings.register_profile("thousands", max_examples=1000, **common)
    settings.load_profile("hundreds" if config.option.markexpr == "not slow" else "thousands")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take ten minutes by the clock, so that no process is left with them alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_soak.py")


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def run(*args: str | Path) -> Outcome:
    """Run `ffrecur` with these arguments in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    return Outcome(code, out.getvalue(), err.getvalue())


def only_run() -> Path:
    """The one run folder there is."""
    (folder,) = Path("runs").iterdir()
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def one_thread():
    """Tests compare numbers bit by bit and run beside others; the command line's flushing of denormals is undone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder with a little IDX data set in `digits`: 60 training and 20 test images of 6x5, 3 classes."""
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    return tmp_path


@pytest.fixture
def trained(workplace):
    """The same after a short training."""
    outcome = run("fit", *TINY)
    assert outcome.code == 0, outcome.err
    return workplace


@pytest.fixture
def tales(tmp_path, monkeypatch):
    """An empty current folder with six short documents in `tales.txt`."""
    monkeypatch.chdir(tmp_path)
    make_tales(tmp_path / "tales.txt")
    return tmp_path


def make_tales(file: Path) -> None:
    """Write six short documents."""
    animals = ("fox", "hen", "cow", "dog", "cat", "owl")
    text = "\n\n".join(
        f"The {animal} sat on the {place}, and slept." for animal, place in zip(animals, reversed(animals), strict=True)
    )
    file.write_text(text)


def make_digits(folder: Path, size: tuple[int, int] = (6, 5), classes: int = 3) -> None:
    """Write IDX files: noise with one bright pixel in the first row, whose place tells the class."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count) % classes
        images = random.integers(0, 60, (count, *size))
        images[np.arange(count), 0, labels] = 255
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk that takes no file of more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
