"""Kind 1: what a class or a setting of the user's raises is one sentence with what was typed; our bugs keep their traceback."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from running import TINY, only_run, run, snapshot

from ffrecur.lit.run.boundary import Named, as_user_error, lacks_memory

FIT = ["fit", *TINY]
CALLBACK = "--trainer.callbacks+="

# what was typed -> what the one line says; none of these leaves anything on the disk
REFUSED: list[tuple[list[str], list[str]]] = [
    # a package that is missing
    (["--trainer.logger=WandbLogger"], ["--trainer.logger=WandbLogger: ModuleNotFoundError:", "wandb"]),
    (["--trainer.logger=MLFlowLogger"], ["--trainer.logger=MLFlowLogger: ModuleNotFoundError:", "mlflow"]),
    (["--trainer.logger", "CometLogger"], ["--trainer.logger CometLogger: ModuleNotFoundError:", "comet"]),
    ([CALLBACK + "RichProgressBar"], [CALLBACK + "RichProgressBar: ModuleNotFoundError:", "rich"]),
    ([CALLBACK + "RichModelSummary"], [CALLBACK + "RichModelSummary: ModuleNotFoundError:", "rich"]),
    (["--trainer.accelerator=tpu"], ["torch_xla"]),
    (["--trainer.profiler=xla"], ["trainer.profiler is 'xla'", "torch_xla is not installed"]),
    (["--trainer.strategy=deepspeed"], ["--trainer.strategy=deepspeed:", "DeepSpeed"]),
    (["--trainer.precision=transformer-engine"], ["transformer"]),
    # what this machine or this kind of training does not have
    (
        ["--trainer.precision=bf16-true"],
        ["trainer.precision is 'bf16-true', but must be 32-true or 64-true or bf16-mixed"],
    ),
    (["--trainer.precision=16-true"], ["trainer.precision is '16-true', but must be"]),
    (["--trainer.accelerator=gpu"], ["--trainer.accelerator=gpu:"]) if not torch.cuda.is_available() else ([], []),
    (["--trainer.strategy=fsdp", "--trainer.accelerator=cpu"], ["--trainer.strategy=fsdp", "GPU accelerator"]),
    (
        ["--trainer.strategy=ddp_spawn", "--trainer.accelerator=cpu"],
        ["trainer.strategy is 'ddp_spawn', but must be auto or ddp"],
    ),
    (
        ["--trainer.strategy=ddp_fork", "--trainer.accelerator=cpu"],
        ["trainer.strategy is 'ddp_fork', but must be auto or ddp"],
    ),
    (["--trainer.strategy=dp"], ["--trainer.strategy=dp:", "invalid strategy"]),
    (["--trainer.devices=0", "--trainer.accelerator=cpu"], ["--trainer.devices=0"]),
    (["--trainer.barebones=true"], ["trainer.barebones is True, but must be false"]),
    # settings that the trainer finds wrong only when it runs
    (["--trainer.val_check_interval=100"], ["--trainer.val_check_interval=100:", "training batches (3)"]),
    (["--trainer.gradient_clip_algorithm=foo", "--trainer.gradient_clip_val=1"], ["foo", "'value', 'norm'"]),
    (["--trainer.gradient_clip_val=-1"], ["trainer.gradient_clip_val is -1, but must be at least 0"]),
    (["--trainer.limit_val_batches=1.5"], ["--trainer.limit_val_batches=1.5:"]),
    (["--trainer.log_every_n_steps=-1"], ["trainer.log_every_n_steps is -1, but must be at least 0"]),
    (["--trainer.max_time=soon"], ["--trainer.max_time=soon:", "DD:HH:MM:SS"]),
    (["--trainer.val_check_interval=0"], ["trainer.val_check_interval is 0, but must be at least 1 batch"]),
    (
        ["--trainer.default_root_dir=digits/train-images-idx3-ubyte/x"],
        ["trainer.default_root_dir is", "but must be a folder"],
    ),
    (["--trainer.default_root_dir=\x85x"], ["the settings cannot be written so that a run can be continued"]),
    ([CALLBACK + "faulty.Pipe"], [CALLBACK + "faulty.Pipe: BrokenPipeError: [Errno 32] Broken pipe of my database"]),
    (
        ["--model.lr_scheduler=ReduceLROnPlateau"],
        ["torch.optim.lr_scheduler.ReduceLROnPlateau or lightning.pytorch.cli.ReduceLROnPlateau; give the full name"],
    ),
    # a class that cannot be used
    (
        [CALLBACK + "broken.X"],
        ["trainer.callbacks is 'broken.X', which cannot be imported: ModuleNotFoundError", "nowhere"],
    ),
    ([CALLBACK + "faulty.Nothing"], ["trainer.callbacks is 'faulty.Nothing', but faulty has no 'Nothing'"]),
    ([CALLBACK + "json.JSONDecoder"], ["trainer.callbacks is 'json.JSONDecoder', which is not of the kind"]),
    (["--trainer.max_steps=-5"], ["--trainer.max_steps=-5:"]),
    # classes that fail before the first step: in their constructor, in `setup`, in the first batch
    ([CALLBACK + "BackboneFinetuning"], [CALLBACK + "BackboneFinetuning: AttributeError:", "backbone"]),
    ([CALLBACK + "faulty.InSetup"], [CALLBACK + "faulty.InSetup: KeyError: 'setup' (faulty.py, line "]),
    ([CALLBACK + "faulty.InConstructor"], [CALLBACK + "faulty.InConstructor: RuntimeError: constructor"]),
    (
        [CALLBACK + "faulty.Wrapping"],
        [
            "faulty.Wrapping: RuntimeError: a sentence of its own (FileNotFoundError: [Errno 2] No such file",
        ],
    ),
    (
        ["--model.optimizer=SparseAdam", "--model.optimizer.lr=0.1"],
        ["--model.optimizer=SparseAdam --model.optimizer.lr=0.1: RuntimeError:", "dense gradients"],
    ),
    (
        ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=digits/train-images-idx3-ubyte"],
        ["TensorBoardLogger"],
    ),
    (
        ["--trainer.default_root_dir=/proc/nothing"],
        ["trainer.default_root_dir is '/proc/nothing', where no folder can be made"],
    ),
]

FAULTY = """
from lightning.pytorch.callbacks import Callback
from ffrecur.lit import BackpropModule

