"""scripts/study/sleep.py beyond phases of text: sleep deprivation, and images."""

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
import sleep
import torch

import ffrecur
from ffrecur.errors import UserError

SMALL = ["--model.hidden_features=[6,5]", "--trainer.max_epochs=2", "--trainer.limit_train_batches=3"]


def printed(monkeypatch, *command):
    out = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["sleep.py", *command])
    with contextlib.redirect_stdout(out):
        sleep.main()
    return out.getvalue()


def test_the_trainings_of_a_deprivation():
    assert {name: own for name, (_, own) in sleep.deprivations([0, 16], 100, 50).items()} == {
        "deprived 0": ["--model.deprivation=[100,0]", "--trainer.max_steps=100"],
        "recovered 0": ["--model.deprivation=[100,0]", "--trainer.max_steps=150"],
        "deprived 16": ["--model.deprivation=[100,16]", "--trainer.max_steps=116"],
        "recovered 16": ["--model.deprivation=[100,16]", "--trainer.max_steps=166"],
    }


def test_a_training_that_ended_too_early_is_no_row(monkeypatch):
    trainings = sleep.deprivations([16], 100, 50)
    monkeypatch.setattr(sleep, "read_checkpoint", lambda file: {"global_step": 120})
    found = {name: {"0": {"run": "r"}} for name in trainings}
    message = "'recovered 16' ended after 120 of 166 updates: give a larger --trainer.max_epochs, and another --root"
    with pytest.raises(UserError, match=message):
        sleep.check_lengths(trainings, found)
    sleep.check_lengths({"deprived 16": trainings["deprived 16"]}, found)


def test_the_curve_and_the_table_of_images():
    errors = {0: (0.5, 0.25), 8: (0.75, 0.5)}
    found = {
        name.format(n): {"0": {"error": e, "goodness_error": e / 2, "one_pass_error": 1, "minutes": 3.0}}
        for n, pair in errors.items()
        for name, e in zip((sleep.DEPRIVED, sleep.RECOVERED), pair, strict=True)
    }
    (axis,) = sleep.draw_deprivation(found, [0, 8], True, 50).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert lines["right after them"] == [0.5, 0.75]
    assert lines["50 updates later"] == [0.25, 0.5]
    assert axis.get_ylabel() == "validation error"
    assert sleep.error_table(found, ["deprived 8"]).splitlines()[2:] == [
        "| deprived 8 | 75.00% | 37.50% | 100.00% | 3.0 |"
    ]


@pytest.mark.slow
def test_deprivation_of_text_is_judged_right_after_it_and_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--deprived", "0", "2", "--first", "2", "--recovery", "1", "--root=d", "--", *SMALL]
    out = printed(monkeypatch, *options)
    found = json.loads(Path("d/study.json").read_text())
    names = ["deprived 0", "recovered 0", "deprived 2", "recovered 2"]
    assert list(found) == names
    steps = {
        name: torch.load(Path(found[name]["0"]["run"]) / "last.ckpt", weights_only=True)["global_step"]
        for name in names
    }
    assert list(steps.values()) == [2, 3, 4, 5]
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("| ")}
    for name in names:
        row = found[name]["0"]
        assert f"| {row['bits_per_character']:.3f} |" in rows[name]
        goodness = sleep.mean_goodness(row)
        assert set(goodness) == {"real", "teacher-forced", "dreamt"}
        assert " / ".join(f"{value:.2f}" for value in goodness["real"]) in rows[name]
    assert Path("d/deprivation.png").stat().st_size > 5000
    assert printed(monkeypatch, *options).splitlines()[-1] == out.splitlines()[-1]  # nothing is run twice


@pytest.mark.slow
def test_phases_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = printed(monkeypatch, "--images", "--phases", "0", "2", "--root=i", "--", *SMALL)
    found = json.loads(Path("i/study.json").read_text())
    assert f"| sleep 2 | {found['sleep 2']['0']['error']:.2%} |" in out
    assert isinstance(ffrecur.load(found["sleep 2"]["0"]["run"]), ffrecur.RecurrentNet)
    assert Path("i/sleep.png").stat().st_size > 5000
