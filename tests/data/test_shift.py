"""`Shift`: which images come out, that all shifts are equally likely, and the random numbers that changes are given."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from making import images_of

from ffrecur.data import Shift
from ffrecur.data.augment import augmented
from ffrecur.errors import UserError
from ffrecur.seeding import uniform_at

LEFT, STAYS, RIGHT = 0.0, 0.5, 0.999  # numbers of a shift by at most one pixel; up and down likewise


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ((STAYS, STAYS), [[1, 2, 3], [4, 5, 6]]),
        ((STAYS, RIGHT), [[0, 1, 2], [0, 4, 5]]),
        ((STAYS, LEFT), [[2, 3, 0], [5, 6, 0]]),
        ((RIGHT, STAYS), [[0, 0, 0], [1, 2, 3]]),  # down
        ((LEFT, LEFT), [[5, 6, 0], [0, 0, 0]]),
        ((0.333, 0.334), [[4, 5, 6], [0, 0, 0]]),  # up: each shift has a third of the numbers
    ],
)
def test_shifts_by_hand(noise, expected):
    images = torch.tensor([[1, 2, 3, 4, 5, 6]], dtype=torch.uint8)
    made = Shift(1)(images, torch.tensor([noise]), (2, 3))
    assert made.dtype == torch.uint8
    assert made.view(2, 3).tolist() == expected


def test_the_channels_of_a_pixel_move_together():
    images = torch.tensor([[1, 2, 3, 11, 12, 13]], dtype=torch.uint8)  # two pixels beside each other
    assert Shift(1)(images, torch.tensor([[STAYS, RIGHT]]), (1, 2, 3)).tolist() == [[0, 0, 0, 1, 2, 3]]


def shifted_by_loops(image, down, right, shape):
    height, width = shape[:2]
    image = image.reshape(height, width, -1)
    made = torch.zeros_like(image)
    for row, column in itertools.product(range(height), range(width)):
        if 0 <= row - down < height and 0 <= column - right < width:
            made[row, column] = image[row - down, column - right]
    return made.flatten()


@pytest.mark.parametrize("shape", [(5, 7), (7, 5, 3), (4, 4)])
@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_each_image_is_shifted_by_its_own_numbers(shape, pixels):
    images, noise = images_of(shape, 40), torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    shifts = (noise * (2 * pixels + 1)).floor().long() - pixels
    expected = [shifted_by_loops(image, *shift, shape) for image, shift in zip(images, shifts.tolist(), strict=True)]
    assert torch.equal(Shift(pixels)(images, noise, shape), torch.stack(expected))


def places(augment, count, side=9, epoch=0):
    """Where the one bright pixel of each image comes to lie, counted from the middle."""
    images = torch.zeros(count, side * side, dtype=torch.uint8)
    images[:, side * side // 2] = 1
    made = augmented(images, augment, (side, side), 0, 3, epoch)
    assert (made.sum(dim=1) == 1).all()
    return [(place // side - side // 2, place % side - side // 2) for place in made.argmax(dim=1).tolist()]


def chi_squared(found, shares):
    total = sum(found.values())
    assert set(found) == set(shares)
    return sum((found[key] - total * share) ** 2 / (total * share) for key, share in shares.items())


def test_all_shifts_are_equally_likely():
    """25 of them: chi squared with 24 degrees of freedom exceeds 51 once in a thousand."""
    every = list(itertools.product(range(-2, 3), repeat=2))
    assert chi_squared(Counter(places([Shift(2)], 10_000)), dict.fromkeys(every, 1 / 25)) < 51


def test_the_changes_of_a_list_draw_independent_numbers():
    """Two shifts by at most one pixel add up to 0 in a third of the cases, to 1 in two ninths, to 2 in one ninth."""
    share = {-2: 1 / 9, -1: 2 / 9, 0: 3 / 9, 1: 2 / 9, 2: 1 / 9}
    shares = {(down, right): share[down] * share[right] for down, right in itertools.product(share, repeat=2)}
    assert chi_squared(Counter(places([Shift(1), Shift(1)], 10_000)), shares) < 51


def test_epochs_draw_independent_numbers():
    """The pairs of an image's shifts in two epochs: all 81 are equally likely; once in a thousand it exceeds 125."""
    pairs = Counter(zip(places([Shift(1)], 16_200), places([Shift(1)], 16_200, epoch=1), strict=True))
    one = list(itertools.product((-1, 0, 1), repeat=2))
    assert chi_squared(pairs, dict.fromkeys(itertools.product(one, repeat=2), 1 / 81)) < 125


def test_numbers_are_uniform_and_below_one():
    numbers = uniform_at(0, 100_000, 3, 7)
    assert numbers.shape == (100_000, 3)
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert numbers.histc(100, 0, 1).sub(3000).abs().max() < 5 * 3000**0.5
    assert numbers.double().t().corrcoef().sub(torch.eye(3)).abs().max() < 0.02
    assert uniform_at(5, 4, 0, 7).shape == (4, 0)


def test_the_numbers_stay_what_they_are():
    """A change would train other weights from the same seed."""
    assert uniform_at(1000, 1, 2, 0, 1, 0).mul(2**24).long().tolist() == [[10472622, 1794358]]


@pytest.mark.parametrize("pixels", [-1, 1.5, "2", None])
def test_pixels_that_are_no_whole_number_of_at_least_0(pixels):
    with pytest.raises(UserError, match=r"^Shift.pixels is .*, but must be a whole number of at least 0$"):
        Shift(pixels)
