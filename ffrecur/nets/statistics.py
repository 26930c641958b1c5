"""Normalisation of images by the mean and the deviation of each channel, as found in the training images."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ffrecur.errors import check_setting
from ffrecur.nets.arguments import as_images

CHUNK = 2**22  # values that are looked at together


class Images(Protocol):
    """Images, or videos, that may lie on the disk: a slice of them reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


class ChannelStatistics(nn.Module):
    """Take the mean of its channel off each value of an image and divide it by the channel's deviation, `(..., D)`.

    Until `learn` has seen images, the means are 0 and the deviations 1. Both are kept for each feature, and in checkpoints.

    Args:
        in_features: features of an image, D.
    """

    mean: Tensor  # (D,)
    deviation: Tensor  # (D,)

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("deviation", torch.ones(in_features))

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images, of uint8 or in [0, 1]."""
        scale = scale_of(images)
        images = images.to(self.mean.dtype)
        return ((images if scale == 1 else images / scale) - self.mean) / self.deviation

    @torch.no_grad()
    def learn(self, images: Images | np.ndarray, channels: int = 1) -> None:
        """Find means and deviations of the channels in images `(N, D)`, of uint8 or in [0, 1], row, column, channel; or in clips.

        Clips are `(N, T, D)`. What lies on the disk is read part by part. A channel that is the same everywhere keeps the
        deviation 1. Raises `UserError` for a number of channels that does not divide D, for no images, and as
        `arguments.as_images` for those that are not of the net or not in [0, 1].
        """
        features = len(self.mean)
        check_setting(
            channels >= 1 and features % channels == 0, "channels", channels, f"a divisor of the {features} features"
        )
        check_setting(len(images) > 0, "images", tuple(getattr(images, "shape", (0,))), "at least one")
        sums, squares, count = torch.zeros(channels).double(), torch.zeros(channels).double(), 0
        size = max(1, CHUNK // math.prod(images[:1].shape))
        for start in range(0, len(images), size):
            part: Any = images[start : start + size]
            chunk = as_images(part, part if isinstance(part, Tensor) else sums, features, scaled=True)
            values = chunk.reshape(-1, channels).double() / scale_of(chunk)
            sums, squares, count = (
                sums + values.sum(0).cpu(),
                squares + values.square().sum(0).cpu(),
                count + len(values),
            )
        mean = sums / count
        deviation = (squares / count - mean.square()).clamp_(min=0).sqrt_()
        deviation[deviation < 1e-6] = 1.0
        self.mean.copy_(mean.repeat(features // channels))
        self.deviation.copy_(deviation.repeat(features // channels))


def scale_of(images: Tensor) -> int:
    """Return what white is in images."""
    return 255 if images.dtype == torch.uint8 else 1
