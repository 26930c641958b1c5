"""What the engine writes down while the iterations run, and the gradients that it makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ffrecur.batch import Batch, label_scale
from ffrecur.products import weight_gradient

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet


@dataclass
class Tape:
    """What a stretch of iterations leaves behind for the gradients; used again for the next stretch."""

    reads: list[Tensor]  # of each layer (t + 1, 2B, H): what its neighbours read before the stretch, after 1, 2, ...
    deltas: list[Tensor]  # of each layer (t, 2B, H): the gated states, of which the derivatives by the drives are made
    ascents: list[
        Tensor
    ]  # of each layer (t, H): peer normalisation's, if it is on; at first the means they are made of


class Sums:
    """Gradients of the layers' parameters, added up stretch by stretch."""

    def __init__(self, net: RecurrentNet, batch: Batch) -> None:
        self.net, self.batch = net, batch
        layers = len(net.hidden_features)
        self.late = {layer: number for number, group in enumerate(net.update_groups()) for layer in group}
        self.bottom_up: list[Tensor | None] = [None] * layers
        self.bias: list[Tensor | None] = [None] * layers
        self.top_down: list[Tensor | None] = [None] * layers
        # A still image is the same at every iteration, as is the label: their gradients need summed derivatives only.
        self.image_delta_BH: Tensor | None = None
        self.label_delta_2BH: Tensor | None = None

    def add(self, tape: Tape, slopes_TL2B: Tensor, start: int) -> None:
        """Add the gradients of the iterations on the tape, the first of which is `start`: one product a weight matrix.

        `slopes_TL2B` are the derivatives of the objective by these iterations' goodness. What is on the tape is used up.
        """
        cases = len(self.batch.labels_2B) // 2
        last, still, precise = len(tape.deltas) - 1, self.batch.first.image_row.ndim == 2, self.net.head.weight.dtype
        for layer, delta_T2BH in enumerate(tape.deltas):
            scale = 2 * (1 - self.net.damping) / (delta_T2BH.shape[2] * cases)
            delta_T2BH.mul_((slopes_TL2B[:, layer] * scale).to(delta_T2BH.dtype)[:, :, None])
            if tape.ascents:
                delta_T2BH[:, :cases] -= (tape.ascents[layer] / cases)[:, None]
            if layer == 0 and still:
                of_both = delta_T2BH.unflatten(1, (2, -1))  # (t, 2, B, H)
                self.image_delta_BH = plus(self.image_delta_BH, of_both.sum((0, 1), dtype=precise))
            if layer == last:
                self.label_delta_2BH = plus(self.label_delta_2BH, delta_T2BH.sum(0, dtype=precise))
            if layer not in (0, last) or not still:
                self.bias[layer] = plus(self.bias[layer], delta_T2BH.sum((0, 1), dtype=precise))
            if layer == 0 and not still:
                frames = self.batch.first.image_row[start : start + len(delta_T2BH)].flatten(0, 1)
                of_both = delta_T2BH.unflatten(1, (2, -1)).sum(1, dtype=precise).flatten(0, 1)
                self.bottom_up[0] = plus(self.bottom_up[0], weight_gradient(of_both, frames))
            rows = self.folded(delta_T2BH, layer, start)
            if layer > 0:
                part = weight_gradient(rows, self.read(tape, layer, layer - 1, len(rows)))
                self.bottom_up[layer] = plus(self.bottom_up[layer], part)
            if layer < last:
                part = weight_gradient(rows, self.read(tape, layer, layer + 1, len(rows)))
                self.top_down[layer] = plus(self.top_down[layer], part)

    def folded(self, delta_T2BH: Tensor, layer: int, start: int) -> Tensor:
        """Return a layer's derivatives one under another.

        In the first iteration positive and negative data may read the same rows of all neighbours; their derivatives are
        added up then, so that the products have B rows less.
        """
        rows, cases = delta_T2BH.flatten(0, 1), delta_T2BH.shape[1] // 2
        neighbours = [other for other in (layer - 1, layer + 1) if 0 <= other < len(self.late)]
        if start > 0 or not all(self.batch.same(other, self.late[layer]) for other in neighbours):
            return rows
        rows[cases : 2 * cases] += rows[:cases]
        return rows[cases:]

    def read(self, tape: Tape, layer: int, neighbour: int, count: int) -> Tensor:
        """Return the last `count` rows that the layer read of its neighbour."""
        late, length = self.late[layer], len(tape.deltas[layer])
        return tape.reads[neighbour][late : late + length].flatten(0, 1)[-count:]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of bottom-up weight, bias and top-down weight of every layer in turn."""
        assert self.label_delta_2BH is not None
        by_label_CH = self.label_delta_2BH.new_zeros(self.net.num_classes, self.label_delta_2BH.shape[1])
        by_label_CH.index_add_(0, self.batch.labels_2B, self.label_delta_2BH)
        self.top_down[-1] = by_label_CH.t().mul(label_scale(self.net)).contiguous()
        if self.image_delta_BH is not None:
            self.bottom_up[0] = weight_gradient(self.image_delta_BH, self.batch.first.image_row)
            self.bias[0] = self.image_delta_BH.sum(dim=0)
            self.bias[-1] = by_label_CH.sum(dim=0)
        in_turn = [of for layer in zip(self.bottom_up, self.bias, self.top_down, strict=True) for of in layer]
        return [gradient for gradient in in_turn if gradient is not None]


def plus(total: Tensor | None, part: Tensor) -> Tensor:
    """Add `part` to `total` in place; the first part is the total."""
    return part if total is None else total.add_(part)
