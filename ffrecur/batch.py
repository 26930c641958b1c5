"""What the engine works out once for a batch: the bottom-up pass, and all that stays the same over the iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ffrecur.products import Weight, prepare, product
from ffrecur.reference import Masks

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet

EPS = 1e-8  # of rms_normalize


class FirstPass(NamedTuple):
    """The bottom-up pass and what it leaves for the iterations."""

    image_row: Tensor  # (B, D), or (T, B, D) for video
    image_drive: Tensor  # (B, H), or (T, B, H): projected once for all iterations, labels and signs; with the bias
    states: list[Tensor]  # of each layer (B, H)
    features_BF: Tensor  # normalised states side by side, as the head reads them
    products: dict[int, Tensor]  # of layers from 1 (B, H): with the layer below, without the bias
    bottom_up: list[Weight]
    top_down: list[Weight]  # all but the label's, which is looked up


def bottom_up_pass(net: RecurrentNet, image_row: Tensor, dtype: torch.dtype, masks: Masks | None = None) -> FirstPass:
    """Compute the first states; get all weights ready for products in this precision."""
    image_weight, *weights = [linear.weight.detach().to(dtype) for linear in net.bottom_up]
    bottom_up = [Weight(image_weight, None), *[prepare(weight) for weight in weights]]
    top_down = [prepare(linear.weight.detach().to(dtype)) for linear in net.top_down[:-1]]
    flat_drive = product(image_row.flatten(0, -2), bottom_up[0], net.bottom_up[0].bias)
    image_drive = flat_drive.unflatten(0, image_row.shape[:-1])
    states = [torch.relu(image_drive if image_row.ndim == 2 else image_drive[0])]
    rows, products = [net.read(states[0], 0, masks)], {}
    for layer in range(1, len(bottom_up)):
        products[layer] = product(rows[-1], bottom_up[layer])
        states.append(torch.relu(products[layer] + net.bottom_up[layer].bias))
        rows.append(net.read(states[-1], layer, masks))
    return FirstPass(image_row, image_drive, states, torch.cat(rows, dim=1), products, bottom_up, top_down)


@dataclass
class Batch:
    """What stays the same over the iterations. Rows are cases, 2B of them: the positives first, then the negatives."""

    first: FirstPass
    labels_2B: Tensor
    image_drive_2BH: Tensor  # (T, 2B, H) for video: both kinds of data see the same image
    label_drive_2BH: Tensor  # a look-up of columns; with the top layer's bias, if that is not layer 1
    masks_2BH: list[Tensor | None]  # of each layer
    reached: list[int]  # the iteration, from 0, at which the label first makes a difference in each layer

    def same(self, layer: int, count: int) -> bool:
        """Tell whether positive and negative data still have the same state in this layer after so many iterations."""
        return count <= self.reached[layer]


def make_batch(net: RecurrentNet, first: FirstPass, labels_2B: Tensor, masks: Masks | None) -> Batch:
    """Gather what stays the same over the iterations."""
    layers = len(net.hidden_features)
    label_drive_2BH = net.top_down[-1].weight.t()[labels_2B] * label_scale(net)
    if layers > 1:
        label_drive_2BH += net.bottom_up[-1].bias
    image_drive_2BH = torch.cat([first.image_drive, first.image_drive], dim=-2)
    masks_2BH = [None if mask is None else torch.cat([mask, mask]) for mask in (masks or [None] * (layers + 1))[1:]]
    return Batch(first, labels_2B, image_drive_2BH, label_drive_2BH, masks_2BH, label_reaches(net))


def label_scale(net: RecurrentNet) -> float:
    """Return what the 1 of a one-hot row becomes when the row is normalised."""
    return (1 / net.num_classes + EPS) ** -0.5


def label_reaches(net: RecurrentNet) -> list[int]:
    """Return the iteration, from 0, at which the label first makes a difference in each layer.

    Synchronous: layer l of L, counted from 1, at iteration L - l + 1, counted from 1. Alternating: sooner, because the
    odd layers read what the even ones have just become.
    """
    last = len(net.hidden_features) - 1
    reached: dict[int, int] = {}
    for iteration in range(last + 1):
        for group in net.update_groups():
            before = set(reached)
            for layer in group:
                if layer == last or layer + 1 in before:
                    reached.setdefault(layer, iteration)
    return [reached[layer] for layer in range(last + 1)]
