"""How far the confidence of a classifier can be trusted: cases counted by their confidence, as a torchmetric."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

BINS = 15
UNITS = 2**32


class CalibrationBins(Metric):
    """Count, mean confidence and accuracy of the cases whose confidence lies in each of 15 equal bins.

    The confidence is the highest of the probabilities. A case belongs to the bin that begins at or below its confidence; one
    of confidence 1 has a bin of its own, the last: these are the bins of torchmetrics' expected calibration error, which is
    the mean over all cases of `|accuracy - confidence|` of their bin.
    """

    full_state_update = False
    count: Tensor
    right: Tensor
    confidence: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Whole numbers, the confidence in units of 2**-32: exact in any order, and on devices without float64 too.
        for name in ("count", "right", "confidence"):
            self.add_state(name, torch.zeros(BINS + 1, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, probabilities_BC: Tensor, labels_B: Tensor) -> None:
        """Add a batch."""
        confidence_B, predicted_B = probabilities_BC.max(dim=1)
        edges = torch.linspace(0, 1, BINS + 1, dtype=confidence_B.dtype, device=confidence_B.device)
        bins_B = torch.bucketize(confidence_B, edges, right=True) - 1
        units_B = (confidence_B.cpu().double() * UNITS).round().long().to(labels_B.device)
        of_each = {"count": torch.ones_like(bins_B), "right": (predicted_B == labels_B).long(), "confidence": units_B}
        for name, values_B in of_each.items():
            getattr(self, name).index_add_(0, bins_B, values_B)

    def compute(self) -> dict[str, Tensor]:
        """Return `count`, `confidence` and `accuracy` of each bin, on the CPU in float64; NaN for a bin without cases."""
        count = self.count.cpu()
        return {
            "count": count,
            "confidence": self.confidence.cpu().double() / UNITS / count,
            "accuracy": self.right.cpu().double() / count,
        }
