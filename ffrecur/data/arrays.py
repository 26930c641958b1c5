"""Images, or videos, in NumPy files: an `.npz` archive, or a folder of `.npy` files, with arrays of images and of labels."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ffrecur.bars import bar
from ffrecur.data.arraynames import CONTENTS, OF_VIDEOS, Open, find_arrays
from ffrecur.data.clips import OF_IMAGES, OF_VIDEO, clips_of
from ffrecur.data.imageset import PLAIN, SPLIT_WORDS, ImageSource, Reading, build_source
from ffrecur.data.mapped import CHUNK, as_images, write_array
from ffrecur.data.splits import roles_of
from ffrecur.errors import SettingWarning, UserError, one_line

DARK = 128  # half of white
ROUNDING = 1e-6  # by which values from 0 to 1 may be outside, as after a normalisation is undone


def read_arrays(source: str, path: Path, how: Reading = PLAIN) -> ImageSource | None:
    """Read an `.npz` file, or a folder with `.npy` files, one `.npz` file or several of one array each; None for a
    folder that holds neither.

    Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3), or with the channels first where only that can be meant; bytes, or
    numbers from 0 to 1, or whole numbers from 0 to 255. Videos (`how.video`) are (N, T, H, W), or have
    channels too; a single `.npy` file holds images or videos without labels. Labels are (N,) or (N, 1), whole numbers or text.
    Nothing in the files runs as code. What takes more than `how.limit` bytes is written to the disk. Raises `UserError` for
    anything else.
    """
    kind = f"arrays of {path}"
    if path.is_dir():
        archives = sorted(path.glob("[!.]*.npz"))
        names: dict[str, Open] = {file.stem: opener(file) for file in sorted(path.glob("[!.]*.npy"))}
        if len(archives) > 1 and not names:
            held = {archive.stem: members(source, archive) for archive in archives}
            if all(len(arrays) == 1 for arrays in held.values()):  # KMNIST: each array in a file of its own
                names, archives = {stem: next(iter(arrays.values())) for stem, arrays in held.items()}, []
        if (names and archives) or len(archives) > 1:
            raise UserError(
                f"data.source is {source!r}, which holds several sets of arrays, {archives[0].name} among them; give one file"
            )
        if archives:
            return read_arrays(source, archives[0], how)
        if not names:
            return None
    else:
        names = {"images": opener(path)} if path.suffix.lower() == ".npy" else members(source, path)
    found = find_arrays(source, names, OF_VIDEOS if how.video else CONTENTS, how)
    splits = [split for split in SPLIT_WORDS if (split, "images") in found]
    if not splits or ("train" not in splits and how.require_labels and not how.testing):
        lacks = "training images" if splits else "images"
        videos = "" if splits or find_arrays(source, names, OF_VIDEOS, how).keys() == found.keys() else OF_VIDEO
        raise UserError(
            f"data.source is {source!r}, which has no array of {lacks}; it must have images and labels, or train_images, "
            f"train_labels, test_images and so on, but has {', '.join(names) or 'nothing'}{videos}"
        )
    roles = roles_of(splits)
    kind_of = Videos if how.video else Images
    arrays = {role: kind_of(source, *found[split, "images"]) for role, split in roles.items()}
    scale = common_scale(source, list(arrays.values()))
    labels = {}
    for role, split in roles.items() if how.require_labels else ():
        if (split, "labels") in found:
            labels[role] = read_labels(source, *found[split, "labels"], arrays[role])
        elif role == "train":
            raise UserError(
                f"data.source is {source!r}, which has images, but no array of labels for them; it has {', '.join(names)}; "
                "data.labels false is for a net that learns without"
            )
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        sizes = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
        raise UserError(f"data.source is {source!r}, whose images differ in size between the splits: {sizes}")
    notes = [f"{array.name} has its channels first, and is read so" for array in arrays.values() if array.turned]
    if scale == 255 and all(array.dtype.kind in "ui" for array in arrays.values()):
        notes.append("the values are 0 and 1 only: 0 is read as black and 1 as white (255)")
    rows = {role: array.rows(scale, how.limit) for role, array in arrays.items()}
    return build_source(source, kind, rows, shapes.pop(), labels, notes=notes, testing=how.testing, frames=how.frames)


def members(source: str, archive: Path) -> dict[str, Open]:
    """The arrays of an `.npz` file by name."""
    with told(source, archive.name), zipfile.ZipFile(archive) as unpacked:
        found = [member for member in unpacked.namelist() if member.endswith(".npy")]
    return {member.removesuffix(".npy"): partial(open_member, archive, member) for member in found}


class Images:
    """An array of images in a file, read a part at a time."""

    first = 1  # the axis of the height where the channels are last or missing
    wanted = (
        "(N, height, width), (N, height, width, 1) or (N, height, width, 3); `reshape` or `transpose(0, 2, 3, 1)` may turn "
        "it round"
    )

    def __init__(self, source: str, name: str, opened: Open) -> None:
        self.source, self.name, self.opened = source, name, opened
        with told(source, name), opened() as file:
            self.full, self.fortran, self.dtype = read_header(file)
        first, with_channels = self.first, len(self.full) == self.first + 3
        colours = self.full[-1] if with_channels else 1
        self.turned = with_channels and colours not in (1, 3) and self.full[first] in (1, 3)
        if self.turned:
            colours = self.full[first]
        if len(self.full) not in (first + 2, first + 3) or 0 in self.full or colours not in (1, 3):
            self.refuse(f"the shape {self.full}", self.wanted + self.other_kind())
        if self.dtype.kind not in "bufi":
            self.refuse(f"values of the type {self.dtype}", "numbers")
        places = self.full[first + 1 :] if self.turned else self.full[first : first + 2]
        self.shape = places if colours == 1 else (*places, colours)

    def other_kind(self) -> str:
        """What to say where the shape may be that of videos."""
        return OF_VIDEO if len(self.full) in (4, 5) and 0 not in self.full else ""

    def refuse(self, what: str, wanted: str) -> None:
        """Raise `UserError` for what the array has."""
        raise UserError(f"data.source is {self.source!r}, whose array {self.name} has {what}, but must have {wanted}")

    def parts(self) -> Iterator[np.ndarray]:
        """The images, some at a time, as the array has them."""
        size = self.dtype.itemsize * int(np.prod(self.full[1:], dtype=object))
        with told(self.source, self.name), self.opened() as file:
            if self.fortran:
                whole = np.lib.format.read_array(file, allow_pickle=False)
                check_end(file)
                yield whole
                return
            read_header(file)
            step = max(1, CHUNK // size)
            starts = range(0, self.full[0], step)
            for start in bar(starts, f"reading {self.name}", "images", self.full[0], lambda _: step):
                count = min(step, self.full[0] - start)
                raw = file.read(count * size)
                if len(raw) < count * size:
                    raise ValueError("it is truncated")
                yield np.frombuffer(raw, self.dtype).reshape(count, *self.full[1:])
            check_end(file)

    def pixels(self, scale: int, limit: float) -> np.ndarray:
        """The images times `scale` as bytes, on the disk if they take more than `limit` bytes."""
        upright = (np.moveaxis(part, self.first, -1) if self.turned else part for part in self.parts())  # channels last
        parts = (
            np.ascontiguousarray(np.rint(part * float(scale)) if scale > 1 else part, np.uint8) for part in upright
        )
        shape = (int(np.prod(self.full[: self.first], dtype=object)), *self.shape)
        if int(np.prod(shape, dtype=object)) > limit:
            return write_array(parts, (-1, *shape[1:]))
        return np.concatenate(list(parts)).reshape(shape)

    def rows(self, scale: int, limit: float) -> Any:
        """The same as rows of images."""
        return as_images(self.pixels(scale, limit))


class Videos(Images):
    """An array of videos: with 4 dimensions (N, T, H, W), with 5 also the channels, which are last, or else before the height."""

    first = 2
    wanted = "(N, frames, height, width), grey, or (N, frames, height, width, 1 or 3)"

    def __init__(self, source: str, name: str, opened: Open) -> None:
        super().__init__(source, name, opened)
        if len(self.full) == 4 and self.full[-1] in (1, 3):
            self.refuse(
                f"the shape {self.full}", f"{self.wanted}; `[..., None]` makes it grey videos{self.other_kind()}"
            )

    def other_kind(self) -> str:
        """What to say where the shape may be that of images."""
        images = len(self.full) == 3 or (len(self.full) == 4 and self.full[-1] in (1, 3))
        turn = "; `transpose(0, 2, 3, 4, 1)` may turn it round" if len(self.full) == 5 else ""
        return OF_IMAGES if images and 0 not in self.full else turn

    def rows(self, scale: int, limit: float) -> Any:
        """The videos as clips of their frames."""
        return clips_of(super().rows(scale, limit), [self.full[1]] * self.full[0])


def common_scale(source: str, arrays: list[Images]) -> int:
    """The factor from the values of all arrays to bytes: 1 for bytes and whole numbers from 0 to 255, 255 for those from 0 to 1.

    Whole numbers of which none is above 1 are black and white. Raises `UserError` for values that are neither.
    """
    if all(array.dtype == np.uint8 for array in arrays):
        highest = max(int(part.max()) for array in arrays for part in array.parts())
        warn_of_dark(source, highest)
        return 1 if highest > 1 else 255
    low, high, whole = np.inf, -np.inf, True
    for array in arrays:
        for part in array.parts():
            low, high = min(low, float(part.min())), max(high, float(part.max()))
            whole = whole and bool((np.floor(part) == part).all()) if part.dtype.kind == "f" else whole
            if not np.isfinite([low, high]).all():
                array.refuse("values that are not finite", "numbers")
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return 255
    if low < 0 or high > 255 or not whole:
        arrays[0].refuse(
            f"values from {low:.7g} to {high:.7g}",
            "bytes, numbers from 0 to 1, or whole numbers from 0 to 255: undo a normalisation first",
        )
    warn_of_dark(source, high)
    return 1


def warn_of_dark(source: str, highest: float) -> None:
    """Warn of whole numbers none of which is half as bright as white, 255: white may be another number."""
    if 1 < highest < DARK:
        dark = f"data.source is {source!r}, whose values reach {highest:g}, where 255 is white"
        warnings.warn(f"{dark}: if {highest:g} is white, divide by it", SettingWarning, stacklevel=2)


def read_labels(source: str, name: str, opened: Open, images: Images) -> np.ndarray:
    """The labels (N,) of an array (N,) or (N, 1)."""
    with told(source, name), opened() as file:
        try:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            if "Object arrays" not in str(error):  # which only pickle reads
                raise
            how = "save them with .astype(int) or .astype(str)"
            raise UserError(f"data.source is {source!r}, whose {name} are Python objects: {how}") from error
        check_end(file)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != images.full[:1]:
        raise UserError(
            f"data.source is {source!r}, whose array {name} has the shape {labels.shape}, but must have one label for each of "
            f"the {images.full[0]:,} images of {images.name}: ({images.full[0]},)"
        )
    return labels


def opener(file: Path) -> Open:
    """What opens a file."""
    return lambda: file.open("rb")


def open_member(archive: Path, member: str) -> IO[bytes]:
    """Open a member of an archive, which is unpacked as it is read."""
    with zipfile.ZipFile(archive) as whole:
        return whole.open(member)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of an array, of which nothing is made yet. Raises `ValueError` for objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code")
    return shape, fortran, dtype


def check_end(file: IO[bytes]) -> None:
    """Raise `ValueError` where something follows; at its end a member of an archive compares its checksum."""
    if file.read(1):
        raise ValueError("it has more bytes than its header promises")


@contextmanager
def told(source: str, name: str) -> Iterator[None]:
    """Raise `UserError` for what cannot be read in the block."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy and the system have their own
        raise UserError(f"data.source is {source!r}, whose {name} cannot be read ({one_line(error)})") from error
