"""How robust is a net? Errors on corrupted images, and under attack, of any number of nets that classify, one beside the other.

python scripts/study/corruption.py RUN [name=RUN ...] --data.source FOLDER [--baseline RUN] [--split test] [--limit 2000]

A run is a run's folder, a checkpoint, an exported net or one of the museum; a name is what tables and pictures call it. Names
that differ behind a # are seeds of one net, which has one column, their mean with its standard deviation, and one line. Ten
corruptions of five strengths each (corruptions.py) and two attacks of five budgets (attacks.py). All nets see the very same
images, whichever nets there are. A recurrent net sees a drifting image as a video, frame t at iteration t; the others average
their log-probabilities over frames 1 to 5. One more row has what recurrent nets do when they read the frames so too.

Writes corruption.json and corruption.png into --output, the JSON after each row, and leaves out what is in there already. The
last column is Hendrycks and Dietterich's mean corruption error (2019, arXiv 1903.12261): the mean over the corruptions of

    sum over strengths of the net's error / sum over strengths of the baseline's error

so that the baseline has 100 %. Clean images, the drift frame by frame and attacks do not count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from attacks import ATTACKS, BUDGETS
from classifiers import BATCH, SPLITS, Classifier, add_images, images_for, parts, read, shown_of, split_in
from corruption_tables import deviations, draw, groups_of, over_seeds, printed, summary
from corruptions import APART, CORRUPTIONS, FRAMES, Shape, corrupted
from study import answer, make_folder
from torch import Tensor

from ffrecur.errors import UserError, check_whole
from ffrecur.storage.files import replacing

ATTACK_BATCH = 100
STRENGTHS = {
    **{name: list(each.strengths) for name, each in CORRUPTIONS.items()},
    APART: list(CORRUPTIONS["drift"].strengths),
    **{name: list(BUDGETS) for name in ATTACKS},
}
Errors = dict[str, dict[str, list[float]]]  # by corruption and net, one a strength


class Figures:
    """The errors that were found, kept in a file as they come."""

    def __init__(self, file: Path, about: dict[str, Any], nets: Sequence[Classifier]) -> None:
        self.file, self.about = file, about
        self.identities = {net.name: net.identity() for net in nets}
        self.errors: Errors = {}
        if file.is_file():
            try:
                kept = json.loads(file.read_text())
                before, identities, errors, strengths = (kept[key] for key in ("about", "nets", "errors", "strengths"))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"--output has a {file.name} that cannot be read ({error}): give another folder"
                ) from error
            if before != about:
                raise UserError(f"--output has figures of {before}, but these are of {about}: give another folder")
            same = {name for name, identity in identities.items() if self.identities.get(name, identity) == identity}
            self.identities = {**{name: identities[name] for name in same}, **self.identities}
            self.errors = {
                row: {net: found for net, found in of.items() if net in same}
                for row, of in errors.items()
                if strengths.get(row) == STRENGTHS.get(row)  # an older version of this script had others
            }

    def lacking(self, row: str, nets: Sequence[Classifier]) -> list[Classifier]:
        """Return the nets of which a row has no errors yet."""
        return [net for net in nets if net.name not in self.errors.get(row, {})]

    def add(self, row: str, found: dict[str, list[float]]) -> None:
        """Print errors, and write them."""
        self.errors.setdefault(row, {}).update(found)
        for net, errors in found.items():
            print(f"{row:<16} {net}: " + "  ".join(f"{error:.2%}" for error in errors), flush=True)
        self.write({})

    def write(self, more: dict[str, Any]) -> None:
        """Write the file, which appears whole."""
        whole = {"about": self.about, "nets": self.identities, "strengths": STRENGTHS, **more, "errors": self.errors}
        with replacing(self.file) as path:
            path.write_text(json.dumps(whole, indent=2) + "\n")


def measure(nets: Sequence[Classifier], images_ND: Tensor, labels_N: Tensor, shape: Shape, figures: Figures) -> None:
    """Find the error of each net on clean images and at each strength of each corruption, as fractions."""
    # A drift lasts as long as the nets look.
    frames = max([FRAMES, *(net.settings["window"][1] for net in nets if net.video)])
    for name in ("clean", *CORRUPTIONS, APART):
        left = figures.lacking(name, nets)
        strengths = STRENGTHS.get(name, [0.0])  # clean images have none
        wrong = {net.name: [0] * len(strengths) for net in left}
        for start in range(0, len(images_ND) if left else 0, BATCH):
            images, labels = images_ND[start : start + BATCH], labels_N[start : start + BATCH]
            for level, strength in enumerate(strengths):
                shown = images if name == "clean" else corrupted(name, strength, images, start, shape, frames)
                for net in left:
                    wrong[net.name][level] += int((net.classify(shown, name == APART) != labels).sum())
        if left:
            figures.add(name, {net: [count / len(images_ND) for count in counts] for net, counts in wrong.items()})


def attack(nets: Sequence[Classifier], images_ND: Tensor, labels_N: Tensor, figures: Figures) -> None:
    """Find the error of each net under each attack, at each budget, as fractions."""
    for name, wrong_under in ATTACKS.items():
        for net in figures.lacking(name, nets):
            errors = []
            for budget in BUDGETS:
                wrong = [
                    wrong_under(net.slopes, images, labels, budget, number * ATTACK_BATCH).sum()
                    for number, (images, labels) in enumerate(
                        zip(images_ND.split(ATTACK_BATCH), labels_N.split(ATTACK_BATCH), strict=True)
                    )
                ]
                errors.append(int(torch.stack(wrong).sum()) / len(images_ND))
            figures.add(name, {net.name: errors})


def chosen(runs: Sequence[str], baseline: str | None, with_parts: bool) -> tuple[list[Classifier], str | None]:
    """Return the nets to compare, and the name of the baseline, which may be one of the runs or another."""
    nets = [read(run) for run in runs]
    name = None
    if baseline is not None:
        known = {**{net.name: net for net in nets}, **dict(zip(runs, nets, strict=True))}
        groups = groups_of([net.name for net in nets])
        if baseline not in known and baseline not in groups:
            known[baseline] = read(baseline)
            nets.append(known[baseline])
        name = baseline if baseline in groups else known[baseline].name.partition("#")[0]
    return [each for net in nets for each in (net, *(parts(net) if with_parts else []))], name


def run(options: argparse.Namespace) -> None:
    """Measure, print, and write the figures and the picture; raises `UserError`."""
    check_whole("--limit", options.limit)
    check_whole("--attacked", options.attacked, 0)
    nets, baseline = chosen(options.runs, options.baseline, options.parts)
    data = images_for(nets, options, [options.split])
    (images, labels), shape = shown_of(data, options.split, options.limit), data.image_shape
    few = min(options.attacked, len(labels))
    about = {"source": data.source, "split": options.split, **split_in(data), "images": len(labels), "attacked": few}
    make_folder("--output", options.output)
    figures = Figures(options.output / "corruption.json", about, nets)
    measure(nets, images, labels, shape, figures)
    if few:
        attack(nets, images[:few], labels[:few], figures)
    names = [net.name for net in nets]
    errors, spread = over_seeds(figures.errors, names), deviations(figures.errors, names)
    means = summary(errors, list(groups_of(names)), baseline)
    figures.write({"baseline": baseline, "means": means, "standard_deviations": spread})
    print(printed(means, baseline, spread))
    draw(errors, list(means)).savefig(options.output / "corruption.png", dpi=100)


def main() -> None:
    """Read the command line; mistakes are told in a sentence, with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, checkpoint, exported net, museum/NAME; or name=RUN"
    )
    parser.add_argument("--split", choices=SPLITS[:2], default=SPLITS[0])
    add_images(parser, 2000)
    parser.add_argument(
        "--attacked", type=int, default=500, help="of them, how many are attacked (default: %(default)s)"
    )
    parser.add_argument("--baseline", metavar="RUN", help="the net that has 100 %%: one of the runs, or another")
    parser.add_argument(
        "--parts", action="store_true", help="recurrent nets also without top-down weights, and their heads"
    )
    parser.add_argument("--output", type=Path, default=Path(), help="folder of corruption.json and corruption.png")
    answer(lambda: run(parser.parse_args()))


if __name__ == "__main__":
    main()
