"""What is measured on a data set, as torchmetrics: mean goodness, and errors of classification by goodness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix

from ffrecur.functional import window_score
from ffrecur.metrics.calibration import BINS, CalibrationBins
from ffrecur.metrics.mistakes import WorstMistakes
from ffrecur.nets.arguments import check_window
from ffrecur.nets.recurrent import RecurrentNet


class MeanGoodness(Metric):
    """Mean over the data of the goodness of every iteration and layer, `(T, L)`.

    `update` takes goodness of shape `(T, L, B)`, the batch last.
    """

    full_state_update = False
    sum_TL: Tensor
    count: Tensor

    def __init__(self, iterations: int, layers: int) -> None:
        super().__init__()
        self.add_state("sum_TL", torch.zeros(iterations, layers), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, goodness_TLB: Tensor) -> None:
        """Add a batch."""
        self.sum_TL += goodness_TLB.sum(dim=-1)
        self.count += goodness_TLB.shape[-1]

    def compute(self) -> Tensor:
        """Return the mean, `(T, L)`."""
        return self.sum_TL / self.count


class ErrorRate(Metric):
    """Share of cases whose highest score is not their label's, in float64; equal scores count for the lowest.

    `update` takes scores `(*shape, B, C)`, of as many ways to score as the shape has places, and labels `(B,)`.
    """

    full_state_update = False
    errors: Tensor
    count: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.add_state("errors", torch.zeros(shape, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, scores: Tensor, labels_B: Tensor) -> None:
        """Add a batch."""
        self.errors += (scores.argmax(dim=-1) != labels_B).sum(dim=-1)
        self.count += len(labels_B)

    def compute(self) -> dict[str, Tensor]:
        """Return `error` of that shape, on the CPU so that 27 of 500 is 0.054 to the last digit, and `num_examples`."""
        count = self.count.cpu()  # of all processes, which it is here only
        return {"error": self.errors.cpu().double() / count, "num_examples": count}


class GoodnessError(nn.Module):
    """Share of images for which the label with the highest score is not the true one, by which goodness is scored.

    `update` takes `label_goodness` of shape `(T, L, B, C)` and labels `(B,)`; `compute` returns `num_examples` and
    fractions: `goodness_error` (all layers, mean over the window), `error_by_iteration` (T; all layers) and
    `error_by_layer` (L; one layer, mean over the window). Equal scores count for the lowest label.
    """

    def __init__(self, iterations: int, layers: int, window: tuple[int, int], sign: int) -> None:
        super().__init__()
        check_window(window, iterations)
        self.window, self.sign = window, sign
        self.of_window, self.of_iterations, self.of_layers = ErrorRate(), ErrorRate(iterations), ErrorRate(layers)

    def update(self, goodness_TLBC: Tensor, labels_B: Tensor) -> None:
        """Add a batch."""
        self.of_window.update(window_score(goodness_TLBC, self.window, self.sign), labels_B)
        iterations = [window_score(goodness_1LBC, (1, 1), self.sign) for goodness_1LBC in goodness_TLBC.split(1)]
        self.of_iterations.update(torch.stack(iterations), labels_B)
        layers = [
            window_score(goodness_T1BC, self.window, self.sign) for goodness_T1BC in goodness_TLBC.split(1, dim=1)
        ]
        self.of_layers.update(torch.stack(layers), labels_B)

    def compute(self) -> dict[str, Tensor]:
        """Return the error fractions, in float64 on the CPU."""
        of_window = self.of_window.compute()
        return {
            "num_examples": of_window["num_examples"],
            "goodness_error": of_window["error"],
            # torchmetrics squeezes results of one element, such as those of a net of one layer.
            "error_by_iteration": self.of_iterations.compute()["error"].reshape(-1),
            "error_by_layer": self.of_layers.compute()["error"].reshape(-1),
        }


def split_by_truth(goodness_TLBC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Goodness under the true label and its mean over the wrong labels, two of shape `(T, L, B)`.

    >>> split_by_truth(torch.tensor([[[[1.0, 2.0, 4.0]]]]), torch.tensor([0]))
    (tensor([[[1.]]]), tensor([[[3.]]]))
    """
    index = labels_B.expand(goodness_TLBC.shape[:-1])[..., None]
    true_TLB = goodness_TLBC.gather(-1, index).squeeze(-1)
    return true_TLB, (goodness_TLBC.sum(dim=-1) - true_TLB) / (goodness_TLBC.shape[-1] - 1)


