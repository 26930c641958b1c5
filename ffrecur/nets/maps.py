"""Hidden layers that are maps: units at places, which read fields of the maps below and above without weight sharing.

Section 4 of the paper has such a net for CIFAR-10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from ffrecur.core.goodness import Goodness
from ffrecur.core.local import LocalLinear
from ffrecur.core.regions import RegionMeanSquare
from ffrecur.errors import UserError, check_setting, counts_of, is_whole


class Maps(NamedTuple):
    """Maps one above the other, all with the places of the image.

    Every unit reads the `field x field` places around its own in the map below and, but for the top one, in the map above;
    what lies outside is 0. The top map reads the label as a whole.
    """

    in_shape: tuple[int, int, int]  # of an image: H rows, W columns, channels
    units_per_place: tuple[int, ...]  # of each layer
    field: int  # rows and columns that a unit reads, odd

    @property
    def in_features(self) -> int:
        """Features of an image."""
        return math.prod(self.in_shape)

    @property
    def hidden_features(self) -> tuple[int, ...]:
        """Units of each layer."""
        return tuple(self.in_shape[0] * self.in_shape[1] * units for units in self.units_per_place)

    def settings(self) -> dict[str, Any]:
        """Return the settings that describe such maps, in plain types."""
        return {"in_shape": list(self.in_shape), "units_per_place": list(self.units_per_place), "field": self.field}

    def goodness(self, state: Tensor) -> Tensor:
        """Return the mean of the squared states at each place, `(..., H, W)`, of a layer's states `(..., H * W * units)`."""
        return state.unflatten(-1, (*self.in_shape[:2], -1)).square().mean(dim=-1)

    def bottom_up(self) -> nn.ModuleList:
        """Return the layers that read the map below, with biases."""
        return self._layers((self.in_shape[2], *self.units_per_place), bias=True)

    def top_down(self, classes: int) -> nn.ModuleList:
        """Return the layers that read the map above, and a linear one that reads the label; without biases."""
        layers = self._layers(self.units_per_place[::-1], bias=False)[::-1]
        return layers.append(nn.Linear(classes, self.hidden_features[-1], bias=False))

    def _layers(self, units: Sequence[int], bias: bool) -> nn.ModuleList:
        """Return layers of which each reads a map of the units before its own."""
        rows_columns, padding = self.in_shape[:2], self.field // 2
        return nn.ModuleList(
            LocalLinear((*rows_columns, read), made, self.field, padding=padding, bias=bias)
            for read, made in pairwise(units)
        )


def check_maps(in_shape: Sequence[int] | None, units_per_place: Sequence[int] | None, field: int | None) -> Maps:
    """Return the maps that these settings describe; raises `UserError` for settings that describe none."""
    allowed = "(rows, columns) or (rows, columns, channels), each a whole number of at least 1"
    sizes = list(in_shape) if isinstance(in_shape, Sequence) else []
    fits = len(sizes) in (2, 3) and all(map(is_whole, sizes))
    check_setting(fits, "in_shape", in_shape, allowed)
    rows, columns, channels = (*sizes, 1)[:3]
    units = check_units(units_per_place)
    check_field(field, (rows, columns))
    return Maps((rows, columns, channels), units, field or 0)


def check_units(units_per_place: Sequence[int] | None) -> tuple[int, ...]:
    """Return the units at each place of each layer; raises `UserError` for what are none."""
    return counts_of("units_per_place", units_per_place, "the units at each place of each layer")


def check_field(field: int | None, sides: Sequence[int] = ()) -> None:
    """Raise `UserError` for a field that has no place in its middle, or is wider than the map, where its sides are known."""
    odd = is_whole(field) and field % 2 == 1
    allowed = f"from 1 to {min(sides)}, the shorter side of the map" if sides else "of at least 1"
    check_setting(odd and (not sides or field <= min(sides)), "field", field, f"an odd whole number {allowed}")  # type: ignore[operator]  # a number


def check_regions(maps: Maps | None, goodness: Goodness) -> None:
    """Raise `UserError` for a goodness of regions of other maps than the net has."""
    if maps is not None and isinstance(goodness, RegionMeanSquare):
        sides = maps.in_shape[:2]
        allowed = f"{list(sides)}, the rows and columns of in_shape"
        check_setting(goodness.map_shape == sides, "goodness map_shape", list(goodness.map_shape), allowed)


def described_maps(
    in_features: int | None,
    hidden_features: Sequence[int] | None,
    in_shape: Sequence[int] | None,
    units_per_place: Sequence[int] | None,
    field: int | None,
) -> tuple[Maps | None, tuple[int, Sequence[int]]]:
    """Return the maps of a net that is described by them, else None; and its features of an image and units of a layer.

    Raises `UserError` for settings that describe no maps, for both descriptions at once, and for none.
    """
    if in_shape is None and units_per_place is None and field is None:
        allowed = "given, or in_shape, units_per_place and field in its place"
        check_setting(in_features is not None, "in_features", in_features, allowed)
        check_setting(hidden_features is not None, "hidden_features", hidden_features, allowed)
        return None, (in_features or 0, () if hidden_features is None else hidden_features)
    if hidden_features is not None:
        raise UserError("hidden_features and units_per_place are two ways to say what the layers are: give one of them")
    maps = check_maps(in_shape, units_per_place, field)
    fits = in_features in (None, maps.in_features)
    check_setting(fits, "in_features", in_features, f"{maps.in_features}, as in_shape {list(maps.in_shape)} has them")
    return maps, (maps.in_features, maps.hidden_features)


def label_layers(widths: Sequence[int], classes: int) -> nn.ModuleList:
    """Return the dense layers that read the one above, the last of them the label; without biases."""
    above = (*widths[1:], classes)
    return nn.ModuleList(nn.Linear(read, width, bias=False) for read, width in zip(above, widths, strict=True))
