"""One batch of local learning: the skeleton that all nets share, its settings and what it gives.

First pass, head, negatives, the visits to the layers, the loss, and the exact local gradients, which a backward hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ffrecur.core.goodness import Goodness
from ffrecur.core.gradients import Gradients
from ffrecur.core.losses import loss_of, slopes_of
from ffrecur.core.objectives import Logistic, Objective
from ffrecur.core.products import product_dtype
from ffrecur.core.sources import Layers, parameters_of
from ffrecur.core.sweep import Sweep, Wiring
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.functional import peer_ascent, peer_mean

Memory = Literal["full", "constant"]
MEMORIES = ("full", "constant")
Masks = Sequence[Tensor | None]
Negatives = Tensor | Callable[[Tensor, Tensor], Tensor]
Average = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a net learns from a batch.

    Args:
        objective: what the goodness of positive and negative data should be.
        iterations: number of iterations, all of which carry loss; by default as many as is usual for the net: 8 for a
            `RecurrentNet`, its own for a `StreamNet`, 1 for nets whose layers are visited once.
        peer_normalization: strength of peer normalisation, at least 0; 0 is off and leaves the peers' means alone.
        label_smoothing: share of the head's target that is spread over all answers, in [0, 1): the delta rule goes to
            `(1 - share) * one-hot + share / C`.
        memory: "full" keeps the rows of all iterations, for the fewest matrix products; "constant" those of one, so that
            memory does not grow with the iterations. The gradients are the same up to rounding.

    Raises:
        UserError: a setting outside its range.
    """

    objective: Objective = field(default_factory=Logistic)
    iterations: int | None = None
    peer_normalization: float = 0.0
    memory: Memory = "full"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_setting(isinstance(self.objective, Objective), "objective", self.objective, "an ffrecur.Objective")
        if self.iterations is not None:
            check_whole("iterations", self.iterations)
        check_setting(self.memory in MEMORIES, "memory", self.memory, " or ".join(MEMORIES))
        check_setting(self.peer_normalization >= 0, "peer_normalization", self.peer_normalization, "at least 0")
        in_range = 0 <= self.label_smoothing < 1
        check_setting(in_range, "label_smoothing", self.label_smoothing, "at least 0 and less than 1")


class LocalLoss(NamedTuple):
    """What one batch of local learning gives; only `loss` carries gradients."""

    loss: Tensor  # scalar, 1/B * sum of the objective over cases, layers and iterations
    head_loss: Tensor  # scalar, mean cross-entropy of the head; 0 without labels
    logits_BC: Any  # a tensor, of the head; None for a net without one
    negatives: Any  # as they were drawn or given
    goodness_positive_TLB: Tensor
    goodness_negative_TLB: Tensor  # mean over the negatives of a case
    carried: Carried | None = None  # what is left, where states were brought along

    def mean_goodness(self) -> dict[str, Tensor]:
        """Return the means over the cases, `(T, L)`, of positive and of negative data."""
        found = {"positive": self.goodness_positive_TLB, "negative": self.goodness_negative_TLB}
        return {name: goodness_TLB.mean(dim=-1) for name, goodness_TLB in found.items()}


class Carried(NamedTuple):
    """What is left after the last visit."""

    states: list[Tensor]  # of each layer, before normalisation, `(N, B, H)`: of the true answers, and of the others
    drives: dict[int, Tensor]  # of the true answers, of the layers that the wiring keeps, `(B, H)`
    layers: Layers  # with their sources


class Begun(NamedTuple):
    """A batch before its negatives are known."""

    features_BF: Tensor | None  # what the head reads; None where that is what the visits leave of positive data
    wiring: Callable[[Any, Any, int], Wiring]  # from the true answers, the negatives and the number of iterations


