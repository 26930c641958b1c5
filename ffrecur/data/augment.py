"""Training images that are changed anew each epoch: a list of changes, such as `Shift`, in the order in which they are made.

Shapes: B images, D = height * width * channels of one, flattened row, column, channel; K random numbers an image.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ffrecur.data.loader import TensorLoader
from ffrecur.errors import UserError, check_number, check_setting, check_whole
from ffrecur.seeding import uniform_at

ShapeOfImage = Sequence[int]  # (H, W), or (H, W, 3) for colour


class Augmentation(ABC):
    """Base of the changes of training images that the command line takes by class path, in `data.augment`.

    All that is random comes from the numbers that an image is given. They are a function of the seed, the epoch, the place of
    the image in the epoch and the place of the change in the list: batches, processes and stops change nothing.
    """

    @abstractmethod
    def numbers(self, image_shape: ShapeOfImage) -> int:
        """Return how many random numbers an image takes; raises `UserError` for images that cannot be changed so."""

    @abstractmethod
    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """Return the changed images, `(B, D)` uint8: each by its own row and numbers alone, which are uniform in [0, 1)."""


@dataclass(frozen=True)
class Shift(Augmentation):
    """Each image is shifted by whole pixels, down or up and to the right or left; what comes in at its borders is black.

    All (2 * pixels + 1)**2 shifts are equally likely, no shift among them.

    Args:
        pixels: the farthest that an image is shifted in either direction, at least 0 and less than its height and width.

    Raises:
        UserError: a setting outside its range.

    >>> Shift(1)(torch.tensor([[1, 2, 3, 4]], dtype=torch.uint8), torch.tensor([[0.5, 0.9]]), (2, 2))
    tensor([[0, 1, 0, 3]], dtype=torch.uint8)
    """

    pixels: int = 2

    def __post_init__(self) -> None:
        check_whole("Shift.pixels", self.pixels, 0)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: one for each direction."""
        height, width = image_shape[:2]
        allowed = f"less than the height and the width of the images, which are {height}x{width}"
        check_setting(self.pixels < min(height, width), "Shift.pixels", self.pixels, allowed)
        return 2

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`: of each image with a black border, the window that shows it shifted."""
        height, width, channels = *image_shape[:2], math.prod(image_shape[2:])
        border = self.pixels
        images_BHWC = images_BD.view(-1, height, width, channels)
        bordered_BN = pad(images_BHWC, (0, 0, border, border, border, border)).flatten(1)
        row = (width + 2 * border) * channels
        window_D = (torch.arange(height)[:, None] * row + torch.arange(width * channels)).flatten()
        # The window moves against the image.
        top_B, left_B = (2 * border - (noise_BK * (2 * border + 1)).long()).unbind(dim=1)
        return bordered_BN.gather(1, window_D + (top_B * row + left_B * channels)[:, None])


@dataclass(frozen=True)
class Flip(Augmentation):
    """A share of the images is mirrored, left for right.

    Args:
        share: how likely an image is mirrored, from 0 to 1.

    Raises:
        UserError: a share outside its range.

    >>> Flip()(torch.tensor([[1, 2, 3, 4]] * 2, dtype=torch.uint8), torch.tensor([[0.4], [0.6]]), (2, 2))
    tensor([[2, 1, 4, 3],
            [1, 2, 3, 4]], dtype=torch.uint8)
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_number("Flip.share", self.share, 1)

    def numbers(self, image_shape: ShapeOfImage) -> int:
        """See `Augmentation.numbers`: one."""
        return 1

    def __call__(self, images_BD: Tensor, noise_BK: Tensor, image_shape: ShapeOfImage) -> Tensor:
        """See `Augmentation`."""
        height, width, channels = *image_shape[:2], math.prod(image_shape[2:])
        mirrored_BD = images_BD.view(-1, height, width, channels).flip(2).flatten(1)
        return torch.where(noise_BK < self.share, mirrored_BD, images_BD)


class AugmentedLoader(TensorLoader):
    """Iterates over training batches whose images, the first of `tensors`, are changed.

    Without `shuffle` they are not: the batches are then to be the same every epoch.
    """

    def __init__(
        self, augment: Sequence[Augmentation], image_shape: ShapeOfImage, tensors: Sequence[Any], *arguments: Any
    ) -> None:
        super().__init__(tensors, *arguments)
        self.augment, self.image_shape = augment, image_shape

    def changed(self, samples: tuple[Tensor, ...], first: int) -> tuple[Tensor, ...]:
        """Return the samples with changed images; `first` is the place of the first one in the epoch."""
        if not self.shuffle:
            return samples
        images, *others = samples
        return augmented(images, self.augment, self.image_shape, first, self.seed, self.epoch), *others


def augmented(
    images: Tensor, augment: Sequence[Augmentation], image_shape: ShapeOfImage, first: int, *key: int
) -> Tensor:
    """Return images `(B, D)`, or videos `(B, T, D)` all of whose frames are changed alike, after every change of a list.

    They come from place `first` of an epoch on; `key` is its seed and its number. Raises `UserError` for a change that makes
    no images of the same size.
    """
    frames = images.shape[1:-1].numel()
    rows_BD = images.flatten(0, -2)
    for number, change in enumerate(augment):
        noise_BK = uniform_at(first, len(images), change.numbers(image_shape), *key, number)
        made = change(rows_BD, noise_BK.repeat_interleave(frames, dim=0), image_shape)
        if made.shape != rows_BD.shape or made.dtype != torch.uint8:
            raise UserError(
                f"data.augment has a {type(change).__name__}, which makes {tuple(made.shape)} of {made.dtype}, but must make "
                f"{tuple(rows_BD.shape)} of torch.uint8: images of the same size"
            )
        rows_BD = made
    return rows_BD.view(images.shape)


def check_augment(augment: object) -> None:
    """Raise `UserError` for what is no list of changes."""
    allowed = augment is None or (
        isinstance(augment, Sequence) and all(isinstance(change, Augmentation) for change in augment)
    )
    check_setting(allowed, "data.augment", augment, "a list of ffrecur.data.Augmentation, such as [Shift(2)], or null")
