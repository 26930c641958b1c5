"""What drives a layer: the sources that it reads, each with parameters of its own.

A source has a plain method, `plain`, differentiable and right by itself; `drive` and `gradients` are the same without a graph
and may be faster. A stream is a source together with what it reads: rows that are clamped, or those of a hidden layer, which
move. Shapes: K rows, N features that a source reads, H units that it drives; B cases, n kinds of data (1 where all kinds read the
same), T frames of a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.core.local import LocalLinear, side_by_side
from ffrecur.core.products import Weight, prepare, product, weight_gradient
from ffrecur.core.tiles import Tiles
from ffrecur.functional import EPS


class Source:
    """A source made of any module: `(K, N)` rows to `(K, H)` drives, each row on its own. Its gradient is by autograd.

    The module must give the same answer twice: no random numbers, and no statistics of the batch.
    """

    bias: Tensor | None = (
        None  # the last of the parameters, if `drive` leaves it out: it is added once for all iterations
    )

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def parameters(self) -> list[Tensor]:
        """Return the parameters, in the order of `gradients`."""
        return list(self.module.parameters())

    def plain(self, rows: Tensor) -> Tensor:
        """Return the drive, differentiable by the parameters."""
        drive: Tensor = self.module(rows)
        return drive

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """Return the drive without `bias`, plus `outer`, `(H,)` or `(K, H)`, in a new tensor and without a graph."""
        drive_KH: Tensor = self.module(self._as_weights(rows_KN)).detach()
        return drive_KH.clone() if outer is None else drive_KH + outer

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """Return the derivatives by the parameters but for `bias`, given those by the drive; None for what does not learn."""
        parameters = self.parameters()
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        with torch.enable_grad():
            drive_KH = self.module(self._as_weights(rows_KN))
        if not learning or not drive_KH.requires_grad:
            return [None] * len(parameters)
        found = iter(torch.autograd.grad(drive_KH, learning, deltas_KH.to(drive_KH.dtype), materialize_grads=True))
        return [next(found) if parameter.requires_grad else None for parameter in parameters]

    def _as_weights(self, rows: Tensor) -> Tensor:
        """Rows in the precision of the parameters: those of hidden layers may be kept in bfloat16."""
        parameter = next(self.module.parameters(), None)
        return rows.detach() if parameter is None else rows.detach().to(parameter.dtype)


class Dense(Source):
    """A linear layer: one large product, in the precision asked for.

    Args:
        linear: the layer.
        dtype: precision of the products.
        again: whether the weight is read by more than one product, so that laying it out for them pays.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, again: bool = True) -> None:
        super().__init__(linear)
        self.linear, self.bias = linear, None if linear.bias is None else linear.bias.detach()
        matrix = linear.weight.detach().to(dtype)
        self.weight = prepare(matrix) if again else Weight(matrix, None)

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        return product(rows_KN, self.weight, outer)

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`."""
        return [weight_gradient(deltas_KH, rows_KN)]


class Local(Source):
    """A layer of local fields: one batched product over all places, in the precision asked for.

    Args:
        local: the layer.
        dtype: precision of the products.
    """

    def __init__(self, local: LocalLinear, dtype: torch.dtype) -> None:
        super().__init__(local)
        self.local, self.dtype = local, dtype
        self.bias = None if local.bias is None else local.bias.detach()
        self.weight_PNK = local.weight.detach().to(dtype).transpose(1, 2)

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        drive_KH = side_by_side(torch.bmm(self.local.fields(rows_KN.to(self.dtype)), self.weight_PNK)).to(
            self.local.weight.dtype
        )
        return drive_KH if outer is None else drive_KH.add_(outer)

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`."""
        places, channels, _ = self.local.weight.shape
        deltas_PCK = deltas_KH.to(self.dtype).unflatten(1, (places, channels)).permute(1, 2, 0)
        return [torch.bmm(deltas_PCK, self.local.fields(rows_KN.to(self.dtype))).to(self.local.weight.dtype)]


class Tiled(Source):
    """A layer of local fields with stride 1: products of tiles, in the precision asked for.

    Args:
        local: the layer.
        dtype: precision of the products.
    """

    def __init__(self, local: LocalLinear, dtype: torch.dtype) -> None:
        super().__init__(local)
        self.local, self.dtype, self.tiles = local, dtype, Tiles(local)
        self.bias = None if local.bias is None else local.bias.detach()
        self.packed = self.tiles.pack(local.weight.detach().to(dtype))

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        tiles = self.tiles
        made_SAKM = self.packed[0].new_empty(tiles.strips, tiles.stacked, len(rows_KN), tiles.makes)
        for read, weight, made in zip(tiles.strips_of(rows_KN.to(self.dtype)), self.packed, made_SAKM, strict=True):
            torch.bmm(read, weight.transpose(1, 2), out=made)
        drive_KH = tiles.side_by_side(made_SAKM).to(self.local.weight.dtype)
        return drive_KH if outer is None else drive_KH.add_(outer)

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`."""
        strips, deltas_SAKM = self.tiles.strips_of(rows_KN.to(self.dtype)), self.tiles.apart(deltas_KH.to(self.dtype))
        packed = [torch.bmm(delta.transpose(1, 2), read) for delta, read in zip(deltas_SAKM, strips, strict=True)]
        return [self.tiles.unpack(packed).to(self.local.weight.dtype)]


