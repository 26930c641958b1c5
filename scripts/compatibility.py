"""Which parts of Lightning work with the program: each is tried on a small image and a small text task.

It prints the page docs/compatibility.md, a table in Markdown: for each callback, logger, profiler, precision, strategy of one
machine and flag of the trainer what was checked, or the sentence that refuses it. A traceback ends it with exit code 1.

    python scripts/compatibility.py > docs/compatibility.md
    python scripts/compatibility.py callbacks EarlyStopping
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lightning
import numpy as np
import torch

from ffrecur.cli import main as ffrecur
from ffrecur.lit.quiet import silence_all

IMAGES = [
    "--data.source=digits",
    "--data.batch_size=20",
    "--model.hidden_features=[12,10]",
    "--model.image_dropout=0.1",
]
TEXT = ["--model=CharModule", "--model.hidden_features=[8,8]", "--data=CorpusDataModule", "--data.source=tales.txt"]
TEXT += ["--data.document_separator=\\n\\n", "--data.batch_size=40"]
BOTH = ["--model.optimizer.lr=0.01", "--trainer.max_epochs=2"]
LONGER = ["--trainer.max_epochs=9", "--trainer.max_steps=-1"]
HEAD = """# What works with Lightning

Each part of Lightning was tried on a small image task and a small text task, on a machine without a GPU.
This page is what `python scripts/compatibility.py` prints (lightning {lightning}, torch {torch}).

A row says what was checked, or the sentence that refuses the part.
*Trained, tested, continued* means: two epochs of `fit`, `test`, and `fit --ckpt_path last` to a ninth epoch.
Callbacks are given as `--trainer.callbacks+=Name`, their settings as `--trainer.callbacks.setting=value`.

"""
Check = Callable[[Path, str], str]


class Part(NamedTuple):
    """A part of Lightning: how it is asked for, and what is checked beside that it trains, is tested and goes on."""

    group: str
    name: str
    options: list[str]
    check: Check | None = None
    processes: bool = False  # it starts others, so that it is run as a program


def callback(name: str, *settings: str, check: Check | None = None) -> Part:
    """Return the part for a callback with these settings, such as `monitor=train/loss`."""
    options = [f"--trainer.callbacks.{setting}" for setting in settings]
    return Part("callbacks", name, [f"--trainer.callbacks+={name}", *options], check)


def one_of(group: str, setting: str, *names: str) -> list[Part]:
    """Return a part for each value of a setting of the trainer."""
    return [Part(group, name, [f"--trainer.{setting}={name}"]) for name in names]


def logger(name: str, written: str) -> Part:
    """Return the part for a logger that writes a file of this name."""
    return Part(
        "loggers", name, [f"--trainer.logger={name}", "--trainer.logger.save_dir=logs"], has_file(f"logs/*/*/{written}")
    )


def processes(strategy: str) -> Part:
    """Return the part for a strategy with two processes."""
    return Part("strategies", strategy, [f"--trainer.strategy={strategy}", "--trainer.devices=2"], processes=True)


def flag(setting: str, check: Check | None = None, *more: str) -> Part:
    """Return the part for a flag of the trainer, such as `max_steps=2`."""
    return Part("flags", setting, [f"--trainer.{setting}", *(f"--trainer.{other}" for other in more)], check)


# --- what is checked ----------------------------------------------------------------------------------------------------


def steps(run: Path) -> int:
    """Return the optimiser steps of a run."""
    return int(torch.load(run / "last.ckpt", weights_only=True)["global_step"])


def rows(run: Path, column: str) -> int:
    """Return how many rows of metrics.csv have a figure."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return sum(bool(row.get(column)) for row in csv.DictReader(file))


def made_steps(count: int) -> Check:
    """Check the number of steps."""

    def check(run: Path, out: str) -> str:
        assert steps(run) == count, steps(run)
        return f"{count} steps were made"

    return check


def has_figure(column: str) -> Check:
    """Check that a figure is in metrics.csv."""

    def check(run: Path, out: str) -> str:
        assert rows(run, column) > 0, column
        return f"`{column}` is in metrics.csv"

    return check


def has_file(pattern: str) -> Check:
    """Check that there is a file."""

    def check(run: Path, out: str) -> str:
        assert list(Path().glob(pattern)), pattern
        return f"there is {pattern}"

    return check


def prints(words: str) -> Check:
    """Check what is printed."""

    def check(run: Path, out: str) -> str:
        assert words in out, out
        return f"it prints '{words}'"

    return check


