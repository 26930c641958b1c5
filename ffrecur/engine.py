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

from ffrecur.functional import logistic_loss_gradient, paired_loss_gradient, peer_ascent, peer_mean
from ffrecur.reference import Learning, LocalLoss, Masks, Negatives, objective_of
from ffrecur.tape import EPS, Batch, Sums, Tape, label_scale

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet


class _HandOut(torch.autograd.Function):
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
    with (
        torch.no_grad(),
        torch.autocast(images.device.type, enabled=False),
    ):  # sums of small differences: full precision
        image_row = net.image_row(images, masks)
        image_drive = net.bottom_up[0](image_row)
        states, features_BF = bottom_up_pass(net, image_drive, masks)
        logits_BC = net.head(features_BF)
        if callable(negative_labels_B):
            negative_labels_B = negative_labels_B(logits_BC, labels_B)
        batch = make_batch(net, image_row, image_drive, torch.cat([labels_B, negative_labels_B]), masks)
        goodness_TL2B, gradients = learn(net, batch, states, features_BF, learning, want_gradients)
        positive_TLB, negative_TLB = goodness_TL2B.chunk(2, dim=2)
        loss = objective_of(learning, net.sign)(positive_TLB, negative_TLB).sum() / len(labels_B)
        if want_gradients:
            gradients += head_gradients(logits_BC, features_BF, labels_B)
    if want_gradients:
        parameters = [
            p for pair in zip(net.bottom_up, net.top_down, strict=True) for part in pair for p in part.parameters()
        ]
        loss = _HandOut.apply(loss, gradients, *parameters, *net.head.parameters())
    head_loss = F.cross_entropy(logits_BC, labels_B)
    return LocalLoss(loss, head_loss, logits_BC, negative_labels_B, positive_TLB, negative_TLB)


@torch.no_grad()
def label_goodness(net: RecurrentNet, images: Tensor, iterations: int) -> Tensor:
    """See `RecurrentNet.label_goodness`: goodness under every label, `(T, L, B, C)`, without a graph and in place.

    Labels are a leading dimension that broadcasts: a layer has one state for all labels, `(1, B, H)`, until the label's
    influence reaches it, and `(C, B, H)` from then on.
    """
    with torch.autocast(images.device.type, enabled=False):
        return _label_goodness(net, images, iterations)


def _label_goodness(net: RecurrentNet, images: Tensor, iterations: int) -> Tensor:
    image_drive = net.bottom_up[0](net.image_row(images))
    first_states, features_BF = bottom_up_pass(net, image_drive, None)
    states, last = [state[None] for state in first_states], len(first_states) - 1
    reads = [row_BH[None] for row_BH in features_BF.split(net.hidden_features, dim=1)]
    label_drive_C1H = (net.top_down[-1].weight.t() * label_scale(net))[:, None]
    goodness_TLCB = image_drive.new_empty(iterations, len(states), net.num_classes, images.shape[-2])
    for t in range(iterations):
        frame_drive_BH = image_drive if image_drive.ndim == 2 else image_drive[t]
        for group in net.update_groups():
            fresh = {}
            for layer in group:
                below = frame_drive_BH if layer == 0 else net.bottom_up[layer](reads[layer - 1])
                if layer == last:
                    drive = below + label_drive_C1H
                else:  # what is above has met the label no later than what is below, so the sum fits in place
                    drive = (reads[layer + 1] @ net.top_down[layer].weight.t()).add_(below)
                state = drive.relu_().lerp_(states[layer], net.damping)
                goodness_CB = torch.linalg.vector_norm(state, dim=-1).square_().div_(state.shape[-1])
                goodness_TLCB[t, layer] = goodness_CB
                states[layer], fresh[layer] = state, state * goodness_CB.add_(EPS).rsqrt_()[..., None]
            for layer, read in fresh.items():
                reads[layer] = read
    return goodness_TLCB.transpose(-1, -2)


def bottom_up_pass(net: RecurrentNet, image_drive: Tensor, masks: Masks | None) -> tuple[list[Tensor], Tensor]:
    """Return the first states, L of `(B, H)`, and the head's features, all of them normalised, side by side."""
    states = [torch.relu(image_drive if image_drive.ndim == 2 else image_drive[0])]
    rows = [net.read(states[0], 0, masks)]
    for layer, linear in list(enumerate(net.bottom_up))[1:]:
        states.append(torch.relu(linear(rows[-1])))
        rows.append(net.read(states[-1], layer, masks))
    return states, torch.cat(rows, dim=1)


def make_batch(
    net: RecurrentNet, image_row: Tensor, image_drive: Tensor, labels_2B: Tensor, masks: Masks | None
) -> Batch:
    """Gather what stays the same over the iterations."""
    layers = len(net.hidden_features)
    label_drive_2BH = net.top_down[-1].weight.t()[labels_2B] * label_scale(net)
    if layers > 1:
        label_drive_2BH += net.bottom_up[-1].bias
    image_drive_2BH = torch.cat([image_drive, image_drive], dim=-2)
    masks_2BH = [None if mask is None else torch.cat([mask, mask]) for mask in (masks or [None] * (layers + 1))[1:]]
    return Batch(image_row, image_drive_2BH, labels_2B, label_drive_2BH, masks_2BH, label_reaches(net))


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


