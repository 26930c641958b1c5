"""scripts/study/compare_text.py and scripts/study/sleep.py: what they train, what they print, and that nothing is run twice."""

import contextlib
import io
import json
import math
import sys
from pathlib import Path

import compare_text
import learning_curves
import pytest
import sleep
import yaml

SMALL = ["--", "--model.hidden_features=[6,5]", "--trainer.max_epochs=2", "--trainer.limit_train_batches=3"]


def printed_by(script, monkeypatch, *command):
    out = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["script", *command, *SMALL])
    with contextlib.redirect_stdout(out):
        script.main()
    return out.getvalue()


@pytest.mark.slow
def test_the_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_text, "ORDERS", (2, 1))  # an order of 6 takes seconds
    printed_by(compare_text, monkeypatch, "--root=c", "--only", "uniform")
    first = json.loads(Path("c/study.json").read_text())
    assert set(first) == {"uniform"}
    printed = printed_by(compare_text, monkeypatch, "--root=c", "--only", "uniform", "dreams", "--seeds", "0", "1")
    second = json.loads(Path("c/study.json").read_text())
    assert second["uniform"]["0"] == first["uniform"]["0"]
    assert {name: set(by_seed) for name, by_seed in second.items()} == {"uniform": {"0", "1"}, "dreams": {"0", "1"}}
    rows = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("| ")}
    assert {"uniform", "dreams", "2-gram", "unigram"} < set(rows)
    mean = sum(row["bits_per_character"] for row in second["dreams"].values()) / 2
    assert f"| {mean:.3f} |" in rows["dreams"]
    assert Path("c/bits_per_character.png").stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.parametrize("name", compare_text.TRAININGS)
def test_every_row_is_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_text, "ORDERS", (1,))
    printed_by(compare_text, monkeypatch, "--root=c", "--only", name)
    row = json.loads(Path("c/study.json").read_text())[name]["0"]
    text = (Path(row["run"]) / "config.yaml").read_text()
    kinds = {"dreams": "dream", "strings of 90": "self_generated", "random hidden": "none"}
    expected = kinds.get(name, name.replace(" ", "_"))
    assert ("CharBackpropModule" in text) if name == "backpropagation" else (f"negatives: {expected}" in text)
    assert (compare_text.least_variety(Path(row["run"])) is None) == (expected not in ("dream", "self_generated"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher forcing", "random hidden", "backpropagation"])
def test_the_whole_text_has_settings_of_its_own(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_text, "ORDERS", (1,))
    printed_by(compare_text, monkeypatch, "--root=c", "--whole", "--only", name)
    row = json.loads(Path("c/study.json").read_text())[name]["0"]
    config = yaml.safe_load((Path(row["run"]) / "config.yaml").read_text())
    assert config["data"]["init_args"]["document_length"] is None
    assert config["trainer"]["max_epochs"] == 6
    expected = {"random hidden": (0, 0.0003), "backpropagation": (0.2, 0.0005)}.get(name, (0.1, 0.001))
    settings = config["model"]["init_args"]
    assert (settings["state_dropout"], settings["optimizer"]["init_args"]["lr"]) == expected


@pytest.mark.slow
def test_the_curve_of_sleep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = printed_by(sleep, monkeypatch, "--root=s", "--phases", "0", "2")
    assert "| sleep 0 |" in printed
    assert "| sleep 2 |" in printed
    found = json.loads(Path("s/study.json").read_text())
    (axis,) = sleep.draw_sleep(found, [0, 2]).axes
    assert list(axis.lines[0].get_ydata()) == [found[f"sleep {phase}"]["0"]["bits_per_character"] for phase in (0, 2)]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "2"]
    assert Path("s/sleep.png").stat().st_size > 5000


def test_curves_of_text_and_of_images(tmp_path):
    for name, column in (("text", "val/bits_per_character"), ("images", "val/error")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(
            f"epoch,train/minutes,{column}\n0,,4.5\n0,1.5,\n1,,4.0\n2,,3.5\n2,4.5,\n"
        )
        assert learning_curves.curve(tmp_path / name) == (column, [1.5, 4.5], [4.5, 3.5])
        assert learning_curves.curve(tmp_path / name, "epochs") == (column, [1, 2, 3], [4.5, 4.0, 3.5])
        percent = 100 if column == "val/error" else 1
        assert learning_curves.reached(tmp_path / name, 4.5 * percent) == 1.5
        assert learning_curves.reached(tmp_path / name, 3.6 * percent) == 4.5
        assert learning_curves.reached(tmp_path / name, 4.0 * percent, "epochs") == 2
        assert learning_curves.reached(tmp_path / name, 3.4 * percent) is None
        assert learning_curves.reached(tmp_path / name, 3.5 * percent * (1 - 1e-7)) == 4.5, (
            "a float32 is not more exact"
        )
    printed = learning_curves.table({"a": tmp_path / "text"}, [4.5, 3])
    assert printed.splitlines()[0] == "| minutes to | 4.5 | 3 |"
    assert printed.splitlines()[2] == "| a | 1.5 | never |"
    (axis,) = learning_curves.draw({"a": tmp_path / "text"}, targets=[4.2]).axes
    assert [list(line.get_ydata()) for line in axis.lines[1:]] == [[4.2, 4.2]]
    (tmp_path / "longer").mkdir()
    (tmp_path / "longer" / "metrics.csv").write_text("epoch,train/minutes,val/error\n0,,4.5\n0,90,\n")
    (axis,) = learning_curves.draw({"a": tmp_path / "images", "b": tmp_path / "longer"}).axes
    assert axis.get_xlim()[0] == 0
    assert axis.get_xlim()[1] > 90  # wide enough for every run, not for the first alone
    (axis,) = learning_curves.draw({"a": tmp_path / "images"}).axes
    assert list(axis.lines[0].get_ydata()) == [450, 350]
    (axis,) = learning_curves.draw({"a": tmp_path / "text"}, "epochs").axes
    assert list(axis.lines[0].get_ydata()) == [4.5, 4.0, 3.5]
    assert axis.get_xlabel() == "epochs"


def test_means_of_a_table(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train/dream_variety\n0,0.9\n1,0.7\n2,0.8\n")
    rows = {
        str(seed): dict(
            bits_per_character=bits,
            accuracy=0.5,
            head_bits_per_character=bits + 1,
            head_accuracy=0.4,
            minutes=1.0,
            run=str(tmp_path),
        )
        for seed, bits in ((10, 3.0), (2, 2.0))
    }
    printed = compare_text.table({"dreams": rows}, {"unigram": (math.log2(30), 0.2)})
    assert printed.splitlines()[3:] == [
        "| dreams | 2.500 | 2.000, 3.000 | 50.0% | 3.500 | 40.0% | 0.70 | 1.0 |",
        "| unigram | 4.907 | | 20.0% | | | | |",
    ]
