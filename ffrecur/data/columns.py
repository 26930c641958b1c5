"""From the columns of a `datasets` data set to one uint8 array a split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import datasets
import numpy as np
import torch

from ffrecur.data.huggingface import Splits, first_line
from ffrecur.data.imageset import ImageSet, ImageSource, build_source
from ffrecur.data.mapped import as_images, write_array
from ffrecur.errors import UserError

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


def read_splits(
    source: str,
    kind: str,
    splits: Splits,
    image_column: str | None = None,
    label_column: str | None = None,
    require_labels: bool = True,
    limit: float = math.inf,
) -> ImageSource:
    """Find the columns, decode every image once, and check the whole.

    The splits `train`, `validation` (or `valid`, `val`) and `test` are used; a single split of any name is the training
    split. Images are found by the type `Image`, labels by the type `ClassLabel`; a `label_column` that is given may hold
    any whole numbers from 0. Grey images stay grey, all others become RGB; where a set has both, all become RGB.
    Images that take more than `limit` bytes are decoded to the disk.
    Raises `UserError` for columns that are missing or ambiguous, images of different sizes, images that cannot be decoded
    or have more than 8 bits, missing labels and those outside 0..C-1.
    """
    if len(splits) == 1:
        splits = {"train": next(iter(splits.values()))}
    used = {SPLIT_NAMES[name]: split for name, split in splits.items() if name in SPLIT_NAMES}
    if "train" not in used:
        raise UserError(
            f"data.source is {source!r}, which has the splits {', '.join(splits)}, but must have one named train"
        )

    features = used["train"].features
    image = choose_column(source, features, "image_column", image_column, datasets.Image)
    label = (
        choose_column(source, features, "label_column", label_column, datasets.ClassLabel) if require_labels else None
    )

    pixels = {}
    labels = {}
    for name, split in used.items():
        missing = {image, label} - {None} - set(split.column_names)
        if missing or len(split) == 0:
            lacks = f"no column {missing.pop()!r}" if missing else "no images"
            raise UserError(f"data.source is {source!r}, whose {name} split has {lacks}, unlike what training needs")
        pixels[name] = decode_images(source, name, split, image, limit)
        labels[name] = None if label is None else read_labels(source, name, split, label)

    height, width = same_sizes(source, pixels)
    channels = max(array.shape[-1] for array in pixels.values())
    sets = {}
    for name, array in pixels.items():
        sets[name] = ImageSet(as_images(with_channels(array, channels)), labels[name])
    shape = (height, width) if channels == 1 else (height, width, channels)
    names = features[label].names if label is not None and isinstance(features[label], datasets.ClassLabel) else None
    return build_source(source, kind, sets, shape, names and len(names), names and tuple(names))


def choose_column(source: str, features: datasets.Features, setting: str, chosen: str | None, kind: type) -> str:
    """The column that the setting `data.image_column` or `data.label_column` names, or the only one of the type `kind`."""
    columns = ", ".join(features)
    candidates = [name for name, feature in features.items() if isinstance(feature, kind)]
    if chosen is not None:
        if chosen not in features:
            raise UserError(f"data.{setting} is {chosen!r}, but must be one of the columns of {source!r}: {columns}")
        whole_numbers = getattr(features[chosen], "dtype", "").lstrip("u").startswith("int")
        if chosen not in candidates and not (setting == "label_column" and whole_numbers):
            needed = "images (type Image)" if setting == "image_column" else "whole numbers"
            raise UserError(
                f"data.{setting} is {chosen!r}, a column of {source!r} that must hold {needed}, but does not"
            )
        return chosen
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UserError(
            f"data.source is {source!r}, which has several columns of type {kind.__name__}: set data.{setting} to one of "
            f"{', '.join(candidates)}"
        )
    if setting == "image_column":
        raise UserError(f"data.source is {source!r}, which has no image column (type Image); its columns are {columns}")
    raise UserError(
        f"data.source is {source!r}, which has no label column: give each class a sub-folder of images, or a column of type "
        f"ClassLabel, or set data.label_column to a column of whole numbers; the columns are {columns}"
    )


def decode_images(source: str, split_name: str, split: datasets.Dataset, column: str, limit: float) -> np.ndarray:
    """All images of a split as one uint8 array (N, H, W, 1) or (N, H, W, 3), on the disk if it has more than `limit` bytes."""
    images = decode_each(source, split_name, split, column)
    first = next(images)
    images = chain([first], images)
    if len(split) * first.nbytes > limit:
        return write_images(images, first.shape)
    pixels = np.empty((len(split), *first.shape), np.uint8)
    for index, image in enumerate(images):
        channels = max(pixels.shape[-1], image.shape[-1])
        pixels = with_channels(pixels, channels)
        pixels[index] = with_channels(image, channels)
    return pixels


def write_images(images: Iterator[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The images as an array on the disk: as they are until the first in colour, which has those before it written anew."""
    colourful: list[np.ndarray] = []

    def grey() -> Iterator[np.ndarray]:
        for image in images:
            if image.shape[-1] > shape[-1]:
                colourful.append(image)
                return
            yield with_channels(image, shape[-1])

    pixels = write_array(grey(), (-1, *shape))
    if not colourful:
        return pixels
    before = (with_channels(image, 3) for image in pixels)
    after = (with_channels(image, 3) for image in chain(colourful, images))
    return write_array(chain(before, after), (-1, *shape[:-1], 3))


