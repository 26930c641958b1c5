"""What bench.py times of the streaming character model: training, generation, and their necessary matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from bench_parts import Timed, adam, medians
from torch import Tensor

from ffrecur import StreamNet
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.fast import written
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired
from ffrecur.core.products import prepare, product, weight_gradient
from ffrecur.negatives.labels import hard_labels
from ffrecur.text.sampling import draw

NETS = [(widths, keys) for widths in ([200] * 3, [500] * 3) for keys in (0, 64)]
STREAMS, CHARACTERS, SYMBOLS, DENSE = 32, 10, 30, 1000


def make(widths: Sequence[int], keys: int, goodness_weight: float = 0.0) -> StreamNet:
    """Return a net with lateral and top-down weights, as `StreamModule` has them by default."""
    torch.manual_seed(0)
    net = StreamNet(hidden_features=widths, fast_weights=(keys, 0.95, 0.5), goodness_weight=goodness_weight)
    torch.nn.init.normal_(net.head.weight, std=0.01)
    return net


def training(local_learning: Callable[..., Any], net: StreamNet, text_BT: Tensor) -> Timed:
    """Return the training by a stretch of text, a step of fused Adam a character: one wrong one each, states carried on."""
    optimizer, learning = adam(net.parameters()), Learning(objective=Paired(), iterations=1)
    carried = [net.first_state(len(text_BT))]

    def stretch() -> None:
        for symbols_B in text_BT.t():
            optimizer.zero_grad()
            learned = local_learning(net, carried[0], symbols_B, hard_labels, learning)
            with torch.no_grad():
                carried[0] = net.gone_on(carried[0], learned.carried)
            learned.loss.backward()
            optimizer.step()

    return stretch


@torch.no_grad()
def write(net: StreamNet, noise_BN: Tensor) -> Tensor:
    """Write N symbols of each stream, `(B, N)`, as `ffrecur generate` does."""
    prepared, state, symbols = net.prepare(), net.first_state(len(noise_BN)), []
    for noise_B in noise_BN.t():
        symbols.append(draw(net.prepared_score(prepared, state), noise_B))
        state = net.extended(prepared, state, symbols[-1])
    return torch.stack(symbols, dim=1)


def necessary_multiply_adds(widths: Sequence[int], keys: int, symbols: int = SYMBOLS) -> dict[str, int]:
    """Multiply-adds a character of training, of generation by the softmax, and of generation by goodness too.

    S is the sum of N_(l-1) N_l, Q that of N_l**2, F that of N_l, J the keys, V the symbols. In training, `6 S + 2 Q + 2 V F +
    5 J F`: the true candidate and a wrong one go up, each with a gradient (4 S); what the carried states drive, lateral (2 Q)
    and top-down (2 S), is the same for both; the head predicts and learns; a layer's key, what it recalls, a gradient of
    each, and what is written (5 J F). Generation, `2 S + Q + V F + 3 J F`, has no gradients; by goodness all V candidates go
    up, `(V + 1) S + Q + V F + 3 J F`, and the one that is drawn has gone on already. The candidates' look-ups are none.
    """
    pairs = sum(below * above for below, above in pairwise(widths))
    own, features = sum(width * width for width in widths), sum(widths)
    rest = own + symbols * features + 3 * keys * features
    return {
        "train": 6 * pairs + 2 * own + 2 * symbols * features + 5 * keys * features,
        "generate": 2 * pairs + rest,
        "generate_by_score": (symbols + 1) * pairs + rest,
    }


def necessary_products(widths: Sequence[int], keys: int, symbols: int = SYMBOLS) -> dict[str, Timed]:
    """Return the matrix products of `necessary_multiply_adds` alone, for a character of each stream, at the engine's shapes."""
    rows = [torch.rand(STREAMS, width) for width in widths]
    deltas = [torch.rand(2 * STREAMS, width) for width in widths]
    up = [prepare(torch.rand(above, below)) for below, above in pairwise(widths)]
    down = [prepare(torch.rand(below, above)) for below, above in pairwise(widths)]
    lateral = [prepare(torch.rand(width, width)) for width in widths]
    fast = [prepare(torch.rand(keys, width)) for width in widths] if keys else []
    memory = [torch.rand(STREAMS, width, keys) for width in widths] if keys else []
    asked, features, head = torch.rand(STREAMS, keys), torch.cat(rows, dim=1), torch.rand(symbols, sum(widths))
    error = torch.rand(STREAMS, symbols)
    candidates = [torch.rand(symbols * STREAMS, width) for width in widths]

    def carried() -> None:
        for row, weight in zip(rows, lateral, strict=True):
            product(row, weight)
        for row, weight in zip(rows[1:], down, strict=True):
            product(row, weight)
        _ = features @ head.t()
        for row, weight, each in zip(rows, fast, memory, strict=False):
            product(row, weight)
            torch.einsum("bhj,bj->bh", each, asked)
            written(each, row, asked, 0.95, 0.5)

    def upward(candidate_rows: Sequence[Tensor]) -> None:
        for row, weight in zip(candidate_rows, up, strict=False):
            product(row, weight)

    @torch.no_grad()
    def train() -> None:
        carried()
        upward(deltas)
        for layer, row in enumerate(rows):
            weight_gradient(deltas[layer][:STREAMS], row)
            if layer > 0:
                weight_gradient(deltas[layer], deltas[layer - 1])
                weight_gradient(deltas[layer - 1][:STREAMS], row)
            if keys:
                torch.einsum("bhj,bh->bj", memory[layer], deltas[layer][:STREAMS])
                weight_gradient(asked, row)
        _ = error.t() @ features

    @torch.no_grad()
    def generate() -> None:
        carried()
        upward(rows)

    @torch.no_grad()
    def generate_by_score() -> None:
        carried()
        upward(candidates)

    return {"train": train, "generate": generate, "generate_by_score": generate_by_score}


