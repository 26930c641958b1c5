"""Starts `ffrecur` as several processes, looks at what is left of them, and holds their weights against those of one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch
from running import Outcome

TESTS = Path(__file__).parent
ONE = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
TOLERANCE = 1e-9  # of weights after some ten steps in float64, whose sums were taken in another order
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def as_one_of_two(script, argument, rank, port):
    """Start a process as a job scheduler would."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    command = [sys.executable, TESTS / script, argument]
    return subprocess.Popen(command, env={**os.environ, **place, "NODE_RANK": "0"}, **PIPES)


def run_two(script, argument):
    """Run a script as two processes; return what each printed, and its exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [as_one_of_two(script, argument, rank, port) for rank in range(2)]
    try:
        return [(*process.communicate(timeout=300), process.returncode) for process in both]
    finally:
        for process in both:
            process.kill()


def together(commands):
    """Run commands of `ffrecur`, one after another, as the same two processes."""
    return run_two("two_processes.py", json.dumps([[*command, *TWO] for command in commands]))


@contextlib.contextmanager
def starting(*command):
    """Start a command that starts other processes by itself, in a group of its own; none of them is left after the block."""
    with subprocess.Popen([sys.executable, *map(str, command)], start_new_session=True, **PIPES) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def started(*command):
    """Run such a command, which leaves no process behind; return its outcome."""
    with starting(*command) as process:
        out, err = process.communicate(timeout=240)
        assert not members(process.pid)
    return Outcome(process.returncode, out, err)


def members(group):
    """Return the processes of a group that run, in the order in which they were started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, its_group, *_ = (folder / "stat").read_text().rpartition(") ")[2].split()
            if int(its_group) == group and state != "Z":
                found.append(int(folder.name))
    return sorted(found)


def check_weights(found, expected):
    assert found.keys() == expected.keys()
    for key, weight in expected.items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(found[key], weight, rtol=0, atol=TOLERANCE)
