"""How well goodness tells real images from negative ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from ffrecur.metrics.images import MeanGoodness
from ffrecur.nets.feedforward import FeedForwardNet
from ffrecur.processes import part_of_batch, whole_batch
from ffrecur.seeding import seeded_generator


class Examples(Metric):
    """How many there were, of all processes."""

    full_state_update = False
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, count: int) -> None:
        """Add so many."""
        self.count += count

    def compute(self) -> Tensor:
        """Return the number."""
        return self.count


class SeparationEvaluation(nn.Module):
    """What is measured of a `FeedForwardNet` that has no place for labels, without any label.

    `compute` returns `num_examples`; the mean goodness `(1, L)` of real images, `goodness_positive`, and of negative ones,
    `goodness_negative`; and, where a batch had two images to mix, `auroc_by_layer` (L): the probability that a real image
    is on the right side of a negative one by the goodness of a layer, 1 is perfect, 0.5 chance; and `separation_error`, 1
    minus the mean of these over the layers.

    Args:
        net: the net.
        make_images: returns negative images `(1, B, D)` for our images, those of the whole batch, which of them are ours, a
            number and a generator. They depend on the whole batch and its number only, for any number of processes.
    """

    def __init__(self, net: FeedForwardNet, make_images: Callable[..., Tensor]) -> None:
        super().__init__()
        layers = len(net.hidden_features)
        self.make_images, self.batches, self.examples = make_images, 0, Examples()
        self.separations = nn.ModuleList([BinaryAUROC() for _ in range(layers)])
        self.goodness_positive, self.goodness_negative = MeanGoodness(1, layers), MeanGoodness(1, layers)

    def update(self, net: FeedForwardNet, images_BD: Tensor, labels_B: Tensor | None = None) -> None:
        """Run the net on a batch and on its negative images, and add it."""
        self.add(net, images_BD, net.judged(images_BD, head=False).goodness_LBC[..., 0])

    def add(self, net: FeedForwardNet, images_BD: Tensor, positive_LB: Tensor) -> None:
        """Add a batch whose goodness is known; run the net on its negative images."""
        part, source = part_of_batch(len(images_BD), images_BD.device), seeded_generator(self.batches)
        everyone = whole_batch(images_BD, part)
        self.batches += 1
        self.examples.update(len(images_BD))
        self.goodness_positive.update(positive_LB[None])
        if part.total < 2:  # nothing to mix it with
            return
        (negatives_BD,) = self.make_images(images_BD, everyone, part, count=1, source=source)
        negative_LB = net.judged(negatives_BD, head=False).goodness_LBC[..., 0]
        self.goodness_negative.update(negative_LB[None])
        real_B = torch.ones(len(images_BD), dtype=torch.long, device=images_BD.device)
        real = torch.cat([real_B, torch.zeros_like(real_B)])
        both_LB = net.sign * torch.cat([positive_LB, negative_LB], dim=1)
        for separation, goodness_B in zip(self.separations, both_LB, strict=True):
            separation.update(between_0_and_1(goodness_B), real)  # type: ignore[operator]

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        results: dict[str, Any] = {}
        for name in ("goodness_positive", "goodness_negative"):
            mean = getattr(self, name)
            found = mean.compute() if mean.update_called else torch.full((len(self.separations),), torch.nan)
            results[name] = torch.as_tensor(found).detach().cpu().reshape(1, -1)
        results["num_examples"] = self.examples.compute().cpu()
        if self.goodness_negative.update_called:
            areas_L = torch.stack([each.compute().cpu() for each in self.separations])  # type: ignore[operator]
            results |= {"auroc_by_layer": areas_L, "separation_error": 1 - areas_L.double().mean()}
        return results


def between_0_and_1(goodness: Tensor) -> Tensor:
    """Return numbers in the same order between 0 and 1: outside of it torchmetrics takes them for logits, and they saturate.

    >>> between_0_and_1(torch.tensor([-1.0, 0.0, 3.0, 1e6]))
    tensor([0.2500, 0.5000, 0.8750, 1.0000], dtype=torch.float64)
    """
    goodness = goodness if goodness.device.type == "mps" else goodness.double()  # which MPS has not
    return (1 + goodness / (1 + goodness.abs())) / 2
