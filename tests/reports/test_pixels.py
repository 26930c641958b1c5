"""Kind 11, pixels dropped without a word: transparency, constant images, depth, orientation and frames of single files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from making import idx_bytes
from PIL import Image

from ffrecur.data.pixels import Seen, decode
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError

RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40  # 0 40 80 / 120 160 200
ALPHA = np.array([[255, 255, 255], [255, 0, 51]], np.uint8)
OVER_WHITE = np.array([[0, 40, 80], [120, 255, 244]], np.uint8)  # 255 where alpha is 0; 255 - (255 - 200) * 51 / 255


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def grey() -> Image.Image:
    return Image.fromarray(RAMP)


def with_alpha(mode: str) -> Image.Image:
    image = grey().convert(mode)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def palette(transparent: bool) -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return encoded(image, transparency=1) if transparent else encoded(image)


def deep(colour_type: int, channels: int) -> bytes:
    """A PNG of 2x2 pixels with 16 bits a channel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes(range(4 * channels)) for _ in range(2))
    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(orientation: int) -> bytes:
    """The ramp as a camera stores it that was held so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(grey(), exif=exif)


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(np.full((2, 3), value, np.uint8) + RAMP // 40) for value in (0, 100)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def colour(grey_HW: np.ndarray) -> np.ndarray:
    return grey_HW[..., None].repeat(3, axis=-1)


RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]
# the bytes of a file; the pixels that must come out, (H, W) or (H, W, 3); whether transparency and frames are told
FILES: dict[str, tuple[Callable[[], bytes], object, bool, bool]] = {
    "grey": (lambda: encoded(grey()), RAMP, False, False),
    "colour": (lambda: encoded(grey().convert("RGB")), colour(RAMP), False, False),
    "black and white": (lambda: encoded(Image.fromarray(RAMP > 100)), (RAMP > 100) * 255, False, False),
    "grey with alpha": (lambda: encoded(with_alpha("LA")), OVER_WHITE, True, False),
    "colour with alpha": (lambda: encoded(with_alpha("RGBA")), colour(OVER_WHITE), True, False),
    "colour with alpha that is opaque": (lambda: encoded(grey().convert("RGBA")), colour(RAMP), False, False),
    "drawn in the alpha channel alone": (
        lambda: encoded(Image.merge("LA", [Image.new("L", (3, 2)), Image.fromarray(ALPHA)])), 255 - ALPHA, True, False,
    ),
    "grey with a transparent value": (lambda: encoded(grey(), transparency=80), [[0, 40, 255], [120, 160, 200]], True, False),
    "colour with a transparent colour": (
        lambda: encoded(grey().convert("RGB"), transparency=(80, 80, 80)),
        colour(np.array([[0, 40, 255], [120, 160, 200]])), True, False,
    ),
    "a palette": (lambda: palette(False), [[RED, GREEN, BLUE], [BLUE, GREEN, RED]], False, False),
    "a palette with a transparent colour": (lambda: palette(True), [[RED, WHITE, BLUE], [BLUE, WHITE, RED]], True, False),
    "CMYK": (
        lambda: encoded(Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "TIFF"), [[RED, RED]], False, False,
    ),
    "WebP with alpha": (
        lambda: encoded(with_alpha("RGBA"), "WEBP", lossless=True, exact=True), colour(OVER_WHITE), True, False,
    ),
    "16 bits for three channels, as BMP has": (
        lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 70, 0, 66, 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
        + struct.pack("<IIIHH", 0xF800, 0x07E0, 0x001F, 0xF800, 0x001F), [[RED, BLUE]], False, False,
    ),
    "an animated GIF": (lambda: animated("GIF"), colour(RAMP // 40), False, True),
    "a TIFF of two pages": (lambda: animated("TIFF"), RAMP // 40, False, True),
    "upright": (lambda: turned(1), RAMP, False, False),
    "mirrored": (lambda: turned(2), RAMP[:, ::-1], False, False),
    "upside down": (lambda: turned(3), RAMP[::-1, ::-1], False, False),
    "to be turned clockwise": (lambda: turned(6), np.rot90(RAMP, -1), False, False),
    "to be turned anticlockwise": (lambda: turned(8), np.rot90(RAMP, 1), False, False),
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_pixels_of_a_file(tmp_path: Path, file: str) -> None:
    make, expected, transparent, frames = FILES[file]
    (tmp_path / "it").write_bytes(make())
    for source in (make(), str(tmp_path / "it")):
        seen = Seen()
        pixels = decode(source, "it", seen)
        assert pixels.dtype == np.uint8
        wanted = np.asarray(expected)
        assert pixels.tolist() == wanted.reshape(*wanted.shape[:2], -1).tolist()
        assert (seen.transparent, seen.animated) == (["it"] * transparent, ["it"] * frames)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "16 bits grey": (
        lambda: encoded(Image.fromarray(RAMP.astype(np.uint16))),
        "more than 8 bits a channel (mode I;16)",
    ),
    "16 bits grey PNG": (lambda: deep(0, 1), "more than 8 bits a channel"),
    "16 bits colour PNG, which Pillow would cut": (lambda: deep(2, 3), "more than 8 bits a channel"),
    "16 bits grey with alpha": (lambda: deep(4, 2), "more than 8 bits a channel"),
    "16 bits colour with alpha": (lambda: deep(6, 4), "more than 8 bits a channel"),
    "32 bits": (lambda: encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "more than 8 bits a channel (mode I)"),
    "floats": (
        lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
        "more than 8 bits a channel (mode F)",
    ),
    "16 bits in a PPM": (lambda: b"P6 1 1 65535\n" + bytes(6), "more than 8 bits a channel"),
    "a JPEG that is cut": (lambda: encoded(Image.new("L", (64, 64)), "JPEG")[:-9], ""),
    "a PNG that is cut": (lambda: encoded(grey())[:-30], ""),
    "text": (lambda: b"<html>not found</html>", "cannot identify image file"),
    "nothing": (lambda: b"", "cannot identify image file"),
}


@pytest.mark.parametrize("file", REFUSED)
def test_files_that_are_refused(tmp_path: Path, file: str) -> None:
    make, piece = REFUSED[file]
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encoded(grey()))
    (tmp_path / "dog" / "2.png").write_bytes(make())
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert "whose train image 2 (dog/2.png) cannot be decoded: " in str(caught.value)
    assert piece in str(caught.value)


def folder(path: Path, **images: Image.Image) -> Path:
    for name, image in images.items():
        (path / name[0]).mkdir(exist_ok=True)
        image.save(path / name[0] / f"{name}.png")
    return path


BLACK = Image.new("L", (3, 2))
NOTES: dict[str, tuple[dict[str, Image.Image], list[str]]] = {
    "none": ({"a1": grey(), "b1": grey()}, []),
    "one colour": (
        {"a1": grey(), "a2": BLACK, "b1": grey(), "b2": Image.new("L", (3, 2), 9)},
        ["2 of 4 training images have one colour all over, such as a/a2.png"],
    ),
    "one colour, with three channels": (
        {"a1": grey(), "b1": Image.new("RGB", (3, 2), (1, 2, 3))}, ["1 of 2 training images have one colour all over"],
    ),
    "all of one colour": ({"a1": BLACK, "b1": BLACK}, ["2 of 2 training images have one colour all over, such as a/a1.png"]),
    "transparent": (
        {"a1": with_alpha("LA"), "b1": grey()},
        ["1 of the training images have transparent pixels, which are laid on white, such as a/a1.png"],
    ),
    "transparent all over": (
        {"a1": Image.new("LA", (3, 2), (0, 0)), "b1": grey()}, ["transparent pixels", "1 of 2 training images have one colour"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTES)
def test_what_is_told(tmp_path: Path, what: str) -> None:
    images, notes = NOTES[what]
    source = read_source(str(folder(tmp_path, **images)))
    assert len(source.notes) == len(notes), source.notes
    for note, part in zip(source.notes, notes, strict=True):
        assert part in note


def test_constant_images_on_the_disk_are_told_too(tmp_path: Path) -> None:
    source = read_source(str(folder(tmp_path, a1=grey(), b1=BLACK)), limit=0)
    assert source.notes == ("1 of 2 training images have one colour all over, such as b/b1.png",)


def test_idx_files_and_arrays_are_looked_through_too_unless_they_are_mapped_where_they_lie(tmp_path: Path) -> None:
    images = np.stack([RAMP, RAMP * 0, RAMP, RAMP])
    labels = np.array([1, 0, 0, 1])
    note = ("1 of 4 training images have one colour all over, such as number 1",)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    assert read_source(str(tmp_path / "set.npz")).notes == note
    assert read_source(str(tmp_path / "set.npz"), limit=0).notes == note
    (tmp_path / "idx").mkdir()
    for name, array in (("images", images), ("labels", labels)):
        (tmp_path / "idx" / f"train-{name}.idx").write_bytes(idx_bytes(array))
    assert read_source(str(tmp_path / "idx")).notes == note
    assert read_source(str(tmp_path / "idx"), limit=0).notes == ()


def test_an_image_of_one_pixel_is_nothing_to_tell(tmp_path: Path) -> None:
    assert read_source(str(folder(tmp_path, a1=Image.new("L", (1, 1)), b1=Image.new("L", (1, 1), 9)))).notes == ()
