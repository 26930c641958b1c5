"""`PixelNoise`, `Contrast`, `Background` and `Cutout`: the laws by hand, how what is drawn is spread, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from statistics import NormalDist

import pytest
import torch
from making import images_of
from scipy import stats

from ffrecur.data import Background, Contrast, Cutout, PixelNoise
from ffrecur.data.augment import augmented
from ffrecur.errors import UserError
from ffrecur.seeding import normal_of, uniform_at

ONE = 1 - 2**-24  # the largest number that is drawn
SHAPES = [(5, 7), (4, 4, 3)]


def bytes_of(*values):
    return torch.tensor([values], dtype=torch.uint8)


def row(*numbers):
    return torch.tensor([numbers])


def is_uniform(values, low, high):
    """Whether values look uniform; a right one fails once in ten thousand."""
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_noise_by_hand():
    """One deviation for the image, 0.4 * 0.5 of 255 = 51; normal numbers by the quantile function of Python's library."""
    uniform = [0.5, 0.9, 0.25, ONE, 0.0]
    z = [NormalDist().inv_cdf(u + 2**-25) for u in uniform]
    expected = [min(max(round(x + 51 * each), 0), 255) for x, each in zip((0, 100, 200, 240, 20), z, strict=True)]
    assert expected[0] == 0
    assert expected[3:] == [255, 0]
    assert PixelNoise(0.4)(bytes_of(0, 100, 200, 240, 20), row(0.5, *uniform), (1, 5)).tolist() == [expected]


def test_contrast_by_hand():
    """The mean is 75, the factor 0.2 + 0.8 * 0.25 = 0.4."""
    made = Contrast(0.2)(bytes_of(0, 50, 50, 200), row(0.25), (2, 2))
    assert made.tolist() == [[45, 65, 65, 125]]
    assert Contrast(0.0)(bytes_of(0, 50, 50, 200), row(0.0), (2, 2)).tolist() == [[75] * 4]
    assert Contrast(0.0)(bytes_of(0, 1, 0, 1), row(0.0), (2, 2)).tolist() == [[0] * 4]  # a half goes to the even number


def test_a_background_by_hand():
    """The grey is 0.4 * 0.5 of 255 = 51, and every distance from white four fifths of what it was."""
    assert Background(0.4)(bytes_of(0, 100, 255), row(0.5), (1, 3)).tolist() == [[51, 131, 255]]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.3, 0.5, 0.5), [1, 2, 3, 4, 5, 6, 7, 8, 9]),  # a side of 0
        ((0.5, 0.0, 0.0), [0, 2, 3, 4, 5, 6, 7, 8, 9]),  # of 1, which has three rows to be in
        ((0.5, 0.34, 0.99), [1, 2, 3, 4, 5, 0, 7, 8, 9]),
        ((0.7, 0.0, 0.3), [0, 0, 3, 4, 5, 6, 7, 8, 9]),  # of 2, which has four, the first of them half outside
        ((0.7, 0.51, 0.99), [1, 2, 3, 4, 5, 0, 7, 8, 0]),
    ],
)
def test_squares_by_hand(numbers, expected):
    assert Cutout(2)(bytes_of(*range(1, 10)), row(*numbers), (3, 3)).tolist() == [expected]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", [PixelNoise(0), Contrast(1), Background(0), Cutout(0)])
def test_without_strength_nothing_changes(change, shape):
    images = images_of(shape)
    assert torch.equal(augmented(images, [change], shape, 0, 0), images)


def test_the_colours_of_a_pixel_change_alike_but_for_noise():
    grey = images_of((4, 4), 50)
    colour = grey[..., None].expand(-1, -1, 3).flatten(1)
    for change in (Contrast(), Background(), Cutout(3)):
        made = augmented(colour, [change], (4, 4, 3), 0, 0).unflatten(1, (16, 3))
        assert torch.equal(made[..., 0], augmented(grey, [change], (4, 4), 0, 0))
        assert (made == made[..., :1]).all()
    noisy = augmented(colour, [PixelNoise()], (4, 4, 3), 0, 0).unflatten(1, (16, 3))
    assert (noisy != noisy[..., :1]).any()


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_normal_numbers_are_normal_symmetric_and_finite():
    numbers = uniform_at(0, 4000, 5, 1)
    assert stats.kstest(normal_of(numbers).flatten(), "norm").pvalue > 1e-4
    edge = torch.tensor([0.0, 2**-24, 0.25])
    assert torch.equal(normal_of(edge), -normal_of(1 - 2**-24 - edge))
    assert normal_of(edge).isfinite().all()


