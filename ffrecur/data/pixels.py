"""From image files to bytes: grey or colour, eight bits a channel, and nothing dropped without a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

GREY = ("1", "L", "LA", "La")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
# What Pillow knows by name, but cannot decode by itself.
UNREADABLE = {"BUFR", "GRIB", "HDF5", "WMF", "EPS", "MPEG", "PDF"}


@dataclass
class Seen:
    """What was met while the images of a split were decoded."""

    files: list[str] = field(default_factory=list)  # the name of each image's file, as far as they have one
    transparent: list[str] = field(default_factory=list)  # images with transparent pixels
    animated: list[str] = field(default_factory=list)  # images of several frames

    def notes(self, word: str) -> Iterator[str]:
        """What a user should know of it."""
        for found, what in (
            (self.transparent, "have transparent pixels, which are laid on white"),
            (self.animated, "have several frames, of which the first is taken"),
        ):
            if found:
                yield f"{len(found):,} of the {word} images {what}, such as {found[0]}"


def extensions() -> set[str]:
    """The endings, in small letters, of the files that Pillow can decode here."""
    Image.init()
    return {
        extension
        for extension, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in UNREADABLE
    }


def decode(source: str | bytes, name: str, seen: Seen, mode: str | None = None) -> np.ndarray:
    """The pixels of a file, a path or its bytes, as uint8 (H, W, 1) if its mode is grey (1, L, LA), else as (H, W, 3).

    Turned upright as its EXIF orientation says; transparent pixels are laid on white; of several frames the first is taken.
    `mode` is one of Pillow's to convert to first. What was met is added to `seen`. Raises `ValueError` for pixels of more than 8
    bits a channel, which would be cut, and whatever else Pillow raises for a file that it cannot decode.
    """
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
        if is_deep(image):
            raise ValueError(f"it has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits first")
        # Phones write a photograph and its preview as two frames of an MPO.
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            seen.animated.append(name)
        image.load()
        pixels = to_array(ImageOps.exif_transpose(image), name, seen)
    if mode in (None, "RGBA"):
        return pixels
    flat = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    return to_array(flat.convert(mode), name, seen)


def is_deep(image: Image.Image) -> bool:
    """Whether a channel has more than 8 bits in the file; Pillow cuts some of them when it loads them."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return True
    for tile in getattr(
        image, "tile", ()
    ):  # ends with the layout in the file: "RGB;16B", ("RGB;16L", 0, 1), ("RGB", 65535)
        layout = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        # "BGR;16" packs all three channels into 16 bits.
        if any(";16" in part and not part.startswith("BGR") for part in layout if isinstance(part, str)):
            return True
        if tile[0] in ("ppm", "ppm_plain") and layout[-1] > 255:
            return True
    return False


def to_array(image: Image.Image, name: str, seen: Seen) -> np.ndarray:
    """The pixels of an opened image, see `decode`."""
    grey = image.mode in GREY
    if image.mode in TRANSPARENT or "transparency" in image.info:
        straight: Any = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        straight = straight.convert("LA" if grey else "RGBA")
        alpha = straight.getchannel("A")
        if alpha.getextrema()[0] < 255:
            seen.transparent.append(name)
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(straight.convert("RGBA"))
            straight = white
        image = straight.convert("RGB")
        return np.array(image.getchannel("R") if grey else image).reshape(image.height, image.width, -1)
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(image.height, image.width, -1)