def dense_product() -> Timed:
    """Return one large product, whose rate is what a machine can do: `DENSE` rows, features and units."""
    rows, weight = torch.rand(DENSE, DENSE), prepare(torch.rand(DENSE, DENSE))
    return torch.no_grad()(partial(product, rows, weight))


def measure_stream(widths: Sequence[int], keys: int, repetitions: int) -> dict[str, Any]:
    """Return all ratios of one net."""
    net, by_score = make(widths, keys), make(widths, keys, 2.5)
    text_BT, noise_BN = torch.randint(SYMBOLS, (STREAMS, CHARACTERS)), torch.rand(STREAMS, CHARACTERS)
    timed = {
        "dense": dense_product(),
        "train": training(engine.local_learning, make(widths, keys), text_BT),
        "reference": training(reference.local_learning, make(widths, keys), text_BT),
        "generate": partial(write, net, noise_BN),
        "generate_by_score": partial(write, by_score, noise_BN),
        "one": partial(write, net, noise_BN[:1]),
        "one, by score": partial(write, by_score, noise_BN[:1]),
    }
    products = necessary_products(widths, keys)
    seconds = medians(timed | {f"{name} products": each for name, each in products.items()}, repetitions)  # type: ignore[arg-type]  # functions without arguments
    dense_rate = 2 * DENSE**3 / seconds["dense"]
    found: dict[str, Any] = {"hidden_features": list(widths), "keys": keys, "streams": STREAMS}
    for name, count in necessary_multiply_adds(widths, keys).items():
        a_character = seconds[name] / CHARACTERS  # of each stream
        found[f"{name}_characters_per_s"] = STREAMS / a_character
        found[f"{name}_multiply_adds"] = count
        found[f"{name}_matmul_fraction"] = seconds[f"{name} products"] / a_character
        found[f"{name}_share_of_dense_rate"] = 2 * count * STREAMS / a_character / dense_rate
    return found | {
        "train_speedup_vs_autograd": seconds["reference"] / seconds["train"],
        "generate_one_stream_characters_per_s": CHARACTERS / seconds["one"],
        "generate_by_score_one_stream_characters_per_s": CHARACTERS / seconds["one, by score"],
        "dense_gflop_per_s": dense_rate / 1e9,
        "seconds": seconds,
    }


def stream_table(net: dict[str, Any]) -> str:
    """Return what was measured for people."""
    widths, keys = "-".join(map(str, net["hidden_features"])), net["keys"]
    fast = f"fast weights of {keys} keys" if keys else "no fast weights"
    dense = f"a product of {DENSE} rows and {DENSE} x {DENSE} weights at {net['dense_gflop_per_s']:.0f} GFLOP/s"
    lines = ["", f"streaming character model, {widths}, {fast}, {net['streams']} streams: {dense}"]
    for label, name in (
        ("training", "train"),
        ("generation", "generate"),
        ("generation by goodness too", "generate_by_score"),
    ):
        lines += [
            f"  {label + ', characters/s':<42}{net[name + '_characters_per_s']:>10.0f}",
            f"    {'multiply-adds a character, thousands':<40}{net[name + '_multiply_adds'] / 1e3:>10.0f}",
            f"    {'products at these shapes, share':<40}{net[name + '_matmul_fraction']:>10.2f}",
            f"    {'the same at the rate of the large product':<40}{net[name + '_share_of_dense_rate']:>9.2f}",
        ]
    for label, key, form in (
        ("training against the autograd reference", "train_speedup_vs_autograd", ".2f"),
        ("generation, one stream, characters/s", "generate_one_stream_characters_per_s", ".0f"),
        ("  by goodness too", "generate_by_score_one_stream_characters_per_s", ".0f"),
    ):
        lines.append(f"  {label:<42}{net[key]:>10{form}}")
    return "\n".join(lines)
