"""The files of a run as plain objects: each is read on its own, and what cannot be read is said in a sentence."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from ffrecur.errors import UserError, one_line
from ffrecur.pages.run_tables import TABLES, TooOddError, metrics_rows

LARGEST, LARGEST_PICTURE = 64 * 2**20, 2**20  # bytes
STAGES = ("test", "validation")
Content = TypeVar("Content")
EMPTY: Any = object()


class Stage(NamedTuple):
    """What an evaluation left, `stage` being "test" or "validation": results, tables, samples of text, pictures (PNG)."""

    stage: str
    results: dict[str, Any]
    tables: dict[str, Any]
    samples: str | None
    pictures: dict[str, bytes]


class RunFiles(NamedTuple):
    """What the files of a run say.

    `notes` has a sentence for each file that is damaged, by its name. `reached` is epoch, step and date of last.ckpt.
    """

    folder: Path
    config: dict[str, Any]
    metrics: list[dict[str, float]]
    stages: dict[str, Stage]
    reached: tuple[int, int, datetime] | None
    notes: dict[str, str]


def read_run(folder: Path) -> RunFiles:
    """Read the files of a run. Raises `UserError` for a folder that has none of them."""
    check_run(folder)
    notes: dict[str, str] = {}
    config = read(folder / "config.yaml", lambda content: as_settings(content, notes), notes) or {}
    metrics = read(folder / "metrics.csv", lambda content: metrics_of(content, notes), notes) or []
    stages = {stage: read_stage(folder, stage, notes) for stage in STAGES}
    stages = {name: stage for name, stage in stages.items() if stage != Stage(name, {}, {}, None, {})}
    return RunFiles(folder, config, metrics, stages, last_checkpoint(folder, config, metrics, notes), notes)


def check_run(folder: Path) -> None:
    """Raise `UserError` for what is not the folder of a run."""
    try:
        there = folder.is_dir()
        found = there and any(
            (folder / name).exists() for name in ("config.yaml", "metrics.csv", *(f"{s}_results.json" for s in STAGES))
        )
    except OSError as error:  # a name that no file can have, or a folder that may not be searched
        raise UserError(f"run is '{folder}', which cannot be read: {error.strerror}") from error
    if not there:
        raise UserError(f"run is '{folder}', which is not there, but must be the folder of a run")
    if not found:
        missing = "config.yaml, metrics.csv and the results of a test"
        raise UserError(f"run is '{folder}', but must be the folder of a run: it has none of {missing}")


def read(path: Path, parse: Callable[[bytes], Content], notes: dict[str, str], limit: int = LARGEST) -> Content | None:
    """Return what `parse` makes of a file; None for one that is not there, or is damaged, which a note says then."""
    if not os.path.lexists(path):
        return None
    name = f"{path.parent.name}/{path.name}" if path.suffix == ".png" else path.name
    try:
        if path.is_dir():
            raise TooOddError("is a folder")
        if (size := path.stat().st_size) > limit:
            raise TooOddError(f"has {size / 2**20:.1f} MiB, which is too much for this page")
        content = path.read_bytes()
        if not content.strip():
            raise TooOddError("is empty")
        return parse(content)
    except TooOddError as error:
        notes[name] = f"{name} {error}."
    except UnicodeDecodeError:
        notes[name] = f"{name} is not UTF-8."
    except OSError as error:
        notes[name] = f"{name} cannot be read: {error.strerror or one_line(error)}."
    return None


def note_cut(name: str, content: bytes, notes: dict[str, str]) -> None:
    """Note a text that does not end with a line: we write none like that."""
    if not content.endswith(b"\n"):
        notes[name] = f"{name} is cut: its last line does not end."


def as_settings(content: bytes, notes: dict[str, str]) -> dict[str, Any]:
    """Return the settings in config.yaml."""
    try:
        found = yaml.safe_load(content.decode())
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise TooOddError(f"is no YAML ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise TooOddError("holds no settings")
    note_cut("config.yaml", content, notes)
    return {str(name): value for name, value in found.items()}


def metrics_of(content: bytes, notes: dict[str, str]) -> list[dict[str, float]]:
    """Return the rows of metrics.csv; lines that cannot be read are left out, and a note counts them."""
    rows, damaged = metrics_rows(content.decode())
    if damaged:
        lines = "one line" if damaged == 1 else f"{damaged} lines"
        notes["metrics.csv"] = f"metrics.csv has {lines} that cannot be read; the others are shown."
    return rows


def read_stage(folder: Path, stage: str, notes: dict[str, str]) -> Stage:
    """Return what an evaluation left."""
    results = read(folder / f"{stage}_results.json", lambda content: as_results(stage, content, notes), notes) or {}
    tables = {}
    for name, parse in TABLES.items():
        table = read(folder / f"{stage}_{name}.csv", lambda content, parse=parse: parse(as_rows(content)), notes)  # type: ignore[misc]
        if table is not None:
            tables[name] = table
    samples = read(folder / f"{stage}_samples.txt", lambda content: as_samples(stage, content, notes), notes)
    plots, pictures = folder / f"{stage}_plots", {}
    if plots.is_dir():
        for path in sorted(plots.glob("*.png")):
            picture = None if path.name.startswith(".") else read(path, as_picture, notes, LARGEST_PICTURE)
            if picture is not None:
                pictures[path.stem] = picture
    elif plots.exists():
        notes[plots.name] = f"{plots.name} is not a folder."
    return Stage(stage, results, tables, samples, pictures)


def as_samples(stage: str, content: bytes, notes: dict[str, str]) -> str:
    """Return the samples of text."""
    text = content.decode()
    note_cut(f"{stage}_samples.txt", content, notes)
    return text


def as_rows(content: bytes) -> list[list[str]]:
    """Return the rows of a CSV file."""
    if not content.endswith(b"\n"):
        raise TooOddError("is cut: its last line does not end")
    try:
        return [row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row]
    except csv.Error as error:
        raise TooOddError(f"is no table ({one_line(error)})") from error


def as_picture(content: bytes) -> bytes:
    """Return a PNG as it is, if it is whole."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            picture.verify()
    except Exception as error:  # Pillow raises whatever it stumbles over
        raise TooOddError("is not a whole picture") from error
    return content