def learn(
    net: RecurrentNet,
    batch: Batch,
    first_states: list[Tensor],
    features_BF: Tensor,
    learning: Learning,
    want_gradients: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Run all iterations; return goodness `(T, L, 2B)` and, if wanted, the gradients of the layers' parameters.

    Memory "full" keeps every iteration's rows, so that a weight's gradient is one product; "constant" keeps those of one
    iteration and adds up, since nothing has to flow back in time.
    """
    total = learning.iterations
    length = total if want_gradients and learning.memory == "full" else 1
    states = [torch.cat([state, state]) for state in first_states]
    tape = Tape(
        [state.new_empty(length + 1, *state.shape) for state in states],
        [state.new_empty(length, *state.shape) for state in states],
    )
    for read, row_BH in zip(tape.reads, features_BF.split(net.hidden_features, dim=1), strict=True):
        torch.cat([row_BH, row_BH], out=read[0])
    goodness_TL2B = states[0].new_empty(total, len(states), len(batch.labels_2B))
    sums = Sums(net, batch) if want_gradients else None
    for start in range(0, total, length):
        for step in range(length):
            iterate(
                net, batch, states, tape, start + step, step, goodness_TL2B[start + step], learning if sums else None
            )
        if sums is not None:
            sums.add(tape, start)
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
    learning: Learning | None,
) -> None:
    """One iteration of all layers, in place; `step` is its place on the tape. Without `learning` no derivatives are taken."""
    last, cases = len(states) - 1, len(batch.labels_2B) // 2
    image_drive_2BH = batch.image_drive_2BH if batch.image_drive_2BH.ndim == 2 else batch.image_drive_2BH[iteration]
    ascents: dict[int, Tensor] = {}
    for late, group in enumerate(net.update_groups()):  # a late group reads what an early one has just become
        for layer in group:
            # Until the label makes a difference, positive and negative data are the same: one of them is computed.
            both = iteration >= batch.reached[layer]
            rows = slice(None) if both else slice(cases)
            drive = tape.deltas[layer][step][rows]
            below = tape.reads[layer - 1][step + late][rows] if layer > 0 else None
            above = tape.reads[layer + 1][step + late][rows] if layer < last else None
            outer = (
                image_drive_2BH if layer == 0 else batch.label_drive_2BH if layer == last else net.bottom_up[layer].bias
            )
            outer = outer if outer.ndim == 1 else outer[rows]
            if below is not None:
                torch.addmm(outer, below, net.bottom_up[layer].weight.t(), out=drive)
                if above is not None:
                    drive.addmm_(above, net.top_down[layer].weight.t())
            elif above is not None:
                torch.addmm(outer, above, net.top_down[layer].weight.t(), out=drive)
            else:
                torch.add(outer, batch.label_drive_2BH, out=drive)
            computed = tape.deltas[layer][step].clamp_(min=0) if both else drive.clamp_(min=0)
            if learning is not None and learning.peer_normalization > 0:
                mean_H = net.peer_means()[layer]
                mean_H.copy_(peer_mean(mean_H, computed[:cases]))
                ascents[layer] = peer_ascent(mean_H, learning.peer_normalization)
            if not both:
                tape.deltas[layer][step][cases:] = computed
                computed = tape.deltas[layer][step]
            state = states[layer].lerp_(computed, 1 - net.damping)
            goodness_2B = torch.linalg.vector_norm(state, dim=1).square_().div_(state.shape[1])
            goodness_L2B[layer] = goodness_2B
            row = torch.mul(state, goodness_2B.add_(EPS).rsqrt_()[:, None], out=tape.reads[layer][step + 1])
            if (mask_2BH := batch.masks_2BH[layer]) is not None:
                row.mul_(mask_2BH)
    if learning is not None:
        factors_L2B = goodness_slopes(goodness_L2B, learning, net.sign)
        for layer, state in enumerate(states):
            delta = tape.deltas[layer][step]  # holds the computed state until here
            gate = torch.ops.aten.threshold_backward.grad_input
            gate(state, delta, 0, grad_input=delta)  # the state where the ReLU is on, else 0
            delta.mul_((factors_L2B[layer] * (2 * (1 - net.damping) / (state.shape[1] * cases)))[:, None])
            if layer in ascents:
                delta[:cases] -= ascents[layer] / cases


def goodness_slopes(goodness_L2B: Tensor, learning: Learning, sign: int) -> Tensor:
    """Return the derivatives of the objective by the goodness of each layer and case, `(L, 2B)`."""
    positive_LB, negative_LB = goodness_L2B.chunk(2, dim=1)
    if learning.objective == "paired":
        slopes = paired_loss_gradient(positive_LB, negative_LB, learning.temperature, sign)
    else:
        slopes = logistic_loss_gradient(positive_LB, negative_LB, learning.threshold, learning.temperature, sign)
    return torch.cat(slopes, dim=1)


def head_gradients(logits_BC: Tensor, features_BF: Tensor, labels_B: Tensor) -> list[Tensor]:
    """Return the delta rule's gradients of the head's weight and bias, of the mean cross-entropy."""
    error_BC = (torch.softmax(logits_BC, dim=1) - F.one_hot(labels_B, logits_BC.shape[1])) / len(labels_B)
    return [error_BC.t() @ features_BF, error_BC.sum(dim=0)]
