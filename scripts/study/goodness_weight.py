"""Which weight goodness should have in a character model's predictions: bits per character on validation text by weight.

python scripts/study/goodness_weight.py RUN_FOLDER [--weights 0 0.5 1 ...] [-- OPTIONS OF data]

The text is that of the run's config.yaml, with options such as --data.source FILE for other text,
of which all validates unless it has splits of its own. Every candidate's
goodness is worked out once, for all weights. Weight 0 is the softmax alone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from ngram import data_of_run
from study import answer, parse
from torch import Tensor

import ffrecur
from ffrecur.errors import UserError, check_setting
from ffrecur.functional import noise_contrastive_logits
from ffrecur.metrics.text import NextCharacter
from ffrecur.text.places import Text, places, windows_at

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.0, 10.0)
BATCH = 1000  # windows


@torch.no_grad()
def by_weight(net: ffrecur.CharNet, text: Text, weights: Sequence[float]) -> dict[float, dict[str, float | int]]:
    """Return bits per character and accuracy of a text for each weight, by the formula of `CharNet.score`."""
    metrics = {weight: NextCharacter() for weight in weights}
    prepared, here = net.prepare(), places(text, net.window)
    for places_B in here.split(BATCH):
        contexts_BW, next_B = windows_at(text, places_B - 1, net.window), text.symbols_N[places_B].long()
        logits_BV = net.logits(contexts_BW)
        goodness_BV: Tensor = net.sign * net.candidate_goodness(prepared, contexts_BW).sum(dim=0)
        for weight, metric in metrics.items():
            scores_BV = noise_contrastive_logits(logits_BV, goodness_BV, weight, net.noise) if weight else logits_BV
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
    if not isinstance(net, ffrecur.CharNet):
        raise UserError(f"run is '{own.run}', which holds a {type(net).__name__}, but must hold a CharNet")
    data = data_of_run(own.run, net, options)
    print(f"{'weight':>7}{'bits per character':>20}{'accuracy':>10}")
    for weight, figures in by_weight(net, data.validation_text, own.weights).items():
        print(f"{weight:>7}{figures['bits_per_character']:>20.3f}{figures['accuracy']:>10.1%}")


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
