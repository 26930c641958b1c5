"""What the engine writes down while the iterations run, and the gradients that it makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet

EPS = 1e-8  # of rms_normalize


@dataclass
class Batch:
    """What stays the same over the iterations. Rows are cases, 2B of them: the positives first, then the negatives."""

    image_row: Tensor  # (B, D), or (T, B, D): both kinds of data see the same image
    image_drive_2BH: Tensor  # projected once for all iterations; (T, 2B, H) for video
    labels_2B: Tensor
    label_drive_2BH: Tensor  # a look-up of columns; with the top layer's bias, if that is not layer 1
    masks_2BH: list[Tensor | None]  # of each layer
    reached: list[int]  # the iteration, from 0, at which the label first makes a difference in each layer


@dataclass
class Tape:
    """What a stretch of iterations leaves behind for the gradients; used again for the next stretch."""

    reads: list[Tensor]  # of each layer (t + 1, 2B, H): what its neighbours read before the stretch, after 1, 2, ...
    deltas: list[Tensor]  # of each layer (t, 2B, H): the derivatives of the loss by the drives


def label_scale(net: RecurrentNet) -> float:
    """Return what the 1 of a one-hot row becomes when the row is normalised."""
    return (1 / net.num_classes + EPS) ** -0.5


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

    def add(self, tape: Tape, start: int) -> None:
        """Add the gradients of the iterations on the tape, the first of which is `start`: one product a weight matrix."""
        last = len(tape.deltas) - 1
        for layer, delta_T2BH in enumerate(tape.deltas):
            flat_H = delta_T2BH.flatten(0, 1).t()  # (H, t * 2B)
            read = slice(self.late[layer], self.late[layer] + len(delta_T2BH))
            self.bias[layer] = plus(self.bias[layer], delta_T2BH.sum(dim=(0, 1)))
            if layer > 0:
                self.bottom_up[layer] = plus_product(self.bottom_up[layer], flat_H, tape.reads[layer - 1][read])
            else:
                of_both = delta_T2BH.unflatten(1, (2, -1)).sum(dim=1)  # (t, B, H)
                if self.batch.image_row.ndim == 2:
                    self.image_delta_BH = plus(self.image_delta_BH, of_both.sum(dim=0))
                else:
                    frames = self.batch.image_row[start : start + len(of_both)]
                    self.bottom_up[0] = plus_product(self.bottom_up[0], of_both.flatten(0, 1).t(), frames)
            if layer < last:
                self.top_down[layer] = plus_product(self.top_down[layer], flat_H, tape.reads[layer + 1][read])
            else:
                self.label_delta_2BH = plus(self.label_delta_2BH, delta_T2BH.sum(dim=0))

    def gradients(self) -> list[Tensor]:
        """Return the gradients of bottom-up weight, bias and top-down weight of every layer in turn."""
        if self.image_delta_BH is not None:
            self.bottom_up[0] = self.image_delta_BH.t() @ self.batch.image_row
        assert self.label_delta_2BH is not None
        by_label_CH = self.label_delta_2BH.new_zeros(self.net.num_classes, self.label_delta_2BH.shape[1])
        by_label_CH.index_add_(0, self.batch.labels_2B, self.label_delta_2BH)
        self.top_down[-1] = by_label_CH.t().mul(label_scale(self.net)).contiguous()
        in_turn = [of for layer in zip(self.bottom_up, self.bias, self.top_down, strict=True) for of in layer]
        return [gradient for gradient in in_turn if gradient is not None]


def plus(total: Tensor | None, part: Tensor) -> Tensor:
    """Add `part` to `total` in place; the first part is the total."""
    return part if total is None else total.add_(part)


def plus_product(total: Tensor | None, left: Tensor, rows: Tensor) -> Tensor:
    """Add `left @ rows` to `total` in place, with all but the last dimension of `rows` flattened."""
    right = rows.flatten(0, -2)
    return left @ right if total is None else total.addmm_(left, right)
