"""Scenes: what each promises to show, by hand and as laws for every scene, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from making import images_of

from ffrecur.data import Aperture, MovingClutter, NoisyFrames, Scene, SweepingBar
from ffrecur.errors import UserError
from ffrecur.seeding import uniform_at

SHAPES = [(12, 15), (9, 8, 3)]
# Each own scene may have a line here: all laws hold for it.
SCENES = [NoisyFrames(0.3), NoisyFrames(2), SweepingBar(1), SweepingBar(4), Aperture(5), Aperture(8), MovingClutter(2)]
law = pytest.mark.parametrize("scene", SCENES, ids=str)
of_every_shape = pytest.mark.parametrize("shape", SHAPES)


def shown(scene, images_BD, shape, frames=9, first=0):
    """The videos, `(B, T, D)`, by the numbers of a table's rows from `first` on."""
    noise_BK = uniform_at(first, len(images_BD), scene.numbers(shape, frames), 7)
    return scene(images_BD, noise_BK, shape, frames)


def black(count, shape):
    return torch.zeros(count, math.prod(shape), dtype=torch.uint8)


# --- laws of all ------------------------------------------------------------------------------------------------------


@law
@of_every_shape
def test_a_video_does_not_depend_on_its_batch(scene, shape):
    images = images_of(shape)
    videos = shown(scene, images, shape)
    assert videos.shape == (len(images), 9, math.prod(shape))
    assert videos.dtype == torch.uint8
    alone = torch.cat([shown(scene, images[i : i + 1], shape, first=i) for i in range(len(images))])
    assert torch.equal(videos, alone)
    assert torch.equal(videos, shown(scene, images, shape)), "the same draws, the same video"
    assert not torch.equal(videos, shown(scene, images, shape, first=100))


@law
@of_every_shape
def test_the_images_stay_as_they_are(scene, shape):
    images = images_of(shape)
    before = images.clone()
    shown(scene, images, shape)
    assert torch.equal(images, before)


@pytest.mark.parametrize("scene", [scene for scene in SCENES if not isinstance(scene, MovingClutter)], ids=str)
def test_each_frame_is_another_one(scene):
    for video in shown(scene, images_of((12, 15)), (12, 15)):
        assert len({tuple(frame) for frame in video.tolist()}) == 9


@pytest.mark.parametrize("scene", [scene for scene in SCENES if not isinstance(scene, NoisyFrames)], ids=str)
def test_colour_channels_are_shown_alike(scene):
    shape, images = (9, 8, 3), images_of((9, 8, 3))
    videos = shown(scene, images, shape).unflatten(2, (72, 3))
    for channel in range(3):
        assert torch.equal(videos[..., channel], shown(scene, images.unflatten(1, (72, 3))[..., channel], shape[:2]))


# --- noise ------------------------------------------------------------------------------------------------------------


def test_noise_has_the_deviation_that_was_asked_for_and_is_drawn_for_every_pixel():
    grey = torch.full((30, 64), 128, dtype=torch.uint8)
    noise = shown(NoisyFrames(0.1), grey, (8, 8), frames=6).double() - 128
    count = noise.numel()
    # Five standard errors of mean and deviation; rounding adds 1/12 to the variance.
    assert abs(noise.mean()) < 5 * 25.5 / count**0.5
    assert abs(noise.std() - (25.5**2 + 1 / 12) ** 0.5) < 5 * 25.5 / (2 * count) ** 0.5
    frames = noise.transpose(0, 1).flatten(1)
    correlations = torch.corrcoef(frames) - torch.eye(6)
    assert correlations.abs().max() < 5 / frames.shape[1] ** 0.5


def test_noise_is_cut_and_takes_the_middle_of_its_numbers_for_none():
    images, half = images_of((5, 7)), torch.full((23, 2 * 35), 0.5)
    assert torch.equal(NoisyFrames(0.7)(images, half, (5, 7), 2), images[:, None].expand(-1, 2, -1))
    assert (NoisyFrames(0.7)(images, half * 0, (5, 7), 2) == 0).all()
    assert (NoisyFrames(0.7)(images, 2 * half - 2**-24, (5, 7), 2) == 255).all()


# --- bar --------------------------------------------------------------------------------------------------------------

WHITE_ROW = torch.full((4, 8 * 8), 255, dtype=torch.uint8)
A_DIRECTION_EACH = torch.arange(4)[:, None] / 4


@pytest.mark.parametrize(("width", "starts"), [(2, [0, 3, 6]), (4, [0, 2, 4]), (3, [0, 2, 5])])
def test_bars_by_hand(width, starts):
    videos = SweepingBar(width)(WHITE_ROW, A_DIRECTION_EACH, (8, 8), 3).view(4, 3, 8, 8)
    right, left, down, up = videos == 128
    for frame, start in enumerate(starts):
        hidden = torch.zeros(8, 8, dtype=torch.bool)
        hidden[:, start : start + width] = True
        assert torch.equal(right[frame], hidden)
        assert torch.equal(left[frame], hidden.flip(1))
        assert torch.equal(down[frame], hidden.T)
        assert torch.equal(up[frame], hidden.T.flip(0))


@of_every_shape
@pytest.mark.parametrize("frames", [2, 5, 8])
def test_a_bar_leaves_every_pixel_to_the_first_frame_or_the_last(shape, frames):
    images = images_of(shape)
    videos = shown(SweepingBar(4), images, shape, frames)
    same = videos == images[:, None]
    assert (same[:, 0] | same[:, -1]).all()
    assert (same | (videos == 128)).all(), "what is not hidden is the image"


