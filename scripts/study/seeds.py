"""Train and test a task once a seed, and print the mean test error: how the figures in the tasks' READMEs are made.

python scripts/study/seeds.py tasks/mnist/bundled.yaml --seeds 0 1 2 3 4 [--root FOLDER] [-- OPTIONS OF ffrecur fit]

Writes seeds.json into the root after each seed, and leaves out what is in there already; a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from study import Row, answer, parse, study

TARGETS = {"error": ".2%", "bits_per_character": ".3f", "separation_error": ".2%"}  # and how each is written


def table(rows: dict[str, Row]) -> str:
    """Return a line a seed, and the mean test figure with the standard deviation over the seeds."""
    name = next(name for name in TARGETS if name in next(iter(rows.values()))["test"])
    form = TARGETS[name]
    lines = ["", f"{'seed':>6}{'validation':>12}{'test':>9}{'one pass':>10}{'minutes':>9}"]
    for seed, row in rows.items():
        test = row["test"]
        one_pass = f"{test['one_pass_error']:.2%}" if "one_pass_error" in test else ""
        lines.append(f"{seed:>6}{row[name]:>12{form}}{test[name]:>9{form}}{one_pass:>10}{row['minutes']:>9.1f}")
    found = [row["test"][name] for row in rows.values()]
    spread = f", standard deviation {statistics.stdev(found):{form}}" if len(found) > 1 else ""
    return "\n".join([*lines, f"mean test {name.replace('_', ' ')} {statistics.mean(found):{form}}{spread}"])


def run() -> None:
    """Run the seeds that have not been run, one after the other, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--root", type=Path, default=Path("runs") / "seeds")
    own, options = parse(parser)
    name, figures = Path(own.config).stem, (*TARGETS, "test", "minutes", "run")
    found = study({name: (own.config, [])}, [name], own.seeds, own.root / "seeds.json", options, figures, "best", True)
    print(table({seed: found[name][seed] for seed in map(str, own.seeds)}))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
