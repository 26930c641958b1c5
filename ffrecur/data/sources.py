"""From the one setting `data.source` to images, in memory or on the disk."""

from __future__ import annotations

import math
import re

from ffrecur.data.bundled import read_bundled
from ffrecur.data.documents import existing
from ffrecur.data.idx import read_idx_folder
from ffrecur.data.imageset import ImageSource
from ffrecur.errors import UserError

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def read_source(
    source: str,
    image_column: str | None = None,
    label_column: str | None = None,
    require_labels: bool = True,
    limit: float = math.inf,
) -> ImageSource:
    """Read `source`, which is tried as: `bundled`; a folder with IDX files; a folder that `datasets` reads; a hub id.

    A folder that exists always wins over a hub id of the same name. `image_column` and `label_column` choose among the
    columns where `datasets` reads the source. Without `require_labels` (for prediction) no labels are read: those of the
    result are None, and so is `num_classes` unless the source tells it without them. The images of a split that take more than
    `limit` bytes stay on the disk.
    Raises `UserError` for everything that is wrong with the source, see the functions that read each kind.
    """
    if source == "bundled":
        return read_bundled()
    folder = existing(source)
    if folder is not None and folder.is_dir():
        try:
            empty = not any(folder.iterdir())
        except PermissionError:
            raise UserError(f"data.source is {source!r}, a folder that may not be read") from None
        if empty:
            raise UserError(f"data.source is {source!r}, which is an empty folder")
        idx_source = read_idx_folder(source, folder, require_labels, limit)
        if idx_source is not None:
            return idx_source
    elif folder is not None or not HUB_ID.fullmatch(source):
        found = "is not" if folder is None else "is a file, not"
        raise UserError(
            f"data.source is {source!r}, which {found} a folder; it must be 'bundled', a folder with IDX files, parquet "
            f"files or images, a folder written by `save_to_disk`, or a hub id such as 'ylecun/mnist'"
        )

    # Imported here, because `datasets` takes a second to import and the sources above do not need it.
    from ffrecur.data.columns import read_splits
    from ffrecur.data.huggingface import load_folder, load_hub

    kind, splits = load_hub(source) if folder is None else load_folder(source, folder, limit)
    return read_splits(source, kind, splits, image_column, label_column, require_labels, limit)
