"""The equations of the Forward-Forward algorithm, as pure functions.

Section numbers refer to G. Hinton, "The Forward-Forward Algorithm" (arXiv 2212.13345). Tensor names carry their shape:
B batch, D input features, H units of a layer, L hidden layers, T iterations, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.errors import check_setting

Noise = Literal["head", "masked_head", "uniform"]
NOISES = get_args(Noise)
EPS = 1e-8  # what is added to a mean square before it divides


def rms_normalize(a: Tensor, eps: float = EPS) -> Tensor:
    """Layer normalisation without mean subtraction: `a / sqrt(mean(a**2) + eps)` over the last dimension (section 2.1).

    What a layer passes on has length `sqrt(H)` for any goodness, so the next layer cannot read the goodness off
    the length. A row of zeros stays zero. Shape `(..., H)` in and out.

    >>> rms_normalize(torch.tensor([3.0, 4.0, 0.0, 0.0]))
    tensor([1.2000, 1.6000, 0.0000, 0.0000])
    """
    wide = a.to(at_least_float32(a.dtype))  # float16 has no such eps
    return (wide * (wide.square().mean(dim=-1, keepdim=True) + eps).rsqrt()).to(a.dtype)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the precision of sums over units: float32 for half precision, else its own."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def center(images: Tensor) -> Tensor:
    """Images minus their own mean over the last dimension, so that a brighter background changes nothing. Not in the paper.

    >>> center(torch.tensor([1.0, 2.0, 6.0]))
    tensor([-2., -1.,  3.])
    """
    return images - images.mean(dim=-1, keepdim=True)


def goodness(state: Tensor) -> Tensor:
    """Goodness of a layer, `mean(state**2)` over its units, of the state before normalisation (section 2).

    Shape `(..., H)` in, `(...)` out. A mean, not the sum of the paper, so that thresholds do not depend on the width.

    >>> goodness(torch.tensor([1.0, 2.0, 0.0, 1.0]))
    tensor(1.5000)
    """
    return state.square().mean(dim=-1)


def damped_update(previous: Tensor, computed: Tensor, damping: float) -> Tensor:
    """New state `damping * previous + (1 - damping) * computed`, of states before normalisation (section 3.4).

    `damping` lies in [0, 1); the paper uses 0.3. All shapes `(..., H)`.

    >>> damped_update(torch.tensor([1.0]), torch.tensor([2.0]), damping=0.3)
    tensor([1.7000])
    """
    return damping * previous + (1 - damping) * computed


def probability_of_positive(goodness: Tensor, threshold: float, temperature: float, sign: int = 1) -> Tensor:
    """Probability that data is positive, `sigmoid(sign * (goodness - threshold) / temperature)` (section 2, equation 1).

    `sign=1`: positive data has high goodness; `sign=-1`: low, as in predictive coding (section 3.5). Any shape.

    >>> probability_of_positive(torch.tensor([1.0, 1.2]), threshold=1.0, temperature=0.1)
    tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(sign * (goodness - threshold) / temperature)


