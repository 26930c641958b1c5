"""Whether two runs are the same: every figure in their metrics.csv, and every number in their last checkpoints.

python scripts/study/compare_runs.py RUN RUN [--tolerance 0]

With tolerance 0, the default, figures must agree to the last digit and checkpoints bit by bit; with another, figures may
differ by so much of the larger one, and checkpoints are left alone, since processors differ in the last bits. Minutes are
not compared. Prints what differs first, and how many figures agree; the exit code is 0 if the runs are the same, else 1.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffrecur.storage.checkpoint import read_checkpoint

NOT_COMPARED = ("train/minutes",)
OF_THE_NET = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
NOTHING: dict[str, str] = {}


def read_figures(file: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics.csv without their empty cells."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{name: cell for name, cell in row.items() if cell and name not in NOT_COMPARED} for row in rows]


def agree(one: str | None, other: str | None, tolerance: float) -> bool:
    """Whether two cells are the same, or numbers that differ by at most `tolerance` times the larger one.

    >>> agree("0.5", "0.50001", 0), agree("0.5", "0.50001", 1e-3), agree("nan", "0.5", 1e-3), agree(None, "1", 1)
    (False, True, False, False)
    """
    if one is None or other is None or tolerance == 0:
        return one == other
    return one == other or math.isclose(float(one), float(other), rel_tol=tolerance)


def different_figures(one: Path, other: Path, tolerance: float) -> tuple[int, list[str]]:
    """Return how many figures of two metrics.csv agree, and a line for each that does not."""
    same, lines = 0, []
    pairs = zip_longest(read_figures(one), read_figures(other), fillvalue=NOTHING)
    for number, (row, its) in enumerate(pairs, start=1):
        for name in sorted(set(row) | set(its)):
            if agree(row.get(name), its.get(name), tolerance):
                same += 1
            else:
                lines.append(f"row {number}, {name}: {row.get(name)} and {its.get(name)}")
    return same, lines


def different_values(one: Any, other: Any, name: str) -> Iterator[str]:
    """Yield the name of each part in which two nested values of a checkpoint differ."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield name
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other), key=str):
            yield from different_values(one.get(key), other.get(key), f"{name}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from different_values(*pair, f"{name}.{index}")
    elif one != other:
        yield name


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs=2, metavar="RUN")
    parser.add_argument("--tolerance", type=float, default=0.0)
    own = parser.parse_args()
    one, other = own.runs
    for run in own.runs:
        for name in ("metrics.csv", *(() if own.tolerance else ("last.ckpt",))):
            if not (run / name).is_file():
                print(f"error: run is '{run}', but must be a run folder, with a {name}", file=sys.stderr)
                return 2
    same, lines = different_figures(one / "metrics.csv", other / "metrics.csv", own.tolerance)
    if own.tolerance == 0:
        checkpoint, its = read_checkpoint(one / "last.ckpt"), read_checkpoint(other / "last.ckpt")
        for part in OF_THE_NET:
            different = different_values(checkpoint.get(part), its.get(part), part)
            lines += [f"last.ckpt, {name}" for name in different]
    print("\n".join([*lines[:10], *([f"... and {len(lines) - 10} more"] if len(lines) > 10 else [])]))
    print(f"{same} figures agree, {len(lines)} differences")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
