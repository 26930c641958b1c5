"""Local learning in its plain form: detached neighbours and autograd, no savings. It defines what is right.

Anything faster is held against this file by the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.errors import check_setting
from ffrecur.functional import damped_update, goodness, logistic_loss, paired_loss, peer_ascent, peer_mean

if TYPE_CHECKING:
    from ffrecur.recurrent import RecurrentNet

Objective = Literal["logistic", "paired"]
OBJECTIVES = ("logistic", "paired")
Memory = Literal["full", "constant"]
MEMORIES = ("full", "constant")
Masks = Sequence[Tensor | None]
Negatives = Tensor | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Learning:
    """How a net learns from a batch.

    Args:
        iterations: number of iterations, all of which carry loss.
        objective: "logistic" or "paired".
        threshold: goodness at which the probability of positive is one half; "paired" ignores it.
        temperature: goodness scale of the objective, greater than 0.
        peer_normalization: strength of peer normalisation, at least 0; 0 is off and leaves the peers' means alone.
        memory: "full" keeps the rows of all iterations, for the fewest matrix products; "constant" those of one, so that
            memory does not grow with the iterations. The gradients are the same but for rounding; the plain form
            ignores it.

    Raises:
        UserError: a setting outside its range.
    """

    iterations: int = 8
    objective: Objective = "logistic"
    threshold: float = 1.0
    temperature: float = 0.1
    peer_normalization: float = 0.0
    memory: Memory = "full"

    def __post_init__(self) -> None:
        check_setting(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        check_setting(self.objective in OBJECTIVES, "objective", self.objective, " or ".join(OBJECTIVES))
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")
        check_setting(self.memory in MEMORIES, "memory", self.memory, " or ".join(MEMORIES))
        check_setting(self.peer_normalization >= 0, "peer_normalization", self.peer_normalization, "at least 0")


class LocalLoss(NamedTuple):
    """What one batch of local learning gives; only `loss` carries gradients."""

    loss: Tensor  # scalar, 1/B * sum of the objective over images, layers and iterations
    head_loss: Tensor  # scalar, mean cross-entropy of the one-pass head
    logits_BC: Tensor  # of the one-pass head
    negative_labels_B: Tensor
    goodness_positive_TLB: Tensor
    goodness_negative_TLB: Tensor


def local_learning(
    net: RecurrentNet,
    images: Tensor,
    labels_B: Tensor,
    negative_labels_B: Negatives,
    learning: Learning,
    masks: Masks | None,
) -> LocalLoss:
    """See `RecurrentNet.local_learning` for the arguments."""
    with torch.no_grad():
        states = net.bottom_up_pass(images, masks)
    logits_BC = net.head_logits(states, masks)
    head_loss = F.cross_entropy(logits_BC, labels_B)
    if callable(negative_labels_B):
        negative_labels_B = negative_labels_B(logits_BC.detach(), labels_B)
    # Positive and negative data in one batch of 2B rows, the positives first.
    image_row = net.image_row(torch.cat([images, images], dim=-2), doubled(masks))
    label_row = net.label_row(torch.cat([labels_B, negative_labels_B]))
    states = tuple(torch.cat([state, state]) for state in states)
    objective = objective_of(learning, net.sign)
    losses, gradients_only, goodness_of_all = [], [head_loss], []
    for iteration in range(learning.iterations):
        frame = image_row if image_row.ndim == 2 else image_row[iteration]
        drives, states = iterate(net, states, frame, label_row, doubled(masks))
        goodness_L2B = torch.stack([goodness(state) for state in states])
        losses.append(objective(*goodness_L2B.chunk(2, dim=1)).sum())
        goodness_of_all.append(goodness_L2B.detach())
        if learning.peer_normalization > 0 and torch.is_grad_enabled():
            for mean_H, drive in zip(net.peer_means(), drives, strict=True):
                gradients_only.append(peer_term(mean_H, drive[: len(labels_B)], learning.peer_normalization))
    loss = torch.stack(losses).sum() / len(labels_B)
    for term in gradients_only:
        loss = loss + (term - term.detach())
    positive_TLB, negative_TLB = torch.stack(goodness_of_all).chunk(2, dim=2)
    return LocalLoss(loss, head_loss.detach(), logits_BC.detach(), negative_labels_B, positive_TLB, negative_TLB)


def doubled(masks: Masks | None) -> Masks | None:
    """Return the masks for positive and negative data: the same for both."""
    return None if masks is None else [None if mask is None else torch.cat([mask, mask]) for mask in masks]


def objective_of(learning: Learning, sign: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the objective as a function of the goodness of positive and of negative data."""
    if learning.objective == "paired":
        return partial(paired_loss, temperature=learning.temperature, sign=sign)
    return partial(logistic_loss, threshold=learning.threshold, temperature=learning.temperature, sign=sign)


def iterate(
    net: RecurrentNet, states: Sequence[Tensor], frame_BD: Tensor, label_row_BC: Tensor, masks: Masks | None
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """One iteration whose every new state depends, for autograd, on its own layer's weights and on nothing else.

    Returns each layer's drive (its state before the ReLU and the damping) and its new state, both `(B, H)`.
    """
    old = [state.detach() for state in states]
    new, drives = list(old), list(old)
    for group in net.update_groups():
        read = [net.read(state.detach(), layer, masks) for layer, state in enumerate(new)]
        rows = [frame_BD, *read, label_row_BC]
        for layer in group:
            drives[layer] = net.bottom_up[layer](rows[layer]) + net.top_down[layer](rows[layer + 2])
            new[layer] = damped_update(old[layer], torch.relu(drives[layer]), net.damping)
    return drives, tuple(new)


def peer_term(mean_H: Tensor, drive_BH: Tensor, strength: float) -> Tensor:
    """Update the running mean in place; return the term whose descent by the drive is peer normalisation's ascent."""
    mean_H.copy_(peer_mean(mean_H, torch.relu(drive_BH.detach())))
    return -(peer_ascent(mean_H, strength) * drive_BH).sum() / len(drive_BH)
