"""Scenes that take time to read: each turns a still image into a video of which no single frame shows all.

Shapes: B images, T frames, D = height * width * channels of one, flattened row, column, channel; K random numbers an image.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ffrecur.data.augment import ShapeOfImage
from ffrecur.errors import check_setting, check_whole, is_number
from ffrecur.seeding import normal_of

TURN = 2 * math.pi


class Scene(ABC):
    """Base of what `SceneDataModule` shows of an image, frame after frame; the command line takes it as `data.scene`.

    All that is random comes from the numbers that an image is given, as in an `Augmentation`.
    """

    @abstractmethod
    def numbers(self, image_shape: ShapeOfImage, frames: int) -> int:
        """Return how many random numbers an image takes; raises `UserError` for images or frames that do not fit."""

    @abstractmethod
    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage, frames: int) -> Tensor:
        """Return videos, `(B, T, D)` uint8: each from its own row and numbers alone, which are uniform in [0, 1)."""


@dataclass(frozen=True)
class NoisyFrames(Scene):
    """Every pixel of every frame has Gaussian noise of its own; what leaves the range of a pixel is cut.

    Frame t is `min(max(image + deviation * noise_t, 0), 1)`, in units of the brightest pixel.

    Args:
        deviation: standard deviation of the noise, greater than 0; a pixel reaches from 0 to 1.

    Raises:
        UserError: a setting outside its range.
    """

    deviation: float = 1.0

    def __post_init__(self) -> None:
        allowed = is_number(self.deviation) and self.deviation > 0
        check_setting(allowed, "NoisyFrames.deviation", self.deviation, "a finite number greater than 0")

    def numbers(self, image_shape: ShapeOfImage, frames: int) -> int:
        """See `Scene.numbers`: one for each value of each frame."""
        return frames * math.prod(image_shape)

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage, frames: int) -> Tensor:
        """See `Scene`."""
        noise_BTD = normal_of(noise_BK).mul_(255 * self.deviation).view(len(images_BD), frames, -1)
        return noise_BTD.add_(images_BD[:, None]).round_().clamp_(0, 255).byte()


@dataclass(frozen=True)
class SweepingBar(Scene):
    """A grey bar sweeps across, from one side to the other: to the right, to the left, down or up.

    It reaches across the whole image and hides what is behind it. In frame 1 it lies at one side, in frame T at the other,
    so that every pixel is seen in the first frame or in the last.

    Args:
        pixels: how wide it is, at least 1 and at most half of the image's shorter side.

    Raises:
        UserError: a setting outside its range; in `numbers`, a bar too wide for the images, or less than two frames.
    """

    pixels: int = 12

    def __post_init__(self) -> None:
        check_whole("SweepingBar.pixels", self.pixels)

    def numbers(self, image_shape: ShapeOfImage, frames: int) -> int:
        """See `Scene.numbers`: one for the direction."""
        height, width = image_shape[:2]
        half = f"at most half of the height and of the width of the images, which are {height}x{width}"
        check_setting(2 * self.pixels <= min(height, width), "SweepingBar.pixels", self.pixels, half)
        check_setting(frames >= 2, "data.frames", frames, "at least 2: a bar has to move")
        return 1

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage, frames: int) -> Tensor:
        """See `Scene`."""
        height, width, channels = *image_shape[:2], math.prod(image_shape[2:])
        video_BTHWC = images_BD.view(-1, 1, height, width, channels).repeat(1, frames, 1, 1, 1)
        direction_B = (noise_BK[:, 0] * 4).long()
        for direction in range(4):
            mine = (direction_B == direction).nonzero().squeeze(1)
            along = width if direction < 2 else height
            for frame, start in enumerate(places(along - self.pixels, frames)):
                start = start if direction % 2 == 0 else along - self.pixels - start
                bar = slice(start, start + self.pixels)
                video_BTHWC[(mine, frame, slice(None), bar) if direction < 2 else (mine, frame, bar)] = 128
        return video_BTHWC.flatten(2)


@dataclass(frozen=True)
class Aperture(Scene):
    """Only what lies in a square window is seen; the window moves over the image, and all outside of it is black.

    It goes to and fro in rows, as one reads a page, or in columns, from any of the four corners: one of 8 paths. Together the
    T frames show every pixel.

    Args:
        pixels: height and width of the window, at least 1, and so large that T windows cover the image.

    Raises:
        UserError: a setting outside its range; in `numbers`, a window that is larger than the images or too small for them.
    """

    pixels: int = 14

    def __post_init__(self) -> None:
        check_whole("Aperture.pixels", self.pixels)

    def numbers(self, image_shape: ShapeOfImage, frames: int) -> int:
        """See `Scene.numbers`: one for the path."""
        sides = image_shape[:2]
        fits = self.pixels <= min(sides) and math.prod(-(-side // self.pixels) for side in sides) <= frames
        size = f"{sides[0]}x{sides[1]}"
        rule = f"at most the shorter side of the images, {size}, and so many that {frames} windows cover them"
        check_setting(fits, "Aperture.pixels", self.pixels, rule)
        return 1

    def path(self, height: int, width: int, frames: int) -> list[tuple[int, int]]:
        """Return the window's top left corner in each frame, in rows from the top left."""
        rows, corners = -(-height // self.pixels), []
        for row, top in enumerate(places(height - self.pixels, rows)):
            count = frames * (row + 1) // rows - frames * row // rows
            lefts = places(width - self.pixels, count)
            corners += [(top, left) for left in (lefts if row % 2 == 0 else reversed(lefts))]
        return corners

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage, frames: int) -> Tensor:
        """See `Scene`."""
        height, width, channels = *image_shape[:2], math.prod(image_shape[2:])
        seen_8THW = torch.zeros(8, frames, height, width, dtype=torch.uint8)
        for number in range(8):  # in columns, from below, from the right
            columns, below, right = number & 4, number & 2, number & 1
            path = self.path(width, height, frames) if columns else self.path(height, width, frames)
            for frame, corner in enumerate(path):
                top, left = corner[::-1] if columns else corner
                seen_8THW[number, frame, top : top + self.pixels, left : left + self.pixels] = 1
            turned = [axis for axis, far in ((1, below), (2, right)) if far]
            seen_8THW[number] = seen_8THW[number].flip(turned)
        seen_BTD = seen_8THW[(noise_BK[:, 0] * 8).long()].flatten(2).repeat_interleave(channels, dim=2)
        return images_BD[:, None] * seen_BTD


