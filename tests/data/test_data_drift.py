"""Videos of drifting images, by hand on a tiny one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from making import write_idx_folder

from ffrecur.data import DriftDataModule
from ffrecur.data.drift import drift
from ffrecur.errors import UserError

IMAGE = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.uint8)
EAST = [[[2, 3, 0], [5, 6, 0], [8, 9, 0]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 1, 2], [0, 4, 5], [0, 7, 8]]]
SOUTH_EAST = [[[5, 6, 0], [8, 9, 0], [0, 0, 0]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 0, 0], [0, 1, 2], [0, 4, 5]]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotate(video: torch.Tensor, times: int) -> torch.Tensor:
    return torch.rot90(video, times, (-2, -1))


def all_directions() -> list[torch.Tensor]:
    """The eight videos (3, 3, 3) by hand: a quarter turn of the video of the turned image turns the direction."""
    plain = [torch.tensor(video, dtype=torch.uint8) for video in (EAST, SOUTH_EAST)]
    relabel = {
        times: torch.stack([torch.zeros(()), *rotate(IMAGE, -times).flatten()]).to(torch.uint8) for times in range(4)
    }
    return [rotate(relabel[times][video.long()], times) for video in plain for times in range(4)]


def test_each_image_drifts_one_pixel_a_frame_in_one_of_eight_directions() -> None:
    images = IMAGE.flatten().expand(400, 9)
    videos = drift(images, (3, 3), 3, generator())
    assert videos.shape == (400, 3, 9)
    assert videos.dtype == torch.uint8
    counts = [sum(torch.equal(video.view(3, 3, 3), by_hand) for video in videos) for by_hand in all_directions()]
    assert sum(counts) == 400  # nothing but the eight
    assert min(counts) > 20  # each with a chance of 1/8: below 21 of 400 once in 10^6 trials at most


@pytest.mark.parametrize(("frames", "middle"), [(1, 0), (2, 0), (5, 2), (8, 3), (12, 5)])
def test_the_middle_frame_is_the_image_and_far_frames_are_empty(frames: int, middle: int) -> None:
    images = torch.randint(1, 256, (20, 3 * 3), dtype=torch.uint8, generator=generator())
    videos = drift(images, (3, 3), frames, generator())
    assert videos.shape == (20, frames, 9)
    assert torch.equal(videos[:, middle], images)
    for frame in range(frames):
        assert bool(videos[:, frame].any()) == (abs(frame - middle) < 3)


def test_colour_channels_move_together() -> None:
    images = torch.randint(0, 256, (50, 4, 5, 3), dtype=torch.uint8, generator=generator())
    videos = drift(images.flatten(1), (4, 5, 3), 4, generator(1)).view(50, 4, 4, 5, 3)
    for channel in range(3):
        grey = drift(images[..., channel].flatten(1), (4, 5), 4, generator(1)).view(50, 4, 4, 5)
        assert torch.equal(videos[..., channel], grey)


def test_the_data_module_gives_the_same_videos_every_epoch(tmp_path: Path) -> None:
    source = str(write_idx_folder(tmp_path, train=60, test=40))  # 3 x 4 pixels each
    data = DriftDataModule(source, batch_size=16, frames=6, seed=3)
    data.setup("fit")
    assert data.in_features == 12
    loader = data.train_dataloader()
    images, labels = next(iter(loader))
    assert (images.shape, images.dtype, labels.shape) == ((16, 6, 12), torch.uint8, (16,))
    assert torch.equal(images[:, 2, 0] % 3, labels)  # the middle frame shows the image that the label belongs to
    epochs = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        epochs.append(torch.cat([images for images, _ in loader]))
    assert not torch.equal(epochs[0], epochs[1])
    assert sorted(epochs[0].tolist()) == sorted(epochs[1].tolist())
    assert next(iter(data.val_dataloader()))[0].shape == (10, 6, 12)

    again, other = (DriftDataModule(source, frames=6, seed=seed) for seed in (3, 4))
    for module in (again, other):
        module.setup("test")
    assert again.test_set is not None
    assert other.test_set is not None
    assert not torch.equal(again.test_set.images, other.test_set.images)
    assert torch.equal(again.test_set.images[:, 2], other.test_set.images[:, 2])
    data.setup("predict")
    [(predicted,)] = data.predict_dataloader()
    assert torch.equal(predicted, again.test_set.images)


def test_frames_must_be_positive() -> None:
    with pytest.raises(UserError, match=r"data.frames is 0, .* at least 1"):
        DriftDataModule(frames=0)
