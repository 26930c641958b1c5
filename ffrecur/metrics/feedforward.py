"""What is measured of a feed-forward net on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffrecur.metrics.images import ErrorRate, MeanGoodness, ScoreEvaluation, split_by_truth
from ffrecur.metrics.separation import SeparationEvaluation
from ffrecur.nets.feedforward import FeedForwardNet


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
    of one layer alone, with its bias; and how goodness tells real images from negative ones, see `SeparationEvaluation`.
    """

    def __init__(self, net: FeedForwardNet, make_images: Callable[..., Tensor]) -> None:
        super().__init__(net.num_classes or 0)
        self.layer_errors, self.separation = ErrorRate(len(net.head_layers)), SeparationEvaluation(net, make_images)

    def update(self, net: FeedForwardNet, images_BD: Tensor, labels_B: Tensor) -> None:
        """Run the net on a batch and on its negative images, and add it."""
        logits_BC, positive_LB1, features_BF = net.judged(images_BD)
        assert logits_BC is not None, "the data has labels, and the net a head"
        assert features_BF is not None, "they were asked for"
        self.add_scores(net.scores_of(logits_BC, positive_LB1, 0.0), labels_B, images_BD)
        self.layer_errors.update(net.logits_by_layer(features_BF), labels_B)
        self.separation.add(net, images_BD, positive_LB1.squeeze(-1))

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        separation = self.separation.compute()
        separation.pop("separation_error", None)  # the error of the read-out is the one to go by
        return {
            **super().compute(),
            "error_by_layer": self.layer_errors.compute()["error"].reshape(-1),
            **separation,
        }
