"""Which weight goodness should have in a character model's predictions: bits per character on validation text by weight.

python scripts/study/goodness_weight.py RUN_FOLDER [--weights 0 0.5 1 ...] [-- OPTIONS OF data]

The text is that of the run's config.yaml, with options such as --data.source FILE for other text,
of which all validates unless it has splits of its own. Every candidate's
goodness is worked out once, for all weights, of nets with a window and of streams. Weight 0 is the softmax alone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from ngram import data_of_run
from study import answer, parse
from torch import Tensor

import ffrecur
from ffrecur.errors import UserError, check_setting
from ffrecur.functional import Noise, noise_contrastive_logits
from ffrecur.metrics.stream import follow, side_by_side, together
from ffrecur.metrics.text import NextCharacter
from ffrecur.text.places import Text, places, windows_at

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.0, 10.0)
BATCH = 1000  # windows
# Of places: the head's logits (B, V), goodness with its sign (B, V), next characters (B,).
Parts = tuple[Tensor, Tensor, Tensor]


def of_windows(net: ffrecur.CharNet, text: Text) -> Iterator[Parts]:
    """Yield the parts of a window net's score, at all places of a text."""
    prepared = net.prepare()
    for places_B in places(text, net.window).split(BATCH):
        contexts_BW, next_B = windows_at(text, places_B - 1, net.window), text.symbols_N[places_B].long()
        yield net.logits(contexts_BW), net.sign * net.candidate_goodness(prepared, contexts_BW).sum(dim=0), next_B


def of_stream(net: ffrecur.StreamNet, documents: Sequence[str], window: int) -> Iterator[Parts]:
    """Yield the parts of a stream's score, at the places of documents that have `window` characters or more before them."""
    for prepared, state, next_B in together(follow(net, *side_by_side(net, documents), window)):
        goodness_BV = net.sign * net.candidate_goodness(prepared, state).sum(dim=0)
        yield net.prepared_logits(prepared, state), goodness_BV, next_B


@torch.no_grad()
def by_weight(parts: Iterable[Parts], weights: Sequence[float], noise: Noise) -> dict[float, dict[str, float | int]]:
    """Return bits per character and accuracy for each weight, by the formula of `CharNet.score`."""
    metrics = {weight: NextCharacter() for weight in weights}
    for logits_BV, goodness_BV, next_B in parts:
        for weight, metric in metrics.items():
            scores_BV = noise_contrastive_logits(logits_BV, goodness_BV, weight, noise) if weight else logits_BV
            metric.update(scores_BV, next_B)
    return {weight: metric.compute() for weight, metric in metrics.items()}


def run() -> None:
    """Print a table, a row a weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    own, options = parse(parser)
    if not (own.run / "config.yaml").is_file():
        raise UserError(f"run is '{own.run}', but must be a run folder, with a config.yaml")
    for weight in own.weights:
        check_setting(0 <= weight < math.inf, "--weights", weight, "finite and at least 0")
    net = ffrecur.load(own.run)
    if not isinstance(net, (ffrecur.CharNet, ffrecur.StreamNet)):
        raise UserError(f"run is '{own.run}', which holds a {type(net).__name__}, but must hold a net of text")
    data = data_of_run(own.run, net, options)
    if isinstance(net, ffrecur.CharNet):
        parts = of_windows(net, data.validation_text)
    else:
        parts = of_stream(net, data.validation_documents, data.window)
    print(f"{'weight':>7}{'bits per character':>20}{'accuracy':>10}")
    for weight, figures in by_weight(parts, own.weights, net.noise).items():
        print(f"{weight:>7}{figures['bits_per_character']:>20.3f}{figures['accuracy']:>10.1%}")


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