class ByHand(BackpropModule):
    def __init__(self, hidden_features: list[int] = [4], **settings):
        super().__init__(hidden_features, **settings)
        self.automatic_optimization = False
    def training_step(self, batch, batch_index):
        self.net.head.bias.data += 0.1

class InSetup(Callback):
    def setup(self, trainer, module, stage):
        {}["setup"]

class InConstructor(Callback):
    def __init__(self):
        raise RuntimeError("constructor")

class Wrapping(Callback):
    def on_train_start(self, trainer, module):
        try:
            open("nowhere")
        except OSError as error:
            raise RuntimeError("a sentence of its own") from error

class Later(Callback):
    def __init__(self, step: int = 4):
        self.step = step
    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step == self.step:
            raise ValueError("later")

class Full(Callback):
    def on_train_epoch_end(self, trainer, module):
        raise OSError(28, "No space left on device", "theirs")

class Pipe(Callback):
    def on_train_start(self, trainer, module):
        raise BrokenPipeError(32, "Broken pipe of my database")

class Unwilling(Callback):
    def on_train_start(self, trainer, module):
        module.add_figure(None, None)
"""


@pytest.fixture
def faulty(workplace, monkeypatch):
    """The little data set, and callbacks that fail in a module `faulty`."""
    (workplace / "faulty.py").write_text(FAULTY)
    (workplace / "broken.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(workplace)
    yield workplace
    sys.modules.pop("faulty", None)


# Each third case in the quick run, all of them in the slow one.
CASES = [
    pytest.param(*case, marks=pytest.mark.slow if number % 3 else ())
    for number, case in enumerate(case for case in REFUSED if case[0])
]


@pytest.mark.parametrize(("typed", "pieces"), CASES, ids=lambda value: value[0][:60])
def test_one_sentence_and_nothing_left(faulty, typed, pieces):
    before = snapshot(faulty)
    outcome = run(*FIT, *typed)
    assert outcome.code == 2, outcome
    told = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, outcome.err
    assert "Traceback" not in outcome.err
    for piece in pieces:
        assert piece in told[0]
    assert {name for name in snapshot(faulty) if "__pycache__" not in name} == set(before), "no run folder is left"
    assert not Path("runs").exists()


def test_in_a_file_the_setting_is_named(faulty):
    Path("mine.yaml").write_text(
        "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n    init_args: {monitor: val_loss}\n"
    )
    outcome = run(*FIT, "--config=mine.yaml")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: trainer.callbacks EarlyStopping: RuntimeError: Early stopping conditioned on metric `val_loss`"
    )


def test_after_a_step_the_training_is_kept_and_named(faulty):
    """The callback fails after the first batch of the second epoch; the run goes on without it."""
    outcome = run(*FIT, CALLBACK + "faulty.Later")
    last = only_run() / "last.ckpt"
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: {CALLBACK}faulty.Later: ValueError: later (faulty.py, line ")
    assert line.endswith(f"; the training so far is in {last}")
    assert torch.load(last, weights_only=True)["global_step"] == 4
    assert run("fit", "--ckpt_path=last", CALLBACK + "faulty.Later", "--trainer.callbacks.step=99").code == 0
    assert torch.load(last, weights_only=True)["global_step"] == 6


@pytest.mark.parametrize(
    "typed",
    [
        [CALLBACK + "EarlyStopping", "--trainer.callbacks.monitor=val_loss"],
        ["--model.lr_scheduler=lightning.pytorch.cli.ReduceLROnPlateau", "--model.lr_scheduler.monitor=val_loss"],
        ["--model.lr_scheduler=OneCycleLR", "--model.lr_scheduler.max_lr=0.1", "--model.lr_scheduler.total_steps=3"],
        [CALLBACK + "faulty.Full"],
    ],
    ids=["early stopping", "plateau", "one cycle", "full disk"],
)
def test_what_is_wrong_later_names_the_checkpoint_too(faulty, typed):
    outcome = run(*FIT, *typed)
    last = only_run() / "last.ckpt"
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].endswith(f"; the training so far is in {last}")
    assert torch.load(last, weights_only=True)["global_step"] >= 3


def test_a_new_run_from_another_ones_checkpoint_leaves_no_folder_either(faulty):
    """Its steps are those of the other run until it makes one of its own."""
    assert run(*FIT).code == 0
    before = only_run()
    assert run("fit", "--ckpt_path=best", "--trainer.max_epochs=9", CALLBACK + "faulty.Pipe").code == 2
    assert run("fit", "--ckpt_path=best").code == 0, "nothing is left to train"
    assert only_run() == before


def test_steps_that_are_taken_by_hand_are_steps(faulty):
    """Lightning does not count them."""
    assert (
        run(*FIT, "--model=faulty.ByHand", "--model.hidden_features=[4]", "--trainer.enable_checkpointing=false").code
        == 0
    )
    assert (only_run() / "metrics.csv").is_file()


def test_a_file_of_figures_that_was_changed_is_named(trained):
    table = only_run() / "metrics.csv"
    table.write_text(table.read_text().replace(",", ";"))
    outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=3")
    assert outcome.code == 2
    assert outcome.err.startswith(
        f"error: '{table}' has been changed, so that the figures of this run cannot be read from it"
    )


def test_our_own_bugs_keep_their_traceback(faulty):
    """`Unwilling` hands nonsense to our code, which lies deeper."""
    with pytest.raises(TypeError) as caught:
        run(*FIT, CALLBACK + "faulty.Unwilling")
    assert "add_figure" in [frame.name for frame in caught.traceback]


def test_whose_an_error_is():
    """The class that was named, unless code of ours lies deeper."""

    class Chosen(Callback):
        def fail(self):
            raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        Chosen().fail()
    found = as_user_error(caught.value, [Named("trainer.callbacks", Chosen)], [])
    assert str(found).startswith("trainer.callbacks Chosen: KeyError: 'x' (test_boundary.py, line ")
    assert as_user_error(caught.value, [], []) is None


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory(error, lacks):
    assert lacks_memory(error) is lacks
    if lacks:
        assert str(as_user_error(error, [], [])).startswith("the memory is not enough: ")


# --- output that cannot be written ------------------------------------------------------------------------------------

PROGRAM = f"{sys.executable} -m ffrecur.main"


def shell(command, **environment):
    """Run a command with bash; return its exit code, standard output and standard error."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow  # test_generate.py has a reader of another command, and a full device ends a training below
