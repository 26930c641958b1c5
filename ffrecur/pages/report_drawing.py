"""Pictures of a report, drawn from the tables of a run, each as an address that holds the picture itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffrecur.metrics.plots import NEUTRAL, TRUE, WRONG

# Told apart by colour-blind readers.
COLORS = (TRUE, WRONG, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", NEUTRAL)
STYLES = ("-", "--", ":", "-.")
MOST_POINTS = 400  # of a curve; a longer one is thinned out
SIZE = (4.0, 2.7)
Curve = tuple[Sequence[float], Sequence[float]]


def as_svg(figure: Figure) -> str:
    """Return the address of a figure as SVG, with its letters as text."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ffrecur"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def as_png(content: bytes) -> str:
    """Return the address of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def new_axis(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty figure of one panel."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def curves(lines: Mapping[str, Curve], xlabel: str, ylabel: str, from_zero: bool = True, pairs: bool = False) -> Figure:
    """One line for each name, with a legend; in `pairs` two that follow one another have a colour, the second is dashed."""
    figure, axis = new_axis(xlabel, ylabel)
    for number, (name, (xs, ys)) in enumerate(lines.items()):
        step = -(-len(xs) // MOST_POINTS)
        xs, ys = [*xs[:-1:step], *xs[-1:]], [*ys[:-1:step], *ys[-1:]]
        turn, kind = divmod(number, 2) if pairs else (number, number // len(COLORS))
        color, style = COLORS[turn % len(COLORS)], STYLES[kind % len(STYLES)]
        marker = "o" if len(xs) <= 20 else None
        axis.plot(xs, ys, color=color, ls=style, lw=1.5, marker=marker, ms=3, label=name)
    highest = max((max(ys) for _, ys in lines.values()), default=0)
    if from_zero and highest > 0 and min(min(ys) for _, ys in lines.values()) >= 0:
        axis.set_ylim(0, 1.1 * highest)
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if len(lines) > 3:  # they would hide the curves
        legend = figure.legend(frameon=False, fontsize="small", ncols=2, loc="outside upper center")
    else:
        legend = axis.legend(frameon=False, fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def goodness_by_layer(positive: Sequence[float | None], negative: Sequence[float | None]) -> Figure:
    """Mean goodness of positive and of negative data beside each other, for each layer of a net that looks once."""
    figure, axis = new_axis("hidden layer", "goodness, mean of state²")
    layers = np.arange(1, len(positive) + 1)
    for values, color, hatch, left, label in (
        (positive, TRUE, None, -0.35, "positive data"),
        (negative, WRONG, "//", 0.0, "negative data"),
    ):
        heights = [np.nan if value is None else value for value in values]
        axis.bar(
            layers + left, heights, width=0.35, align="edge", color=color, hatch=hatch, edgecolor="white", label=label
        )
    axis.set_xticks(layers)
    axis.set_ymargin(0.25)
    axis.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")
    return figure


def reliability(bins: Sequence[tuple[float, float, int]]) -> Figure:
    """Accuracy against confidence, from confidence, accuracy and number of images of each bin that has some.

    The area of a point is in proportion to the images of its bin.
    """
    figure, axis = new_axis("confidence", "share that is right")
    axis.plot([0, 1], [0, 1], color=NEUTRAL, ls="--", lw=1, label="as sure as right")
    confidence, accuracy, images = (np.array(column, float) for column in zip(*bins, strict=True))
    axis.scatter(
        confidence, accuracy, s=12 + 250 * images / images.sum(), color=TRUE, alpha=0.6, label="images of a bin"
    )
    axis.set(xlim=(0, 1.05), ylim=(0, 1.05))
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    return figure


def confusion_map(counts: Sequence[Sequence[int]]) -> Figure:
    """The confusion of many classes as a map: the darker, the larger the share of a class that was taken for another."""
    array = np.array(counts, float)
    shares = array / np.maximum(array.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(100 * shares, cmap="Oranges", interpolation="nearest")
    axis.set(xlabel="taken for class number", ylabel="true class number")
    figure.colorbar(shown, ax=axis, label="% of the true class")
    return figure
