"""What the memory of a streaming character model is worth: bits per character by the place in the document, and with it cut.

python scripts/study/memory.py RUN_FOLDER [--cuts 1 2 5 10 20 50] [--split validation] [--output memory.json] [-- OPTIONS OF data]

The first table has all characters of the documents, by their place: place 1 is the first character, of which nothing is known.
The second has the characters with `data.window` or more of their document before them, as all figures of a run do. Cut at n, a
character is predicted from the state of a stream that began n characters before it, hidden states and fast weights alike; what
has n or fewer characters before it loses nothing. The text is that of the run's config.yaml, with options such as
--data.source FILE for other text, of which all is judged unless it has splits of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from ngram import data_of_run
from study import make_folder, parse
from torch import Tensor
from torch.nn import functional as F

import ffrecur
from ffrecur.errors import UserError, check_setting
from ffrecur.metrics.stream import follow, side_by_side
from ffrecur.nets.streaming import Prepared, StreamState

CUTS = (1, 2, 5, 10, 20, 50)
PLACES = ((1, 1), (2, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, sys.maxsize))  # of a document, counted from 1
BATCH = 500  # characters that are predicted at once, each from a stream of its own
Row = dict[str, str | int | float]


class Documents(NamedTuple):
    """Documents in numbers, the longest first."""

    symbols_ST: Tensor
    lengths_S: Tensor

    def has_place(self, before: int) -> Tensor:
        """Return where there is a character with so many or more before it, `(S, T)` bool."""
        place_T = torch.arange(self.symbols_ST.shape[1])
        return (place_T >= before) & (place_T < self.lengths_S[:, None])


def longest_first(net: ffrecur.StreamNet, texts: Sequence[str]) -> Documents:
    """Return texts in numbers."""
    symbols_ST, lengths_S = side_by_side(net, texts)
    order_S = lengths_S.argsort(descending=True, stable=True)
    return Documents(symbols_ST[order_S], lengths_S[order_S])


def bits_of(net: ffrecur.StreamNet, prepared: Prepared, state: StreamState, next_B: Tensor) -> Tensor:
    """Return the bits of the next characters by the score and by the softmax alone, `(B, 2)` float64."""
    rated = (net.prepared_score(prepared, state), net.prepared_logits(prepared, state))
    nats = [F.cross_entropy(each.double(), next_B, reduction="none") for each in rated]
    return torch.stack(nats, dim=1).cpu() / math.log(2)


@torch.no_grad()
def uncut(net: ffrecur.StreamNet, documents: Documents) -> Tensor:
    """Return the bits of all characters, each from the state of its whole document before it, `(S, T, 2)`."""
    found_ST2 = torch.zeros(*documents.symbols_ST.shape, 2, dtype=torch.float64)
    for place, (prepared, state, next_B) in enumerate(follow(net, *documents, window=0)):
        found_ST2[: len(next_B), place] = bits_of(net, prepared, state, next_B)
    return found_ST2


@torch.no_grad()
def cut(net: ffrecur.StreamNet, documents: Documents, uncut_ST2: Tensor, count: int) -> Tensor:
    """Return the bits of all characters, each from the state of a stream that began `count` characters ago, `(S, T, 2)`.

    All such streams run side by side, `count` characters each; where the document itself began then or later, they are the
    bits of `uncut_ST2`.
    """
    found_ST2, prepared = uncut_ST2.clone(), net.prepare()
    back_N, here_N2 = torch.arange(-count, 0), documents.has_place(count + 1).nonzero()
    for first in range(0, len(here_N2), BATCH):
        streams_B, places_B = here_N2[first : first + BATCH].t()
        read_BN = documents.symbols_ST[streams_B[:, None], places_B[:, None] + back_N]
        state, next_B = net.read(prepared, read_BN), documents.symbols_ST[streams_B, places_B]
        found_ST2[streams_B, places_B] = bits_of(net, prepared, state, next_B)
    return found_ST2


def mean_row(kind: str, name: str, bits_ST2: Tensor, here_ST: Tensor) -> Row:
    """Return a row of a table: the means over some characters."""
    by_score, by_head = bits_ST2[here_ST].mean(dim=0).tolist()
    return {kind: name, "characters": int(here_ST.sum()), "bits": by_score, "softmax_bits": by_head}


def by_place(documents: Documents, bits_ST2: Tensor) -> list[Row]:
    """Return bits per character by the place in the document; places that no document has are left out."""
    rows = []
    for first, last in PLACES:
        here_ST = documents.has_place(first - 1) & ~documents.has_place(last)
        name = str(first) if first == last else f"{first} on" if last == sys.maxsize else f"{first} to {last}"
        if here_ST.any():
            rows.append(mean_row("place", name, bits_ST2, here_ST))
    return rows


def by_cut(
    net: ffrecur.StreamNet, documents: Documents, bits_ST2: Tensor, cuts: Sequence[int], window: int
) -> list[Row]:
    """Return bits per character with the memory cut, and uncut, of what has `window` characters or more before it."""
    here_ST = documents.has_place(window)
    rows = [mean_row("cut", str(count), cut(net, documents, bits_ST2, count), here_ST) for count in cuts]
    return [*rows, mean_row("cut", "uncut", bits_ST2, here_ST)]


def table(rows: Sequence[Row]) -> str:
    """Return rows for people."""
    kind = next(iter(rows[0]))
    lines = [f"{kind:>12}{'characters':>12}{'bits per character':>20}{'softmax alone':>15}"]
    lines += [
        f"{row[kind]:>12}{row['characters']:>12,}{row['bits']:>20.3f}{row['softmax_bits']:>15.3f}" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Print two tables; write them as one JSON object if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "--cuts", type=int, nargs="+", default=list(CUTS), help="characters that are left of the memory"
    )
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--output", type=Path, help="JSON file of the tables")
    own, options = parse(parser)
    try:
        if own.output is not None:
            make_folder("the folder of --output", own.output.parent)
        check_setting(min(own.cuts) >= 1, "cuts", own.cuts, "at least 1 each")
        if not own.run.is_dir():
            raise UserError(f"run is '{own.run}', but must be a run folder")
        net = ffrecur.load(own.run)
        if not isinstance(net, ffrecur.StreamNet):
            raise UserError(f"run holds a {type(net).__name__}, but must hold a StreamNet")
        data = data_of_run(own.run, net, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    documents = longest_first(net, data.validation_documents if own.split == "validation" else data.test_documents)
    bits_ST2 = uncut(net, documents)
    places = by_place(documents, bits_ST2)
    print(table(places), flush=True)
    cuts = by_cut(net, documents, bits_ST2, own.cuts, data.window)
    print("\n" + table(cuts))
    if own.output is not None:
        found = {"run": str(own.run), "split": own.split, "window": data.window, "places": places, "cuts": cuts}
        own.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