class LocalNet(Protocol):
    """What the skeleton knows of a net."""

    sign: int
    goodness_function: Goodness
    usual_iterations: int  # that it learns from where nothing else is asked for

    @property
    def head(self) -> nn.Linear | None:
        """What tells the answers apart, if the net knows any."""

    @property
    def weight(self) -> Tensor:
        """One of the parameters: all have its type and its device."""

    def begin(self, inputs: Any, masks: Masks | None, dtype: torch.dtype) -> Begun:
        """Show a batch to the net, once; with autocast switched off."""

    def read_out(self, rows: Mapping[int, Tensor] | Sequence[Tensor], masks: Masks | None = None) -> Tensor:
        """Return what the head reads, `(B, F)`, of the layers' normalised states `(n, B, H)`: of their first kind."""

    def candidates(self, true_B: Any) -> Any:
        """Return all wrong answers as negatives."""

    def plain_logits(self, inputs: Any, masks: Masks | None) -> Tensor | None:
        """Return the head's logits, differentiable by the head: for the reference."""


class Swept(NamedTuple):
    """What the visits of a batch give."""

    loss: Tensor
    goodness_TLNBK: Tensor
    gradients: list[Tensor | None]  # of `parameters_of(layers)`; empty if none were asked for
    rows: dict[int, Tensor]  # of layers that are read, (n, B, H): their normalised states at the end
    carried: Carried | None


def local_learning(
    net: LocalNet,
    inputs: Any,
    true_B: Tensor | None,
    negatives: Any,
    learning: Learning,
    masks: Masks | None = None,
    average: Average | None = None,
) -> LocalLoss:
    """Return the loss of one batch, whose backward leaves the exact local gradients and the head's delta rule.

    `negatives` are what the net takes for them, or a function of the head's logits and the true answers. Without true
    answers the head learns nothing. `reference.local_learning` is what this must equal.
    """
    gradients, dtype = torch.is_grad_enabled(), product_dtype(net.weight)
    # Under autocast the products alone are in bfloat16: the rest is sums of small differences.
    with torch.no_grad(), torch.autocast(net.weight.device.type, enabled=False):
        begun = net.begin(inputs, masks, dtype)
        features_BF = begun.features_BF
        logits_BC = None if net.head is None or features_BF is None else net.head(features_BF)
        negatives = draw(net, negatives, logits_BC, true_B, learning)
        wiring = begun.wiring(true_B, negatives, learning.iterations or net.usual_iterations)
        swept = sweep_batch(net, wiring, learning, dtype, gradients, average)
        if net.head is not None and features_BF is None:
            features_BF = net.read_out(swept.rows, masks)
            logits_BC = net.head(features_BF)
        found, parameters = swept.gradients, parameters_of(wiring.layers)
        if gradients and net.head is not None:
            parameters += net.head.parameters()
            found += [None, None] if true_B is None else head_gradients(logits_BC, features_BF, true_B, learning)
    loss = HandOut.apply(swept.loss, found, *parameters) if gradients else swept.loss
    head_loss = head_loss_of(logits_BC, true_B, swept.loss, learning)
    return LocalLoss(loss, head_loss, logits_BC, negatives, *goodness_of_both(swept.goodness_TLNBK), swept.carried)


def head_loss_of(logits_BC: Tensor | None, true_B: Tensor | None, like: Tensor, learning: Learning) -> Tensor:
    """Return the head's mean cross-entropy; 0, of the type of `like`, where there is no head or no label."""
    if logits_BC is None or true_B is None:
        return like.new_zeros(())
    return F.cross_entropy(logits_BC, true_B, label_smoothing=learning.label_smoothing)


def objective_for(net: LocalNet, learning: Learning) -> Objective:
    """Return the objective, for as many answers as the net tells apart."""
    return learning.objective if net.head is None else learning.objective.among(net.head.out_features)


def draw(net: LocalNet, negatives: Any, logits_BC: Tensor | None, true_B: Tensor | None, learning: Learning) -> Any:
    """Return the negatives of a batch: all wrong answers where the objective compares them all."""
    if learning.objective.all_candidates:
        return net.candidates(true_B)
    logits_BC = None if logits_BC is None else logits_BC.detach()
    drawn = negatives(logits_BC, true_B) if callable(negatives) else negatives
    if drawn is None:
        raise UserError("negatives are None, but an objective that does not compare all answers needs some")
    return drawn


