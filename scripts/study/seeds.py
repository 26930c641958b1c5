"""Train and test a task once a seed, and print the mean test error: how the figures in the tasks' READMEs are made.

python scripts/study/seeds.py tasks/mnist/bundled.yaml --seeds 0 1 2 3 4 [-- OPTIONS OF ffrecur fit]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from study import parse

from ffrecur.commands.train import main as ffrecur

TARGETS = {"error": ".2%", "bits_per_character": ".3f", "separation_error": ".2%"}  # and how each is written


def train_and_test(config: str, seed: int, root: Path, options: list[str]) -> dict[str, Any]:
    """Return the figures and the seconds of training of one seed; the run stays below `root`."""
    folder = f"{root}/seed-{seed}"
    own = [f"--trainer.default_root_dir={folder}", "--trainer.enable_model_summary=false"]
    start = time.perf_counter()
    code = ffrecur(["fit", "--config", config, f"--seed_everything={seed}", *own, *options])
    seconds = time.perf_counter() - start
    for subcommand in ("validate", "test"):
        code = code or ffrecur([subcommand, own[0]])
    if code:
        sys.exit(code)
    (run,) = Path(folder).glob("*/")
    validation, test = (json.loads((run / f"{part}_results.json").read_text()) for part in ("validation", "test"))
    target = next(name for name in TARGETS if name in test)
    figures = {"validation": validation[target], "test": test[target], "one_pass": test.get("one_pass_error")}
    return {"seed": seed, "figure": target, **figures, "seconds": seconds}


def main() -> None:
    """Run every seed, one after the other, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--root", type=Path, default=Path("runs") / f"seeds-{time.strftime('%Y%m%d-%H%M%S')}")
    own, options = parse(parser)
    rows = [train_and_test(own.config, seed, own.root, options) for seed in own.seeds]
    print(f"\n{'seed':>6}{'validation':>12}{'test':>9}{'one pass':>10}{'seconds':>9}")
    name = rows[0]["figure"]
    form = TARGETS[name]
    for row in rows:
        one_pass = "" if row["one_pass"] is None else f"{row['one_pass']:.2%}"
        figures = f"{row['validation']:>12{form}}{row['test']:>9{form}}{one_pass:>10}"
        print(f"{row['seed']:>6}{figures}{row['seconds']:>9.0f}")
    test = [row["test"] for row in rows]
    spread = f", standard deviation {statistics.stdev(test):{form}}" if len(test) > 1 else ""
    print(f"mean test {name.replace('_', ' ')} {statistics.mean(test):{form}}{spread}")


if __name__ == "__main__":
    main()
