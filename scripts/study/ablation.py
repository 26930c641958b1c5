"""What each setting is worth: a task trained once as it is, and once for each of its settings changed alone.

python scripts/study/ablation.py tasks/mnist/small.yaml [--seeds 0 1] [--only NAME ...] [--root FOLDER] [-- OPTIONS OF fit]

Validation images only. Writes ablation.json into the root after each run, and leaves out what is in there already. The
table has means over the seeds, and the difference of the error from that of the task as it is.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from study import Found, parse, study

ERRORS = ("error", "goodness_error", "one_pass_error")
CHANGES: dict[str, list[str]] = {
    "as it is": [],
    "sign 1": ["--model.sign=1"],
    "paired objective": ["--model.objective=paired"],
    "uniform negatives": ["--model.negatives=uniform"],
    "temperature 0.1": ["--model.temperature=0.1"],
    "temperature 0.025": ["--model.temperature=0.025"],
    "threshold 0.5": ["--model.threshold=0.5"],
    "damping 0": ["--model.damping=0"],
    "4 iterations": ["--model.iterations=4"],
    "8 iterations": ["--model.iterations=8"],
    "no state dropout": ["--model.state_dropout=0"],
    "state dropout 0.3": ["--model.state_dropout=0.3"],
    "image dropout 0.2": ["--model.image_dropout=0.2"],
    "peer normalisation 0.03": ["--model.peer_normalization=0.03"],
    "weight decay 0.1": ["--model.weight_decay=0.1"],
    "half the rate": ["--model.optimizer.lr=0.0005"],
    "twice the rate": ["--model.optimizer.lr=0.002"],
    "a constant rate": ["--model.lr_scheduler=null"],
    "a rate that falls from the start": ["--model.lr_scheduler.flat=0"],
    "batch 100": ["--data.batch_size=100"],
    "float32": ["--trainer.precision=32-true"],
    "one hidden layer": ["--model.hidden_features=[500]"],
    "three hidden layers": ["--model.hidden_features=[500, 500, 500]"],
}


def main() -> None:
    """Run what has not been run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES), metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path("runs") / "ablation")
    own, options = parse(parser)
    trainings = {name: (own.config, CHANGES[name]) for name in own.only}
    found = study(trainings, own.seeds, own.root / "ablation.json", options, (*ERRORS, "minutes"), "last")
    print(table(found))


def table(found: Found) -> str:
    """Return the means over the seeds as a Markdown table, errors in percent and differences in points."""
    lines = [
        "",
        "| changed | error | difference | goodness alone | one-pass head | minutes | seeds |",
        "|" + "---|" * 7,
    ]
    for name, by_seed in found.items():
        mean = {key: statistics.mean(row[key] for row in by_seed.values()) for key in (*ERRORS, "minutes")}
        base = [row["error"] for seed, row in found.get("as it is", {}).items() if seed in by_seed]
        difference = f"{100 * (mean['error'] - statistics.mean(base)):+.2f}" if len(base) == len(by_seed) else ""
        error, *others = (f"{mean[key]:.2%}" for key in ERRORS)
        cells = [name, error, difference, *others, f"{mean['minutes']:.1f}", str(len(by_seed))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
