"""Folders of clips: a clip is a folder of image files, its frames, in the natural order of their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ffrecur.data.clips import OF_IMAGES
from ffrecur.data.pixels import extensions
from ffrecur.errors import UserError

CONTAINERS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")
SHAPE = "a clip is a folder of frames, such as CLASS/CLIP/0001.png"


class ClipFolders(NamedTuple):
    """What the image files below a folder make; all paths are relative to it."""

    frames: dict[Path, list[Path]]  # of each clip, by its folder, in the order of these as text
    beside: list[Path]  # image files that lie next to folders of clips


def natural(name: str) -> list[str | int]:
    """What names are ordered by, so that numbers in them count as numbers.

    >>> sorted(["f10.png", "f2.png", "f1.png"], key=natural)
    ['f1.png', 'f2.png', 'f10.png']
    """
    parts = re.split("([0-9]+)", name)  # text and numbers in turn
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def in_order(files: Sequence[Path]) -> list[Path]:
    """Frames in the natural order of their names; those that differ in zeros alone in that of text."""
    return sorted(files, key=lambda file: (natural(file.name), file.name))


def find_clips(source: str, images: Sequence[Path], files: Sequence[Path], folders: Sequence[Path]) -> ClipFolders:
    """The folders of clips: those with image files in them, and none in a folder below.

    `images` are those among all `files`, `folders` all folders. Raises `UserError` for a folder without frames next to a clip.
    """
    above = {parent for place in {file.parent for file in images} for parent in place.parents}
    frames: dict[Path, list[Path]] = {}
    beside = []
    for file in images:
        if file.parent in above or file.parent == Path():
            beside.append(file)
        else:
            frames.setdefault(file.parent, []).append(file)
    places, holding = {clip.parent for clip in frames}, {*above, *frames}
    check_containers(source, [file for file in files if file.parent not in holding])
    empty = [folder for folder in folders if folder.parent in places and folder not in holding]
    if empty:
        inside = [file for file in files if file.is_relative_to(empty[0])]
        holds = f"holds {inside[0].as_posix()}, but no frames" if inside else "is empty"
        raise UserError(
            f"data.source is {source!r}, whose folder {empty[0].as_posix()} {holds}; a clip has one image file (.png, .jpg, ...) "
            "or more"
        )
    if not frames:
        raise UserError(
            f"data.source is {source!r}, whose image {images[0].as_posix()} lies in no folder of a clip; {SHAPE}{OF_IMAGES}"
        )
    clips = sorted(frames, key=Path.as_posix)
    return ClipFolders({clip: in_order(frames[clip]) for clip in clips}, beside)


def check_containers(source: str, files: Sequence[Path]) -> None:
    """Raise `UserError` where there is a file of a whole video, and say how it becomes frames."""
    found = [file for file in files if file.suffix.lower() in CONTAINERS]
    if found:
        raise UserError(
            f"data.source is {source!r}, which has the video file {found[0].as_posix()}, but {SHAPE}: {ffmpeg(found[0])}"
        )


def check_file(source: str, file: Path) -> None:
    """Raise `UserError` for a source that is a single file of a video or an image."""
    if file.suffix.lower() in (*CONTAINERS, *extensions()):
        raise UserError(f"data.source is {source!r}, a single file, but {SHAPE}: {ffmpeg(file)}")


def ffmpeg(file: Path) -> str:
    """The commands that make a folder of frames of a file."""
    clip = file.with_suffix("").as_posix()
    return f"mkdir {clip}; ffmpeg -i {file.as_posix()} {clip}/%04d.png"


def check_depth(source: str, clips: Sequence[Path], inner: Collection[Path]) -> None:
    """Raise `UserError` where some clips lie in folders of classes, but others directly beside these, as folders of images do."""
    chosen = set(inner)
    outside = [clip for clip in clips if clip not in chosen]
    if chosen and outside:
        raise UserError(
            f"data.source is {source!r}, whose folder {outside[0].as_posix()} holds images, but no folder of a clip; {SHAPE}"
        )


def no_classes(source: str, clip: Path) -> UserError:
    """What is wrong where training clips lie in no folders of classes."""
    return UserError(
        f"data.source is {source!r}, whose folder {clip.as_posix()} holds images, but lies in no folder of a class; {SHAPE}, or "
        "name the class of each clip in a metadata.csv with the columns file_name, the folder, and label (data.label_column "
        f"names another){OF_IMAGES}"
    )