def source_of(module: nn.Module, dtype: torch.dtype, again: bool = True) -> Source:
    """Return the fastest source for a module; see `Dense` for the arguments. Hooks on its call need the call itself."""
    if module._forward_hooks or module._forward_pre_hooks:
        return Source(module)
    if type(module) is LocalLinear:
        return Tiled(module, dtype) if module.stride == 1 and module.kernel > 1 else Local(module, dtype)
    return Dense(module, dtype, again) if type(module) is nn.Linear else Source(module)


class LookUp(Source):
    """A linear layer that reads one-hot vectors side by side, normalised: a sum of columns of its weight.

    It drives by `columns`, whole numbers `(K, P)`, P of them a row; each 1 of the normalised row is `scale`.

    Args:
        linear: the layer.
        symbols: length of each one-hot vector, V.
        first: position of the first one-hot vector that is read here; of a layer that reads several.
        table: the columns times the scale, `(N, H)`, where they are laid out already.
    """

    def __init__(self, linear: nn.Linear, symbols: int, first: int = 0, table: Tensor | None = None) -> None:
        super().__init__(linear)
        self.linear, self.symbols, self.first = linear, symbols, first
        self.bias = None if linear.bias is None or first > 0 else linear.bias.detach()  # it is added once
        self.scale = (1 / symbols + EPS) ** -0.5
        self.table = (linear.weight.detach().t() * self.scale).contiguous() if table is None else table
        self.begins_P = torch.arange(0, len(self.table), symbols, device=self.table.device)  # of each position

    def parameters(self) -> list[Tensor]:
        """See `Source.parameters`."""
        return [self.linear.weight] if self.bias is None else [self.linear.weight, self.linear.bias]

    def plain(self, rows: Tensor) -> Tensor:
        """See `Source.plain`: a product with the one-hot vectors."""
        one_hot = F.one_hot(rows, self.symbols).flatten(-2).to(self.table.dtype)
        begin = self.first * self.symbols
        weight = self.linear.weight[:, begin : begin + one_hot.shape[-1]]
        return F.linear(one_hot * self.scale, weight, None if self.bias is None else self.linear.bias)

    def columns(self, rows_KP: Tensor) -> Tensor:
        """Return the columns that symbols name: `position * V + symbol`."""
        return rows_KP + self.begins_P[self.first : self.first + rows_KP.shape[-1]]

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        if rows_KN.shape[1] == 0:  # what all candidates share of a window of one character
            drive_KH = self.table.new_zeros(len(rows_KN), self.table.shape[1])
        elif rows_KN.shape[1] == 1:  # a label: no sum, which some devices do not have
            drive_KH = self.table.index_select(0, self.columns(rows_KN).flatten())
        else:
            drive_KH = F.embedding_bag(self.columns(rows_KN), self.table, mode="sum")
        return drive_KH if outer is None else drive_KH.add_(outer)

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`."""
        table = torch.zeros_like(self.table)
        for column_K in self.columns(rows_KN).t():
            table.index_add_(0, column_K, deltas_KH.to(table.dtype))
        return [(table.t() * self.scale).contiguous()]


class Columns(Source):
    """One column of a linear layer's weight for each row, times a strength of its own: a label that is one input of many.

    It reads whole numbers `(K, 1)`, of any number of kinds of the same B cases, one kind under another. The layer's other
    inputs, and its bias, are another source.

    Args:
        linear: the layer.
        first: input of the first label.
        strengths_BC: what the input of each label is for each case.
    """

    def __init__(self, linear: nn.Linear, first: int, strengths_BC: Tensor) -> None:
        super().__init__(linear)
        self.linear, self.first, self.strengths_BC = linear, first, strengths_BC
        self.table = linear.weight.detach()[:, first : first + strengths_BC.shape[1]].t().contiguous()

    def parameters(self) -> list[Tensor]:
        """See `Source.parameters`."""
        return [self.linear.weight]

    def strengths(self, rows_K1: Tensor) -> Tensor:
        """Return the strength of each row's label, `(K, 1)`."""
        kinds = len(rows_K1) // max(1, len(self.strengths_BC))
        return self.strengths_BC.repeat(kinds, 1).gather(1, rows_K1)

    def plain(self, rows: Tensor) -> Tensor:
        """See `Source.plain`: a product with the one-hot labels."""
        one_hot = F.one_hot(rows[:, 0], len(self.table)).to(self.table.dtype) * self.strengths(rows)
        return F.linear(one_hot, self.linear.weight[:, self.first : self.first + len(self.table)])

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        drive_KH = self.table.index_select(0, rows_KN[:, 0]).mul_(self.strengths(rows_KN))
        return drive_KH if outer is None else drive_KH.to(outer.dtype).add_(outer)  # products of bfloat16 are float32

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`; 0 for the other inputs."""
        deltas_KH = deltas_KH.to(self.table.dtype) * self.strengths(rows_KN)
        gradient = torch.zeros_like(self.linear.weight)
        columns = torch.zeros_like(self.table).index_add_(0, rows_KN[:, 0], deltas_KH)
        gradient[:, self.first : self.first + len(columns)] = columns.t()
        return [gradient]


@dataclass
class Stream:
    """A source and what it reads.

    `rows` are clamped: `(n, B, N)`, or `(T, n, B, N)` of a video, which is the first stream of its layer; `(n, 1, N)`, the
    same for all cases, in evaluation only. Without them the rows are those of the hidden `layer`. `drive` is what clamped
    rows give, `(n, B, H)` with the bias, where that is known already.
    """

    source: Source
    layer: int = -1
    rows: Tensor | None = None
    video: bool = False
    drive: Tensor | None = None


def plus_product(source: Source, rows: Tensor, outer: Tensor | None) -> Tensor:
    """Return the drive of rows `(n, B, N)` plus `outer`, `(H,)` or what broadcasts to `(n, B, H)`, in a new tensor."""
    flat = rows.flatten(0, 1)
    if outer is None or outer.ndim == 1:
        return source.drive(flat, outer).unflatten(0, rows.shape[:2])
    if outer.shape[:2] == rows.shape[:2]:
        return source.drive(flat, outer.flatten(0, 1)).unflatten(0, rows.shape[:2])
    drive = source.drive(flat).unflatten(0, rows.shape[:2])
    wider = any(a > b for a, b in zip(outer.shape, drive.shape, strict=True))
    return drive + outer if wider else drive.add_(outer)


def clamped_drive(stream: Stream) -> Tensor:
    """Return the drive of clamped rows with the bias, `(n, B, H)`, of a video `(T, n, B, H)`."""
    if stream.drive is not None:
        return stream.drive
    assert stream.rows is not None
    flat = stream.rows.flatten(0, -2)
    return stream.source.drive(flat, stream.source.bias).unflatten(0, stream.rows.shape[:-1])


Layers = Sequence[Sequence[Stream]]  # of each hidden layer, its streams


def parameters_of(layers: Layers) -> list[Tensor]:
    """Return the parameters of all sources, each once, in the order of the sweep's gradients."""
    all_of_them = [parameter for streams in layers for stream in streams for parameter in stream.source.parameters()]
    return list({id(parameter): parameter for parameter in all_of_them}.values())