@dataclass(frozen=True)
class MovingClutter(Scene):
    """White strokes move over the image, each straight on with a place, a direction and a slant of its own.

    A frame is the brighter of image and strokes, pixel by pixel. The strokes come from the numbers alone: no other image is
    needed, and none is shown. A stroke is about as wide as those of a digit and a third of the shorter side long; it moves by
    a tenth of that side a frame, and what leaves at one side comes in at the other.

    Args:
        strokes: how many there are, at least 1.

    Raises:
        UserError: a setting outside its range.
    """

    strokes: int = 6

    def __post_init__(self) -> None:
        check_whole("MovingClutter.strokes", self.strokes)

    def numbers(self, image_shape: ShapeOfImage, frames: int) -> int:
        """See `Scene.numbers`: two for the place, one for the direction and one for the slant of each stroke."""
        return 4 * self.strokes

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage, frames: int) -> Tensor:
        """See `Scene`: of each stroke, the distance of every pixel from its line."""
        height, width, channels = *image_shape[:2], math.prod(image_shape[2:])
        side = min(height, width)
        half, thick = side / 6, side / 28
        time_T = torch.arange(frames) * (side / 10)
        row_H1, column_W = torch.arange(height)[:, None], torch.arange(width)
        outside_BTHW = torch.full((len(images_BD), frames, height, width), math.inf)
        for noise_B4 in noise_BK.view(len(images_BD), self.strokes, 4).unbind(1):
            down_B, right_B, direction_B, slant_B = noise_B4.unbind(1)
            # The middle of a stroke goes round, as far outside as it takes to hide the stroke.
            down_BT = self.gone_round(down_B, height, half, time_T * torch.sin(direction_B * TURN)[:, None])
            right_BT = self.gone_round(right_B, width, half, time_T * torch.cos(direction_B * TURN)[:, None])
            down_BTH1, right_BT1W = row_H1 - down_BT[..., None, None], column_W - right_BT[..., None, None]
            sine_B111, cosine_B111 = (f(slant_B * TURN / 2)[:, None, None, None] for f in (torch.sin, torch.cos))
            along_BTHW = (down_BTH1 * sine_B111 + right_BT1W * cosine_B111).abs_().sub_(half)
            across_BTHW = (right_BT1W * sine_B111 - down_BTH1 * cosine_B111).abs_().sub_(thick)
            torch.minimum(outside_BTHW, torch.maximum(along_BTHW, across_BTHW, out=along_BTHW), out=outside_BTHW)
        # One pixel of grey at the border.
        strokes_BTHW = outside_BTHW.mul_(-255).add_(127.5).clamp_(0, 255).byte()
        strokes_BTD = strokes_BTHW.flatten(2).repeat_interleave(channels, dim=2)
        return torch.maximum(images_BD[:, None], strokes_BTD)

    @staticmethod
    def gone_round(start_B: Tensor, size: int, half: float, moved_BT: Tensor) -> Tensor:
        """Return where a stroke's middle is along one direction, from `-half` to `size + half`."""
        return (start_B[:, None] * (size + 2 * half) + moved_BT) % (size + 2 * half) - half


def places(last: int, count: int) -> list[int]:
    """Return `count` whole numbers from 0 to `last`, as even as can be; 0 alone for a single one.

    >>> places(14, 4), places(5, 1)
    ([0, 4, 9, 14], [0])
    """
    return [number * last // max(1, count - 1) for number in range(count)]
