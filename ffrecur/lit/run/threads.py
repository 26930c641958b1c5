"""The line at a command's start that says how many threads compute, and whether other programs leave them enough cores."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info

RUNNING = Path("/proc/loadavg")  # of Linux; its fourth word is the threads that run now, ours among them, "/", and all


def tell_threads(trainer: Trainer) -> None:
    """Log the line."""
    processes = max(1, trainer.world_size // max(1, trainer.num_nodes))
    cores, threads = usable_cores(), torch.get_num_threads()
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, cores // processes)  # as Lightning will share them out
    rank_zero_info(line(threads, cores, min(cores, (os.cpu_count() or cores) - busy_cores()), processes))


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_cores() -> float:
    """Return about how many cores of the machine other programs use: in the last minute, but no more than at this moment.

    The mean of a minute alone would count a command that has just ended.
    """
    try:
        load = os.getloadavg()[0]
    except OSError:
        return 0.0
    with suppress(OSError, ValueError, IndexError):
        load = min(load, int(RUNNING.read_text().split()[3].partition("/")[0]) - 1.0)
    return max(0.0, load)


def line(threads: int, cores: int, idle: float, processes: int = 1) -> str:
    """Return what is said; with `idle` cores fewer than threads, what to do as well.

    >>> line(2, 2, idle=1.9)
    '2 threads on 2 cores'
    >>> line(2, 2, idle=0.3)
    '2 threads on 2 cores, of which none is idle: other programs are running, and OMP_NUM_THREADS=1 may be faster'
    >>> line(1, 8, idle=8.0, processes=4)
    '4 processes with 1 thread each on 8 cores'
    """
    each = f"{threads} thread{'s' * (threads != 1)}"
    said = f"{each}" if processes == 1 else f"{processes} processes with {each} each"
    said += f" on {cores} core{'s' * (cores != 1)}"
    left = max(0, round(idle))
    if threads == 1 or threads * processes <= left:
        return said
    fewer = max(1, left // processes)
    idle_ones = ("none is", "about 1 is")[left] if left < 2 else f"about {left} are"
    cure = f"OMP_NUM_THREADS={fewer} may be faster"
    return f"{said}, of which {idle_ones} idle: other programs are running, and {cure}"
