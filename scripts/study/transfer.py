"""Do features carry over? Nets learn from digits 0 to 4; a linear read-out of what they show then learns digits 5 to 9.

python scripts/study/transfer.py MNIST_FOLDER [--seeds 0 1 2] [--epochs 12] [--root FOLDER] [-- OPTIONS OF fit]

Beside them the same nets untrained, and the pixels. Validation images only: the last 10,000 training images. Writes
transfer.json into the root after each net, and leaves out what is in there already.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import answer, make_folder, parse, read_results, trained, write_results
from torch import Tensor, nn
from torch.nn import functional as F

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.errors import UserError
from ffrecur.functional import center, rms_normalize
from ffrecur.lit.images import prepare

TASKS = Path(__file__).parents[2] / "tasks" / "mnist"
NETS = {"unsupervised": "unsupervised", "supervised": "supervised_small", "recurrent": "small"}
READ_OUT_EPOCHS, BATCH, RATE = 20, 100, 1e-3
Sets = dict[str, tuple[Tensor, Tensor]]  # images (N, D) uint8 and labels (N,), by split


def splits(source: str) -> tuple[Sets, tuple[int, ...]]:
    """Return the training and the validation images of all ten digits, and their shape."""
    data = ImageDataModule(source)
    data.setup("fit")
    assert data.train_set is not None
    assert data.validation_set is not None
    return {"train": data.train_set, "validation": data.validation_set}, data.image_shape  # type: ignore[dict-item]


def chosen(sets: Sets, first: int) -> Sets:
    """Return the images of five digits, the first of which gets the label 0."""
    found = {}
    for split, (images, labels) in sets.items():
        mine = (labels >= first) & (labels < first + 5)
        found[split] = (images[mine], labels[mine] - first)
    return found


def write_source(sets: Sets, shape: Sequence[int], file: Path) -> None:
    """Write images as `ffrecur fit` reads them."""
    arrays = {}
    for split, (images, labels) in sets.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images.view(-1, *shape).numpy(), labels.numpy()
    np.savez(file, **arrays)  # type: ignore[arg-type]


def shown(net: Any, images: Tensor) -> Tensor:
    """Return what a net shows of images before it sees any label: the normalised states of all its layers, side by side."""
    with torch.no_grad():
        states = net.bottom_up_pass(images) if isinstance(net, ffrecur.RecurrentNet) else net.states(images)
        return torch.cat([rms_normalize(state) for state in states], dim=1)


def read_out_error(features: Callable[[Tensor], Tensor], sets: Sets, seed: int) -> float:
    """Train a softmax on the features of digits 5 to 9; return its error on validation images."""
    torch.manual_seed(seed)
    images, labels = sets["train"]
    rows = torch.cat([features(prepare(part)) for part in images.split(500)])
    head = nn.Linear(rows.shape[1], 5)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=READ_OUT_EPOCHS)
    for _ in range(READ_OUT_EPOCHS):
        for batch in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(head(rows[batch]), labels[batch]).backward()
            optimizer.step()
        falling.step()
    images, labels = sets["validation"]
    wrong = [head(features(prepare(part))).argmax(dim=1) for part in images.split(500)]
    return float((torch.cat(wrong) != labels).double().mean())


def net_of(name: str, source: Path, seed: int, epochs: int, root: Path, options: Sequence[str]) -> Any:
    """Return a net of a task after training on the first five digits."""
    own = [f"--data.source={source}", f"--seed_everything={seed}"]
    own += [f"--trainer.max_epochs={epochs}", f"--model.lr_scheduler.epochs={epochs}"]
    return ffrecur.load(
        trained(root / f"{name}-{seed}", str(TASKS / f"{NETS[name]}.yaml"), [*own, *options]) / "last.ckpt"
    )


def untrained(net: Any, seed: int) -> Any:
    """Return a net of the same settings with first weights."""
    torch.manual_seed(seed)
    return type(net)(**net.settings())


def run() -> None:
    """Run what has not been run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of the MNIST files, or another source of images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--root", type=Path, default=Path("runs") / "transfer")
    own, options = parse(parser)
    make_folder("--root", own.root)
    note, asked = own.root / "asked.json", [own.source, own.epochs, *options]
    if read_results(note) not in ({}, asked):
        raise UserError(f"--root is '{own.root}', which has trainings with other settings: give another")
    write_results(note, asked)
    sets, shape = splits(own.source)
    low, high, file = own.root / "low.npz", chosen(sets, 5), own.root / "transfer.json"
    write_source(chosen(sets, 0), shape, low)
    found: dict[str, dict[str, float]] = read_results(file)

    def measure(name: str, seed: int, features: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        if str(seed) not in found.setdefault(name, {}):
            found[name][str(seed)] = read_out_error(features(), high, seed)
            write_results(file, found)

    for seed in own.seeds:
        measure("pixels", seed, lambda: lambda images: rms_normalize(center(images)))
        for name in NETS:
            net = net_of(name, low, seed, own.epochs, own.root, options)
            measure(name, seed, lambda net=net: lambda images: shown(net, images))  # type: ignore[misc]
            first = untrained(net, seed)
            measure(f"{name}, untrained", seed, lambda net=first: lambda images: shown(net, images))  # type: ignore[misc]
    print(table(found))


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the errors of the read-outs as a Markdown table."""
    lines = ["", "| features | error on digits 5 to 9 | by seed |", "|" + "---|" * 3]
    for name, by_seed in found.items():
        each = ", ".join(f"{error:.2%}" for error in by_seed.values())
        lines.append(f"| {name} | {statistics.mean(by_seed.values()):.2%} | {each} |")
    return "\n".join(lines)


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