def test_a_reader_that_has_seen_enough_ends_the_training_quietly(workplace):
    code, out, err = shell(f"set -o pipefail; {PROGRAM} {' '.join(FIT)} | head -1")
    assert (code, out.count("\n"), err) == (141, 1, "")
    assert not Path("runs").exists(), "no step had been made"


def test_a_full_device_is_one_sentence(workplace):
    code, _, err = shell(f"{PROGRAM} {' '.join(FIT)} > /dev/full")
    assert (code, err) == (2, "error: a file cannot be written: No space left on device\n")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_output_that_is_not_utf_8(tmp_path, monkeypatch):
    """Characters that cannot be shown are question marks on the screen; the files have them."""
    monkeypatch.chdir(tmp_path)
    Path("tales.txt").write_text(
        "Füchse schlafen überall.\n\nHühner äßen öfter dort.\n\nDie Kühe dösen hier.", encoding="utf-8"
    )
    options = "--model CharModule --model.hidden_features=[4] --data CorpusDataModule --data.source tales.txt"
    options += " --data.alphabet learned --data.document_separator '\\n\\n' --trainer.max_epochs 1"
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = shell(f"{PROGRAM} fit {options} && {PROGRAM} test && {PROGRAM} generate --length 9", **ascii_only)
    assert code == 0, err
    assert "alphabet of" in out
    assert "Traceback" not in err
    assert "ü" in (only_run() / "test_samples.txt").read_text(encoding="utf-8")
    with (only_run() / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) >= 1
