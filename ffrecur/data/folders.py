"""What a folder of images, or of tables with images, holds, and which of its readers takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from ffrecur.data.clipfolders import check_containers, in_order
from ffrecur.data.columns import LABEL_COLUMNS, read_splits
from ffrecur.data.huggingface import BUILDERS, load_files, load_folder
from ffrecur.data.imagefolder import Listing, list_files, list_images
from ffrecur.data.imageset import PLAIN, ImageSource, Reading, check_columns
from ffrecur.data.metadata import FILE, Row, columns_of, is_metadata, labels_by_file, read_rows, rows_by_file
from ffrecur.data.pixels import extensions
from ffrecur.data.splits import choose_splits, declares_splits, is_saved, name_of, plainness, role_within
from ffrecur.errors import UserError, check_setting

IMAGE, LABEL = "image", "label"


def read_folder(source: str, folder: Path, how: Reading = PLAIN) -> ImageSource:
    """Read a folder: what `save_to_disk` wrote; image files, whose classes are sub-folders or in metadata files; or tables.

    Image files win over tables beside them, which are left out with a note, unless a parquet file holds images itself.
    Raises `UserError` for a folder with none of them, or both.
    """
    if is_saved(folder):
        return read_splits(source, *load_folder(source, folder, how.limit), how)
    files, _ = list_files(source, folder)
    images = [file for file in files if file.suffix.lower() in extensions()]
    tables = [file for file in files if file.suffix.lower() in BUILDERS]
    if not images:
        if how.video:
            check_containers(source, files)
        kind, splits, notes = load_tables(source, folder, how, files, tables)
        return read_splits(source, kind, splits, how, folder, notes)
    if any(holds_images(folder / table, how.video) for table in tables):
        listing = labels_or_none(source, folder, how) if how.require_labels else None
        if listing is not None and len(listing.names) > 1:
            raise UserError(
                f"data.source is {source!r}, which holds images both in files, such as {images[0].as_posix()}, and in tables, "
                f"such as {tables[0].as_posix()}; give a folder with one of them"
            )
        kind, splits, notes = load_tables(source, folder, how, files, tables)
        notes.append(f"{len(images):,} image files beside the tables are left out, such as {images[0].as_posix()}")
        return read_splits(source, kind, splits, how, folder, notes)
    return read_files(source, folder, [table for table in tables if is_metadata(table)], how)


def load_tables(
    source: str, folder: Path, how: Reading, files: list[Path], tables: list[Path]
) -> tuple[str, dict[str, datasets.Dataset], list[str]]:
    """The splits of a folder of tables without image files, and notes on what is left out.

    The names of files and folders tell the split (`splits.choose_splits`); without any, all tables train. A folder that declares
    its splits, and one with archives, is left to `datasets`, which may know more kinds than we do.
    """
    archives = any(file.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst") for file in files)
    if tables and not archives and not declares_splits(folder):
        return load_named(source, folder, how, tables)
    try:
        return *load_folder(source, folder, how.limit), []
    except UserError as error:
        if tables:
            raise
        images = "images (.png, .jpg, ...), IDX files (train-images-idx3-ubyte, ...)"
        wanted = "folders of frames (.png, .jpg, ...)" if how.video else images
        found = f"it holds {files[0].as_posix()}" if files else "it holds empty folders"
        raise UserError(
            f"data.source is {source!r}, a folder that cannot be read as a data set: it must hold {wanted}, arrays (.npz) or "
            f"tables (parquet, JSON lines, CSV), but {found}"
        ) from error


def load_named(
    source: str, folder: Path, how: Reading, tables: list[Path]
) -> tuple[str, dict[str, datasets.Dataset], list[str]]:
    """The tables by the splits that their names tell; those of the kind that most of them have."""
    named: dict[str, list[Path]] = {}
    first: dict[Any, str] = {}  # of names that tell the same equally well, as those of parts do, so that they are one
    for table in tables:
        name = name_of(table)
        name = first.setdefault((role_within(name), plainness(name)) if role_within(name) else name, name)
        named.setdefault(name, []).append(table)
    chosen, _ = choose_splits(source, named, within=True)
    splits = {role: named[name] for role, name in chosen.items()} or {"train": tables}
    kinds = [BUILDERS[table.suffix.lower()] for files in splits.values() for table in files]
    builder = max(dict.fromkeys(BUILDERS.values()), key=kinds.count)
    splits = {role: [t for t in files if BUILDERS[t.suffix.lower()] == builder] for role, files in splits.items()}
    splits = {role: files for role, files in splits.items() if files}
    listing = Listing(splits)
    used = {table for files in splits.values() for table in files}
    listing.leave_out(
        [table for table in tables if table not in used], f"beside the tables of the splits, which are {builder}"
    )
    return *load_files(source, folder, builder, splits, how.limit), listing.notes


def read_files(source: str, folder: Path, tables: list[Path], how: Reading) -> ImageSource:
    """Read image files; where labels are wanted, from the metadata tables if these have any, else from the sub-folders."""
    kind = f"folder of clips {folder}" if how.video else f"image folder {folder}"
    named = [table for table in tables if how.require_labels and read_rows(source, folder, table) is not None]
    rows = rows_by_file(source, folder, named, how.video)
    label = label_in(rows, how.label_column)
    taken = tables if rows else ()
    try:
        listing = list_images(
            source, folder, how.require_labels and label is None, how.testing, taken, how.known, how.video
        )
    except UserError as error:
        unused = [table for table in tables if table not in named]
        if not how.require_labels or not unused:
            raise
        columns = columns_of(source, folder, unused[0])
        raise UserError(f"{error}; its {unused[0].as_posix()} {columns}, none of them file_name") from None
    assert listing is not None
    if label is not None:
        kind += f", labels from {', '.join(table.as_posix() for table in named)}"
        labels = labels_by_file(source, rows, label)
        return read_splits(source, kind, labelled(listing, folder, labels, label), how, folder, listing.notes)
    if rows:
        listing.notes.append(f"{named[0].as_posix()} has no column of labels: the sub-folders are the classes")
    else:
        check_columns(source, how)
    own = how._replace(image_column=None, label_column=None)  # the columns are ours
    splits = {split: table_of(folder, listing, split) for split in listing.splits}
    return read_splits(source, kind, splits, own, folder, listing.notes)


def read_file_names(source: str, table: Path, how: Reading) -> ImageSource | None:
    """Read the images that a single table names, with the labels that it would give as a metadata file; None for one without a
    column `file_name`, or of labels, or where another column has the images.
    """
    if not how.require_labels or (how.image_column or FILE).casefold() != FILE:
        return None
    if read_rows(source, table.parent, Path(table.name)) is None:
        return None
    rows = rows_by_file(source, table.parent, [Path(table.name)], how.video)
    label = label_in(rows, how.label_column)
    if label is None:
        return None
    listing = Listing({"train": list(rows)})
    if how.video:
        listing.frames = {clip: frames_in(table.parent, clip) for clip in rows}
    splits = labelled(listing, table.parent, labels_by_file(source, rows, label), label)
    own = how._replace(image_column=IMAGE, label_column=label)
    kind = f"file {table.name}, which names {'clips' if how.video else 'images'}"
    return read_splits(source, kind, splits, own, table.parent)


def table_of(folder: Path, listing: Listing, split: str) -> datasets.Dataset:
    """The files of a split with their classes, if it has any, as columns."""
    values, feature = image_column(folder, listing, listing.splits[split])
    features: dict[str, Any] = {IMAGE: feature}
    columns: dict[str, Any] = {IMAGE: values}
    if split in listing.classes:
        features[LABEL] = datasets.ClassLabel(names=list(listing.names))
        columns[LABEL] = listing.classes[split]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def image_column(folder: Path, listing: Listing, files: Sequence[Path]) -> tuple[list[Any], Any]:
    """The column of some files, and its type; of clips, each the list of its frames."""
    if listing.frames is None:
        return [str(folder / file) for file in files], datasets.Image()
    clips = [[str(folder / frame) for frame in listing.frames[clip]] for clip in files]
    return clips, datasets.List(datasets.Image())


def frames_in(folder: Path, clip: Path) -> list[Path]:
    """The frames of a clip, a folder relative to `folder`."""
    found = (file.name for file in (folder / clip).iterdir() if not file.name.startswith("."))
    return in_order([clip / name for name in found if Path(name).suffix.lower() in extensions()])


def labelled(listing: Listing, folder: Path, labels: dict[Path, Any], column: str) -> dict[str, datasets.Dataset]:
    """The files of each split in the order of their rows, with their labels; files that no row names are left out."""
    every = {file for files in listing.splits.values() for file in files}
    listing.leave_out([file for file in labels if file not in every], "named in the metadata, but no images of a split")
    splits = {}
    for split, files in listing.splits.items():
        inside = set(files)
        named = [file for file in labels if file in inside]
        listing.leave_out([file for file in files if named and file not in labels], "in no row of the metadata")
        values, feature = image_column(folder, listing, named or files)
        columns: dict[str, Any] = {IMAGE: values}
        if named:  # else a split without labels
            own = [labels[file] for file in named]
            mixed = len({type(value) for value in own} - {type(None)}) > 1
            columns[column] = [None if value is None else str(value) for value in own] if mixed else own
        features = {**datasets.Dataset.from_dict(columns).features, IMAGE: feature}
        splits[split] = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return splits


def label_in(rows: dict[Path, list[Row]], chosen: str | None) -> str | None:
    """The column of labels of the rows: the one that is named, or one of `LABEL_COLUMNS`; None without.

    Raises `UserError` for one that is not there.
    """
    columns = list({name: None for own in rows.values() for row in own for name in row})
    usual = [name for name in columns if name.casefold() in LABEL_COLUMNS]
    if chosen is None or not rows:
        return next(iter(usual), None)
    check_setting(chosen in columns, "data.label_column", chosen, f"a column of the metadata: {', '.join(columns)}")
    return chosen


def holds_images(table: Path, video: bool = False) -> bool:
    """Whether a parquet file has a column of images: by `datasets`, structs of bytes and path, or bytes; of a `video` lists."""
    if table.suffix.lower() != ".parquet":
        return False
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(table)
    except Exception:  # no parquet file: it is told what is wrong if nothing but it is there
        return False
    kinds = [str(kind) for kind in schema.types]
    if video:
        return any(kind.removeprefix("large_").startswith("list<element: struct<bytes: ") for kind in kinds)
    return any(kind in ("binary", "large_binary") or kind.startswith("struct<bytes: ") for kind in kinds)


def labels_or_none(source: str, folder: Path, how: Reading) -> Listing | None:
    """The image files with their classes, None where they have none."""
    try:
        return list_images(source, folder, True, how.testing, known=how.known, video=how.video)
    except UserError:
        return None
