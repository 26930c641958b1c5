"""What the scripts that train several times share: options of their own and of `ffrecur fit`, and results that last."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ffrecur.commands.train import main as ffrecur
from ffrecur.errors import UserError

Row = dict[str, Any]
Found = dict[str, dict[str, Row]]  # by name and seed
Trainings = dict[str, tuple[str, list[str]]]  # configuration file and options by name


def answer(work: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Do what the command line asks; mistakes are told in a sentence, with exit code 2."""
    try:
        work(parser.parse_args())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def make_folder(option: str, folder: Path) -> None:
    """Make a folder for results, before anything is measured; raises `UserError` where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} is '{folder}', which cannot be made: {error.strerror}") from error


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """Return what the command line says before `--`, and the options of `ffrecur fit` after it."""
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:at]), arguments[at + 1 :]


def train(config: str, root: Path, options: Sequence[str], checkpoint: str) -> Row:
    """Train and validate once below `root`; return the results, the minutes of training and the run's folder."""
    own = f"--trainer.default_root_dir={root}"
    start = time.perf_counter()
    code = ffrecur(["fit", "--config", config, own, "--trainer.enable_model_summary=false", *options])
    minutes = (time.perf_counter() - start) / 60
    code = code or ffrecur(["validate", own, f"--ckpt_path={checkpoint}"])
    if code:
        sys.exit(code)
    newest = max(root.glob("*/"), key=lambda folder: folder.stat().st_mtime)
    results = json.loads((newest / "validation_results.json").read_text())
    return {**results, "minutes": minutes, "run": str(newest.resolve())}


def epochs_done(checkpoint: Path) -> int:
    """Return how many epochs a checkpoint has behind it."""
    loops = torch.load(checkpoint, weights_only=True)["loops"]
    return int(loops["fit_loop"]["epoch_progress"]["total"]["completed"])


def train_to_the_end(folder: Path, epochs: int, options: Sequence[str]) -> None:
    """Train once below a folder, to so many epochs; a training that was stopped goes on, one that has ended is left alone."""
    (last, *_) = [*folder.glob("*/last.ckpt"), None]
    if last is not None and epochs_done(last) >= epochs:
        return
    begun = [] if last is None else [f"--ckpt_path={last}"]
    code = ffrecur(["fit", *options, f"--trainer.default_root_dir={folder}", *begun])
    if code:
        sys.exit(code)


def study(
    trainings: Trainings,
    seeds: Sequence[int],
    file: Path,
    options: Sequence[str],
    figures: Sequence[str],
    checkpoint: str,
) -> Found:
    """Run every training with every seed; return these figures of theirs, and whatever else the file holds.

    What is in the JSON file already is not run again; it is written after each run. A training's own options win over
    those for all.
    """
    found: Found = json.loads(file.read_text()) if file.is_file() else {}
    for seed in seeds:
        for name, (config, own) in trainings.items():
            done = found.get(name, {}).get(str(seed))
            if done is not None:
                if done["options"] != [config, *options, *own]:
                    sys.exit(
                        f"{name}, seed {seed}, was run with other options below {file.parent}; give another --root"
                    )
                continue
            root = file.parent / f"{name.replace(' ', '_')}-{seed}"
            row = train(config, root, [f"--seed_everything={seed}", *options, *own], checkpoint)
            found.setdefault(name, {})[str(seed)] = {
                **{figure: row[figure] for figure in figures if figure in row},  # a read-out has no goodness of labels
                "options": [config, *options, *own],
            }
            file.write_text(json.dumps(found, indent=2) + "\n")
    return found
