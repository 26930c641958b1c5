"""The worst mistakes of a classifier: the images whose wrong label it is surest of, as a torchmetric."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

KEPT = 20


class Mistakes(NamedTuple):
    """N images that were taken for another class, the surest mistake first, on the CPU."""

    images_ND: Tensor
    true_N: Tensor
    predicted_N: Tensor
    confidence_N: Tensor


class WorstMistakes(Metric):
    """The mistakes of the highest confidence, at most `KEPT` of them, whatever the number of images.

    The confidence is the softmax of the scores; its logarithm of odds, `s - logsumexp(other scores)` of the highest score s,
    has the same order and does not round to 1. Of videos the first frame is kept.
    """

    full_state_update = False
    surety: list[Tensor]
    labels: list[Tensor]
    images: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("surety", "labels", "images"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, scores_BC: Tensor, labels_B: Tensor, images: Tensor) -> None:
        """Add a batch: scores as the softmax takes them, labels, and images `(B, D)` or videos `(T, B, D)`."""
        images_BD = images if images.ndim == 2 else images[0]
        highest_B, predicted_B = scores_BC.max(dim=1)
        others_BC = scores_BC.scatter(1, predicted_B[:, None], -torch.inf)
        surety_B = (highest_B - others_BC.logsumexp(dim=1)).float()
        # As many rows in every process: a place without a mistake has the surety minus infinity.
        surety_B = torch.where(predicted_B == labels_B, -torch.inf, surety_B).nan_to_num(
            nan=-torch.inf, neginf=-torch.inf
        )
        worst = surety_B.topk(min(KEPT, len(surety_B))).indices
        self.surety.append(surety_B[worst])
        self.labels.append(torch.stack([labels_B, predicted_B], dim=1)[worst])
        self.images.append(images_BD[worst])
        if len(self.surety) > 1:
            best = torch.cat(self.surety).topk(min(KEPT, sum(map(len, self.surety)))).indices
            for name in ("surety", "labels", "images"):
                setattr(self, name, [torch.cat(getattr(self, name))[best]])

    def compute(self) -> Mistakes:
        """Return the mistakes of all processes; see `worst`."""
        surety, labels, images = (
            torch.cat(kept).cpu()
            if isinstance(kept, list)
            else kept.cpu()  # of several processes torchmetrics has joined
            for kept in (self.surety, self.labels, self.images)
        )
        order = surety.argsort(descending=True, stable=True)[: min(KEPT, int(surety.isfinite().sum()))]
        true_N, predicted_N = labels[order].unbind(dim=1)
        return Mistakes(images[order].float(), true_N, predicted_N, surety[order].double().sigmoid())

    def worst(self) -> Mistakes:
        """Return the mistakes of all processes in their shapes, where `compute` squeezes those of a single one."""
        images, *of_each = self.compute()
        true_N, predicted_N, confidence_N = (values.reshape(-1) for values in of_each)
        count = len(true_N)
        return Mistakes(images.reshape(count, -1) if count else images, true_N, predicted_N, confidence_N)
