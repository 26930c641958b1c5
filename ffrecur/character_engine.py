"""Local learning of the character model in closed form: what `reference.py` says, exactly, and without a graph.

For layer l with state s = relu(z) and goodness g = mean(s**2), the local derivative is

    d loss / d z = 1/B * (d objective / d g) * (2 / H) * s

and since the next layer and the head read s / sqrt(g), times a dropout mask if there is one, that row is all that is
kept. The first layer's weight is a table of columns: forward, the columns that a window names are summed; backward, each
window's derivative is added to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.batch import EPS
from ffrecur.engine import HandOut, goodness_slopes, head_gradients
from ffrecur.functional import noise_contrastive_logits
from ffrecur.products import Weight, prepare, product, product_dtype, weight_gradient
from ffrecur.reference import LayerLearning, Masks, NegativeWindows, TextLoss, doubled, objective_of

if TYPE_CHECKING:
    from ffrecur.character import CharNet


CANDIDATES = 8192  # windows at once, to bound the memory of a score


class Layers(NamedTuple):
    """A net's weights, ready for many windows."""

    table: Tensor  # (W * V, H): the first layer's columns, times the 1 of a normalised one-hot row
    weights: list[Weight]  # of the layers above
    biases: list[Tensor]
    dtype: torch.dtype  # of the products


class Rows(NamedTuple):
    """What the layers show of some windows."""

    rows: list[Tensor]  # L of (B, H): normalised states, in the precision of the products
    read: list[Tensor]  # the same as the layers above and the head read them: times the dropout masks, if there are any
    goodness_LB: Tensor


def one_hot_scale(net: CharNet) -> float:
    """Return what the 1 of a window's one-hot row becomes when the row is normalised: sqrt(V)."""
    return (1 / len(net.alphabet) + EPS) ** -0.5


def prepare_layers(net: CharNet) -> Layers:
    """Lay the weights out once for many windows, in the precision that autocast asks for.

    What follows must run with autocast switched off: the products alone are in bfloat16.
    """
    dtype = product_dtype(net.head.weight)
    first, *others = net.hidden
    table = first.weight.detach().t() * one_hot_scale(net)
    weights = [prepare(linear.weight.detach().to(dtype)) for linear in others]
    return Layers(table.contiguous(), weights, [linear.bias.detach() for linear in net.hidden], dtype)


def first_drive(net: CharNet, layers: Layers, windows_BW: Tensor) -> Tensor:
    """Return the first layer's drive `(B, H)`: a sum of columns, and the bias."""
    return F.embedding_bag(net.columns(windows_BW), layers.table, mode="sum").add_(layers.biases[0])


def rise(layers: Layers, drive_BH: Tensor, masks: Masks | None = None) -> Rows:
    """Return what the hidden layers make of a drive of the first, which is overwritten."""
    rows: list[Tensor] = []
    read: list[Tensor] = []
    goodness_LB = drive_BH.new_empty(len(layers.biases), len(drive_BH))
    for layer, bias in enumerate(layers.biases):
        state = (drive_BH if layer == 0 else product(read[-1], layers.weights[layer - 1], bias)).clamp_(min=0)
        goodness_B = torch.linalg.vector_norm(state, dim=1).square_().div_(state.shape[1])
        goodness_LB[layer] = goodness_B
        rows.append(state.mul_(goodness_B.add_(EPS).rsqrt_()[:, None]).to(layers.dtype))
        mask = None if masks is None else masks[layer]
        read.append(rows[-1] if mask is None else rows[-1] * mask.to(layers.dtype))
    return Rows(rows, read, goodness_LB)


def run(net: CharNet, layers: Layers, windows_BW: Tensor, masks: Masks | None = None) -> Rows:
    """Return what the hidden layers make of windows."""
    return rise(layers, first_drive(net, layers, windows_BW), masks)


def features(net: CharNet, shown: Rows) -> Tensor:
    """Return what the head reads, `(B, F)`, in the head's precision."""
    return torch.cat([shown.read[layer - 1].to(net.head.weight.dtype) for layer in net.head_layers], dim=1)


def head_logits(net: CharNet, layers: Layers, windows_BW: Tensor) -> Tensor:
    """Logits `(B, V)` of the character after each window, by the head."""
    return net.head(features(net, run(net, layers, windows_BW)))