def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))` to full precision; PyTorch's own is `x` past 20, which is off by 2e-9 there. Any shape.

    >>> softplus(torch.tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    return -F.logsigmoid(-x)


def logistic_loss(
    goodness_positive: Tensor,
    goodness_negative: Tensor,
    threshold: float,
    temperature: float,
    sign: int = 1,
    positive_weight: float = 1,
    negative_weight: float = 1,
) -> Tensor:
    """Logistic objective of positive and negative data, elementwise (section 2, equation 1, as a negative log-likelihood).

    `softplus(-sign * (g_pos - threshold) / temperature) + softplus(sign * (g_neg - threshold) / temperature)`, each
    times its weight; any shape, the same for both; `temperature > 0`, `sign` 1 or -1.

    >>> logistic_loss(torch.tensor(1.2), torch.tensor(1.0), threshold=1.0, temperature=0.1)
    tensor(0.8201)
    """
    slope = sign / temperature
    positive = softplus(-slope * (goodness_positive - threshold))
    negative = softplus(slope * (goodness_negative - threshold))
    return positive_weight * positive + negative_weight * negative


def logistic_loss_gradient(
    goodness_positive: Tensor,
    goodness_negative: Tensor,
    threshold: float,
    temperature: float,
    sign: int = 1,
    positive_weight: float = 1,
    negative_weight: float = 1,
) -> tuple[Tensor, Tensor]:
    """Derivatives of `logistic_loss` by `goodness_positive` and by `goodness_negative`, in closed form.

    `-sign / temperature * sigmoid(-sign * (g_pos - threshold) / temperature)` and
    `sign / temperature * sigmoid(sign * (g_neg - threshold) / temperature)`, each times its weight.

    >>> logistic_loss_gradient(torch.tensor(1.2), torch.tensor(1.0), threshold=1.0, temperature=0.1)
    (tensor(-1.1920), tensor(5.))
    """
    slope = sign / temperature
    by_positive = -slope * torch.sigmoid(-slope * (goodness_positive - threshold))
    by_negative = slope * torch.sigmoid(slope * (goodness_negative - threshold))
    return positive_weight * by_positive, negative_weight * by_negative


def paired_loss(goodness_positive: Tensor, goodness_negative: Tensor, temperature: float, sign: int = 1) -> Tensor:
    """Paired objective `softplus(sign * (g_neg - g_pos) / temperature)`, elementwise; needs no threshold.

    Each negative is compared with the positive of the same case. Source: SymBa (Lee and Song, 2023, arXiv 2303.08418).
    Any shape, the same for both.

    >>> paired_loss(torch.tensor(1.2), torch.tensor(1.0), temperature=0.1)
    tensor(0.1269)
    """
    return softplus(sign / temperature * (goodness_negative - goodness_positive))


def paired_loss_gradient(
    goodness_positive: Tensor, goodness_negative: Tensor, temperature: float, sign: int = 1
) -> tuple[Tensor, Tensor]:
    """Derivatives of `paired_loss` by `goodness_positive` and by `goodness_negative`, in closed form.

    With `p = sigmoid(sign * (g_neg - g_pos) / temperature)`: `-sign / temperature * p` and `sign / temperature * p`.

    >>> paired_loss_gradient(torch.tensor(1.2), torch.tensor(1.0), temperature=0.1)
    (tensor(-1.1920), tensor(1.1920))
    """
    slope = sign / temperature
    by_negative = slope * torch.sigmoid(slope * (goodness_negative - goodness_positive))
    return -by_negative, by_negative


def peer_mean(mean_H: Tensor, computed_BH: Tensor) -> Tensor:
    """Running mean activity of each unit on positive data, `0.9 * mean + 0.1 * batch mean` (Hinton's published code).

    `mean_H` starts at 0.5; `computed_BH` is the computed (undamped) positive state. Shape `(H,)`.

    >>> peer_mean(torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 1.0], [0.0, 2.0]]))
    tensor([0.4500, 0.6000])
    """
    return 0.9 * mean_H + 0.1 * computed_BH.mean(dim=0)


def peer_ascent(mean_H: Tensor, strength: float) -> Tensor:
    """Peer normalisation `strength * (mean over units of mean_H - mean_H)` (section 3.2 and Hinton's published code).

    Added to the direction of *ascent* of every positive case's pre-activation, not gated by the ReLU: it wakes units
    that are quieter than their peers, dead ones too, and calms those that are louder. Shape `(H,)`.

    >>> peer_ascent(torch.tensor([0.0, 1.0]), strength=0.1)
    tensor([ 0.0500, -0.0500])
    """
    return strength * (mean_H.mean() - mean_H)


def window_score(goodness_TLBC: Tensor, window: tuple[int, int], sign: int = 1) -> Tensor:
    """Class score `sign * sum over layers of the mean over the window of goodness` (section 3.4). Shape `(B, C)`.

    `window` is inclusive and counts iterations from 1: (3, 5) averages iterations 3, 4 and 5.

    >>> window_score(torch.tensor([[[[5.0, 5.0]]], [[[1.0, 2.0]]], [[[3.0, 2.0]]]]), window=(2, 3))
    tensor([[2., 2.]])
    """
    first, last = window
    return sign * goodness_TLBC[first - 1 : last].mean(dim=0).sum(dim=0)


def noise_contrastive_logits(head_logits_BV: Tensor, goodness_BV: Tensor, weight: float, noise: Noise) -> Tensor:
    """Unnormalised log-probabilities `(B, V)` from goodness that was trained against noise, and from that noise.

    `log n + weight * goodness`, where n stands for what the negative symbols were drawn from; q is the softmax of the head:

        noise "head"         n = q
        noise "masked_head"  n = q (1 - q)    the true symbol was masked out
        noise "uniform"      n = 1            any wrong symbol

    Goodness that tells true symbols from drawn ones as well as can be (paired objective, temperature T) differs between
    two symbols by T times the difference of `log p - log n`; p are the true probabilities. With `weight = 1 / T` the
    result is then log p up to a constant, however poor the head is. A case may have any number of negative symbols, each
    drawn for itself ("uniform": without putting any back, too): the logarithm of their number is a constant. It is
    noise-contrastive estimation (Gutmann and Hyvärinen 2010); not in the paper.

    >>> head, goodness = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 3.0])
    >>> torch.softmax(noise_contrastive_logits(head, goodness, weight=0.5, noise="head"), dim=0)
    tensor([0.2689, 0.7311])
    """
    if noise == "uniform":
        return weight * goodness_BV
    log_q_BV = torch.log_softmax(head_logits_BV, dim=-1)
    if noise == "head":
        return log_q_BV + weight * goodness_BV
    # 1 - q is the sum of the others: of the likeliest symbol it may be far smaller than what q is rounded by.
    highest_B1 = head_logits_BV.argmax(dim=-1, keepdim=True)
    others_BV = head_logits_BV.scatter(-1, highest_B1, -torch.inf)
    log_others_B1 = others_BV.logsumexp(-1, keepdim=True) - head_logits_BV.logsumexp(-1, keepdim=True)
    log_rest_BV = torch.log1p(-log_q_BV.exp()).scatter(-1, highest_B1, log_others_B1)
    return log_q_BV + log_rest_BV + weight * goodness_BV


def dropout_mask(noise: Tensor, rate: float) -> Tensor:
    """Inverted dropout: 0 where `noise < rate`, else `1 / (1 - rate)`, so that the expected drive is the same without it.

    `noise` is uniform in [0, 1), of any shape; `rate` lies in [0, 1).

    >>> dropout_mask(torch.tensor([0.2, 0.7]), rate=0.5)
    tensor([0., 2.])
    """
    return (noise >= rate) / (1 - rate)


def masked(row: Tensor, mask: Tensor | None) -> Tensor:
    """Return the row, times its mask if it has one."""
    return row if mask is None else row * mask


def dropout_masks(
    batch_size: int,
    widths: Sequence[int],
    rates: Sequence[float],
    like: Tensor,
    generator: torch.Generator | None = None,
) -> list[Tensor | None]:
    """One `dropout_mask` a sample for each width, `(B, width)`, of the type and on the device of `like`; None at rate 0.

    Drawn on the CPU, so that a seed gives the same masks on any device. Raises `UserError` for a rate outside [0, 1).
    """
    for rate in rates:
        check_setting(0 <= rate < 1, "dropout", rate, "at least 0 and less than 1")
    return [
        dropout_mask(torch.rand(batch_size, width, generator=generator), rate).to(like) if rate > 0 else None
        for width, rate in zip(widths, rates, strict=True)
    ]
