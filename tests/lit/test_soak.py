"""Long trainings in short: memory, open files, threads and the run folder stay as they are after a warm-up."""

import gc
import mmap
import os
import threading
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback
from running import TINY, only_run, run

from ffrecur.commands import train as cli

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
IMAGES = [*TINY, "--model.image_dropout=0.2", "--data.memory_limit=0", "--data.batch_size=4"]
TEXT = [
    "--model=CharModule",
    "--model.hidden_features=[12,10]",
    "--model.optimizer=torch.optim.Adam",
    "--data=CorpusDataModule",
    "--data.source=tales.txt",
    "--data.document_separator=\\n\\n",
    "--data.batch_size=5",
    "--data.document_length=30",
    "--model.dream_every_steps=2",
]
TWELVE_EPOCHS = ["--trainer.max_epochs=12"]
FIVE_MINUTES = ["--trainer.max_epochs=-1", "--trainer.max_time=00:00:05:00"]


class Watch(Callback):
    """Notes after every epoch what the process and the run folder hold."""

    def __init__(self):
        self.steps = 0
        self.notes = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.steps = trainer.global_step
        gc.collect()
        kept = {
            "memory": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            "objects": len(gc.get_objects()),
            "open files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            "threads": max(threading.active_count(), len(os.listdir("/proc/self/task"))),  # noqa: PTH208
            "files of the run": sum(path.is_file() for path in only_run().rglob("*")),
        }
        self.notes.append(kept)


def soak(monkeypatch, length, *args):
    """Train; return the steps and how much each count grew from the second quarter's highest to the last quarter's."""
    watch = Watch()
    gc.freeze()  # what earlier tests and imports have left is not looked through after each epoch
    with monkeypatch.context() as patch:
        patch.setattr(cli, "Minutes", lambda: watch)  # in its place among the callbacks
        common = ["--trainer.check_val_every_n_epoch=1", "--trainer.log_every_n_steps=1"]
        outcome = run("fit", *args, *common, *length)
    gc.unfreeze()
    assert outcome.code == 0, outcome.err
    epochs = len(watch.notes)
    assert epochs >= 12

    def highest(name, first, last):
        return max(note[name] for note in watch.notes[epochs * first // 4 : epochs * last // 4])

    return watch.steps, {name: highest(name, 3, 4) - highest(name, 1, 2) for name in watch.notes[0]}


def check(steps, grown, mebibytes):
    print(steps, grown)
    for name in ("open files", "threads", "files of the run"):
        assert grown[name] <= 0, grown
    assert grown["memory"] < mebibytes * 2**20, grown


def test_images(workplace, monkeypatch):
    steps, grown = soak(monkeypatch, TWELVE_EPOCHS, *IMAGES)
    assert steps == 13 * 12
    check(steps, grown, 4)


def test_text_with_dreams(tales, monkeypatch):
    steps, grown = soak(monkeypatch, TWELVE_EPOCHS, *TEXT)
    assert steps >= 150
    check(steps, grown, 4)


@pytest.mark.slow
def test_images_for_five_minutes(workplace, monkeypatch):
    steps, grown = soak(monkeypatch, FIVE_MINUTES, *IMAGES, "--data.batch_size=1")
    assert steps >= 5000
    check(steps, grown, 8)


@pytest.mark.slow
def test_text_for_five_minutes(tales, monkeypatch):
    steps, grown = soak(monkeypatch, FIVE_MINUTES, *TEXT, "--data.batch_size=2")
    assert steps >= 2000
    check(steps, grown, 8)


def test_a_leak_would_be_seen(workplace, monkeypatch):
    kept = []
    noted = Watch.on_train_epoch_end

    def leaking(self, trainer, pl_module):
        memory = mmap.mmap(-1, 2**20)  # new from the system, whatever earlier tests have given back
        memory.write(os.urandom(2**20))
        kept.append((memory, Path("digits/train-labels-idx1-ubyte").open("rb")))  # noqa: SIM115
        (only_run() / f"more-{len(kept)}").touch()
        noted(self, trainer, pl_module)

    monkeypatch.setattr(Watch, "on_train_epoch_end", leaking)
    _, grown = soak(monkeypatch, TWELVE_EPOCHS, *IMAGES)
    for _, file in kept:
        file.close()
    assert grown["memory"] > 4 * 2**20
    assert grown["open files"] == grown["files of the run"] == 6
