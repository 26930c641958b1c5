"""What each setting is worth: a task trained once as it is, and once for each of its settings changed alone.

python scripts/study/ablation.py tasks/mnist/small.yaml [--seeds 0 1] [--only NAME ...] [--root FOLDER] [-- OPTIONS OF fit]

Validation images only. Writes ablation.json into the root after each run, and leaves out what is in there already. The
table has means over the seeds, and the difference of the error from that of the task as it is.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from study import Found, answer, parse, resolved, study

from ffrecur.errors import UserError

ERRORS = ("error", "goodness_error", "one_pass_error")
Changes = dict[str, list[str]]
COMMON: Changes = {
    "as it is": [],
    "paired objective": ["--model.objective=paired"],
    "softmax objective": ["--model.objective=softmax", "--model.negatives_per_case=1"],
    "3 negatives that stand for all": ["--model.objective=sampled_softmax", "--model.negatives_per_case=3"],
    "uniform negatives": ["--model.negatives=uniform"],
    "3 negatives an image": ["--model.negatives_per_case=3"],
    "temperature 0.1": ["--model.temperature=0.1"],
    "temperature 0.025": ["--model.temperature=0.025"],
    "threshold 0.5": ["--model.threshold=0.5"],
    "no state dropout": ["--model.state_dropout=0"],
    "state dropout 0.3": ["--model.state_dropout=0.3"],
    "image dropout 0.2": ["--model.image_dropout=0.2"],
    "peer normalisation 0.03": ["--model.peer_normalization=0.03"],
    "weight decay 0.1": ["--model.weight_decay=0.1"],
    "images not centred": ["--model.center_images=false"],
    "a constant rate": ["--model.lr_scheduler=null"],
    "a rate that falls from the start": ["--model.lr_scheduler.flat=0"],
}
OF_VIDEOS = ("DriftDataModule", "SceneDataModule", "VideoDataModule")  # which no images are made harder of
RATES = {"half the rate": 0.5, "twice the rate": 2}
LOOPS: Changes = {
    "sign 1": ["--model.sign=1"],
    "damping 0": ["--model.damping=0"],
    "4 iterations": ["--model.iterations=4"],
    "8 iterations": ["--model.iterations=8"],
    "alternating updates": ["--model.update_scheme=alternating"],
    "harder images": ["--model.adversarial_length=0.1"],
    "no harder images": ["--model.adversarial_length=0"],
}
RECURRENT: Changes = {
    **COMMON,
    **LOOPS,
    "batch 100": ["--data.batch_size=100"],
    "float32": ["--trainer.precision=32-true"],
}
REGIONS = ["--model.goodness=RegionMeanSquare", "--model.goodness.map_shape=[32,32]"]
MAPS: Changes = {
    **{name: options for name, options in COMMON.items() if name != "images not centred"},
    **LOOPS,
    "4 regions": [*REGIONS, "--model.goodness.regions=[2,2]"],
    "16 regions": [*REGIONS, "--model.goodness.regions=[4,4]"],
    "64 regions": [*REGIONS, "--model.goodness.regions=[8,8]"],
    "fields of 7x7": ["--model.field=7"],
    "one map": ["--model.units_per_place=[3]"],
    "three maps": ["--model.units_per_place=[3,3,3]"],
    "images not standardised": ["--model.standardize_images=false"],
}
SUPERVISED: Changes = {
    **COMMON,
    "sign 1": ["--model.sign=1"],
    "paired objective, temperature 0.2": ["--model.objective=paired", "--model.temperature=0.2"],
    "layer 1 in head and score": ["--model.head_layers=[1,2,3]"],
    "layer 1 in the head alone": ["--model.head_layers=[1,2,3]", "--model.score_layers=[2,3]"],
    "label scale 2": ["--model.label_scale=2"],
    "label scale 5": ["--model.label_scale=5"],
    "label beside the image": ["--model.label=beside"],
    "threshold 2": ["--model.threshold=2"],
    "no head dropout": ["--model.head_dropout=0"],
    "label smoothing 0.1": ["--model.label_smoothing=0.1"],
    "no weight decay": ["--model.weight_decay=0"],
    "batch 50": ["--data.batch_size=50"],
}
# Rows that a net without labels cannot have.
OF_LABELS = ("softmax objective", "3 negatives that stand for all", "uniform negatives")
UNSUPERVISED: Changes = {
    **{name: options for name, options in COMMON.items() if name not in OF_LABELS},
    "logistic objective, temperature 0.1": ["--model.objective=logistic", "--model.temperature=0.1"],
    "logistic objective, temperature 0.03": ["--model.objective=logistic", "--model.temperature=0.03"],
    "sign -1": ["--model.sign=-1"],
    "3 blurs": ["--model.negatives=Hybrids", "--model.negatives.blurs=3"],
    "10 blurs": ["--model.negatives=Hybrids", "--model.negatives.blurs=10"],
    "a read-out without layer 1": ["--model.head_layers=[2,3]"],
    "no label smoothing": ["--model.label_smoothing=0"],
    "head dropout 0.3": ["--model.head_dropout=0.3"],
}


# Objectives that choose their wrong labels themselves.
CHOOSING = ("softmax", "sampled_softmax", "Softmax", "SampledSoftmax")
WITHOUT_THRESHOLD = ("paired", "Paired", *CHOOSING)  # objectives that have none
OF_NEGATIVES = ("3 negatives an image", "uniform negatives")  # which leave them as they are, or are refused


def changes_of(config: str, options: Sequence[str] = ()) -> Changes:
    """Return the changes that fit the task of a configuration file with these options, without those that it has already.

    Those of regions are for maps of 32x32 places.

    Raises `UserError` for a task of another module than `FeedForwardModule` and `RecurrentModule`.
    """
    task = resolved(config, options)
    module = task["model"]["class_path"]
    if module == "ffrecur.lit.RecurrentModule":
        changes = RECURRENT if setting(task, "--model.units_per_place") is None else MAPS
    elif module == "ffrecur.lit.FeedForwardModule":
        changes = UNSUPERVISED if setting(task, "--model.label") is None else SUPERVISED
    else:
        raise UserError(f"config is {config!r}, of a {module}, but must be of a RecurrentModule or FeedForwardModule")
    rate = setting(task, "--model.optimizer.lr")
    rates = {name: [f"--model.optimizer.lr={rate * times:g}"] for name, times in RATES.items()} if rate else {}
    numbers = {**rates, **by_widths(task, changes)}
    unfit = {"harder images"} if name_of(task["data"]["class_path"]) in OF_VIDEOS else set[str]()
    unfit |= set() if setting(task, "--model.lr_scheduler") else {"a rate that falls from the start"}
    objective = name_of(setting(task, "--model.objective"))
    unfit |= {name for name in changes if name.startswith("threshold") and objective in WITHOUT_THRESHOLD}
    unfit |= set(OF_NEGATIVES) if objective in CHOOSING else set()
    return {
        name: changed
        for name, changed in {**changes, **numbers}.items()
        if name not in unfit and (not changed or any(is_new(task, option) for option in changed))
    }


def by_widths(task: dict[str, Any], changes: Changes) -> Changes:
    """Return the changes that depend on how wide a task's layers are; none of nets that read maps."""
    widths = list(setting(task, "--model.hidden_features") or [])
    if changes is RECURRENT:
        counts = {"one hidden layer": widths[:1], "three hidden layers": [*widths, *widths[-1:] * 2][:3]}
        return {name: [f"--model.hidden_features={layers}"] for name, layers in counts.items()}
    if changes is SUPERVISED and not setting(task, "--model.layers"):
        return {"temperature 1/N": [f"--model.temperature={1 / widths[0]:g}"]}
    return {}


