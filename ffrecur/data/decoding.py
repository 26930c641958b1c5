"""From a column of images to one uint8 array a split, in memory or on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ffrecur.bars import bar
from ffrecur.data.huggingface import first_line
from ffrecur.data.mapped import write_array
from ffrecur.data.pixels import Seen, decode, to_array
from ffrecur.errors import UserError


def decode_images(
    source: str, split_name: str, split: datasets.Dataset, column: str, limit: float, folder: Path | None, seen: Seen
) -> np.ndarray:
    """All images of a split as one uint8 array (N, H, W, 1) or (N, H, W, 3), on the disk if it has more than `limit` bytes."""
    # Decoded here rather than by `datasets`, so that an error can say which image it was.
    rows = split.with_format(None).select_columns(column).cast_column(column, datasets.Image(decode=False))
    numbered = bar(enumerate(rows), f"decoding the {split_name} images", "images", len(split))
    values = ((index, row[column]) for index, row in numbered)
    images = decode_each(
        source, f"{split_name} image", values, getattr(split.features[column], "mode", None), folder, seen
    )
    return stacked(images, len(split), limit)


def stacked(images: Iterator[np.ndarray], count: int, limit: float) -> np.ndarray:
    """So many images as one array, on the disk if it has more than `limit` bytes; where any is in colour, all are."""
    first = next(images)
    images = chain([first], images)
    if count * first.nbytes > limit:
        return write_images(images, first.shape)
    pixels = np.empty((count, *first.shape), np.uint8)
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


def decode_each(
    source: str,
    what: str,
    values: Iterable[tuple[Any, dict[str, Any] | None]],
    mode: str | None,
    folder: Path | None,
    seen: Seen,
) -> Iterator[np.ndarray]:
    """The images of a split as uint8 arrays (H, W, 1) or (H, W, 3), decoded one after the other; see `pixels.decode`.

    `values` are those of a column of images, with the number or the place of each; `what` they are, such as "train image".
    Raises `UserError` for an image that is missing, cannot be decoded, has more than 8 bits a channel, or another size.
    """
    size = None
    for index, value in values:
        value = value or {}
        name = name_of(value.get("path"), folder)
        if name is not None:
            seen.files.append(name)
        try:
            image = decode_value(value, name or f"number {index}", seen, mode)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
            raise UserError(
                f"data.source is {source!r}, whose {what} {index} ({name or 'no file name'}) cannot be decoded: "
                f"{first_line(error)}"
            ) from error
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            where = f"{what} {index}" if name is None else f"{what} {index}, {name}"
            raise different_sizes(source, size, image.shape[:2], where)
        yield image


def decode_value(value: dict[str, Any], name: str, seen: Seen, mode: str | None) -> np.ndarray:
    """The pixels of a value of a column of images: `bytes`, or else the `path` of a file here or elsewhere."""
    path, content = value.get("path"), value.get("bytes")
    if content is not None:
        return decode(content, name, seen, mode)
    if path is None:
        raise ValueError("there is none")
    if "://" in path:
        return to_array(datasets.Image(mode=mode).decode_example(value), name, seen)
    return decode(path, name, seen, mode)


def name_of(path: str | None, folder: Path | None) -> str | None:
    """The path of an image as it is shown: relative to the folder of the source, if it lies there."""
    if path and folder is not None:
        path = path.removeprefix(f"{folder}{os.sep}")  # pathlib would take a fifth of the time of decoding
    return path or None


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey pixels (..., 1) as colour (..., 3) where that is asked for, everything else as it is."""
    if pixels.shape[-1] == channels:
        return pixels
    if isinstance(pixels, np.memmap) and pixels.ndim == 4:  # a whole split
        return write_array((with_channels(image, channels) for image in pixels), (*pixels.shape[:-1], channels))
    return np.repeat(pixels, channels, axis=-1)


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
