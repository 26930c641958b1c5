"""How what was measured on images is shown: figures, tables and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ffrecur.data.classes import plain_names
from ffrecur.metrics.calibration import BINS
from ffrecur.metrics.evaluation import Table
from ffrecur.metrics.mistakes import Mistakes

# The figures in their order, errors as fractions.
FIGURES = (
    "error",
    "goodness_error",
    "error_by_iteration",
    "error_by_layer",
    "auroc_by_layer",
    "separation_error",
    "one_pass_error",
    "calibration_error",
    "num_examples",
    "error_by_class",
)


def names_of(net: Any) -> tuple[str, ...]:
    """Return the names of a net's classes, their numbers where it has none."""
    return plain_names(net.num_classes) if net.class_names is None else net.class_names


def errors_as_text(figures: Mapping[str, Any], stage: str, video: bool = False) -> str:
    """Return the errors among the figures as text, in percent, a line each; `window` is of the goodness, if there is any.

    Of a net that learns from negative images, how well each layer's goodness tells real ones from them as well. Of a `video`
    iterations are frames.

    >>> print(errors_as_text({"num_examples": 8, "seed": 0, "error_by_iteration": [0.25]}, "test", video=True).strip())
    test: 8 videos, seed 0
      frame 1 alone                            25.00%
    """
    images, iteration = ("videos", "frame") if video else ("images", "iteration")
    over = " over {}s {} to {}".format(iteration, *figures["window"]) if "window" in figures else ""
    titles = {
        "error": "error",
        "goodness_error": f"goodness{over} alone",
        "error_by_iteration": f"  {iteration} {{}} alone",
        "error_by_layer": "  layer {} alone",
        "one_pass_error": "one-pass softmax error",
        "calibration_error": "expected calibration error",
        "separation_error": "pairs of a real and a negative image told wrongly",
    }
    lines = [f"\n{stage}: {figures['num_examples']} {images}, seed {figures['seed']}"]
    for name, title in titles.items():
        errors = figures.get(name, [])
        numbers = figures.get("head_layers") if name == "error_by_layer" else None  # a read-out has those layers only
        errors = errors if isinstance(errors, list) else [errors]
        for number, error in zip(numbers or range(1, len(errors) + 1), errors, strict=True):
            lines.append(f"{title.format(number):<40}{error:>9.2%}")
    for number, area in enumerate(figures.get("auroc_by_layer", []), start=1):
        lines.append(f"{f'real against negative by layer {number}, AUROC':<40}{area:>9.3f}")
    return "\n".join(lines)


def confusion_table(confusion_CC: Tensor, names: Sequence[str]) -> Table:
    """Return how many images of each class, a row, were taken for which, a column."""
    return Table(["true", *names], [[name, *row] for name, row in zip(names, confusion_CC.tolist(), strict=True)])


def goodness_table(positive_TL: Tensor, negative_TL: Tensor) -> Table:
    """Return mean goodness under the true label (positive) and the wrong labels (negative) by iteration and layer."""
    both_TL2 = list(zip(positive_TL.tolist(), negative_TL.tolist(), strict=True))
    rows = [
        [iteration, layer, *pair]
        for iteration, of_layers in enumerate(both_TL2, start=1)
        for layer, pair in enumerate(zip(*of_layers, strict=True), start=1)
    ]
    return Table(["iteration", "layer", "goodness_positive", "goodness_negative"], rows)


def calibration_table(calibration: Mapping[str, Tensor]) -> Table:
    """Return the bins of the calibration error: their bounds, images, mean confidence and accuracy, empty where there is none.

    The last bin, of a confidence of exactly 1, is left out where it has no image.
    """
    counts, edges = calibration["count"].tolist(), [number / BINS for number in range(BINS + 1)]
    rows = [
        [low, high, count, *([confidence, accuracy] if count else ["", ""])]
        for low, high, count, confidence, accuracy in zip(
            edges,
            [*edges[1:], 1.0],
            counts,
            calibration["confidence"].tolist(),
            calibration["accuracy"].tolist(),
            strict=True,
        )
    ]
    return Table(["from", "to", "images", "confidence", "accuracy"], rows if counts[-1] else rows[:-1])


def mistakes_table(mistakes: Mistakes, names: Sequence[str]) -> Table:
    """Return the worst mistakes: true class, predicted class, and confidence, the surest first."""
    _, true_N, predicted_N, confidence_N = mistakes
    labels = zip(true_N.tolist(), predicted_N.tolist(), confidence_N.tolist(), strict=True)
    rows = [[names[true], names[predicted], confidence] for true, predicted, confidence in labels]
    return Table(["true", "predicted", "confidence"], rows)


def first_of_each_class(labels_N: Tensor, limit: int) -> list[int]:
    """Return the index of the first example of each of the `limit` lowest classes.

    >>> import torch
    >>> first_of_each_class(torch.tensor([2, 0, 0, 1]), limit=2)
    [1, 3]
    """
    return [int((labels_N == label).nonzero()[0]) for label in labels_N.unique()[:limit]]


def goodness_predictions(goodness_NL: Tensor, files: Sequence[str] | None = None) -> Table:
    """Return one row an image, as `predictions_table` does: index, file, and the goodness of each layer."""
    layers = [f"goodness_layer_{layer}" for layer in range(1, goodness_NL.shape[1] + 1)]
    rows = ([index, *([files[index]] if files else []), *of_one.tolist()] for index, of_one in enumerate(goodness_NL))
    return Table(["index", *(["file"] if files else []), *layers], rows)


def predictions_table(scores_NC: Tensor, names: Sequence[str], files: Sequence[str] | None = None) -> Table:
    """Return one row an image, in the order of the data: index, file (where the source knows it), predicted label and the name
    of that class, score of each label, and margin, the best score minus the second best.

    `files` may be longer than there are scores: where only some batches were predicted.
    """
    best_N2 = scores_NC.topk(2, dim=1).values
    labels, margins = scores_NC.argmax(dim=1).tolist(), (best_N2[:, 0] - best_N2[:, 1]).tolist()
    scores = [f"score_{label}" for label in range(scores_NC.shape[1])]
    header = ["index", *(["file"] if files else []), "predicted_label", "predicted_class", *scores, "margin"]
    # One row at a time: there may be millions.
    rows = (
        [index, *([files[index]] if files else []), label, names[label], *scores_NC[index].tolist(), margin]
        for index, (label, margin) in enumerate(zip(labels, margins, strict=True))
    )
    return Table(header, rows)