def name_of(class_path: str) -> str:
    """Return the name of a class without that of its module."""
    return class_path.rpartition(".")[2]


def inner(found: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a group: those of its class, where it has one."""
    settings: dict[str, Any] = found.get("init_args", found)
    return settings


def is_new(task: dict[str, Any], option: str) -> bool:
    """Whether an option says anything but what the configuration has."""
    value: Any = yaml.safe_load(option.partition("=")[2])
    return bool(setting(task, option) != value)


def setting(task: dict[str, Any], option: str) -> Any:
    """Return what a configuration has for an option, of a class with settings its name; None where there is no such setting.

    >>> rate = {"optimizer": {"class_path": "Adam", "init_args": {"lr": 0.1}}, "sign": 1}
    >>> task = {"model": {"class_path": "RecurrentModule", "init_args": rate}}
    >>> [setting(task, option) for option in ("--model.optimizer.lr=1", "--model.optimizer=SGD", "--model.sign=-1")]
    [0.1, 'Adam', 1]
    """
    found: Any = task
    for name in option.removeprefix("--").partition("=")[0].split("."):
        found = inner(found).get(name) if isinstance(found, dict) else None
    return found.get("class_path") if isinstance(found, dict) else found


def run() -> None:
    """Run what has not been run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of changes; all that fit the task by default")
    parser.add_argument("--root", type=Path, default=Path("runs") / "ablation")
    own, options = parse(parser)
    known = {name: (own.config, changed) for name, changed in changes_of(own.config, options).items()}
    for name in own.only or []:
        if name not in known:
            raise UserError(f"--only is {name!r}, but must be one of: {', '.join(known)}")
    names, figures = own.only or list(known), (*ERRORS, "minutes")
    print(table(study(known, names, own.seeds, own.root / "ablation.json", options, figures, "last")))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


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
