"""Local learning of any net in its plain form: detached neighbours and autograd, no savings. It defines what is right.

Anything faster is held against this file by the tests; nothing but tests and benchmarks imports it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ffrecur.core.learning import (
    Average,
    Carried,
    Learning,
    LocalLoss,
    LocalNet,
    Masks,
    draw,
    goodness_of_both,
    head_loss_of,
    objective_for,
)
from ffrecur.core.losses import loss_of
from ffrecur.core.sources import Stream
from ffrecur.core.sweep import Wiring, damping_of
from ffrecur.functional import damped_update, masked, peer_ascent, peer_mean, rms_normalize


def local_learning(
    net: LocalNet,
    inputs: Any,
    true_B: Tensor | None,
    negatives: Any,
    learning: Learning,
    masks: Masks | None = None,
    average: Average | None = None,
) -> LocalLoss:
    """See `learning.local_learning` for the arguments."""
    logits_BC = net.plain_logits(inputs, masks)
    head_loss = head_loss_of(logits_BC, true_B, net.weight, learning)
    negatives = draw(net, negatives, logits_BC, true_B, learning)
    with torch.no_grad():
        wiring = net.begin(inputs, masks, net.weight.dtype).wiring(
            true_B, negatives, learning.iterations or net.usual_iterations
        )
    loss, goodness_TLNBK, terms, carried = visit_all(net, wiring, learning, average)
    for term in [head_loss, *terms]:  # gradients only
        loss = loss + (term - term.detach())
    both = goodness_of_both(goodness_TLNBK)
    logits_BC = None if logits_BC is None else logits_BC.detach()
    return LocalLoss(loss, head_loss.detach(), logits_BC, negatives, *both, carried)


def visit_all(
    net: LocalNet, wiring: Wiring, learning: Learning, average: Average | None = None
) -> tuple[Tensor, Tensor, list[Tensor], Carried | None]:
    """Return the loss, the goodness `(T, L, N, B, K)`, and terms whose descent by the drives is peer normalisation's ascent.

    And what is left, where states were brought along.
    """
    states, of_iterations, terms = first_states(wiring), [], []
    drives: dict[int, Tensor] = {}
    for iteration in range(len(wiring.damping)):
        for group in wiring.order:
            before = list(states)
            for layer in group:
                drive = drive_of(wiring, before, layer, iteration)
                previous, damping = before[layer], damping_of(wiring.damping, iteration, layer)
                computed, drives[layer] = torch.relu(drive), drive[0].detach()
                states[layer] = computed if previous is None else damped_update(previous.detach(), computed, damping)
                if learning.peer_normalization > 0 and torch.is_grad_enabled():
                    terms.append(peer_term(wiring.peer_means[layer], drive[0], learning, average))
        values = [net.goodness_function.value(state.flatten(0, 1)).unflatten(0, state.shape[:2]) for state in states]  # type: ignore[union-attr]
        of_iterations.append(torch.stack(values))
    goodness_TLNBK = torch.stack(of_iterations)
    carried = None
    if wiring.first is not None and wiring.first.carried:
        kept = {layer: drives[layer] for layer in wiring.kept}
        carried = Carried([state.detach() for state in states], kept, wiring.layers)  # type: ignore[union-attr]
    return loss_of(objective_for(net, learning), goodness_TLNBK, net.sign), goodness_TLNBK.detach(), terms, carried


def first_states(wiring: Wiring) -> list[Tensor | None]:
    """Return the states before the first iteration `(N, B, H)`: each layer reads the one below, and nothing else.

    Or those that are brought along.
    """
    if wiring.first is not None and wiring.first.carried:
        return [state.expand(wiring.kinds, wiring.cases, -1) for state in wiring.first.states]
    states: list[Tensor | None] = [None] * len(wiring.layers)
    for layer, streams in enumerate(wiring.layers if wiring.first is not None else []):
        with torch.no_grad():
            states[layer] = torch.relu(plain_drive(wiring, states, streams[0], 0))
    return states


def drive_of(wiring: Wiring, states: list[Tensor | None], layer: int, iteration: int) -> Tensor:
    """Return a layer's drive `(N, B, H)`, which depends, for autograd, on its own parameters and on nothing else."""
    return torch.stack([plain_drive(wiring, states, stream, iteration) for stream in wiring.layers[layer]]).sum(dim=0)


def plain_drive(wiring: Wiring, states: list[Tensor | None], stream: Stream, iteration: int) -> Tensor:
    """Return what one stream adds to the drive, `(N, B, H)`."""
    if stream.rows is None:
        state = states[stream.layer]
        assert state is not None, "a layer reads what was visited before"
        rows = masked(rms_normalize(state.detach()), wiring.masks[stream.layer])
    else:
        rows = stream.rows[iteration] if stream.video else stream.rows
    rows = rows.expand(wiring.kinds, wiring.cases, -1)
    return stream.source.plain(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


def peer_term(mean_H: Tensor, drive_BH: Tensor, learning: Learning, average: Average | None) -> Tensor:
    """Update the running mean in place; return the term whose descent by the drive is peer normalisation's ascent."""
    computed_BH = torch.relu(drive_BH.detach())
    if average is not None:
        computed_BH = average(computed_BH.mean(dim=0))[None]
    mean_H.copy_(peer_mean(mean_H, computed_BH))
    return -(peer_ascent(mean_H, learning.peer_normalization) * drive_BH).sum() / len(drive_BH)
