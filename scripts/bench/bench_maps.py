"""What bench.py times of a net of maps: training steps and evaluation against the fields' necessary multiply-adds.

Those are counted exactly, with fields cut at the borders, and taken at the rate of one large dense product of the same run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from bench_parts import BATCH, CLASSES, WINDOW, Timed, adam, in_bfloat16, medians, training_step
from torch import Tensor, nn

from ffrecur import LocalLinear, RecurrentNet
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.learning import Learning
from ffrecur.core.products import has_bfloat16, prepare, product
from ffrecur.negatives.labels import hard_labels
from ffrecur.nets.maps import Maps

MAPS = Maps((32, 32, 3), (3, 3), 11)
ITERATIONS = 6
DENSE = 3072  # rows and columns of the dense product
CHUNK = 64  # units whose fields are laid out together


def make(maps: Maps = MAPS) -> tuple[RecurrentNet, Tensor, Tensor]:
    """Return a net, images and labels."""
    torch.manual_seed(0)
    net = RecurrentNet(num_classes=CLASSES, sign=-1, **maps.settings())
    return net, torch.rand(BATCH, net.in_features), torch.randint(CLASSES, (BATCH,))


def pairs_of_places(maps: Maps) -> int:
    """Return how many pairs there are of a place and a place in its field, within the map."""
    half, pairs = maps.field // 2, 1
    for side in maps.in_shape[:2]:
        pairs *= sum(min(place + half, side - 1) - max(place - half, 0) + 1 for place in range(side))
    return pairs


def between_maps(maps: Maps) -> tuple[int, int]:
    """Return the multiply-adds of one row between the image and layer 1, I, and between all hidden layers upward, S."""
    pairs = pairs_of_places(maps)
    image = pairs * maps.in_shape[2] * maps.units_per_place[0]
    return image, sum(pairs * below * above for below, above in pairwise(maps.units_per_place))


def training_multiply_adds(maps: Maps, iterations: int = ITERATIONS) -> int:
    """Multiply-adds an image that a training step cannot do without: `2 I + S + 8 T S`, as of a dense net."""
    image, between = between_maps(maps)
    return 2 * image + between + 8 * iterations * between


def evaluation_multiply_adds(maps: Maps, iterations: int = WINDOW[1], classes: int = CLASSES) -> int:
    """Multiply-adds an image of an evaluation of C labels: of two layers `I + 3 S + (2 T - 3) C S`.

    A layer has one state for all labels until the label reaches it; iteration 1 reads upward what the bottom-up pass has read.
    """
    image, between = between_maps(maps)
    pairs, layers = pairs_of_places(maps), len(maps.units_per_place)
    total = image + between
    for below, (lower, upper) in enumerate(pairwise(maps.units_per_place), start=1):
        for iteration in range(1, iterations + 1):
            reached = [iteration - 1 >= layers - layer + 1 for layer in (below, below + 1)]  # upward, downward
            rows = [classes if each else 1 for each in reached]
            total += pairs * lower * upper * (sum(rows) - (iteration == 1))
    return total


def whole_matrix(local: LocalLinear) -> Tensor:
    """Return the weight of a layer of fields as a dense one has it, `(H, N)`, with its zeros."""
    units = torch.arange(local.out_features).split(CHUNK)
    return torch.cat([local.transposed(torch.eye(local.out_features)[chunk]).detach() for chunk in units])


def dense_masked(net: RecurrentNet) -> tuple[RecurrentNet, list[tuple[Tensor, Tensor]]]:
    """Return the same net of dense layers, and its weights that stand for fields, each with its mask."""
    dense = RecurrentNet(net.in_features, net.hidden_features, net.num_classes, sign=net.sign)
    layers: list[nn.Module] = [*net.bottom_up, *net.top_down]
    masked = []
    with torch.no_grad():
        for layer, other in zip(layers, (*dense.bottom_up, *dense.top_down), strict=True):
            if isinstance(layer, LocalLinear):
                other.weight.copy_(whole_matrix(layer))
                masked.append((other.weight, other.weight != 0))
            else:
                other.weight.copy_(layer.get_parameter("weight"))
    return dense, masked


def dense_masked_step(net: RecurrentNet, images: Tensor, labels: Tensor) -> Timed:
    """Return the same training step by plain autograd and dense layers, whose gradients are masked once a step."""
    dense, masked = dense_masked(net)
    optimizer, learning = adam(dense.parameters()), Learning(iterations=ITERATIONS)

    def step() -> None:
        optimizer.zero_grad()
        reference.local_learning(dense, images, labels, hard_labels, learning, None).loss.backward()
        for weight, mask in masked:
            assert weight.grad is not None
            weight.grad.mul_(mask)
        optimizer.step()

    return step


def dense_product(rows: int) -> Timed:
    """Return one large dense product, by the fastest routine that the engine knows."""
    weight, read = prepare(torch.rand(DENSE, DENSE)), torch.rand(rows, DENSE)
    return lambda: product(read, weight)


def measure_maps(repetitions: int, maps: Maps = MAPS) -> dict[str, Any]:
    """Return all ratios of one net of maps."""
    net, images, labels = make(maps)
    step = training_step(engine.local_learning, net, images, labels, iterations=ITERATIONS)
    timed = {
        "dense product": dense_product(2 * BATCH),
        "dense product of all labels": dense_product(CLASSES * BATCH),
        "engine": step,
        "dense masked": dense_masked_step(net, images, labels),
        "evaluation": lambda: net.classify(images, WINDOW),
    }
    with_bfloat16 = has_bfloat16(torch.get_default_device().type)
    seconds = medians({**timed, "bfloat16": in_bfloat16(step)} if with_bfloat16 else timed, repetitions)
    # seconds of one multiply-add for each of the batch, at the rate of the dense product
    training_unit = seconds["dense product"] / (2 * DENSE**2)
    evaluation_unit = seconds["dense product of all labels"] / (CLASSES * DENSE**2)
    found = {
        **maps.settings(),
        "batch_size": BATCH,
        "iterations": ITERATIONS,
        "train_images_per_s": BATCH / seconds["engine"],
        "train_matmul_fraction": training_multiply_adds(maps) * training_unit / seconds["engine"],
        "train_speedup_vs_dense_masked": seconds["dense masked"] / seconds["engine"],
        "eval_images_per_s": BATCH / seconds["evaluation"],
        "eval_matmul_fraction": evaluation_multiply_adds(maps) * evaluation_unit / seconds["evaluation"],
        "matmul_gflop_per_s": 2 * BATCH / training_unit / 1e9,
        "seconds": seconds,
    }
    return found | ({"train_speedup_in_bfloat16": seconds["engine"] / seconds["bfloat16"]} if with_bfloat16 else {})


def maps_table(net: dict[str, Any]) -> str:
    """Return what was measured for people."""
    shape, units = ("x".join(map(str, net[name])) for name in ("in_shape", "units_per_place"))
    what = f"{len(net['units_per_place'])} maps over {shape}, {units} units a place, fields of {net['field']}"
    lines = ["", f"{what}: a dense product of {DENSE} at {net['matmul_gflop_per_s']:.0f} GFLOP/s"]
    for label, key, form in (
        ("training, images/s", "train_images_per_s", ".0f"),
        ("  fields' share at the dense rate", "train_matmul_fraction", ".2f"),
        ("  against autograd, dense and masked", "train_speedup_vs_dense_masked", ".2f"),
        ("  in bfloat16 against float32", "train_speedup_in_bfloat16", ".2f"),
        ("evaluation of ten labels, images/s", "eval_images_per_s", ".0f"),
        ("  fields' share at the dense rate", "eval_matmul_fraction", ".2f"),
    ):
        if key in net:
            lines.append(f"  {label:<42}{net[key]:>10{form}}")
    return "\n".join(lines)
