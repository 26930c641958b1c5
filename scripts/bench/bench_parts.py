"""What bench.py times: training steps of several kinds, evaluation, and the bare matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ffrecur import RecurrentNet
from ffrecur.core.learning import Learning
from ffrecur.core.products import Weight, prepare, product, weight_gradient
from ffrecur.functional import goodness, logistic_loss, window_score
from ffrecur.negatives.labels import hard_labels

FEATURES, CLASSES, BATCH, ITERATIONS, WINDOW = 784, 10, 100, 8, (3, 5)
Timed = Callable[[], object]


def adam(parameters: Iterable[Any]) -> torch.optim.Adam:
    """Return the optimiser of every training step here."""
    return torch.optim.Adam(parameters, lr=1e-4, fused=True)


def medians(functions: dict[str, Timed], repetitions: int) -> dict[str, float]:
    """Return the median seconds of each function; they take turns, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_number in range(repetitions + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            wait()
            if round_number > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def wait() -> None:
    """Wait for what a GPU was asked to do."""
    kind = torch.get_default_device().type
    if kind != "cpu":
        getattr(torch, kind).synchronize()


def make(widths: Sequence[int], batch: int = BATCH) -> tuple[RecurrentNet, Tensor, Tensor]:
    """Return a net, images and labels."""
    torch.manual_seed(0)
    net = RecurrentNet(FEATURES, widths, CLASSES, sign=-1)
    return net, torch.rand(batch, FEATURES), torch.randint(CLASSES, (batch,))


def training_step(
    local_learning: Callable[..., Any], net: RecurrentNet, images: Tensor, labels: Tensor, **settings: Any
) -> Timed:
    """Return one whole training step: loss, gradients and fused Adam."""
    optimizer = adam(net.parameters())
    learning = Learning(**{"iterations": ITERATIONS, **settings})

    def step() -> None:
        optimizer.zero_grad()
        local_learning(net, images, labels, hard_labels, learning, None).loss.backward()
        optimizer.step()

    return step


def in_bfloat16(step: Timed) -> Timed:
    """Return the same step under autocast to bfloat16."""

    def mixed() -> None:
        with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
            step()

    return mixed


def through_time(net: RecurrentNet, images: Tensor, labels: Tensor, negatives: Tensor, iterations: int) -> Tensor:
    """Return the same objective with nothing held constant: what backpropagation through time would differentiate."""
    pair = (net.goodness(images, labels, iterations), net.goodness(images, negatives, iterations))
    return logistic_loss(*pair, 1.0, 0.1, net.sign).sum() / len(labels)


def backpropagation_step(net: RecurrentNet, images: Tensor, labels: Tensor) -> Timed:
    """Return one training step by backpropagation through time, for scale."""
    optimizer = adam(net.parameters())
    negatives = (labels + 1) % CLASSES

    def step() -> None:
        optimizer.zero_grad()
        through_time(net, images, labels, negatives, ITERATIONS).backward()
        optimizer.step()

    return step


def necessary_multiply_adds(widths: Sequence[int], iterations: int = ITERATIONS) -> int:
    """Multiply-adds an image that a training step cannot do without: `2 D N_1 + S + 8 T S`, S the sum of N_(l-1) N_l."""
    pairs = sum(below * above for below, above in pairwise(widths))
    return 2 * FEATURES * widths[0] + pairs + 8 * iterations * pairs


def necessary_products(widths: Sequence[int], batch: int = BATCH, iterations: int = ITERATIONS) -> Timed:
    """Return the matrix products of `necessary_multiply_adds` alone, as the engine does them and at its shapes."""
    image, image_delta = torch.rand(batch, FEATURES), torch.rand(batch, widths[0])
    image_weight = Weight(torch.rand(widths[0], FEATURES), None)
    layers = []
    for below, above in pairwise(widths):
        long = [torch.rand(iterations * 2 * batch, width) for width in (below, above)]
        layers.append((prepare(torch.rand(above, below)), prepare(torch.rand(below, above)), long))

    @torch.no_grad()
    def products() -> None:
        product(image, image_weight)
        weight_gradient(image_delta, image)
        for up, down, (low, high) in layers:
            product(low[:batch], up)
            for t in range(iterations):
                rows = slice(t * 2 * batch, (t + 1) * 2 * batch)
                product(low[rows], up)
                product(high[rows], down)
            weight_gradient(high, low)
            weight_gradient(low, high)

    return products


@torch.no_grad()
def naive_classify(net: RecurrentNet, images: Tensor) -> Tensor:
    """Classify with each label on its own: a bottom-up pass and 8 iterations a label, nothing shared."""
    by_label = []
    for label in range(CLASSES):
        labels, states, curve = torch.full((len(images),), label), net.bottom_up_pass(images), []
        for _ in range(ITERATIONS):
            states = net.step(states, images, labels)
            curve.append(torch.stack([goodness(state) for state in states]))
        by_label.append(torch.stack(curve))
    return window_score(torch.stack(by_label, dim=-1), WINDOW, net.sign).argmax(dim=1)
