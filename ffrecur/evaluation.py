"""Evaluation in closed form: goodness under every label, with all that the labels share computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ffrecur.batch import EPS, bottom_up_pass, label_scale
from ffrecur.products import Weight, product, product_dtype

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet


@torch.no_grad()
def label_goodness(net: RecurrentNet, images: Tensor, iterations: int) -> Tensor:
    """See `RecurrentNet.label_goodness`: goodness under every label, `(T, L, B, C)`, without a graph and in place.

    Labels are a leading dimension that broadcasts: a layer has one state for all labels, `(1, B, H)`, until the label's
    influence reaches it, and `(C, B, H)` from then on.
    """
    dtype = product_dtype(net.head.weight)
    with torch.autocast(images.device.type, enabled=False):
        first = bottom_up_pass(net, net.image_row(images), dtype)
        states, last = [state[None] for state in first.states], len(first.states) - 1
        reads = [row_BH[None] for row_BH in first.features_BF.split(net.hidden_features, dim=1)]
        label_drive_C1H = (net.top_down[-1].weight.t() * label_scale(net))[:, None]
        goodness_TLCB = first.image_drive.new_empty(iterations, len(states), net.num_classes, images.shape[-2])
        for t in range(iterations):
            for late, group in enumerate(net.update_groups()):
                fresh = {}
                for layer in group:
                    if layer == 0:
                        below = first.image_drive if images.ndim == 2 else first.image_drive[t]
                    elif t + late == 0:
                        below = first.products[layer] + net.bottom_up[layer].bias
                    else:
                        below = product_of_all(reads[layer - 1], first.bottom_up[layer], net.bottom_up[layer].bias)
                    if layer == last:
                        drive = below + label_drive_C1H
                    else:  # what is above has met the label no later than what is below, so the sum fits in place
                        drive = product_of_all(reads[layer + 1], first.top_down[layer]).add_(below)
                    state = drive.relu_().lerp_(states[layer], net.damping)
                    goodness_CB = torch.linalg.vector_norm(state, dim=-1).square_().div_(state.shape[-1])
                    goodness_TLCB[t, layer] = goodness_CB
                    states[layer], fresh[layer] = state, state * goodness_CB.add_(EPS).rsqrt_()[..., None]
                for layer, read in fresh.items():
                    reads[layer] = read
    return goodness_TLCB.transpose(-1, -2)


def product_of_all(rows: Tensor, weight: Weight, outer: Tensor | None = None) -> Tensor:
    """`product` of rows `(C, B, in)`."""
    return product(rows.flatten(0, 1), weight, outer).unflatten(0, rows.shape[:2])
