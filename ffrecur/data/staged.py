"""Videos made of still images by a `Scene`, batch by batch: no split of them is ever in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ffrecur.data.augment import ShapeOfImage, augmented
from ffrecur.data.images import ImageDataModule
from ffrecur.data.imageset import ImageSet
from ffrecur.data.loader import TensorLoader
from ffrecur.data.scenes import Aperture, Scene
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.seeding import uniform_at

# They keep the numbers of a scene apart from those of `data.augment`, whose changes are numbered from 0.
TRAINING, EVALUATION = 2**31, 2**31 + 1


def staged(images_BD: Tensor, scene: Scene, image_shape: ShapeOfImage, frames: int, noise_BK: Tensor) -> Tensor:
    """Return the videos `(B, T, D)` that a scene makes of images; raises `UserError` where it makes others."""
    videos, wanted = scene(images_BD, noise_BK, image_shape, frames), (len(images_BD), frames, images_BD.shape[1])
    if videos.shape != wanted or videos.dtype != torch.uint8:
        raise UserError(
            f"data.scene is a {type(scene).__name__}, which makes {tuple(videos.shape)} of {videos.dtype}, but must make "
            f"{wanted} of torch.uint8: {frames} frames of the size of the images"
        )
    return videos


class StagedVideos:
    """The videos of the images of a split, made where they are asked for: stands for a tensor `(N, T, D)` uint8.

    The numbers of a video depend on the split's number and the image's index alone, not on any seed: all nets see the same.
    """

    def __init__(self, images: Any, scene: Scene, image_shape: ShapeOfImage, frames: int, number: int) -> None:
        self.images, self.scene, self.image_shape = images, scene, image_shape
        self.frames, self.number = frames, number

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> Tensor:
        """Make the videos at these indices, `(n, T, D)`."""
        rows = torch.arange(len(self))[index]
        first, count = (int(rows[0]), len(rows)) if len(rows) else (0, 0)
        key, columns = (0, self.number, EVALUATION), self.scene.numbers(self.image_shape, self.frames)
        if torch.equal(rows, torch.arange(first, first + count)):
            noise_BK = uniform_at(first, count, columns, *key)
        else:
            noise_BK = torch.cat([uniform_at(row, 1, columns, *key) for row in rows.tolist()])
        return staged(self.images[rows], self.scene, self.image_shape, self.frames, noise_BK)


class SceneLoader(TensorLoader):
    """Iterates over training batches whose images, changed by `data.augment`, become videos drawn again each epoch.

    Without `shuffle` they are not changed, and the draws are those of the first epoch: the batches are then the same every
    epoch.
    """

    def __init__(self, data: SceneDataModule, tensors: Sequence[Any], *arguments: Any) -> None:
        super().__init__(tensors, *arguments)
        self.data = data

    def changed(self, samples: tuple[Tensor, ...], first: int) -> tuple[Tensor, ...]:
        """Return the samples as videos; `first` is the place of the first one in the epoch."""
        images_BD, *others = samples
        data, key = self.data, (self.seed, self.epoch if self.shuffle else 0)
        if self.shuffle:
            images_BD = augmented(images_BD, data.augment, data.image_shape, first, *key)
        columns = data.scene.numbers(data.image_shape, data.frames)
        noise_BK = uniform_at(first, len(images_BD), columns, *key, TRAINING)
        return staged(images_BD, data.scene, data.image_shape, data.frames, noise_BK), *others


class SceneDataModule(ImageDataModule):
    """The same images and splits as videos of a scene: batches are `(images (B, T, D) uint8, labels (B,) int64)`.

    Training videos are drawn again each epoch, as functions of the seed, the epoch and the place in the epoch. Those of
    validation, test and prediction depend on the split and the index of the image alone: all nets and all seeds see the same.
    Videos are made batch by batch, so the memory is that of the images; `train_set` holds images, the other sets videos.

    Args:
        source: as of `ImageDataModule`.
        scene: what is shown of an image: `Aperture`, `SweepingBar`, `MovingClutter`, `NoisyFrames`, or the class path of an
            `ffrecur.data.Scene`. `Aperture` where not given.
        frames: number T of frames, at least as many as there are iterations.
        settings: the others of `ImageDataModule`. What `augment` changes is changed before the scene is made of it.

    Raises:
        UserError: a setting outside its range; in `setup`, images of which the scene cannot be made.
    """

    def __init__(self, source: str = "bundled", scene: Scene | None = None, frames: int = 8, **settings: Any) -> None:
        check_whole("data.frames", frames)
        allowed = "an ffrecur.data.Scene, such as Aperture()"
        check_setting(scene is None or isinstance(scene, Scene), "data.scene", scene, allowed)
        super().__init__(source, **settings)
        if isinstance(self.hparams.get("scene"), Scene):
            # An object does not load with weights_only=True; the command line keeps class paths.
            del self._hparams["scene"], self._hparams_initial["scene"]  # type: ignore[attr-defined]
        self.scene, self.frames = scene or Aperture(), frames

    def prepare_set(self, images: ImageSet, number: int) -> ImageSet:
        """The videos of a split, made when they are asked for; training images wait for their epoch's draws."""
        self.scene.numbers(self.image_shape, self.frames)  # which refuses images that it cannot show
        if number == 0:
            return images
        videos = StagedVideos(images.images, self.scene, self.image_shape, self.frames, number)
        return ImageSet(videos, images.labels)

    def make_loader(self, split: str, *arguments: Any) -> TensorLoader:
        """The loader of a split."""
        if split != "train" or self.train_set is None:
            return super().make_loader(split, *arguments)
        return SceneLoader(self, [part for part in self.train_set if part is not None], *arguments)
