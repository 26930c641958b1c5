"""Draw the pictures of docs/algorithm.md: a layer, its data, the recurrent net over iterations, the logistic objective.

python scripts/study/diagrams.py [--output docs/images]

SVG with text as text. The same call gives the same bytes with the same matplotlib.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from ffrecur.data.bundled import read_bundled
from ffrecur.functional import goodness, probability_of_positive, rms_normalize
from ffrecur.negatives.images import Hybrids, hybrid_masks

ROOT = Path(__file__).parents[2]
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ffrecur",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
}
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.45"  # told apart by colour-blind people
WIDTH = 4.8  # inches: on a phone of 360 pixels the letters keep three quarters of their size
SIDE = 28

# --- the example of docs/algorithm.md ---------------------------------------------------------------------------------

ROW = rms_normalize(torch.tensor([3.0, 4.0, 0.0, 0.0]))
WEIGHT = torch.tensor([[0.5, 0.25, 0.1, 0.3], [1.0, 0.5, 0.2, -0.4], [-0.5, 0.0, 0.3, 0.1], [-0.5, 1.0, -0.2, 0.6]])
THRESHOLD, TEMPERATURE = 1.0, 0.1


def example() -> dict[str, Tensor]:
    """Return what a layer of four units makes of `ROW`, step by step."""
    drive = WEIGHT @ ROW
    state = torch.relu(drive)
    judged = goodness(state)
    positive = probability_of_positive(judged, THRESHOLD, TEMPERATURE)
    return {"drive": drive, "state": state, "goodness": judged, "positive": positive, "handed on": rms_normalize(state)}


# --- parts ------------------------------------------------------------------------------------------------------------


def canvas(height: float) -> tuple[Figure, Axes]:
    """Return a figure with one axis that is measured in inches."""
    figure = Figure(figsize=(WIDTH, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(0, height))
    axis.set_axis_off()
    return figure, axis


def box(axis: Axes, place: tuple[float, float, float, float], text: str, colour: str = "0.3") -> None:
    """Draw a box (left, bottom, width, height) with a text in its middle."""
    left, bottom, width, height = place
    style = "round,pad=0,rounding_size=0.06"
    axis.add_patch(
        FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor="white", edgecolor=colour, lw=1.5)
    )
    axis.text(left + width / 2, bottom + height / 2, text, ha="center", va="center", color=colour)


def cells(axis: Axes, left: float, bottom: float, values: Tensor, name: str) -> None:
    """Draw numbers side by side, darker where they are larger, with a name above."""
    for place, value in enumerate(values.tolist()):
        shade = str(1 - 0.45 * min(max(value, 0) / 2, 1))
        axis.add_patch(Rectangle((left + 0.6 * place, bottom), 0.6, 0.36, facecolor=shade, edgecolor="0.3"))
        text = f"{value:.2f}".rstrip("0").rstrip(".")
        axis.text(left + 0.6 * place + 0.3, bottom + 0.18, text, ha="center", va="center")
    axis.text(left, bottom + 0.42, name, ha="left", va="bottom", color="0.3", fontsize=10)


def arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = "0.3", style: str = "-"
) -> None:
    """Draw an arrow."""
    looks = {"arrowstyle": "-|>", "color": colour, "lw": 1.5, "linestyle": style, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=end, xytext=start, arrowprops=looks)


def stop(axis: Axes, left: float, right: float, height: float, text: str) -> None:
    """Draw the bar through which no gradient goes."""
    axis.plot([left, right], [height, height], color=RED, lw=4, solid_capstyle="butt")
    axis.text(right + 0.1, height, text, color=RED, va="center", fontsize=10)


def picture(axis: Axes, place: tuple[float, float], size: float, image: Tensor, colour: str) -> None:
    """Draw an image of numbers from 0 to 1 with a frame; `place` is its lower left corner."""
    left, bottom = place
    extent = (left, left + size, bottom, bottom + size)
    shown = image.reshape(SIDE, -1).numpy()
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="none", aspect="auto")
    axis.add_patch(Rectangle((left, bottom), size, size, fill=False, edgecolor=colour, lw=2.5))


# --- the pictures -----------------------------------------------------------------------------------------------------


def draw_layer() -> Figure:
    """One layer: what it reads, computes, is judged by and hands on; and where its gradient ends."""
    figure, axis = canvas(6.2)
    left, middle, found = 0.25, 1.45, example()
    cells(axis, left, 0.2, ROW, "row from below")
    axis.text(middle + 0.1, 0.62, "mean square 1", va="bottom", fontsize=10, color="0.3")
    stop(axis, left, 2.65, 1.0, "no gradient")
    arrow(axis, (middle, 0.56), (middle, 1.4))
    box(axis, (left, 1.4, 2.4, 0.42), "weights and biases", GREEN)
    arrow(axis, (middle, 1.82), (middle, 2.2))
    cells(axis, left, 2.2, found["drive"], "drive")
    arrow(axis, (middle, 2.56), (middle, 3.1))
    axis.text(middle + 0.1, 2.83, "ReLU", va="center", fontsize=10, color="0.3")
    cells(axis, left, 3.1, found["state"], "state")
    stop(axis, left, 2.65, 4.0, "no gradient")
    arrow(axis, (middle, 3.46), (middle, 4.35))
    box(axis, (left, 4.35, 2.4, 0.42), "÷ root mean square")
    arrow(axis, (middle, 4.77), (middle, 5.15))
    cells(axis, left, 5.15, found["handed on"], "row handed on")
    axis.text(middle + 0.1, 5.57, "mean square 1", va="bottom", fontsize=10, color="0.3")
    arrow(axis, (middle, 5.51), (middle, 6.1))
    arrow(axis, (2.65, 3.28), (3.0, 3.28))
    judgement = f"goodness, the\nmean square: {found['goodness']:.1f}\nthreshold: {THRESHOLD:.0f}\n"
    box(axis, (3.0, 2.68, 1.65, 1.2), judgement + f"{100 * found['positive']:.0f} % “positive”", BLUE)
    axis.plot([3.8, 3.8], [2.68, 1.61], color=RED, lw=1.5, linestyle="--")
    arrow(axis, (3.8, 1.61), (2.65, 1.61), RED, "--")
    axis.text(3.9, 2.15, "gradient of\nits own loss", color=RED, fontsize=10, va="center", ha="left")
    return figure


def labelled(image: Tensor, label: int | None) -> Tensor:
    """Return an image with a label in its first ten pixels; without a label each of them is 0.1."""
    entries = torch.full((10,), 0.1) if label is None else torch.eye(10)[label]
    return torch.cat([entries, image[10:]])


def digits() -> Tensor:
    """Return a 4 and two more digits of those that come with a package, as numbers from 0 to 1."""
    images = read_bundled().train.images.view(-1, 10, SIDE * SIDE)  # the classes take turns
    return torch.stack([images[place, label] for label, place in ((4, 3), (2, 3), (8, 5))]) / 255


def draw_data() -> Figure:
    """What a feed-forward net reads: a digit with a label in its first pixels, and a hybrid of two digits."""
    figure, axis = canvas(5.75)
    four, image, other = digits()
    axis.text(0.15, 5.5, "With labels: the first ten pixels", va="center", weight="bold")
    cases = ((4, "positive:\nlabel 4", BLUE), (9, "negative:\nlabel 9", RED), (None, "neutral:\neach 0.1", GREY))
    for place, (label, name, colour) in enumerate(cases):
        left, shown = 0.15 + 1.56 * place, labelled(four, label)
        for pixel in range(10):
            shade = str(shown[pixel].item())
            axis.add_patch(Rectangle((left + 0.14 * pixel, 5.05), 0.14, 0.2, facecolor=shade, edgecolor="0.6", lw=0.8))
        for end in (0, 1):
            axis.plot([left + 1.4 * end, left + 0.5 * end], [5.05, 4.9], color="0.6", lw=0.8)
        picture(axis, (left, 3.5), 1.4, shown, colour)
        axis.text(left + 0.7, 3.4, name, ha="center", va="top", color=colour)
    axis.text(0.15, 2.55, "Without labels: hybrids of two digits", va="center", weight="bold")
    noise = torch.rand(1, SIDE * SIDE, generator=torch.Generator().manual_seed(6))
    mask = hybrid_masks(noise, (SIDE, SIDE))[0]
    hybrid = Hybrids()(image[None], other[None], noise, (SIDE, SIDE))[0]
    names = (("positive:\na digit", BLUE), ("another\ndigit", GREY), ("mask", GREY), ("negative:\nhybrid", RED))
    for place, (shown, (name, colour)) in enumerate(zip((image, other, mask, hybrid), names, strict=True)):
        left = 0.15 + 1.15 * place
        picture(axis, (left, 1.2), 1.05, shown, colour)
        axis.text(left + 0.52, 1.1, name, ha="center", va="top", color=colour)
    text = "White in the mask: pixels of the first digit.\nBlack: pixels of the other one."
    axis.text(0.15, 0.3, text, va="center", fontsize=10, color="0.3")
    axis.set(xlim=(0, WIDTH), ylim=(0, 5.75))
    return figure


def links(axis: Axes, columns: Sequence[float], rows: Sequence[float]) -> None:
    """Draw what each layer reads in each iteration, and what it keeps of its own state."""
    one, two = rows
    half = 0.17
    arrow(axis, (columns[0], one + half), (columns[0], two - half), BLUE)
    for place, now in enumerate(columns):
        arrow(axis, (now, one - 0.63), (now, one - half), BLUE)
        if place == 0:
            continue
        before = columns[place - 1]
        arrow(axis, (now, two + 0.63), (now, two + half), RED, "--")
        arrow(axis, (before + 0.1, one + half), (now - 0.1, two - half), BLUE)
        arrow(axis, (before + 0.1, two - half), (now - 0.1, one + half), RED, "--")
        for row in rows:
            arrow(axis, (before + half, row), (now - half, row), GREY, ":")


def draw_unrolled() -> Figure:
    """The recurrent net with two hidden layers over its first pass and five iterations."""
    figure, axis = canvas(5.0)
    columns, rows = [0.95 + 0.7 * place for place in range(6)], (2.1, 3.2)
    one, two = rows
    axis.add_patch(Rectangle((columns[3] - 0.32, 1.72), 2.04, 1.9, facecolor="0.9", lw=0))
    links(axis, columns, rows)
    for place, column in enumerate(columns):
        for row in rows:
            axis.add_patch(
                FancyBboxPatch(
                    (column - 0.17, row - 0.17),
                    0.34,
                    0.34,
                    boxstyle="round,pad=0,rounding_size=0.05",
                    fc="white",
                    ec="0.3",
                )
            )
        axis.text(column, 4.42, "pass" if place == 0 else str(place), ha="center", va="center")
    axis.text(columns[0], 4.72, "first", ha="center", va="center")
    axis.text(columns[3], 4.72, "iteration", ha="center", va="center")
    box(axis, (columns[0] - 0.3, one - 1.03, 4.1, 0.4), "image, or frames of a video")
    box(axis, (columns[1] - 0.3, two + 0.63, 3.4, 0.4), "label")
    for row, name in ((one, "layer 1"), (two, "layer 2")):
        axis.text(0.08, row, name.replace(" ", "\n"), va="center", ha="left", fontsize=10)
    notes = (
        ("from below", BLUE, "-"),
        ("from above", RED, "--"),
        ("damping: a share of its own state stays", GREY, ":"),
    )
    for (name, colour, style), (left, height) in zip(notes, ((0.2, 0.75), (1.9, 0.75), (0.2, 0.45)), strict=True):
        arrow(axis, (left, height), (left + 0.45, height), colour, style)
        axis.text(left + 0.55, height, name, va="center", fontsize=10)
    axis.add_patch(Rectangle((0.2, 0.07), 0.45, 0.2, facecolor="0.85", lw=0))
    axis.text(0.75, 0.17, "window of the score: iterations 3 to 5", va="center", fontsize=10)
    return figure


def draw_logistic() -> Figure:
    """The probability that a case is positive, over its goodness, at three temperatures; and with the other sign."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axis = figure.subplots()
    values = torch.linspace(0, 2, 201)
    for temperature, style, colour in ((0.3, "-.", GREEN), (0.1, "-", BLUE), (0.05, ":", "black")):
        curve = probability_of_positive(values, THRESHOLD, temperature)
        axis.plot(values, curve, linestyle=style, color=colour, lw=2, label=f"temperature {temperature}")
    other = probability_of_positive(values, THRESHOLD, TEMPERATURE, sign=-1)
    axis.plot(values, other, linestyle="--", color=RED, lw=2, label=f"{TEMPERATURE}, sign -1")
    axis.axvline(THRESHOLD, color="0.3", lw=1)
    axis.set(xlabel="goodness of the layer", ylabel="probability of “positive”", xlim=(0, 2))
    axis.set_xticks([0, 0.5, THRESHOLD, 1.5, 2], ["0", "0.5", "1\nthreshold", "1.5", "2"])
    figure.legend(loc="outside upper center", ncols=2, fontsize=10, frameon=False)
    axis.grid(alpha=0.3)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "algorithm_layer": draw_layer,
    "algorithm_data": draw_data,
    "algorithm_unrolled": draw_unrolled,
    "algorithm_logistic": draw_logistic,
}


def draw(folder: Path) -> list[Path]:
    """Draw all pictures into a folder; return their files."""
    files = [folder / f"{name}.svg" for name in PICTURES]
    with matplotlib.rc_context(STYLE):
        for file, draw_one in zip(files, PICTURES.values(), strict=True):
            draw_one().savefig(file, metadata={"Date": None, "Creator": None})
    return files


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()
