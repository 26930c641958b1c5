"""Changes of training images that make a net robust: noise on the pixels, less contrast, a grey background, a square cut out.

What is drawn for an image lies between nothing and the strength of the setting, so clean images are learned as well. Values
are worked out in float64 and rounded to the nearest whole number, halves to the even one.

Shapes: B images, D = height * width * channels of one, flattened row, column, channel; K random numbers an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ffrecur.data.augment import Augmentation, ShapeOfImage
from ffrecur.errors import check_number, check_setting, check_whole
from ffrecur.seeding import normal_of


@dataclass(frozen=True)
class PixelNoise(Augmentation):
    """Gaussian noise on every value of an image, which is then cut to black and white.

    `x + 255 * s * z` with z normal, drawn for each value, and s uniform from 0 to `deviation`, drawn for each image. What is
    below 0 becomes 0 and what is above 255 becomes 255, so that a black background gets brighter.

    Args:
        deviation: the largest standard deviation of the noise, at least 0; white is 1.

    Raises:
        UserError: a setting outside its range.

    >>> PixelNoise(0.5)(torch.tensor([[0, 100, 100]], dtype=torch.uint8), torch.tensor([[0.8, 0.8413, 0.5, 0.1587]]), (1, 3))
    tensor([[102, 100,   0]], dtype=torch.uint8)
    """

    deviation: float = 0.3

    def __post_init__(self) -> None:
        check_number("PixelNoise.deviation", self.deviation, math.inf)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: one for the deviation, and one for each value."""
        return 1 + math.prod(image_shape)

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`."""
        deviations_B1 = 255 * self.deviation * noise_BK[:, :1].double()
        return _bytes(images_BD + deviations_B1 * normal_of(noise_BK[:, 1:]))


@dataclass(frozen=True)
class Contrast(Augmentation):
    """Each image has less contrast: its values come nearer to their mean.

    `m + c * (x - m)` with c uniform from `lowest` to 1, drawn for each image; m is the mean of all its values, those of all
    colours. Values that are only multiplied would change nothing, since nets normalise what they read.

    Args:
        lowest: the smallest factor c, from 0 to 1.

    Raises:
        UserError: a setting outside its range.

    >>> Contrast(0.2)(torch.tensor([[0, 100, 200]], dtype=torch.uint8), torch.tensor([[0.375]]), (1, 3))
    tensor([[ 50, 100, 150]], dtype=torch.uint8)
    """

    lowest: float = 0.3

    def __post_init__(self) -> None:
        check_number("Contrast.lowest", self.lowest, 1)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: the factor."""
        return 1

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`."""
        factors_B1 = self.lowest + (1 - self.lowest) * noise_BK.double()
        means_B1 = images_BD.sum(dim=1, keepdim=True, dtype=torch.long).double() / images_BD.shape[1]
        return _bytes(means_B1 + factors_B1 * (images_BD - means_B1))


@dataclass(frozen=True)
class Background(Augmentation):
    """The black of each image becomes grey, and what is between black and white comes nearer to white.

    `255 - (1 - g) * (255 - x)` with g uniform from 0 to `brightest`, drawn for each image: black becomes `255 * g`, white stays.

    Args:
        brightest: the brightest grey g, from 0 to 1; white is 1.

    Raises:
        UserError: a setting outside its range.

    >>> Background(0.8)(torch.tensor([[0, 55, 255]], dtype=torch.uint8), torch.tensor([[0.25]]), (1, 3))
    tensor([[ 51,  95, 255]], dtype=torch.uint8)
    """

    brightest: float = 0.5

    def __post_init__(self) -> None:
        check_number("Background.brightest", self.brightest, 1)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: the grey."""
        return 1

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`."""
        kept_B1 = 1 - self.brightest * noise_BK.double()
        return _bytes(255 - kept_B1 * (255 - images_BD.double()))


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square of each image becomes black (DeVries and Taylor 2017, arXiv 1708.04552; there all squares have one size).

    Its side is a whole number of pixels from 0 to `side`, all equally likely. So are all of its places, those where some of
    it lies outside the image among them.

    Args:
        side: the longest side, in pixels, at least 0 and less than the height and width of the images.

    Raises:
        UserError: a setting outside its range.

    >>> Cutout(1)(torch.tensor([[1, 2, 3, 4]], dtype=torch.uint8), torch.tensor([[0.5, 0.5, 0.0]]), (2, 2))
    tensor([[1, 2, 0, 4]], dtype=torch.uint8)
    """

    side: int = 8

    def __post_init__(self) -> None:
        check_whole("Cutout.side", self.side, 0)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: the side and the place."""
        height, width = image_shape[:2]
        allowed = f"less than the height and the width of the images, which are {height}x{width}"
        check_setting(self.side < min(height, width), "Cutout.side", self.side, allowed)
        return 3

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`."""
        height, width = image_shape[:2]
        sides_B1 = (noise_BK[:, :1] * (self.side + 1)).long()

        def covered(place_B1: Tensor, length: int) -> Tensor:
            """Which of the rows, or columns, the square covers: it begins at one from 1 - side to length - 1."""
            first_B1 = (place_B1 * (length + sides_B1 - 1)).long() + 1 - sides_B1
            return (torch.arange(length) >= first_B1) & (torch.arange(length) < first_B1 + sides_B1)

        rows_BH, columns_BW = covered(noise_BK[:, 1:2], height), covered(noise_BK[:, 2:], width)
        square_BHW1 = (rows_BH[:, :, None] & columns_BW[:, None])[..., None]
        return images_BD.view(-1, height, width, math.prod(image_shape[2:])).masked_fill(square_BHW1, 0).flatten(1)


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).byte()
