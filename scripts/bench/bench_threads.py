"""How should OpenMP's threads wait? Images a second of training at 1 and 2 threads, on an idle machine and on a busy one.

python scripts/bench/bench_threads.py [--hidden 500 500] [--seconds 4] [--repeats 3] [--busy 2]

It needs a machine with nothing else to do: it makes the load itself, processes that count. Each case is a process of its own
whose environment has the setting; the cases take turns, and the median of all repetitions counts. It prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ffrecur.main import WAITING_CHOSEN

SETTINGS = ("", "GOMP_SPINCOUNT=0", "GOMP_SPINCOUNT=1000", "GOMP_SPINCOUNT=30000", "OMP_WAIT_POLICY=passive")
CASES = ((1, ""), *((2, setting) for setting in SETTINGS))  # a thread alone waits for nobody
COUNT = "while True: pass"
WARM_UP = 2  # steps


def train(widths: Sequence[int], seconds: float) -> float:
    """Return the images a second of training steps, batch 100, within so many seconds."""
    import bench_parts as parts  # here, since PyTorch takes a second

    from ffrecur.core import learning as engine
    from ffrecur.lit.run.process_state import prepare_process

    prepare_process()
    step = parts.training_step(engine.local_learning, *parts.make(widths))
    for _ in range(WARM_UP):
        step()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        step()
        steps += 1
    return steps * parts.BATCH / (time.perf_counter() - begun)


def environment(threads: int, setting: str) -> dict[str, str]:
    """Return this process' environment with so many threads and a setting, which may be none.

    >>> environment(2, "GOMP_SPINCOUNT=0")["GOMP_SPINCOUNT"], "GOMP_SPINCOUNT" in environment(2, "")
    ('0', False)
    """
    kept = {name: value for name, value in os.environ.items() if name not in WAITING_CHOSEN}
    name, equals, value = setting.partition("=")
    return {**kept, "OMP_NUM_THREADS": str(threads), **({name: value} if equals else {})}


def measure(arguments: Sequence[str], threads: int, setting: str) -> float:
    """Return the images a second of one case."""
    command = [sys.executable, __file__, *arguments, "--measure"]
    done = subprocess.run(command, env=environment(threads, setting), stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


@contextmanager
def load(processes: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep so many processes busy in the block, which gets them."""
    busy = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(processes)]
    try:
        yield busy
    finally:
        for process in busy:
            process.kill()
            process.wait()


def table(rates: dict[tuple[int, str], dict[int, list[float]]], loads: Sequence[int]) -> str:
    """Return the medians as a Markdown table.

    >>> print(table({(2, ""): {0: [3.0, 1.0, 2.0], 2: [1.0]}}, [0, 2]))
    | threads | setting | idle | 2 busy processes |
    |---|---|---|---|
    | 2 | none | 2 | 1 |
    """
    names = ["idle" if count == 0 else f"{count} busy processes" for count in loads]
    lines = [f"| threads | setting | {' | '.join(names)} |", "|---" * (2 + len(loads)) + "|"]
    for (threads, setting), found in rates.items():
        medians = [f"{statistics.median(found[count]):,.0f}" for count in loads]
        lines.append(f"| {threads} | {setting or 'none'} | {' | '.join(medians)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure, or be one of those who are measured."""
    parser = argparse.ArgumentParser(description="Images a second by how OpenMP's threads wait.")
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500], help="widths (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="that each case trains (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of each case, by turns (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=2, help="processes that make the load (default: %(default)s)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # what it starts itself with
    options = parser.parse_args(arguments)
    if options.measure:
        print(train(options.hidden, options.seconds))
        return
    loads = (0, options.busy)
    rates: dict[tuple[int, str], dict[int, list[float]]] = {case: {count: [] for count in loads} for case in CASES}
    for _ in range(options.repeats):
        for count in loads:
            with load(count):
                for case, found in rates.items():
                    found[count].append(measure(arguments, *case))
    hidden = "-".join(map(str, options.hidden))
    print(f"Images a second, net 784-{hidden}-10, batch 100, 8 iterations, medians of {options.repeats}:\n")
    print(table(rates, loads))


if __name__ == "__main__":
    main(sys.argv[1:])
