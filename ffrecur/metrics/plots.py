"""Pictures of a trained net: functions from arrays to a matplotlib `Figure`, which the caller saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ffrecur.metrics.grid import PictureGrid, grid_for
from ffrecur.metrics.mistakes import Mistakes

TRUE, WRONG, NEUTRAL = "#0072b2", "#d55e00", "#999999"  # distinct for colour-blind readers too

LONGEST_NAME = 12  # characters


def goodness_curves(positive_TL: Tensor, negative_TL: Tensor) -> Figure:
    """Mean goodness over the iterations under the true label and under wrong ones, a panel a layer; both `(T, L)`."""
    iterations, layers = positive_TL.shape
    figure = Figure(figsize=(3.6 * layers, 3.2), layout="constrained")
    axes = figure.subplots(1, layers, squeeze=False, sharey=True)[0]
    ticks = range(1, iterations + 1)
    for layer, axis in enumerate(axes):
        axis.plot(ticks, np.asarray(positive_TL[:, layer]), "o-", color=TRUE, label="true label")
        axis.plot(ticks, np.asarray(negative_TL[:, layer]), "s--", color=WRONG, label="wrong labels")
        axis.set(title=f"hidden layer {layer + 1}", xlabel="iteration", xticks=ticks)
    axes[0].set_ylabel("goodness, mean of state²")
    axes[0].legend(frameon=False)
    return figure


def error_curve(error_by_iteration: Tensor, window: tuple[int, int], window_error: float) -> Figure:
    """Error of classifying by each single iteration's goodness, `(T,)`, as a fraction; the scoring window is shaded."""
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    axis = figure.subplots()
    ticks = range(1, len(error_by_iteration) + 1)
    axis.axvspan(window[0] - 0.5, window[1] + 0.5, color=NEUTRAL, alpha=0.25, lw=0)
    axis.hlines(100 * window_error, window[0] - 0.5, window[1] + 0.5, color=TRUE, ls="--", label="mean over the window")
    axis.plot(ticks, 100 * np.asarray(error_by_iteration), "o-", color=TRUE, label="one iteration alone")
    axis.set(xlabel="iteration", ylabel="error, %", xticks=ticks)
    axis.set_ylim(0, 110 * max(float(error_by_iteration.max()), 0.01))
    axis.legend(frameon=False)
    return figure


