"""Images that stay on the disk: rows of a memory-mapped file, read when a batch asks for them."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch
from torch import Tensor

from ffrecur.errors import UserError

CHUNK = 1 << 24  # bytes that are copied at a time


class MappedImages:
    """Rows of a memory-mapped array, chosen and put in order by an index: indexing reads, `take` does not.

    Stands for a tensor `(N, D)` wherever only `len` and indexing by rows are asked for, and gives the same bytes. It holds
    8 bytes a row; the pages of the file that were read belong to the system, which drops them when memory is short.
    """

    def __init__(self, pixels: np.ndarray, rows_N: Tensor | None = None) -> None:
        self.pixels = np.asarray(pixels).reshape(len(pixels), -1)  # a view; np.memmap indexes more slowly
        self.rows_N = torch.arange(len(pixels)) if rows_N is None else rows_N

    def __len__(self) -> int:
        return len(self.rows_N)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> Tensor:
        """Read the rows `index`, `(n, D)` uint8."""
        return torch.from_numpy(self.pixels[self.rows_N[index].numpy()])

    def take(self, index: Tensor | slice) -> MappedImages:
        """Choose rows; nothing is read."""
        return MappedImages(self.pixels, self.rows_N[index])

    def chunks(self) -> Iterator[np.ndarray]:
        """Read all rows, a part after the other."""
        size = max(1, CHUNK // self.pixels.shape[1])
        for start in range(0, len(self), size):
            yield self[start : start + size].numpy()


def as_images(pixels: np.ndarray) -> Tensor | MappedImages:
    """An array of images `(N, ...)` as rows: mapped if it lies on the disk, else a tensor of the same memory."""
    return MappedImages(pixels) if isinstance(pixels, np.memmap) else torch.from_numpy(pixels).flatten(1)


def join(first: Tensor | MappedImages, second: Tensor | MappedImages) -> Tensor | MappedImages:
    """The rows of both, one after the other; on the disk if either is."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    parts = (part.chunks() if isinstance(part, MappedImages) else [part.numpy()] for part in (first, second))
    return MappedImages(write_array((chunk for part in parts for chunk in part), (-1, first[:1].shape[1])))


def write_array(parts: Iterable[np.ndarray | bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Write parts to a nameless file in the folder for temporary files, and map it read-only as uint8 of this shape.

    The file vanishes with the last array that uses it, however the process ends. -1 for the first of `shape` is as many as
    there are. Raises `UserError` where the disk has no room (storing through a map would end the process there).
    """
    with on_disk():
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    try:
        for part in parts:  # what goes wrong in here is not the disk's
            with on_disk():
                file.write(part)  # type: ignore[arg-type]  # an array has the buffer protocol
        with on_disk():
            file.flush()
        count = file.tell() // math.prod(shape[1:])
        shape = (count, *shape[1:])
        return np.memmap(file, np.uint8, "r", shape=shape) if count else np.empty(shape, np.uint8)
    finally:
        with suppress(OSError):  # a full disk again, which has been told
            file.close()


@contextmanager
def on_disk() -> Iterator[None]:
    """Raise `UserError` for what the disk refuses in the block."""
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise UserError(
            f"data.memory_limit keeps the images on the disk, but they cannot be written to {folder} ({error.strerror}, "
            f"{shutil.disk_usage(folder).free // 2**20:,} MiB free); set TMPDIR to a folder with more room"
        ) from error