# --- aperture ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pixels", "shape", "frames"), [(14, (28, 28), 8), (14, (28, 28), 4), (10, (28, 28), 9)])
@pytest.mark.parametrize("colour", [(), (3,)])
def test_a_window_shows_every_pixel_in_some_frame_and_none_outside_of_it(pixels, shape, frames, colour):
    white = ~black(60, (*shape, *colour))
    videos = shown(Aperture(pixels), white, (*shape, *colour), frames).view(60, frames, *shape, -1)
    assert (videos == 255).any(dim=1).all()
    for axis in (2, 3):
        lit = (videos > 0).any(dim=5 - axis).any(dim=-1)
        assert (lit.sum(dim=2) == pixels).all()
        first = lit.byte().argmax(dim=2)
        places = torch.arange(lit.shape[2])
        assert torch.equal(lit, (places >= first[..., None]) & (places < first[..., None] + pixels)), "one piece"
    assert torch.equal((videos > 0).flatten(2).sum(dim=2).unique(), torch.tensor([pixels**2 * max(1, sum(colour))]))


def test_windows_of_any_size_that_is_allowed_cover_any_image():
    for height in (2, 5, 6):
        for width in (3, 6, 7):
            for pixels in range(1, min(height, width) + 1):
                least = -(-height // pixels) * -(-width // pixels)
                white, every_path = ~black(8, (height, width)), torch.arange(8)[:, None] / 8
                for frames in (least, least + 1, least + 3):
                    Aperture(pixels).numbers((height, width), frames)
                    assert Aperture(pixels)(white, every_path, (height, width), frames).any(dim=1).all()
                with pytest.raises(UserError):
                    Aperture(pixels).numbers((height, width), least - 1)


def test_the_paths_of_a_window_by_hand():
    by_hand = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]  # a row, and the next one back
    paths = Aperture(1)(~black(8, (2, 2)), torch.arange(8)[:, None] / 8, (2, 2), 4).bool().long()
    assert paths[0].tolist() == by_hand
    turned = torch.tensor(by_hand).view(4, 2, 2)
    every = {tuple(torch.rot90(each, k, (1, 2)).flatten().tolist()) for each in (turned, turned.mT) for k in range(4)}
    assert {tuple(path.flatten().tolist()) for path in paths} == every
    assert len(every) == 8


# --- clutter ----------------------------------------------------------------------------------------------------------


@of_every_shape
def test_clutter_comes_from_the_numbers_alone_and_never_hides_what_is_brighter(shape):
    images, clutter = images_of(shape), MovingClutter(3)
    strokes = shown(clutter, black(len(images), shape), shape)
    assert torch.equal(shown(clutter, images, shape), torch.maximum(images[:, None], strokes))
    assert (strokes > 0).any()
    assert (strokes == 0).any()


def test_a_stroke_keeps_its_size_and_moves_by_a_tenth_of_the_side():
    # In the middle, level, to the right: the direction and the slant are angles from there on.
    noise = torch.tensor([[0.5, 0.25, 0.0, 0.0]])
    video = MovingClutter(1)(black(1, (30, 60)), noise, (30, 60), 5).view(5, 30, 60).double()
    weight = video.sum(dim=(1, 2))
    assert torch.allclose(weight, weight[:1].expand(5))
    middle = (video.sum(dim=1) * torch.arange(60)).sum(dim=1) / weight
    assert torch.allclose(middle.diff(), torch.full((4,), 3.0, dtype=torch.double))
    rows, columns = (video[0] > 0).any(dim=1).sum(), (video[0] > 0).any(dim=0).sum()
    assert (rows, columns) == (3, 10), "a third of the side long; as wide as a stroke of a digit"


def test_more_strokes_are_more_clutter():
    few, many = (shown(MovingClutter(count), black(50, (28, 28)), (28, 28)).double().mean() for count in (1, 6))
    assert 4 * few < many < 6 * few


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: NoisyFrames(0), "NoisyFrames.deviation is 0, but must be a finite number greater than 0"),
        (lambda: NoisyFrames(math.nan), "NoisyFrames.deviation is nan, but must be a finite number greater than 0"),
        (lambda: NoisyFrames("a"),  # type: ignore[arg-type]
          "NoisyFrames.deviation is 'a', but must be a finite number greater than 0"),
        (lambda: SweepingBar(0), "SweepingBar.pixels is 0, but must be a whole number of at least 1"),
        (lambda: Aperture(2.5), "Aperture.pixels is 2.5, but must be a whole number of at least 1"),  # type: ignore[arg-type]
        (lambda: MovingClutter(True), "MovingClutter.strokes is True, but must be a whole number of at least 1"),
        (
            lambda: SweepingBar(5).numbers((12, 9, 3), 8),
            "SweepingBar.pixels is 5, but must be at most half of the height and of the width of the images, which are 12x9",
        ),
        (lambda: SweepingBar(2).numbers((9, 9), 1), "data.frames is 1, but must be at least 2: a bar has to move"),
        (
            lambda: Aperture(13).numbers((28, 28), 8),
            "Aperture.pixels is 13, but must be at most the shorter side of the images, 28x28, and so many that 8 windows "
            "cover them",
        ),
        (lambda: Aperture(9).numbers((12, 8), 8), r"Aperture.pixels is 9, but must be at most the shorter side .*12x8.*"),
    ],
)  # fmt: skip
def test_refusals(make, told):
    with pytest.raises(UserError, match=f"^{told}$"):
        make()


def test_a_scene_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Scene()


def test_the_lowest_number_is_noise_like_any_other() -> None:
    """5.42 deviations below: white becomes grey, not black, as noise without a bound would make it."""
    white, lowest = torch.full((1, 4), 255, dtype=torch.uint8), torch.zeros(1, 8)
    assert NoisyFrames(0.1)(white, lowest, (2, 2), 2).tolist() == [[[round(255 * (1 - 0.542))] * 4] * 2]
