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

    See `ImageDataModule` for the settings. Raises `UserError` where nothing is left to train on.
    """
    own_split = source.validation is not None
    if source.validation is not None and validation_size is None and split_seed is None:
        return source.train, source.validation, "the source's own validation split"
    count = len(source.train.images)
    size = validation_size if validation_size is not None else max(1, min(count // 6, 10_000))
    if size >= count:
        raise UserError(
            f"data.validation_size is {size}, but must be at least 1 and less than the number of training images, {count}"
        )
    if split_seed is None:
        train, validation = source.train.take(slice(-size)), source.train.take(slice(-size, None))
        how = "the last training images"
    else:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(split_seed))
        train, validation = source.train.take(order[:-size]), source.train.take(order[-size:])
        how = f"training images drawn with split_seed {split_seed}"
    if own_split:
        how += ", not the source's own validation split"
    return train, validation, how


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
