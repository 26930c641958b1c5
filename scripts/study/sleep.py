"""What sleep costs: positive and negative data in phases apart, for several lengths of the phases; or no sleep for a while.

python scripts/study/sleep.py [--images] [--phases 0 1 2 4 ...] [--seeds 0] [--root FOLDER] [-- OPTIONS OF ffrecur fit]
python scripts/study/sleep.py [--images] --deprived 0 16 64 ... [--first 448] [--recovery 224] [...]

A phase is so many updates on positive data alone, or as many on negative data alone; 0 has both in every update. The task is
tasks/text/sleep.yaml, with --images tasks/mnist/bundled.yaml. With --deprived, negative data is left out of so many updates,
from the update --first on; a net is judged right after them, and --recovery updates later with both kinds of data again.

Writes study.json into the root after each run, leaves out what is in there already, prints a table and draws sleep.png or
deprivation.png.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from compare_text import FIGURES, TASKS, table
from matplotlib.figure import Figure
from ngram import data_of_run
from study import Found, Row, Trainings, answer, parse, study

import ffrecur
from ffrecur.errors import UserError
from ffrecur.metrics.text_probes import goodness_of_kinds
from ffrecur.negatives.windows import PAPER_DREAM
from ffrecur.storage.checkpoint import read_checkpoint

TEXT, IMAGES = str(TASKS / "sleep.yaml"), str(TASKS.parent / "mnist" / "bundled.yaml")
PHASES = (0, 1, 2, 4, 8, 16, 32, 64, 256)
ERRORS = ("error", "goodness_error", "one_pass_error", "minutes", "run")
PROBES = ("auroc_by_layer", "auroc_by_layer_dreams", "known_word_share", "distinct_4gram_ratio", "seed")
MEASURED = {False: ("bits_per_character", "validation bits per character"), True: ("error", "validation error")}
DEPRIVED, RECOVERED = "deprived {}", "recovered {}"


def draw_lines(lines: dict[str, list[list[float]]], ticks: list[int], xlabel: str, ylabel: str) -> Figure:
    """Return a line for each name, through the means, with a point a seed."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for number, (name, of_ticks) in enumerate(lines.items()):
        axis.plot(range(len(ticks)), [statistics.mean(values) for values in of_ticks], color=f"C{number}", label=name)
        for place, values in enumerate(of_ticks):
            axis.plot([place] * len(values), values, "o", color=f"C{number}")
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    axis.grid(alpha=0.3)
    if len(lines) > 1:
        axis.legend()
    return figure


def of_seeds(found: Found, name: str, figure: str) -> list[float]:
    """Return a figure of every seed."""
    return [row[figure] for row in found[name].values()]


def draw_sleep(found: Found, phases: list[int], images: bool = False) -> Figure:
    """Return bits per character, or the error, over the length of a phase."""
    figure, ylabel = MEASURED[images]
    lines = {"": [of_seeds(found, f"sleep {phase}", figure) for phase in phases]}
    return draw_lines(lines, phases, "updates a phase; 0: both kinds of data in each update", ylabel)


def draw_deprivation(found: Found, lengths: list[int], images: bool, recovery: int) -> Figure:
    """Return the same over the number of updates without negative data: right after them, and when it has recovered."""
    figure, ylabel = MEASURED[images]
    lines = {
        label: [of_seeds(found, name.format(length), figure) for length in lengths]
        for label, name in (("right after them", DEPRIVED), (f"{recovery} updates later", RECOVERED))
    }
    return draw_lines(lines, lengths, "updates without negative data", ylabel)


def deprivations(lengths: list[int], first: int, recovery: int) -> Trainings:
    """Return the trainings: for each length one that ends with it, and one that goes on."""
    trainings: Trainings = {}
    for length in lengths:
        for name, more in ((DEPRIVED, 0), (RECOVERED, recovery)):
            own = [f"--model.deprivation=[{first},{length}]", f"--trainer.max_steps={first + length + more}"]
            trainings[name.format(length)] = ("", own)
    return trainings


