"""What every source of images is turned into, and the checks that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ffrecur.errors import UserError

SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}


class ImageSet(NamedTuple):
    """The images of one split, one row each, and their labels, if they are known and wanted."""

    # (N, D) uint8, rows first; colour images as height * width * 3, the channels last. A tensor, or `MappedImages`.
    images: Any
    labels: Tensor | None  # (N,) int64

    def take(self, index: Tensor | slice) -> ImageSet:
        """The images at these indices, with their labels; with a slice nothing is copied."""
        images = self.images[index] if isinstance(self.images, Tensor) else self.images.take(index)
        return ImageSet(images, None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class ImageSource:
    """A source of images that has been read, decoded and checked."""

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet | None
    image_shape: tuple[int, ...]  # (H, W), or (H, W, 3) for colour
    num_classes: int | None  # None only where labels were not required and the source does not say
    class_names: tuple[str, ...] | None
    description: str  # one line for the log: what the source was taken for


def build_source(
    source: str,
    kind: str,
    sets: dict[str, ImageSet],
    image_shape: tuple[int, ...],
    num_classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> ImageSource:
    """Check the splits `train`, `validation` and `test` (the first is needed) and describe them in one line.

    Without `num_classes` it is the largest training label plus one. Training images that come sorted by class (as an
    image folder does) are interleaved: otherwise the last of them, which validate, would all be of the last class.
    Raises `UserError` for labels outside 0..num_classes-1 and for fewer than two classes.
    """
    labels = sets["train"].labels
    if num_classes is None and labels is not None:
        num_classes = int(labels.max()) + 1
    if num_classes is not None:
        check_labels(source, sets, num_classes)

    note = ""
    if labels is not None and (labels.diff() >= 0).all():
        order = interleave_classes(labels)
        sets = sets | {"train": sets["train"].take(order)}
        note = "; the training images came sorted by class and are interleaved"

    counts = [f"{len(sets[name].images):,} {word}" for name, word in SPLIT_WORDS.items() if name in sets]
    size = f"{image_shape[0]}x{image_shape[1]}{' in colour' if len(image_shape) == 3 else ''}"
    classes = "" if num_classes is None else f", {num_classes} classes"
    return ImageSource(
        train=sets["train"],
        validation=sets.get("validation"),
        test=sets.get("test"),
        image_shape=image_shape,
        num_classes=num_classes,
        class_names=class_names,
        description=f"{kind}: {' + '.join(counts)} images of {size}{classes}{note}",
    )


def check_labels(source: str, sets: dict[str, ImageSet], num_classes: int) -> None:
    """Raise `UserError` unless there are two classes or more and every label lies in 0..num_classes-1."""
    for name, (_, labels) in sets.items():
        if labels is None:
            continue
        for value in (int(labels.min()), int(labels.max())):
            if not 0 <= value < num_classes:
                raise UserError(
                    f"data.source is {source!r}, whose {name} split has the label {value}, "
                    f"but labels must lie in 0..{num_classes - 1}"
                )
    if num_classes < 2:
        raise UserError(f"data.source is {source!r}, which has one class only, but must have two or more")


def interleave_classes(labels_N: Tensor) -> Tensor:
    """The order (N,) that spreads labels sorted by class evenly, so that every slice of it holds every class.

    Image k of a class with n images goes to the fraction (k + 1/2) / n of the way.

    >>> interleave_classes(torch.tensor([0, 0, 0, 0, 1, 1])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    counts_C = torch.bincount(labels_N)
    first_C = counts_C.cumsum(0) - counts_C
    rank_N = torch.arange(len(labels_N)) - first_C[labels_N]
    return torch.argsort((rank_N + 0.5).double() / counts_C[labels_N], stable=True)