def changes_the_weights(run: Path, out: str) -> str:
    """Check that the weights are not those of the same training without it."""
    config = torch.load(run / "last.ckpt", weights_only=True)["ffrecur_config"]
    task = TEXT if "Char" in config["model"]["class_path"] else IMAGES
    assert program(["fit", *task, *BOTH, "--trainer.default_root_dir=plain"])[0] == 0
    (plain,) = Path("plain").glob("*/last.ckpt")
    found, other = (torch.load(path, weights_only=True)["state_dict"] for path in (run / "last.ckpt", plain))
    assert any(not torch.equal(weight, other[name]) for name, weight in found.items())
    return "the weights are others than without it"


FINDER = [
    "--trainer.callbacks+=LearningRateFinder",
    "--trainer.callbacks.num_training_steps=18",
    "--trainer.max_epochs=8",
]
PARTS = [
    callback("BackboneFinetuning"),
    callback("BatchSizeFinder"),
    callback("DeviceStatsMonitor"),
    callback("EarlyStopping", "monitor=train/loss", "mode=max", "patience=1"),
    callback("EMAWeightAveraging", "decay=0.9", check=changes_the_weights),
    callback("GradientAccumulationScheduler", "scheduling={0: 3}", check=made_steps(2)),
    callback("LambdaCallback"),
    Part("callbacks", "LearningRateFinder", FINDER, changes_the_weights),
    callback("LearningRateMonitor", check=has_figure("lr-Adam/pg1")),
    callback("ModelCheckpoint", "monitor=train/loss", "save_top_k=3", "dirpath=more", check=has_file("more/*.ckpt")),
    callback("ModelPruning", "pruning_fn=l1_unstructured", "amount=0.1", check=changes_the_weights),
    callback("ModelSummary", "max_depth=2"),
    callback("OnExceptionCheckpoint", "dirpath=more"),
    callback("RichModelSummary"),
    callback("RichProgressBar"),
    callback("SpikeDetection"),
    callback("StochasticWeightAveraging", "swa_lrs=0.01", "swa_epoch_start=1", check=changes_the_weights),
    callback("ThroughputMonitor", "batch_size_fn=builtins.len"),
    callback("Timer", "duration=00:01:00:00"),
    callback("TQDMProgressBar", check=prints("Epoch 1")),
    callback("WeightAveraging", check=changes_the_weights),
    *one_of("loggers", "logger", "CometLogger", "lightning.pytorch.loggers.LitLogger", "MLFlowLogger", "WandbLogger"),
    logger("CSVLogger", "metrics.csv"),
    logger("TensorBoardLogger", "events*"),
    *one_of("loggers", "logger", "false", "true"),
    *one_of("profilers", "profiler", "simple", "advanced", "pytorch", "xla", "PassThroughProfiler"),
    *one_of("precisions", "precision", "32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"),
    *one_of("precisions", "precision", "transformer-engine", "transformer-engine-float16"),
    *one_of("strategies", "strategy", "auto", "single_device"),
    processes("ddp"),
    processes("ddp_find_unused_parameters_true"),
    *one_of("strategies", "strategy", "ddp_spawn", "ddp_fork", "ddp_notebook", "fsdp", "deepspeed", "xla"),
    *one_of("flags", "accelerator", "cpu", "gpu"),
    flag("devices=1"),
    flag("fast_dev_run=true"),
    flag("max_epochs=3"),
    flag("min_epochs=3", None, "max_epochs=3"),
    flag("max_steps=2", made_steps(2)),
    flag("min_steps=2"),
    flag("max_time=00:01:00:00"),
    flag("limit_train_batches=1", made_steps(2)),
    flag("limit_val_batches=1"),
    flag("limit_test_batches=1"),
    flag("limit_predict_batches=1"),
    flag("overfit_batches=1", made_steps(2)),
    flag("val_check_interval=2"),
    flag("check_val_every_n_epoch=2"),
    flag("num_sanity_val_steps=1"),
    flag("log_every_n_steps=1"),
    flag("enable_checkpointing=false"),
    flag("enable_progress_bar=false"),
    flag("enable_model_summary=false"),
    flag("accumulate_grad_batches=3", made_steps(2)),
    flag("gradient_clip_val=0.5", changes_the_weights),
    flag("gradient_clip_algorithm=value", changes_the_weights, "gradient_clip_val=0.5"),
    flag("deterministic=true"),
    flag("benchmark=true"),
    flag("inference_mode=false"),
    flag("use_distributed_sampler=false"),
    flag("detect_anomaly=true"),
    flag("barebones=true"),
    flag("sync_batchnorm=true"),
    flag("reload_dataloaders_every_n_epochs=1"),
    flag("default_root_dir=elsewhere", has_file("elsewhere/*/last.ckpt")),
    flag("enable_autolog_hparams=false"),
    flag("model_registry=nets"),
    flag("num_nodes=1"),
    flag("logger=false", has_figure("train/loss")),
    flag("profiler=null"),
    flag("plugins=null"),
    flag("callbacks=null"),
    flag("precision=32"),
    flag("strategy=auto"),
]


