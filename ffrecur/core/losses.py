"""The loss of goodness, by an objective, and its derivatives.

Shapes: T iterations, L layers, N kinds of data, the positive first, B cases, K blocks, M = N - 1 negatives a case.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ffrecur.core.objectives import Objective
from ffrecur.errors import UserError


def loss_of(objective: Objective, goodness_TLNBK: Tensor, sign: int) -> Tensor:
    """Return the loss `1/B * sum over iterations, layers and cases of the mean over blocks`, of N kinds, the positive first."""
    cases, blocks = goodness_TLNBK.shape[3:]
    positive, negatives = kinds_of(objective, goodness_TLNBK, sign)
    loss = objective.loss(positive, negatives)
    if loss.shape != positive.shape:
        shapes = f"{tuple(loss.shape)} of goodness {tuple(positive.shape)}"
        raise UserError(
            f"{type(objective).__name__}.loss makes values of the shape {shapes}, but must make one for each"
        )
    return (loss if blocks == 1 else loss.mean(dim=-1)).sum() / cases


def slopes_of(objective: Objective, goodness_TLNBK: Tensor, sign: int) -> Tensor:
    """Return the derivatives of `B * loss` by goodness, of the same shape."""
    by_positive, by_negatives = objective.slopes(*kinds_of(objective, goodness_TLNBK, sign))
    return torch.cat([by_positive[None], by_negatives]).movedim(0, 2) * (sign / goodness_TLNBK.shape[-1])


def kinds_of(objective: Objective, goodness_TLNBK: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """Return the signed goodness of positive data `(T, L, B, K)` and of negative data `(M, T, L, B, K)`."""
    shifted = goodness_TLNBK - objective.threshold if objective.threshold else goodness_TLNBK
    of_kinds = (shifted if sign > 0 else -shifted).movedim(2, 0)
    return of_kinds[0], of_kinds[1:]
