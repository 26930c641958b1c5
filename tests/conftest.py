"""What all tests run with, and the places in which commands run: see `running.py` and `making.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from making import make_digits, make_tales
from running import TINY, run


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
