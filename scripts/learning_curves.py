"""Draw validation error against minutes of training, a line a run.

python scripts/learning_curves.py NAME=RUN_FOLDER [NAME=RUN_FOLDER ...] [--output learning_curves.png]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure


def curve(run: Path) -> tuple[list[float], list[float]]:
    """Return the minutes and the validation errors (fractions) in a run's metrics.csv, epoch by epoch."""
    minutes: dict[int, float] = {}
    errors: dict[int, float] = {}
    with (run / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, into in (("train/minutes", minutes), ("val/error", errors)):
                if row.get(name):
                    into[int(row["epoch"])] = float(row[name])
    epochs = sorted(minutes.keys() & errors.keys())
    return [minutes[epoch] for epoch in epochs], [errors[epoch] for epoch in epochs]


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN_FOLDER")
    parser.add_argument("--output", type=Path, default=Path("learning_curves.png"))
    options = parser.parse_args()
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for run in options.runs:
        name, _, folder = run.partition("=")
        minutes, errors = curve(Path(folder))
        axis.plot(minutes, [100 * error for error in errors], label=name)
    axis.set(xlabel="minutes of training", ylabel="validation error, %", xlim=(0, None), yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.grid(alpha=0.3, which="both")
    axis.legend(frameon=False)
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
