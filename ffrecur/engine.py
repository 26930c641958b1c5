"""Local learning in closed form: what `reference.py` says, exactly, without a graph and in a few large products.

For layer l, iteration t and each kind of data, with drive z, computed state c = relu(z), new state
s = damping * previous + (1 - damping) * c and goodness g = mean(s**2), the local derivative is

    d loss / d z = 1/B * (d objective / d g) * (2 / H) * (1 - damping) * s * [c > 0]

and the gradient of a weight matrix is the sum over iterations, kinds and cases of (d loss / d z) times the row that the
matrix read. Those rows and derivatives are laid one under another, so that the sum is one matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ffrecur.batch import EPS, Batch, bottom_up_pass, make_batch
from ffrecur.functional import logistic_loss_gradient, paired_loss_gradient, peer_ascent, peer_mean
from ffrecur.products import product, product_dtype
from ffrecur.reference import LayerLearning, Learning, LocalLoss, Masks, Negatives, objective_of
from ffrecur.tape import Sums, Tape

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet


class HandOut(torch.autograd.Function):
    """A loss whose gradients are known already: backward hands them out."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the local gradients were handed out already: call backward once for each local_loss")
        # Let go of them, so that autograd can take them for .grad without a copy.
        gradients, ctx.gradients = ctx.gradients, None
        if grad_output.device.type != "cpu" or grad_output.item() != 1:
            for gradient in gradients:
                gradient.mul_(grad_output)
        return None, None, *gradients


def local_learning(
    net: RecurrentNet,
    images: Tensor,
    labels_B: Tensor,
    negative_labels_B: Negatives,
    learning: Learning,
    masks: Masks | None,
) -> LocalLoss:
    """See `RecurrentNet.local_learning` for the arguments; `reference.local_learning` is what it must equal."""
    want_gradients = torch.is_grad_enabled()
    dtype = product_dtype(net.head.weight)
    # Under autocast the products alone are in bfloat16: the rest is sums of small differences.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        first = bottom_up_pass(net, net.image_row(images, masks), dtype, masks)
        logits_BC = net.head(first.features_BF)
        if callable(negative_labels_B):
            negative_labels_B = negative_labels_B(logits_BC, labels_B)
        batch = make_batch(net, first, torch.cat([labels_B, negative_labels_B]), masks)
        goodness_TL2B, gradients = learn(net, batch, learning, dtype, want_gradients)
        positive_TLB, negative_TLB = goodness_TL2B.chunk(2, dim=2)
        loss = objective_of(learning, net.sign)(positive_TLB, negative_TLB).sum() / len(labels_B)
        if want_gradients:
            gradients += head_gradients(logits_BC, first.features_BF, labels_B)
    if want_gradients:
        parameters = [
            p for pair in zip(net.bottom_up, net.top_down, strict=True) for part in pair for p in part.parameters()
        ]
        loss = HandOut.apply(loss, gradients, *parameters, *net.head.parameters())
    head_loss = F.cross_entropy(logits_BC, labels_B)
    return LocalLoss(loss, head_loss, logits_BC, negative_labels_B, positive_TLB, negative_TLB)


def learn(
    net: RecurrentNet, batch: Batch, learning: Learning, dtype: torch.dtype, want_gradients: bool
) -> tuple[Tensor, list[Tensor]]:
    """Run all iterations; return goodness `(T, L, 2B)` and, if wanted, the gradients of the layers' parameters.

    Memory "full" keeps every iteration's rows, so that a weight's gradient is one product; "constant" keeps those of one
    iteration and adds up, since nothing has to flow back in time. The rows are kept in the products' precision.
    """
    total = learning.iterations
    length = total if want_gradients and learning.memory == "full" else 1
    states = [torch.cat([state, state]) for state in batch.first.states]
    peers = want_gradients and learning.peer_normalization > 0
    tape = Tape(
        reads=[state.new_empty(length + 1, *state.shape, dtype=dtype) for state in states],
        deltas=[state.new_empty(length, *state.shape, dtype=dtype) for state in states if want_gradients],
        ascents=[state.new_empty(length, state.shape[1]) for state in states if peers],
    )
    for read, row_BH in zip(tape.reads, batch.first.features_BF.split(net.hidden_features, dim=1), strict=True):
        read[0].unflatten(0, (2, -1)).copy_(row_BH)
    goodness_TL2B = states[0].new_empty(total, len(states), len(batch.labels_2B))
    sums = Sums(net, batch) if want_gradients else None
    for start in range(0, total, length):
        for step in range(length):
            iterate(net, batch, states, tape, start + step, step, goodness_TL2B[start + step])
        if sums is not None:
            find_ascents(net, tape, learning)
            slopes_TL2B = goodness_slopes(goodness_TL2B[start : start + length], learning, net.sign)
            sums.add(tape, slopes_TL2B, start)
        for read in tape.reads if start + length < total else ():
            read[0].copy_(read[length])
    return goodness_TL2B, [] if sums is None else sums.gradients()


