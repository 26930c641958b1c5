"""What each setting is worth: a task trained once as it is, and once for each of its settings changed alone.

python scripts/study/ablation.py tasks/mnist/small.yaml [--seeds 0 1] [--only NAME ...] [--root FOLDER] [-- OPTIONS OF fit]

Validation images only. Writes ablation.json into the root after each run, and leaves out what is in there already. The
table has means over the seeds, and the difference of the error from that of the task as it is.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import yaml
from study import Found, parse, study

ERRORS = ("error", "goodness_error", "one_pass_error")
Changes = dict[str, list[str]]
COMMON: Changes = {
    "as it is": [],
    "paired objective": ["--model.objective=paired"],
    "uniform negatives": ["--model.negatives=uniform"],
    "temperature 0.1": ["--model.temperature=0.1"],
    "temperature 0.025": ["--model.temperature=0.025"],
    "threshold 0.5": ["--model.threshold=0.5"],
    "no state dropout": ["--model.state_dropout=0"],
    "state dropout 0.3": ["--model.state_dropout=0.3"],
    "image dropout 0.2": ["--model.image_dropout=0.2"],
    "peer normalisation 0.03": ["--model.peer_normalization=0.03"],
    "half the rate": ["--model.optimizer.lr=0.0005"],
    "twice the rate": ["--model.optimizer.lr=0.002"],
    "a constant rate": ["--model.lr_scheduler=null"],
    "a rate that falls from the start": ["--model.lr_scheduler.flat=0"],
}
RECURRENT: Changes = {
    **COMMON,
    "sign 1": ["--model.sign=1"],
    "damping 0": ["--model.damping=0"],
    "4 iterations": ["--model.iterations=4"],
    "8 iterations": ["--model.iterations=8"],
    "weight decay 0.1": ["--model.weight_decay=0.1"],
    "batch 100": ["--data.batch_size=100"],
    "float32": ["--trainer.precision=32-true"],
    "one hidden layer": ["--model.hidden_features=[500]"],
    "three hidden layers": ["--model.hidden_features=[500, 500, 500]"],
}
SUPERVISED: Changes = {
    **COMMON,
    "sign 1": ["--model.sign=1"],
    "paired objective, temperature 0.2": ["--model.objective=paired", "--model.temperature=0.2"],
    "softmax objective": ["--model.objective=softmax"],
    "3 negatives an image": ["--model.negatives_per_case=3"],
    "layer 1 in head and score": ["--model.head_layers=[1,2,3]"],
    "layer 1 in the head alone": ["--model.head_layers=[1,2,3]", "--model.score_layers=[2,3]"],
    "label scale 2": ["--model.label_scale=2"],
    "label scale 5": ["--model.label_scale=5"],
    "label beside the image": ["--model.label=beside"],
    "temperature 1/N": ["--model.temperature=0.002"],
    "threshold 2": ["--model.threshold=2"],
    "images not centred": ["--model.center_images=false"],
    "no head dropout": ["--model.head_dropout=0"],
    "label smoothing 0.1": ["--model.label_smoothing=0.1"],
    "no weight decay": ["--model.weight_decay=0"],
    "batch 50": ["--data.batch_size=50"],
}
ALREADY = ("paired objective", "uniform negatives", "no state dropout")  # so it is, or they are images
UNSUPERVISED: Changes = {
    **{name: options for name, options in COMMON.items() if name not in ALREADY},
    "logistic objective, temperature 0.1": ["--model.objective=logistic", "--model.temperature=0.1"],
    "logistic objective, temperature 0.03": ["--model.objective=logistic", "--model.temperature=0.03"],
    "sign -1": ["--model.sign=-1"],
    "3 negatives an image": ["--model.negatives_per_case=3"],
    "3 blurs": ["--model.negatives=Hybrids", "--model.negatives.blurs=3"],
    "10 blurs": ["--model.negatives=Hybrids", "--model.negatives.blurs=10"],
    "a read-out without layer 1": ["--model.head_layers=[2,3]"],
    "images not centred": ["--model.center_images=false"],
    "no label smoothing": ["--model.label_smoothing=0"],
    "head dropout 0.3": ["--model.head_dropout=0.3"],
    "weight decay 0.1": ["--model.weight_decay=0.1"],
}


def changes_of(config: str) -> Changes:
    """Return the changes that fit the task of a configuration file."""
    model = yaml.safe_load(Path(config).read_text())["model"]
    if model["class_path"] != "FeedForwardModule":
        return RECURRENT
    return UNSUPERVISED if model["init_args"].get("label", "pixels") is None else SUPERVISED


def main() -> None:
    """Run what has not been run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of changes; all that fit the task by default")
    parser.add_argument("--root", type=Path, default=Path("runs") / "ablation")
    own, options = parse(parser)
    changes = changes_of(own.config)
    unknown = [name for name in own.only or [] if name not in changes]
    if unknown:
        parser.error(f"--only is {unknown[0]!r}, but must be one of: {', '.join(changes)}")
    trainings = {name: (own.config, changes[name]) for name in own.only or changes}
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
        mean = {
            key: statistics.mean(row[key] for row in by_seed.values())
            for key in (*ERRORS, "minutes")
            if all(key in row for row in by_seed.values())
        }
        base = [row["error"] for seed, row in found.get("as it is", {}).items() if seed in by_seed]
        difference = f"{100 * (mean['error'] - statistics.mean(base)):+.2f}" if len(base) == len(by_seed) else ""
        error, *others = (f"{mean[key]:.2%}" if key in mean else "" for key in ERRORS)
        cells = [name, error, difference, *others, f"{mean['minutes']:.1f}", str(len(by_seed))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
