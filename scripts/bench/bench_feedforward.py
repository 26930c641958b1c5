"""What bench.py times of the feed-forward net: training steps, evaluation, and the bare matrix products of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from bench_parts import BATCH, CLASSES, FEATURES, Timed, adam, in_bfloat16, medians
from torch import Tensor
from torch.nn import functional as F

from ffrecur import FeedForwardNet
from ffrecur.core.learning import Learning
from ffrecur.core.products import prepare, product, weight_gradient
from ffrecur.functional import goodness, logistic_loss
from ffrecur.negatives.labels import hard_labels

WIDTHS = ([1000, 1000, 1000], [2000, 2000, 2000, 2000])


def make(widths: Sequence[int]) -> tuple[FeedForwardNet, Tensor, Tensor]:
    """Return a net, images and labels."""
    torch.manual_seed(0)
    net = FeedForwardNet(FEATURES, widths, CLASSES, sign=-1)
    return net, torch.rand(BATCH, FEATURES), torch.randint(CLASSES, (BATCH,))


def training_step(net: FeedForwardNet, images: Tensor, labels: Tensor) -> Timed:
    """Return one whole training step with hard negatives: loss, gradients and fused Adam."""
    optimizer, learning = adam(net.parameters()), Learning(iterations=1)

    def step() -> None:
        optimizer.zero_grad()
        net.local_learning(images, labels, hard_labels, learning).loss.backward()
        optimizer.step()

    return step


def naive_step(net: FeedForwardNet, images: Tensor, labels: Tensor) -> Timed:
    """Return the same step by autograd and in three passes of their own: neutral, positive and negative."""
    optimizer = adam(net.parameters())

    def step() -> None:
        optimizer.zero_grad()
        logits = net.one_pass_logits(images)
        negatives = hard_labels(logits.detach(), labels)
        both = [[goodness(state) for state in net.states(images, each)] for each in (labels, negatives)]
        goods = zip(*both, strict=True)
        losses = [logistic_loss(positive, negative, 1.0, 0.1, net.sign).mean() for positive, negative in goods]
        (torch.stack(losses).sum() + F.cross_entropy(logits, labels)).backward()
        optimizer.step()

    return step


def pairs(widths: Sequence[int]) -> int:
    """Return S, the sum of N_(l-1) N_l over the layers above the first."""
    return sum(below * above for below, above in pairwise(widths))


def necessary_multiply_adds(widths: Sequence[int]) -> tuple[int, int]:
    """Multiply-adds an image of a training step, `2 D N_1 + 5 S`, and of an evaluation of C labels, `D N_1 + C S`.

    Above layer 1 the neutral, the positive and the negative row go up, and the latter two have gradients.
    """
    first = FEATURES * widths[0]
    return 2 * first + 5 * pairs(widths), first + CLASSES * pairs(widths)


def necessary_products(widths: Sequence[int]) -> tuple[Timed, Timed]:
    """Return the matrix products of `necessary_multiply_adds` alone, as the engine does them and at its shapes."""
    images, lowest = torch.rand(BATCH, FEATURES), prepare(torch.rand(widths[0], FEATURES))
    layers = [
        (prepare(torch.rand(above, below)), torch.rand(2 * BATCH, below), torch.rand(2 * BATCH, above))
        for below, above in pairwise(widths)
    ]
    first_delta = torch.rand(BATCH, widths[0])
    of_labels = [torch.rand(CLASSES * BATCH, below) for below in widths[:-1]]

    @torch.no_grad()
    def training() -> None:
        product(images, lowest)
        weight_gradient(first_delta, images)
        for weight, low, high in layers:
            product(low[:BATCH], weight)
            product(low, weight)
            weight_gradient(high, low)

    @torch.no_grad()
    def evaluation() -> None:
        product(images, lowest)
        for (weight, _, _), rows in zip(layers, of_labels, strict=True):
            product(rows, weight)

    return training, evaluation


def measure_feedforward(widths: Sequence[int], repetitions: int) -> dict[str, Any]:
    """Return all ratios of one feed-forward net."""
    net, images, labels = make(widths)
    products, evaluation_products = necessary_products(widths)
    step = training_step(net, images, labels)
    seconds = medians(
        {
            "products": products,
            "engine": step,
            "bfloat16": in_bfloat16(step),
            "naive": naive_step(net, images, labels),
            "evaluation products": evaluation_products,
            "evaluation": partial(net.label_goodness, images),
        },
        repetitions,
    )
    return {
        "hidden_features": list(widths),
        "batch_size": BATCH,
        "train_images_per_s": BATCH / seconds["engine"],
        "train_matmul_fraction": seconds["products"] / seconds["engine"],
        "train_speedup_vs_naive": seconds["naive"] / seconds["engine"],
        "train_speedup_in_bfloat16": seconds["engine"] / seconds["bfloat16"],
        "eval_images_per_s": BATCH / seconds["evaluation"],
        "eval_matmul_fraction": seconds["evaluation products"] / seconds["evaluation"],
        "matmul_gflop_per_s": 2 * BATCH * necessary_multiply_adds(widths)[0] / seconds["products"] / 1e9,
        "seconds": seconds,
    }


def feedforward_table(net: dict[str, Any]) -> str:
    """Return what was measured for people."""
    widths = "-".join(map(str, net["hidden_features"]))
    lines = ["", f"feed-forward net, 784-{widths}-10: products alone at {net['matmul_gflop_per_s']:.0f} GFLOP/s"]
    for label, key, form in (
        ("training, images/s", "train_images_per_s", ".0f"),
        ("  products' share of a training step", "train_matmul_fraction", ".2f"),
        ("  against three passes by autograd", "train_speedup_vs_naive", ".2f"),
        ("  in bfloat16 against float32", "train_speedup_in_bfloat16", ".2f"),
        ("evaluation of ten labels, images/s", "eval_images_per_s", ".0f"),
        ("  products' share of an evaluation", "eval_matmul_fraction", ".2f"),
    ):
        lines.append(f"  {label:<42}{net[key]:>10{form}}")
    return "\n".join(lines)
