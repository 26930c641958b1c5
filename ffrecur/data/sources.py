"""From the one setting `data.source` to images, in memory or on the disk."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from ffrecur.data.arrays import read_arrays
from ffrecur.data.bundled import read_bundled
from ffrecur.data.clipfolders import check_file
from ffrecur.data.clips import OF_IMAGES
from ffrecur.data.idx import read_idx_folder
from ffrecur.data.imagefolder import has_images
from ffrecur.data.imageset import ImageSource, Reading, check_columns
from ffrecur.errors import UserError
from ffrecur.storage.files import existing

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
FILES = (".npz", ".npy", ".parquet", ".csv", ".json", ".jsonl", ".arrow")


def read_source(
    source: str,
    image_column: str | None = None,
    label_column: str | None = None,
    require_labels: bool = True,
    limit: float = math.inf,
    testing: bool = False,
    known: Sequence[str] = (),
    video: bool = False,
    frames: int | None = None,
) -> ImageSource:
    """Read `source`: `bundled`; a file of arrays (`.npz`) or a table; a folder, tried for IDX files, arrays, images, tables; a
    hub id.

    What exists always wins over a hub id of the same name. `image_column` and `label_column` choose among the
    columns where the source has some. Without `require_labels` (for prediction) no labels are read: those of the
    result are None, and so is `num_classes` unless the source tells it without them. The images of a split that take more than
    `limit` bytes stay on the disk. For `testing` a net that was trained on another source, one class is enough, and the classes
    are those of all splits. A `video` is read as clips, of at most `frames` frames each.
    Raises `UserError` for everything that is wrong with the source, see the functions that read each kind.
    """
    how = Reading(image_column, label_column, require_labels, limit, testing, known, video, frames)
    if source == "bundled":
        check_kind(source, "images of digits", video)
        check_columns(source, how)
        return read_bundled()
    path = existing(source)
    if path is not None and path.is_dir():
        return read_any_folder(source, path, how)
    if path is not None and path.suffix.lower() in FILES:
        return read_file(source, path, how)
    if path is not None and video:
        check_file(source, path)
    if path is not None or not HUB_ID.fullmatch(source):
        found = "is not" if path is None else "is a file, not"
        images = "'bundled', a folder with IDX files, arrays, tables or images"
        wanted = "a folder with folders of frames, arrays or tables" if video else images
        hub = "the hub id of a data set with lists of images" if video else "a hub id such as 'ylecun/mnist'"
        raise UserError(
            f"data.source is {source!r}, which {found} a folder; it must be {wanted}, a folder written by `save_to_disk`, a file "
            f"({', '.join(FILES)}), or {hub}"
        )
    from ffrecur.data.columns import read_splits
    from ffrecur.data.huggingface import load_hub

    return read_splits(source, *load_hub(source), how)


def check_kind(source: str, found: str, video: bool) -> None:
    """Raise `UserError` for a source of images where clips were asked for."""
    if video:
        raise UserError(
            f"data.source is {source!r}, {found}, but must be clips of frames{OF_IMAGES}, and made to move by --data "
            "DriftDataModule"
        )


def read_any_folder(source: str, folder: Path, how: Reading) -> ImageSource:
    """Read a folder, whatever it holds."""
    try:
        empty = not any(folder.iterdir())
    except PermissionError:
        raise UserError(f"data.source is {source!r}, a folder that may not be read") from None
    if empty:
        raise UserError(f"data.source is {source!r}, which is an empty folder")
    found = read_idx_folder(source, folder, how)
    if found is not None:
        check_kind(source, found.description, how.video)
        check_columns(source, how)
        return found
    if any(folder.glob("[!.]*.np[yz]")) and not has_images(source, folder):
        found = read_arrays(source, folder, how)
    if found is not None:
        return found
    # Imported here, because `datasets` takes a second to import and the sources above do not need it.
    from ffrecur.data.folders import read_folder

    return read_folder(source, folder, how)


def read_file(source: str, file: Path, how: Reading) -> ImageSource:
    """Read a single file: arrays, a table with images, or one that names the files of images (column file_name)."""
    if file.suffix.lower() in (".npz", ".npy"):
        found = read_arrays(source, file, how)
        assert found is not None
        return found
    from ffrecur.data.columns import read_splits
    from ffrecur.data.folders import read_file_names
    from ffrecur.data.huggingface import load_file

    named = read_file_names(source, file, how) if file.suffix.lower() in (".csv", ".jsonl") else None
    return named if named is not None else read_splits(source, *load_file(source, file, how.limit), how, file.parent)
