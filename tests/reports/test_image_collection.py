"""Criterion 3, images: files and folders as people have them, each with the pixels that must come out, or the sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from ffrecur.data.pixels import extensions
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError

GREY = (np.arange(16 * 16, dtype=np.uint8) * 7).reshape(16, 16)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)
BITS = (GREY > 100) * np.uint8(255)
BLOCKS = np.kron(np.array([[0, 255], [128, 64]], np.uint8), np.ones((8, 8), np.uint8))  # what JPEG keeps

# ending: the mode that is saved, the pixels, and how far from them what comes out may be
ENDINGS: dict[str, tuple[str, np.ndarray, int]] = {
    ".png": ("L", GREY, 0),
    ".PNG": ("RGB", COLOUR, 0),
    ".apng": ("RGB", COLOUR, 0),
    ".bmp": ("RGB", COLOUR, 0),
    ".dib": ("L", GREY, 0),
    ".tif": ("L", GREY, 0),
    ".tiff": ("RGB", COLOUR, 0),
    ".TIF": ("1", BITS, 0),
    ".pgm": ("L", GREY, 0),
    ".ppm": ("RGB", COLOUR, 0),
    ".pnm": ("RGB", COLOUR, 0),
    ".pbm": ("1", BITS, 0),
    ".tga": ("RGB", COLOUR, 0),
    ".pcx": ("L", GREY, 0),
    ".sgi": ("RGB", COLOUR, 0),
    ".rgb": ("RGB", COLOUR, 0),
    ".msp": ("1", BITS, 0),
    ".xbm": ("1", BITS, 0),
    ".ico": ("RGB", COLOUR, 0),
    ".dds": ("RGB", COLOUR, 0),
    ".jp2": ("L", GREY, 0),
    ".j2k": ("RGB", COLOUR, 0),
    ".gif": ("L", GREY, 0),
    ".webp": ("RGB", COLOUR, 0),
    ".jpg": ("L", BLOCKS, 1),
    ".jpeg": ("RGB", np.stack([BLOCKS] * 3, axis=-1), 1),
    ".JPG": ("L", BLOCKS, 1),
    ".jpe": ("L", BLOCKS, 1),
    ".jfif": ("L", BLOCKS, 1),
    ".avif": ("RGB", np.stack([BLOCKS] * 3, axis=-1), 3),
}
SETTINGS: dict[str, dict[str, Any]] = {".webp": {"lossless": True}, ".avif": {"quality": 100}}
NEEDS = {".jp2": "jpg_2000", ".j2k": "jpg_2000", ".webp": "webp", ".avif": "avif"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(tmp_path: Path, ending: str) -> None:
    mode, pixels, tolerance = ENDINGS[ending]
    if ending in NEEDS and not features.check(NEEDS[ending]):
        pytest.skip("this Pillow was built without it")
    image = Image.fromarray(pixels, None if mode != "1" else "L").convert(mode)
    lossy: dict[str, Any] = {"quality": 100} if ending.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") else {}
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / f"1{ending}", **{**lossy, **SETTINGS.get(ending, {})})
    source = read_source(str(tmp_path))
    expected = pixels
    if source.image_shape == (16, 16, 3) and pixels.ndim == 2:  # a palette
        expected = np.stack([pixels] * 3, axis=-1)
    assert source.image_shape == expected.shape
    difference = source.train.images[0].numpy().reshape(expected.shape).astype(int) - expected
    assert np.abs(difference).max() <= tolerance
    assert source.notes == ()


def test_what_pillow_cannot_decode_is_no_image() -> None:
    assert {ending.lower() for ending in ENDINGS} <= extensions()
    assert not {".h5", ".hdf", ".grib", ".bufr", ".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".wmf", ".emf"} & extensions()


def picture(number: int, size: tuple[int, int] = (3, 2), mode: str = "L") -> Image.Image:
    values = (np.arange(size[0] * size[1], dtype=np.uint8) + number).reshape(size[1], size[0])
    return Image.fromarray(values).convert(mode)


Folder = dict[str, Image.Image | bytes]
# files; the first pixels of all training images in the order in which they train, the shape; or what the sentence says
FOLDERS: dict[str, tuple[Callable[[], Folder], tuple[list[int], tuple[int, ...]] | str]] = {
    "grey": (lambda: {"a/1.png": picture(5), "b/1.png": picture(6)}, ([5, 6], (2, 3))),
    "colour among grey makes all colour": (
        lambda: {"a/1.png": picture(5), "b/1.png": picture(6, mode="RGB")}, ([5, 6], (2, 3, 3)),
    ),
    "endings and modes mixed": (
        lambda: {"a/1.png": picture(5), "a/2.bmp": picture(7), "b/1.tif": picture(6), "b/2.PGM": picture(8)},
        ([5, 6, 7, 8], (2, 3)),
    ),
    "upright and lying": (
        lambda: {"a/1.png": picture(5), "b/1.png": picture(6, (2, 3))},
        "images differ in size, but must be of one size: 2x3, then 3x2 (train image 1, b/1.png)",
    ),
    "another size in the test folder": (
        lambda: {
            "train/a/1.png": picture(5), "train/b/1.png": picture(6),
            "test/a/1.png": picture(5, (4, 4)), "test/b/1.png": picture(6, (4, 4)),
        },
        "2x3, then 4x4 (those of the test split)",
    ),
    "one of another size in the test folder": (
        lambda: {
            "train/a/1.png": picture(5), "train/b/1.png": picture(6),
            "test/a/1.png": picture(5), "test/b/1.png": picture(6, (4, 4)),
        },
        "2x3, then 4x4 (test image 1, test/b/1.png)",
    ),
    "a web page that is called .jpg": (
        lambda: {"a/1.png": picture(5), "b/1.jpg": b"<!doctype html>"}, "train image 1 (b/1.jpg) cannot be decoded",
    ),
    "PNG bytes that are called .jpg": (
        lambda: {"a/1.png": picture(5), "b/1.jpg": b"\x89PNG\r\n\x1a\n"}, "train image 1 (b/1.jpg) cannot be decoded",
    ),
    "a picture of 10^10 pixels": (
        lambda: {"a/1.png": picture(5), "b/1.pgm": b"P5 100000 100000 255\n1"}, "train image 1 (b/1.pgm) cannot be decoded",
    ),
    "names that are not ASCII": (
        lambda: {"кот/1.png": picture(5), "собака/картина №1.png": picture(6)}, ([5, 6], (2, 3)),
    ),
    "names with spaces, brackets and stars": (
        lambda: {"a [1]/x *.png": picture(5), "b ?/y (2).png": picture(6)}, ([5, 6], (2, 3)),
    ),
    "names that differ in letter case": (
        lambda: {"a/1.png": picture(5), "A/1.png": picture(6)}, ([6, 5], (2, 3)),
    ),
    "a name without an ending is no image": (
        lambda: {"a/1.png": picture(5), "b/1.png": picture(6), "b/2": b"x"}, ([5, 6], (2, 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("limit", [np.inf, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_folders(tmp_path: Path, folder: str, limit: float) -> None:
    make, expected = FOLDERS[folder]
    for name, content in make().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path)
    if isinstance(expected, str):
        with pytest.raises(UserError) as caught:
            read_source(str(tmp_path), limit=limit)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    source = read_source(str(tmp_path), limit=limit)
    assert (source.train.images[:][:, 0].tolist(), source.image_shape) == expected
