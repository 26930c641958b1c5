"""How much does a net overfit? Errors on images that it was trained on, and on others, of any number of nets.

python scripts/study/overfitting.py RUN [name=RUN ...] [--data.source FOLDER] [--splits train validation] [--limit 10000]

A run is a run's folder, a checkpoint, an exported net or one of the museum. Of a Forward-Forward net the score of its run, its
goodness alone and its head alone; of backpropagation its logits. Images are as they are, without dropout or `data.augment`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from classifiers import (
    SPLITS,
    Classifier,
    add_images,
    classifier,
    error,
    head_alone,
    images_for,
    read,
    refuse_videos,
    shown_of,
)
from study import answer
from torch import Tensor

import ffrecur
from ffrecur.errors import check_whole


def ways(whole: Classifier) -> dict[str, Classifier]:
    """Return a net as it scores, by goodness alone and by its head alone, where it has both."""
    if isinstance(whole.net, ffrecur.BackpropNet) or getattr(whole.net, "label", "pixels") is None:
        return {"score": whole}
    goodness = classifier(whole.name, whole.net, {**whole.settings, "head_weight": 0.0})
    return {"score": whole, "goodness alone": goodness, "head": head_alone(whole)}


def table(nets: Sequence[Classifier], shown: dict[str, tuple[Tensor, Tensor]]) -> str:
    """Return the errors in percent as a Markdown table, a row a net and way."""
    lines = [
        "| net | by | " + " | ".join(f"{split}, {len(labels)} images" for split, (_, labels) in shown.items()) + " |"
    ]
    lines.append("|---" * (len(shown) + 2) + "|")
    for net in nets:
        for name, way in ways(net).items():
            cells = [f"{error(way, images, labels):.2%}" for images, labels in shown.values()]
            lines.append(f"| {net.name} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run() -> None:
    """Print the table; raises `UserError`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, checkpoint, exported net, museum/NAME; or name=RUN"
    )
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["train", "validation"])
    add_images(parser, 10_000)
    options = parser.parse_args()
    check_whole("--limit", options.limit)
    nets = [read(each) for each in options.runs]
    refuse_videos(nets)
    data = images_for(nets, options, options.splits)
    print(table(nets, {split: shown_of(data, split, options.limit) for split in options.splits}))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
