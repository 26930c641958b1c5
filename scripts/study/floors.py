"""Draw the floors of the package, for docs/architecture.md.

python scripts/study/floors.py [--output docs/images/floors.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[2]
# From the ground up: the rooms of a floor, each with what it is for.
FLOORS: list[dict[str, str]] = [
    {
        "errors": "mistakes of users",
        "seeding": "random numbers",
        "processes": "several processes",
        "functional": "the equations",
        "bars": "progress",
    },
    {"core": "sources, visits to layers, objectives, goodness, the exact local gradients"},
    {"text": "symbols, places in a text, drawing text"},
    {"nets": "RecurrentNet, FeedForwardNet, CharNet, BackpropNet"},
    {"negatives": "wrong labels, wrong or dreamt windows", "storage": "checkpoints, exported nets"},
    {"metrics": "errors, bits per character, pictures", "data": "images and text as one tensor"},
    {"pages": "reports of runs, and live pages, as HTML"},
    {"lit": "modules for Lightning, run folders, what an evaluation leaves"},
    {"commands": "fit, validate, test, predict, generate, export, report, runs"},
]
TORCH = 5  # floors that `import ffrecur` brings, which need PyTorch only
WIDTH, HEIGHT, GAP = 10.0, 0.8, 0.16


def draw_room(axis: Axes, left: float, bottom: float, width: float, name: str, what: str) -> None:
    """Draw a box with its name and what it is for."""
    style = "round,pad=0,rounding_size=0.08"
    axis.add_patch(FancyBboxPatch((left, bottom), width, HEIGHT, boxstyle=style, facecolor="white", edgecolor="0.3"))
    middle = left + width / 2
    axis.text(middle, bottom + 0.62 * HEIGHT, name, ha="center", va="center", weight="bold", family="monospace")
    axis.text(middle, bottom + 0.27 * HEIGHT, what, ha="center", va="center", fontsize=8, color="0.3")


def draw_floors() -> Figure:
    """Return the picture."""
    figure = Figure(figsize=(8.4, 7.1), layout="constrained")
    axis = figure.subplots()
    step = HEIGHT + GAP
    for low, high, colour, name in ((0, TORCH, "C0", "import ffrecur"), (TORCH, len(FLOORS), "C1", "training")):
        axis.axhspan(low * step - GAP / 2, high * step - GAP / 2, color=colour, alpha=0.12, lw=0)
        axis.text(WIDTH + 0.15, (low + high) * step / 2, name, rotation=270, ha="left", va="center", color=colour)
    for floor, rooms in enumerate(FLOORS):
        width = (WIDTH - GAP * (len(rooms) - 1)) / len(rooms)
        for place, (name, what) in enumerate(rooms.items()):
            draw_room(axis, place * (width + GAP), floor * step, width, name, what)
    arrow = {"arrowstyle": "->", "color": "0.3", "lw": 1.5}
    axis.annotate("", xy=(-0.35, 0), xytext=(-0.35, len(FLOORS) * step - GAP), arrowprops=arrow)
    axis.text(-0.45, len(FLOORS) * step / 2, "imports", rotation=90, ha="right", va="center", color="0.3")
    axis.set(xlim=(-0.9, WIDTH + 0.6), ylim=(-GAP / 2, len(FLOORS) * step - GAP / 2))
    axis.set_axis_off()
    return figure


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "floors.png")
    draw_floors().savefig(parser.parse_args().output, dpi=110)


if __name__ == "__main__":
    main()
