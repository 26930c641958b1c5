"""Progress bars: with a rate, on a terminal alone, where a command has not been told otherwise, and never for what is short."""

import contextlib
import io
import time

import numpy
import pytest
import torch
from PIL import Image
from running import TINY, TINY_TEXT, check_same, loaded, run

from ffrecur import bars
from ffrecur.commands.generate import main as generate
from ffrecur.commands.train import main

DREAMING = [*TINY_TEXT, "--model.negatives=dream", "--trainer.enable_model_summary=false"]


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def switched_back():
    yield
    bars.switch(False)


@pytest.fixture
def at_once(monkeypatch):
    """Bars appear without delay."""
    monkeypatch.setattr(bars, "DELAY", -1.0)


def on_a_terminal(*args):
    """Run a command; return what it wrote on a terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(Terminal()) as err:
        assert main([str(arg) for arg in args]) == 0
    return err.getvalue()


def shown(items, **settings):
    """Use items up under a bar; return them, and what was shown."""
    with contextlib.redirect_stderr(Terminal()) as err:
        found = list(bars.bar(items, "counting", "sheep", **settings))
    return found, err.getvalue()


def test_a_bar_counts_and_has_a_rate_and_goes(at_once):
    def counted():
        for number in (1, 2, 3):
            time.sleep(0.15)  # it is written ten times a second at most
            yield number

    bars.switch(True)
    found, text = shown(counted(), total=6, size=lambda number: number)
    assert found == [1, 2, 3]
    assert "counting: " in text
    assert "6.00/6.00" in text
    assert "sheep/s]" in text
    assert text.endswith("\r")
    assert "\n" not in text


def test_nothing_is_shown_of_what_is_short_or_where_it_is_off(at_once, monkeypatch):
    items = range(3)
    assert bars.bar(items, "counting", "sheep") is items
    assert shown(items) == ([0, 1, 2], "")
    bars.switch(True)
    monkeypatch.setattr(bars, "DELAY", 60.0)
    assert shown(items) == ([0, 1, 2], "")


def test_a_bar_ends_with_what_is_left_early(at_once):
    bars.switch(True)
    with contextlib.redirect_stderr(Terminal()) as err:
        items = bars.bar(iter(range(5)), "counting", "sheep")
        next(items)
        next(items)
        items.close()
    assert err.getvalue().endswith("\r")


@pytest.fixture
def pictures(workplace):
    """A folder of images."""
    for name in ("cat", "dog"):
        folder = workplace / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(0, 255, (5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
            Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return workplace / "pictures"


def test_reading_and_drawing_of_images_have_bars(pictures, at_once):
    options = [*TINY, f"--data.source={pictures}", "--trainer.max_epochs=1"]
    text = on_a_terminal("fit", *options)
    for what in ("listing pictures", "looking for the files of pictures", "decoding the train images"):
        assert f"{what}: " in text
    text = on_a_terminal("test")
    assert "drawing: " in text
    assert "writing test_confusion.csv: " in text
    assert "writing predictions.csv: " in on_a_terminal("predict")
    assert bars.are_on()
    assert on_a_terminal("fit", *options, "--trainer.enable_progress_bar=false") == ""
    assert not bars.are_on()
    assert run("fit", *options).err == ""  # no terminal
    assert not bars.are_on()


def test_reading_of_arrays_has_bars(workplace, at_once):
    assert "reading train-images-idx3-ubyte" in on_a_terminal("fit", *TINY, "--trainer.max_epochs=1")
    numpy.savez(
        workplace / "set.npz", images=numpy.arange(600, dtype=numpy.uint8).reshape(20, 5, 6), labels=[0, 1] * 10
    )
    assert "reading images: " in on_a_terminal("fit", *TINY, "--data.source=set.npz", "--trainer.max_epochs=1")


def test_dreams_and_the_evaluation_of_text_have_bars(tales, at_once):
    text = on_a_terminal("fit", *DREAMING, "--trainer.default_root_dir=shown")
    for what in ("reading tales.txt", "cutting the text", "encoding the text", "dreaming", "at once"):
        assert f"{what}: " in text
    text = on_a_terminal("test", "--trainer.default_root_dir=shown")
    for what in ("measuring goodness", "predicting", "collecting the known words", "comparing with", "drawing"):
        assert what in text
    assert run("fit", *DREAMING, "--trainer.default_root_dir=quiet").err == ""
    check_same(loaded("shown"), loaded("quiet"))


def test_tables_have_no_bars_of_other_packages_in_files(workplace):
    rows = "".join(f"a tale of number {number} and of its brothers\n" for number in range(40))
    (workplace / "tales.csv").write_text(f"text\n{rows}")
    outcome = run("fit", *TINY_TEXT, "--data.source=tales.csv", "--data.document_separator=null")
    assert (outcome.code, outcome.err) == (0, "")


def test_generate_shows_none(tales, at_once):
    assert run("fit", *TINY_TEXT).code == 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(Terminal()) as err:
        assert generate(["--prompt", "the fox", "--length", "20"]) == 0
    assert len(out.getvalue()) == len("the fox") + 20 + 1
    assert err.getvalue().startswith("Using runs/")
    assert len(err.getvalue().splitlines()) == 1