def check_lengths(trainings: Trainings, found: Found) -> None:
    """Raise `UserError` where a training ended before its last update, as `max_epochs` may end it."""
    for name, (_, options) in trainings.items():
        wanted = int(options[-1].partition("=")[2])
        for row in found[name].values():
            reached = read_checkpoint(Path(row["run"]) / "last.ckpt")["global_step"]
            if reached < wanted:
                raise UserError(
                    f"'{name}' ended after {reached} of {wanted} updates: give a larger --trainer.max_epochs, and another --root"
                )


def mean_goodness(row: Row) -> dict[str, list[float]]:
    """Return by layer the mean goodness of validation windows: real, teacher-forced and dreamt."""
    run = Path(row["run"])
    net = ffrecur.load(run / "last.ckpt")
    assert isinstance(net, ffrecur.CharNet)
    data = data_of_run(run, net, [])
    found = goodness_of_kinds(net, data.validation_text, PAPER_DREAM, row["seed"])
    return {kind: goodness_LM.mean(dim=1).tolist() for kind, goodness_LM in found.items()}


def probe_table(found: Found, names: list[str]) -> str:
    """Return what becomes of a character model, of the first seed: a row a training, figures of layers with a slash."""
    head = "| | bits | softmax alone | goodness: real | teacher-forced | dreamt | AUROC: teacher-forced | dreamt "
    lines = [head + "| known words | distinct runs of 4 |", "|" + "---|" * 10]
    for name in names:
        row = found[name][min(found[name], key=int)]
        kinds = mean_goodness(row)
        by_layer = [*kinds.values(), row["auroc_by_layer"], row["auroc_by_layer_dreams"]]
        cells = [f"{row[figure]:.3f}" for figure in ("bits_per_character", "head_bits_per_character")]
        cells += [" / ".join(f"{value:.2f}" for value in values) for values in by_layer]
        cells += [f"{row[figure]:.1%}" for figure in ("known_word_share", "distinct_4gram_ratio")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def error_table(found: Found, names: list[str]) -> str:
    """Return the mean errors over the seeds."""
    lines = ["| | error | by goodness alone | one pass | minutes |", "|" + "---|" * 5]
    for name in names:
        means = [statistics.mean(of_seeds(found, name, figure)) for figure in ERRORS[:4]]
        lines.append(f"| {name} | {' | '.join(f'{mean:.2%}' for mean in means[:3])} | {means[3]:.1f} |")
    return "\n".join(lines)


def run() -> None:
    """Run what has not been run, then print the table and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="store_true", help="train on images instead of text")
    parser.add_argument("--phases", type=int, nargs="+", default=list(PHASES))
    parser.add_argument("--deprived", type=int, nargs="+", help="updates without negative data, instead of phases")
    parser.add_argument("--first", type=int, default=448, help="the first of them (default: %(default)s)")
    parser.add_argument("--recovery", type=int, default=224, help="updates after them (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--root", type=Path, default=Path("runs") / "sleep")
    own, options = parse(parser)
    task, figures = (IMAGES, ERRORS) if own.images else (TEXT, FIGURES)
    if own.deprived is None:
        trainings: Trainings = {f"sleep {phase}": ("", [f"--model.sleep={phase}"]) for phase in own.phases}
    else:
        trainings = deprivations(own.deprived, own.first, own.recovery)
        options = options if own.images else ["--model.sleep=0", *options]
        figures = figures if own.images else (*figures, *PROBES)
    trainings = {name: (task, changes) for name, (_, changes) in trainings.items()}
    best = "best" if own.deprived is None else "last"
    found = study(trainings, list(trainings), own.seeds, own.root / "study.json", options, figures, best)
    if own.deprived is not None:
        check_lengths(trainings, found)
    if own.images:
        print(error_table(found, list(trainings)))
    elif own.deprived is None:
        print(table(found, {}))
    else:
        print(probe_table(found, list(trainings)))
    if own.deprived is None:
        draw_sleep(found, own.phases, own.images).savefig(own.root / "sleep.png", dpi=120)
    else:
        picture = draw_deprivation(found, own.deprived, own.images, own.recovery)
        picture.savefig(own.root / "deprivation.png", dpi=120)


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
