"""Goodness by regions of a map: against loops over places, alone in what they learn, and bad settings."""

import json

import numpy as np
import oracle
import pytest
import torch
from making import recurrent_net

import ffrecur
from ffrecur import MeanSquare, RegionMeanSquare, UserError
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.goodness import Goodness, described_as
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Logistic
from ffrecur.storage.classes import built_goodness

# rows and columns of the map, regions, units of a place
SHAPES = [
    ((4, 6), (2, 3), 2),
    ((28, 28), (4, 7), 1),
    ((17, 23), (17, 1), 3),
    ((17, 23), (1, 23), 1),
    ((3, 5), (3, 5), 2),
]


def states(places, units, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, places[0] * places[1] * units, generator=generator, dtype=torch.float64).relu()


@pytest.mark.parametrize(("places", "regions", "units"), SHAPES)
def test_values_agree_with_the_oracle(places, regions, units):
    goodness, state = RegionMeanSquare(places, regions), states(places, units)
    expected = [oracle.region_goodness(row, places, regions) for row in state.tolist()]
    assert goodness.blocks == regions[0] * regions[1]
    np.testing.assert_allclose(goodness.value(state), expected, rtol=1e-12)


@pytest.mark.parametrize(("places", "regions", "units"), SHAPES)
def test_the_factor_is_the_derivative_by_autograd(places, regions, units):
    goodness, state = RegionMeanSquare(places, regions), states(places, units)
    slopes = torch.randn(3, goodness.blocks, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = Goodness.gradient(goodness, state, slopes)
    torch.testing.assert_close(goodness.factor(slopes, state.shape[1]) * state, expected, rtol=1e-12, atol=1e-15)
    wide = goodness.factor(slopes.expand(2, 3, -1), state.shape[1])
    assert wide.shape == (2, *state.shape)


def test_one_region_is_the_mean_square_and_rows_are_its_blocks():
    state = states((4, 3), 2)
    torch.testing.assert_close(RegionMeanSquare((4, 3), (1, 1)).value(state), MeanSquare().value(state))
    torch.testing.assert_close(RegionMeanSquare((4, 3), (2, 1)).value(state), MeanSquare(blocks=2).value(state))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_region_learns_alone_by_hand(sign):
    """On a map of 2x4 the left half is a region; one case, one iteration, no damping, one layer.

    d loss / d drive of unit u in region r is `slope_r / 2 * 2 * state_u / 4`: the mean over two regions of four units each.
    """
    goodness = RegionMeanSquare((2, 4), (1, 2))
    settings = {"in_shape": (2, 4), "units_per_place": (1,), "field": 1, "damping": 0.0}
    net = recurrent_net(**settings, sign=sign, goodness=goodness)
    image = torch.randn(1, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.tensor([0]), torch.tensor([2])
    loss = net.local_loss(image, *labels, iterations=1, threshold=0.9, temperature=0.3)
    loss.backward()
    value, by_bias = 0.0, torch.zeros(8, dtype=torch.float64)
    left = torch.tensor([0, 1, 4, 5])
    both = [net.step((torch.zeros(1, 8, dtype=torch.float64),), image, label)[0][0].detach() for label in labels]
    for units in (left, left + 2):
        means = [float(state[units].square().mean()) for state in both]
        part, *slopes = oracle.objective("logistic", *means, 0.9, 0.3, sign)
        value += part / 2
        for slope, state in zip(slopes, both, strict=True):
            by_bias[units] += slope / 2 * 2 * state[units] / 4
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    torch.testing.assert_close(net.bottom_up[0].bias.grad, by_bias, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        net.goodness(image, labels[0], iterations=1)[0, 0], both[0].square().mean()[None], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("memory", ["full", "constant"])
def test_the_sweep_is_the_reference_where_regions_cross_tiles(memory):
    """Maps of 6x9 are cut into tiles of 3x5; regions are 2x3."""
    settings = {"in_shape": (6, 9, 3), "units_per_place": (2, 1), "field": 5, "sign": -1}
    images = torch.randn(3, 162, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels, negatives = torch.tensor([0, 2, 1]), torch.tensor([[1, 2], [0, 1], [2, 0]])
    learning = Learning(objective=Logistic(0.9, 0.3), iterations=3, memory=memory)
    found = []
    for module in (engine, reference):
        net = recurrent_net(**settings, goodness=RegionMeanSquare((6, 9), (3, 3)))
        result = module.local_learning(net, images, labels, negatives, learning, None)
        result.loss.backward()
        found.append([result.loss.detach(), *(parameter.grad for parameter in net.parameters())])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_it_is_built_again_from_what_a_checkpoint_keeps():
    goodness = RegionMeanSquare((32, 32), [4, 4])
    kept = json.loads(json.dumps(described_as(goodness)))
    assert kept["class_path"] == "ffrecur.core.regions.RegionMeanSquare"
    again = built_goodness(kept, None)
    assert (again.map_shape, again.regions, again.blocks) == ((32, 32), (4, 4), 16)
    assert repr(again) == "RegionMeanSquare(map_shape=(32, 32), regions=(4, 4))"


@pytest.mark.parametrize(
    ("map_shape", "regions", "sentence"),
    [
        ((32, 32), (3, 4), "goodness regions is [3, 4], but must be divisors of the map's 32 rows and 32 columns"),
        ((17, 23), [2, 1], "goodness regions is [2, 1], but must be divisors of the map's 17 rows and 23 columns"),
        ((32, 32), (64, 1), "goodness regions is [64, 1], but must be divisors of the map's 32 rows and 32 columns"),
        ((32, 32), (0, 1), "goodness regions is (0, 1), but must be two whole numbers of at least 1"),
        ((32, 32), (4.0, 4), "goodness regions is (4.0, 4), but must be two whole numbers of at least 1"),
        ((32, 32), 16, "goodness regions is 16, but must be two whole numbers of at least 1"),
        ((32, 32, 3), (4, 4), "goodness map_shape is (32, 32, 3), but must be two whole numbers of at least 1"),
    ],
)
def test_regions_that_a_map_does_not_have_are_refused_in_a_sentence(map_shape, regions, sentence):
    with pytest.raises(UserError) as refused:
        RegionMeanSquare(map_shape, regions)
    assert str(refused.value) == sentence


def test_layers_that_are_no_such_maps_are_refused():
    """A dense layer may have its units laid out as a map, if their number fits."""
    with pytest.raises(UserError) as refused:
        ffrecur.RecurrentNet(4, [24, 10], 3, goodness=RegionMeanSquare((4, 6), (2, 3)))
    allowed = "rows and columns whose product divides the layer's 10 units"
    assert str(refused.value) == f"goodness map_shape is [4, 6], but must be {allowed}"
    ffrecur.RecurrentNet(4, [24, 48], 3, goodness=RegionMeanSquare((4, 6), (2, 3)))


def test_regions_are_of_the_maps_that_local_layers_have():
    local = {"in_shape": [6, 5], "kernel": 3, "out_channels": 2}  # makes 4x3 places
    for map_shape, fits in (((4, 3), True), ((3, 4), False), ((2, 6), False)):
        goodness = RegionMeanSquare(map_shape, (1, 1))
        if fits:
            ffrecur.FeedForwardNet(30, num_classes=3, layers=[local], goodness=goodness)
        else:
            with pytest.raises(UserError, match=r"must be \[4, 3\], the rows and columns of layer 1$"):
                ffrecur.FeedForwardNet(30, num_classes=3, layers=[local], goodness=goodness)
