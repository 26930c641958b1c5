"""Local fields that overlap: neighbouring places share one product over all that they read together.

A layer of fields reads every place of the map below as often as fields lie on it. Laid out field by field that is `kernel^2`
copies of the map. Here the places above are cut into tiles; a tile's weights are packed once into one matrix from all that
its fields read together, with zeros where a place does not look, and a product serves the whole tile. Tiles of the same
columns read rows of one strip, so that of a map only the columns at the borders of strips are copied.

With k the kernel, a tile of r rows and c columns costs `(r + k - 1)(c + k - 1)` multiply-adds a place and channel, where
the field itself has `k^2`.

Shapes: K rows; maps of C channels; H' x W' places above, each of U units; S strips side by side, each of A tiles one above
the other; M units of a tile, N floats that it reads.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from ffrecur.core.local import LocalLinear

LARGEST_TILE = (4, 8)  # rows and columns; measured for fields of 11 x 11 on maps of 32 x 32


def balanced(places: int, largest: int) -> int:
    """Return the places of a tile, so that the last of a row of tiles is about as full as the others.

    >>> balanced(28, 8), balanced(32, 8), balanced(5, 8)
    (7, 8, 5)
    """
    return math.ceil(places / math.ceil(places / largest))


class Tiles:
    """How a layer of local fields with stride 1 is cut into tiles; of its weights only the sizes are looked at."""

    def __init__(self, local: LocalLinear) -> None:
        assert local.stride == 1, "fields that are further apart share too little"
        (self.height, self.width, self.channels), self.kernel = local.in_shape, local.kernel
        self.padding, (self.rows, self.columns, self.units) = local.padding, local.out_shape
        self.tall, self.wide = balanced(self.rows, LARGEST_TILE[0]), balanced(self.columns, LARGEST_TILE[1])
        self.stacked, self.strips = math.ceil(self.rows / self.tall), math.ceil(self.columns / self.wide)
        self.padded_rows = self.stacked * self.tall + self.kernel - 1
        self.row_size = (self.wide + self.kernel - 1) * self.channels  # floats of one row of a strip
        self.reads = (self.tall + self.kernel - 1) * self.row_size
        self.makes = self.tall * self.wide * self.units

    def strips_of(self, rows_KD: Tensor) -> list[Tensor]:
        """Return what the tiles of each strip read, S of `(A, K, N)`; tiles one above the other share their rows."""
        count, channels = len(rows_KD), self.channels
        right = (
            self.strips * self.wide + self.kernel - 1 - self.width - self.padding
        )  # 0 is padded as far as tiles reach
        below = self.padded_rows - self.height - self.padding
        maps = rows_KD.reshape(count, self.height, self.width * channels)
        maps = F.pad(maps, (self.padding * channels, right * channels, self.padding, below))
        strips = (
            maps.unfold(2, self.row_size, self.wide * channels).permute(2, 0, 1, 3).contiguous()
        )  # (S, K, rows, floats)
        shape = (self.stacked, count, self.reads)
        strides = (self.tall * self.row_size, self.padded_rows * self.row_size, 1)
        return [strip.as_strided(shape, strides) for strip in strips]

    def fields_of(self, packed_SAMN: Tensor) -> Tensor:
        """Return the fields of all places as a view, `(A, tall, S, wide, U, kernel, kernel, C)`.

        One place to the right moves by a unit's row and by one place in what is read, so that each step is one stride.
        """
        size, reads, k = self.row_size, self.reads, self.kernel
        a_place = self.units * reads  # from one place of a tile to the next
        steps_above = (self.makes * reads, self.wide * a_place + size)
        steps_across = (self.stacked * self.makes * reads, a_place + self.channels)
        shape = (self.stacked, self.tall, self.strips, self.wide, self.units, k, k, self.channels)
        return packed_SAMN.as_strided(shape, (*steps_above, *steps_across, reads, size, self.channels, 1))

    def pack(self, weight_PUF: Tensor) -> Tensor:
        """Return the weights of the tiles, `(S, A, M, N)`; 0 where a place does not look, and for places beyond the map."""
        packed = weight_PUF.new_zeros(self.strips, self.stacked, self.makes, self.reads)
        k = self.kernel
        weight = weight_PUF.reshape(self.rows, self.columns, self.units, k, k, self.channels)
        beyond = (self.strips * self.wide - self.columns, self.stacked * self.tall - self.rows)
        if any(beyond):
            weight = F.pad(weight, (0,) * 8 + (0, beyond[0], 0, beyond[1]))
        fields = self.fields_of(packed)
        fields.copy_(weight.reshape(fields.shape))
        return packed

    def unpack(self, packed_SAMN: Tensor) -> Tensor:
        """Return the fields of what is packed, as `LocalLinear` has them, `(P, U, kernel * kernel * C)`."""
        fields = self.fields_of(packed_SAMN).flatten(2, 3).flatten(0, 1)
        inside = fields[: self.rows, : self.columns]
        return inside.reshape(self.rows * self.columns, self.units, -1)

    def side_by_side(self, made_SAKM: Tensor) -> Tensor:
        """Return what tiles have made as rows, `(K, H'*W'*U)`, in a new tensor."""
        tiles = made_SAKM.unflatten(3, (self.tall, self.wide, self.units))
        maps = tiles.permute(2, 1, 3, 0, 4, 5).flatten(3, 4).flatten(1, 2)
        return maps[:, : self.rows, : self.columns].flatten(1).contiguous()

    def apart(self, rows_KH: Tensor) -> Tensor:
        """Return rows cut into tiles, the inverse of `side_by_side`: `(S, A, M, K)`."""
        maps = rows_KH.unflatten(1, (self.rows, self.columns, self.units))
        beyond = (self.strips * self.wide - self.columns, self.stacked * self.tall - self.rows)
        if any(beyond):
            maps = F.pad(maps, (0, 0, 0, beyond[0], 0, beyond[1]))
        tiles = maps.unflatten(2, (self.strips, self.wide)).unflatten(1, (self.stacked, self.tall))
        return tiles.permute(3, 1, 2, 4, 5, 0).flatten(2, 4)
