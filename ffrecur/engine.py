"""Local learning in closed form: what `reference.py` says, exactly, without a graph and in a few large products.

For layer l, iteration t and each kind of data, with drive z, computed state c = relu(z), new state
s = damping * previous + (1 - damping) * c and goodness g = mean(s**2), the local derivative is

    d loss / d z = 1/B * (d objective / d g) * (2 / H) * (1 - damping) * s * [c > 0]

and the gradient of a weight matrix is the sum over iterations, kinds and cases of (d loss / d z) times the row that the
matrix read. Those rows and derivatives are laid one under another, so that the sum is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ffrecur.functional import logistic_loss_gradient, paired_loss_gradient, peer_ascent, peer_mean
from ffrecur.reference import Learning, LocalLoss, Masks, Negatives, objective_of

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet

EPS = 1e-8  # of rms_normalize


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


@dataclass
class Tape:
    """What the iterations leave behind for the gradients. Rows are cases, 2B of them: the positives, then the negatives."""

    goodness_TL2B: Tensor
    reads: list[
        Tensor
    ]  # of each layer (T + 1, 2B, H): what its neighbours read after iteration 0 (the first states), 1, ...
    deltas: list[Tensor]  # of each layer (T, 2B, H): the state where the ReLU is on, else 0; scaled later
    ascents: list[list[Tensor]]  # of each layer, T of (H,): peer normalisation; empty where it is off


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
    with torch.no_grad():
        image_row = net.image_row(images, masks)
        image_drive = net.bottom_up[0](image_row)  # projected once for all iterations and both kinds of data
        states, features_BF = bottom_up_pass(net, image_drive, masks)
        logits_BC = net.head(features_BF)
        head_loss = F.cross_entropy(logits_BC, labels_B)
        if callable(negative_labels_B):
            negative_labels_B = negative_labels_B(logits_BC, labels_B)
        labels_2B = torch.cat([labels_B, negative_labels_B])
        peer_strength = learning.peer_normalization if want_gradients else 0.0
        tape = roll_out(net, states, features_BF, image_drive, labels_2B, learning.iterations, masks, peer_strength)
        positive_TLB, negative_TLB = tape.goodness_TL2B.chunk(2, dim=2)
        loss = objective_of(learning, net.sign)(positive_TLB, negative_TLB).sum() / len(labels_B)
        gradients: list[Tensor] = []
        if want_gradients:
            scale_deltas(net, tape, learning)
            gradients = [
                *layer_gradients(net, tape, image_row, labels_2B),
                *head_gradients(logits_BC, features_BF, labels_B),
            ]
    if want_gradients:
        parameters = [
            p for pair in zip(net.bottom_up, net.top_down, strict=True) for part in pair for p in part.parameters()
        ]
        loss = _HandOut.apply(loss, gradients, *parameters, *net.head.parameters())
    return LocalLoss(loss, head_loss, logits_BC, negative_labels_B, positive_TLB, negative_TLB)


def bottom_up_pass(net: RecurrentNet, image_drive: Tensor, masks: Masks | None) -> tuple[list[Tensor], Tensor]:
    """Return the first states, L of `(B, H)`, and the head's features, all of them normalised, side by side."""
    states = [torch.relu(image_drive if image_drive.ndim == 2 else image_drive[0])]
    rows = [net.read(states[0], 0, masks)]
    for layer, linear in list(enumerate(net.bottom_up))[1:]:
        states.append(torch.relu(linear(rows[-1])))
        rows.append(net.read(states[-1], layer, masks))
    return states, torch.cat(rows, dim=1)


