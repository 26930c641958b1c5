"""What top-down input does while digits drift: the test error of a run of tasks/mnist/drift.yaml, frame by frame.

python scripts/study/drift.py runs/drift-...
"""

from __future__ import annotations

import argparse
import copy

import torch
from study import answer
from torch import Tensor

import ffrecur
from ffrecur.data import DriftDataModule
from ffrecur.errors import UserError
from ffrecur.lit.images import prepare
from ffrecur.metrics.images import RecurrentEvaluation
from ffrecur.nets.recurrent import RecurrentNet

WINDOW, TEMPERATURE = (3, 5), 0.1


def without_hidden_top_down(net: RecurrentNet) -> RecurrentNet:
    """Return a copy in which hidden layers hear nothing from hidden layers above them; the top one still hears the label."""
    cut = copy.deepcopy(net)
    for linear in cut.top_down[: len(cut.top_down) - 1]:
        torch.nn.init.zeros_(linear.weight)
    return cut


def errors(net: RecurrentNet, images: Tensor, labels: Tensor) -> list[float]:
    """Return the error over the window, then that of each single iteration."""
    evaluation = RecurrentEvaluation(net, 8, WINDOW, TEMPERATURE)
    evaluation.update(net, images, labels)
    found = evaluation.compute()
    return [found["goodness_error"].item(), *found["error_by_iteration"].tolist()]


def run() -> None:
    """Print a row of errors for each way of showing the test digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder or checkpoint")
    net = ffrecur.load(parser.parse_args().run)
    if not isinstance(net, ffrecur.RecurrentNet):
        raise UserError(f"run holds a {type(net).__name__}, but must hold a RecurrentNet")
    data = DriftDataModule("bundled", frames=8)
    data.setup("test")
    assert data.test_set is not None
    assert data.test_set.labels is not None
    videos, labels = prepare(data.test_set.images), data.test_set.labels
    rows = {
        "drifting": errors(net, videos, labels),
        "drifting, no top-down between hidden layers": errors(without_hidden_top_down(net), videos, labels),
        "frozen at the first frame": errors(net, videos[:1].expand_as(videos), labels),
        "frozen in its place (frame 4)": errors(net, videos[3:4].expand_as(videos), labels),
    }
    header = "".join(f"{t:>7}" for t in range(1, 9))
    print(f"{len(labels)} test digits, error in percent\n{'':<46}{'window':>8}{header}")
    for name, row in rows.items():
        print(f"{name:<46}{100 * row[0]:>8.1f}" + "".join(f"{100 * error:>7.1f}" for error in row[1:]))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
