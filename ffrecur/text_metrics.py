"""What is measured of a character model on held-out text, as torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC


class BitsPerCharacter(Metric):
    """Mean of `-log2 p(next character)`; of the uniform model over V symbols it is `log2(V)`."""

    full_state_update = False
    nats: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Summed in float64: of a million characters, float32 would lose the third decimal.
        self.add_state("nats", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits_BV: Tensor, next_B: Tensor) -> None:
        """Add a batch."""
        self.nats += F.cross_entropy(logits_BV.double(), next_B, reduction="sum")
        self.count += len(next_B)

    def compute(self) -> Tensor:
        """Return the mean, in bits."""
        return self.nats / self.count / math.log(2)


class Accuracy(Metric):
    """Share of characters that are the likeliest one of their prediction."""

    full_state_update = False
    hits: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits_BV: Tensor, next_B: Tensor) -> None:
        """Add a batch."""
        self.hits += (logits_BV.argmax(dim=1) == next_B).sum()
        self.count += len(next_B)

    def compute(self) -> Tensor:
        """Return the fraction."""
        return self.hits.double() / self.count


class Separation(nn.Module):
    """How well each layer's goodness tells real windows from others: the area under the ROC curve, by layer.

    1 where `sign * goodness` of every real window is above that of every other, 0.5 by chance.
    """

    def __init__(self, layers: int, sign: int) -> None:
        super().__init__()
        self.sign = sign
        self.by_layer: Sequence[BinaryAUROC] = nn.ModuleList(BinaryAUROC() for _ in range(layers))  # type: ignore[assignment]

    def update(self, real_LB: Tensor, other_LB: Tensor) -> None:
        """Add goodness of real and of other windows."""
        truth = torch.cat([torch.ones_like(real_LB[0]), torch.zeros_like(other_LB[0])]).long()
        for metric, real_B, other_B in zip(self.by_layer, real_LB, other_LB, strict=True):
            # The ranks alone count: squeezed into [0, 1], because torchmetrics would do so by a logistic that saturates.
            scores = self.sign * torch.cat([real_B, other_B]).double()
            metric.update(0.5 + torch.atan(scores) / math.pi, truth)

    def compute(self) -> list[float]:
        """Return the areas."""
        return [float(metric.compute()) for metric in self.by_layer]