def roll_out(
    net: RecurrentNet,
    first_states: list[Tensor],
    features_BF: Tensor,
    image_drive: Tensor,
    labels_2B: Tensor,
    iterations: int,
    masks: Masks | None,
    peer_strength: float,
) -> Tape:
    """Run the iterations on positive and negative data together, in place, and return what they leave behind."""
    last, weights = len(first_states) - 1, [linear.weight for linear in net.bottom_up]
    states = [torch.cat([state, state]) for state in first_states]
    masks_2BH = [None if mask is None else torch.cat([mask, mask]) for mask in (masks or [None] * (last + 2))[1:]]
    tape = Tape(
        states[0].new_empty(iterations, last + 1, len(labels_2B)),
        [state.new_empty(iterations + 1, *state.shape) for state in states],
        [state.new_empty(iterations, *state.shape) for state in states],
        [[] for _ in states],
    )
    for read, row_BH in zip(tape.reads, features_BF.split(net.hidden_features, dim=1), strict=True):
        torch.cat([row_BH, row_BH], out=read[0])
    image_drive = torch.cat([image_drive, image_drive], dim=-2)
    label_drive_2BH = net.top_down[-1].weight.t()[labels_2B] * label_scale(net)
    if last > 0:
        label_drive_2BH += net.bottom_up[-1].bias
    for t in range(iterations):
        image_drive_2BH = image_drive if image_drive.ndim == 2 else image_drive[t]
        for late, group in enumerate(net.update_groups()):  # a late group reads what an early one has just become
            for layer in group:
                state, drive = states[layer], tape.deltas[layer][t]
                below, above = tape.reads[layer - 1][t + late], tape.reads[min(layer + 1, last)][t + late]
                if layer == last == 0:
                    torch.add(image_drive_2BH, label_drive_2BH, out=drive)
                elif layer == 0:
                    torch.addmm(image_drive_2BH, above, net.top_down[0].weight.t(), out=drive)
                elif layer == last:
                    torch.addmm(label_drive_2BH, below, weights[layer].t(), out=drive)
                else:
                    torch.addmm(net.bottom_up[layer].bias, below, weights[layer].t(), out=drive)
                    drive.addmm_(above, net.top_down[layer].weight.t())
                computed = drive.clamp_(min=0)
                if peer_strength > 0:
                    mean_H = net.peer_means()[layer]
                    mean_H.copy_(peer_mean(mean_H, computed[: len(labels_2B) // 2]))
                    tape.ascents[layer].append(peer_ascent(mean_H, peer_strength))
                state.lerp_(computed, 1 - net.damping)
                computed.sign_().mul_(state)
                squared_2B = torch.linalg.vector_norm(state, dim=1).square_().div_(state.shape[1])
                tape.goodness_TL2B[t, layer] = squared_2B
                torch.mul(state, squared_2B.add_(EPS).rsqrt_()[:, None], out=tape.reads[layer][t + 1])
                if (mask_2BH := masks_2BH[layer]) is not None:
                    tape.reads[layer][t + 1].mul_(mask_2BH)
    return tape


def label_scale(net: RecurrentNet) -> float:
    """Return what the 1 of a one-hot row becomes when the row is normalised."""
    return (1 / net.num_classes + EPS) ** -0.5


def scale_deltas(net: RecurrentNet, tape: Tape, learning: Learning) -> None:
    """Turn the gated states of `tape.deltas`, in place, into the derivatives of the loss by the drives."""
    positive, negative = tape.goodness_TL2B.chunk(2, dim=2)
    if learning.objective == "paired":
        slopes = paired_loss_gradient(positive, negative, learning.temperature, net.sign)
    else:
        slopes = logistic_loss_gradient(positive, negative, learning.threshold, learning.temperature, net.sign)
    batch = positive.shape[-1]
    for layer, (delta, width) in enumerate(zip(tape.deltas, net.hidden_features, strict=True)):
        factor_T2B = torch.cat(slopes, dim=2)[:, layer] * (2 * (1 - net.damping) / (width * batch))
        for t, rows in enumerate(delta):
            rows.mul_(factor_T2B[t, :, None])
            if tape.ascents[layer]:
                rows[:batch] -= tape.ascents[layer][t] / batch


def layer_gradients(net: RecurrentNet, tape: Tape, image_row: Tensor, labels_2B: Tensor) -> list[Tensor]:
    """Return the gradients of bottom-up weight, bias and top-down weight of every layer in turn, a product for each weight."""
    gradients, last = [], len(tape.deltas) - 1
    late = {layer: number for number, group in enumerate(net.update_groups()) for layer in group}
    for layer, delta_T2BH in enumerate(tape.deltas):
        flat = delta_T2BH.flatten(0, 1).t()  # (H, T * 2B)

        def against(neighbour: int, first: int = late[layer], flat: Tensor = flat) -> Tensor:
            return flat @ tape.reads[neighbour][first:][: len(tape.goodness_TL2B)].flatten(0, 1)

        if layer == 0:
            of_both = delta_T2BH.unflatten(1, (2, -1)).sum(dim=1)  # (T, B, H)
            if image_row.ndim == 2:
                gradients.append(of_both.sum(dim=0).t() @ image_row)
            else:
                gradients.append(of_both.flatten(0, 1).t() @ image_row[: len(of_both)].flatten(0, 1))
        else:
            gradients.append(against(layer - 1))
        gradients.append(delta_T2BH.sum(dim=(0, 1)))
        if layer < last:
            gradients.append(against(layer + 1))
        else:
            by_label_CH = delta_T2BH.new_zeros(net.num_classes, delta_T2BH.shape[-1])
            by_label_CH.index_add_(0, labels_2B, delta_T2BH.sum(dim=0))
            gradients.append(by_label_CH.t().mul(label_scale(net)).contiguous())
    return gradients


def head_gradients(logits_BC: Tensor, features_BF: Tensor, labels_B: Tensor) -> list[Tensor]:
    """Return the delta rule's gradients of the head's weight and bias, of the mean cross-entropy."""
    error_BC = (torch.softmax(logits_BC, dim=1) - F.one_hot(labels_B, logits_BC.shape[1])) / len(labels_B)
    return [error_BC.t() @ features_BF, error_BC.sum(dim=0)]
