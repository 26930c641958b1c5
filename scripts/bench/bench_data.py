"""Memory and time against the size of the data: images in memory and mapped from the disk, and text.

python scripts/bench/bench_data.py [--images 60000 600000] [--encoded 6000] [--text 1 10] [--folder /tmp]

Each case runs in a process of its own: it reads synthetic data (noise of 28x28 pixels as plain IDX files, or as PNG in
parquet; text in documents of 1,000 characters) and asks for all training batches of an epoch (100 images; of text the first
1,000 batches). The first batch comes after the permutation of the epoch. The data are deleted. 6,000,000 images take 5 GB on the
disk and in the system's cache; 1,000 MB of text take 6 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from bench_memory import kibibytes

PIXELS = 28 * 28
CHUNK = 20_000
LETTERS = np.frombuffer(b"etaoin shrdlu", np.uint8)


def write_idx(folder: Path, count: int) -> None:
    """Write so many training images and their labels, a part at a time."""
    random = np.random.default_rng(0)
    with (folder / "train-images-idx3-ubyte").open("wb") as file:
        file.write(bytes([0, 0, 8, 3]) + np.array([count, 28, 28], ">u4").tobytes())
        for start in range(0, count, CHUNK):
            file.write(random.bytes(min(CHUNK, count - start) * PIXELS))
    header = bytes([0, 0, 8, 1]) + np.array([count], ">u4").tobytes()
    (folder / "train-labels-idx1-ubyte").write_bytes(header + (np.arange(count) % 10).astype(np.uint8).tobytes())


def write_parquet(folder: Path, count: int) -> None:
    """Write so many training images as PNG."""
    import datasets
    from PIL import Image

    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8)) for _ in range(count)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    columns = {"image": images, "label": [k % 10 for k in range(count)]}
    datasets.Dataset.from_dict(columns, features).to_parquet(str(folder / "train-0.parquet"))


def write_text(folder: Path, megabytes: int) -> None:
    """Write a text file of so many MB, a blank line after each 1,000 characters."""
    random = np.random.default_rng(0)
    with (folder / "text.txt").open("wb") as file:
        for _ in range(megabytes):
            documents = LETTERS[random.integers(0, len(LETTERS), (1000, 1000), dtype=np.uint8)]
            documents[:, -2:] = ord("\n")
            file.write(documents.tobytes())


def measure(kind: str, folder: str) -> dict[str, float]:
    """Return seconds and MiB of reading the data and of an epoch's batches, in this process."""
    from ffrecur.data import CorpusDataModule, ImageDataModule

    if kind == "text":
        data: Any = CorpusDataModule(f"{folder}/text.txt", document_separator=r"\n\n", alphabet="learned")
    else:
        data = ImageDataModule(folder, memory_limit=0 if "mapped" in kind else 2**20)
    before, private, start = kibibytes("VmRSS"), kibibytes("RssAnon"), time.perf_counter()
    data.setup("fit")
    read = time.perf_counter()
    loader = data.train_dataloader()
    batches = islice(loader, 1000) if kind == "text" else iter(loader)
    next(batches)
    first = time.perf_counter()
    count = sum(1 for _ in batches)
    end = time.perf_counter()
    return {
        "setup_s": read - start,
        "first_s": first - read,
        "batch_ms": (end - first) / count * 1000,
        "peak_mib": (kibibytes("VmHWM") - before) / 1024,
        "private_mib": (kibibytes("RssAnon") - private) / 1024,
    }


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[60_000, 600_000])
    parser.add_argument("--encoded", type=int, nargs="*", default=[6_000])
    parser.add_argument("--text", type=int, nargs="*", default=[1, 10], help="MB")
    parser.add_argument("--folder", type=Path, help="where the data go; by default that for temporary files")
    options = parser.parse_args()
    cases: list[tuple[int, Any, tuple[str, ...]]]
    cases = [(count, write_idx, ("IDX, in memory", "IDX, mapped")) for count in options.images]
    cases += [(count, write_parquet, ("PNG, in memory", "PNG, mapped")) for count in options.encoded]
    cases += [(size, write_text, ("text",)) for size in options.text]
    print(
        "| data | size | seconds to read | to the first batch | ms a batch | peak MiB | of it private, at the end |\n"
        "|---|---|---|---|---|---|---|"
    )
    for size, write, kinds in cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            write(Path(folder), size)
            for kind in kinds:
                arguments = [sys.executable, __file__]
                done = subprocess.run([*arguments, "--measure", kind, folder], stdout=subprocess.PIPE, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                figures = [f"{found[name]:.2f}" for name in ("setup_s", "first_s", "batch_ms")]
                figures += [f"{found[name]:,.0f}" for name in ("peak_mib", "private_mib")]
                print(f"| {kind} | {size:,}{' MB' if kind == 'text' else ''} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:4])))
    else:
        main()
