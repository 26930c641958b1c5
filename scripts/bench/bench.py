"""How fast it trains and evaluates: ours against the plain reference and against the bare matrix products, in one run.

Every ratio is of medians of repetitions that take turns, so that a slow spell of the machine hits all alike.

python scripts/bench/bench.py [--quick] [--json] [--threads 2] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import bench_feedforward as feedforward
import bench_maps
import bench_parts as parts
import lightning as L
import torch
from bench_parts import BATCH, CLASSES, FEATURES, ITERATIONS, WINDOW, medians
from bench_stream import NETS, measure_stream, stream_table
from bench_text import measure_text, text_table

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.data.loader import TensorLoader
from ffrecur.lit.images import prepare
from ffrecur.lit.recurrent import RecurrentModule
from ffrecur.lit.run.process_state import prepare_process
from ffrecur.lit.run.quiet import silence_all

MEMORY_ITERATIONS = (8, 16, 32, 64)
SCALING = {
    "width": (250, 500, 1000, 2000),
    "depth": (2, 3, 4, 6),
    "iterations": (4, 8, 16, 32),
    "batch": (50, 100, 200, 400),
}


def measure_net(widths: Sequence[int], repetitions: int) -> dict[str, Any]:
    """Return all ratios of one net."""
    net, images, labels = parts.make(widths)
    bare = torch.optim.Adam(net.parameters(), lr=0.0, fused=True)
    parts.training_step(engine.local_learning, net, images, labels)()  # leaves gradients for the bare optimiser to use
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    seconds = medians(
        {
            "optimizer": bare.step,
            "products": parts.necessary_products(widths),
            "engine": parts.training_step(engine.local_learning, net, images, labels),
            "bfloat16": parts.in_bfloat16(parts.training_step(engine.local_learning, net, images, labels)),
            "reference": parts.training_step(reference.local_learning, net, images, labels),
            "backpropagation": parts.backpropagation_step(net, images, labels),
            "classify": lambda: net.classify(images, WINDOW),
            "naive": lambda: parts.naive_classify(net, images),
        },
        repetitions,
    )
    lightning = measure_lightning(widths, steps=10 * repetitions if widths[0] < 1000 else 2 * repetitions)
    rate = 2 * BATCH * parts.necessary_multiply_adds(widths) / seconds["products"] / 1e9
    return {
        "hidden_features": list(widths),
        "train_images_per_s": BATCH / seconds["engine"],
        "eval_images_per_s": BATCH / seconds["classify"],
        "train_matmul_fraction": seconds["products"] / seconds["engine"],
        "train_speedup_vs_autograd": seconds["reference"] / seconds["engine"],
        "eval_speedup_vs_naive": seconds["naive"] / seconds["classify"],
        "train_speedup_vs_backpropagation": seconds["backpropagation"] / seconds["engine"],
        "train_speedup_in_bfloat16": seconds["engine"] / seconds["bfloat16"],
        "matmul_gflop_per_s": rate,
        "lightning": lightning,
        "seconds": seconds,
    }


def log_log_slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of the line through log time against log size: 1 is proportional."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    return statistics.linear_regression(x, y).slope


def measure_scaling(repetitions: int) -> dict[str, dict[str, Any]]:
    """Return how a training step's time grows with width, depth, iterations and batch, around 2x500, 8 and 100."""
    found = {}
    for name, sizes in SCALING.items():
        steps: dict[str, parts.Timed] = {}
        for size in sizes:
            widths = [size] * 2 if name == "width" else [500] * (size if name == "depth" else 2)
            net, images, labels = parts.make(widths, size if name == "batch" else BATCH)
            iterations = size if name == "iterations" else ITERATIONS
            steps[str(size)] = parts.training_step(engine.local_learning, net, images, labels, iterations=iterations)
        seconds = medians(steps, repetitions)
        values = list(seconds.values())
        found[name] = {"sizes": list(sizes), "seconds": values, "slope": log_log_slope(sizes, values)}
    return found