# --- trying them --------------------------------------------------------------------------------------------------------


def program(options: list[str], processes: bool = False) -> tuple[int, str, str]:
    """Run `ffrecur`; return its exit code and what it printed, and on standard error."""
    if processes:
        command = [sys.executable, "-m", "ffrecur.main", *options]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = ffrecur(options)
    torch.use_deterministic_algorithms(False)
    return code, out.getvalue(), err.getvalue()


def outcome(part: Part, task: list[str]) -> str:
    """Train, go on and test in the current folder; return what was checked, or the sentence that refused."""
    root = ["--trainer.default_root_dir=elsewhere"] if "elsewhere" in str(part.options) else []
    code, out, err = program(["fit", *task, *BOTH, *part.options], part.processes)
    told = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
    if code == 2 and len(told) == 1 and "Traceback" not in err:
        return f"refused: {told[0]}"
    assert code == 0, err
    runs = list(Path("elsewhere" if root else "runs").glob("*/last.ckpt"))
    if not runs:
        return "trained; nothing is kept, as asked"
    (run,) = (path.parent for path in runs)
    checked = [] if part.check is None else [part.check(run, out + err)]
    code, _, err = program(["test", *root], part.processes)
    assert (code, "Traceback" in err) == (0, False), (code, err)
    assert list(run.glob("test_results.json"))
    code, _, err = program(["fit", "--ckpt_path=last", *LONGER, *root], part.processes)
    assert code in (0, 2), (code, err)
    assert "Traceback" not in err, err
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    going_on = "continued" if code == 0 else f"not continued: {told[0].removeprefix('error: ')}"
    return "; ".join(["trained", "tested", going_on, *checked])


def try_part(part: Part, task: list[str]) -> str:
    """Return the outcome of a part in a new folder with a little data; a traceback where that is it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        make_data()
        try:
            return outcome(part, task)
        except BaseException:
            traceback.print_exc()
            return "TRACEBACK"
        finally:
            os.chdir(before)


def make_data() -> None:
    """Write 60 training and 20 test images of 6x5 in three classes, and six short documents."""
    random = np.random.default_rng(0)
    Path("digits").mkdir()
    for name, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = random.integers(0, 60, (count, 6, 5)).astype(np.uint8)
        images[np.arange(count), 0, labels] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            Path(f"digits/{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    animals = ("fox", "hen", "cow", "dog", "cat", "owl")
    tales = "\n\n".join(
        f"The {one} sat on the {other}, and slept." for one, other in zip(animals, animals[::-1], strict=True)
    )
    Path("tales.txt").write_text(tales, encoding="utf-8")


def table(parts: list[Part]) -> str:
    """Try the parts; return the table, with one row for both tasks where they agree."""
    lines = []
    for group in dict.fromkeys(part.group for part in parts):
        lines += ["", f"## {group.capitalize()}", "", "| | images | text |", "|---|---|---|"]
        for part in parts:
            if part.group == group:
                found = [shown(try_part(part, task)) for task in (IMAGES, TEXT)]
                lines.append(f"| `{part.name}` | {found[0]} | {found[1] if found[1] != found[0] else 'the same'} |")
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines).strip()


def shown(text: str) -> str:
    """Return text for a cell of a table, cut where it is long, without what is a function of the machine or the time."""
    text = re.sub(r"0x[0-9a-f]+", "0x...", text.replace("|", "\\|"))
    return text if len(text) <= 200 else text[:197] + "..."


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="groups and names that are tried; all by default")
    only = parser.parse_args().only
    silence_all()
    torch.set_num_threads(1)
    found = table([part for part in PARTS if not only or part.group in only or part.name.partition("=")[0] in only])
    print(HEAD.format(lightning=lightning.__version__, torch=torch.__version__.partition("+")[0]) + found)
    sys.exit("TRACEBACK" in found)


if __name__ == "__main__":
    main()
