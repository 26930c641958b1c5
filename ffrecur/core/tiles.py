"""Local fields that overlap: neighbouring places share one product over all that they read together.

A layer of fields reads every place of the map below as often as fields lie on it. Laid out field by field that is `kernel^2`
copies of the map. Here the places above are cut into tiles; a tile's weights are packed once into one matrix from all that
its fields read together, with zeros where a place does not look, and a product serves the whole tile. Tiles of the same
columns read rows of one strip of the map, so that only the columns where strips overlap are copied.

With k the kernel, a tile of r rows and c columns costs `(r + k - 1)(c + k - 1)` multiply-adds a unit and channel below, where
its fields need `k^2` a place; columns beyond the map's sides are left out.

Shapes: K rows; maps of C channels; H' x W' places above, each of U units; S strips side by side, each of A tiles one above
the other; M units of a tile, N floats that it reads, of which strips at the sides have fewer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
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
        self.reads = (
            self.tall + self.kernel - 1,
            self.wide + self.kernel - 1,
            self.channels,
        )  # of a tile, N if all is inside
        self.padded_rows = self.stacked * self.tall + self.kernel - 1  # of a strip
        self.makes = self.tall * self.wide * self.units
        self.beyond = (self.stacked * self.tall - self.rows, self.strips * self.wide - self.columns)  # places of tiles

    def seen_columns(self, strip: int) -> tuple[int, slice]:
        """Return the map's column where a strip begins, and which of the columns that its tiles read are inside the map."""
        first = strip * self.wide - self.padding
        begin, end = max(first, 0), max(min(first + self.reads[1], self.width), max(first, 0))
        return begin, slice(begin - first, end - first)

    def strips_of(self, rows_KD: Tensor) -> list[Tensor]:
        """Return what the tiles of each strip read, S of `(A, K, N)`; tiles one above the other share their rows."""
        maps = rows_KD.reshape(len(rows_KD), self.height, self.width * self.channels)
        top, bottom = self.padding, min(self.padding + self.height, self.padded_rows)
        found = []
        for strip in range(self.strips):
            begin, inside = self.seen_columns(strip)
            size = (inside.stop - inside.start) * self.channels
            rows = maps.new_empty(len(maps), self.padded_rows, size)
            rows[:, :top], rows[:, bottom:] = 0, 0
            rows[:, top:bottom] = maps[:, : bottom - top, begin * self.channels : begin * self.channels + size]
            shape = (self.stacked, len(rows), self.reads[0] * size)
            found.append(rows.as_strided(shape, (self.tall * size, self.padded_rows * size, 1)))
        return found

    def fields_of(self, whole: Tensor) -> Tensor:
        """Return the fields of all places as a view, `(A, tall, S, wide, U, kernel, kernel, C)`.

        One place to the right is one place on in the tile and one in what it reads, so that every step is one stride.
        `whole` has, of each strip, tile and unit, what is read: `(S, A, M, rows, columns, C)`.
        """
        k, (_, columns, channels) = self.kernel, self.reads
        size = math.prod(self.reads)
        a_place = self.units * size  # from one place of a tile to the next
        down = (self.makes * size, self.wide * a_place + columns * channels)
        across = (self.stacked * self.makes * size, a_place + channels)
        shape = (self.stacked, self.tall, self.strips, self.wide, self.units, k, k, channels)
        return whole.as_strided(shape, (*down, *across, size, columns * channels, channels, 1))

    def pack(self, weight_PUF: Tensor) -> list[Tensor]:
        """Return the weights of the tiles, S of `(A, M, N)`; 0 where a place does not look, and of places beyond the map."""
        whole, k = weight_PUF.new_zeros(self.strips, self.stacked, self.makes, *self.reads), self.kernel
        weight = weight_PUF.reshape(self.rows, self.columns, self.units, k, k, self.channels)
        if any(self.beyond):
            weight = F.pad(weight, (0,) * 8 + (0, self.beyond[1], 0, self.beyond[0]))
        fields = self.fields_of(whole)
        fields.copy_(weight.reshape(fields.shape))
        return [whole[strip, ..., self.seen_columns(strip)[1], :].flatten(2) for strip in range(self.strips)]

    def unpack(self, packed: list[Tensor]) -> Tensor:
        """Return the fields of what is packed, as `LocalLinear` has them, `(P, U, kernel * kernel * C)`; 0 beyond the map."""
        whole = packed[0].new_zeros(self.strips, self.stacked, self.makes, *self.reads)
        for strip, part in enumerate(packed):
            inside = whole[strip, ..., self.seen_columns(strip)[1], :]
            inside.copy_(part.view(inside.shape))
        fields = self.fields_of(whole).flatten(2, 3).flatten(0, 1)
        return fields[: self.rows, : self.columns].reshape(self.rows * self.columns, self.units, -1)

    def side_by_side(self, made_SAKM: Tensor) -> Tensor:
        """Return what tiles have made as rows, `(K, H'*W'*U)`, in a new tensor."""
        tiles = made_SAKM.unflatten(3, (self.tall, self.wide, self.units))
        maps = tiles.permute(2, 1, 3, 0, 4, 5).flatten(3, 4).flatten(1, 2)
        return maps[:, : self.rows, : self.columns].flatten(1).contiguous()

    def apart(self, rows_KH: Tensor) -> Tensor:
        """Return rows cut into tiles, the inverse of `side_by_side`: `(S, A, K, M)`."""
        maps = rows_KH.unflatten(1, (self.rows, self.columns, self.units))
        if any(self.beyond):
            maps = F.pad(maps, (0, 0, 0, self.beyond[1], 0, self.beyond[0]))
        tiles = maps.unflatten(2, (self.strips, self.wide)).unflatten(1, (self.stacked, self.tall))
        return tiles.permute(3, 1, 0, 2, 4, 5).flatten(3)

    def added_up(self, reads: list[Tensor]) -> Tensor:
        """Return the sum over all tiles of what each has for every place that it reads, S of `(A, K, N)`, as rows `(K, D)`."""
        count = reads[0].shape[1]
        maps = reads[0].new_zeros(count, self.padded_rows + self.padding, self.width, self.channels)
        for strip, of_strip in enumerate(reads):
            begin, inside = self.seen_columns(strip)
            columns = inside.stop - inside.start
            for number, of_tile in enumerate(of_strip):
                top, rows = number * self.tall, self.reads[0]
                maps[:, top : top + rows, begin : begin + columns] += of_tile.view(count, rows, columns, self.channels)
        return maps[:, self.padding : self.padding + self.height].flatten(1)


