"""Associative recall by a streaming model, with and without fast weights: a key that came before is followed by its value.

python scripts/study/recall.py [--memories hidden fast both window] [--values same] [--steps 1200] [--output recall.jsonl]

Each document has a mapping of its own, of 20 symbols to 20 symbols at random, and shows key, value, key, value, ... A key that
was shown before has the same value again, so that it can be known; its first value cannot. The table is the share of values
that the score ranks first, by the distance in characters since the key was shown last; chance is 5 %. With `--values own` the
values are 20 other symbols, so that a symbol is always a key or always a value; the score ranks all 40.

What is recalled may lie in the hidden states (lateral weights, no keys), in the fast weights (keys, no lateral weights), in
both, or in a window of ten characters (a `CharNet`), which has nothing of what is further back. The last row, "counting",
needs no net: it names what followed the last symbol most often, each time counted `decay` less with each character since.
That is the most that a memory can know whose key is the last symbol alone: where values are keys too, what follows a symbol is
often no value of it.

Each row is written to the output as it ends, and a row that is there already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from study import answer, make_folder
from torch import Tensor

from ffrecur.core.fast import FAST_RULES
from ffrecur.core.learning import Learning, LocalLoss
from ffrecur.core.objectives import Paired
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.negatives.labels import uniform_labels
from ffrecur.nets.character import CharNet, LastSymbols
from ffrecur.nets.stream import StreamNet
from ffrecur.seeding import seeded_generator

ALPHABET, OTHERS = "abcdefghijklmnopqrst", "ABCDEFGHIJKLMNOPQRST"
BINS = ((2, 9), (10, 24), (25, 49), (50, 74), (75, 100))  # characters since the key was shown last
TEST = 10**6  # tells the documents that are tested from those trained on
MEMORIES = ["hidden", "fast", "both", "window"]
WINDOW = 10  # characters
Negatives = Callable[[Any, Tensor], Tensor]  # wrong symbols (B, K) from the head's logits and the true ones
EVERY = 500  # steps after which the training prints a line


class Documents(NamedTuple):
    """Documents of pairs, one a stream."""

    symbols_BT: Tensor  # key, value, key, value, ...
    distance_BT: Tensor  # at a value: characters since its key was shown last, 0 if never; at a key 0


def make_documents(streams: int, pairs: int, *key: int, values: str = "same") -> Documents:
    """Return documents that depend on the numbers of `key` alone; own values are the same ones in the other 20 symbols."""
    source, count = seeded_generator(*key), len(ALPHABET)
    mapping_BV = torch.randint(count, (streams, count), generator=source)
    keys_BP = torch.randint(count, (streams, pairs), generator=source)
    first = count if values == "own" else 0
    symbols_BT = torch.stack([keys_BP, mapping_BV.gather(1, keys_BP) + first], dim=2).flatten(1)
    last_BV, distance_BT = torch.full((streams, count), -1), torch.zeros_like(symbols_BT)
    for pair in range(pairs):
        key_B1 = keys_BP[:, pair : pair + 1]
        before_B = last_BV.gather(1, key_B1)[:, 0]
        distance_BT[:, 2 * pair + 1] = torch.where(before_B < 0, 0, 2 * (pair - before_B))
        last_BV.scatter_(1, key_B1, pair)
    return Documents(symbols_BT, distance_BT)


def train(net: StreamNet | CharNet, own: argparse.Namespace) -> None:
    """Train for so many characters of each stream."""
    learning, begun = Learning(objective=Paired(own.temperature), iterations=1), time.monotonic()
    optimizer, source = torch.optim.Adam(net.parameters(), lr=own.rate_of_learning), seeded_generator(own.seed, 1)
    length, losses = 2 * own.pairs, 0.0
    for step in range(own.steps):
        if step % length == 0:
            documents = make_documents(own.streams, own.pairs, own.seed, step // length, values=own.values)
            state = first_state(net, own.streams)
        noise_BV = torch.rand(own.streams, len(net.alphabet), generator=source)
        draw = partial(uniform_labels, noise_BC=noise_BV, count=own.negatives)
        learned, state = learn(net, state, documents.symbols_BT[:, step % length], draw, learning)
        optimizer.zero_grad()
        learned.loss.backward()
        optimizer.step()
        losses += learned.loss.item()
        if (step + 1) % EVERY == 0:
            per_step = (time.monotonic() - begun) / (step + 1)
            print(f"step {step + 1}  loss {losses / EVERY:.3f}  {1000 * per_step:.0f} ms a step", flush=True)
            losses = 0.0


def first_state(net: StreamNet | CharNet, streams: int) -> Any:
    """Return what is known before the first character: nothing, or a window of first symbols."""
    return net.first_state(streams) if isinstance(net, StreamNet) else torch.zeros(streams, WINDOW, dtype=torch.int64)


def learn(
    net: StreamNet | CharNet, state: Any, symbols_B: Tensor, draw: Negatives, learning: Learning
) -> tuple[LocalLoss, Any]:
    """Learn that these characters came next; return the loss and what is known then."""
    if isinstance(net, StreamNet):
        return net.local_learning(state, symbols_B, draw, learning)

    def windows(logits_BV: Tensor, true_B: Tensor) -> LastSymbols:
        return LastSymbols(draw(logits_BV, true_B))

    return net.local_learning(state, symbols_B, windows, learning), torch.cat([state[:, 1:], symbols_B[:, None]], dim=1)


@torch.no_grad()
def recalled(net: StreamNet | CharNet, own: argparse.Namespace) -> dict[str, float]:
    """Return the share of values that the score ranks first, by distance; those that cannot be known as "first"."""
    documents = tested(own)
    prepared: Any = net.prepare()
    state, hits_BT = first_state(net, own.streams), torch.zeros_like(documents.symbols_BT)
    for step, symbols_B in enumerate(documents.symbols_BT.t()):
        if step % 2:
            hits_BT[:, step] = net.prepared_score(prepared, state).argmax(dim=1) == symbols_B
        state = net.extended(prepared, state, symbols_B)
    return by_distance(documents, hits_BT)


def tested(own: argparse.Namespace) -> Documents:
    """Return the documents that are tested."""
    return make_documents(own.streams, own.pairs, own.seed, TEST, values=own.values)


def counted(documents: Documents, decay: float) -> dict[str, float]:
    """Return the same shares of a table that counts what followed each symbol, older times less; the first of equals."""
    symbols_BT, count = documents.symbols_BT, 2 * len(ALPHABET)
    streams_B, hits_BT = torch.arange(len(symbols_BT)), torch.zeros_like(symbols_BT)
    table_BVV = torch.zeros(len(symbols_BT), count, count, dtype=torch.float64)
    for step in range(1, symbols_BT.shape[1]):
        before_B, here_B = symbols_BT[:, step - 1], symbols_BT[:, step]
        hits_BT[:, step] = table_BVV[streams_B, before_B].argmax(dim=1) == here_B
        table_BVV *= decay
        table_BVV[streams_B, before_B, here_B] += 1
    return by_distance(documents, hits_BT)


def by_distance(documents: Documents, hits_BT: Tensor) -> dict[str, float]:
    """Return the share of values that were hit, by distance."""
    values, distance = hits_BT[:, 1::2].double(), documents.distance_BT[:, 1::2]
    found = {"first": values[distance == 0].mean().item()}
    for low, high in BINS:
        found[f"{low} to {high}"] = values[(distance >= low) & (distance <= high)].mean().item()
    return found


def row(own: argparse.Namespace, memory: str) -> dict[str, Any]:
    """Train and test one net."""
    torch.manual_seed(own.seed)
    fast, lateral = (0 if memory == "hidden" else own.keys, own.decay, own.rate, own.rule), memory != "fast"
    alphabet = ALPHABET + (OTHERS if own.values == "own" else "")
    settings: dict[str, Any] = {"goodness_weight": 1 / own.temperature, "noise": "uniform", "fold_case": False}
    net: StreamNet | CharNet
    if memory == "window":
        net = CharNet(alphabet, WINDOW, own.hidden, **settings)
    else:
        settings |= {"top_down": False, "fast_weights": fast, "lateral": lateral}
        net = StreamNet(alphabet, own.hidden, own.damping, **settings)
    begun = time.monotonic()
    train(net, own)
    return {"memory": memory, "recalled": recalled(net, own), "minutes": (time.monotonic() - begun) / 60}


def known(output: Path | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier call with the same settings."""
    try:
        lines = output.read_text().splitlines() if output is not None and output.is_file() else []
        return [each for each in map(json.loads, lines) if each["settings"] == settings]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"--output is '{output}', which is no file of rows ({error!r}): give another") from error