# Figures of an evaluation and their kinds. Of others, such as those of a module of the user's own, numbers are kept.
NUMBER, NUMBERS, NAMES, GROUP, TEXT = "a number", "numbers", "names", "a group of figures", "text"
RESULTS = {
    **dict.fromkeys(
        (
            *("error", "goodness_error", "one_pass_error", "calibration_error", "num_examples", "head_weight", "seed"),
            "separation_error",
            *("bits_per_character", "accuracy", "head_bits_per_character", "head_accuracy", "num_characters"),
            *("known_word_share", "distinct_4gram_ratio", "longest_copied", "sample_temperature"),
        ),
        NUMBER,
    ),
    **dict.fromkeys(("error_by_iteration", "error_by_layer", "auroc_by_layer", "auroc_by_layer_dreams"), NUMBERS),
    **dict.fromkeys(("error_by_class", "window", "head_layers", "score_layers"), NUMBERS),
    "class_names": NAMES,
    **dict.fromkeys(("net", "real_text"), GROUP),
    **dict.fromkeys(("source", "checkpoint", "without_training_text"), TEXT),
}


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number; null stands for one that is not finite."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


KINDS: dict[str, Callable[[Any], bool]] = {
    NUMBER: is_number,
    NUMBERS: lambda value: isinstance(value, list) and all(map(is_number, value)),
    NAMES: lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    GROUP: lambda value: isinstance(value, dict),
    TEXT: lambda value: value is None or isinstance(value, str),
}


def as_results(stage: str, content: bytes, notes: dict[str, str]) -> dict[str, Any]:
    """Return the figures of an evaluation that are of the kind they must be; a note names the others."""
    try:
        found = json.loads(content.decode())
    except (json.JSONDecodeError, RecursionError) as error:
        raise TooOddError(f"is no JSON ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise TooOddError("holds no figures")
    known = {name: value for name, value in found.items() if name in RESULTS or is_number(value)}
    wrong = [name for name, value in known.items() if not KINDS[RESULTS.get(name, NUMBER)](value)]
    if not known:
        raise TooOddError("holds no figures that this page knows")
    if wrong:
        what = ", ".join(f"{name} is not {RESULTS[name]}" for name in wrong)
        notes[f"{stage}_results.json"] = f"{stage}_results.json has been changed: {what}."
    return {name: finite(value) for name, value in known.items() if name not in wrong and value is not None}


def finite(value: Any) -> Any:
    """Return None in place of a number that is not finite, which JSON of other programs may have."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def last_checkpoint(
    folder: Path, config: dict[str, Any], metrics: list[dict[str, float]], notes: dict[str, str]
) -> tuple[int, int, datetime] | None:
    """Return epochs, steps and date of last.ckpt, where the run has not come to the end of its epochs; else None."""
    planned = planned_epochs(config)
    if metrics and planned is not None and epochs_of(metrics) >= planned:
        return None
    path = folder / "last.ckpt"
    if not path.is_file():
        return None
    from ffrecur.storage.checkpoint import read_checkpoint

    try:
        found = read_checkpoint(path)
        written = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
        return int(found["epoch"]), int(found["global_step"]), written
    except UserError as error:
        notes["last.ckpt"] = f"{one_line(error)}.".replace(f"checkpoint is '{path}', which", "last.ckpt")
    except (KeyError, TypeError, ValueError, OSError) as error:
        notes["last.ckpt"] = f"last.ckpt does not say how far the training got ({one_line(error)})."
    return None


def planned_epochs(config: dict[str, Any]) -> int | None:
    """Return how many epochs the run was to have; None where it was without a limit, or is not known."""
    trainer = config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, dict) else None
    return epochs if isinstance(epochs, int) and epochs > 0 else None


def epochs_of(metrics: list[dict[str, float]]) -> int:
    """Return how many epochs were finished."""
    return max((int(row["epoch"]) + 1 for row in metrics), default=0)
