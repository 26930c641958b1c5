"""Columns of clips: each row of a data set has a list of images, the frames of one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute

from ffrecur.bars import bar
from ffrecur.data.decoding import decode_each, stacked
from ffrecur.data.pixels import Seen
from ffrecur.errors import UserError

LISTS = (datasets.List, datasets.LargeList)
ROWS = 8  # clips that are read together


def is_clips(feature: Any) -> bool:
    """Whether a column holds lists of images: by the type `Image`, structs of bytes and path, or bytes."""
    inner = feature.feature if isinstance(feature, LISTS) else None
    struct = isinstance(inner, dict) and "bytes" in inner and set(inner) <= {"bytes", "path"}
    return struct or isinstance(inner, datasets.Image) or getattr(inner, "dtype", "") in ("binary", "large_binary")


def decode_clips(
    source: str,
    split_name: str,
    split: datasets.Dataset,
    column: str,
    limit: float,
    folder: Path | None,
    seen: Seen,
    frames: int | None,
) -> tuple[np.ndarray, list[int]]:
    """The frames of all clips one after the other, `(F, H, W, 1)` or `(F, H, W, 3)` uint8, at most `frames` of each, and how many
    frames each clip has.

    `seen.files` becomes the folders of the clips, where each has one. What takes more than `limit` bytes is on the disk. Raises
    `UserError` for a clip without frames, a frame that has frames itself, and what `decode_each` refuses.
    """
    rows = split.select_columns(column).with_format("arrow")
    lengths = [length for part in rows.iter(1000) for length in lengths_of(part[column])]
    if 0 in lengths:
        number = lengths.index(0)
        raise UserError(
            f"data.source is {source!r}, whose {split_name} clip {number} has no frames, but must have one or more"
        )
    taken = [length if frames is None else min(length, frames) for length in lengths]
    values = frames_of(split_name, rows, column, frames)
    mode = getattr(split.features[column].feature, "mode", None)
    pixels = stacked(decode_each(source, f"{split_name} frame", values, mode, folder, seen), sum(taken), limit)
    if seen.animated:
        raise UserError(
            f"data.source is {source!r}, whose {split_name} frame {seen.animated[0]} has several frames itself, but a clip must "
            "be a list or a folder of single images: ffmpeg -i NAME.gif NAME/%04d.png makes them"
        )
    seen.files = clip_names(seen.files, taken)
    return pixels, lengths


def lengths_of(clips: Any) -> list[int]:
    """How many frames each clip of an Arrow column has; 0 where there is no list."""
    lengths: list[int] = pyarrow.compute.list_value_length(clips).fill_null(0).to_pylist()
    return lengths


def frames_of(
    split_name: str, rows: datasets.Dataset, column: str, frames: int | None
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The frames of all clips, at most `frames` of each, as they are stored, with the place of each in words.

    `rows` are in Arrow's format: `cast_column` would copy lists of images where it only renames a column of images.
    """
    every = (clip for part in rows.iter(ROWS) for clip in part[column].to_pylist())
    for number, clip in bar(enumerate(every), f"decoding the {split_name} clips", "clips", len(rows)):
        for place, value in enumerate(clip[:frames]):
            yield f"{place} of clip {number}", {"bytes": value} if isinstance(value, bytes) else value


def clip_names(files: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """The folder of the first frame of each clip; none where a frame has no file, or a file no folder."""
    if len(files) != sum(lengths):
        return []
    starts = [0, *np.cumsum(lengths).tolist()][:-1]
    folders = [str(Path(files[start]).parent) for start in starts]
    return [] if "." in folders else folders
