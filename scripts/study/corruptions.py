"""The corruptions of corruption.py: images in [0, 1] made worse, each in five strengths.

All that is random comes from uniform numbers that an image is given, the same at every strength: a function of the corruption
and of the image's place in its split. Lengths are in pixels of an image of 28x28; on others they grow with the shorter side.

Shapes: B images, D = height * width * channels of one, flattened row, column, channel; K random numbers an image; T frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ffrecur.data.drift import DIRECTIONS
from ffrecur.seeding import normal_of, uniform_at

SIDE, FRAMES, IN_PLACE = 28, 8, 4  # IN_PLACE: the frame, counted from 1, that shows a drifting image in its place
Shape = Sequence[int]  # (H, W), or (H, W, 3) for colour
Change = Callable[[Tensor, float, Tensor, Shape], Tensor]  # images (B, D), strength, numbers (B, K), shape


class Corruption(NamedTuple):
    """What is done to images, and how strongly."""

    change: Change  # to images (B, D), or videos (T, B, D)
    columns: int | None  # random numbers an image, K; None is one for each of its values
    what: str  # the strength, as a picture names it
    strengths: tuple[float, ...]


def noisy(images_BD: Tensor, deviation: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Gaussian noise on every value, cut to [0, 1] again."""
    return uncut(images_BD, deviation, numbers_BK, shape).clamp(0, 1)