def test_the_deviation_of_the_noise_is_uniform():
    """On grey images, where nothing is cut: chi squared of each image's own noise tells its deviation to 2 %."""
    grey = torch.full((1000, 1600), 128, dtype=torch.uint8)
    made = augmented(grey, [PixelNoise(0.15)], (40, 40), 0, 3).double() - 128
    deviations = (made.square().mean(dim=1) - 1 / 12).clamp(min=0).sqrt() / 255  # less what rounding adds
    assert abs(made.mean()) < 5 * made.std() / made.numel() ** 0.5
    assert is_uniform(deviations, 0, 0.15)


def test_contrast_and_background_are_uniform():
    """Of an image with black and white: the distance that is left between them, and the black."""
    halves = torch.tensor([[0, 255]], dtype=torch.uint8).expand(2000, -1)
    lost = augmented(halves, [Contrast(0.25)], (1, 2), 0, 3).double()
    dither = uniform_at(0, 2000, 1, 9).double()[:, 0] - 0.5  # as wide as what is rounded away
    assert is_uniform((lost[:, 1] - lost[:, 0] + 2 * dither) / 255, 0.25, 1)
    grey = augmented(halves, [Background(0.6)], (1, 2), 0, 3).double()
    assert (grey[:, 1] == 255).all()
    assert is_uniform((grey[:, 0] + dither) / 255, 0, 0.6)


def test_the_sides_and_the_places_of_squares_are_equally_likely():
    """Of each side from 0 to 2 a third, and of each of its (s + 3 - 1)**2 places the same share of that."""
    count = 18_000
    images = torch.arange(1, 10, dtype=torch.uint8).expand(count, -1)
    made = augmented(images, [Cutout(2)], (3, 3), 0, 3)
    shares = Counter()
    for side in range(3):
        places = range(1 - side, 3) if side else (3,)
        for top, left in itertools.product(places, repeat=2):
            square = {(top + down, left + right) for down in range(side) for right in range(side)}
            shown = tuple(0 if divmod(place, 3) in square else place + 1 for place in range(9))
            shares[shown] += 1 / 3 / len(places) ** 2
    assert math.isclose(sum(shares.values()), 1)
    found = {
        tuple(image.tolist()): number.item()
        for image, number in zip(*made.unique(dim=0, return_counts=True), strict=True)
    }
    assert set(found) == set(shares)
    chi_squared = sum((found[key] - count * share) ** 2 / (count * share) for key, share in shares.items())
    assert stats.chi2(len(shares) - 1).sf(chi_squared) > 1e-4


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf, "1", None, True])
@pytest.mark.parametrize(
    ("change", "name", "allowed"),
    [
        (PixelNoise, "PixelNoise.deviation", "a finite number of at least 0"),
        (Contrast, "Contrast.lowest", "a number from 0 to 1"),
        (Background, "Background.brightest", "a number from 0 to 1"),
        (Cutout, "Cutout.side", "a whole number of at least 0"),
    ],
)
def test_what_is_no_strength(change, name, allowed, value):
    with pytest.raises(UserError) as caught:
        change(value)
    assert str(caught.value) == f"{name} is {value!r}, but must be {allowed}"


@pytest.mark.parametrize(("change", "value"), [(Contrast, 1.5), (Background, 2), (Cutout, 1.5)])
def test_strengths_that_are_too_great(change, value):
    with pytest.raises(UserError, match=f"is {value}, but must be"):
        change(value)


def test_a_square_that_may_cover_the_whole_image():
    assert Cutout(4).numbers((5, 7)) == 3
    with pytest.raises(UserError) as caught:
        Cutout(5).numbers((5, 7))
    assert str(caught.value) == (
        "Cutout.side is 5, but must be less than the height and the width of the images, which are 5x7"
    )
