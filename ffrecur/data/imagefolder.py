"""Folders of image files, or of clips: which are for training and which for test, and the class of each.

`datasets` has such a reader of its own, but it takes file names such as cat/test_1.png for splits and drops the other
files without a word, and it asks the network even for a folder on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ffrecur.bars import bar
from ffrecur.data.classes import check_known, composed
from ffrecur.data.clipfolders import check_depth, find_clips, no_classes
from ffrecur.data.clips import OF_VIDEO
from ffrecur.data.pixels import extensions
from ffrecur.data.splits import choose_splits, exact_role, role_within
from ffrecur.errors import UserError

UNPACKED = ("__MACOSX",)  # what archives bring along
BY_PRODUCTS = ("thumbs.db", "desktop.ini")
# Sub-folders that are no class where they stand alone.
UNNAMED = ("images", "unknown", "unlabeled", "unlabelled", "all")


@dataclass
class Listing:
    """The image files, or folders of clips, of a folder by split, relative to it and in the order of their paths."""

    splits: dict[str, list[Path]]
    classes: dict[str, list[str]] = field(default_factory=dict)  # of each file of the splits that have classes
    names: tuple[str, ...] = ()  # the classes
    notes: list[str] = field(default_factory=list)
    frames: dict[Path, list[Path]] | None = None  # of each clip

    def leave_out(self, files: Sequence[Path], what: str) -> None:
        """Note files that are not used, if there are any."""
        if len(files) == 1:
            self.notes.append(f"1 file is left out ({what}): {files[0].as_posix()}")
        elif files:
            self.notes.append(f"{len(files):,} files are left out ({what}), such as {files[0].as_posix()}")


def list_files(source: str, folder: Path) -> tuple[list[Path], list[Path]]:
    """All files and all folders below `folder`, relative to it, in the order of their paths as text; links are followed.

    Hidden ones, and what archives and file managers leave, are left out. Raises `UserError` for a folder that cannot be read
    and for an image that is a link to nothing.
    """
    files, folders = [], []
    above: dict[str, set[str]] = {}  # of each folder the real paths of it and those that it was reached through

    def refuse(error: OSError) -> None:
        raise UserError(f"data.source is {source!r}, whose folder {error.filename} cannot be read: {error.strerror}")

    walk = os.walk(folder, onerror=refuse, followlinks=True)
    for place, inner, names in bar(walk, f"listing {folder.name}", "files", size=lambda step: len(step[2])):
        real, through = os.path.realpath(place), above.get(str(Path(place).parent), set())
        if real in through:  # a link to a folder above: a circle
            inner.clear()
            continue
        above[str(Path(place))] = through | {real}
        inner[:] = [name for name in inner if not name.startswith(".") and name not in UNPACKED]
        here = Path(place).relative_to(folder)
        folders += [here / name for name in inner]
        files += [here / n for n in names if not n.startswith(".") and n.lower() not in BY_PRODUCTS]
    for file in bar(files, f"looking for the files of {folder.name}", "files", len(files)):
        if not (folder / file).exists() and file.suffix.lower() in extensions():
            raise UserError(f"data.source is {source!r}, whose file {file.as_posix()} is a link to nothing")
        if not is_unicode(file):
            raise UserError(
                f"data.source is {source!r}, whose file {str(file)!a} has a name that is not Unicode; rename it"
            )
    return sorted(files, key=Path.as_posix), sorted(folders, key=Path.as_posix)


def has_images(source: str, folder: Path) -> bool:
    """Whether there are image files below a folder."""
    return any(file.suffix.lower() in extensions() for file in list_files(source, folder)[0])


def is_unicode(file: Path) -> bool:
    """Whether the name of a file is text: Linux allows any bytes."""
    try:
        file.as_posix().encode()
    except UnicodeEncodeError:
        return False
    return True


def list_images(
    source: str,
    folder: Path,
    labelled: bool,
    testing: bool = False,
    taken: Collection[Path] = (),
    known: Collection[str] = (),
    video: bool = False,
) -> Listing | None:
    """The image files below `folder` and, if they are to be `labelled`, the class of each; None where it holds no image files.

    A folder that holds nothing but another is entered, unless it is called like a `known` class. Sub-folders named train, test,
    validation and the like (`splits.WORDS`, in any letter case) are the splits, unless only a class can be meant: images lie
    directly in `train`, beside folders of other names. Without splits all images are the split `train`. The sub-folders of a
    split are the classes, whatever lies deeper in them; those of the training split (for `testing` of all) are the classes of the
    whole, in the order of text. Images beside the sub-folders are left out where labels are wanted; a validation or test split
    without sub-folders has no labels. Nothing is decoded yet. Notes tell what is left out, but for the files `taken` by others.
    Of a `video` the same holds for the folders of clips, see `find_clips`.
    Raises `UserError` for training images without sub-folders, and for a class that the training split does not have.
    """
    files, folders = list_files(source, folder)
    readable = extensions()
    images = [file for file in files if file.suffix.lower() in readable]
    if not images:
        return None
    clips = find_clips(source, images, files, folders) if video else None
    if clips is not None:
        images = list(clips.frames)
    root = wrapper(images, Path(), known)
    inside = [file for file in images if file.is_relative_to(root)]
    chosen = find_splits(source, [file.relative_to(root) for file in inside])
    roots = {split: root / name for split, name in chosen.items()} or {"train": root}
    listing = Listing({split: [f for f in inside if f.is_relative_to(place)] for split, place in roots.items()})
    if clips is not None:
        listing.frames = clips.frames
        listing.leave_out(clips.beside, "beside the folders of clips")
    if not chosen and not labelled:
        listing.splits["train"] = images
    used = {file for split in listing.splits.values() for file in split}
    where = (
        f"outside the folders {', '.join(sorted(chosen.values()))}"
        if chosen
        else f"beside the folder {root.as_posix()}"
    )
    listing.leave_out([file for file in images if file not in used], where)
    others = [file for file in files if file.suffix.lower() not in readable and file not in taken]
    listing.leave_out(others, "no images")
    if labelled:
        set_classes(source, listing, roots, [file.relative_to(root) for file in inside], testing, known)
        note_empty(listing, roots, images, folders)
    return listing


def set_classes(
    source: str,
    listing: Listing,
    roots: dict[str, Path],
    inside: Sequence[Path],
    testing: bool,
    known: Collection[str],
) -> None:
    """Enter the folders that alone are in a split, and set the classes of a listing. Raises `UserError` as `list_images` does."""
    if "train" not in roots and not testing:
        there = sorted({file.parts[0] for file in inside if len(file.parts) > 1})
        raise UserError(
            f"data.source is {source!r}, which has the folders {', '.join(there)}, but none for training, "
            "which must be named train or training; data without it can test a net that is trained"
        )
    for split in sorted(roots, key=lambda split: split != "train"):  # the others may not enter a class of training
        roots[split] = wrapper(listing.splits[split], roots[split], known)
        if split == "train":
            inner = [
                file.relative_to(roots[split]) for file in listing.splits[split] if file.is_relative_to(roots[split])
            ]
            known = {*known, *(file.parts[0] for file in inner)}
    label(source, listing, roots, testing)


def note_empty(listing: Listing, roots: dict[str, Path], images: Sequence[Path], folders: Sequence[Path]) -> None:
    """Note a sub-folder of a split that has no images, and so makes no class."""
    holding = {above for file in images for above in file.parents}
    empty = [place for place in folders if place.parent in roots.values() and place not in holding]
    if empty:
        listing.notes.append(f"the folder {empty[0].as_posix()} has no images, and so makes no class")


def wrapper(files: Sequence[Path], root: Path, classes: Collection[str] = ()) -> Path:
    """The folder below `root` that holds all sub-folders with images: `root`, or one that alone is in it, as archives unpack.

    One that is called like one of the `classes` is entered only if all folders in it are.
    """
    while True:
        inner = [file.relative_to(root).parts for file in files if file.is_relative_to(root)]
        deep = [parts for parts in inner if len(parts) > 1]
        names = {parts[0] for parts in deep}
        if len(names) != 1 or min(map(len, deep)) < 3 or (exact_role(*names) is not None and root == Path()):
            return root
        known = set(map(composed, classes))
        if set(map(composed, names)) <= known and not {composed(parts[1]) for parts in deep} <= known:
            return root
        root = root / names.pop()


def find_splits(source: str, files: Sequence[Path]) -> dict[str, str]:
    """Which sub-folders are the splits, none where they are classes."""
    deep = [file.parts for file in files if len(file.parts) > 1]
    names = sorted({parts[0] for parts in deep})
    exact = {name: exact_role(name) for name in names if exact_role(name)}
    nested = {parts[0] for parts in deep if len(parts) > 2}
    if exact and all(exact_role(name) or role_within(name) for name in names):
        meant = True
    elif exact:
        # Beside other folders: `train` and `test` both, or one that has sub-folders; else it is a class, such as the vehicle.
        main = {name for name, role in exact.items() if role in ("train", "test")}
        meant = {"train", "test"} <= set(exact.values()) or bool(main & nested)
    else:  # training_set, test_set; beside folders of other names only if they have sub-folders
        roles = {name: role_within(name) for name in names}
        found = {role for role in roles.values() if role}
        alone = len(found) == len(names)
        deeper = {roles[name] for name in nested if roles[name]}
        meant = "train" in found and len(found) > 1 and (alone or ("train" in deeper and len(deeper) > 1))
    return choose_splits(source, names, within=not exact or len(exact) < len(names))[0] if meant else {}


def label(source: str, listing: Listing, roots: dict[str, Path], testing: bool) -> None:
    """Set the classes of a listing: the first folder below the root of each split."""
    video = listing.frames is not None
    for split, files in listing.splits.items():
        root = roots[split]
        below = {file: file.relative_to(root).parts for file in files if file.is_relative_to(root)}
        inner = [file for file, parts in below.items() if len(parts) > 1]
        own = {below[file][0] for file in inner}
        if split != "train" and len(own) == 1 and {name.casefold() for name in own} <= {*UNNAMED, root.name.casefold()}:
            own = set()
        if not own and split == "train":
            if video:
                raise no_classes(source, files[0])
            raise UserError(
                f"data.source is {source!r}, which has no label column and no sub-folder for each class: its image "
                f"{files[0].as_posix()} lies directly in it; give each class a sub-folder of images, or name the class of each "
                "file in a metadata.csv with the columns file_name and label (data.label_column names another), or set "
                "data.labels to false for a net that learns without labels"
            )
        if not own:
            continue
        if video:
            check_depth(source, files, inner)
        listing.splits[split] = inner
        listing.classes[split] = [composed(below[file][0]) for file in inner]
        chosen = set(inner)
        listing.leave_out([file for file in files if file not in chosen], "beside the folders of the classes")
        deeper = [file for file in inner if len(below[file]) > 2]
        if deeper:
            first = deeper[0]
            what, hint = ("clip", "") if video else ("image", OF_VIDEO)
            lie = f"1 {what} lies" if len(deeper) == 1 else f"{len(deeper):,} {what}s lie"
            listing.notes.append(f"{lie} deeper, such as {first.as_posix()}, whose class is {below[first][0]!r}{hint}")
    every = {split: sorted(set(own)) for split, own in listing.classes.items()}
    known = [name for split, names in every.items() if split == "train" or testing for name in names]
    listing.names = tuple(sorted(set(known)))
    for split, names in every.items():
        check_known(source, split, names, listing.names)
