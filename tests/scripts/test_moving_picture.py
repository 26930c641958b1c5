"""scripts/docs/moving_picture.py: it shows what the net computes, is the same each time, and fits into the README."""

import moving_picture
import numpy as np
import pytest
import torch
from moving_picture import Digit
from pages import ROOT
from PIL import Image

import ffrecur

IMAGE = ROOT / "docs" / "images" / "thinking.gif"


def digit(scores, label):
    return Digit(np.zeros((28, 28)), label, np.array(scores, dtype=float))


def test_the_digits_are_chosen_by_what_the_net_makes_of_them():
    late, sure, wavering = [[0, 2, 1]] * 2 + [[3, 0, 1]] * 6, [[0, 5, 1]] * 8, [[0, 2, 1], [1, 0, 2]] + [[3, 0, 1]] * 6
    scores_TBC = torch.tensor([wavering, sure, late, sure], dtype=torch.float).transpose(0, 1)
    labels = torch.tensor([0, 1, 0, 2])  # of the two that are sure, the second is wrong
    assert moving_picture.choose(scores_TBC, labels) == (1, 2)
    with pytest.raises(ValueError, match="no test digit"):
        moving_picture.choose(scores_TBC[:, 1:2], labels[1:2])


def test_the_rival_is_who_led_or_comes_next():
    assert digit([[0, 3, 1], [5, 4, 4.5]], 0).rival() == 1
    assert digit([[5, 3, 1], [5, 3, 4.5]], 0).rival() == 2


def test_the_curves_are_the_nets_scores():
    net = ffrecur.load(moving_picture.NET)
    image = torch.rand(784, generator=torch.Generator().manual_seed(0))
    found = moving_picture.followed(net, image, 3)
    first, last = moving_picture.WINDOW
    window_C = torch.from_numpy(found.scores_TC[first - 1 : last]).mean(dim=0)
    assert torch.allclose(window_C, net.score(image[None], window=moving_picture.WINDOW)[0], atol=1e-5)


def test_the_window_is_that_of_the_net():
    card = ffrecur.storage.museum.read_card(ffrecur.storage.museum.place_of(moving_picture.NET))
    settings = card["run"]["ffrecur_config"]["model"]["init_args"]
    assert (tuple(settings["window"]), settings["iterations"]) == (moving_picture.WINDOW, moving_picture.ITERATIONS)


def test_a_frame_shows_as_many_iterations_as_have_passed():
    """Blue and orange grow to the right; before the first iteration there is none."""
    shown = digit([[-1.0, -2, -3]] * moving_picture.ITERATIONS, 0)
    ends = []
    for picture in moving_picture.frames([shown], (0, 2, 5))[0]:
        pixels = np.asarray(picture)[60:-60].astype(int)
        blue = (pixels[..., 2] - pixels[..., 0] > 100).any(axis=0).nonzero()[0]
        ends.append(blue.max() if len(blue) else 0)
    assert ends[0] == 0 < ends[1] < ends[2]


def test_it_is_the_same_each_time_and_white_stays_white(tmp_path):
    made = []
    for name in ("one.gif", "two.gif"):
        moving_picture.write(
            *moving_picture.frames([digit([[-1.0, -2, -3]] * 8, 0)], (0, 3, 8)), output=tmp_path / name
        )
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    with Image.open(tmp_path / "one.gif") as picture:
        times = []
        for number in range(picture.n_frames):
            picture.seek(number)
            times.append(picture.info["duration"])
            assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert times == [moving_picture.BEFORE, moving_picture.EACH, moving_picture.AFTER]


def test_the_picture_of_the_readme_is_small_calm_and_goes_on_for_ever():
    assert IMAGE.stat().st_size < 1_000_000
    with Image.open(IMAGE) as picture:
        assert picture.info["loop"] == 0
        assert picture.n_frames == 2 * (moving_picture.ITERATIONS + 1)
        assert picture.width / picture.height == pytest.approx(moving_picture.WIDTH / moving_picture.HEIGHT)
    assert moving_picture.EACH >= 400, "no more than two and a half frames a second"
    assert "docs/images/thinking.gif" in (ROOT / "README.md").read_text()
