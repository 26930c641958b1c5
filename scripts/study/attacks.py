"""Attacks of corruption.py: images changed by at most a budget in each value so that a net errs (FGSM and PGD).

A net is attacked through its whole score, by plain autograd through all that it computes; its own learning never does that.

    loss = cross-entropy of the scores divided by the temperature
    FGSM = cut(x + budget * sign of the loss's gradient by x)                 (Goodfellow et al. 2015, arXiv 1412.6572)
    PGD  = repeated smaller steps from a random start, each cut to the budget (Madry et al. 2018, arXiv 1706.06083)

Both cut to [0, 1]. Shapes: B images, D values of one, C labels, L hidden layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import ffrecur
from ffrecur.core.goodness import mean_over_blocks
from ffrecur.functional import rms_normalize
from ffrecur.seeding import uniform_at

BUDGETS = (0.02, 0.04, 0.06, 0.08, 0.1)
STEPS, STEP = 10, 0.25  # of PGD: how many, and how long in budgets
Logits = Callable[[Tensor], Tensor]  # of images (B, D), with a graph


# --- scores with a graph ----------------------------------------------------------------------------------------------


def scores_of(
    net: ffrecur.RecurrentNet | ffrecur.FeedForwardNet | ffrecur.BackpropNet,
    images_BD: Tensor,
    window: tuple[int, int] = (3, 5),
    head_weight: float = 0.0,
) -> Tensor:
    """Return the scores `(B, C)` that `net.score` gives, or the logits of backpropagation, with a graph down to the images."""
    if isinstance(net, ffrecur.BackpropNet):
        return net(images_BD)
    if isinstance(net, ffrecur.RecurrentNet):
        scores_BC = net(images_BD, window)
    elif net.label is None:
        return torch.log_softmax(head_of(net, images_BD), dim=1)
    else:
        scores_BC = goodness_scores(net, images_BD)
    return scores_BC + head_weight * torch.log_softmax(head_of(net, images_BD), dim=1) if head_weight else scores_BC


def head_of(net: ffrecur.RecurrentNet | ffrecur.FeedForwardNet, images_BD: Tensor) -> Tensor:
    """Return the head's logits `(B, C)`, as `net.one_pass_logits`; there no gradient reaches the states."""
    assert net.head is not None, "nets without a head are refused"
    if isinstance(net, ffrecur.RecurrentNet):
        states: Sequence[Tensor] = net.bottom_up_pass(images_BD)
    else:
        states = states_of(net, net.input_row(images_BD))
    return net.head(torch.cat([rms_normalize(states[layer - 1]) for layer in net.head_layers], dim=1))


def states_of(net: ffrecur.FeedForwardNet, row: Tensor) -> list[Tensor]:
    """Return the states, L of `(B, H)`, of what layer 1 reads; `net.states` has no gradient from layer to layer."""
    states: list[Tensor] = []
    for module in net.hidden:
        states.append(torch.relu(module(row)))
        row = rms_normalize(states[-1])
    return states


def goodness_scores(net: ffrecur.FeedForwardNet, images_BD: Tensor) -> Tensor:
    """Return `sign` times the goodness under each label, summed over the layers that score, `(B, C)`."""
    scores = []
    for label in range(net.num_classes or 0):
        labels_B = torch.full((len(images_BD),), label)
        states = states_of(net, net.input_row(images_BD, labels_B))
        judged = [mean_over_blocks(net.goodness_function, states[layer - 1]) for layer in net.score_layers]
        scores.append(torch.stack(judged).sum(dim=0))
    return net.sign * torch.stack(scores, dim=1)


# --- attacks ----------------------------------------------------------------------------------------------------------


def direction(logits: Logits, images_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sign of the loss's gradient by the images, `(B, D)`, and which images the net gets right, `(B,)`.

    The gradient by the logits is `p - onehot`. Divided by `1 - p` of the true label, which changes no sign, it is the softmax
    over the wrong labels, and -1 at the true one: so it does not vanish where the net is sure. No parameter gets a gradient.
    """
    with torch.enable_grad():
        images_BD = images_BD.detach().requires_grad_()
        logits_BC = logits(images_BD)
        found_BC, true_B1 = logits_BC.detach(), labels_B[:, None]
        slopes_BC = torch.softmax(found_BC.scatter(1, true_B1, -torch.inf), dim=1).scatter(1, true_B1, -1.0)
        (gradient_BD,) = torch.autograd.grad(logits_BC, images_BD, slopes_BC)
    return gradient_BD.sign(), found_BC.argmax(dim=1) == labels_B


def fgsm(logits: Logits, images_BD: Tensor, labels_B: Tensor, budget: float, first: int = 0) -> Tensor:
    """Return which images a net gets wrong after one step of the whole budget, `(B,)`; `first` is for `pgd`."""
    signs_BD, _ = direction(logits, images_BD, labels_B)
    attacked_BD = (images_BD + budget * signs_BD).clamp(0, 1)
    with torch.no_grad():
        return logits(attacked_BD).argmax(dim=1) != labels_B


def pgd(logits: Logits, images_BD: Tensor, labels_B: Tensor, budget: float, first: int = 0) -> Tensor:
    """Return which images a net gets wrong at some point of a path within the budget, `(B,)`; the image itself is on it.

    The start is uniform in the budget, a function of the images' places in their split, from `first` on.
    """
    start_BD = images_BD + budget * (2 * uniform_at(first, *images_BD.shape, 0, *b"pgd") - 1).to(images_BD.dtype)
    low_BD, high_BD = (images_BD - budget).clamp(min=0), (images_BD + budget).clamp(max=1)
    with torch.no_grad():
        right_B = logits(images_BD).argmax(dim=1) == labels_B
    at_BD = start_BD.clamp(0, 1)
    for _ in range(STEPS):
        left = right_B.nonzero().squeeze(1)  # only what is still right is moved on
        if not len(left):
            break
        signs_BD, right_B[left] = direction(logits, at_BD[left], labels_B[left])
        moved_BD = at_BD[left] + STEP * budget * signs_BD
        at_BD[left] = moved_BD.maximum(low_BD[left]).minimum(high_BD[left])
    left = right_B.nonzero().squeeze(1)
    if len(left):
        with torch.no_grad():
            right_B[left] = logits(at_BD[left]).argmax(dim=1) == labels_B[left]
    return ~right_B


ATTACKS = {"FGSM": fgsm, "PGD": pgd}
