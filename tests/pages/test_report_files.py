"""Each file of a run is read on its own: a damaged one is said in its place, and everything else is shown."""

import json
import os
import shutil
from typing import Any

import pytest
import torch
import yaml
from making import write_checkpoint
from runs_on_disk import Seen, image_run, text_run

import ffrecur
from ffrecur.errors import UserError
from ffrecur.pages import report_drawing
from ffrecur.pages.report import report_page
from ffrecur.pages.run_files import read_run

IMAGE = ["config.yaml", "metrics.csv", "test_results.json"] + [
    f"test_{name}.csv" for name in ("confusion", "goodness", "calibration", "mistakes")
]
PICTURES = [f"test_plots/{name}.png" for name in ("error", "goodness", "labels", "mistakes")]
TEXT = ["config.yaml", "metrics.csv", "test_results.json", "test_samples.txt", "test_plots/goodness.png"]
FILES = [(image_run, name) for name in IMAGE + PICTURES] + [(text_run, name) for name in TEXT]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Nothing is drawn, which takes most of the time: an address for each picture."""
    monkeypatch.setattr(report_drawing, "as_svg", lambda figure: "data:image/svg+xml;base64,")


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3].removesuffix(b"\n"))


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "other columns": lambda path: path.write_text("a,b\n1,2\n"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    "a folder": a_folder,
}


def shown(folder):
    run = read_run(folder)
    return run, Seen(report_page([run]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs, written once, and their pages."""
    found = {}
    for make in (image_run, text_run):
        folder = make(tmp_path_factory.mktemp("runs") / "task-20260102-030405")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report_drawing, "as_svg", lambda figure: "data:image/svg+xml;base64,")
            run, seen = shown(folder)
        assert run.notes == {}
        assert "note" not in [attributes.get("class") for _, attributes in seen.tags]
        found[make] = folder, seen
    return found


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("make", "name"), FILES, ids=[f"{make.__name__}-{name}" for make, name in FILES])
def test_a_damaged_file_is_said_and_the_rest_shows(make, name, damage, whole, tmp_path):
    if name.endswith(".txt") and damage == "other columns":
        return  # which any text may be
    source, before = whole[make]
    folder = shutil.copytree(source, tmp_path / source.name)
    DAMAGES[damage](folder / name)
    run, seen = shown(folder)
    assert list(run.notes) == [name], run.notes
    assert seen.text.count(run.notes[name]) == 1, "it is said once"
    assert run.notes[name].startswith(f"{name} ")
    untouched = read_run(source)
    assert (run.metrics == untouched.metrics) == (name != "metrics.csv")
    assert run.config == untouched.config or name == "config.yaml"
    assert len(seen.pictures) >= len(before.pictures) - 4, "the learning curves are four"
    lost = {"metrics.csv": 4, "test_results.json": 14, "config.yaml": 9}.get(name, 10)
    assert len(seen.rows) >= len(before.rows) - lost
    if name != "test_results.json":
        assert any(row[-1] in ("16.67 %", "2.375") for row in seen.rows), "the main figure"


def test_lines_that_were_cut_are_counted(tmp_path):
    folder = image_run(tmp_path / "run")
    with (folder / "metrics.csv").open("a") as file:
        file.write("3,39,no number,,,,\n3,3")
    run = read_run(folder)
    assert run.notes["metrics.csv"] == "metrics.csv has 2 lines that cannot be read; the others are shown."
    assert run.metrics == read_run(image_run(tmp_path / "whole")).metrics


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("error", "low", "a number"), ("error_by_iteration", [0.5, "x"], "numbers"), ("class_names", 3, "names")],
)
def test_a_figure_of_another_kind_is_named_and_left_out(name, value, kind, tmp_path):
    folder = image_run(tmp_path / "run")
    file = folder / "test_results.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    run, seen = shown(folder)
    assert run.notes == {file.name: f"test_results.json has been changed: {name} is not {kind}."}
    assert name not in run.stages["test"].results
    assert "31.25 %" in seen.text, "the others stay"


ODD: tuple[Any, ...] = (
    3,
    "x",
    [],
    {"class_path": 3},
    {"init_args": "x"},
    {"class_path": "a.b", "init_args": {"hidden_features": 3}},
    None,
)


@pytest.mark.parametrize("group", ["model", "data", "trainer"])
@pytest.mark.parametrize("value", ODD, ids=str)
def test_settings_may_be_anything(group, value, tmp_path):
    folder = image_run(tmp_path / "run")
    (folder / "config.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load((folder / "config.yaml").read_text()), group: value})
    )
    run, seen = shown(folder)
    assert run.notes == {}
    assert any(row[-1] == "16.67 %" for row in seen.rows)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", "1e999"])
def test_figures_that_are_not_finite_are_left_out(value, tmp_path):
    folder = image_run(tmp_path / "run")
    file = folder / "test_results.json"
    file.write_text(file.read_text().replace("0.3125", value).replace("0.0625", value))
    _, seen = shown(folder)
    assert not any("one-pass" in row[0] for row in seen.rows)
    assert ["2", "-"] in seen.rows


def test_a_checkpoint_that_is_damaged_is_said_where_the_run_was_stopped(tmp_path):
    folder = image_run(tmp_path / "run", made=1)
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
    run, seen = shown(folder)
    assert list(run.notes) == ["last.ckpt"]
    assert run.notes["last.ckpt"].startswith("last.ckpt cannot be read as a checkpoint")
    assert str(folder) not in run.notes["last.ckpt"]
    assert run.notes["last.ckpt"] in seen.text


def test_a_checkpoint_without_its_epoch_is_said(tmp_path):
    folder = image_run(tmp_path / "run", made=1)
    write_checkpoint(ffrecur.BackpropNet(4, hidden_features=(3,), num_classes=2), folder / "last.ckpt")
    entry = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({name: value for name, value in entry.items() if name != "epoch"}, folder / "last.ckpt")
    run, seen = shown(folder)
    assert run.notes["last.ckpt"].startswith("last.ckpt does not say how far the training got")
    assert run.notes["last.ckpt"] in seen.text


def test_a_picture_that_is_too_large_is_said(tmp_path):
    folder = image_run(tmp_path / "run")
    with (folder / "test_plots" / "huge.png").open("wb") as file:
        os.truncate(file.fileno(), 50 * 2**20)
    run, _ = shown(folder)
    assert run.notes == {"test_plots/huge.png": "test_plots/huge.png has 50.0 MiB, which is too much for this page."}


def test_what_is_no_run_is_refused(tmp_path):
    long = "which cannot be read: File name too long"
    for name, told in ((".", "it has none of"), ("x", "which is not there"), ("x" * 300, long)):
        with pytest.raises(UserError, match=f"^run is .*{told}"):
            read_run(tmp_path / name)
