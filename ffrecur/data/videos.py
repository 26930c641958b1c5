"""The data module of videos of the user's own: clips of frames, one label each."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from ffrecur.data.images import ImageDataModule
from ffrecur.data.imageset import ImageSource
from ffrecur.errors import check_whole

MOST = 100_000  # frames of a clip


class VideoDataModule(ImageDataModule):
    """Clips with labels; batches are `(videos (B, T, D) uint8, labels (B,) int64)`, for prediction `(videos,)`.

    Frame t drives iteration t of a recurrent net. A clip of fewer than T frames stays at its last one. Splits, classes,
    prediction and all else are as of `ImageDataModule`, with a clip for each image; `image_shape` and `in_features` are those
    of a frame. After `setup` `frames` is T.

    Args:
        source: a folder with a sub-folder of frames for each clip, such as train/CLASS/CLIP/0001.png; arrays
            (N, T, H, W) or (N, T, H, W, C) in .npz or .npy files; a table with a column of lists of images, or a folder that
            `save_to_disk` wrote; or a hub id of such a data set.
        frames: number T of frames, to which longer clips are cut. By default as many as the longest clip has, and at least as
            many as the net has iterations.
        settings: the others of `ImageDataModule`.

    Raises:
        UserError: a setting outside its range; in `setup`, everything wrong with the source.
    """

    frames: int | None

    def __init__(self, source: str, frames: int | None = None, **settings: Any) -> None:
        if frames is not None:
            check_whole("data.frames", frames, 1, MOST)
        super().__init__(source, **settings)
        self.frames, self.chosen_frames = frames, frames

    def reading(self) -> dict[str, Any]:
        """See `ImageDataModule.reading`."""
        return {"video": True, "frames": self.chosen_frames}

    def read(self, require_labels: bool, testing: bool = False) -> ImageSource:
        """The source, of which the number of frames is kept too."""
        source = super().read(require_labels, testing)
        self.frames = source.frames
        return source

    def stay_until(self, iterations: int) -> None:
        """Let all clips stay at their last frame until a net has made so many iterations, unless `data.frames` was set."""
        if self.chosen_frames is not None or self.frames is None or self.frames >= iterations:
            return
        rank_zero_info(
            f"the longest clip of {self.source} ends with frame {self.frames}: all clips stay at their last one for the net's "
            f"{iterations} iterations"
        )
        for name in ("train_set", "validation_set", "test_set", "predict_set"):
            clips = getattr(self, name)
            if clips is not None:
                setattr(self, name, clips._replace(images=clips.images.of_length(iterations)))
        self.frames = iterations
