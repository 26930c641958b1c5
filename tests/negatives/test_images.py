"""Hybrid images: masks by hand, one mask for all channels, partners that are never the image itself."""

import numpy as np
import pytest
import torch

import ffrecur
from ffrecur.negatives import hybrid_images
from ffrecur.negatives.images import hybrid_masks, partners


def blurred_by_loops(bits, times):
    """The definition, pixel by pixel in exact numbers: [1/4, 1/2, 1/4] both ways, with replicated borders."""
    height, width = bits.shape
    for _ in range(times):
        rows = np.array(
            [
                [
                    bits[max(i - 1, 0), j] / 4 + bits[i, j] / 2 + bits[min(i + 1, height - 1), j] / 4
                    for j in range(width)
                ]
                for i in range(height)
            ]
        )
        bits = np.array(
            [
                [rows[i, max(j - 1, 0)] / 4 + rows[i, j] / 2 + rows[i, min(j + 1, width - 1)] / 4 for j in range(width)]
                for i in range(height)
            ]
        )
    return bits


@pytest.mark.parametrize("blurs", [0, 1, 6])
def test_masks_are_those_of_the_definition(blurs):
    noise = torch.rand(3, 5 * 7, generator=torch.Generator().manual_seed(0))
    expected = [blurred_by_loops((each.reshape(5, 7) >= 0.5).double().numpy(), blurs) > 0.5 for each in noise]
    assert np.array_equal(hybrid_masks(noise, (5, 7), blurs).reshape(3, 5, 7).numpy(), np.array(expected))


def test_more_blurs_make_larger_regions():
    noise = torch.rand(50, 28 * 28, generator=torch.Generator().manual_seed(0))
    borders = [
        hybrid_masks(noise, (28, 28), blurs).reshape(-1, 28, 28).int().diff(dim=2).abs().sum() for blurs in (0, 2, 6)
    ]
    assert borders[0] > 2 * borders[1] > 2 * borders[2]


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_every_pixel_is_of_one_of_the_two_in_all_channels(shape):
    count = int(np.prod(shape))
    ones, twos = torch.ones(6, count), torch.full((6, count), 2.0)
    mixed = hybrid_images(ones, twos, shape, generator=torch.Generator().manual_seed(0)).reshape(6, 20, -1)
    assert torch.equal(mixed, mixed[..., :1].expand_as(mixed))
    assert set(mixed.unique().tolist()) == {1.0, 2.0}


@pytest.mark.parametrize(("cases", "count"), [(2, 1), (3, 2), (100, 3)])
def test_partners_are_others_and_each_is_one_once(cases, count):
    found = partners(cases, count, torch.Generator().manual_seed(0))
    for row in found:
        assert torch.equal(row.sort().values, torch.arange(cases))
        assert (row != torch.arange(cases)).all()
    assert all(len(set(column.tolist())) == count for column in found.t())


def test_what_is_refused():
    with pytest.raises(ffrecur.UserError, match="batch is 1, but must be at least 2 images"):
        partners(1)
    with pytest.raises(ffrecur.UserError, match="negatives_per_case is 3, but must be less than the 3 images"):
        partners(3, 3)
    with pytest.raises(ffrecur.UserError, match="images have the shapes"):
        hybrid_images(torch.ones(2, 6), torch.ones(2, 6), (2, 2))
    with pytest.raises(ffrecur.UserError, match="blurs is -1, but must be a whole number of at least 0"):
        hybrid_images(torch.ones(2, 4), torch.ones(2, 4), (2, 2), blurs=-1)
