"""What context.py measures: both drives of each layer, what the one explains of the other, what it cancels, and a hidden patch.

Shapes: B or N images, D values of one, H units of a layer, P places of a map, C labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from predicting import Explained, of_the_label
from torch import Tensor
from torch.nn import functional as F

from ffrecur.core.local import LocalLinear
from ffrecur.functional import damped_update, rms_normalize
from ffrecur.nets.recurrent import RecurrentNet

BATCH = 100
NOISE = 1e-9  # of the mean square: what varies less does not vary, but for rounding


class Drives(NamedTuple):
    """What drives each layer in one iteration, L of `(N, H)`: from below with bias, and from above."""

    below: list[Tensor]
    above: list[Tensor]


@torch.no_grad()
def drives(net: RecurrentNet, images_ND: Tensor, labels_N: Tensor, iteration: int) -> Drives:
    """Return both drives as the net adds them in an iteration (from 1), with these labels clamped, of either scheme."""
    parts = [
        _drives(net, images_BD, labels_B, iteration)
        for images_BD, labels_B in zip(images_ND.split(BATCH), labels_N.split(BATCH), strict=True)
    ]
    joined = [[torch.cat(layer) for layer in zip(*each, strict=True)] for each in zip(*parts, strict=True)]
    return Drives(*joined)


def _drives(net: RecurrentNet, images_BD: Tensor, labels_B: Tensor, iteration: int) -> Drives:
    image_BH, label_BH = net.bottom_up[0](net.image_row(images_BD)), net.top_down[-1](net.label_row(labels_B))
    states = net.bottom_up_pass(images_BD)
    for earlier in range(iteration - 1):
        states = net.advance(states, image_BH, label_BH, earlier)
    new, last = list(states), len(states) - 1
    below, above = [image_BH] * len(states), [label_BH] * len(states)
    for group in net.update_groups():
        read = [net.read(state, layer) for layer, state in enumerate(new)]
        for layer in group:
            if layer > 0:
                below[layer] = net.bottom_up[layer](read[layer - 1])
            if layer < last:
                above[layer] = net.top_down[layer](read[layer + 1])
            computed_BH = torch.relu(below[layer] + above[layer])
            new[layer] = damped_update(states[layer], computed_BH, net.damping_at(iteration - 1))
    return Drives(below, above)


@torch.no_grad()
def without_images(net: RecurrentNet) -> list[Tensor]:
    """Return what comes down of each label where nothing comes from below, L of `(C, H)`: the drives of `net.imagine`."""
    row = net.label_row(torch.arange(net.num_classes, device=net.head.weight.device))
    found = []
    for layer in reversed(range(len(net.hidden_features))):
        found.append(net.top_down[layer](row))
        row = rms_normalize(torch.relu(found[-1] + net.bottom_up[layer].bias))
    return found[::-1]


# --- what is explained ------------------------------------------------------------------------------------------------


def products(below_NH: Tensor, above_NH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `b * b`, `b * d` and `d * d`, `(N, H)` in float64, of drives less their means over the images; 0 for noise."""
    b, d = (centred(drive_NH.double()) for drive_NH in (below_NH, above_NH))
    return b * b, b * d, d * d


def centred(drive_NH: Tensor) -> Tensor:
    """Return drives less their means over the images, unit by unit; exactly 0 where only rounding is left."""
    rest_NH = drive_NH - drive_NH.mean(dim=0)
    small = rest_NH.square().mean() <= NOISE * drive_NH.square().mean()
    return torch.zeros_like(rest_NH) if small else rest_NH


def explained(below_NH: Tensor, above_NH: Tensor) -> Explained:
    """Return the share of b that `scale * d` explains at the best scale: see context.py; 0 where either does not vary.

    >>> b = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])
    >>> explained(b, -0.5 * b)
    Explained(share=1.0, scale=-2.0)
    """
    bb, bd, dd = (float(product_NH.sum()) for product_NH in products(below_NH, above_NH))
    return Explained(bd**2 / (bb * dd), bd / dd) if bb > 0 and dd > 0 else Explained(0.0, 0.0)


def explained_at_places(below_NH: Tensor, above_NH: Tensor, places: int) -> Tensor:
    """Return the share that is explained at each place, `(P,)`, with the one scale of the layer: below 0 where it harms.

        1 - sum of (b - scale * d)**2 / sum of b**2, over images and units of the place; 0 where b does not vary

    >>> b = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> explained_at_places(b, b * torch.tensor([1.0, 0.0]), places=2)
    tensor([1., 0.], dtype=torch.float64)
    """
    scale = explained(below_NH, above_NH).scale
    bb, bd, dd = (each_NH.unflatten(1, (places, -1)).sum(dim=(0, 2)) for each_NH in products(below_NH, above_NH))
    return torch.where(bb > 0, (2 * scale * bd - scale**2 * dd) / bb, 0)


def derangement(count: int, seed: int = 0) -> Tensor:
    """Return an order in which none of `count` images is at its own place: each gets the next in a ring at random.

    >>> bool((derangement(50) == torch.arange(50)).any())
    False
    """
    ring = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = torch.empty_like(ring)
    order[ring] = ring.roll(1)
    return order


