"""Which images of a source validate."""

from __future__ import annotations

import torch

from ffrecur.data.clips import Clips
from ffrecur.data.imageset import ImageSet, ImageSource
from ffrecur.data.mapped import join
from ffrecur.errors import UserError


def split_off(
    source: ImageSource, validation_size: int | None = None, split_seed: int | None = None
) -> tuple[ImageSet, ImageSet, str]:
    """Training images, validation images, and a phrase for the log that says which they are.

    See `ImageDataModule` for the settings. The last training images validate, unless no image of some class would be left to
    train on: then they are drawn, as with the split_seed 0. Raises `UserError` where nothing is left to train on.
    """
    own_split = source.validation is not None
    if source.validation is not None and validation_size is None and split_seed is None:
        return source.train, source.validation, "the source's own validation split"
    count, why = len(source.train.images), ""
    size = validation_size if validation_size is not None else max(1, min(count // 6, 10_000))
    if validation_size is None and count < 2:
        raise UserError("data.source has one training image, but must have two or more: one of them validates")
    if size >= count:
        raise UserError(
            f"data.validation_size is {size}, but must be at least 1 and less than the number of training images, {count}"
        )
    missing = missing_classes(source, source.train.take(slice(-size))) if split_seed is None else []
    if missing:
        split_seed, why = 0, f", since the last ones have all of class {missing[0]!r}"
    if split_seed is None:
        train, validation = source.train.take(slice(-size)), source.train.take(slice(-size, None))
        how = "the last training images"
    else:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(split_seed))
        train, validation = source.train.take(order[:-size]), source.train.take(order[-size:])
        how = f"training images drawn with split_seed {split_seed}{why}"
    if own_split:
        how += ", not the source's own validation split"
    return train, validation, how


def missing_classes(source: ImageSource, images: ImageSet) -> list[str]:
    """The classes of the training images of a source of which some images have none."""
    if source.class_names is None or source.train.labels is None or images.labels is None:
        return []
    here = set(images.labels.unique().tolist())
    return [source.class_names[label] for label in source.train.labels.unique().tolist() if label not in here]


def whole(source: ImageSource) -> ImageSet:
    """All images of a source: training, then validation, then test."""
    joined = source.train
    for split in (source.validation, source.test):
        if split is None:
            continue
        labels = None
        if joined.labels is not None and split.labels is not None:
            labels = torch.cat([joined.labels, split.labels])
        first, more = joined.images, split.images
        images = first.joined(more) if isinstance(first, Clips) else join(first, more)
        joined = ImageSet(images, labels)
    return joined
