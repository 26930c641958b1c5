"""IDX files, the format in which MNIST, Fashion-MNIST and KMNIST come."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ffrecur.data.imageset import ImageSet, ImageSource, build_source
from ffrecur.data.mapped import as_images, write_array
from ffrecur.errors import UserError

UINT8 = 0x08  # the type code of the header
CHUNK = 1 << 20  # bytes that are read at a time

NAME = re.compile(r".*(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


def find_idx_files(source: str, folder: Path) -> dict[tuple[str, str], Path]:
    """The IDX files of `folder` by split (`train`, `test`) and content (`images`, `labels`).

    Names are `*train-images-idx3-ubyte`, `*t10k-labels-idx1-ubyte`, `*test-...`, also with a dot before `idx`, and with
    or without `.gz`; of a plain and a gzipped file of the same name the plain one is taken.
    Raises `UserError` where two files claim the same place.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):  # a plain file comes before its .gz
        match = NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        place = ("train" if match[1] == "train" else "test", match[2])
        if place not in found:
            found[place] = path
        elif path.name != found[place].name + ".gz":
            raise UserError(
                f"data.source is {source!r}, which holds two files of {place[0]} {place[1]}, {found[place].name} and "
                f"{path.name}, but must hold one"
            )
    return found


def read_idx(path: Path, dimensions: int, limit: float = math.inf) -> np.ndarray:
    """The array (uint8, `dimensions` axes) of the IDX file `path`, which is gzipped if it ends in `.gz`.

    An array of more than `limit` bytes stays on the disk, mapped and read-only: the file itself, or a gzipped one unpacked.
    The header's sizes are compared with the data before anything of that size is made.
    Raises `UserError` for a file that cannot be read or unpacked, another format, missing or surplus data, and no items.
    """
    header = 4 + 4 * dimensions
    gzipped = path.suffix == ".gz"
    try:
        with gzip.open(path) if gzipped else path.open("rb") as file:
            start = file.read(header)
            shape = struct.unpack(f">{dimensions}I", start[4:]) if len(start) == header else (0,)
            promised = math.prod(shape)
            # Never more than the header promises and the file has: a few bytes of gzip can unpack to any size.
            parts = iter(lambda: file.read(min(CHUNK, header + promised + 1 - file.tell())), b"")
            known = start[:4] == bytes([0, 0, UINT8, dimensions])
            data: np.ndarray = np.empty(0, np.uint8)
            held = 0 if gzipped else path.stat().st_size - header
            if known and gzipped:
                data = write_array(parts, (-1,)) if promised > limit else join_bytes(parts)
                held = len(data)
            elif known and promised == held:
                data = np.memmap(path, np.uint8, "r", header) if promised > limit else join_bytes(parts)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"data.source has the file {path}, which is truncated, corrupt or not readable ({error})"
        ) from None

    if not known:
        raise UserError(
            f"data.source has the file {path}, which is not an IDX file of bytes in {dimensions} dimensions: it starts with "
            f"{start[:4].hex(' ') or 'nothing'}, but must start with 00 00 08 {dimensions:02x}"
        )
    if len(start) < header:
        raise UserError(f"data.source has the file {path}, which is truncated: it ends within its header")
    if promised != held:
        more = "at least " if gzipped and held > promised else ""
        raise UserError(
            f"data.source has the file {path}, whose header promises {' x '.join(map(str, shape))} = {promised:,} "
            f"bytes, but it holds {more}{held:,}: it is truncated or not what it claims to be"
        )
    if promised == 0:
        raise UserError(f"data.source has the file {path}, which is empty: its sizes are {' x '.join(map(str, shape))}")
    return data.reshape(shape)


def join_bytes(parts: Iterable[bytes]) -> np.ndarray:
    """The bytes of all parts as a writable array, without a second copy of the whole."""
    data = bytearray()
    for part in parts:
        data += part
    return np.frombuffer(data, np.uint8)


def read_idx_folder(
    source: str, folder: Path, require_labels: bool = True, limit: float = math.inf
) -> ImageSource | None:
    """The images of a folder with IDX files, or None where it holds no such images.

    Without `require_labels` the labels are left unread, and a folder with nothing but test images will do.
    Images that take more than `limit` bytes stay on the disk.
    Raises `UserError` for what `read_idx` and `find_idx_files` refuse, for missing training images or labels, for counts
    of images and labels that differ, and for training and test images of different sizes.
    """
    files = find_idx_files(source, folder)
    splits = [split for split in ("train", "test") if (split, "images") in files]
    if not splits:
        return None
    if require_labels and "train" not in splits:
        raise UserError(f"data.source is {source!r}, which has test images, but no file *train-images-idx3-ubyte")

    sets = {}
    shapes = {}
    for split in splits:
        images = read_idx(files[split, "images"], 3, limit)
        shapes[split] = images.shape[1:]
        labels = None
        if require_labels:
            if (split, "labels") not in files:
                raise UserError(
                    f"data.source is {source!r}, which has {split} images, but no file *-labels-idx1-ubyte for them"
                )
            labels = torch.from_numpy(read_idx(files[split, "labels"], 1).astype(np.int64))
            if len(labels) != len(images):
                raise UserError(
                    f"data.source is {source!r}, which has {len(images):,} {split} images, but {len(labels):,} labels"
                )
        sets[split] = ImageSet(as_images(images), labels)
    if len(set(shapes.values())) > 1:
        sizes = " and ".join(f"{height}x{width}" for height, width in shapes.values())
        raise UserError(f"data.source is {source!r}, whose training and test images differ in size: {sizes}")
    if splits == ["test"]:
        sets = {"train": sets["test"]}
    return build_source(source, f"IDX files in {folder}", sets, shapes[splits[0]])
