"""Run folders: where a run lives, and which checkpoint a command means."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from ffrecur.errors import SettingWarning, UserError
from ffrecur.storage.exported import is_exported
from ffrecur.storage.files import existing
from ffrecur.storage.museum import has_card, place_of, said, standing_in

BEST, LAST, CONFIG = "best.ckpt", "last.ckpt", "config.yaml"
OF_THE_SPLIT = ("validation_size", "split_seed", "document_separator")  # settings of data that decide what validates
DIGITS = "museum/digits"  # predicts where there is no run


@rank_zero_only
def notice(message: str) -> None:
    """Tell the user which run or checkpoint a command means."""
    print(message, flush=True)


def new_run_folder(root: str | Path, name: str) -> Path:
    """Return the path of a folder that does not exist yet, `<root>/<name>-<date>-<time>`; it is not made here."""
    stem = f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder, number = Path(root) / stem, 2
    while folder.exists():
        folder, number = Path(root) / f"{stem}-{number}", number + 1
    return folder


@contextmanager
def reserved_run_folder(root: str | Path, name: str, used: Callable[[], bool]) -> Iterator[Path]:
    """Make a folder for a new run, so that another that starts in the same second takes another one.

    After the block it is taken away again if it is not `used()`, that is if no step of training was made, and so is the root
    if that was made here and has nothing else in it.
    """
    made_root = not Path(root).exists()
    folder = new_run_folder(root, name)
    while True:
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            break
        except FileExistsError:
            folder = new_run_folder(root, name)
        except OSError as error:
            where = f"trainer.default_root_dir is '{root}', where no folder can be made: {error.strerror}"
            raise UserError(where) from error
    try:
        yield folder
    finally:
        if not used():
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # not empty
                if made_root:
                    Path(root).rmdir()


def newest_run(root: str | Path) -> Path | None:
    """Return the run folder below `root` whose last.ckpt was written last; None if there is no such run."""
    lasts = Path(root).glob(f"*/{LAST}") if existing(str(root)) is not None else []
    return max(
        (last.parent for last in lasts), key=lambda run: ((run / LAST).stat().st_mtime_ns, run.name), default=None
    )


def run_of(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint lies in; None for a checkpoint on its own."""
    return checkpoint.parent if (checkpoint.parent / CONFIG).is_file() else None


def checkpoint_to_use(subcommand: str, given: str | None, root: str | Path) -> Path | None:
    """Return the checkpoint that a command reads.

    `fit` reads none unless `given`; the others the best one of the newest run. `given` is a file, a run folder (its
    best checkpoint), a net that comes with ffrecur, or "last" or "best" of the newest run. Without a run
    `fit --ckpt_path last` starts a new one, and `predict` uses a net that comes with ffrecur.
    Raises `UserError` where there is nothing to read, or nothing from which a training could go on.
    """
    if given is None and subcommand == "fit":
        return None
    if given not in (None, "last", "best"):
        if has_card(place_of(given)):
            if subcommand == "fit":
                raise UserError(
                    f"ckpt_path is '{given}', an exported net without the state of its training, which `fit` cannot go on "
                    "with; give a checkpoint or the folder of a run"
                )
            return Path(given)
        there = existing(given)
        if there is None:
            others = "a .ckpt file or the folder of a run" + f", or a net such as {DIGITS}" * (subcommand != "fit")
            raise UserError(f"ckpt_path is '{given}', which is not there; give best, last, {others}")
        return _best_or_last(there) if there is not None and there.is_dir() else Path(given)
    run = newest_run(root)
    if run is None and subcommand == "fit":
        notice(f"There is no run in '{root}' to continue: starting a new one.")
        return None
    if run is None and subcommand == "predict" and given is None:
        notice(said(DIGITS, "ffrecur fit"))
        return standing_in(DIGITS)
    if run is None:
        raise UserError(
            f"ckpt_path is {given or 'not given'}, but there is no run in '{root}' yet; train one with `ffrecur fit`, "
            f"or give the path of a checkpoint, or a net that comes with ffrecur, such as {DIGITS}"
        )
    checkpoint = run / LAST if given == "last" else _best_or_last(run)
    notice(f"Using {checkpoint}, of the newest run.")
    return checkpoint


def same_source(one: object, other: object) -> bool:
    """Whether two values of `data.source` mean the same data: the same text, or the same file or folder."""
    first, second = existing(str(one)), existing(str(other))
    return one == other or (first is not None and second is not None and first.samefile(second))


def begins_anew(checkpoint: Path | None, trained_with: Mapping[str, Any] | None, data: Any) -> bool:
    """Return whether a training from a checkpoint is a new run: from any but the last one, and on another source.

    So its best checkpoint and its figures are of one kind of data alone.
    """
    if checkpoint is None or checkpoint.name != LAST:
        return checkpoint is not None
    before, now = (trained_with or {}).get("source"), data.get("init_args.source")
    other = now is not None and before is not None and not same_source(before, now)
    if other:
        notice(f"A new run: data.source is {str(now)!r}, but was {str(before)!r} in the training so far.")
    return other


def of_same_source(stage: str, trained_with: Mapping[str, Any] | None, data: Any) -> bool:
    """Return whether a net was trained on the source of the data, which is told so before it is set up to judge the net."""
    if stage == "predict" or trained_with is None:
        return False
    same = same_source(trained_with.get("source"), getattr(data, "source", None))  # which the user's own data may lack
    if stage != "fit":
        data.other_source, data.training_settings = not same, trained_with
    return same


def warn_of_another_split(stage: str, trained_with: Mapping[str, Any], data: Any) -> None:
    """Warn where what was trained on may be judged, as the same source is split in another way now; `data` has been set up."""
    by_validation = any(
        getattr(data, f"test_{what}", None) is getattr(data, f"validation_{what}", data) for what in ("set", "text")
    )
    if stage == "test" and not by_validation:
        return
    for name in OF_THE_SPLIT:
        given, before = getattr(data, name, data.hparams.get(name)), trained_with.get(name)
        if given != before:
            now, then = ("null" if value is None else repr(value) for value in (given, before))
            what = (
                f"data.{name} is {now}, but was {then} in the training: some of what is judged may have been trained on"
            )
            warnings.warn(what, SettingWarning, stacklevel=2)


class SameCheckpoint(Callback):
    """Refuse to go on where the processes of a run found different checkpoints, as the newest run may change in between."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare with what the first process found."""
        first = trainer.strategy.broadcast(str(self.checkpoint))
        if first != str(self.checkpoint):
            raise UserError(
                f"ckpt_path means {first} to the first process, but {self.checkpoint} to process {trainer.global_rank}; "
                "give the path of a checkpoint"
            )


def _best_or_last(run: Path) -> Path:
    if not (run / BEST).is_file() and not (run / LAST).is_file():
        what = "an exported net, which keeps no settings of its run: ffrecur.load opens it in Python"
        without = what if is_exported(run) else f"a folder with neither {BEST} nor {LAST} in it"
        raise UserError(f"checkpoint is '{run}', {without}")
    return run / BEST if (run / BEST).is_file() else run / LAST