def uncut(images_BD: Tensor, deviation: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Gaussian noise on every value."""
    return images_BD + deviation * normal_of(numbers_BK)


def salted(images_BD: Tensor, share: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Salt and pepper: a share of the pixels is black or white, each as likely."""
    pixels_BP1 = numbers_BK[:, : shape[0] * shape[1], None]
    values_BPC = images_BD.unflatten(1, (shape[0] * shape[1], -1))
    made_BPC = values_BPC.masked_fill(pixels_BP1 < share, 0).masked_fill(pixels_BP1 < share / 2, 1)
    return made_BPC.flatten(1)


def occluded(images_BD: Tensor, side: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """A black square somewhere, wholly inside."""
    length = pixels_of(side, shape)
    inside = []
    for size, number_B in zip(shape[:2], numbers_BK.unbind(dim=1), strict=True):
        first_B1 = (number_B * (size - length + 1)).long()[:, None]
        inside.append((torch.arange(size) >= first_B1) & (torch.arange(size) < first_B1 + length))
    square_BHW1 = (inside[0][:, :, None] & inside[1][:, None])[..., None]
    return as_grid(images_BD, shape).masked_fill(square_BHW1, 0).flatten(1)


def blurred(images_BD: Tensor, deviation: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """The mean of the neighbours, weighted by a Gaussian that ends after three deviations; borders are repeated."""
    deviation = deviation * min(shape[:2]) / SIDE
    radius = math.ceil(3 * deviation)
    weights = [math.exp(-((place / deviation) ** 2) / 2) for place in range(-radius, radius + 1)]
    made = as_grid(images_BD, shape).permute(0, 3, 1, 2)
    for axis, border in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        wide, length = pad(made, border, mode="replicate"), made.shape[axis]
        made = torch.zeros_like(made)
        for first, weight in enumerate(weights):
            made += weight / sum(weights) * wide.narrow(axis, first, length)
    return made.permute(0, 2, 3, 1).flatten(1)


def dimmed(images_BD: Tensor, factor: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Less contrast: what is left is this share of each value's distance from the image's mean."""
    mean_B1 = images_BD.mean(dim=1, keepdim=True)
    return mean_B1 + factor * (images_BD - mean_B1)


def on_grey(images_BD: Tensor, level: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """A grey background: black becomes the level, white stays white."""
    return level + (1 - level) * images_BD


def rotated(images_BD: Tensor, degrees: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Turned about the middle, clockwise or not, each as likely; between pixels linear, and black from outside."""
    height, width = shape[:2]
    images_BNC = pad(as_grid(images_BD, shape), (0, 0, 1, 1, 1, 1)).flatten(1, 2)  # with a black border
    middle = ((height - 1) / 2, (width - 1) / 2)
    down, right = torch.arange(height)[:, None] - middle[0], torch.arange(width) - middle[1]
    turned = []
    for angle in (math.radians(degrees), -math.radians(degrees)):
        row = math.cos(angle) * down - math.sin(angle) * right + middle[0]
        column = math.sin(angle) * down + math.cos(angle) * right + middle[1]
        made = torch.zeros_like(images_BNC[:, : height * width])
        for row_step, column_step in ((0, 0), (0, 1), (1, 0), (1, 1)):
            near_row, near_column = row.floor() + row_step, column.floor() + column_step
            weight = (1 - (row - near_row).abs()) * (1 - (column - near_column).abs())
            place = (near_row.clamp(-1, height) + 1) * (width + 2) + near_column.clamp(-1, width) + 1
            made += weight.flatten()[:, None] * images_BNC[:, place.long().flatten()]
        turned.append(made.flatten(1))
    return torch.where(numbers_BK < 0.5, turned[0], turned[1])


def shifted(images_BD: Tensor, distance: float, numbers_BK: Tensor, shape: Shape) -> Tensor:
    """Moved by so many pixels in one of the 8 compass directions; what comes in is black."""
    return moved(images_BD, numbers_BK[:, 0], pixels_of(distance, shape), shape)


def drifting(images_BD: Tensor, speed: float, numbers_BK: Tensor, shape: Shape, frames: int = FRAMES) -> Tensor:
    """Videos `(T, B, D)` of images that move so many pixels a frame in one of 8 directions; in their place at frame 4."""
    steps = [pixels_of(speed, shape) * (frame - IN_PLACE) for frame in range(1, frames + 1)]
    return torch.stack([moved(images_BD, numbers_BK[:, 0], step, shape) for step in steps])


def moved(images_BD: Tensor, numbers_B: Tensor, step: int, shape: Shape) -> Tensor:
    """Each image moved by `step` pixels, backwards where it is below 0, in the direction of its number."""
    grid, margin = as_grid(images_BD, shape), abs(step)
    wide, made = pad(grid, (0, 0, margin, margin, margin, margin)), torch.empty_like(grid)
    for number, (down, right) in enumerate(DIRECTIONS):
        mine = (numbers_B * len(DIRECTIONS)).long() == number
        top, left = margin - down * step, margin - right * step  # the window moves against the image
        made[mine] = wide[mine, top : top + shape[0], left : left + shape[1]]
    return made.flatten(1)


def as_grid(images_BD: Tensor, shape: Shape) -> Tensor:
    """Return images as `(B, H, W, C)`."""
    return images_BD.view(-1, *shape[:2], math.prod(shape[2:]))


def pixels_of(length: float, shape: Shape) -> int:
    """Return a length in pixels of an image of this shape, at least 1.

    >>> pixels_of(4, (28, 28)), pixels_of(4, (32, 40, 3)), pixels_of(1, (6, 5))
    (4, 5, 1)
    """
    return max(1, round(length * min(shape[:2]) / SIDE))


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(noisy, None, "deviation of the noise, cut", (0.1, 0.2, 0.3, 0.4, 0.5)),
    "noise not cut": Corruption(uncut, None, "deviation of the noise", (0.2, 0.4, 0.6, 0.8, 1.0)),
    "salt and pepper": Corruption(salted, None, "share of the pixels", (0.05, 0.1, 0.15, 0.2, 0.3)),
    "occlusion": Corruption(occluded, 2, "side of the square", (4, 6, 8, 10, 12)),
    "blur": Corruption(blurred, 0, "deviation of the blur", (1, 1.5, 2, 2.5, 3)),
    "contrast": Corruption(dimmed, 0, "contrast that is left", (0.7, 0.5, 0.3, 0.2, 0.1)),
    "background": Corruption(on_grey, 0, "grey of the background", (0.05, 0.1, 0.2, 0.3, 0.5)),
    "rotation": Corruption(rotated, 1, "degrees", (10, 20, 30, 40, 50)),
    "shift": Corruption(shifted, 1, "pixels", (1, 2, 3, 4, 5)),
    "drift": Corruption(drifting, 1, "pixels a frame", (1, 2, 3, 4, 5)),
}
APART = "drift, frame by frame"  # the same videos, of which every net reads one frame at a time


def corrupted(name: str, strength: float, images_BD: Tensor, first: int, shape: Shape, frames: int = FRAMES) -> Tensor:
    """Return images of a split, from place `first` on, with a corruption: `(B, D)`, or videos `(T, B, D)` of `frames`."""
    name = "drift" if name == APART else name
    change, columns, *_ = CORRUPTIONS[name]
    change = partial(drifting, frames=frames) if name == "drift" else change
    count = images_BD.shape[1] if columns is None else columns
    numbers_BK = uniform_at(first, len(images_BD), count, 0, *name.encode())
    return change(images_BD, strength, numbers_BK, shape)