def goodness_of_both(goodness_TLNBK: Tensor) -> tuple[Tensor, Tensor]:
    """Return the goodness of positive and of negative data `(T, L, B)`: means over blocks, and over negatives."""
    goodness_TLNB = goodness_TLNBK.mean(dim=-1) if goodness_TLNBK.shape[-1] > 1 else goodness_TLNBK.squeeze(-1)
    return goodness_TLNB[:, :, 0], goodness_TLNB[:, :, 1:].mean(dim=2)


def sweep_batch(
    net: LocalNet,
    wiring: Wiring,
    learning: Learning,
    dtype: torch.dtype,
    gradients: bool,
    average: Average | None = None,
) -> Swept:
    """Visit the layers, iteration by iteration; return loss, goodness and, if wanted, the local gradients.

    Memory "full" keeps every iteration's rows, so that a weight's gradient is one product; "constant" keeps those of one
    iteration and adds up, since nothing has to flow back in time. Where several processes train together, `average` makes a
    mean over this process' cases one over those of all; peer normalisation needs it.
    """
    total = len(wiring.damping)
    length = total if gradients and learning.memory == "full" else 1
    peers = gradients and learning.peer_normalization > 0
    check_setting(
        not peers or len(wiring.peer_means) > 0,
        "peer_normalization",
        learning.peer_normalization,
        "0 for a net that keeps no means of its units' activities",
    )
    sweep = Sweep(wiring, net.goodness_function, dtype, length if gradients else 0, peers)
    layers, blocks = len(wiring.layers), net.goodness_function.blocks
    goodness_TLNBK = net.weight.new_empty(total, layers, wiring.kinds, wiring.cases, blocks)
    sums, objective = Gradients(sweep) if gradients else None, objective_for(net, learning)
    for start in range(0, total, length):
        for step in range(length):
            sweep.iterate(start + step, step, goodness_TLNBK[start + step])
        if sums is not None:
            ascents = find_ascents(sweep.positive_means, wiring.peer_means, learning, average)
            sums.add(slopes_of(objective, goodness_TLNBK[start : start + length], net.sign), start, ascents)
        if start + length < total:
            sweep.wind_back()
    loss = loss_of(objective, goodness_TLNBK, net.sign)
    found = [] if sums is None else sums.finish()
    return Swept(loss, goodness_TLNBK, found, sweep.shown(), carried_on(sweep))


def carried_on(sweep: Sweep) -> Carried | None:
    """Return what is left; None where no states were brought along."""
    if sweep.first is None or not sweep.first.carried:
        return None
    states = [state for state in sweep.states if state is not None]
    return Carried(states, sweep.last_drives, sweep.layers)


def find_ascents(
    means: list[list[Tensor]], running: Sequence[Tensor], learning: Learning, average: Average | None
) -> list[Tensor]:
    """Update the peers' running means by the batch means of a stretch; return the ascents of each layer, `(t, H)`.

    No state depends on them, so that all layers and iterations of a stretch are averaged over the processes at once.
    """
    if learning.peer_normalization == 0:
        return []
    flat = torch.cat([mean_H for layer in means for mean_H in layer])
    flat = flat if average is None else average(flat)
    ascents, at = [], 0
    for mean_H, layer in zip(running, means, strict=True):
        found = []
        for _ in layer:
            mean_H.copy_(peer_mean(mean_H, flat[None, at : at + len(mean_H)]))
            found.append(peer_ascent(mean_H, learning.peer_normalization))
            at += len(mean_H)
        ascents.append(torch.stack(found))
    return ascents


def head_gradients(logits_BC: Any, features_BF: Any, labels_B: Tensor, learning: Learning) -> list[Tensor]:
    """Return the delta rule's gradients of the head's weight and bias, of the mean cross-entropy."""
    count, spread = logits_BC.shape[1], learning.label_smoothing
    target_BC = (1 - spread) * F.one_hot(labels_B, count).to(logits_BC.dtype) + spread / count
    error_BC = (torch.softmax(logits_BC, dim=1) - target_BC) / len(labels_B)
    return [error_BC.t() @ features_BF, error_BC.sum(dim=0)]


class HandOut(torch.autograd.Function):
    """A loss whose gradients are known already: backward hands them out."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *parameters: Tensor) -> Tensor:
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
                if gradient is not None:
                    gradient.mul_(grad_output)
        return None, None, *gradients
