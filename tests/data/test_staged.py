"""`SceneDataModule`: which draws a video comes from, that nothing is held in memory, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import images_of, make_digits

from ffrecur.data import Aperture, ImageDataModule, MovingClutter, NoisyFrames, Scene, SceneDataModule, Shift
from ffrecur.data.augment import augmented
from ffrecur.data.staged import EVALUATION, TRAINING, SceneLoader, StagedVideos, staged
from ffrecur.errors import UserError
from ffrecur.seeding import uniform_at

SHAPE, FRAMES = (6, 5), 4  # of the digits
SCENE = NoisyFrames(0.4)


@pytest.fixture
def digits(tmp_path):
    make_digits(tmp_path / "digits")
    return tmp_path / "digits"


def ready(source, *stages, scene=SCENE, kind=SceneDataModule, **settings):
    of_kind = {"scene": scene, "frames": FRAMES} if kind is SceneDataModule else {}
    data = kind(str(source), batch_size=7, **of_kind, **settings)
    for stage in stages or ("fit",):
        data.setup(stage)
    return data


def epoch_of(loader, epoch=0):
    loader.set_epoch(epoch)
    return torch.cat([videos for videos, *_ in loader])


def made(images, first, *key, scene=SCENE):
    noise = uniform_at(first, len(images), scene.numbers(SHAPE, FRAMES), *key)
    return scene(images, noise, SHAPE, FRAMES)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [None, [Shift(1)]])
def test_training_videos_are_functions_of_seed_epoch_and_place(digits, augment):
    data, plain = ready(digits, seed=3, augment=augment), ready(digits, kind=ImageDataModule, seed=3)
    for epoch in (0, 2):
        images = augmented(epoch_of(plain.train_dataloader(), epoch), augment or [], SHAPE, 0, 3, epoch)
        assert torch.equal(epoch_of(data.train_dataloader(), epoch), made(images, 0, 3, epoch, TRAINING))
    assert data.train_set.images.shape == plain.train_set.images.shape, "images, not videos"


def loader(batch_size=5, replicas=1, rank=0):
    data = SceneDataModule("bundled", Aperture(3), FRAMES)
    data.image_shape = SHAPE
    images = images_of(SHAPE)
    return SceneLoader(data, [images, torch.arange(len(images))], batch_size, True, 0, replicas, rank)


@pytest.mark.parametrize("size", [1, 7, 23])
def test_batches_processes_and_stops_change_nothing(size):
    whole = epoch_of(loader(), 2)
    assert torch.equal(whole, epoch_of(loader(size), 2))
    ranks = [loader(replicas=3, rank=rank) for rank in range(3)]
    for each in ranks:
        each.set_epoch(2)
    assert torch.equal(whole, torch.cat([torch.cat([v for v, _ in parts]) for parts in zip(*ranks, strict=True)]))
    stopped, resumed = loader(), loader(max(size, 3))
    stopped.set_epoch(2)
    next(iter(stopped))
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(epoch_of(resumed, 2), whole[5:])


def test_overfit_batches_has_the_same_videos_every_epoch(digits):
    data = ready(digits, augment=[Shift(1)])
    batches = data.make_loader("train", 7, False, 0)
    assert torch.equal(epoch_of(batches, 0), epoch_of(batches, 5))
    assert torch.equal(epoch_of(batches), made(data.train_set.images, 0, 0, 0, TRAINING))


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_all_seeds_and_batches_see_the_same_videos_in_evaluation(digits):
    one, other = (ready(digits, "fit", "test", "predict", seed=seed) for seed in (0, 9))
    other.evaluation_batch_size = 3
    plain = ready(digits, "fit", kind=ImageDataModule)
    for number, split in ((1, "validation"), (2, "test")):
        videos = epoch_of(one.in_order(split))
        assert torch.equal(videos, epoch_of(other.in_order(split)))
        assert torch.equal(videos, made(getattr(plain, f"{split}_set").images, 0, 0, number, EVALUATION))
    assert torch.equal(epoch_of(one.predict_dataloader()), epoch_of(one.in_order("test")))
    assert not torch.equal(made(plain.test_set.images, 0, 0, 1, EVALUATION), epoch_of(one.in_order("test")))


@pytest.mark.parametrize("index", [[3, 0, 7], slice(2, 9, 3), torch.tensor([4, 5, 6]), slice(0, 0), [5]])
def test_a_video_is_the_same_whichever_are_asked_for(index):
    videos = StagedVideos(images_of(SHAPE), Aperture(3), SHAPE, FRAMES, 1)
    assert len(videos) == 23
    assert torch.equal(videos[index], videos[:][index])


def test_images_on_the_disk_give_the_same_videos(digits):
    in_memory, on_disk = (ready(digits, scene=MovingClutter(2), memory_limit=limit) for limit in (4096, 0))
    assert torch.equal(epoch_of(in_memory.train_dataloader()), epoch_of(on_disk.train_dataloader()))
    assert torch.equal(epoch_of(in_memory.val_dataloader()), epoch_of(on_disk.val_dataloader()))


def test_a_scene_of_ones_own_needs_two_methods():
    class Fading(Scene):
        def numbers(self, image_shape, frames):
            return 1

        def __call__(self, images_BD, noise_BK, image_shape, frames):
            share_T = torch.linspace(1, 0, frames)
            return (images_BD[:, None] * share_T[:, None]).byte()

    images = images_of(SHAPE)
    videos = StagedVideos(images, Fading(), SHAPE, 3, 2)[:]
    assert torch.equal(videos[:, 0], images)
    assert not videos[:, 2].any()


# --- settings and refusals --------------------------------------------------------------------------------------------


def test_hparams_hold_no_objects(digits):
    assert "scene" not in SceneDataModule("bundled", Aperture(14)).hparams
    assert SceneDataModule("bundled").scene == Aperture()
    assert ready(digits).hparams["frames"] == FRAMES


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"frames": 0}, "data.frames is 0, but must be a whole number of at least 1"),
        (
            {"scene": Shift(1)},
            r"data.scene is Shift\(pixels=1\), but must be an ffrecur.data.Scene, such as Aperture\(\)",
        ),
        ({"scene": Aperture}, "data.scene is .*, but must be an ffrecur.data.Scene"),
    ],
)
def test_settings_outside_their_range(settings, told):
    with pytest.raises(UserError, match=f"^{told}"):
        SceneDataModule("bundled", **settings)


@pytest.mark.parametrize("stage", ["fit", "test", "predict"])
def test_images_that_the_scene_cannot_show_are_refused_before_the_first_batch(digits, stage):
    with pytest.raises(UserError, match=r"^Aperture.pixels is 2, .* 6x5, and so many that 4 windows cover them$"):
        ready(digits, stage, scene=Aperture(2))


@pytest.mark.parametrize("wrong", [lambda v: v.float(), lambda v: v[:, 1:], lambda v: v[..., 1:]])
def test_a_scene_that_makes_no_such_videos(wrong):
    class Wrong(Scene):
        def numbers(self, image_shape, frames):
            return 1

        def __call__(self, images_BD, noise_BK, image_shape, frames):
            return wrong(images_BD[:, None].repeat(1, frames, 1))

    with pytest.raises(
        UserError, match=r"^data.scene is a Wrong, which makes \(.*\) of .*, but must make \(23, 4, 30\)"
    ):
        staged(images_of(SHAPE), Wrong(), SHAPE, 4, torch.zeros(23, 1))


def test_making_videos_takes_no_more_memory_than_a_batch(digits):
    data = ready(digits, "fit")
    assert isinstance(data.validation_set.images, StagedVideos)
    assert data.validation_set.images.images.nbytes == len(data.validation_set.images) * np.prod(SHAPE)
