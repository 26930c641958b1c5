"""Error on digits that are noisy, occluded or drifting: a recurrent net, the same cut from top-down input, a perceptron.

python scripts/study/corruption.py RECURRENT_RUN BACKPROP_RUN --source FOLDER [--split test] [--limit 2000] [--output FOLDER]

Writes corruption.json and corruption.png. All nets are shown the very same images. A recurrent net sees a drifting digit
as a video, frame t at iteration t; the perceptron averages its log-probabilities over the same frames, and so does the
recurrent net's one-pass head, which hears nothing from above at all. In the cut net, hidden layers hear nothing from
hidden layers above them; the top one still hears the label.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from drift import without_hidden_top_down
from matplotlib.figure import Figure
from torch import Generator, Tensor

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.data.drift import drift
from ffrecur.lit.images import prepare
from ffrecur.seeding import seeded_generator

WINDOW, FRAMES, BATCH, SIDE = (3, 5), 8, 500, 28
Classifier = Callable[[Tensor], Tensor]


def noisy(images_ND: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Images in [0, 1] with Gaussian noise on every pixel, cut to [0, 1] again."""
    return (images_ND + deviation * torch.randn(images_ND.shape, generator=generator)).clamp(0, 1)


def occluded(images_ND: Tensor, side: float, generator: Generator) -> Tensor:
    """Images with a black square somewhere."""
    corners_N2 = torch.randint(SIDE - int(side) + 1, (len(images_ND), 2), generator=generator)
    inside_N2S = (torch.arange(SIDE) >= corners_N2[..., None]) & (torch.arange(SIDE) < corners_N2[..., None] + side)
    return images_ND * ~(inside_N2S[:, 0, :, None] & inside_N2S[:, 1, None, :]).flatten(1)


def drifting(images_ND: Tensor, speed: float, generator: Generator) -> Tensor:
    """Videos `(T, N, D)` of digits that move so many pixels a frame in one of 8 directions; in its place at frame 4."""
    return drift(images_ND, (SIDE, SIDE), FRAMES, generator, int(speed))[:, : WINDOW[1]].transpose(0, 1)


CORRUPTIONS: dict[str, tuple[Callable[[Tensor, float, Generator], Tensor], str, tuple[float, ...]]] = {
    "noise": (noisy, "standard deviation of the noise", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "occlusion": (occluded, "side of a black square, pixels", (0, 4, 6, 8, 10, 12)),
    "drift": (drifting, "drift, pixels a frame", (0, 1, 2, 3)),
}


def classifiers(recurrent: ffrecur.RecurrentNet, perceptron: ffrecur.BackpropNet) -> dict[str, Classifier]:
    """Return a function from images, `(N, D)` or video, to labels for each net, by the name that it has in the figure."""

    def averaged(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        frames = images if images.ndim == 3 else images[None]
        return torch.stack([torch.log_softmax(logits(frame), dim=1) for frame in frames]).mean(dim=0).argmax(dim=1)

    cut = without_hidden_top_down(recurrent)
    return {
        "Forward-Forward, recurrent": lambda images: recurrent.classify(images, WINDOW),
        "the same without top-down weights": lambda images: cut.classify(images, WINDOW),
        "its one-pass head": partial(averaged, recurrent.one_pass_logits),
        "backpropagation": partial(averaged, perceptron),
    }


@torch.no_grad()
def measure(nets: dict[str, Classifier], images_ND: Tensor, labels_N: Tensor) -> dict[str, dict[str, list[float]]]:
    """Return the error of each net at each level of each corruption, as fractions."""
    found: dict[str, dict[str, list[float]]] = {}
    for number, (name, (corrupt, _, levels)) in enumerate(CORRUPTIONS.items()):
        found[name] = {net: [] for net in nets}
        for level in levels:
            wrong = dict.fromkeys(nets, 0)
            for start in range(0, len(images_ND), BATCH):
                generator = seeded_generator(0, number, start)  # the same noise and places at every level
                shown = corrupt(images_ND[start : start + BATCH], level, generator)
                for net, classify in nets.items():
                    wrong[net] += int((classify(shown) != labels_N[start : start + BATCH]).sum())
            for net, count in wrong.items():
                found[name][net].append(count / len(images_ND))
            print(name, level, {net: f"{errors[-1]:.2%}" for net, errors in found[name].items()}, flush=True)
    return found


def draw(found: dict[str, dict[str, list[float]]]) -> Figure:
    """Return a panel a corruption, a line a net."""
    figure = Figure(figsize=(3.6 * len(found), 3.4), layout="constrained")
    for axis, (name, by_net) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        _, what, levels = CORRUPTIONS[name]
        for (net, errors), style in zip(by_net.items(), ("o-", "^:", "v-.", "s--"), strict=True):
            axis.plot(levels, [100 * error for error in errors], style, label=net)
        axis.set(xlabel=what, ylabel="error, %", ylim=(0, None))
    figure.axes[min(1, len(found) - 1)].legend(frameon=False, loc="upper left", fontsize="small")  # where there is room
    return figure


def main() -> None:
    """Measure, print, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recurrent", help="run folder of a recurrent net")
    parser.add_argument("perceptron", help="run folder of a net trained by backpropagation")
    parser.add_argument("--source", required=True, help="the images, as of --data.source")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=10_000, help="images shown, the first of the split")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of corruption.json and corruption.png")
    options = parser.parse_args()
    recurrent, perceptron = ffrecur.load(options.recurrent), ffrecur.load(options.perceptron)
    if not (isinstance(recurrent, ffrecur.RecurrentNet) and isinstance(perceptron, ffrecur.BackpropNet)):
        sys.exit("error: give a run of a recurrent net first, then one of a net trained by backpropagation")
    data = ImageDataModule(options.source)
    data.setup("test")
    shown = data.validation_set if options.split == "validation" else data.test_set
    assert shown is not None
    assert shown.labels is not None
    images, labels = prepare(shown.images[: options.limit]), shown.labels[: options.limit]
    found = measure(classifiers(recurrent, perceptron), images, labels)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"split": options.split, "images": len(labels), "levels": {k: v[2] for k, v in CORRUPTIONS.items()}}
    (options.output / "corruption.json").write_text(json.dumps({**report, "errors": found}, indent=2) + "\n")
    draw(found).savefig(options.output / "corruption.png", dpi=120)


if __name__ == "__main__":
    main()
