"""What a live page is tried with: images to choose from, and images or text to measure the loss of rounding on.

`ffrecur.data` is not imported, because it brings Lightning, which takes seconds.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ffrecur.errors import UserError
from ffrecur.nets.character import CharNet
from ffrecur.storage.digits import TEST, digits_by_class

STORED, MEASURED = 20, 200  # images on the page; windows of text and random images that are compared


class Stored(NamedTuple):
    """Images of a page."""

    names: tuple[str, ...]
    pixels: np.ndarray  # (N, H, W) uint8


NONE = Stored((), np.zeros((0, 0, 0), np.uint8))


def digits() -> tuple[Stored, Tensor]:
    """Return two bundled test digits of each class, and all 500 as images `(500, 784)` from 0 to 1."""
    by_turns = digits_by_class()[:, TEST].swapaxes(0, 1).reshape(-1, 28, 28)
    names = tuple(f"test image {1 + number // 10} of a {number % 10}" for number in range(STORED))
    return Stored(names, by_turns[:STORED]), torch.from_numpy(by_turns.reshape(-1, 784)) / 255


def images_of_folder(folder: str) -> Stored:
    """Return the images of a folder in the order of their names, as grey values.

    Raises `UserError` for a folder that cannot be read, that has none or more than 20 of them, or images of several sizes.
    """
    try:
        files = sorted(file for file in Path(folder).iterdir() if file.is_file() and not file.name.startswith("."))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"images is '{folder}', which cannot be read as a folder: {reason}") from error
    if not 1 <= len(files) <= STORED:
        raise UserError(f"images is '{folder}', a folder of {len(files)} files, but must have 1 to {STORED} images")
    rows = []
    for file in files:
        try:
            with Image.open(file) as image:
                rows.append(np.asarray(image.convert("L")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"images is '{folder}', whose {file.name} cannot be read as an image") from error
        if rows[-1].shape != rows[0].shape:
            raise UserError(f"images is '{folder}', whose {file.name} has another size than {files[0].name}")
    return Stored(tuple(file.stem for file in files), np.stack(rows))


def random_images(features: int) -> Tensor:
    """Return images `(200, D)` of random numbers from 0 to 1, always the same."""
    return torch.rand(MEASURED, features, generator=torch.Generator().manual_seed(0))


def windows_to_measure(net: CharNet) -> tuple[Tensor, str]:
    """Return windows `(200, W)` of the bundled fables and what they are, or random ones where the fables have too few."""
    text = resources.files("ffrecur").joinpath("data", "fables.txt").read_text(encoding="utf-8")
    known = set(net.alphabet.symbols)
    numbers = net.encode("".join(character for character in net.alphabet.fold(text) if character in known))
    places = len(numbers) - net.window
    if places < MEASURED:
        shape, generator = (MEASURED, net.window), torch.Generator().manual_seed(0)
        return torch.randint(len(net.alphabet), shape, generator=generator), "random windows"
    starts = torch.arange(MEASURED) * places // MEASURED
    return numbers[starts[:, None] + torch.arange(net.window)], "windows of the bundled fables"
