"""How fast it trains and evaluates: medians of interleaved repetitions, ours against the plain reference, in one run.

python scripts/bench.py [--threads 2] [--repetitions 9]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ffrecur import RecurrentNet, engine, reference
from ffrecur.negatives import hard_labels
from ffrecur.reference import Learning

BATCH, ITERATIONS = 100, 8


def interleaved_medians(functions: dict[str, Callable[[], None]], repetitions: int) -> dict[str, float]:
    """Return the median time of each function in seconds; the functions take turns, so that a slow spell hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_number in range(repetitions + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_number > 0:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def training_step(module: object, net: RecurrentNet, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """Return one whole training step: loss, gradients and fused Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        module.local_learning(net, images, labels, hard_labels, Learning(ITERATIONS), None).loss.backward()  # type: ignore[attr-defined]
        optimizer.step()

    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of matrix products")
    parser.add_argument("--repetitions", type=int, default=9, help="timed repetitions of each figure")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    print(f"batch {BATCH}, {ITERATIONS} iterations, {options.threads} threads, medians of {options.repetitions}")
    print(f"{'net':>12}{'train, images/s':>18}{'reference, images/s':>22}{'ratio':>8}{'evaluate, images/s':>21}")
    for width in (500, 2000):
        torch.manual_seed(0)
        net = RecurrentNet(784, (width, width), 10, sign=-1)
        images, labels = torch.rand(BATCH, 784), torch.randint(10, (BATCH,))
        functions = {
            "engine": training_step(engine, net, images, labels),
            "reference": training_step(reference, net, images, labels),
            "evaluate": lambda net=net, images=images: net.classify(images),  # type: ignore[misc]
        }
        seconds = interleaved_medians(functions, options.repetitions)
        rate = {name: BATCH / value for name, value in seconds.items()}
        ratio = seconds["reference"] / seconds["engine"]
        figures = f"{rate['engine']:>18.0f}{rate['reference']:>22.0f}{ratio:>8.2f}{rate['evaluate']:>21.0f}"
        print(f"{f'2x{width}':>12}{figures}")


if __name__ == "__main__":
    main()
