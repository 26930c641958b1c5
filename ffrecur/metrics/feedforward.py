"""What is measured of a feed-forward net on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from ffrecur.metrics.images import ErrorRate, MeanGoodness, ScoreEvaluation, split_by_truth
from ffrecur.nets.feedforward import FeedForwardNet
from ffrecur.processes import part_of_batch, whole_batch
from ffrecur.seeding import seeded_generator


class FeedForwardEvaluation(ScoreEvaluation):
    """All that is measured when a `FeedForwardNet` with a place for labels is evaluated.

    `compute` returns the figures of the class score as `ScoreEvaluation` has them; `goodness_error`, of goodness alone;
    `error_by_layer` (L), of the goodness of one layer; `one_pass_error`, of the head on the neutral pass; and the mean
    goodness `(1, L)` under the true label, `goodness_positive`, and under the wrong labels, `goodness_negative`.
    """

    def __init__(self, net: FeedForwardNet, temperature: float, head_weight: float = 0.0) -> None:
        super().__init__(net.num_classes or 0, temperature)
        layers, self.head_weight = len(net.hidden_features), head_weight
        self.goodness_errors, self.one_pass_errors, self.layer_errors = ErrorRate(), ErrorRate(), ErrorRate(layers)
        self.goodness_positive, self.goodness_negative = MeanGoodness(1, layers), MeanGoodness(1, layers)

    def update(self, net: FeedForwardNet, images_BD: Tensor, labels_B: Tensor) -> None:
        """Run the net on a batch, neutral and under every label, and add it."""
        logits_BC, goodness_LBC, _ = net.judged(images_BD)
        assert logits_BC is not None, "a net with labels has a head"
        self.add_scores(net.scores_of(logits_BC, goodness_LBC, self.head_weight), labels_B, images_BD)
        self.one_pass_errors.update(logits_BC, labels_B)
        self.goodness_errors.update(net.scores_of(logits_BC, goodness_LBC, 0.0), labels_B)
        self.layer_errors.update(net.sign * goodness_LBC, labels_B)
        for mean, goodness_1LB in zip(
            (self.goodness_positive, self.goodness_negative), split_by_truth(goodness_LBC[None], labels_B), strict=True
        ):
            mean.update(goodness_1LB)

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        results = super().compute()
        results["goodness_error"] = self.goodness_errors.compute()["error"]
        # torchmetrics squeezes results of one element, such as those of a net of one layer.
        results["error_by_layer"] = self.layer_errors.compute()["error"].reshape(-1)
        results["one_pass_error"] = self.one_pass_errors.compute()["error"]
        for name in ("goodness_positive", "goodness_negative"):
            results[name] = torch.as_tensor(getattr(self, name).compute()).detach().cpu().reshape(1, -1)
        return results


class UnsupervisedEvaluation(ScoreEvaluation):
    """All that is measured when a `FeedForwardNet` that has no place for labels is evaluated on labelled images.

    `compute` returns the figures of the head, the read-out, as `ScoreEvaluation` has them; `error_by_layer` of what it reads
    of one layer alone, with its bias; `auroc_by_layer` (L), how well a layer's goodness tells real images from negative ones
    (1 is perfect, 0.5 chance), left out where no batch had two images to mix; and the mean goodness `(1, L)` of both,
    `goodness_positive` and `goodness_negative`.

    Args:
        net: the net.
        make_images: returns negative images `(1, B, D)` for our images, those of the whole batch, which of them are ours, a
            number and a generator. They depend on the whole batch and its number only, for any number of processes.
    """

    def __init__(self, net: FeedForwardNet, make_images: Callable[..., Tensor]) -> None:
        super().__init__(net.num_classes or 0)
        layers = len(net.hidden_features)
        self.make_images, self.batches = make_images, 0
        self.layer_errors = ErrorRate(len(net.head_layers))
        self.separations = nn.ModuleList([BinaryAUROC() for _ in range(layers)])
        self.goodness_positive, self.goodness_negative = MeanGoodness(1, layers), MeanGoodness(1, layers)

    def update(self, net: FeedForwardNet, images_BD: Tensor, labels_B: Tensor) -> None:
        """Run the net on a batch and on its negative images, and add it."""
        part, source = part_of_batch(len(images_BD), images_BD.device), seeded_generator(self.batches)
        everyone = whole_batch(images_BD, part)
        self.batches += 1
        logits_BC, positive_LB1, features_BF = net.judged(images_BD)
        assert logits_BC is not None, "the data has labels, and the net a head"
        assert features_BF is not None, "they were asked for"
        self.add_scores(net.scores_of(logits_BC, positive_LB1, 0.0), labels_B, images_BD)
        self.layer_errors.update(net.logits_by_layer(features_BF), labels_B)
        self.goodness_positive.update(positive_LB1.squeeze(-1)[None])
        if part.total < 2:  # nothing to mix it with
            return
        (negatives_BD,) = self.make_images(images_BD, everyone, part, count=1, source=source)
        negative_LB1 = net.judged(negatives_BD).goodness_LBC
        self.goodness_negative.update(negative_LB1.squeeze(-1)[None])
        real = torch.cat([torch.ones_like(labels_B), torch.zeros_like(labels_B)])
        for layer, separation in enumerate(self.separations):
            goodness = net.sign * torch.cat([positive_LB1[layer, :, 0], negative_LB1[layer, :, 0]])
            separation.update(between_0_and_1(goodness), real)  # type: ignore[operator]

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        results = super().compute()
        results["error_by_layer"] = self.layer_errors.compute()["error"].reshape(-1)
        for name in ("goodness_positive", "goodness_negative"):
            mean = getattr(self, name)
            found = mean.compute() if mean.update_called else torch.full((len(self.separations),), torch.nan)
            results[name] = torch.as_tensor(found).detach().cpu().reshape(1, -1)
        if self.goodness_negative.update_called:
            results["auroc_by_layer"] = torch.stack([each.compute().cpu() for each in self.separations])  # type: ignore[operator]
        return results


def between_0_and_1(goodness: Tensor) -> Tensor:
    """Return numbers in the same order between 0 and 1: outside of it torchmetrics takes them for logits, and they saturate.

    >>> between_0_and_1(torch.tensor([-1.0, 0.0, 3.0, 1e6]))
    tensor([0.2500, 0.5000, 0.8750, 1.0000], dtype=torch.float64)
    """
    goodness = goodness if goodness.device.type == "mps" else goodness.double()  # which MPS has not
    return (1 + goodness / (1 + goodness.abs())) / 2
