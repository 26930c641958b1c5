"""The table of what works with Lightning: everything that it has is in the table, and a row says what was seen."""

import inspect
from typing import get_args

import compatibility
import pytest
from compatibility import IMAGES, LONGEST, PARTS, Part, shown, table, try_part
from compatibility_checks import made_steps
from compatibility_parts import flag
from lightning import Trainer
from lightning.fabric.connector import _PRECISION_INPUT_STR
from lightning.pytorch import callbacks, loggers
from running import ROOT, drafts

DOCS = ROOT / "docs" / "compatibility.md"
BASES = {
    "BaseFinetuning",
    "BasePredictionWriter",
    "Callback",
    "Checkpoint",
    "ProgressBar",
    "Logger",
}  # to be inherited from


def names(group):
    return {part.name.rpartition(".")[2] for part in PARTS if part.group == group}


def test_everything_that_lightning_has_is_tried():
    assert names("callbacks") == set(callbacks.__all__) - BASES
    assert names("loggers") >= set(loggers.__all__) - BASES
    assert names("precisions") == set(get_args(_PRECISION_INPUT_STR))
    settings = {option.partition("=")[0].removeprefix("--trainer.") for part in PARTS for option in part.options}
    assert settings >= set(inspect.signature(Trainer).parameters) - {"logger", "callbacks"}


def test_the_page_has_every_part_and_no_traceback():
    text = DOCS.read_text(encoding="utf-8")
    for part in PARTS:
        assert f"| `{part.name}` |" in text, part.name
    assert "TRACEBACK" not in text
    assert all(
        len(cell) <= LONGEST + 2 for line in text.splitlines() if line.startswith("|") for cell in line.split("|")
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            flag("limit_train_batches=1", made_steps(2)),
            "trained; tested; continued; 2 steps were made",
        ),
        (
            flag("barebones=true"),
            "refused: trainer.barebones is True, but must be false: a run keeps its figures",
        ),
        (Part("flags", "wrong", [], made_steps(1)), "TRACEBACK"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_row_says_what_was_seen(part, expected, capfd):
    with drafts():
        assert try_part(part, IMAGES).startswith(expected)
    assert ("Traceback" in capfd.readouterr().err) == (expected == "TRACEBACK")


def test_rows(monkeypatch):
    monkeypatch.setattr(compatibility, "try_part", lambda part, task: f"{part.name} a|b at 0x7f00")
    assert table([Part("flags", "x", [])]).splitlines()[-1] == "| `x` | x a\\|b at 0x... | the same |"
    assert shown("a" * 300) == "a" * 157 + "..."
    assert shown("It is missing. " + "a" * 300) == "It is missing."
