"""The command `ffrecur runs`: what was trained here, read from the runs' own files. It starts without PyTorch."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ffrecur.commands.parsing import Parser, exit_code
from ffrecur.errors import UserError
from ffrecur.storage.files import name_and_time, with_home

TARGETS = {
    "val/error": ("error", "{:.2%}"),
    "val/separation_error": ("separation error", "{:.2%}"),
    "val/bits_per_character": ("bits", "{:.3f}"),
}
HEADER = ("task", "begun", "epochs", "best validation", "test", "folder")


class Run(NamedTuple):
    """One line of the table."""

    task: str
    begun: str
    epochs: str
    validation: str
    test: str
    folder: str


def read_metrics(file: Path) -> tuple[str, str]:
    """Return the epochs that were finished, and the best validation figure with its name; "-" for what is not there."""
    epochs, best, target = "-", None, None
    try:
        with file.open(newline="") as opened:
            for row in csv.DictReader(opened):
                epochs = str(int(row["epoch"]) + 1) if row.get("epoch") else epochs
                for name in TARGETS:
                    if row.get(name):
                        value = float(row[name])
                        best, target = value if best is None else min(best, value), name
    except (OSError, ValueError, csv.Error):  # a run without the file, or a line that was cut
        pass
    if best is None or target is None:
        return epochs, "-"
    name, form = TARGETS[target]
    return epochs, f"{name} {form.format(best)}"


def read_test(file: Path) -> str:
    """Return the figure of a test, with its name; "-" where there was none."""
    try:
        results = json.loads(file.read_text())
        if "bits_per_character" in results:
            return f"bits {results['bits_per_character']:.3f}"
        name = "error" if "error" in results else "separation_error"
        return f"{name.replace('_', ' ')} {results[name]:.2%}"
    except (OSError, ValueError, KeyError, TypeError):  # none, or a file that is none of ours
        return "-"


def runs_below(root: Path) -> list[Run]:
    """Return the runs of a folder, the newest first; raises `UserError` for one that cannot be read."""
    found = []
    try:
        folders = [folder for folder in root.iterdir() if (folder / "config.yaml").is_file()] if root.is_dir() else []
    except OSError as error:
        raise UserError(f"root is '{root}', which cannot be read: {error.strerror}") from error
    for folder in folders:
        task, when = name_and_time(folder.name)
        begun = f"{when:%Y-%m-%d %H:%M}" if when else "-"
        epochs, validation = read_metrics(folder / "metrics.csv")
        found.append(Run(task, begun, epochs, validation, read_test(folder / "test_results.json"), str(folder)))
    return sorted(found, key=lambda run: (run.begun, run.folder), reverse=True)


def as_text(runs: Sequence[Run]) -> str:
    """Return the runs as a table."""
    lines = [HEADER, *runs]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def list_runs(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = Parser(prog="ffrecur runs", allow_abbrev=False, description="List the trainings, the newest first.")
    parser.add_argument("--root", type=with_home, default="runs", help="folder of the runs (default: %(default)s)")
    options = parser.parse_args(arguments)
    runs = runs_below(Path(options.root))
    print(as_text(runs) if runs else f"There is no run in '{options.root}' yet: ffrecur fit trains one.")


def main(arguments: Sequence[str]) -> int:
    """Print the table; return the exit code."""
    return exit_code(list_runs, arguments)
