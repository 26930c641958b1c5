"""What sleep costs: positive and negative data in phases apart, for several lengths of the phases.

python scripts/study/sleep.py [--phases 0 1 2 4 ...] [--seeds 0] [--root FOLDER] [-- OPTIONS OF ffrecur fit]

A phase is so many updates on positive data alone, or as many on negative data alone; 0 has both in every update. Writes
study.json into the root after each run, leaves out what is in there already, prints a table and draws sleep.png.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from compare_text import FIGURES, TASKS, table
from matplotlib.figure import Figure
from study import Found, parse, study

PHASES = (0, 1, 2, 4, 8, 16, 32, 64, 256)


def draw_sleep(found: Found, phases: list[int]) -> Figure:
    """Return bits per character over the length of a phase, with a point a seed."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    bits = [[row["bits_per_character"] for row in found[f"sleep {phase}"].values()] for phase in phases]
    axis.plot(range(len(phases)), [statistics.mean(of_phase) for of_phase in bits])
    for place, of_phase in enumerate(bits):
        axis.plot([place] * len(of_phase), of_phase, "o", color="C0")
    axis.set(xlabel="updates a phase; 0: both kinds of data in each update", ylabel="validation bits per character")
    axis.set_xticks(range(len(phases)), [str(phase) for phase in phases])
    axis.grid(alpha=0.3)
    return figure


def main() -> None:
    """Run what has not been run, then print the table and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", type=int, nargs="+", default=PHASES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--root", type=Path, default=Path("runs") / "sleep")
    own, options = parse(parser)
    task = str(TASKS / "sleep.yaml")
    trainings = {f"sleep {phase}": (task, [f"--model.sleep={phase}"]) for phase in own.phases}
    found = study(trainings, own.seeds, own.root / "study.json", options, FIGURES, "best")
    print(table({name: found[name] for name in trainings}, {}))
    draw_sleep(found, own.phases).savefig(own.root / "sleep.png", dpi=120)


if __name__ == "__main__":
    main()