def iterate(
    net: RecurrentNet,
    batch: Batch,
    states: list[Tensor],
    tape: Tape,
    iteration: int,
    step: int,
    goodness_L2B: Tensor,
) -> None:
    """One iteration of all layers; `step` is its place on the tape. A tape without derivatives gets none."""
    cases = len(batch.labels_2B) // 2
    for late, group in enumerate(net.update_groups()):  # a late group reads what an early one has just become
        for layer in group:
            neighbours = [read[step + late] for read in tape.reads]
            # Until the label makes a difference, positive and negative data are the same: one of them is computed.
            both = not batch.same(layer, iteration + 1)
            computed = drive(net, batch, neighbours, layer, iteration, iteration + late, both).clamp_(min=0)
            if tape.ascents:
                tape.ascents[layer][step] = computed[:cases].mean(dim=0)
            computed = computed if both else computed.repeat(2, 1)
            state = states[layer].lerp_(computed, 1 - net.damping)
            if tape.deltas:  # the state where the ReLU is on, else 0; a factor a row is still missing
                torch.ops.aten.threshold_backward.grad_input(state, computed, 0, grad_input=tape.deltas[layer][step])
            goodness_2B = torch.linalg.vector_norm(state, dim=1).square_().div_(state.shape[1])
            goodness_L2B[layer] = goodness_2B
            row = torch.mul(state, goodness_2B.add_(EPS).rsqrt_()[:, None], out=tape.reads[layer][step + 1])
            if (mask_2BH := batch.masks_2BH[layer]) is not None:
                row.mul_(mask_2BH)


def find_ascents(net: RecurrentNet, tape: Tape, learning: Learning) -> None:
    """Update the peers' running means by the batch means on the tape, iteration by iteration; put the ascents there.

    No state depends on them, so that all layers and iterations of a stretch are averaged over the processes at once.
    """
    if not tape.ascents:
        return
    if learning.average is not None:
        averaged = learning.average(torch.cat([means_TH.flatten() for means_TH in tape.ascents]))
        for means_TH, part in zip(tape.ascents, averaged.split([m.numel() for m in tape.ascents]), strict=True):
            means_TH.copy_(part.view_as(means_TH))
    for mean_H, means_TH in zip(net.peer_means(), tape.ascents, strict=True):
        for batch_mean_H in means_TH:
            mean_H.copy_(peer_mean(mean_H, batch_mean_H[None]))
            batch_mean_H.copy_(peer_ascent(mean_H, learning.peer_normalization))


def drive(
    net: RecurrentNet, batch: Batch, neighbours: list[Tensor], layer: int, iteration: int, count: int, both: bool
) -> Tensor:
    """Return a layer's drive in a new tensor, `(2B, H)`, or `(B, H)` if not `both`.

    `neighbours` are the rows that the layers show after `count` iterations; `count` 0 is the bottom-up pass, whose
    products are there already.
    """
    first, last, cases = batch.first, len(neighbours) - 1, len(batch.labels_2B) // 2
    rows = 2 * cases if both else cases
    outer: Tensor = net.bottom_up[layer].bias
    if layer == 0:
        outer = (batch.image_drive_2BH if first.image_row.ndim == 2 else batch.image_drive_2BH[iteration])[:rows]
    if layer == last:
        outer = batch.label_drive_2BH if layer > 0 else outer + batch.label_drive_2BH
    if layer > 0 and batch.same(layer - 1, count):
        below = neighbours[layer - 1][:cases]
        shared = first.products[layer] if count == 0 else product(below, first.bottom_up[layer])
        outer = outer + shared.repeat(rows // cases, 1)
    elif layer > 0:
        outer = product(neighbours[layer - 1], first.bottom_up[layer], outer)
    return outer if layer == last else product(neighbours[layer + 1][:rows], first.top_down[layer], outer)


def goodness_slopes(goodness_TL2B: Tensor, learning: LayerLearning, sign: int) -> Tensor:
    """Return the derivatives of the objective by the goodness of each iteration, layer and case, `(T, L, 2B)`."""
    positive_TLB, negative_TLB = goodness_TL2B.chunk(2, dim=-1)
    if learning.objective == "paired":
        slopes = paired_loss_gradient(positive_TLB, negative_TLB, learning.temperature, sign)
    else:
        slopes = logistic_loss_gradient(
            positive_TLB,
            negative_TLB,
            learning.threshold,
            learning.temperature,
            sign,
            learning.positive_weight,
            learning.negative_weight,
        )
    return torch.cat(slopes, dim=-1)


def head_gradients(logits_BC: Tensor, features_BF: Tensor, labels_B: Tensor) -> list[Tensor]:
    """Return the delta rule's gradients of the head's weight and bias, of the mean cross-entropy."""
    error_BC = (torch.softmax(logits_BC, dim=1) - F.one_hot(labels_B, logits_BC.shape[1])) / len(labels_B)
    return [error_BC.t() @ features_BF, error_BC.sum(dim=0)]
