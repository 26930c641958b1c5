"""Does a second process pay? Seconds a training step of 1 process with 1 thread against 2 processes with 1 thread each.

python scripts/bench/bench_processes.py [--hidden 500 500] [--batch 100] [--steps 30] [--repeats 3]

It needs two cores with nothing else to do. The global batch is the same, so that both do the same work; runs take turns, and
the median of all steps counts. The ratio is 2 where the second process costs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import lightning as L
import torch

from ffrecur.data.loader import TensorLoader
from ffrecur.lit import RecurrentModule
from ffrecur.lit.run.process_state import prepare_process
from ffrecur.lit.run.quiet import silence_all

FEATURES, CLASSES, ITERATIONS, WARM_UP = 784, 10, 8, 5


def count_weights(hidden: Sequence[int], features: int = FEATURES, classes: int = CLASSES) -> int:
    """Return the number of parameters of a `RecurrentNet`, all of which have a gradient to be reduced.

    >>> count_weights([500, 500])
    908010
    """
    between = sum(below * above for below, above in pairwise(hidden))
    layers = features * hidden[0] + 2 * between + classes * hidden[-1] + sum(hidden)
    return layers + classes * (sum(hidden) + 1)


def count_products(hidden: Sequence[int], batch: int, iterations: int, features: int = FEATURES) -> int:
    """Return the multiply-adds of a training step, about: `B (2 D H_1 + 8 T S)`, S the sum of `H_l H_(l+1)`.

    The image once forward and once for its gradient; for positive and negative data, each iteration, the products with the
    layer below and the one above, and as many for the gradients.

    >>> count_products([500, 500], batch=100, iterations=8)
    1678400000
    """
    between = sum(below * above for below, above in pairwise(hidden))
    return batch * (2 * features * hidden[0] + 8 * iterations * between)


def predict(weights: int, products: int, processes: int, bytes_a_second: float, products_a_second: float) -> float:
    """Return the speed-up to expect: time of one process over that of each of N, whose gradients are not overlapped.

    One computes `M / R` seconds; each of N computes `M / (N R)` and sends `2 (N - 1) / N * 4 P` bytes in a ring.
    """
    alone = products / products_a_second
    sent = 2 * (processes - 1) / processes * 4 * weights
    return alone / (alone / processes + sent / bytes_a_second)


class RandomImages(L.LightningDataModule):
    """Random images, as many as the steps need."""

    def __init__(self, batch: int, steps: int) -> None:
        super().__init__()
        self.batch = batch
        source = torch.Generator().manual_seed(0)
        self.images = torch.rand(batch * steps, FEATURES, generator=source)
        self.labels = torch.randint(CLASSES, (batch * steps,), generator=source)

    def train_dataloader(self) -> TensorLoader:
        """Batches in order."""
        assert self.trainer is not None
        place = (self.trainer.world_size, self.trainer.global_rank)
        return TensorLoader([self.images, self.labels], self.batch, False, 0, *place)


class Clock(L.Callback):
    """The time after each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())


def train(options: argparse.Namespace) -> None:
    """Train as one of the processes; the first prints the seconds of its steps, a JSON list."""
    silence_all()
    torch.set_num_threads(1)
    prepare_process()
    clock, steps = Clock(), options.steps + WARM_UP
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=options.processes,
        strategy="ddp" if options.processes > 1 else "auto",
        max_epochs=1,
        callbacks=[clock],
        **quiet,  # type: ignore[arg-type]
    )
    module = RecurrentModule(options.hidden, FEATURES, CLASSES, iterations=ITERATIONS)
    trainer.fit(module, datamodule=RandomImages(options.batch, steps))
    if trainer.is_global_zero:
        print(json.dumps([after - before for before, after in pairwise(clock.times[WARM_UP - 1 :])]))


def measure(arguments: Sequence[str], processes: int) -> list[float]:
    """Return the seconds of the steps of a training by so many processes, each with one thread."""
    command = [sys.executable, __file__, *arguments, f"--processes={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def main(arguments: Sequence[str]) -> None:
    """Measure, or be one of those who are measured."""
    parser = argparse.ArgumentParser(description="Seconds a training step of one process and of two.")
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500], help="widths (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="images of the global batch (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, by turns (default: %(default)s)")
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)  # what it starts itself with
    options = parser.parse_args(arguments)
    if options.processes is not None:
        train(options)
        return
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for processes, found in seconds.items():
            found += measure(arguments, processes)
    one, two = (statistics.median(found) for found in seconds.values())
    weights, products = count_weights(options.hidden), count_products(options.hidden, options.batch, ITERATIONS)
    print(f"net {FEATURES}-{'-'.join(map(str, options.hidden))}-{CLASSES}, global batch {options.batch}")
    print(f"{4 * weights / 1e6:.1f} MB of gradients, {products / 1e9:.2f} thousand million multiply-adds a step")
    print(f"1 process   {1e3 * one:9.1f} ms a step, {products / one / 1e9:.1f} thousand million multiply-adds a second")
    print(f"2 processes {1e3 * two:9.1f} ms a step")
    print(f"ratio       {one / two:9.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
