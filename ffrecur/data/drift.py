"""Digits that drift: videos made from still images, the simplest input that really changes over the iterations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from ffrecur.data.images import ImageDataModule
from ffrecur.data.imageset import ImageSet
from ffrecur.data.mapped import MappedImages
from ffrecur.errors import UserError, check_whole
from ffrecur.seeding import seeded_generator

# (down, right), clockwise from north
DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def drift(images_ND: Tensor, image_shape: tuple[int, ...], frames: int, generator: Generator, speed: int = 1) -> Tensor:
    """Videos (N, T, D) in which each image moves `speed` pixels a frame in one of the 8 compass directions.

    `images_ND` are rows of `image_shape`, (H, W) or (H, W, 3). The direction of each is drawn from `generator`. The
    middle frame, number (T - 1) // 2 counted from 0, shows the image in its place; what enters at the edges is 0.
    """
    margin = speed * (frames // 2)  # the farthest that an image gets
    height, width = image_shape[:2]
    images_NHWC = images_ND.reshape(-1, height, width, math.prod(image_shape[2:]))
    padded = pad(images_NHWC, (0, 0, margin, margin, margin, margin))
    directions_N = torch.randint(len(DIRECTIONS), (len(images_ND),), generator=generator)

    videos = images_NHWC.new_empty(len(images_ND), frames, *images_NHWC.shape[1:])
    for number, (down, right) in enumerate(DIRECTIONS):
        chosen = (directions_N == number).nonzero().squeeze(1)
        for frame in range(frames):
            steps = speed * (frame - (frames - 1) // 2)
            top, left = margin - down * steps, margin - right * steps  # the window moves against the image
            videos[chosen, frame] = padded[chosen, top : top + height, left : left + width]
    return videos.flatten(2)


class DriftDataModule(ImageDataModule):
    """The same images and splits as videos: batches are `(images (B, T, D) uint8, labels (B,) int64)`.

    The direction of an image depends on the seed, the split and its index, so it is the same every epoch. All videos are
    made at once, in memory, and take T times that of the images.

    Args:
        source: as of `ImageDataModule`.
        frames: number T of frames, at least as many as there are iterations.
        settings: the others of `ImageDataModule`.

    Raises:
        UserError: a setting outside its range; in `setup`, a split that is larger than `memory_limit`.
    """

    def __init__(self, source: str = "bundled", frames: int = 8, **settings: Any) -> None:
        check_whole("data.frames", frames)
        super().__init__(source, **settings)
        self.frames = frames

    def prepare_set(self, images: ImageSet, number: int) -> ImageSet:
        """The videos of a split; `number` tells the splits apart."""
        if isinstance(images.images, MappedImages):
            size = -(-images.images[:1].nbytes * len(images.images) // 2**20)
            raise UserError(
                f"data.memory_limit is {self.memory_limit}, but must be at least {size}, the MiB of a split of "
                f"data.source, {self.source!r}: videos are made in memory"
            )
        generator = seeded_generator(self.seed, number, 1)  # the 1 keeps it apart from the order of epoch `number`
        return ImageSet(drift(images.images, self.image_shape, self.frames, generator), images.labels)
