"""Draw a validation figure over the training, a line a run: the error of images, bits per character of text.

python scripts/study/learning_curves.py NAME=RUN_FOLDER [NAME=RUN_FOLDER ...] [--by minutes] [--output learning_curves.png]

With `--targets`, such as 1.23 1.15 (in percent, or in bits), there is a line at each, and a table tells when each run's figure
was first there or below.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from study import answer

from ffrecur.errors import UserError

# What a run may be judged by: its column in metrics.csv, the axis' label and how many of the axis' units one is.
TARGETS = {"val/error": ("validation error, %", 100), "val/bits_per_character": ("validation bits per character", 1)}
ACROSS = {"minutes": "minutes of training", "epochs": "epochs"}


def curve(run: Path, by: str = "minutes") -> tuple[str, list[float], list[float]]:
    """Return which figure a run's metrics.csv has, how far training was at each validation, and the figure there.

    Raises `UserError` for a folder without one.
    """
    if not (run / "metrics.csv").is_file():
        raise UserError(f"run is '{run}', but must be a run folder, with a metrics.csv")
    minutes: dict[int, float] = {}
    figures: dict[int, float] = {}
    target = next(iter(TARGETS))
    with (run / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row.get("train/minutes"):
                minutes[int(row["epoch"])] = float(row["train/minutes"])
            for name in TARGETS:
                if row.get(name):
                    target, figures[int(row["epoch"])] = name, float(row[name])
    if by == "epochs":
        return target, [epoch + 1 for epoch in sorted(figures)], [figures[epoch] for epoch in sorted(figures)]
    epochs = sorted(minutes.keys() & figures.keys())
    return target, [minutes[epoch] for epoch in epochs], [figures[epoch] for epoch in epochs]


def reached(run: Path, target: float, by: str = "minutes") -> float | None:
    """Return how far training was when the figure was first at a target or below, in percent or bits; None if never."""
    name, across, values = curve(run, by)
    scale = TARGETS[name][1]
    target *= 1 + 1e-6  # the figures come from float32
    return next((at for at, value in zip(across, values, strict=True) if scale * value <= target), None)


def table(runs: Mapping[str, Path], targets: Sequence[float], by: str = "minutes") -> str:
    """Return when each run was first at each target, as a Markdown table."""
    lines = [f"| {by} to | {' | '.join(f'{target:g}' for target in targets)} |", "|---" * (len(targets) + 1) + "|"]
    for name, run in runs.items():
        cells = ["never" if (at := reached(run, target, by)) is None else f"{at:.1f}" for target in targets]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(runs: Mapping[str, Path], by: str = "minutes", targets: Sequence[float] = ()) -> Figure:
    """Return the figure of some runs, by name; all must have the same target."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for name, run in runs.items():
        target, across, values = curve(run, by)
        label, scale = TARGETS[target]
        axis.plot(across, [scale * value for value in values], label=name)
        axis.set(xlabel=ACROSS[by], ylabel=label)
        if scale == 100:  # errors fall by several times
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("{x:g}")
    for level in targets:
        axis.axhline(level, color="grey", linewidth=0.8, linestyle=":")
    axis.set_xlim(left=0)  # once all are drawn: a limit that is set stays
    axis.grid(alpha=0.3, which="both")
    axis.legend(frameon=False)
    return figure


def run() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN_FOLDER")
    parser.add_argument("--by", choices=list(ACROSS), default="minutes")
    parser.add_argument("--output", type=Path, default=Path("learning_curves.png"))
    parser.add_argument("--targets", type=float, nargs="+", default=[], help="figures to reach, in percent or bits")
    options = parser.parse_args()
    named = {name: Path(folder) for name, _, folder in (each.partition("=") for each in options.runs)}
    picture = draw(named, options.by, options.targets)
    if options.targets:
        print(table(named, options.targets, options.by))
    picture.savefig(options.output, dpi=120)


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
