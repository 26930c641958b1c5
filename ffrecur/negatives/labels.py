"""Negative labels for supervised Forward-Forward: wrong classes, never the true one.

Every function takes the head's logits `(B, C)` and the true labels `(B,)` and returns one wrong label a case, `(B,)`.
`noise_BC`, uniform in [0, 1), makes the draw a pure function of its arguments; without it PyTorch's global generator is
used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ffrecur.errors import check_setting


def hard_labels(logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor | None = None) -> Tensor:
    """Wrong labels in proportion to the probability that the head gives them: the mistakes it would make (section 3.4).

    The true class's logit is set to minus infinity *before* the softmax, so that the rest is drawn in the right
    proportions and the true label never, however saturated the logits are. The draw itself is the maximum of logit plus
    Gumbel noise, which needs no division that could underflow.

    Raises `UserError` with fewer than two classes.

    >>> hard_labels(torch.tensor([[0.0, 50.0, 0.0]]), torch.tensor([0]))
    tensor([1])
    """
    check_setting(logits_BC.shape[-1] >= 2, "num_classes", logits_BC.shape[-1], "at least 2, or no label is wrong")
    if noise_BC is None:
        noise_BC = torch.rand(logits_BC.shape, device=logits_BC.device)
    smallest = torch.finfo(noise_BC.dtype).tiny
    exponential_BC = -torch.log(noise_BC.clamp(min=smallest))
    gumbel_BC = -torch.log(exponential_BC.clamp(min=smallest))
    # Infinite logits would tie with the masked one: bring them to the finite range first.
    finite_BC = torch.nan_to_num(logits_BC.detach().to(noise_BC.dtype)).clamp(-1e30, 1e30)
    return (finite_BC + gumbel_BC).scatter(1, labels_B[:, None], -torch.inf).argmax(dim=1)


def uniform_labels(logits_BC: Tensor, labels_B: Tensor, noise_BC: Tensor | None = None) -> Tensor:
    """Wrong labels, each with probability `1 / (C - 1)`; of the logits only the shape counts.

    Raises `UserError` with fewer than two classes.

    >>> uniform_labels(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    tensor([1, 0, 1])
    """
    return hard_labels(torch.zeros_like(logits_BC), labels_B, noise_BC)
