"""Checkpoints and reports appear whole or not at all: when the process is killed amid the writing, and when the disk is full."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import TINY, largest_file, only_run, run, snapshot

import ffrecur

# Writes the first half of what it is asked to, then is killed as by a power switch.
KILLED_AMID_A_CHECKPOINT = """
import io, os, signal, sys, torch
from ffrecur.commands import train as cli
save = torch.save
def half(what, file):
    whole = io.BytesIO()
    save(what, whole)
    file.write(whole.getvalue()[:len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
cli.main(sys.argv[1:])
"""
KILLED_AMID_A_REPORT = """
import os, pathlib, signal, sys
from ffrecur.commands import train as cli
write = pathlib.Path.write_text
def half(self, text, *args, **kwargs):
    ours = "test_results" in self.name
    write(self, text[:len(text) // 2] if ours else text, *args, **kwargs)
    if ours:
        os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.write_text = half
cli.main(sys.argv[1:])
"""


def killed(code, *args):
    process = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr


def test_killed_amid_a_checkpoint(trained):
    before = snapshot(only_run())
    killed(KILLED_AMID_A_CHECKPOINT, "fit", "--ckpt_path=last", "--trainer.max_epochs=4")
    after = snapshot(only_run())
    assert after["last.ckpt"] == before["last.ckpt"]
    assert after["best.ckpt"] == before["best.ckpt"]
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["epoch"] == 2


@pytest.mark.slow
def test_killed_amid_a_report(trained):
    assert run("test").code == 0
    before = (only_run() / "test_results.json").read_bytes()
    killed(KILLED_AMID_A_REPORT, "test", "--model.window=[1,2]")
    assert (only_run() / "test_results.json").read_bytes() == before


def test_a_full_disk_leaves_the_checkpoint_before(trained):
    last = only_run() / "last.ckpt"
    before = snapshot(only_run())
    with largest_file(last.stat().st_size // 2):
        outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=4")
    assert outcome.code == 2
    assert (
        outcome.err
        == (f"error: checkpoint '{last}' cannot be written (File too large); the one before it is untouched\n")
        or "best.ckpt" in outcome.err
    )
    after = snapshot(only_run())
    assert after["last.ckpt"] == before["last.ckpt"]
    assert not [name for name in after if name.endswith(".tmp") or name.startswith(".")]
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0


def test_a_full_disk_before_the_first_checkpoint(workplace):
    with largest_file(8000):
        outcome = run("fit", *TINY, "--trainer.logger=false")
    assert outcome.code == 2
    assert outcome.err.startswith("error: checkpoint '")
    assert outcome.err.endswith("cannot be written (File too large); there is none before it\n")
    assert not list(Path("runs").glob("*/*.ckpt"))


@pytest.mark.parametrize("largest", [10, 300])
def test_a_full_disk_for_other_files(workplace, largest):
    with largest_file(largest):
        outcome = run("fit", *TINY, "--trainer.logger=false")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "cannot be written: File too large" in outcome.err


def test_a_checkpoint_is_what_the_net_was(trained):
    """The temporary name leaves no trace, and the file's permissions are the usual ones."""
    plain = only_run() / "plain"
    plain.write_text("")
    assert (only_run() / "last.ckpt").stat().st_mode == plain.stat().st_mode
    assert ffrecur.load(only_run() / "last.ckpt").hidden_features == (12, 10)
