"""The convolutions of a `BackpropNet`: maps of features that get smaller from layer to layer.

Shapes: B batch, H and W height and width of an image, C channels of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ffrecur.errors import check_setting, check_whole, counts_of

POOL = 2  # places on each side of which pooling keeps the largest value


def check_fields(channels: Sequence[int], kernel: int) -> tuple[int, ...]:
    """Return the channels of each convolution; raises `UserError` for those, and for a kernel, that there cannot be."""
    check_whole("kernel", kernel)
    return counts_of("channels", channels, "one for each convolution", fewest=0)


def pooled_shape(image_shape: Sequence[int], channels: Sequence[int], kernel: int) -> tuple[int, int]:
    """Return height and width of the last maps: each layer takes `kernel - 1` places off, then halves them, rounded down.

    Raises `UserError` for more layers than the images have places for.

    >>> pooled_shape([28, 28], channels=[32, 64], kernel=5)
    (4, 4)
    """
    height, width = image_shape[:2]
    for layer in range(len(channels)):
        height, width = (height - kernel + 1) // POOL, (width - kernel + 1) // POOL
        found = "x".join(map(str, image_shape[:2]))
        allowed = (
            f"at most {layer} of them with kernel {kernel} for images of {found}, which each of them makes smaller"
        )
        check_setting(min(height, width) >= 1, "channels", list(channels), allowed)
    return height, width


def smallest_side(layers: int, kernel: int) -> int:
    """Return height and width of the smallest images that so many convolutions can read.

    >>> smallest_side(layers=2, kernel=5)
    16
    """
    return kernel * POOL**layers - kernel + 1


def check_shape(image_shape: Sequence[int] | None, in_features: int) -> tuple[int, ...]:
    """Return the shape of images; raises `UserError` unless it is (H, W) or (H, W, C) of so many features."""
    listed = list(image_shape) if isinstance(image_shape, Sequence) else image_shape
    fits = isinstance(listed, list) and len(listed) in (2, 3) and min(listed) >= 1 and math.prod(listed) == in_features
    allowed = f"[height, width] or [height, width, channels] of in_features, {in_features}, where there are channels"
    check_setting(fits, "image_shape", listed, allowed)
    return tuple(listed or ())


def convolutions(image_shape: Sequence[int], channels: Sequence[int], kernel: int) -> nn.Sequential:
    """Return a convolution, ReLU and pooling for each number of channels, from images `(B, C, H, W)` to rows `(B, features)`."""
    layers: list[nn.Module] = []
    below = math.prod(image_shape[2:])
    for own in channels:
        layers += [nn.Conv2d(below, own, kernel), nn.ReLU(), nn.MaxPool2d(POOL)]
        below = own
    return nn.Sequential(*layers, nn.Flatten())


def as_maps(rows_BD: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Return rows of pixels, row by row and the colours of a pixel together, as `(B, C, H, W)`."""
    height, width = image_shape[:2]
    return rows_BD.reshape(len(rows_BD), height, width, math.prod(image_shape[2:])).permute(0, 3, 1, 2)
