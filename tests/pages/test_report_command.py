"""`ffrecur report`: what it writes where, and mistakes in one line."""

import os
import subprocess
import sys

import pytest
from running import TINY, only_run, run
from runs_on_disk import image_run, text_run

from ffrecur import main
from ffrecur.pages import report_drawing


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with two runs, in which nothing is drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_drawing, "as_svg", lambda figure: "data:image/svg+xml;base64,")
    return image_run(tmp_path / "runs" / "one"), text_run(tmp_path / "runs" / "two")


def test_it_writes_into_the_folder_of_the_run_and_says_where(runs, capsys):
    assert main.run(["report", "runs/one"]) == 0
    assert capsys.readouterr().out == "Written: runs/one/report.html\n"
    assert (runs[0] / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_several_runs_and_a_file_of_ones_own(runs, capsys):
    assert main.run(["report", "runs/one", "runs/two", "--output", "new/both.html"]) == 0
    assert capsys.readouterr().out == "Written: new/both.html\n"
    assert not (runs[0] / "report.html").exists()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["runs/three"], "run is 'runs/three', which is not there, but must be the folder of a run"),
        (["runs"], "run is 'runs', but must be the folder of a run: it has none of"),
        (["runs/one/config.yaml"], "run is 'runs/one/config.yaml', which is not there"),
        (["runs/one", "runs/two"], "output is not given, but must be where there are several runs"),
        (
            ["runs/one", "--output", "runs/one/config.yaml"],
            "output is 'runs/one/config.yaml', but must be a file that ends in",
        ),
        (["runs/one", "--output", "runs.html"], "output is 'runs.html', but must be a file, but is a folder"),
        (
            ["runs/one", "--output", "runs/one/config.yaml/x.html"],
            "output is 'runs/one/config.yaml/x.html', but must be",
        ),
        (["runs/one", "--output", "x" * 300 + ".html"], "cannot be written"),
        (["--root", "elsewhere"], "run is not given, and there is no run in 'elsewhere' yet"),
        (["--outptu", "x.html"], "--outptu is not an option (nearest: --output)"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_lost(runs, typed, told, capsys):
    os.mkdir("runs.html")  # noqa: PTH102
    before = {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()}
    assert main.run(["report", *typed]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
    assert {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()} == before


def test_lightning_is_not_imported(runs):
    code = "import sys; from ffrecur import main; code = main.run(['report', 'runs/one']); "
    code += "print('lightning' in sys.modules, code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False 0"


def test_a_test_writes_it_and_the_newest_run_is_meant(workplace, capsys):
    assert run("fit", *TINY).code == 0
    outcome = run("test", render=True)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(", test_plots/, report.html\n")
    page = only_run() / "report.html"
    first = page.read_text()
    page.unlink()
    assert main.run(["report"]) == 0
    assert capsys.readouterr().out == f"Written: {page}\n"
    assert page.read_text() == first, "the same, from the same files"