def decode_each(source: str, split_name: str, split: datasets.Dataset, column: str) -> Iterator[np.ndarray]:
    """The images of a split as uint8 arrays (H, W, 1) or (H, W, 3), decoded one after the other.

    Raises `UserError` for an image that is missing, cannot be decoded, has more than 8 bits a channel, or another size.
    """
    decoder = datasets.Image(mode=split.features[column].mode)
    # Decoded here rather than by `datasets`, so that an error can say which image it was.
    rows = split.with_format(None).select_columns(column).cast_column(column, datasets.Image(decode=False))
    size = None
    for index, row in enumerate(rows):
        try:
            image = image_to_array(decoder.decode_example(row[column]))
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
            name = (row[column] or {}).get("path") or "no file name"
            raise UserError(
                f"data.source is {source!r}, whose {split_name} image {index} ({name}) cannot be decoded: {first_line(error)}"
            ) from error
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            raise different_sizes(source, size, image.shape[:2], f"{split_name} image {index}")
        yield image


def image_to_array(image: Any) -> np.ndarray:
    """A Pillow image as (H, W, 1) uint8 if its mode is grey (1, L, LA), else as (H, W, 3); transparency is dropped.

    Raises `ValueError` for 16-bit and floating-point pixels, which 8 bits would cut without a word.
    """
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        raise ValueError(f"its mode is {image.mode}, with more than 8 bits a pixel; convert it to 8 bits first")
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(image.height, image.width, -1)


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey pixels (..., 1) as colour (..., 3) where that is asked for, everything else as it is."""
    if pixels.shape[-1] == channels:
        return pixels
    if isinstance(pixels, np.memmap) and pixels.ndim == 4:  # a whole split
        return write_array((with_channels(image, channels) for image in pixels), (*pixels.shape[:-1], channels))
    return np.repeat(pixels, channels, axis=-1)


def read_labels(source: str, split_name: str, split: datasets.Dataset, column: str) -> torch.Tensor:
    """The labels (N,) int64 of a split. Raises `UserError` for a missing one; their range is checked with the rest."""
    labels = list(split.with_format(None)[column])
    if None in labels:
        raise UserError(
            f"data.source is {source!r}, whose {split_name} image {labels.index(None)} has no label in column {column!r}"
        )
    return torch.tensor(labels, dtype=torch.int64)


def same_sizes(source: str, pixels: dict[str, np.ndarray]) -> tuple[int, int]:
    """The common height and width of all splits. Raises `UserError` where they differ."""
    _, height, width, _ = pixels["train"].shape
    for name, array in pixels.items():
        if array.shape[1:3] != (height, width):
            raise different_sizes(source, (height, width), array.shape[1:3], f"those of the {name} split")
    return height, width


def different_sizes(source: str, first: tuple[int, ...], other: tuple[int, ...], where: str) -> UserError:
    sizes = f"{first[0]}x{first[1]}, then {other[0]}x{other[1]} ({where})"
    return UserError(f"data.source is {source!r}, whose images differ in size, but must be of one size: {sizes}")
