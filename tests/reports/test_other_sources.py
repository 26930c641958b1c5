"""Kind 12, on the command line: a net is tested on all of another source, and on its own as it was trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making import make_digits
from running import TINY, only_run, run, slow

from ffrecur.lit.run.folders import same_source


def results(stage="test"):
    return json.loads((only_run() / f"{stage}_results.json").read_text())


def without_test_split(folder):
    """Make a data set whose 60 images are all in its training split."""
    make_digits(folder)
    for path in folder.glob("t10k*"):
        path.unlink()


@pytest.fixture
def trained_on_digits(staged):
    return staged("trained on digits", train)


def train(folder):
    make_digits(folder / "digits")
    assert run("fit", *TINY, "--data.validation_size=40", "--trainer.max_epochs=1").code == 0


@pytest.mark.parametrize(
    ("source", "command", "images"),
    [
        ("digits", "test", 20),  # its own: the test split
        slow("../{here}/digits", "test", 20),  # the same folder by another name
        ("digits", "validate", 40),
        ("others", "test", 60),  # no test split: all of it, whatever validation_size the training had
        slow("others", "validate", 60),
        ("more", "test", 20),  # another source with a test split
    ],
)
def test_images(trained_on_digits, source, command, images):
    without_test_split(Path("others"))
    make_digits(Path("more"))
    outcome = run(command, "--data.source", source.format(here=Path.cwd().name))
    assert outcome.code == 0, outcome.err
    assert results({"validate": "validation"}.get(command, command))["num_examples"] == images


@pytest.mark.parametrize(("source", "known"), [("tales.txt", True), ("other.txt", True), ("other.txt", False)])
def test_text(tales, source, known):
    """`known`: whether the training's text is still there, for what is measured against it."""
    Path("other.txt").write_text("A single text of another kind, which no net has ever seen before.")
    options = [
        "--model=CharModule",
        "--model.hidden_features=[4]",
        "--data=CorpusDataModule",
        "--data.source=tales.txt",
    ]
    options += ["--data.document_separator=\\n\\n", "--data.validation_size=2", "--trainer.max_epochs=1"]
    assert run("fit", *options).code == 0
    if not known:
        Path("tales.txt").unlink()
    outcome = run("test", "--data.source", source)
    assert outcome.code == 0, outcome.err
    found = results()
    whole = len("a single text of another kind, which no net has ever seen before.") - 10
    assert found["num_characters"] == (whole if source == "other.txt" else found["num_characters"])
    assert (found["known_word_share"] is not None) == known


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("bundled", "bundled", True),
        ("me/set", "me/set", True),
        ("me/set", "me/other", False),
        ("digits", "./digits/", True),
        ("link", "digits", True),
        ("digits", "copy", False),
        ("gone", "digits", False),
        (None, "digits", False),
    ],
)
def test_what_the_same_source_is(tmp_path, monkeypatch, one, other, same):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "copy"):
        Path(name).mkdir()
        Path(name, "x").write_bytes(b"x")
    Path("link").symlink_to("digits")
    assert same_source(one, other) is same
