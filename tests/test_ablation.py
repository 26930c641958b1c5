"""scripts/ablation.py: every change is an option that exists, and what has been run is not run again."""

import contextlib
import io
import json
import sys

import ablation
import pytest
from conftest import TASKS

from ffrecur.cli import main

SMALL = ["--data.source=digits", "--data.batch_size=20", "--model.hidden_features=[6,5]", "--trainer.max_epochs=1"]
TASK = str(TASKS / "mnist" / "small.yaml")


def configuration(*options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        main(["fit", "--config", TASK, *options, "--print_config"])
    assert end.value.code == 0
    return out.getvalue()


@pytest.mark.parametrize("name", list(ablation.CHANGES))
def test_every_change_is_accepted_and_changes_the_configuration(workplace, name):
    as_it_is, changed = configuration(), configuration(*ablation.CHANGES[name])
    assert "hidden_features" in changed
    assert (changed == as_it_is) == (name == "as it is")


def test_it_goes_on_where_it_was(workplace, monkeypatch):
    def ablate(*names):
        out = io.StringIO()
        monkeypatch.setattr(sys, "argv", ["ablation.py", TASK, "--root=a", "--only", *names, "--", *SMALL])
        with contextlib.redirect_stdout(out):
            ablation.main()
        return json.loads((workplace / "a" / "ablation.json").read_text()), out.getvalue()

    first, _ = ablate("as it is")
    assert set(first) == {"as it is"}
    assert set(first["as it is"]) == {"error", "goodness_error", "one_pass_error", "minutes"}
    second, printed = ablate("as it is", "damping 0")
    assert set(second) == {"as it is", "damping 0"}
    assert second["as it is"] == first["as it is"]
    assert "| damping 0 |" in printed
    assert not list(workplace.rglob("test_results.json"))
