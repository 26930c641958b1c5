"""What every source of images is turned into, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ffrecur.data.classes import number_labels
from ffrecur.data.clips import Clips, length_notes, of_one_length
from ffrecur.data.mapped import MappedImages
from ffrecur.errors import UserError, check_setting

SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}
PART = 1 << 20  # bytes that are looked at at a time


class ImageSet(NamedTuple):
    """The images of one split, one row each, and their labels, if they are known and wanted."""

    # (N, D) uint8, rows first; colour images as height * width * 3, the channels last. A tensor, or `MappedImages`.
    # Videos are (N, T, D), as `Clips`.
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
    class_names: tuple[str, ...] | None  # with labels always: names, or the values that stand for them
    description: str  # one line for the log: what the source was taken for
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by split, where known: relative to the source
    notes: tuple[str, ...] = ()  # what a user should know: images left out, of one colour, ...
    frames: int | None = None  # of a video; None for images


def without_labels(source: ImageSource) -> ImageSource:
    """Return the same images without labels, which some sources have whether they are wanted or not."""
    bare = [None if part is None else ImageSet(part.images, None) for part in (source.validation, source.test)]
    return replace(source, train=ImageSet(source.train.images, None), validation=bare[0], test=bare[1])


class Reading(NamedTuple):
    """How a source is to be read."""

    image_column: str | None = None
    label_column: str | None = None
    require_labels: bool = True
    limit: float = float("inf")  # bytes of the images of a split that may be in memory
    testing: bool = False  # to test a net that was trained on another source: one class is enough
    known: Sequence[str] = ()  # classes that the net knows
    video: bool = False  # clips of frames rather than images
    frames: int | None = None  # to which clips are padded or cut; by default those of the longest


PLAIN = Reading()


def check_columns(source: str, how: Reading) -> None:
    """Raise `UserError` for the column that a setting names, of a source for training that has no columns."""
    for name in ("image_column", "label_column") if how.require_labels and not how.testing else ():
        column = getattr(how, name)
        check_setting(column is None, f"data.{name}", column, f"left out, since {source!r} has no columns")


def build_source(
    source: str,
    kind: str,
    images: Mapping[str, Any],
    image_shape: tuple[int, ...],
    labels: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    files: Mapping[str, Sequence[str]] | None = None,
    notes: Iterable[str] = (),
    testing: bool = False,
    in_place: Container[str] = (),
    frames: int | None = None,
) -> ImageSource:
    """Check the splits `train`, `validation` and `test` (the first is needed), number the classes, describe all in one line.

    `labels` are those of `number_labels`; splits that lack them while others have them are left out. Training images that come
    grouped by class (as those of an image folder do), in whatever order of the classes, are interleaved: otherwise the last of
    them, which validate, would all be of the last class. Splits that are mapped `in_place` are not looked through for images of
    one colour. `Clips` become videos of `frames` frames, without that as many as the longest has.
    Raises `UserError` for fewer than two classes, unless for `testing`, and for what `number_labels` refuses.
    """
    notes, files = list(notes), dict(files or {})
    video = any(isinstance(rows, Clips) for rows in images.values())
    things = "clips" if video else "images"
    numbers: dict[str, Tensor] = {}
    if labels:
        names, numbers = number_labels(source, labels, names, testing)
        if len(names) < 2 and not testing:
            raise UserError(
                f"data.source is {source!r}, which has one class only, {names[0]!r}, but must have two or more"
            )
        for split in images.keys() - numbers.keys():
            notes.append(f"the {SPLIT_WORDS[split]} {things} have no labels: they are for prediction only")
        images = {split: images[split] for split in images if split in numbers}
    images, frames = videos(images, frames, notes) if video else (images, None)
    whole_shape = (image_shape[0] * (frames or 1), *image_shape[1:])  # a clip is as an image of all its frames
    sets = {split: ImageSet(rows, numbers.get(split)) for split, rows in images.items()}
    for split, rows in images.items():
        if split not in in_place:
            notes += of_one_colour(f"{SPLIT_WORDS[split]} {things}", rows, whole_shape, files.get(split))

    order = None if testing else interleaved(sets["train"].labels)
    note = "" if order is None else f"; the training {things} came sorted by class and are interleaved"
    if order is not None:
        sets["train"] = sets["train"].take(order)
        if "train" in files:
            files["train"] = [files["train"][index] for index in order.tolist()]
    return ImageSource(
        train=sets["train"],
        validation=sets.get("validation"),
        test=sets.get("test"),
        image_shape=image_shape,
        num_classes=None if names is None else len(names),
        class_names=None if names is None else tuple(names),
        description=f"{kind}: {described(sets, image_shape, frames, names)}{note}",
        files=files,
        notes=tuple(notes),
        frames=frames,
    )


def videos(clips: Mapping[str, Clips], frames: int | None, notes: list[str]) -> tuple[dict[str, Clips], int]:
    """The clips as videos of one length, and that length; what is padded and cut is noted."""
    made = of_one_length(clips, frames)
    for split, own in made.items():
        notes += length_notes(SPLIT_WORDS[split], own)
    return made, made["train"].frames


def described(
    sets: Mapping[str, ImageSet], image_shape: tuple[int, ...], frames: int | None, names: Sequence[str] | None
) -> str:
    """How many images of which size there are, or clips of so many frames, and of how many classes.

    >>> described({"train": ImageSet(torch.zeros(9, 4), None)}, (2, 2), None, None)
    '9 training images of 2x2'
    """
    counts = [f"{len(sets[name].images):,} {word}" for name, word in SPLIT_WORDS.items() if name in sets]
    size = f"{image_shape[0]}x{image_shape[1]}{' in colour' if len(image_shape) == 3 else ''}"
    what = "images" if frames is None else "clips of 1 frame" if frames == 1 else f"clips of {frames} frames"
    classes = "" if names is None else f", {len(names)} classes"
    return f"{' + '.join(counts)} {what} of {size}{classes}"


def of_one_colour(what: str, images: Any, image_shape: tuple[int, ...], files: Sequence[str] | None) -> list[str]:
    """A note on images whose pixels are all the same, which a net learns nothing from: how many, and which is the first."""
    places = image_shape[0] * image_shape[1]
    if places < 2:
        return []
    count, first, start = 0, 0, 0
    for part in parts_of(images):
        channels = part.shape[1] // places
        same = (part[:, channels:] == part[:, :-channels]).all(dim=1)  # each pixel as the one before
        if count == 0 and same.any():
            first = start + int(same.nonzero()[0])
        count, start = count + int(same.sum()), start + len(part)
    if count == 0:
        return []
    example = f"number {first}" if files is None else files[first]
    return [f"{count:,} of {start:,} {what} have one colour all over, such as {example}"]


def parts_of(images: Tensor | MappedImages | Clips) -> Iterator[Tensor]:
    """The rows, a small part after the other, so that those on the disk do not fill the memory."""
    size = max(1, PART // max(1, images[:1].numel()))
    for start in range(0, len(images), size):
        yield images[start : start + size].flatten(1)


def interleaved(labels_N: Tensor | None) -> Tensor | None:
    """The order (N,) of `interleave_classes` for labels of which each class is one run, whatever the order of the runs; None for
    others, for one class, and for none.

    >>> interleaved(torch.tensor([1, 1, 0, 0])), interleaved(torch.tensor([0, 1, 0]))
    (tensor([0, 2, 1, 3]), None)
    """
    if labels_N is None:
        return None
    changes_N = (labels_N.diff() != 0).long()
    if not 0 < int(changes_N.sum()) == len(labels_N.unique()) - 1:
        return None
    # Numbered in the order of the runs, the classes ascend.
    return interleave_classes(torch.cat([torch.zeros(1, dtype=torch.long), changes_N.cumsum(0)]))


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
