"""Inputs that are harder for a net's first layer: moved uphill of that layer's own loss, without backpropagation.

Adversarial training (Goodfellow et al. 2015, arXiv 1412.6572) follows the gradient of the whole net's loss down to the image.
Here the gradient is local: the loss of layer 1 alone, through its own computed states, with neighbours and earlier iterations
constant, just as its weights learn. Not in the Forward-Forward paper. Shapes: B cases, H units of layer 1, D input features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffrecur.core.gradients import Gradients
from ffrecur.core.learning import Learning, LocalNet, Masks, draw, objective_for
from ffrecur.core.losses import slopes_of
from ffrecur.core.products import product_dtype
from ffrecur.core.sweep import Sweep, Wiring, damping_of


@torch.no_grad()
def first_layer_slopes(
    net: LocalNet, inputs: Tensor, true_B: Tensor, negatives: Any, learning: Learning, masks: Masks | None = None
) -> Tensor:
    """Return the derivatives of layer 1's own loss, of each case, by the part of its drive that all kinds share, `(B, H)`.

    Summed over iterations and kinds. The arguments are those of `learning.local_learning`; no weight's gradient is taken, and
    one iteration is kept at a time.
    """
    dtype = product_dtype(net.weight)
    with torch.autocast(inputs.device.type, enabled=False):
        begun = net.begin(inputs, masks, dtype)
        logits_BC = None if net.head is None or begun.features_BF is None else net.head(begun.features_BF)
        negatives, iterations = draw(net, negatives, logits_BC, true_B, learning), learning.iterations
        wiring = begun.wiring(true_B, negatives, iterations or net.usual_iterations)
        sweep = Sweep(wiring, net.goodness_function, dtype, tape=1)
        local = Gradients(sweep)
        shape = (len(wiring.layers), wiring.kinds, wiring.cases, net.goodness_function.blocks)
        objective = objective_for(net, learning)
        total_BH: Tensor | None = None
        for iteration, only in enumerate(visits_behind(wiring, 0)):
            goodness_LNBK = net.weight.new_zeros(shape)
            sweep.iterate(iteration, 0, goodness_LNBK, only)
            slopes_TLNBK = slopes_of(objective, goodness_LNBK[None], net.sign)
            slopes_TLNBK *= 1 - damping_of(wiring.damping, iteration, 0)
            part_BH = local.by_drive(0, slopes_TLNBK[:, 0]).sum((0, 1), dtype=net.weight.dtype)
            total_BH = part_BH if total_BH is None else total_BH.add_(part_BH)
            if iteration + 1 < len(wiring.damping):
                sweep.wind_back()
    assert total_BH is not None, "there is at least one iteration"
    return total_BH


def visits_behind(wiring: Wiring, layer: int) -> list[set[int]]:
    """Return the layers that must be visited in each iteration for a layer to become what it becomes in all of them.

    Found from the last visit to the first: what a layer reads, what that had read before, and so on.
    """
    behind: list[set[int]] = [set() for _ in wiring.damping]
    read: set[int] = set()  # layers whose next visit, going back, somebody reads
    for iteration in reversed(range(len(wiring.damping))):
        for group in reversed(wiring.order):
            visited = {each for each in group if each == layer or each in read}
            behind[iteration] |= visited
            read -= visited
            for each in visited:
                read |= {stream.layer for stream in wiring.layers[each] if stream.rows is None}
                if damping_of(wiring.damping, iteration, each) > 0:
                    read.add(each)
    return behind


def moved_uphill(images_BD: Tensor, drive: Callable[[Tensor], Tensor], slopes_BH: Tensor, length: float) -> Tensor:
    """Return `images + length * |images| * ascent / |ascent|`, `(B, D)`, |.| the Euclidean length of each image.

    `ascent` is the gradient by the images of a loss whose derivatives by the `drive` of the images are the slopes. An image
    whose ascent is 0 stays where it is.

    >>> images, slopes = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]])
    >>> moved_uphill(images, lambda images_BD: images_BD[:, :1], slopes, length=0.1)
    tensor([[3.5000, 4.0000]])
    >>> moved_uphill(images * 100, lambda images_BD: images_BD[:, :1], slopes * 0, length=0.1)
    tensor([[300., 400.]])
    """
    with torch.enable_grad(), torch.autocast(images_BD.device.type, enabled=False):
        images_BD = images_BD.detach().requires_grad_()
        (ascent_BD,) = torch.autograd.grad(drive(images_BD), images_BD, slopes_BH)
    images_BD = images_BD.detach()
    far = torch.linalg.vector_norm(images_BD, dim=1, keepdim=True) * length
    steep = torch.linalg.vector_norm(ascent_BD, dim=1, keepdim=True)
    return images_BD + torch.where(steep > 0, ascent_BD / steep * far, 0)