def measure_memory() -> dict[str, list[float]]:
    """Return the memory in MiB that a step takes on top, at T = 8, 16, 32, 64, for both modes and through time."""
    script = Path(__file__).with_name("bench_memory.py")
    # The C library is told to give freed memory back at once; what it keeps in store would blur the figures.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    found: dict[str, list[float]] = {}
    for mode in ("full", "constant", "backpropagation"):
        for iterations in MEMORY_ITERATIONS:
            command = [sys.executable, str(script), mode, str(iterations)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found.setdefault(mode, []).append(float(answer.stdout))
    return found


def measure_lightning(widths: Sequence[int], steps: int) -> dict[str, float]:
    """Return the median seconds of a step in `Trainer.fit`, of the same step in a bare loop, and of getting a batch."""
    images = torch.randint(0, 256, (steps * BATCH, FEATURES), dtype=torch.uint8, device="cpu")
    labels = torch.arange(steps * BATCH, device="cpu") % CLASSES
    loader = TensorLoader([images, labels], BATCH, shuffle=True, seed=0)
    module = RecurrentModule(list(widths), FEATURES, CLASSES, sign=-1, optimizer=parts.adam)
    clock = Clock()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator=torch.get_default_device().type,
        devices=1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    step = parts.training_step(engine.local_learning, *parts.make(widths))
    bare: list[float] = []
    getting: list[float] = []
    before = time.perf_counter()
    for batch, _ in loader:
        prepare(batch.to(torch.get_default_device()))
        getting.append(time.perf_counter() - before)
        step()
        parts.wait()
        bare.append(time.perf_counter() - before)
        before = time.perf_counter()
    in_fit = [b - a for a, b in pairwise(clock.starts)]
    return {"fit": statistics.median(in_fit), "bare": statistics.median(bare), "data": statistics.median(getting)}


class Clock(L.Callback):
    """Note when each batch starts."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Note it."""
        self.starts.append(time.perf_counter())


def print_tables(report: dict[str, Any]) -> None:
    """Print what was measured for people."""
    settings = f"{report['device']}, {report['threads']} threads, medians of {report['repetitions']}"
    print(f"batch {BATCH}, {ITERATIONS} iterations, synchronous, {settings}\n")
    print("necessary multiply-adds an image: 2 D N_1 + S + 8 T S, S = sum of N_(l-1) N_l")
    for net in report["recurrent"]:
        widths, seconds = net["hidden_features"], net["seconds"]
        per_image = parts.necessary_multiply_adds(widths)
        rate = f"products alone at {net['matmul_gflop_per_s']:.0f} GFLOP/s"
        print(f"\n784-{'-'.join(map(str, widths))}-10: {per_image / 1e6:.1f} M, {rate}")
        for label, key, form in (
            ("training, images/s", "train_images_per_s", ".0f"),
            ("  products' share of a training step", "train_matmul_fraction", ".2f"),
            ("  against the autograd reference", "train_speedup_vs_autograd", ".2f"),
            ("  against backpropagation through time", "train_speedup_vs_backpropagation", ".2f"),
            ("  in bfloat16 against float32", "train_speedup_in_bfloat16", ".2f"),
            ("evaluation, images/s", "eval_images_per_s", ".0f"),
            ("  against each label on its own", "eval_speedup_vs_naive", ".2f"),
        ):
            print(f"  {label:<42}{net[key]:>10{form}}")
        rest = seconds["engine"] - seconds["products"] - seconds["optimizer"]
        fit = net["lightning"]
        split = {"products": seconds["products"], "optimiser": seconds["optimizer"], "element-wise and the rest": rest}
        split |= {"data": fit["data"], "Lightning": fit["fit"] - fit["bare"]}
        print("  a training step: " + ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in split.items()))
    for net in report["feedforward"]:
        print(feedforward.feedforward_table(net))
    for net in report["maps"]:
        print(bench_maps.maps_table(net))
    print(text_table(report["char"]))
    for net in report["stream"]:
        print(stream_table(net))
    for name, increases in report.get("memory", {}).items():
        values = ", ".join(f"T = {t}: {mib:.0f} MiB" for t, mib in zip(MEMORY_ITERATIONS, increases, strict=True))
        print(f"\nmemory of a step of 2x500, batch 1,000, {name}: {values}", end="")
    print()
    for name, scaling in report.get("scaling", {}).items():
        pairs = zip(scaling["sizes"], scaling["seconds"], strict=True)
        times = ", ".join(f"{size}: {1e3 * value:.0f} ms" for size, value in pairs)
        print(f"\na training step against {name} (log-log slope {scaling['slope']:.2f}): {times}", end="")
    print()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="fewer repetitions, no scaling, no memory: under two minutes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--threads", type=int, default=2, help="threads of matrix products")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps; memory is measured on the first alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    prepare_process()
    silence_all()
    repetitions = 5 if options.quick else 15
    report: dict[str, Any] = {"device": options.device, "threads": options.threads, "repetitions": repetitions}
    report["recurrent"] = [measure_net(widths, repetitions) for widths in ([500, 500], [2000, 2000])]
    report["feedforward"] = [feedforward.measure_feedforward(widths, repetitions) for widths in feedforward.WIDTHS]
    report["maps"] = [bench_maps.measure_maps(repetitions)]
    report["char"] = measure_text(repetitions)
    report["stream"] = [measure_stream(widths, keys, repetitions) for widths, keys in NETS]
    if not options.quick:
        report["scaling"] = measure_scaling(5)
        if options.device == "cpu":
            report["memory"] = measure_memory()
    if options.json:
        json.dump(report, sys.stdout)
        print()
    else:
        print_tables(report)


if __name__ == "__main__":
    main()
