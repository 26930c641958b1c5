"""Negative images for unsupervised Forward-Forward: hybrids of two images (section 3.2).

Shapes: B cases, D features of an image, P pixels, D = P times the channels. Images are flattened row, column, channel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.errors import UserError, check_setting, check_whole


class ImageNegatives(ABC):
    """Base of the negative images that the command line takes by class path."""

    @abstractmethod
    def __call__(self, images_BD: Tensor, others_BD: Tensor, noise_BP: Tensor, image_shape: Sequence[int]) -> Tensor:
        """Return a negative image for each image, `(B, D)`.

        `others` are the images that it is paired with, each that of another case; the noise is uniform in [0, 1).
        """


@dataclass(frozen=True)
class Hybrids(ImageNegatives):
    """`mask * image + (1 - mask) * other`, with masks of large regions; see `hybrid_masks`.

    Args:
        blurs: how often the random bits of a mask are blurred, at least 0; the more, the larger its regions.

    Raises:
        UserError: a setting outside its range.
    """

    blurs: int = 6

    def __post_init__(self) -> None:
        check_whole("blurs", self.blurs, 0)

    def __call__(self, images_BD: Tensor, others_BD: Tensor, noise_BP: Tensor, image_shape: Sequence[int]) -> Tensor:
        """See `ImageNegatives`."""
        mask_BP = hybrid_masks(noise_BP, image_shape, self.blurs)
        mask_BD = mask_BP.repeat_interleave(images_BD.shape[1] // mask_BP.shape[1], dim=1)
        return torch.where(mask_BD, images_BD, others_BD)


def hybrid_masks(noise_BP: Tensor, image_shape: Sequence[int], blurs: int = 6) -> Tensor:
    """Return masks with large regions, `(B, P)` of bool, from noise that is uniform in [0, 1).

    Random bits, blurred `blurs` times with [1/4, 1/2, 1/4] in both directions, with replicated borders; what is above 0.5 is
    in the mask (section 3.2).

    >>> hybrid_masks(torch.tensor([[0.9, 0.8, 0.1, 0.7]]), (1, 4), blurs=1)
    tensor([[ True,  True, False,  True]])
    """
    height, width = image_shape[:2]
    bits_BHW = (noise_BP >= 0.5).to(noise_BP.dtype).unflatten(1, (height, width))
    blurred_BHW = blur(height, blurs, noise_BP) @ bits_BHW @ blur(width, blurs, noise_BP).t()
    return (blurred_BHW > 0.5).flatten(1)


def blur(size: int, times: int, like: Tensor) -> Tensor:
    """Return the matrix `(size, size)` that blurs a row so many times: all blurs at once, exact in float32 up to 6 of them."""
    blurred = torch.eye(size, dtype=like.dtype, device=like.device)[:, None]
    for _ in range(times):
        padded = F.pad(blurred, (1, 1), mode="replicate")
        blurred = padded[..., :-2] / 4 + padded[..., 1:-1] / 2 + padded[..., 2:] / 4
    return blurred[:, 0].t()


def hybrid_images(
    images_BD: Tensor,
    others_BD: Tensor,
    image_shape: Sequence[int],
    blurs: int = 6,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return hybrids of two images each, `(B, D)`: `mask * image + (1 - mask) * other`, one mask for all channels.

    Args:
        images_BD: images.
        others_BD: what each is mixed with.
        image_shape: (H, W), or (H, W, C) for C channels.
        blurs: see `hybrid_masks`.
        generator: of the masks; they are drawn on the CPU, so that a seed means the same on any device.

    Raises:
        UserError: images of another shape, or fewer than 0 blurs.
    """
    if images_BD.shape != others_BD.shape or images_BD.ndim != 2 or images_BD.shape[1] != math.prod(image_shape):
        found = f"{tuple(images_BD.shape)} and {tuple(others_BD.shape)}"
        raise UserError(f"images have the shapes {found}, but must both have (batch, {math.prod(image_shape)})")
    noise_BP = torch.rand(len(images_BD), math.prod(image_shape[:2]), generator=generator).to(images_BD.device)
    return Hybrids(blurs)(images_BD, others_BD, noise_BP, image_shape)


def partners(cases: int, count: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Return `count` other cases for each case, `(count, cases)`: those that follow it in a random circle.

    Each row is a permutation without fixed points, and no case is paired with another twice. Raises `UserError` for fewer
    cases than that takes.
    """
    check_setting(cases >= 2, "batch", cases, "at least 2 images where negatives are hybrids of two")
    check_setting(1 <= count < cases, "negatives_per_case", count, f"less than the {cases} images of a batch")
    circle = torch.randperm(cases, generator=generator)
    place = circle.argsort()
    return torch.stack([circle[(place + step) % cases] for step in range(1, count + 1)])
