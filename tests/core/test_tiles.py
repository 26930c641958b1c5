"""Local fields by products of tiles: against the module and its field-by-field source, in float64 and for maps of all shapes."""

import pytest
import torch
from torch import nn

from ffrecur import LocalLinear
from ffrecur.core.sources import Local, Tiled, source_of
from ffrecur.core.tiles import Tiles, tiled_drive

EXACT = {"rtol": 1e-12, "atol": 1e-12}

# the map below, units of a place, kernel, padding
SHAPES = {
    "colour": ((32, 32, 3), 1, 11, 5),
    "grey": ((28, 28, 1), 2, 5, 2),
    "grey without channels": ((28, 28), 1, 7, 3),
    "odd sides": ((17, 23, 3), 2, 3, 1),
    "odd sides, wide fields": ((17, 23, 3), 1, 9, 4),
    "a field as wide as the map": ((17, 23, 3), 1, 17, 8),
    "more units than channels": ((9, 10, 2), 5, 3, 1),
    "without padding": ((13, 11, 2), 3, 5, 0),
    "one place": ((5, 5, 2), 3, 5, 0),
    "even kernel": ((10, 9, 2), 2, 4, 0),
    "even kernel with padding": ((10, 9, 2), 2, 4, 2),
    "padding as wide as it may be": ((6, 7, 1), 2, 3, 2),
    "a padding that widens the map beyond the field": ((3, 4, 2), 2, 5, 4),
    "smaller than a tile": ((2, 3, 2), 2, 3, 1),
    "a row": ((1, 20, 2), 3, 3, 1),
    "a column": ((20, 1, 2), 3, 3, 1),
}
OF_ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
OF_SOME = pytest.mark.parametrize(
    "shape", [SHAPES[name] for name in ("odd sides", "even kernel with padding", "smaller than a tile", "a column")]
)


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(shape):
    in_shape, units, kernel, padding = shape
    torch.manual_seed(0)
    local = LocalLinear(in_shape, units, kernel, padding=padding).double()
    nn.init.normal_(local.bias)
    return local


@OF_ALL
def test_tiles_compute_what_each_field_computes(shape):
    """Drives and gradients of the module by autograd, of the products field by field, and of those tile by tile."""
    local = layer_of(shape)
    tiled, by_field = Tiled(local, torch.float64), Local(local, torch.float64)
    rows, deltas = normal(3, local.in_features), normal(3, local.out_features, seed=2)
    expected = local(rows)
    torch.testing.assert_close(tiled.drive(rows, tiled.bias), expected.detach(), **EXACT)
    torch.testing.assert_close(tiled.drive(rows), by_field.drive(rows), **EXACT)
    torch.testing.assert_close(tiled.drive(rows, expected.detach()), (2 * expected - local.bias).detach(), **EXACT)
    (by_autograd,) = torch.autograd.grad(expected, local.weight, deltas)
    (by_tiles,), (field_by_field,) = tiled.gradients(deltas, rows), by_field.gradients(deltas, rows)
    torch.testing.assert_close(by_tiles, by_autograd, **EXACT)
    torch.testing.assert_close(by_tiles, field_by_field, **EXACT)


@OF_ALL
def test_drives_of_tiles_with_a_graph(shape):
    """Their derivatives by rows, weights and biases are those of the module."""
    local = layer_of(shape)
    rows, deltas = normal(3, local.in_features).requires_grad_(), normal(3, local.out_features, seed=2)
    found, expected = tiled_drive(local, rows, torch.float64), local(rows)
    torch.testing.assert_close(found, expected, **EXACT)
    by_tiles, by_module = (torch.autograd.grad(each, [rows, *local.parameters()], deltas) for each in (found, expected))
    torch.testing.assert_close(by_tiles, by_module, **EXACT)


def inside_of(local):
    """Which weights read a place of the map, and not the zeros around it."""
    inside = local.fields(torch.ones(1, local.in_features, dtype=torch.float64))[:, 0, None] == 1
    return inside.expand_as(local.weight)


@OF_ALL
def test_weights_beyond_the_border_get_a_gradient_of_exactly_0(shape):
    """They read the zeros around the map; all others learn."""
    local = layer_of(shape)
    (gradient,) = Tiled(local, torch.float64).gradients(normal(2, local.out_features), normal(2, local.in_features))
    inside = inside_of(local)
    assert (gradient[~inside] == 0).all()
    assert (gradient[inside] != 0).all()
    assert (~inside).any() == (local.padding > 0)


