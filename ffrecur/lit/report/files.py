"""How an evaluation is written: files in the folder of a run, and TensorBoard."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from ffrecur.bars import bar
from ffrecur.metrics.evaluation import Evaluation, Table
from ffrecur.storage.files import replacing


def write_evaluation(
    folder: Path, stage: str, found: Evaluation, boards: Sequence[TensorBoardLogger] = (), step: int = 0
) -> list[str]:
    """Write `<stage>_results.json`, last, and a file for each table, text and picture; return the names, results first.

    Pictures, PNG in the folder `<stage>_plots`, go to the boards as well, as of that step of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {f"{stage}_{name}.csv": table for name, table in found.tables.items()}
    texts = {f"{stage}_{name}.txt": text for name, text in found.texts.items()}
    for name, table in tables.items():
        write_table(folder / name, table)
    for name, text in texts.items():
        write_text(folder / name, text)
    plots, results = f"{stage}_plots", f"{stage}_results.json"
    pictures = found.pictures()
    for name, figure in bar(pictures.items(), "drawing", "pictures", len(pictures)):
        (folder / plots).mkdir(exist_ok=True)
        with replacing(folder / plots / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120, format="png")
        for board in boards:
            board.experiment.add_figure(f"{plots}/{name}", figure, global_step=step)
    write_text(folder / results, json.dumps(without_nan(found.figures), indent=2))
    return [results, *tables, *texts, *([f"{plots}/"] if pictures else [])]


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.header)
        writer.writerows(bar(table.rows, f"writing {path.name}", "rows"))


def write_text(path: Path, text: str) -> None:
    """Write a text and the end of its last line."""
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def without_nan(value: Any) -> Any:
    """Return nested results with None in place of NaN, which JSON does not have.

    >>> without_nan({"share": float("nan"), "errors": [0.5, float("nan")]})
    {'share': None, 'errors': [0.5, None]}
    """
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
