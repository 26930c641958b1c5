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
from ffrecur.functional import (
    damped_update,
    goodness,
    logistic_loss,
    masked,
    paired_loss,
    peer_ascent,
    peer_mean,
    rms_normalize,
)

if TYPE_CHECKING:
    from ffrecur.character import CharNet
    from ffrecur.recurrent import RecurrentNet

Objective = Literal["logistic", "paired"]
OBJECTIVES = ("logistic", "paired")
Phase = Literal["both", "awake", "asleep"]
PHASES = ("both", "awake", "asleep")
Memory = Literal["full", "constant"]
MEMORIES = ("full", "constant")
Masks = Sequence[Tensor | None]
Negatives = Tensor | Callable[[Tensor, Tensor], Tensor]
NegativeWindows = Tensor | Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class LayerLearning:
    """What a layer learns from the goodness of positive and negative data.

    Args:
        objective: "logistic" or "paired".
        threshold: goodness at which the probability of positive is one half; "paired" ignores it.
        temperature: goodness scale of the objective, greater than 0.
        phase: "both" kinds of data, "awake" (positive data alone) or "asleep" (negative data alone); "paired" needs both.

    Raises:
        UserError: a setting outside its range.
    """

    objective: Objective = "logistic"
    threshold: float = 1.0
    temperature: float = 0.1
    phase: Phase = "both"

    def __post_init__(self) -> None:
        check_setting(self.objective in OBJECTIVES, "objective", self.objective, " or ".join(OBJECTIVES))
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")
        check_setting(self.phase in PHASES, "phase", self.phase, " or ".join(PHASES))
        check_setting(
            self.phase == "both" or self.objective == "logistic",
            "objective",
            self.objective,
            "logistic with phases apart",
        )

    @property
    def positive_weight(self) -> float:
        """Weight of positive data in the logistic objective."""
        return float(self.phase != "asleep")

    @property
    def negative_weight(self) -> float:
        """Weight of negative data in the logistic objective."""
        return float(self.phase != "awake")


@dataclass(frozen=True, kw_only=True)
class Learning(LayerLearning):
    """How a recurrent net learns from a batch; the objective as in `LayerLearning`.

    Args:
        iterations: number of iterations, all of which carry loss.
        peer_normalization: strength of peer normalisation, at least 0; 0 is off and leaves the peers' means alone.
        memory: "full" keeps the rows of all iterations, for the fewest matrix products; "constant" those of one, so that
            memory does not grow with the iterations. The gradients are the same but for rounding; the plain form
            ignores it.
        average: where several processes train together, what makes a mean over this process' samples one over those of
            all, such as `processes.mean_over_processes`; peer normalisation needs it.

    Raises:
        UserError: a setting outside its range.
    """

    iterations: int = 8
    peer_normalization: float = 0.0
    memory: Memory = "full"
    average: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self.iterations >= 1, "iterations", self.iterations, "at least 1")
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
                gradients_only.append(peer_term(mean_H, drive[: len(labels_B)], learning))
    loss = torch.stack(losses).sum() / len(labels_B)
    for term in gradients_only:
        loss = loss + (term - term.detach())
    positive_TLB, negative_TLB = torch.stack(goodness_of_all).chunk(2, dim=2)
    return LocalLoss(loss, head_loss.detach(), logits_BC.detach(), negative_labels_B, positive_TLB, negative_TLB)


def doubled(masks: Masks | None) -> Masks | None:
    """Return the masks for positive and negative data: the same for both."""
    return None if masks is None else [None if mask is None else torch.cat([mask, mask]) for mask in masks]


def objective_of(learning: LayerLearning, sign: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the objective as a function of the goodness of positive and of negative data."""
    if learning.objective == "paired":
        return partial(paired_loss, temperature=learning.temperature, sign=sign)
    return partial(
        logistic_loss,
        threshold=learning.threshold,
        temperature=learning.temperature,
        sign=sign,
        positive_weight=learning.positive_weight,
        negative_weight=learning.negative_weight,
    )


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


def peer_term(mean_H: Tensor, drive_BH: Tensor, learning: Learning) -> Tensor:
    """Update the running mean in place; return the term whose descent by the drive is peer normalisation's ascent."""
    computed_BH = torch.relu(drive_BH.detach())
    if learning.average is not None:
        computed_BH = learning.average(computed_BH.mean(dim=0))[None]
    mean_H.copy_(peer_mean(mean_H, computed_BH))
    return -(peer_ascent(mean_H, learning.peer_normalization) * drive_BH).sum() / len(drive_BH)


class TextLoss(NamedTuple):
    """What one batch of local learning from text gives; only `loss` carries gradients."""

    loss: Tensor  # scalar, 1/B * sum of the objective over windows and layers
    head_loss: Tensor  # scalar, mean cross-entropy of the next character, in nats
    logits_BV: Tensor  # of the next character
    goodness_positive_LB: Tensor
    goodness_negative_LB: Tensor


def text_loss(
    net: CharNet, positive_BW: Tensor, negative_BW: Tensor, learning: LayerLearning, masks: Masks | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of a character model, and goodness of both kinds `(L, B)`: dense one-hot rows, every layer's input detached."""
    one_hot = F.one_hot(torch.cat([positive_BW, negative_BW]), len(net.alphabet)).flatten(1)
    row = rms_normalize(one_hot.to(net.head.weight.dtype))
    objective, losses, goodness_of_all = objective_of(learning, net.sign), [], []
    for linear, mask in zip(net.hidden, doubled(masks) or [None] * len(net.hidden), strict=True):
        state = torch.relu(linear(row))
        losses.append(objective(*goodness(state).chunk(2)).sum())
        goodness_of_all.append(goodness(state).detach())
        row = masked(rms_normalize(state.detach()), mask)
    positive_LB, negative_LB = torch.stack(goodness_of_all).chunk(2, dim=1)
    return torch.stack(losses).sum() / len(positive_BW), positive_LB, negative_LB


def text_learning(
    net: CharNet,
    contexts_BW: Tensor,
    next_B: Tensor,
    negatives: NegativeWindows,
    learning: LayerLearning,
    masks: Masks | None = None,
) -> TextLoss:
    """See `CharNet.local_learning` for the arguments."""
    logits_BV = net.logits(contexts_BW, masks)
    head_loss = F.cross_entropy(logits_BV, next_B)
    negative_BW = negatives(logits_BV.detach()) if callable(negatives) else negatives
    positive_BW = torch.cat([contexts_BW[:, 1:], next_B[:, None]], dim=1)
    loss, positive_LB, negative_LB = text_loss(net, positive_BW, negative_BW, learning, masks)
    loss = loss + (head_loss - head_loss.detach())
    return TextLoss(loss, head_loss.detach(), logits_BV.detach(), positive_LB, negative_LB)
