"""Folders of image files, listed as a `datasets` data set.

`datasets` has such a reader of its own, but it takes file names such as cat/test_1.png for splits and drops the other
files without a word, and it asks the network even for a folder on this machine.
"""

from __future__ import annotations

import glob
from pathlib import Path

import datasets
from PIL import Image

SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}


def list_image_folder(folder: Path) -> dict[str, datasets.Dataset] | None:
    """The image files under `folder` by split, in the order of their paths, or None where it holds no image files.

    Where there is a sub-folder `train` or `test`, sub-folders `train`, `test` and `validation` (or `valid`, `val`) are
    the splits and other files are left out; otherwise all files are the one split `train`. If every file lies in a
    sub-folder directly under its split, the sorted names of these sub-folders are the classes, the same for all splits;
    otherwise there are no labels. Hidden files are left out. Nothing is decoded yet.
    """
    Image.init()
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    names = glob.glob("**/*", root_dir=folder, recursive=True)  # noqa: PTH207 - Path.glob does not follow links
    paths = [
        path for path in map(Path, sorted(names)) if path.suffix.lower() in extensions and (folder / path).is_file()
    ]
    if not paths:
        return None

    splits: dict[str, list[Path]] = {}  # paths relative to the folder of the split
    roots: dict[str, Path] = {}
    if any(path.parts[0] in ("train", "test") for path in paths):
        for path in paths:
            if path.parts[0] in SPLITS:
                split = SPLITS[path.parts[0]]
                roots[split] = folder / path.parts[0]
                splits.setdefault(split, []).append(path.relative_to(path.parts[0]))
    else:
        roots, splits = {"train": folder}, {"train": paths}

    features = {"image": datasets.Image()}
    labelled = all(len(path.parts) == 2 for split in splits.values() for path in split)
    if labelled:
        classes = sorted({path.parts[0] for split in splits.values() for path in split})
        features["label"] = datasets.ClassLabel(names=classes)

    def listing(split: str) -> datasets.Dataset:
        columns = {"image": [str(roots[split] / path) for path in splits[split]]}
        if labelled:
            columns["label"] = [path.parts[0] for path in splits[split]]
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))

    return {split: listing(split) for split in splits}
