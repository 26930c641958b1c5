"""How far one training step raises the memory in use, in a process of its own so that nothing else counts.

python scripts/bench/bench_memory.py full|constant|backpropagation ITERATIONS

Prints the increase of the peak resident memory, in MiB, over what parameters, optimiser and batch take: 2x500 units, batch 1,000.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from bench_parts import make, through_time
from torch.optim import Adam

from ffrecur.core import learning as engine
from ffrecur.core.learning import Learning


def kibibytes(field: str) -> int:
    """Return a figure of this process's memory from the kernel: VmRSS (now) or VmHWM (the highest)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Take a small step to set up everything, then the step that is measured."""
    mode, iterations = sys.argv[1], int(sys.argv[2])
    net, images, labels = make([500, 500], batch=1000)
    negatives = (labels + 1) % 10
    optimizer = Adam(net.parameters(), lr=1e-4)

    def step(count: int) -> None:
        optimizer.zero_grad()
        if mode == "backpropagation":
            loss = through_time(net, images, labels, negatives, count)
        else:
            learning = Learning(iterations=count, memory="constant" if mode == "constant" else "full")
            loss = engine.local_learning(net, images, labels, negatives, learning, None).loss
        loss.backward()
        optimizer.step()

    step(1)
    optimizer.zero_grad()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest is now
    before = kibibytes("VmRSS")
    step(iterations)
    print((kibibytes("VmHWM") - before) / 1024)


if __name__ == "__main__":
    main()