def confused(confusion_CC: Tensor) -> dict[str, Tensor]:
    """How often label i (row) was predicted as label j (column), and the error of each class, NaN for one without images.

    >>> confused(torch.tensor([[3, 1], [0, 0]]))["error_by_class"]
    tensor([0.2500,    nan], dtype=torch.float64)
    """
    confusion_CC = confusion_CC.detach().cpu()
    counts_C = confusion_CC.sum(dim=1)
    wrong_C = (counts_C - confusion_CC.diagonal()).double()
    return {"confusion": confusion_CC, "error_by_class": torch.where(counts_C > 0, wrong_C / counts_C, torch.nan)}


class ScoreEvaluation(nn.Module):
    """What is measured of scores, one a class: `error`, `num_examples`, `calibration_error` (expected calibration error with 15
    bins, of the softmax of the scores divided by the temperature; Naeini et al. 2015), `calibration` (its bins, see
    `CalibrationBins`), `confusion` and `error_by_class` (see `confused`), and `mistakes` (the worst, see `WorstMistakes`).
    """

    def __init__(self, num_classes: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.errors = ErrorRate()
        self.calibration_error = MulticlassCalibrationError(num_classes, n_bins=BINS, norm="l1")
        self.calibration, self.mistakes = CalibrationBins(), WorstMistakes()
        self.confusion = MulticlassConfusionMatrix(num_classes)

    def add_scores(self, scores_BC: Tensor, labels_B: Tensor, images: Tensor) -> None:
        """Add a batch: scores, labels, and the images `(B, D)` or videos `(T, B, D)` that they belong to."""
        self.errors.update(scores_BC, labels_B)
        self.confusion.update(scores_BC.argmax(dim=1), labels_B)
        logits_BC = scores_BC / self.temperature
        probabilities_BC = torch.softmax(logits_BC, dim=1)
        self.calibration_error.update(probabilities_BC, labels_B)
        self.calibration.update(probabilities_BC, labels_B)
        self.mistakes.update(logits_BC, labels_B, images)

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        figures = {**self.errors.compute(), "calibration_error": self.calibration_error.compute().cpu()}
        more = {"calibration": self.calibration.compute(), "mistakes": self.mistakes.worst()}
        return {**figures, **confused(self.confusion.compute()), **more}


class LogitEvaluation(ScoreEvaluation):
    """What is measured of a net that answers with logits."""

    def update(self, net: Callable[[Tensor], Tensor], images_BD: Tensor, labels_B: Tensor) -> None:
        """Run the net on a batch and add it."""
        self.add_scores(net(images_BD).float(), labels_B, images_BD)


class RecurrentEvaluation(ScoreEvaluation):
    """All that is measured when a `RecurrentNet` is evaluated on labelled images.

    `compute` returns the figures of the class score, in which the head has a say where `head_weight` is above 0, as
    `ScoreEvaluation` has them, the fractions of `GoodnessError` (goodness alone), `one_pass_error` (of the head after the
    bottom-up pass), and the mean goodness `(T, L)` under the true label, `goodness_positive`, and under the wrong labels,
    `goodness_negative`.
    """

    def __init__(
        self,
        net: RecurrentNet,
        iterations: int,
        window: tuple[int, int],
        temperature: float,
        head_weight: float = 0.0,
    ) -> None:
        super().__init__(net.num_classes, temperature)
        layers = len(net.hidden_features)
        self.iterations, self.window, self.sign, self.head_weight = iterations, window, net.sign, head_weight
        self.goodness_errors = GoodnessError(iterations, layers, window, net.sign)
        self.one_pass_errors = ErrorRate()
        self.goodness_positive = MeanGoodness(iterations, layers)
        self.goodness_negative = MeanGoodness(iterations, layers)

    def update(self, net: RecurrentNet, images: Tensor, labels_B: Tensor) -> None:
        """Run the net on a batch under every label, `images` of shape `(B, D)` or `(T, B, D)`, and add it."""
        logits_BC, goodness_TLBC = net.judged(images, self.iterations)
        self.goodness_errors.update(goodness_TLBC, labels_B)
        self.add_scores(net.scores_of(logits_BC, goodness_TLBC, self.window, self.head_weight), labels_B, images)
        self.one_pass_errors.update(logits_BC, labels_B)
        positive_TLB, negative_TLB = split_by_truth(goodness_TLBC, labels_B)
        self.goodness_positive.update(positive_TLB)
        self.goodness_negative.update(negative_TLB)

    def compute(self) -> dict[str, Any]:
        """Return every figure, on the CPU."""
        results = {**super().compute(), **self.goodness_errors.compute()}
        results["one_pass_error"] = self.one_pass_errors.compute()["error"]
        for name in ("goodness_positive", "goodness_negative"):
            mean: MeanGoodness = getattr(self, name)
            results[name] = mean.compute().detach().cpu().reshape(mean.sum_TL.shape)  # squeezed as well, see above
        return results