def label_competition(
    images_BD: Tensor,
    image_shape: tuple[int, ...],
    goodness_TLBC: Tensor,
    labels_B: Tensor,
    window: tuple[int, int],
    sign: int,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Each image, beside it the goodness of each label over the iterations (sign times the sum over layers).

    The true label is blue, the best wrong one over the window orange, the others grey.
    """
    support_TBC = sign * goodness_TLBC.sum(dim=1)
    columns = 2 if len(images_BD) > 3 else 1
    rows = int(np.ceil(len(images_BD) / columns))
    figure = Figure(figsize=(5.6 * columns, 1.8 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 3] * columns).reshape(-1, 2)
    ticks = range(1, len(support_TBC) + 1)
    for row, label in enumerate(labels_B.tolist()):
        axes[row, 0].imshow(**image(images_BD[row], image_shape))
        axes[row, 0].axis("off")
        mean_C = support_TBC[window[0] - 1 : window[1], row].mean(dim=0)
        rival = next(c for c in mean_C.argsort(descending=True).tolist() if c != label)
        axis = axes[row, 1]
        axis.axvspan(window[0] - 0.5, window[1] + 0.5, color=NEUTRAL, alpha=0.15, lw=0)
        for c in range(support_TBC.shape[-1]):
            color = TRUE if c == label else WRONG if c == rival else NEUTRAL
            axis.plot(ticks, np.asarray(support_TBC[:, row, c]), color=color, lw=2 if c in (label, rival) else 0.8)
        for c, color in ((label, TRUE), (rival, WRONG)):
            place = (ticks[-1], float(support_TBC[-1, row, c]))
            name = f" {name_of(c, class_names)}"
            axis.annotate(name, place, color=color, fontweight="bold", va="center", parse_math=False)
        axis.set(xticks=ticks, ylabel="score")
    for unused in axes[len(images_BD) :].ravel():
        unused.remove()
    figure.suptitle("score of each label: the true one blue, the best wrong one orange", fontsize="medium")
    figure.supxlabel("iteration", fontsize="medium")
    return figure


def receptive_fields(weight_HD: Tensor, image_shape: tuple[int, ...], count: int = 64) -> Figure:
    """Incoming weights of first-layer units as images: the `count` units with the largest weights.

    Red positive; of colour images the colours that a unit looks for, and grey where it looks for none.
    """
    largest = weight_HD.norm(dim=1).argsort(descending=True)[:count]
    what = "in colour, grey where for nothing" if in_colour(image_shape) else "red for, blue against"
    grid = grid_for(
        len(largest), math.ceil(math.sqrt(len(largest))), 0.8, title=f"what first-layer units look for: {what}"
    )
    for number, row_D in enumerate(weight_HD[largest]):
        grid.show(*grid.place(number), **weights(row_D, image_shape))
    return grid.figure


def name_of(label: int, class_names: Sequence[str] | None) -> str:
    """The name of a class, cut to what fits into a picture; its number where it has none.

    >>> name_of(1, ("cat", "golden retriever")), name_of(1, None)
    ('golden retri…', '1')
    """
    name = str(label) if class_names is None else class_names[label]
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…"


def imagination(images_CD: Tensor, image_shape: tuple[int, ...], class_names: Sequence[str] | None = None) -> Figure:
    """What each label's top-down drive looks like at the image, `(C, D)`: red where it expects ink, blue where none.

    Of colour images in colour.
    """
    grid = grid_for(len(images_CD), 5, 1.5, above=0.2)
    for label, row_D in enumerate(images_CD):
        grid.show(*grid.place(label), title=name_of(label, class_names), **weights(row_D, image_shape))
    return grid.figure


def mixtures(rows: Mapping[str, Tensor], image_shape: tuple[int, ...]) -> Figure:
    """Images that belong together one under another, such as two images, their mask and their hybrid: `(N, D)` by name."""
    grid = PictureGrid(len(rows), len(next(iter(rows.values()))), (0.9, 0.9), left=0.9)
    for line, (name, images_ND) in enumerate(rows.items()):
        grid.name_line(line, name)
        for column, image_D in enumerate(images_ND):
            grid.show(line, column, **image(image_D, image_shape))
    return grid.figure


def expectations(
    images_ND: Tensor,
    expected: Sequence[tuple[Tensor, Tensor]],
    image_shape: tuple[int, ...],
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Images, and below each what labels expect to see at it: pairs of labels `(N,)` and what they expect `(N, D)`.

    Red where ink is expected, blue where none; of colour images in colour.
    """
    what = "in colour" if in_colour(image_shape) else "red ink, blue none"
    title = f"images, and what the best and the second label expect: {what}"
    grid = PictureGrid(1 + len(expected), len(images_ND), (1.35, 1.35), above=0.2, title=title)
    for column, image_D in enumerate(images_ND):
        grid.show(0, column, **image(image_D, image_shape))
        for line, (labels_N, expected_ND) in enumerate(expected, start=1):
            label = name_of(int(labels_N[column]), class_names)
            grid.show(line, column, title=label, **weights(expected_ND[column], image_shape))
    return grid.figure


def worst_mistakes(
    mistakes: Mistakes, image_shape: tuple[int, ...], class_names: Sequence[str] | None = None
) -> Figure:
    """The images of the worst mistakes, each under its true class, the class that it was taken for, and the confidence."""
    grid = grid_for(len(mistakes.images_ND), 5, 1.3, above=0.6)
    if len(mistakes.images_ND) == 0:
        grid.axis.text(*grid.middle(0, 0), "no mistake", ha="center")
    for number, (image_D, true, predicted, confidence) in enumerate(zip(*mistakes, strict=False)):
        sure = "over 99.9 %" if confidence >= 0.9995 else f"{100 * confidence:.1f} %"
        taken = f"{name_of(int(true), class_names)}\nsays {name_of(int(predicted), class_names)}\n{sure}"
        grid.show(*grid.place(number), title=taken, **image(image_D, image_shape))
    return grid.figure


def image(row_D: Tensor, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return an image in [0, 1] as `PictureGrid.show` and `imshow` take it."""
    return {"X": np.asarray(row_D.reshape(image_shape)), "cmap": "gray", "vmin": 0, "vmax": 1}


def weights(row_D: Tensor, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return weights of an image's size in the same way, blue below 0 and red above; of colour images in colour."""
    shaped = row_D.reshape(image_shape)
    limit = max(float(shaped.abs().quantile(0.99)), 1e-12)  # a few pixels that are hardly ever lit have huge weights
    if in_colour(image_shape):
        return {"X": np.asarray((0.5 + shaped / (2 * limit)).clamp(0, 1))}
    grey = shaped.mean(dim=-1) if shaped.ndim == 3 else shaped
    return {"X": np.asarray(grey), "cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def in_colour(image_shape: Sequence[int]) -> bool:
    """Tell whether images, or fields, have the three colours."""
    return len(image_shape) == 3 and image_shape[2] == 3


def goodness_histograms(goodness: dict[str, Tensor]) -> Figure:
    """Goodness of windows of text by kind, `(L, M)` each, as a histogram a layer: of real ones, and of negatives."""
    layers = len(next(iter(goodness.values())))
    figure = Figure(figsize=(3.6 * layers, 3.2), layout="constrained")
    axes = figure.subplots(1, layers, squeeze=False)[0]
    for layer, axis in enumerate(axes):
        values = [np.asarray(of_kind[layer]) for of_kind in goodness.values()]
        bins = np.histogram_bin_edges(np.concatenate(values), bins=40)
        for (kind, color, style), value in zip(
            zip(goodness, (TRUE, WRONG, NEUTRAL), ("-", "--", ":"), strict=True), values, strict=True
        ):
            axis.hist(value, bins=bins, density=True, histtype="step", color=color, ls=style, lw=1.5, label=kind)
        axis.set(title=f"hidden layer {layer + 1}", xlabel="goodness, mean of state²", yticks=[])
    axes[0].set_ylabel("share of windows")
    axes[0].legend(frameon=False)
    return figure
