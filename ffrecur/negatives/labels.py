"""Negative labels for supervised Forward-Forward: wrong classes, never the true one.

Every function takes the head's logits `(B, C)` and the true labels `(B,)` and returns one wrong label a case, `(B,)`.
`noise_BC`, uniform in [0, 1), makes the draw a pure function of its arguments; without it PyTorch's global generator is
used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ffrecur.core.objectives import Objective, SampledSoftmax, drawn_others
from ffrecur.errors import check_setting


class LabelNegatives(ABC):
    """Base of the negative labels that the command line takes by class path; in Python any function will do."""

    @abstractmethod
    def __call__(self, logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor) -> Tensor:
        """Return wrong labels, `(B,)` or K for each case `(B, K)`; the noise is uniform in [0, 1)."""


def hard_labels(logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor | None = None, count: int = 1) -> Tensor:
    """Wrong labels in proportion to the probability that the head gives them: the mistakes it would make (section 3.4).

    The true class's logit is set to minus infinity *before* the softmax, so that the rest is drawn in the right
    proportions and the true label never, however saturated the logits are. The draw itself is the maximum of logit plus
    Gumbel noise, which needs no division that could underflow.

    With a `count` above 1 so many different ones are drawn, `(B, count)`: without putting any back. Raises `UserError` with
    fewer wrong classes than that.

    >>> hard_labels(torch.tensor([[0.0, 50.0, 0.0]]), torch.tensor([0]))
    tensor([1])
    """
    check_setting(logits_BC.shape[-1] >= 2, "num_classes", logits_BC.shape[-1], "at least 2, or no label is wrong")
    wrong = logits_BC.shape[-1] - 1
    check_setting(1 <= count <= wrong, "negatives_per_case", count, f"from 1 to {wrong}, the number of wrong classes")
    if noise_BC is None:
        noise_BC = torch.rand(logits_BC.shape, device=logits_BC.device)
    smallest = torch.finfo(noise_BC.dtype).tiny
    exponential_BC = -torch.log(noise_BC.clamp(min=smallest))
    gumbel_BC = -torch.log(exponential_BC.clamp(min=smallest))
    # Infinite logits would tie with the masked one: bring them to the finite range first.
    finite_BC = torch.nan_to_num(logits_BC.detach().to(noise_BC.dtype)).clamp(-1e30, 1e30)
    scores_BC = (finite_BC + gumbel_BC).scatter(1, labels_B[:, None], -torch.inf)
    return scores_BC.argmax(dim=1) if count == 1 else scores_BC.topk(count, dim=1).indices


def likely_labels(logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor | None = None, count: int = 8) -> Tensor:
    """Wrong labels for `SampledSoftmax`, `(B, count)`: the likeliest ones by the head, then some drawn from all the others.

    The last quarter, at least one, are drawn: each of the other wrong labels with the same probability, without putting any
    back. All are different. Raises `UserError` for fewer than two, and for more than there are wrong classes.

    >>> likely_labels(torch.tensor([[0.0, 3.0, 2.0, 1.0]]), torch.tensor([1]), count=3)
    tensor([[2, 3, 0]])
    """
    wrong = logits_BC.shape[-1] - 1
    check_setting(2 <= count <= wrong, "negatives_per_case", count, f"from 2 to {wrong}, the number of wrong classes")
    if noise_BC is None:
        noise_BC = torch.rand(logits_BC.shape, device=logits_BC.device)
    drawn = drawn_others(count)
    finite_BC = torch.nan_to_num(logits_BC.detach().to(noise_BC.dtype)).clamp(-1e30, 1e30)
    likeliest = finite_BC.scatter(1, labels_B[:, None], -torch.inf).topk(count - drawn, dim=1).indices
    others_BC = noise_BC.scatter(1, labels_B[:, None], -1.0).scatter(1, likeliest, -1.0)
    return torch.cat([likeliest, others_BC.topk(drawn, dim=1).indices], dim=1)


def labels_for(objective: Objective | None, otherwise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return what draws wrong labels for an objective: `likely_labels` for a `SampledSoftmax`, which counts on them."""
    return likely_labels if isinstance(objective, SampledSoftmax) else otherwise


def uniform_labels(logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor | None = None, count: int = 1) -> Tensor:
    """Wrong labels, each with probability `1 / (C - 1)`; of the logits only the shape counts, see `hard_labels` for `count`.

    Raises `UserError` with fewer than two classes.

    >>> uniform_labels(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    tensor([1, 0, 1])
    """
    return hard_labels(torch.zeros_like(logits_BC), labels_B, noise_BC, count)
