"""Draw how the scores of ten labels grow beside a digit: the moving picture of the README, from `museum/digits`.

python scripts/docs/moving_picture.py [--output docs/images/thinking.gif]

Two test digits are chosen by what the net makes of them: the one of which it is surest, and the first one that it takes for
another digit for two iterations and then for what it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.lit.images import prepare
from ffrecur.metrics.plots import NEUTRAL, TRUE, WRONG
from ffrecur.nets.recurrent import RecurrentNet

ROOT = Path(__file__).parents[2]
NET, WINDOW, ITERATIONS = "museum/digits", (3, 5), 8
WIDTH, HEIGHT, DOTS = 7.2, 3.6, 100  # of a frame, in inches, and dots an inch
COLOURS, NEARLY_WHITE = 64, 245
BEFORE, EACH, AFTER = 1000, 500, 3500  # milliseconds: the digit alone, an iteration, the end
LARGE, SMALL = 18, 15  # points; a phone shows the picture at half its size
NAMES_APART = 0.45  # of the scores, where the names of two labels would lie on each other


class Digit(NamedTuple):
    """An image and what the net makes of it."""

    image: np.ndarray  # (28, 28), in [0, 1]
    label: int
    scores_TC: np.ndarray  # of every label at every iteration

    def rival(self) -> int:
        """Return the wrong label that has led, or else the best wrong one at the end."""
        led = [label for label in self.scores_TC.argmax(axis=1).tolist() if label != self.label]
        order = self.scores_TC[-1].argsort()[::-1]
        return led[0] if led else next(label for label in order.tolist() if label != self.label)


def test_digits() -> tuple[Tensor, Tensor]:
    """Return the bundled test images `(N, D)` in [0, 1], and their labels."""
    data = ImageDataModule("bundled")
    data.setup("test")
    assert data.test_set is not None
    return prepare(torch.as_tensor(data.test_set.images)), torch.as_tensor(data.test_set.labels)


def choose(scores_TBC: Tensor, labels_B: Tensor) -> tuple[int, int]:
    """Return the numbers of two digits: the surest over the window, and one that another label leads for two iterations.

    Raises `ValueError` where the net takes no digit for another one at first.
    """
    best_TB2 = scores_TBC.topk(2, dim=-1).values
    margin_B = (best_TB2[..., 0] - best_TB2[..., 1])[WINDOW[0] - 1 : WINDOW[1]].mean(dim=0)
    right_TB = scores_TBC.argmax(dim=-1) == labels_B
    late_B = ~right_TB[:2].any(dim=0) & right_TB[2:].all(dim=0)
    same_B = scores_TBC[0].argmax(dim=-1) == scores_TBC[1].argmax(dim=-1)
    found = (late_B & same_B).nonzero()
    if not len(found):
        raise ValueError("the net takes no test digit for another one for two iterations")
    return int((margin_B * right_TB.all(dim=0)).argmax()), int(found[0])


def followed(net: RecurrentNet, image_D: Tensor, label: int) -> Digit:
    """Return what the net makes of an image, iteration by iteration."""
    scores_TC = (net.sign * net.label_goodness(image_D[None], ITERATIONS).sum(dim=1))[:, 0]
    return Digit(image_D.reshape(28, 28).numpy(), label, scores_TC.numpy())


def apart(values: Sequence[float], least: float) -> list[float]:
    """Return two values moved so that they are at least so far apart, about the same middle.

    >>> apart([1.0, 1.5], 1.0), apart([3.0, 1.0], 1.0)
    ([0.75, 1.75], [3.0, 1.0])
    """
    one, two = values
    if abs(one - two) >= least:
        return [one, two]
    middle, side = (one + two) / 2, least / 2 if one > two else -least / 2
    return [middle + side, middle - side]


def draw_curves(axis: Axes, digit: Digit, shown: int, limits: tuple[float, float]) -> None:
    """Draw the scores of all labels over the iterations shown, the true label's blue, its rival's orange."""
    axis.axvspan(WINDOW[0] - 0.5, WINDOW[1] + 0.5, color=NEUTRAL, alpha=0.2, lw=0)
    rival, ticks = digit.rival(), range(1, shown + 1)
    for label in sorted(range(digit.scores_TC.shape[1]), key=lambda each: (each == digit.label, each == rival)):
        marked = label in (digit.label, rival)
        colour = TRUE if label == digit.label else WRONG if label == rival else NEUTRAL
        curve = digit.scores_TC[:shown, label]
        axis.plot(ticks, curve, "-o", color=colour, lw=3 if marked else 1, ms=6 if marked else 3)
    if shown:
        ends = apart([float(digit.scores_TC[shown - 1, label]) for label in (digit.label, rival)], NAMES_APART)
        for label, end, colour in zip((digit.label, rival), ends, (TRUE, WRONG), strict=True):
            place = (shown + 0.25, end)
            axis.annotate(str(label), place, color=colour, fontweight="bold", fontsize=LARGE, va="center")
    axis.set(xlim=(0.5, ITERATIONS + 0.9), ylim=limits, xticks=range(1, ITERATIONS + 1))
    axis.set_xlabel("iteration", fontsize=SMALL)
    axis.set_ylabel("score of each label", fontsize=SMALL)
    axis.tick_params(labelsize=SMALL)
    axis.spines[["top", "right"]].set_visible(False)


def draw(digit: Digit, shown: int, limits: tuple[float, float]) -> Image.Image:
    """Return the frame after so many iterations: the digit, and the curves so far."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    left = figure.add_axes((0.015, 0.19, 0.32, 0.64))
    left.imshow(digit.image, cmap="gray", vmin=0, vmax=1)
    left.set(xticks=[], yticks=[])
    draw_curves(figure.add_axes((0.455, 0.2, 0.535, 0.66)), digit, shown, limits)
    leading = int(digit.scores_TC[shown - 1].argmax()) if shown else None
    colour = "black" if leading is None else TRUE if leading == digit.label else WRONG
    what = "ten labels" if leading is None else f"{leading} leads"
    figure.text(0.71, 0.9, what, color=colour, fontsize=LARGE, fontweight="bold", ha="center")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def frames(digits: Sequence[Digit], steps: Sequence[int]) -> tuple[list[Image.Image], list[int]]:
    """Return the frames of all digits, each after the iterations in `steps`, and how long each is shown."""
    every = np.concatenate([digit.scores_TC for digit in digits])
    room = 0.06 * (every.max() - every.min())
    limits = (float(every.min() - room), float(every.max() + room))
    times = {steps[0]: BEFORE, steps[-1]: AFTER}
    pictures = [draw(digit, shown, limits) for digit in digits for shown in steps]
    return pictures, [times.get(shown, EACH) for _ in digits for shown in steps]


def write(pictures: Sequence[Image.Image], times: Sequence[int], output: Path) -> None:
    """Write a GIF that begins again at its end, all frames with the same colours; white stays white."""
    strip = Image.new("RGB", (pictures[0].width, pictures[0].height * len(pictures)))
    for number, picture in enumerate(pictures):
        strip.paste(picture, (0, number * picture.height))
    colours = strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([255 if level > NEARLY_WHITE else level for level in colours[: 3 * COLOURS]])
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    first.save(output, save_all=True, append_images=others, duration=list(times), loop=0, optimize=False)


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "thinking.gif")
    options = parser.parse_args()
    net = ffrecur.load(NET)
    assert isinstance(net, RecurrentNet)
    images_BD, labels_B = test_digits()
    scores_TBC = net.sign * net.label_goodness(images_BD, ITERATIONS).sum(dim=1)
    digits = [followed(net, images_BD[number], int(labels_B[number])) for number in choose(scores_TBC, labels_B)]
    write(*frames(digits, range(ITERATIONS + 1)), options.output)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
