"""What the scripts that train several times share: options of their own and of `ffrecur fit`, and results that last."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ffrecur.commands.export import settings_of_run
from ffrecur.commands.train import main as ffrecur
from ffrecur.errors import UserError
from ffrecur.lit.run.tasks import as_file, nearest_task
from ffrecur.storage.files import replacing, with_home

Row = dict[str, Any]
Found = dict[str, dict[str, Row]]  # by name and seed
OF_THE_SPLIT = ("validation_size", "split_seed")
Trainings = dict[str, tuple[str, list[str]]]  # configuration file and options by name


# --- command lines ----------------------------------------------------------------------------------------------------


def answer(work: Callable[[], None]) -> None:
    """Do what the command line asks; mistakes are told in a sentence, with exit code 2."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """Return what the command line says before `--`, and the options of `ffrecur fit` after it."""
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:at]), arguments[at + 1 :]


def make_folder(option: str, folder: Path) -> None:
    """Make a folder for results, before anything is measured; raises `UserError` where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} is '{folder}', which cannot be made: {error.strerror}") from error


def settings_in(config: str) -> dict[str, Any]:
    """Return what a configuration file says, also that of a task by its name; raises `UserError` for what is none."""
    try:
        found = yaml.safe_load(Path(as_file(config)).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"config is {config!r}, which cannot be read{nearest_task(config)}") from error
    if not isinstance(found, dict):
        raise UserError(f"config is {config!r}, but must be a configuration file of `ffrecur fit`")
    return found


def resolved(config: str, options: Sequence[str]) -> Any:
    """Return all settings of a training, defaults too; ends with the exit code of `ffrecur fit` where that refuses them."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            run("fit", "--config", config, *options, "--print_config")
        except SystemExit as end:
            if end.code:
                raise
    return yaml.safe_load(out.getvalue())


# --- results ----------------------------------------------------------------------------------------------------------


def read_results(file: Path) -> Any:
    """Return what a JSON file of results holds, {} where there is none; raises `UserError` for one that is damaged."""
    try:
        return json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"'{file}' cannot be read ({error}): give another --root") from error


def write_results(file: Path, found: Any) -> None:
    """Write a JSON file of results, whole or not at all."""
    with replacing(file) as path:
        path.write_text(json.dumps(found, indent=2) + "\n")


def split_of(run: str | Path) -> dict[str, Any] | None:
    """Return which images validate where a run trained: the settings of the data module; None for a net that keeps none."""
    return split_in_settings(settings_of_run(Path(with_home(str(run))), "data"))


def split_in_settings(kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return which images validate by settings of a data module; None where there are none."""
    return {name: kept[name] for name in OF_THE_SPLIT if kept.get(name) is not None} if kept else None


# --- trainings --------------------------------------------------------------------------------------------------------


def trained(folder: Path, config: str, options: Sequence[str]) -> Path:
    """Train once below a folder; return the run's folder.

    A training that was stopped goes on, and one that has ended is left alone: `asked.json` tells which, and what it was
    asked. Raises `UserError` for a folder with a training that was asked something else.
    """
    note, asked = folder / "asked.json", [settings_in(config), *options]
    known, lasts = read_results(note), checkpoints(folder)
    if lasts and known.get("asked") != asked:
        raise UserError(f"'{folder}' has a training with other settings: give another --root")
    if not lasts or not known["ended"]:
        make_folder("--root", folder)
        write_results(note, {"asked": asked, "ended": False})
        begun = [f"--ckpt_path={lasts[-1]}"] if lasts else []
        command = [
            "fit",
            "--config",
            config,
            f"--trainer.default_root_dir={folder}",
            "--trainer.enable_model_summary=false",
        ]
        run(*command, *options, *begun)
        write_results(note, {"asked": asked, "ended": True})
    return checkpoints(folder)[-1].parent


def checkpoints(folder: Path) -> list[Path]:
    """Return the last checkpoints of all runs below a folder, the newest at the end."""
    return sorted(folder.glob("*/last.ckpt"), key=lambda file: file.stat().st_mtime_ns)


def run(*arguments: str) -> None:
    """Run a command of `ffrecur`; end with its exit code where it fails or is stopped."""
    code = ffrecur(list(arguments))
    if code:
        sys.exit(code)


def train(config: str, root: Path, options: Sequence[str], checkpoint: str, tested: bool = False) -> Row:
    """Train and validate once below `root`; return the results, the minutes of training and the run's folder.

    Those of the test images, if they are wanted, stand under "test".
    """
    folder = trained(root, config, options)
    for subcommand in ("validate", "test") if tested else ("validate",):
        run(subcommand, f"--trainer.default_root_dir={root}", f"--ckpt_path={checkpoint}")
    found: Row = json.loads((folder / "validation_results.json").read_text())
    if tested:
        found["test"] = json.loads((folder / "test_results.json").read_text())
    return {**found, "minutes": minutes_of(folder), "run": str(folder.resolve())}


def minutes_of(folder: Path) -> float:
    """Return the minutes that a run has trained for, all its parts together."""
    with (folder / "metrics.csv").open(newline="") as file:
        return max(float(row["train/minutes"]) for row in csv.DictReader(file) if row.get("train/minutes"))


def study(
    known: Trainings,
    names: Collection[str],
    seeds: Sequence[int],
    file: Path,
    options: Sequence[str],
    figures: Sequence[str],
    checkpoint: str,
    tested: bool = False,
) -> Found:
    """Run the trainings of these names with every seed; return these figures of theirs.

    With them come those of the other `known` trainings that the JSON file holds with the same options. What is in there
    already is not run again; it is written after each run. A training's own options win over those for all. Raises
    `UserError` for a training that was run with other options.
    """
    found: Found = read_results(file)
    make_folder("--root", file.parent)
    said = {config: settings_in(config) for config, _ in known.values()}
    asked = {name: [said[config], *options, *own] for name, (config, own) in known.items()}
    for seed in seeds:
        for name in names:
            done = found.get(name, {}).get(str(seed))
            if done is not None:
                if done["options"] != asked[name]:
                    before = f"was run with another task or other options below '{file.parent}'"
                    raise UserError(f"{name}, seed {seed}, {before}: give another --root")
                continue
            root = file.parent / f"{name.replace(' ', '_')}-{seed}"
            config, own = known[name]
            row = train(config, root, [f"--seed_everything={seed}", *options, *own], checkpoint, tested)
            found.setdefault(name, {})[str(seed)] = {
                **{figure: row[figure] for figure in figures if figure in row},  # a read-out has no goodness of labels
                "options": asked[name],
            }
            write_results(file, found)
    alike = {
        name: {seed: row for seed, row in found.get(name, {}).items() if row["options"] == asked[name]}
        for name in known
    }
    return {name: by_seed for name, by_seed in alike.items() if by_seed}
