"""scripts/study/diagrams.py: the pictures of docs/algorithm.md are right, the same each time, and readable on a phone."""

import re

import diagrams
import matplotlib
import pytest
import torch
from matplotlib.text import Text

from ffrecur import FeedForwardNet
from ffrecur.functional import rms_normalize

PAGE = (diagrams.ROOT / "docs" / "algorithm.md").read_text()


def test_the_example_is_what_the_page_says():
    found = diagrams.example()
    assert torch.allclose(found["drive"], torch.tensor([1.0, 2.0, -0.6, 1.0]))
    assert torch.allclose(found["state"], torch.tensor([1.0, 2.0, 0.0, 1.0]))
    assert found["goodness"].item() == pytest.approx(1.5)
    assert found["positive"].item() == pytest.approx(0.9933, abs=1e-4)
    assert found["handed on"].square().mean().item() == pytest.approx(1)
    for number in ("1.5", "0.9933", "0.82, 1.63, 0, 0.82"):
        assert number in PAGE


def test_the_picture_of_a_label_is_what_a_net_reads():
    image = diagrams.digits()[:1]
    net = FeedForwardNet(784, (2,), 10)
    for label in (4, 9, None):
        given = None if label is None else torch.tensor([label])
        shown = rms_normalize(diagrams.labelled(image[0], label)[None])
        assert torch.allclose(net.input_row(image, given), shown)


def test_the_files_are_the_same_each_time_and_have_text_and_no_date(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        diagrams.draw(tmp_path / name)
    for name in diagrams.PICTURES:
        one, two = ((tmp_path / folder / f"{name}.svg").read_text() for folder in ("one", "two"))
        assert one == two
        assert "<text" in one
        assert not re.search(r"date|20\d\d-", one)


def words(svg):
    """Return the texts of a picture."""
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def test_the_page_shows_every_picture_as_it_would_be_drawn_now(tmp_path):
    diagrams.draw(tmp_path)
    for name in diagrams.PICTURES:
        assert f"](images/{name}.svg)" in PAGE
        kept = (diagrams.ROOT / "docs" / "images" / f"{name}.svg").read_text()
        assert words(kept) == words((tmp_path / f"{name}.svg").read_text())


@pytest.mark.parametrize("name", diagrams.PICTURES)
def test_every_text_is_inside_and_large_enough_for_a_phone(name):
    with matplotlib.rc_context(diagrams.STYLE):
        figure = diagrams.PICTURES[name]()
        figure.draw_without_rendering()
        assert figure.get_figwidth() == diagrams.WIDTH
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible():
                extent = text.get_window_extent()
                assert extent.x0 >= 0, text
                assert extent.y0 >= 0, text
                assert extent.x1 <= figure.bbox.width, text
                assert extent.y1 <= figure.bbox.height, text
                assert text.get_fontsize() * 96 / 72 * 360 / (96 * diagrams.WIDTH) >= 9.9, text