def candidate_goodness(net: CharNet, layers: Layers, windows_BW: Tensor) -> Tensor:
    """Goodness `(L, B, V)` of the windows one place on that end with each of the V symbols.

    The V windows of a place share what their first W - 1 characters give to the first layer.
    """
    symbols, last = len(net.alphabet), len(net.alphabet) * (net.window - 1)
    parts = []
    for part_BW in windows_BW.split(max(1, CANDIDATES // symbols)):
        moved_BW = torch.cat([part_BW[:, 1:], part_BW.new_zeros(len(part_BW), 1)], dim=1)
        shared_BH = first_drive(net, layers, moved_BW) - layers.table[last]
        drive_BVH = shared_BH[:, None] + layers.table[last:]
        parts.append(rise(layers, drive_BVH.flatten(0, 1)).goodness_LB.unflatten(1, (-1, symbols)))
    return torch.cat(parts, dim=1)


def score(net: CharNet, layers: Layers, windows_BW: Tensor) -> Tensor:
    """See `CharNet.score`."""
    logits_BV = head_logits(net, layers, windows_BW)
    if net.goodness_weight == 0:
        return logits_BV
    goodness_BV = net.sign * candidate_goodness(net, layers, windows_BW).sum(dim=0)
    return noise_contrastive_logits(logits_BV, goodness_BV, net.goodness_weight, net.noise)


def hidden_gradients(
    net: CharNet, windows_2BW: Tensor, shown: Rows, learning: LayerLearning, layers: Layers
) -> list[Tensor]:
    """Return the local gradients of the hidden layers' weights and biases, positive windows before negative ones."""
    slopes_L2B = goodness_slopes(shown.goodness_LB, learning, net.sign) * (2 / (len(windows_2BW) / 2))
    gradients: list[Tensor] = []
    for layer, row in enumerate(shown.rows):
        factor_2B = slopes_L2B[layer] * (shown.goodness_LB[layer] + EPS).sqrt() / row.shape[1]
        delta = row.to(factor_2B.dtype) * factor_2B[:, None]
        if layer == 0:
            table = torch.zeros_like(layers.table)
            for column_2B in net.columns(windows_2BW).t():
                table.index_add_(0, column_2B, delta)
            gradient = table.t() * one_hot_scale(net)
        else:
            gradient = weight_gradient(delta, shown.read[layer - 1])
        gradients += [gradient, delta.sum(dim=0)]
    return gradients


def hidden_parameters(net: CharNet) -> list[Tensor]:
    """Return weight and bias of each hidden layer."""
    return [part for linear in net.hidden for part in linear.parameters()]


def compare(
    net: CharNet,
    layers: Layers,
    positive_BW: Tensor,
    negative_BW: Tensor,
    learning: LayerLearning,
    gradients: bool,
    masks: Masks | None = None,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Return the loss of positive and negative windows, the hidden layers' gradients if asked for, and both goodnesses."""
    windows_2BW = torch.cat([positive_BW, negative_BW])
    shown = run(net, layers, windows_2BW, doubled(masks))
    positive_LB, negative_LB = shown.goodness_LB.chunk(2, dim=1)
    loss = objective_of(learning, net.sign)(positive_LB, negative_LB).sum() / len(positive_BW)
    found = hidden_gradients(net, windows_2BW, shown, learning, layers) if gradients else []
    return loss, found, positive_LB, negative_LB


def local_loss(net: CharNet, positive_BW: Tensor, negative_BW: Tensor, learning: LayerLearning) -> Tensor:
    """See `CharNet.local_loss`; `reference.text_loss` is what it must equal."""
    want_gradients = torch.is_grad_enabled()
    layers = prepare_layers(net)
    with torch.no_grad(), torch.autocast(positive_BW.device.type, enabled=False):
        loss, gradients, *_ = compare(net, layers, positive_BW, negative_BW, learning, want_gradients)
    return HandOut.apply(loss, gradients, *hidden_parameters(net)) if want_gradients else loss


def local_learning(
    net: CharNet,
    contexts_BW: Tensor,
    next_B: Tensor,
    negatives: NegativeWindows,
    learning: LayerLearning,
    masks: Masks | None = None,
) -> TextLoss:
    """See `CharNet.local_learning` for the arguments; `reference.text_learning` is what it must equal."""
    want_gradients = torch.is_grad_enabled()
    layers = prepare_layers(net)
    with torch.no_grad(), torch.autocast(contexts_BW.device.type, enabled=False):
        features_BF = features(net, run(net, layers, contexts_BW, masks))
        logits_BV = net.head(features_BF)
        negative_BW = negatives(logits_BV) if callable(negatives) else negatives
        positive_BW = torch.cat([contexts_BW[:, 1:], next_B[:, None]], dim=1)
        loss, gradients, positive_LB, negative_LB = compare(
            net, layers, positive_BW, negative_BW, learning, want_gradients, masks
        )
        if want_gradients:
            gradients += head_gradients(logits_BV, features_BF, next_B)
    if want_gradients:
        loss = HandOut.apply(loss, gradients, *hidden_parameters(net), *net.head.parameters())
    return TextLoss(loss, F.cross_entropy(logits_BV, next_B), logits_BV, positive_LB, negative_LB)
