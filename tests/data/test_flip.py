"""`Flip`: which images come out, and how many of them."""

from __future__ import annotations

import pytest
import torch
from making import images_of

from ffrecur.data import Flip
from ffrecur.data.augment import augmented
from ffrecur.errors import UserError


def test_flips_by_hand():
    images = torch.tensor([[1, 2, 3, 4, 5, 6]] * 2, dtype=torch.uint8)
    made = Flip(0.5)(images, torch.tensor([[0.49], [0.5]]), (2, 3))
    assert made.tolist() == [[3, 2, 1, 6, 5, 4], [1, 2, 3, 4, 5, 6]]


def test_the_channels_of_a_pixel_stay_together():
    images = torch.tensor([[1, 2, 3, 11, 12, 13]], dtype=torch.uint8)  # two pixels beside each other
    assert Flip()(images, torch.zeros(1, 1), (1, 2, 3)).tolist() == [[11, 12, 13, 1, 2, 3]]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 440, 560), (1.0, 1000, 1000)])
def test_its_share_of_the_images_is_mirrored(share, low, high):
    images = images_of((1, 2), 1000)
    images[:, 1] = images[:, 0] + 1
    made = augmented(images, [Flip(share)], (1, 2), 0, 7, 0)
    assert low <= int((made[:, 0] == images[:, 1]).sum()) <= high
    assert torch.equal(made.sum(dim=1), images.sum(dim=1))


@pytest.mark.parametrize("share", [-0.1, 1.1, "x", None, True])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(UserError, match=rf"Flip.share is {share!r}, but must be a number from 0 to 1"):
        Flip(share)
