"""IDX files, the format in which MNIST, Fashion-MNIST and KMNIST come."""

from __future__ import annotations

import filecmp
import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ffrecur.bars import bar
from ffrecur.data.imagefolder import UNPACKED, has_images
from ffrecur.data.imageset import PLAIN, ImageSource, Reading, build_source
from ffrecur.data.mapped import as_images, write_array
from ffrecur.data.splits import WORDS, roles_of
from ffrecur.errors import UserError

UINT8 = 0x08  # the type code of the header
CHUNK = 1 << 20  # bytes that are read at a time

# train-images-idx3-ubyte, fashion-train-images.idx3-ubyte.gz, t10k_labels.idx, Test-Images.ubyte, ...
NAME = re.compile(
    r".*(?P<split>train|t10k|test|validation|valid|val)[-_.](?P<content>images|labels)"
    r"([-_.](idx[13]?|ubyte)){1,3}(?P<packed>\.gz)?",
    re.IGNORECASE,
)


def find_idx_files(source: str, folder: Path) -> dict[tuple[str, str], Path]:
    """The IDX files of `folder`, or else, if it holds no images, below it, by split (`train`, `validation`, `test`) and content
    (`images`, `labels`).

    Names are `*train-images-idx3-ubyte`, `*t10k-labels-idx1-ubyte`, `*test-...`, in any letter case, with `.idx3-ubyte`, `.idx3`,
    `.idx` or `.ubyte` at the end, and with or without `.gz`. Below it: torchvision's `MNIST/raw`, or what archives unpack to;
    hidden folders are not entered. A plain file is taken before a gzipped one; of files with the same bytes any. Raises
    `UserError` where two others claim the same place.
    """
    found = []
    for place, inner, names in os.walk(folder, followlinks=False):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in UNPACKED]
        found += [Path(place, name) for name in names if NAME.fullmatch(name) and not name.startswith(".")]
    own = by_place(source, folder, [path for path in found if path.parent == folder])
    if own or not found or has_images(source, folder):
        return own
    return by_place(source, folder, found)


def by_place(source: str, folder: Path, paths: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """Those of the paths that are IDX files, by split and content."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: (path.suffix == ".gz", path)):  # plain files first
        match = NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        split = match["split"].lower()
        place = ("test" if split == "t10k" else WORDS[split], match["content"].lower())
        first = found.setdefault(place, path)
        if first == path or (match["packed"] and path.with_suffix("") == first):
            continue
        if not filecmp.cmp(first, path, shallow=False):
            raise UserError(
                f"data.source is {source!r}, which holds two files of {place[0]} {place[1]}, {first.relative_to(folder)} and "
                f"{path.relative_to(folder)}, but must hold one; give the folder of one set alone"
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
            blocks = iter(lambda: file.read(min(CHUNK, header + promised + 1 - file.tell())), b"")
            parts = bar(blocks, f"reading {path.name}", "bytes", promised, len)
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


def read_idx_folder(source: str, folder: Path, how: Reading = PLAIN) -> ImageSource | None:
    """The images of a folder with IDX files, or None where it holds no such images.

    Without `how.require_labels` the labels are left unread, and a folder with nothing but test images will do. Validation and
    test images without a file of labels are left out where labels are required.
    Raises `UserError` for what `read_idx` and `find_idx_files` refuse, for missing training images or labels, for counts
    of images and labels that differ, and for training and test images of different sizes.
    """
    files = find_idx_files(source, folder)
    splits = [split for split in ("train", "validation", "test") if (split, "images") in files]
    if not splits:
        return None
    if how.require_labels and "train" not in splits and not how.testing:
        raise UserError(f"data.source is {source!r}, which has test images, but no file *train-images-idx3-ubyte")

    roles = roles_of(splits)
    images = {role: read_idx(files[split, "images"], 3, how.limit) for role, split in roles.items()}
    labels = {}
    for role, split in roles.items() if how.require_labels else ():
        if (split, "labels") in files:
            labels[role] = read_idx(files[split, "labels"], 1)
            if len(labels[role]) != len(images[role]):
                raise UserError(
                    f"data.source is {source!r}, which has {len(images[role]):,} {split} images, but {len(labels[role]):,} "
                    "labels"
                )
        elif role == "train":
            raise UserError(
                f"data.source is {source!r}, which has {split} images, but no file *-labels-idx1-ubyte for them; data.labels "
                "false is for a net that learns without"
            )
    shapes = list(dict.fromkeys(array.shape[1:] for array in images.values()))
    if len(shapes) > 1:
        sizes = " and ".join(f"{height}x{width}" for height, width in shapes)
        raise UserError(f"data.source is {source!r}, whose training and test images differ in size: {sizes}")
    # A file that is too large for the memory and lies there plainly is used where it is, without reading it now.
    mapped = {
        role
        for role, array in images.items()
        if isinstance(array, np.memmap) and files[roles[role], "images"].suffix != ".gz"
    }
    rows = {role: as_images(array) for role, array in images.items()}
    return build_source(source, f"IDX files in {folder}", rows, shapes[0], labels, testing=how.testing, in_place=mapped)