def less_the_label(drive_NH: Tensor, labels_N: Tensor) -> Tensor:
    """Return drives less their means over the images of the same label.

    >>> less_the_label(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1])).flatten()
    tensor([-1.,  1.,  0.])
    """
    rest_NH = drive_NH.clone()
    for label in labels_N.unique():
        rest_NH[labels_N == label] -= drive_NH[labels_N == label].mean(dim=0)
    return rest_NH


def compared(below_NH: Tensor, above_NH: Tensor, imagined_CH: Tensor, labels_N: Tensor) -> dict[str, Explained]:
    """Return what a layer's own top-down drive explains, what each control explains, and what is left within a label.

    Each has the best scale of its own. Within a label both drives are taken less their means over the images of that label.
    """
    below_NH, above_NH, imagined_CH = below_NH.double(), above_NH.double(), imagined_CH.double()
    rest_NH = less_the_label(above_NH, labels_N)
    if rest_NH.square().mean() <= NOISE * above_NH.square().mean():  # rounding: the top layer hears the label alone
        rest_NH = torch.zeros_like(rest_NH)
    return {
        "own": explained(below_NH, above_NH),
        "another image's": explained(below_NH, above_NH[derangement(len(above_NH))]),
        "the label's mean": explained(below_NH, of_the_label(above_NH, labels_N)),
        "no image": explained(below_NH, imagined_CH[labels_N]),
        "own, within a label": explained(less_the_label(below_NH, labels_N), rest_NH),
    }


# --- what is cancelled ------------------------------------------------------------------------------------------------


def cancelled(below_NH: Tensor, above_NH: Tensor) -> dict[str, float]:
    """Return mean squares of the drive from below and of the sum with that from above, before and after the ReLU.

    A share that is cancelled is 1 less the sum's mean square over that from below: below 0 where the sum is the larger.

    >>> cancelled(torch.tensor([[2.0, -2.0]]), torch.tensor([[-1.0, 1.0]]))["cancelled"]
    0.75
    """
    sum_NH = below_NH + above_NH
    below, both = (float(each.square().mean()) for each in (below_NH, sum_NH))
    positive_below, positive_both = (float(torch.relu(each).square().mean()) for each in (below_NH, sum_NH))
    return {
        "below": below,
        "sum": both,
        "cancelled": 1 - both / below if below > 0 else 0.0,
        "cancelled after the ReLU": 1 - positive_both / positive_below if positive_below > 0 else 0.0,
    }


def hardest_labels(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Return the wrong label with the highest score, `(N,)`."""
    true_NC = F.one_hot(labels_N, logits_NC.shape[1]).bool()
    return logits_NC.masked_fill(true_NC, -torch.inf).argmax(dim=1)


# --- what is hidden ---------------------------------------------------------------------------------------------------


class Patch(NamedTuple):
    """A square of an image, and the image's shape."""

    row: int  # the first
    column: int
    side: int
    shape: tuple[int, int, int]  # rows, columns, channels

    def mask(self) -> Tensor:
        """Return which values of an image are hidden, `(D,)`."""
        hidden_HWC = torch.zeros(self.shape, dtype=torch.bool)
        hidden_HWC[self.row : self.row + self.side, self.column : self.column + self.side] = True
        return hidden_HWC.flatten()


def in_the_middle(shape: tuple[int, int, int], side: int) -> Patch:
    """Return the patch of so many rows and columns in the middle of an image."""
    return Patch((shape[0] - side) // 2, (shape[1] - side) // 2, side, shape)


def occluded(net: RecurrentNet, images_ND: Tensor, patch: Patch) -> Tensor:
    """Return images whose patch is the mean that the net takes off, so that it is 0 after that.

    Of a net that standardises, the mean of each channel over the training images, and with `center_images` the value that is
    the image's own mean after that; of any other, the image's own mean over what is not hidden, which is 0 after
    `center_images`, and grey in a net that takes no mean off.
    """
    hidden_D, statistics = patch.mask(), net.statistics
    if statistics is None:
        mean = images_ND[:, ~hidden_D].mean(dim=1, keepdim=True).expand_as(images_ND)
    else:
        own_N1 = statistics(images_ND)[:, ~hidden_D].mean(dim=1, keepdim=True) if net.center_images else 0.0
        mean = (statistics.mean + statistics.deviation * own_N1).to(images_ND).expand_as(images_ND)
    return torch.where(hidden_D, mean, images_ND)


def units_inside(net: RecurrentNet, patch: Patch) -> Tensor:
    """Return which units of layer 1 have more than half of their field in the patch, `(H,)`.

    Fields count as far as they lie in the image. Of a dense net all units, for each reads the whole image.
    """
    lowest: torch.nn.Module = net.bottom_up[0]
    if not isinstance(lowest, LocalLinear):
        return torch.ones(net.hidden_features[0], dtype=torch.bool)
    maps_2D = torch.stack([patch.mask().float(), torch.ones(net.in_features)])
    hidden_P, whole_P = lowest.fields(maps_2D).sum(dim=2).unbind(dim=1)
    return (hidden_P > 0.5 * whole_P).repeat_interleave(lowest.out_shape[2])
