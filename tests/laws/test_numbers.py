"""The first fifty losses and gradients of every task are those of the version before the core of local learning.

The tasks as they were then are in `tests/fixtures/before-core/tasks/`. `numbers.json` beside them was recorded on one thread by
`FirstSteps` of `first_steps.py`, with the options of `settings_of` there, in the package of commit 8312075. What negative labels
and symbols are drawn is part of it: a draw that fell otherwise would change all that follows.
"""

import json

import pytest
import torch
from first_steps import EVERY, STEPS, FirstSteps, settings_of
from running import FIXTURES, fit_with

BEFORE = FIXTURES / "before-core"
NUMBERS = json.loads((BEFORE / "numbers.json").read_text())
EXACT = 1e-12  # of the largest entry


def difference(found, expected):
    """The largest difference of a step's numbers, as a share of the largest entry that the gradient had in any step."""
    found, expected = (torch.tensor(pairs, dtype=torch.float64) for pairs in (found, expected))
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected[:, 1].max()).item()


@pytest.mark.parametrize("task", sorted((BEFORE / "tasks").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_task_begins_with_the_same_losses_and_gradients(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps, expected = FirstSteps(), NUMBERS[task.stem]
    outcome = fit_with(monkeypatch, steps, *settings_of(task))
    assert outcome.code == 0, outcome.err
    found = steps.numbers()
    assert len(found["losses"]) == STEPS
    assert found["losses"] == pytest.approx(expected["losses"], rel=EXACT, abs=0)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, pairs in expected["gradients"].items():
        assert len(pairs) == STEPS // EVERY
        assert difference(found["gradients"][name], pairs) <= EXACT, name
