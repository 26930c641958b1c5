"""The mean square of each region of a map: many local objectives in one layer.

Section 4 of the paper asks whether learning is faster where each layer has several goodnesses, of units that lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ffrecur.core.goodness import Goodness
from ffrecur.errors import check_setting, is_whole


class RegionMeanSquare(Goodness):
    """Mean of the squared states in each region of a map; regions are rectangles, judged alone, and each learns alone.

    With `map_shape` (32, 32) and `regions` (4, 4) a layer has sixteen goodnesses, each of 8 x 8 places with all units there.
    The loss, and the score, is the mean over the regions.

    Args:
        map_shape: rows and columns of the maps, the same for all layers; the units of a dense layer are laid out so.
        regions: regions one above the other, and side by side.

    Raises:
        UserError: numbers below 1, or regions that do not divide the map.

    >>> import torch
    >>> state = torch.tensor([[1.0, 1.0, 0.0, 2.0], [3.0, 1.0, 0.0, 0.0]]).reshape(1, 8)
    >>> RegionMeanSquare(map_shape=(2, 4), regions=(1, 2)).value(state)
    tensor([[3., 1.]])
    """

    def __init__(self, map_shape: Sequence[int], regions: Sequence[int]) -> None:
        for name, pair in (("map_shape", map_shape), ("regions", regions)):
            fits = isinstance(pair, Sequence) and len(pair) == 2 and all(map(is_whole, pair))
            check_setting(fits, f"goodness {name}", pair, "two whole numbers of at least 1")
        self.map_shape, self.regions = (map_shape[0], map_shape[1]), (regions[0], regions[1])
        divided = all(size % count == 0 for size, count in zip(self.map_shape, self.regions, strict=True))
        allowed = f"divisors of the map's {map_shape[0]} rows and {map_shape[1]} columns"
        check_setting(divided, "goodness regions", list(regions), allowed)
        self.blocks = regions[0] * regions[1]

    def settings(self) -> dict[str, Any]:
        """See `Goodness.settings`."""
        return {"map_shape": list(self.map_shape), "regions": list(self.regions)}

    def __repr__(self) -> str:
        return f"RegionMeanSquare(map_shape={self.map_shape}, regions={self.regions})"

    def check(self, units: int) -> None:
        """See `Goodness.check`."""
        places = self.map_shape[0] * self.map_shape[1]
        allowed = f"rows and columns whose product divides the layer's {units} units"
        check_setting(units % places == 0, "goodness map_shape", list(self.map_shape), allowed)

    def value(self, state_BH: Tensor) -> Tensor:
        """See `Goodness.value`."""
        (rows, columns), (down, across) = self.map_shape, self.regions
        parted = state_BH.unflatten(-1, (down, rows // down, across, columns // across, -1))
        return parted.square().mean(dim=(-4, -2, -1)).flatten(-2)

    def factor(self, slopes: Tensor, units: int) -> Tensor:
        """See `Goodness.factor`: `2 * slope / units of the region`."""
        (rows, columns), (down, across) = self.map_shape, self.regions
        of_place = units // (rows * columns)
        factors = (slopes * (2 * self.blocks / units)).unflatten(-1, (down, 1, across, 1, 1))
        wide = factors.expand(*slopes.shape[:-1], down, rows // down, across, columns // across, of_place)
        return wide.flatten(-5)
