"""Reports in a real browser: no complaint in its console, nothing fetched, nothing wider than the window, all pictures shown."""

from pathlib import Path

import pytest
from browser import WIDTHS, chromium, complaints, fetched, open_page, too_wide
from making import make_digits, make_tales
from running import TINY, TINY_TEXT, only_run, run
from runs_on_disk import image_run, text_run

from ffrecur.pages.report import NAME, write_report

pytestmark = pytest.mark.slow

HIDDEN = "return [...document.images].filter(image => !image.complete || image.naturalWidth === 0).length"
VIDEO = ["--data=DriftDataModule", "--data.frames=3", "--model.iterations=3", "--model.evaluation_iterations=3"]
TRAINED = {
    "image": TINY,
    "video": [*TINY, *VIDEO, "--model.window=[2,3]"],
    "text": TINY_TEXT,
    "unsupervised": ["--model=FeedForwardModule", "--model.label=null", *TINY],
    "backpropagation": ["--model=BackpropModule", *TINY],
}


@pytest.fixture(scope="module")
def driver():
    with chromium() as opened:
        yield opened


def settings_shown(driver):
    """Whether a reader sees the settings, which are folded on the screen."""
    return driver.execute_script("return document.querySelector('details table').checkVisibility()")


def check_page(driver, page):
    """It is whole at both widths, with scripts and without; the size of the window changes nothing but the lines."""
    complaints(driver), fetched(driver)
    for width in WIDTHS:
        for scripts in (True, False):
            open_page(driver, page, width, scripts)
            assert driver.title.startswith("Report: ")
        open_page(driver, page, width)
        assert driver.execute_script(HIDDEN) == 0, "every picture can be seen"
        assert too_wide(driver) <= 0
    assert complaints(driver) == []
    assert fetched(driver) == []


@pytest.mark.parametrize("kind", TRAINED)
def test_what_a_test_writes(kind, driver, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits", size=(9, 8))
    make_tales(tmp_path / "tales.txt")
    assert run("fit", *TRAINED[kind]).code == 0
    outcome = run("test", render=True)
    assert outcome.code == 0, outcome.err
    assert outcome.out.rstrip().endswith(NAME)
    check_page(driver, only_run() / NAME)
    assert not settings_shown(driver)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert settings_shown(driver), "a print cannot unfold them"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    driver.execute_script("document.querySelector('details').open = true")
    assert too_wide(driver) <= 0
    assert settings_shown(driver)
    assert "trainer.max_epochs" in driver.find_element("css selector", "details").text


def test_a_broken_run_and_several(driver, tmp_path):
    one, two = (
        image_run(tmp_path / "<b>one", names=("<script>alert(1)</script>", "b" * 200, "c")),
        text_run(tmp_path / "two"),
    )
    (one / "test_results.json").write_text('{"error": 0.')
    (one / "test_plots" / "labels.png").write_bytes((one / "test_plots" / "labels.png").read_bytes()[:60])
    write_report([one], tmp_path / "one.html")
    check_page(driver, tmp_path / "one.html")
    notes = [note.text for note in driver.find_elements("css selector", ".note")]
    assert any(note.startswith("test_results.json is no JSON") for note in notes)
    assert any(note.startswith("test_plots/labels.png is not a whole picture") for note in notes)
    write_report([one, two, Path(one)], tmp_path / "several.html")
    check_page(driver, tmp_path / "several.html")
    assert len(driver.find_elements("css selector", "article")) == 3