@OF_ALL
def test_every_weight_that_reads_the_map_is_packed_once(shape):
    """And found again where it lies; of those that read what is outside, some are left out."""
    local = layer_of(shape)
    tiles, weight, inside = Tiles(local), local.weight.detach(), inside_of(local)
    packed = tiles.pack(weight)
    assert all(strip.shape[:2] == (tiles.stacked, tiles.makes) for strip in packed)
    found = tiles.unpack(packed)
    assert torch.equal(found[inside], weight[inside])
    assert ((found == weight) | (found == 0)).all()
    assert sum(int(strip.count_nonzero()) for strip in tiles.pack(weight * inside)) == inside.sum()


@OF_ALL
def test_rows_are_cut_into_tiles_and_put_together_again(shape):
    local = layer_of(shape)
    tiles, rows = Tiles(local), normal(3, local.out_features)
    apart = tiles.apart(rows)
    assert apart.shape == (tiles.strips, tiles.stacked, 3, tiles.makes)
    assert torch.equal(tiles.side_by_side(apart), rows)
    assert apart.count_nonzero() == rows.numel()


def test_tiles_by_hand():
    """A map of 5x3 places is two tiles of 3x3, of which the lower one hangs over the border by one row.

    Of what they read, the columns beyond the sides are left out.
    """
    tiles = Tiles(LocalLinear((5, 3), 1, kernel=3, padding=1))
    assert (tiles.tall, tiles.wide, tiles.stacked, tiles.strips, tiles.makes) == (3, 3, 2, 1, 9)
    apart = tiles.apart(torch.arange(1.0, 16.0)[None])[0, :, 0]
    assert apart.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 12, 13, 14, 15, 0, 0, 0]]
    (strip,) = tiles.strips_of(torch.arange(1.0, 16.0)[None])
    above, below = strip[:, 0].unflatten(1, (5, 3)).tolist()
    assert above == [[0, 0, 0], [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    assert below == [[7, 8, 9], [10, 11, 12], [13, 14, 15], [0, 0, 0], [0, 0, 0]]


@OF_SOME
def test_no_rows_give_no_drives_and_a_gradient_of_0(shape):
    local = layer_of(shape)
    tiled, none = Tiled(local, torch.float64), torch.zeros(0, local.in_features, dtype=torch.float64)
    assert tiled.drive(none, tiled.bias).shape == (0, local.out_features)
    (gradient,) = tiled.gradients(torch.zeros(0, local.out_features, dtype=torch.float64), none)
    assert torch.equal(gradient, torch.zeros_like(local.weight))


@OF_SOME
def test_products_of_bfloat16_round_rows_and_weights_alone(shape):
    """Drives and gradients come in the precision of the weights, within bfloat16's rounding of the exact ones."""
    local = layer_of(shape).float()
    tiled, rows = Tiled(local, torch.bfloat16), normal(3, local.in_features).bfloat16()
    deltas = normal(3, local.out_features, seed=2).float()
    found, (gradient,) = tiled.drive(rows), tiled.gradients(deltas, rows)
    assert (found.dtype, gradient.dtype) == (torch.float32, torch.float32)
    exact = layer_of(shape)
    with torch.no_grad():
        exact.weight.copy_(local.weight.bfloat16())
        exact.bias.zero_()
    expected = exact(rows.double())
    (by_autograd,) = torch.autograd.grad(expected, exact.weight, deltas.bfloat16().double())
    for one, two in ((found, expected.detach()), (gradient, by_autograd)):
        torch.testing.assert_close(one.double(), two, rtol=2**-8, atol=2**-8)


def test_rows_that_lie_apart_in_memory_are_read_as_they_are():
    local = layer_of(SHAPES["odd sides"])
    tiled, wide = Tiled(local, torch.float64), normal(6, 2 * local.in_features)
    rows, deltas = wide[::2, ::2], normal(local.out_features, 3).t()
    torch.testing.assert_close(tiled.drive(rows), tiled.drive(rows.contiguous()), rtol=0, atol=0)
    (found,), (expected,) = tiled.gradients(deltas, rows), tiled.gradients(deltas.contiguous(), rows.contiguous())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kernel", "stride", "kind"), [(3, 1, Tiled), (2, 1, Tiled), (1, 1, Local), (4, 2, Local), (2, 2, Local)]
)
def test_fields_that_overlap_by_all_but_a_row_are_taken_by_tiles(kernel, stride, kind):
    local = LocalLinear((8, 8), 2, kernel, stride)
    assert type(source_of(local, torch.float32)) is kind
