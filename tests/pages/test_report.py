"""The page about a run: its figures are those of the files, what users have named is only text, and nothing is fetched."""

import base64
import itertools
import json
import re
import tomllib
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from making import write_checkpoint
from running import ROOT
from runs_on_disk import CLASSES, CONFUSION, EPOCHS, Seen, image_run, png, text_run, write_config, write_csv

import ffrecur
from ffrecur.pages import report_drawing
from ffrecur.pages.report import report_page, write_report
from ffrecur.pages.report_drawing import MOST_POINTS, curves
from ffrecur.pages.run_files import read_run

SCRIPT = "<script>alert(1)</script>"
NAMES = (SCRIPT, '"><img src=x onerror=alert(1)>', "$\\frac{&amp;")
TAGS = {"html", "head", "meta", "link", "title", "style", "body", "main", "h1", "h2", "h3", "p", "section", "div"}
TAGS |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption", "pre", "article"}
TAGS |= {"details", "summary", "footer"}


@pytest.fixture
def drawing():
    """What a test asks for that looks at pictures which the page draws."""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch, request):
    """Otherwise nothing is drawn, which takes most of the time: an address for each picture."""
    count = itertools.count()
    if "drawing" not in request.fixturenames:
        monkeypatch.setattr(report_drawing, "as_svg", lambda figure: f"data:image/svg+xml;base64,{next(count)}")


def page_of(*folders):
    return report_page([read_run(folder) for folder in folders])


def row_of(seen, title):
    (row,) = [row for row in seen.rows if row[0] == title]
    return row[1:]


