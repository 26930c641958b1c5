"""What bench.py times of the character model: training steps, the bare matrix products, and generation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from bench_parts import BATCH, Timed, adam, medians
from torch import Tensor
from torch.nn import functional as F

from ffrecur import CharNet
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired
from ffrecur.core.products import prepare, product, weight_gradient
from ffrecur.functional import rms_normalize
from ffrecur.negatives.windows import teacher_forced
from ffrecur.text.sampling import draw, roll_out

HIDDEN, STREAMS, CHARACTERS = (2000, 2000, 2000), 256, 20


def make(widths: Sequence[int], batch: int = BATCH) -> tuple[CharNet, Tensor, Tensor]:
    """Return a net, windows and the characters after them."""
    torch.manual_seed(0)
    net = CharNet(hidden_features=widths)
    torch.nn.init.normal_(net.head.weight, std=0.01)
    return net, torch.randint(30, (batch, net.window)), torch.randint(30, (batch,))


def training_step(local_learning: Any, net: CharNet, contexts: Tensor, following: Tensor) -> Timed:
    """Return one whole training step with teacher-forced negatives: loss, gradients and fused Adam."""
    optimizer, learning = adam(net.parameters()), Learning(objective=Paired(), iterations=1)

    def negatives(logits: Tensor, following: Tensor) -> Tensor:
        return teacher_forced(contexts, following, logits)

    def step() -> None:
        optimizer.zero_grad()
        local_learning(net, contexts, following, negatives, learning).loss.backward()
        optimizer.step()

    return step


def necessary_multiply_adds(widths: Sequence[int], symbols: int = 30) -> int:
    """Multiply-adds a window that a training step cannot do without: `5 S + 2 V F`.

    S is the sum of N_(l-1) N_l: the context, the positive and the negative window go up, and the latter two have
    gradients. The head, with F features, predicts and learns. The first layer's look-ups are none.
    """
    return 5 * sum(below * above for below, above in pairwise(widths)) + 2 * symbols * sum(widths)


def necessary_products(net: CharNet, batch: int = BATCH) -> Timed:
    """Return the matrix products of `necessary_multiply_adds` alone, as the engine does them and at its shapes."""
    widths = net.hidden_features
    layers = [
        (prepare(torch.rand(above, below)), torch.rand(2 * batch, below), torch.rand(2 * batch, above))
        for below, above in pairwise(widths)
    ]
    features, error, head = torch.rand(batch, sum(widths)), torch.rand(batch, 30), torch.rand(30, sum(widths))

    @torch.no_grad()
    def products() -> None:
        for weight, low, high in layers:
            product(low[:batch], weight)
            product(low, weight)
            weight_gradient(high, low)
        _ = features @ head.t()
        _ = error.t() @ features

    return products


@torch.no_grad()
def naive_roll_out(net: CharNet, windows_BW: Tensor, noise_BN: Tensor) -> Tensor:
    """Write on by a dense one-hot forward pass a character: what `sampling.roll_out` must equal."""
    text = windows_BW
    for noise_B in noise_BN.t():
        row = rms_normalize(F.one_hot(text[:, -net.window :], len(net.alphabet)).flatten(1).float())
        rows = []
        for linear in net.hidden:
            row = rms_normalize(torch.relu(linear(row)))
            rows.append(row)
        logits = net.head(torch.cat([rows[layer - 1] for layer in net.head_layers], dim=1))
        text = torch.cat([text, draw(logits, noise_B)[:, None]], dim=1)
    return text


def by_score(net: CharNet) -> CharNet:
    """Return the same net, which predicts by goodness too: the window that ends with each candidate is run."""
    both = CharNet(hidden_features=net.hidden_features, goodness_weight=2.5)
    both.load_state_dict(net.state_dict())
    return both


def measure_text(repetitions: int, widths: Sequence[int] = HIDDEN) -> dict[str, Any]:
    """Return all ratios of the character model."""
    net, contexts, following = make(widths)
    many, noise = torch.randint(30, (STREAMS, net.window)), torch.rand(STREAMS, CHARACTERS)
    seconds = medians(
        {
            "products": necessary_products(net),
            "engine": training_step(engine.local_learning, net, contexts, following),
            "reference": training_step(reference.local_learning, net, contexts, following),
            "one": partial(roll_out, net, many[:1], noise[:1]),
            "one, by score": partial(roll_out, by_score(net), many[:1], noise[:1], by="score"),
            "batched": partial(roll_out, net, many, noise),
            "naive": partial(naive_roll_out, net, many[:1], noise[:1]),
            "naive, batched": partial(naive_roll_out, net, many, noise),
        },
        repetitions,
    )
    return {
        "hidden_features": list(widths),
        "train_windows_per_s": BATCH / seconds["engine"],
        "train_matmul_fraction": seconds["products"] / seconds["engine"],
        "train_speedup_vs_autograd": seconds["reference"] / seconds["engine"],
        "generate_characters_per_s": CHARACTERS / seconds["one"],
        "generate_by_score_characters_per_s": CHARACTERS / seconds["one, by score"],
        "generate_batched_characters_per_s": STREAMS * CHARACTERS / seconds["batched"],
        "generate_speedup_vs_naive": STREAMS * seconds["naive"] / seconds["batched"],
        "generate_one_stream_speedup_vs_naive": seconds["naive"] / seconds["one"],
        "generate_speedup_vs_naive_batched": seconds["naive, batched"] / seconds["batched"],
        "matmul_gflop_per_s": 2 * BATCH * necessary_multiply_adds(widths) / seconds["products"] / 1e9,
        "seconds": seconds,
    }


def text_table(text: dict[str, Any]) -> str:
    """Return what was measured for people."""
    widths = "-".join(map(str, text["hidden_features"]))
    lines = [
        "",
        f"character model, {widths}, batch {BATCH}: products alone at {text['matmul_gflop_per_s']:.0f} GFLOP/s",
    ]
    for label, key, form in (
        ("training, windows/s", "train_windows_per_s", ".0f"),
        ("  products' share of a training step", "train_matmul_fraction", ".2f"),
        ("  against the autograd reference", "train_speedup_vs_autograd", ".2f"),
        ("generation, one stream, characters/s", "generate_characters_per_s", ".0f"),
        ("  against dense one-hot passes", "generate_one_stream_speedup_vs_naive", ".2f"),
        ("  by softmax and goodness", "generate_by_score_characters_per_s", ".0f"),
        (f"generation, {STREAMS} streams, characters/s", "generate_batched_characters_per_s", ".0f"),
        ("  against dense one-hot passes, one stream", "generate_speedup_vs_naive", ".2f"),
        ("  against dense one-hot passes, 256 streams", "generate_speedup_vs_naive_batched", ".2f"),
    ):
        lines.append(f"  {label:<42}{text[key]:>10{form}}")
    return "\n".join(lines)
