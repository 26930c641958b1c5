"""Every source of negatives and every control on one corpus: bits per character and accuracy of held-out text.

python scripts/study/compare_text.py [--whole] [--seeds 0 1 2] [--only NAME ...] [--root FOLDER] [-- OPTIONS OF ffrecur fit]

All train on the same windows for as many updates, each at the learning rate and dropout that validated best for it, and
are judged at the checkpoint that validates best. The tasks have the paper's mode, the first 100 characters of each
document; with `--whole` it is the whole text, for 6 epochs instead of 20. Writes study.json into the root after each run,
and leaves out what is in there already; then the n-gram models, a table with the means over the seeds, and
bits_per_character.png with the first seed's curves.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from pathlib import Path

from learning_curves import draw
from ngram import KneserNey, evaluate, load_data
from study import Found, answer, parse, study

TASKS = Path(__file__).parents[2] / "tasks" / "text"
FORCED = str(TASKS / "teacher_forcing.yaml")
DREAMS = str(TASKS / "dream.yaml")
TRAININGS = {
    "teacher forcing": (FORCED, []),
    "uniform": (FORCED, ["--model.negatives=uniform", "--model.goodness_weight=3"]),
    "dreams": (DREAMS, []),
    "strings of 90": (DREAMS, ["--model.negatives=self_generated"]),
    "3 negatives": (FORCED, ["--model.negatives_per_case=3"]),
    "softmax": (FORCED, ["--model.objective=softmax", "--model.goodness_weight=3"]),
    "random hidden": (str(TASKS / "random_hidden.yaml"), []),
    "backpropagation": (str(TASKS / "backprop.yaml"), []),
}
WHOLE = ["--data.document_length=null", "--trainer.max_epochs=6", "--model.lr_scheduler.epochs=6"]
LESS_DROPOUT = [*WHOLE, "--model.state_dropout=0.1"]
OF_WHOLE = {name: LESS_DROPOUT for name in TRAININGS} | {
    "random hidden": [*WHOLE, "--model.state_dropout=0", "--model.optimizer.lr=0.0003"],
    "backpropagation": [*WHOLE, "--model.state_dropout=0.2", "--model.optimizer.lr=0.0005"],
}
FIGURES = ("bits_per_character", "accuracy", "head_bits_per_character", "head_accuracy", "minutes", "run")
ORDERS = (6, 1)


def least_variety(run: Path) -> float | None:
    """Return the least variety that dreams had in a run (that of real text is 1); None where there were no dreams."""
    with (run / "metrics.csv").open(newline="") as file:
        return min(
            (float(row["train/dream_variety"]) for row in csv.DictReader(file) if row.get("train/dream_variety")),
            default=None,
        )


def table(found: Found, n_grams: dict[str, tuple[float, float]]) -> str:
    """Return the means over the seeds as a Markdown table, with every seed's bits per character."""
    head = (
        "| | bits per character | seeds | accuracy | softmax alone | its accuracy | least variety of dreams | minutes |"
    )
    lines = ["", head, "|" + "---|" * 8]
    for name, by_seed in found.items():
        rows = [by_seed[seed] for seed in sorted(by_seed, key=int)]
        bits, accuracy, alone, its_accuracy, minutes = (
            statistics.mean(row[figure] for row in rows) for figure in FIGURES[:-1]
        )
        seeds = ", ".join(f"{row['bits_per_character']:.3f}" for row in rows)
        variety = [least for row in rows if (least := least_variety(Path(row["run"]))) is not None]
        lowest = f"{min(variety):.2f}" if variety else ""
        both, head = f"{bits:.3f} | {seeds} | {accuracy:.1%}", f"{alone:.3f} | {its_accuracy:.1%}"
        lines.append(f"| {name} | {both} | {head} | {lowest} | {minutes:.1f} |")
    for name, (bits, accuracy) in n_grams.items():
        lines.append(f"| {name} | {bits:.3f} | | {accuracy:.1%} | | | | |")
    return "\n".join(lines)


def run() -> None:
    """Run what has not been run, then print the table and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="train and validate on the whole text")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=list(TRAININGS), default=list(TRAININGS), metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path("runs") / "compare_text")
    own, options = parse(parser)
    known = TRAININGS
    if own.whole:
        known = {name: (task, [*own_options, *OF_WHOLE[name]]) for name, (task, own_options) in known.items()}
    found = study(known, own.only, own.seeds, own.root / "study.json", options, FIGURES, "best")
    newest = found[own.only[0]][str(own.seeds[0])]["run"]
    data = load_data(f"{newest}/config.yaml", [])
    models = {
        f"{order}-gram" if order > 1 else "unigram": KneserNey(data.train_documents, order, data.alphabet.symbols)
        for order in ORDERS
    }
    print(
        table(found, {name: evaluate(model, data.validation_documents, data.window) for name, model in models.items()})
    )
    curves = {name: Path(by_seed[min(by_seed, key=int)]["run"]) for name, by_seed in found.items()}
    draw(curves, by="epochs").savefig(own.root / "bits_per_character.png", dpi=120)


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