def check_safe(page):
    """There is no tag that runs or fetches anything, whatever the run is called."""
    seen = Seen(page)
    assert seen.open == [], "everything that begins ends"
    assert {tag for tag, _ in seen.tags} <= TAGS
    attributes = [(name, value or "") for _, found in seen.tags for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert all(value.startswith("data:") for name, value in attributes if name in ("src", "href"))
    assert not re.search(r"url\(|@import|https?:", re.sub(r"data:image/[a-z+]+;base64,[\w+/=]+", "", page))
    return seen


def test_the_page_begins_with_what_the_run_is(tmp_path):
    seen = check_safe(page_of(image_run(tmp_path / "animals-20260102-030405")))
    (lead,) = [text for tag, text in seen.texts if tag == "p"][:1]
    assert lead.replace("\N{NO-BREAK SPACE}", " ") == (
        "A recurrent net with top-down connections, with 2 hidden layers of 30 and 20 units. Its data: eighteen pictures of "
        "animals. Trained for 3 epochs in 0.4 minutes, with seed 7, begun 2026-01-02 03:04. Its error on 18 test images is "
        "16.67 %."
    )


def test_figures_are_those_of_the_files(tmp_path):
    """Written here from what the maker of the run has put in, by another way than the page's."""
    folder = image_run(tmp_path / "run")
    seen = Seen(page_of(folder))
    results = json.loads((folder / "test_results.json").read_text())
    for title, name in (
        ("error (test)", "error"),
        ("error of the one-pass head (test)", "one_pass_error"),
        ("expected calibration error (test)", "calibration_error"),
    ):
        assert float(row_of(seen, title)[0].removesuffix(" %")) == pytest.approx(100 * results[name], abs=0.005)
    assert row_of(seen, "images (test)") == [str(sum(map(sum, CONFUSION)))]
    assert row_of(seen, "lowest error while training (validation)") == [f"{100 * 0.5 / EPOCHS:.2f} %"]
    for by, title in (("iteration", "error_by_iteration"), ("layer", "error_by_layer")):
        start = seen.rows.index([by, "error"]) + 1
        for number, value in enumerate(results[title], start=1):
            assert seen.rows[start + number - 1] == [str(number), f"{100 * value:.2f} %"]
    for i, name in enumerate(CLASSES):
        wrong = sum(CONFUSION[i]) - CONFUSION[i][i]
        told = [str(count) if count else "·" for count in CONFUSION[i]]
        assert [name, *told, f"{100 * wrong / sum(CONFUSION[i]):.2f} %"] in seen.rows
    assert ["owl", "cat", "2"] in seen.rows
    (mistakes,) = [picture["alt"] for picture in seen.pictures if "worst mistakes" in picture["alt"]]
    assert mistakes.replace("\N{NO-BREAK SPACE}", " ").endswith(
        "owl taken for cat with 93.8 %; cat taken for dog with 68.8 %"
    )


def test_pictures_of_the_run_are_in_the_page_as_they_are_and_each_is_described(tmp_path):
    folder = image_run(tmp_path / "run")
    seen = Seen(page_of(folder))
    sources = [picture["src"] for picture in seen.pictures]
    assert len(set(sources)) == len(sources)
    for path in (folder / "test_plots").iterdir():
        assert f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" in sources, path.name
    assert all(len(picture["alt"]) > 15 for picture in seen.pictures)


def drawn(seen, beginning):
    """The SVG of the picture whose description begins so."""
    (picture,) = [each for each in seen.pictures if each["alt"].startswith(beginning)]
    return base64.b64decode(picture["src"].removeprefix("data:image/svg+xml;base64,")).decode()


def test_curves_go_through_the_logged_figures():
    figure = curves({"a": ([1, 2, 3], [5, 3, 4]), "b": (range(1, 10**4 + 1), range(10**4))}, "epoch", "loss")
    short, long = figure.axes[0].get_lines()
    assert (list(short.get_xdata()), list(short.get_ydata())) == ([1, 2, 3], [5, 3, 4])
    xs = list(long.get_xdata())
    assert len(xs) <= MOST_POINTS + 1
    assert (xs[0], xs[-1]) == (1, 10**4), "both ends stay where it is thinned out"
    assert [y + 1 for y in long.get_ydata()] == xs


def test_a_run_of_text_shows_bits_separation_and_samples(tmp_path):
    seen = check_safe(page_of(text_run(tmp_path / "tales", samples="the fo|x & the <b>hen</b>")))
    assert row_of(seen, "bits per character (test)") == ["2.375"]
    assert row_of(seen, "lowest bits per character while training (validation)") == ["3.000"]
    assert ["1", "0.625", "0.562"] in seen.rows
    assert ["2", "0.750", "0.875"] in seen.rows
    assert row_of(seen, "words of the training text") == ["50.0 %", "93.8 %"]
    assert [text for tag, text in seen.texts if tag == "pre"] == ["the fo|x & the <b>hen</b>"]
    assert "Classes" not in seen.headings


def test_names_of_the_users_are_text(tmp_path):
    """Of classes, of the folder, of the source, of a figure and a picture of their own, and in settings."""
    folder = image_run(tmp_path / "<b>run &amp; <i>", names=NAMES)
    file = folder / "test_results.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "source": SCRIPT, SCRIPT: 0.375}))
    (folder / "test_plots" / "<u>own.png").write_bytes(png())
    write_config(folder, SCRIPT, "ImageDataModule", own=SCRIPT)
    page = page_of(folder)
    seen = check_safe(page)
    for name in NAMES:
        assert any(row[0] == name for row in seen.rows)
    assert row_of(seen, f"{SCRIPT} (test)") == ["0.375"]
    assert row_of(seen, "model.own") == [SCRIPT]
    assert f"Its data: {SCRIPT}." in seen.text
    assert "<u>own" in seen.text
    assert "<script" not in page
    check_safe(page_of(text_run(tmp_path / "tales", samples=SCRIPT)))
    check_safe(page_of(folder, tmp_path / "tales"))


def test_names_in_drawn_pictures_are_text(drawing, tmp_path):
    """An SVG has the names of the runs, which are no tags there, and no formula."""
    folders = [image_run(tmp_path / name) for name in ("<script>x<", "$\\frac{")]
    svg = drawn(check_safe(page_of(*folders)), "validation error")
    assert "<script" not in svg
    assert "&lt;script&gt;x&lt;" in svg
    assert "$\\frac{" in svg


def test_many_classes_are_a_map_and_the_most_frequent_mistakes(drawing, tmp_path):
    folder = image_run(tmp_path / "run")
    names = [f"class {number}" for number in range(30)]
    counts = [[9 if i == j else 3 if (i, j) == (4, 2) else 0 for j in range(30)] for i in range(30)]
    write_csv(
        folder / "test_confusion.csv", ["true", *names], [[n, *row] for n, row in zip(names, counts, strict=True)]
    )
    seen = Seen(page_of(folder))
    assert ["class 4", "class 2", "3"] in seen.rows
    assert "taken for class number" in drawn(seen, "Map of the confusion of 30 classes")
    assert max(map(len, seen.rows)) < 10


def test_a_video_has_errors_by_frame(tmp_path):
    folder = image_run(tmp_path / "run")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("ImageDataModule", "DriftDataModule"))
    seen = Seen(page_of(folder))
    assert "Errors by frame and layer" in seen.headings
    assert ["frame", "error"] in seen.rows
    assert any(picture["alt"].startswith("Error of each frame: 50.00") for picture in seen.pictures)