class TiledProduct(torch.autograd.Function):
    """The drives of a layer of local fields without its bias, with a graph; see `tiled_drive`."""

    @staticmethod
    def forward(ctx: Any, rows_KD: Tensor, weight_PUF: Tensor, tiles: Tiles, dtype: torch.dtype) -> Tensor:
        strips, packed = tiles.strips_of(rows_KD.to(dtype)), tiles.pack(weight_PUF.to(dtype))
        ctx.tiles, ctx.strips, ctx.packed, ctx.types = tiles, strips, packed, (rows_KD.dtype, weight_PUF.dtype)
        made = [torch.bmm(read, weight.transpose(1, 2)) for read, weight in zip(strips, packed, strict=True)]
        return tiles.side_by_side(torch.stack(made)).to(weight_PUF.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_drive_KH: Tensor) -> tuple[Tensor | None, ...]:
        deltas_SAKM = ctx.tiles.apart(by_drive_KH.to(ctx.packed[0].dtype))
        by_rows = by_weight = None
        if ctx.needs_input_grad[0]:
            reads = [torch.bmm(delta, weight) for delta, weight in zip(deltas_SAKM, ctx.packed, strict=True)]
            by_rows = ctx.tiles.added_up(reads).to(ctx.types[0])
        if ctx.needs_input_grad[1]:
            parts = [
                torch.bmm(delta.transpose(1, 2), read) for delta, read in zip(deltas_SAKM, ctx.strips, strict=True)
            ]
            by_weight = ctx.tiles.unpack(parts).to(ctx.types[1])
        return by_rows, by_weight, None, None


def tiled_drive(local: LocalLinear, rows_KD: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what `local(rows)` is, with a graph, by products of tiles in this precision; of a layer with stride 1.

    For training by backpropagation, which needs the derivatives by the rows too.
    """
    drive_KH: Tensor = TiledProduct.apply(rows_KD, local.weight, Tiles(local), dtype)
    return drive_KH if local.bias is None else drive_KH + local.bias
