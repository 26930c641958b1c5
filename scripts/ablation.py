"""What each setting is worth: a task trained once as it is, and once for each of its settings changed alone.

python scripts/ablation.py tasks/mnist/small.yaml [--only NAME ...] [--root FOLDER] [-- OPTIONS OF ffrecur fit]

Validation images only. Writes ablation.json into the root after each run, and leaves out what is in there already.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ffrecur.cli import main as ffrecur

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
    "no image dropout": ["--model.image_dropout=0"],
    "state dropout 0.2": ["--model.state_dropout=0.2"],
    "peer normalisation 0.03": ["--model.peer_normalization=0.03"],
    "weight decay 0.1": ["--model.weight_decay=0.1"],
    "a constant rate": ["--model.lr_scheduler=null"],
    "batch 100": ["--data.batch_size=100"],
    "float32": ["--trainer.precision=32-true"],
}


def train(config: str, root: Path, options: list[str]) -> dict[str, float]:
    """Return the validation errors (fractions) and the minutes of one run below `root`."""
    own = f"--trainer.default_root_dir={root}"
    start = time.perf_counter()
    code = ffrecur(["fit", "--config", config, own, "--trainer.enable_model_summary=false", *options])
    minutes = (time.perf_counter() - start) / 60
    code = code or ffrecur(["validate", own, "--ckpt_path=last"])
    if code:
        sys.exit(code)
    newest = max(root.glob("*/"), key=lambda folder: folder.stat().st_mtime)
    found = json.loads((newest / "validation_results.json").read_text())
    return {name: found[name] for name in ("error", "goodness_error", "one_pass_error")} | {"minutes": minutes}


def main() -> None:
    """Run what has not been run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES), metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path("runs") / "ablation")
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = parser.parse_args(arguments[:at])
    file = chosen.root / "ablation.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    for number, name in enumerate(CHANGES):
        if name in chosen.only and name not in found:
            found[name] = train(chosen.config, chosen.root / str(number), [*arguments[at + 1 :], *CHANGES[name]])
            file.write_text(json.dumps(found, indent=2) + "\n")
    print("\n| changed | error | goodness alone | one-pass head | minutes |\n|---|---|---|---|---|")
    for name, row in found.items():
        errors = [f"{row[key]:.2%}" for key in ("error", "goodness_error", "one_pass_error")]
        print(f"| {name} | {' | '.join(errors)} | {row['minutes']:.1f} |")


if __name__ == "__main__":
    main()