def run() -> None:
    """Print a table, a row for each place where memory may lie."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", choices=MEMORIES, default=MEMORIES, help="where memory may lie")
    parser.add_argument("--values", choices=("same", "own"), default="same", help="which symbols are values")
    parser.add_argument("--rule", choices=FAST_RULES, default="delta", help="by which fast weights are written")
    parser.add_argument("--keys", type=int, default=256, help="of each layer's fast weights")
    parser.add_argument("--hidden", type=int, nargs="+", default=[400])
    parser.add_argument("--damping", type=float, default=0.0)
    parser.add_argument("--decay", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.3, help="of writing into the fast weights")
    parser.add_argument("--pairs", type=int, default=100, help="of a document")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1200, help="characters of each stream")
    parser.add_argument("--negatives", type=int, default=3, help="wrong characters at each place")
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--rate_of_learning", type=float, default=0.0001)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="file of rows, which is added to")
    own = parser.parse_args()
    settings = {name: value for name, value in vars(own).items() if name not in ("memories", "output")}
    torch.set_flush_denormal(True)
    for name in ("keys", "pairs", "streams", "steps", "negatives"):
        check_whole(f"--{name}", getattr(own, name))
    check_setting(0 < own.temperature < math.inf, "--temperature", own.temperature, "finite and greater than 0")
    if own.output is not None:
        make_folder("the folder of --output", own.output.parent)
    rows = known(own.output, settings)
    for memory in own.memories:
        if memory not in [each["memory"] for each in rows]:
            print(memory, flush=True)
            rows.append({"settings": settings, **row(own, memory)})
            if own.output is not None:
                with own.output.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    rows.append({"memory": "counting", "recalled": counted(tested(own), own.decay), "minutes": 0.0})
    names = ["first", *(f"{low} to {high}" for low, high in BINS)]
    print("".join(f"{name:>12}" for name in ("memory", *names, "minutes")))
    for each in rows:
        shares = "".join(f"{each['recalled'][name]:>12.1%}" for name in names)
        print(f"{each['memory']:>12}{shares}{each['minutes']:>12.1f}")
    sys.stdout.flush()


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
