"""Local receptive fields: drives by hand, against a convolution and a dense layer of the same weights, and bad settings."""

import itertools
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffrecur
from ffrecur import LocalLinear
from ffrecur.core.sources import Local

SHAPES = [((5, 7, 2), 3, 3, 2, 0), ((4, 6, 1), 2, 3, 1, 1), ((6, 6, 3), 2, 2, 2, 0), ((5, 5, 2), 4, 5, 3, 4)]


def layer_of(shape, channels, kernel, stride, padding, seed=0):
    torch.manual_seed(seed)
    local = LocalLinear(shape, channels, kernel, stride, padding).double()
    nn.init.normal_(local.bias)
    return local


def rows_of(local, count=3):
    return torch.randn(count, local.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_drives_by_hand():
    local = LocalLinear((2, 3), 1, kernel=2).double()
    with torch.no_grad():
        local.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0, 1000.0]], [[2.0, 0.0, 0.0, 3.0]]]))
        local.bias.copy_(torch.tensor([0.0, 0.5]))
    assert local.out_shape == (1, 2, 1)
    rows = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], dtype=torch.float64)  # 1 2 3 above 4 5 6
    torch.testing.assert_close(local(rows), torch.tensor([[5421.0, 2 * 2 + 3 * 6 + 0.5]], dtype=torch.float64))


@pytest.mark.parametrize(("shape", "channels", "kernel", "stride", "padding"), SHAPES)
def test_with_the_same_weights_everywhere_it_is_a_convolution(shape, channels, kernel, stride, padding):
    local = layer_of(shape, channels, kernel, stride, padding)
    with torch.no_grad():
        local.weight.copy_(local.weight[:1].expand_as(local.weight))
        local.bias.zero_()
    rows = rows_of(local)
    of_channels = local.weight[0].view(channels, kernel, kernel, shape[2]).permute(0, 3, 1, 2)
    maps = F.conv2d(rows.view(-1, *shape).permute(0, 3, 1, 2), of_channels, stride=stride, padding=padding)
    assert local.out_shape == (*maps.shape[2:], channels)
    torch.testing.assert_close(local(rows), maps.permute(0, 2, 3, 1).flatten(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "channels", "kernel", "stride", "padding"), SHAPES)
def test_no_two_places_have_a_weight_in_common(shape, channels, kernel, stride, padding):
    local = layer_of(shape, channels, kernel, stride, padding)
    rows = rows_of(local).requires_grad_()
    drives = local(rows).view(len(rows), -1, channels)
    for place in range(drives.shape[1]):
        (of_weight,) = torch.autograd.grad(drives[:, place].sum(), local.weight, retain_graph=True)
        assert of_weight[place].count_nonzero() > 0
        of_weight[place] = 0
        assert of_weight.count_nonzero() == 0


@pytest.mark.parametrize(("shape", "channels", "kernel", "stride", "padding"), SHAPES)
def test_the_fast_source_is_the_module(shape, channels, kernel, stride, padding):
    local, generator = layer_of(shape, channels, kernel, stride, padding), torch.Generator().manual_seed(2)
    source, rows = Local(local, torch.float64), rows_of(local)
    deltas = torch.randn(len(rows), local.out_features, dtype=torch.float64, generator=generator)
    expected = torch.autograd.grad(local(rows), [local.weight, local.bias], deltas)
    torch.testing.assert_close(source.drive(rows, source.bias), local(rows).detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(source.drive(rows), (local(rows) - local.bias).detach(), rtol=1e-12, atol=1e-12)
    (found,) = source.gradients(deltas, rows)
    torch.testing.assert_close(found, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(deltas.sum(dim=0), expected[1], rtol=1e-12, atol=1e-12)


def test_weights_start_at_one_over_the_field():
    torch.manual_seed(0)
    local = LocalLinear((28, 28), 128, kernel=10, stride=6)
    assert local.out_shape == (4, 4, 128)
    assert local.weight.shape == (16, 128, 100)
    assert abs(float(local.weight.detach().std()) - 0.1) < 0.001
    assert local.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((28, 28), 4, 29), "kernel is 29, but must be from 1 to 28, the shorter side of the map"),
        (
            ((28, 20), 4, 23, 1, 1),
            "kernel is 23, but must be from 1 to 22, the shorter side of the map with its padding",
        ),
        (((28, 28), 4, 0), "kernel is 0"),
        (((28, 28), 0, 3), "out_channels is 0, but must be a whole number of at least 1"),
        (((28, 28), 4, 3, 0), "stride is 0, but must be a whole number of at least 1"),
        (((28, 28), 4, 3, 1, 3), "padding is 3, but must be from 0 to 2, below kernel"),
        (((28,), 4, 3), "in_shape is (28,), but must be (rows, columns) or (rows, columns, channels)"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(ffrecur.UserError) as refused:
        LocalLinear(*arguments)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    list(itertools.product([(7, 9), (8, 8, 2)], [2, 3], [1, 2, 3, 4], [0, 1])),
)
def test_places_that_no_field_reads_are_warned_of_with_their_number(shape, kernel, stride, padding):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        local = LocalLinear(shape, 1, kernel, stride, padding)
    rows = torch.ones(1, local.in_features, requires_grad=True)
    nn.init.ones_(local.weight)
    (gradient,) = torch.autograd.grad(local(rows).sum(), rows)
    unseen = int((gradient.view(*local.in_shape)[..., 0] == 0).sum())
    places = shape[0] * shape[1]
    expected = [f"{unseen} of {places} places"] if unseen > 0 else []
    assert [str(each.message).split(" of the map")[0] for each in caught] == expected


def test_a_net_of_local_layers_is_built_again_from_its_settings(tmp_path):
    first = LocalLinear((6, 6), 3, kernel=4, stride=2)
    net = ffrecur.FeedForwardNet(36, layers=[first, LocalLinear(first.out_shape, 5, kernel=2)], label=None)
    ffrecur.save(net, tmp_path / "net")
    again = ffrecur.load(tmp_path / "net")
    assert net.settings()["layers"][0]["in_shape"] == [6, 6, 1]
    assert again.settings() == net.settings()
    images = torch.rand(4, 36)
    assert torch.equal(again.score(images), net.score(images))
    with pytest.raises(ffrecur.UserError, match="number 1: .*kernell"):
        ffrecur.FeedForwardNet(36, layers=[{"in_shape": [6, 6], "out_channels": 3, "kernell": 4}], label=None)


@pytest.mark.parametrize(("shape", "channels", "kernel", "stride", "padding"), SHAPES)
def test_transposed_is_the_product_with_the_whole_matrix(shape, channels, kernel, stride, padding):
    """By autograd: the derivative of `drives @ layer(rows)` by the rows."""
    local = layer_of(shape, channels, kernel, stride, padding)
    rows = rows_of(local).requires_grad_()
    drives = torch.randn(3, local.out_features, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (expected,) = torch.autograd.grad(local(rows), rows, drives)
    torch.testing.assert_close(local.transposed(drives).detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (2,), (0,), (2, 3), (2, 0, 3), (1, 2, 2)])
def test_leading_dimensions_are_those_of_a_linear_layer(leading):
    local = layer_of(*SHAPES[1])
    rows = torch.randn(*leading, local.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, dense = local(rows), nn.Linear(local.in_features, local.out_features).double()
    with torch.no_grad():
        dense.weight.copy_(local.transposed(torch.eye(local.out_features, dtype=torch.float64)))
        dense.bias.copy_(local.bias)
    torch.testing.assert_close(found, dense(rows), rtol=1e-12, atol=1e-12)
