"""Try the wheel and the source distribution in dist/ as a user would: installed into a fresh environment, in another folder.

python scripts/release/try_release.py    (`make release` builds both first; the upload is all that is left then)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 1_000_000  # bytes of a wheel without the nets in it, which `make_museum.py` counts
NETS = "ffrecur/museum/"
LITTLE = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=5", "--trainer.limit_val_batches=2"]
TRIALS = (  # in this order, in one empty folder
    ["--version"],
    ["generate", "--length=20"],
    ["predict"],
    ["fit", "--config=mnist/bundled", *LITTLE],
    ["test"],
    ["fit", "--config=text/bundled", *LITTLE],
    ["generate", "--length=20"],
    ["export", "--output=exported"],
    ["runs"],
)


def main() -> None:
    """Try each of the two files; the first command that fails ends it."""
    version = re.search(r'^__version__ = "(.*)"', (ROOT / "ffrecur" / "__init__.py").read_text(), re.MULTILINE)
    assert version is not None
    files = [only(f"ffrecur-{version[1]}-*.whl"), only(f"ffrecur-{version[1]}.tar.gz")]
    nets = compressed_nets(files[0])
    if not nets:
        sys.exit(f"{files[0].name} has no nets")
    if (size := files[0].stat().st_size - nets) > LIMIT:
        sys.exit(f"{files[0].name} has {size:,} bytes without its nets, but must have {LIMIT:,} at most")
    if f"## [{version[1]}]" not in (ROOT / "CHANGELOG.md").read_text():
        sys.exit(f"CHANGELOG.md has no heading for version {version[1]}")
    with tempfile.TemporaryDirectory() as folder:
        binaries = Path(folder) / "environment" / "bin"
        venv.create(binaries.parent, with_pip=True)
        for file in files:
            again = [] if file is files[0] else ["--force-reinstall", "--no-deps"]
            call(
                str(binaries / "pip"),
                "install",
                "-q",
                "-c",
                str(ROOT / "constraints.txt"),
                *again,
                str(file),
                where=ROOT,
            )
            for trial in TRIALS:
                place = Path(folder) / file.name.removesuffix(".tar.gz").removesuffix(".whl")
                place.mkdir(exist_ok=True)
                call(str(binaries / "ffrecur"), *trial, where=place)
    print("Tried:", *(f"{file.name} ({file.stat().st_size:,} bytes)" for file in files), sep="\n  ")


def compressed_nets(wheel: Path) -> int:
    """Return the bytes that the nets take in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(part.compress_size for part in archive.infolist() if part.filename.startswith(NETS))


def only(pattern: str) -> Path:
    """Return the one file of dist/ that fits a pattern."""
    found = sorted((ROOT / "dist").glob(pattern))
    if len(found) != 1:
        sys.exit(f"dist/ has {len(found)} files {pattern}, but must have one")
    return found[0]


def call(*words: str, where: Path) -> None:
    """Run a command; end with its exit code if it fails."""
    print("+", *words, flush=True)
    code = subprocess.run(words, cwd=where).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