@pytest.mark.parametrize("model", ["FeedForwardModule", "BackpropModule"])
def test_nets_that_look_once_have_what_they_have(model, drawing, tmp_path):
    folder = image_run(tmp_path / "run", model=model)
    file = folder / "test_results.json"
    results = json.loads(file.read_text())
    del results["error_by_iteration"]
    (folder / "test_plots" / "goodness.png").unlink()
    if model == "BackpropModule":
        del results["error_by_layer"]
        (folder / "test_goodness.csv").unlink()
    file.write_text(json.dumps(results))
    seen = Seen(page_of(folder))
    assert ("Errors by layer" in seen.headings) == (model == "FeedForwardModule")
    assert ("Goodness of positive and negative data" in seen.headings) == (model == "FeedForwardModule")
    if model == "FeedForwardModule":
        assert "positive data" in drawn(seen, "Goodness of positive and negative data: layer 1 1.500 and 0.250")


def test_what_an_older_version_did_not_write_is_one_line(tmp_path):
    folder = image_run(tmp_path / "run")
    for name in ("test_calibration.csv", "test_mistakes.csv", "test_plots/mistakes.png", "test_plots/expectation.png"):
        (folder / name).unlink()
    run = read_run(folder)
    seen = Seen(report_page([run]))
    assert run.notes == {}
    assert [tag["class"] for _, tag in seen.tags if tag.get("class") in ("missing", "note")] == ["missing"] * 3
    assert seen.text.count("ffrecur test with this version adds it.") == 3


def test_a_run_that_was_not_tested_says_how(tmp_path):
    folder = image_run(tmp_path / "run")
    for path in folder.glob("test_*.*"):
        path.unlink()
    for path in (folder / "test_plots").iterdir():
        path.unlink()
    seen = Seen(page_of(folder))
    assert f"It has not been tested yet: ffrecur test --ckpt_path {folder}" in seen.text
    assert "Learning curves" in seen.headings


def test_a_stopped_run_says_how_far_it_got(tmp_path):
    """By its figures, and by its last checkpoint, from which it goes on."""
    folder = image_run(tmp_path / "run", made=1)
    net = ffrecur.BackpropNet(4, hidden_features=(3,), num_classes=2)
    write_checkpoint(net, folder / "last.ckpt")
    entry = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({**entry, "epoch": 1, "global_step": 1234}, folder / "last.ckpt")
    written = datetime.fromtimestamp((folder / "last.ckpt").stat().st_mtime)
    said = Seen(page_of(folder)).text
    assert "Trained for 1 of 3 epochs in 0.1 minutes, with seed 7" in said
    assert f"last.ckpt has 1,234 steps and is of {written:%Y-%m-%d %H:%M}" in said
    assert f"The command ffrecur fit --ckpt_path {folder / 'last.ckpt'} goes on with it." in said
    (folder / "last.ckpt").unlink()
    assert "There is no checkpoint to go on from." in Seen(page_of(folder)).text
    (folder / "metrics.csv").unlink()
    assert "Trained for 0 of 3 epochs" in Seen(page_of(folder)).text


def test_a_finished_run_does_not_read_its_checkpoint(tmp_path):
    folder = image_run(tmp_path / "run")
    (folder / "last.ckpt").write_bytes(b"whatever")
    assert read_run(folder).reached is None
    assert read_run(folder).notes == {}


def test_several_runs_stand_side_by_side(drawing, tmp_path):
    one, two = image_run(tmp_path / "one"), image_run(tmp_path / "two")
    results = json.loads((two / "test_results.json").read_text())
    (two / "test_results.json").write_text(json.dumps({**results, "error": 0.4375}))
    text = text_run(tmp_path / "three")
    seen = check_safe(page_of(one, two, text))
    assert seen.rows[0] == ["", "one", "two", "three"]
    assert row_of(seen, "error (test)") == ["16.67 %", "43.75 %", "-"]
    assert row_of(seen, "bits per character (test)") == ["-", "-", "2.375"]
    both = drawn(seen, "validation error")
    assert "one" in both
    assert "two" in both
    assert [text for tag, text in seen.texts if tag == "h2"][-3:] == ["one", "two", "three"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [image_run(tmp_path / above / "run") for above in "ab"]
    assert Seen(page_of(*folders)).rows[0] == ["", *map(str, folders)]


def test_the_page_is_the_same_each_time_and_written_whole(drawing, tmp_path, monkeypatch):
    folder = image_run(tmp_path / "run")
    for _ in range(2):
        write_report([folder], tmp_path / "new" / "page.html")
        first = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert first == page_of(folder)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report([folder], tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes().decode() == first
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_templates_and_styles_are_in_the_package():
    """Whatever in the folder is not Python is named in pyproject.toml, or a wheel would lack it."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["ffrecur"]
    package = ROOT / "ffrecur"
    others = [
        str(path.relative_to(package))
        for path in (package / "pages").rglob("*.*")
        if path.suffix not in (".py", ".pyc")
    ]
    assert others, "there are some"
    assert [path for path in others if not any(fnmatch(path, pattern) for pattern in data)] == []
