"""From the columns of a `datasets` data set to one uint8 array a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ffrecur.data.classes import check_known, check_range, listed
from ffrecur.data.clipcolumns import decode_clips, is_clips
from ffrecur.data.clips import OF_IMAGES, OF_VIDEO, clips_of
from ffrecur.data.decoding import decode_images, same_sizes, with_channels
from ffrecur.data.huggingface import Splits
from ffrecur.data.imageset import PLAIN, SPLIT_WORDS, ImageSource, Reading, build_source
from ffrecur.data.mapped import as_images
from ffrecur.data.pixels import Seen
from ffrecur.data.splits import choose_splits, exact_role
from ffrecur.errors import UserError

LABEL_COLUMNS = ("label", "labels", "class", "target")  # taken without being asked for, in any letter case

MANY = 50  # columns, which may then be pixels
TEXT = ("string", "large_string")


def read_splits(
    source: str,
    kind: str,
    splits: Splits,
    how: Reading = PLAIN,
    folder: Path | None = None,
    notes: Sequence[str] = (),
) -> ImageSource:
    """Find the columns, decode every image once, and check the whole.

    The splits are named as `splits.WORDS` says; a single split of any name is the training split. Images are found by the type
    `Image`, or structs of `bytes` and `path`, or bytes; labels by the type `ClassLabel`, or a name of `LABEL_COLUMNS`; a column
    that is named may hold any whole numbers or text. A column of text that is named for the images holds paths in `folder`.
    Grey images stay grey, all others become RGB; where a set has both, all become RGB. Images that take more than `how.limit`
    bytes are decoded to the disk. Validation and test splits without labels are left out where labels are required. For videos
    (`how.video`) the same holds of lists of images, each the frames of a clip.
    Raises `UserError` for columns that are missing or ambiguous, images of different sizes, images that cannot be decoded
    or have more than 8 bits, missing labels and those outside 0..C-1.
    """
    notes = list(notes)
    used = used_splits(source, splits, how, notes)
    if not how.video:
        used = {role: with_images(split, how.image_column, folder) for role, split in used.items()}

    features = used["train"].features
    image = choose_image_column(source, features, how.image_column, how.video)
    label = choose_label_column(source, features, how.label_column) if how.require_labels else None
    if label is not None and how.label_column is None and not isinstance(features[label], datasets.ClassLabel):
        kind += f", labels in column {label!r}"
    names, labels = (None, {}) if label is None else labels_of(source, used, label, how.testing)
    pixels: dict[str, np.ndarray] = {}
    lengths: dict[str, list[int]] = {}  # of clips
    files: dict[str, Sequence[str]] = {}
    for name, split in used.items():
        if image not in split.column_names or len(split) == 0:
            lacks = "no images" if len(split) == 0 else f"no column {image!r}"
            raise UserError(f"data.source is {source!r}, whose {name} split has {lacks}, unlike what training needs")
        if label is not None and name not in labels:
            things = "clips" if how.video else "images"
            notes.append(f"the {SPLIT_WORDS[name]} {things} have no labels: they are for prediction only")
            continue
        seen = Seen()
        given = source, name, split, image, how.limit, folder, seen
        if how.video:
            pixels[name], lengths[name] = decode_clips(*given, how.frames)
        else:
            pixels[name] = decode_images(*given)
        notes += seen.notes(SPLIT_WORDS[name])
        if len(seen.files) == len(split):
            files[name] = seen.files

    height, width = same_sizes(source, pixels)
    channels = max(array.shape[-1] for array in pixels.values())
    rows: dict[str, Any] = {name: as_images(with_channels(array, channels)) for name, array in pixels.items()}
    if how.video:
        rows = {name: clips_of(frames, lengths[name], how.frames) for name, frames in rows.items()}
    shape = (height, width) if channels == 1 else (height, width, channels)
    return build_source(source, kind, rows, shape, labels, names, files, notes, how.testing, frames=how.frames)


def used_splits(source: str, splits: Splits, how: Reading, notes: list[str]) -> Splits:
    """The splits by their roles; those that are left out are noted. Raises `UserError` where none is for training."""
    if len(splits) == 1:
        (name,) = splits
        if exact_role(name) not in (None, "train") and how.require_labels and not how.testing:
            notes.append(f"its only split is {name}, which trains")
        splits = {"train": splits[name]}
    chosen, left_out = choose_splits(source, splits)
    if "train" not in chosen and chosen and (how.testing or not how.require_labels):
        chosen = {"train": chosen.get("test", next(iter(chosen.values())))}
    if "train" not in chosen:
        raise UserError(
            f"data.source is {source!r}, which has the splits {', '.join(splits)}, but must have one named train"
        )
    if left_out:
        notes.append(f"the splits {', '.join(left_out)} are left out")
    return {role: splits[name] for role, name in chosen.items()}


def with_images(split: datasets.Dataset, chosen: str | None, folder: Path | None) -> datasets.Dataset:
    """The split with the type `Image` for what can be one: structs of bytes and path, or bytes, if there is no such column; and
    paths, if their column is chosen or named file_name.
    """
    features = split.features
    if not any(isinstance(feature, datasets.Image) for feature in features.values()):
        for name, feature in features.items():
            struct = isinstance(feature, dict) and "bytes" in feature and set(feature) <= {"bytes", "path"}
            if struct or getattr(feature, "dtype", "") in ("binary", "large_binary"):
                split = split.cast_column(name, datasets.Image())
        named = [name for name in features if name.casefold() == "file_name"]
        chosen = chosen or next(iter(named), None)
    if chosen in features and folder is not None and getattr(features[chosen], "dtype", "") in TEXT:
        paths = [None if path is None else str(folder / path) for path in split.with_format(None)[chosen]]
        split = split.remove_columns(chosen).add_column(chosen, paths).cast_column(chosen, datasets.Image())
    return split


def choose_image_column(source: str, features: datasets.Features, chosen: str | None, video: bool = False) -> str:
    """The column that the setting `data.image_column` names, or the only one of images; of a `video` of lists of images."""
    columns = listed(list(features))
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    clips = [name for name, feature in features.items() if is_clips(feature)]
    what, kind = ("lists of images", "List(Image)") if video else ("images", "Image")
    candidates, others = (clips, images) if video else (images, clips)
    other = OF_IMAGES if video else OF_VIDEO
    if chosen is not None:
        check_column(source, features, "image_column", chosen)
        if chosen not in candidates:
            raise UserError(
                f"data.image_column is {chosen!r}, a column of {source!r} that must hold {what} (type {kind}), but does not"
                f"{other if chosen in others else ''}"
            )
        return chosen
    if len(candidates) > 1:
        raise UserError(
            f"data.source is {source!r}, which has several columns of type {kind}: set data.image_column to one of "
            f"{', '.join(candidates)}"
        )
    if not candidates:
        lacks = "column of lists of images" if video else "image column"
        pixels = "; a table with a column a pixel is not read: save an .npz with images (N, H, W) and labels"
        raise UserError(
            f"data.source is {source!r}, which has no {lacks} (type {kind}); its columns are {columns}"
            f"{other if others else pixels if len(features) > MANY else ''}"
        )
    return candidates[0]


def choose_label_column(source: str, features: datasets.Features, chosen: str | None) -> str:
    """The column that the setting `data.label_column` names, or the only one of type `ClassLabel`, or one named label."""
    columns = listed(list(features))
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    plain = [name for name, feature in features.items() if is_plain(feature)]
    if chosen is not None:
        check_column(source, features, "label_column", chosen)
        if chosen not in [*labels, *plain]:
            raise UserError(
                f"data.label_column is {chosen!r}, a column of {source!r} that must hold whole numbers or text, but does not"
            )
        return chosen
    candidates = labels or [name for name in plain if name.casefold() in LABEL_COLUMNS]
    if len(candidates) > 1:
        kind = "of type ClassLabel" if labels else "that could be labels"
        raise UserError(
            f"data.source is {source!r}, which has several columns {kind}: set data.label_column to one of "
            f"{', '.join(candidates)}"
        )
    if not candidates:
        raise UserError(
            f"data.source is {source!r}, which has no label column: give each class a sub-folder of images, or a column of "
            f"type ClassLabel or named label, or set data.label_column to a column of whole numbers or text, or set "
            f"data.labels to false for a net that learns without labels; the columns are {columns}"
        )
    return candidates[0]


def check_column(source: str, features: datasets.Features, setting: str, chosen: str) -> None:
    """Raise `UserError` for a column that is not there."""
    if chosen not in features:
        raise UserError(
            f"data.{setting} is {chosen!r}, but must be one of the columns of {source!r}: {listed(list(features))}"
        )


def is_plain(feature: Any) -> bool:
    """Whether a column holds plain numbers or text; whether the numbers are whole ones is seen when they are read."""
    kind = getattr(feature, "dtype", "")
    return isinstance(feature, datasets.Value) and (
        kind in (*TEXT, "bool") or kind.lstrip("u").startswith(("int", "float"))
    )


def labels_of(
    source: str, splits: Splits, column: str, testing: bool
) -> tuple[Sequence[str] | None, dict[str, Sequence[Any]]]:
    """The names that are declared for the classes, if they are, and the labels of the splits that have them.

    A split that declares other names than the training split is matched by name; whole numbers of one that declares none are
    indexes into those of the training split.
    """
    found = {name: read_labels(source, name, split, column) for name, split in splits.items()}
    labels = {name: values for name, values in found.items() if values is not None}
    declared = {name: getattr(splits[name].features[column], "names", None) for name in labels}
    names = declared["train"]
    if all(own == names for own in declared.values()):
        return names, labels
    for name, own in declared.items():
        if own is not None:
            check_range(source, name, np.asarray(labels[name]), len(own))
            labels[name] = [own[value] for value in labels[name]]
        elif names is not None and all(isinstance(value, int) for value in labels[name]):  # indexes without their names
            check_range(source, name, np.asarray(labels[name]), len(names))
            labels[name] = [names[value] for value in labels[name]]
    if names is not None and not testing:
        for name, values in labels.items():
            check_known(source, name, sorted({str(value) for value in values}), names)
        labels = {name: [names.index(str(value)) for value in values] for name, values in labels.items()}
        return names, labels
    return None, labels


def read_labels(source: str, split_name: str, split: datasets.Dataset, column: str) -> Sequence[Any] | None:
    """The labels of a split; None for a validation or test split without: no column, nothing in it, or -1 throughout.

    Raises `UserError` for a label that is missing among others.
    """
    labels = list(split.with_format(None)[column]) if column in split.column_names else [None]
    missing = [index for index, label in enumerate(labels) if label is None or label != label or label == ""]
    if split_name != "train" and (len(missing) == len(labels) or all(label == -1 for label in labels)):
        return None
    if missing:
        raise UserError(
            f"data.source is {source!r}, whose {split_name} image {missing[0]} has no label in column {column!r}"
        )
    return labels
