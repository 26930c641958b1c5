"""Augmentation: only training images are changed, and batches, processes and stops change nothing."""

from __future__ import annotations

import importlib
import itertools
import sys

import lightning
import numpy as np
import pytest
import torch
from making import images_of, make_digits, write_idx_folder
from running import ROOT

from ffrecur.data import (
    Augmentation,
    Background,
    Contrast,
    Cutout,
    DriftDataModule,
    ImageDataModule,
    PixelNoise,
    Shift,
)
from ffrecur.data.augment import AugmentedLoader, augmented
from ffrecur.data.loader import TensorLoader
from ffrecur.errors import UserError
from ffrecur.lit import RecurrentModule

sys.path.append(str(ROOT / "examples"))
Erase = importlib.import_module("own_augmentation").Erase  # a file of the user's


class Noise(Augmentation):
    """Some pixels are of any grey: as many numbers an image as it has values."""

    def numbers(self, image_shape):
        return int(np.prod(image_shape))

    def __call__(self, images_BD, noise_BD, image_shape):
        return torch.where(noise_BD < 0.1, (noise_BD * 2550).byte(), images_BD)


# Each own change may have a line here: all laws hold for it.
AUGMENTATIONS = [[Shift(1)], [Shift(2), Shift(1)], [Noise()], [Erase(3), Shift(2), Noise()]]
AUGMENTATIONS += [[PixelNoise()], [Contrast()], [Background()], [Cutout(3)], [Background(), PixelNoise(), Cutout(2)]]
SHAPES = [(5, 7), (4, 4, 3)]
law = pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda each: "-".join(type(one).__name__ for one in each))


# --- laws -------------------------------------------------------------------------------------------------------------


def loader(augment, shape=(5, 7), batch_size=5, replicas=1, rank=0):
    images = images_of(shape)
    return AugmentedLoader(augment, shape, [images, torch.arange(len(images))], batch_size, True, 0, replicas, rank)


def epoch_of(each, epoch=2):
    """The images of an epoch one after the other, and their numbers."""
    each.set_epoch(epoch)
    images, numbers = zip(*each, strict=True)
    return torch.cat(images), torch.cat(numbers)


@law
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 7, 22, 23, 100])
def test_an_epoch_is_the_same_in_batches_of_any_size(augment, shape, size):
    whole, split = epoch_of(loader(augment, shape)), epoch_of(loader(augment, shape, batch_size=size))
    assert all(torch.equal(*pair) for pair in zip(whole, split, strict=True))
    assert not torch.equal(whole[0], images_of(shape)[whole[1]])


@law
def test_an_epoch_has_the_changes_of_its_seed_and_number(augment):
    for epoch in (0, 2):
        made, order = epoch_of(loader(augment), epoch)
        assert torch.equal(made, augmented(images_of((5, 7))[order], augment, (5, 7), 0, 0, epoch))


@law
@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_processes_have_the_images_that_one_would_have(augment, replicas):
    ranks = [loader(augment, replicas=replicas, rank=rank) for rank in range(replicas)]
    for each in ranks:
        each.set_epoch(2)
    parts = [torch.cat([images for images, _ in pieces]) for pieces in zip(*ranks, strict=True)]
    assert torch.equal(torch.cat(parts), epoch_of(loader(augment))[0])


@law
@pytest.mark.parametrize("size", [3, 5, 8])
def test_what_is_left_of_an_epoch_is_the_same(augment, size):
    first = loader(augment)
    first.set_epoch(2)
    next(iter(first))
    resumed = loader(augment, batch_size=size)
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(epoch_of(resumed)[0], epoch_of(loader(augment))[0][5:])


@law
@pytest.mark.parametrize("shape", SHAPES)
def test_each_image_is_changed_on_its_own(augment, shape):
    images, others = images_of(shape), images_of(shape, seed=1)
    others[7] = images[7]
    assert torch.equal(augmented(images, augment, shape, 4, 0)[7], augmented(others, augment, shape, 4, 0)[7])
    assert torch.equal(augmented(images[7:8], augment, shape, 11, 0)[0], augmented(images, augment, shape, 4, 0)[7])


@law
def test_another_epoch_and_another_seed_are_other_changes(augment):
    images = images_of((5, 7))
    made = [augmented(images, augment, (5, 7), 0, seed, epoch) for seed in range(2) for epoch in range(2)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(made, 2))


@law
def test_the_frames_of_a_video_are_changed_alike(augment):
    frames = [images_of((5, 7), seed=seed) for seed in range(3)]
    video = augmented(torch.stack(frames, dim=1), augment, (5, 7), 0, 0)
    alone = [augmented(frame, augment, (5, 7), 0, 0) for frame in frames]
    assert torch.equal(video, torch.stack(alone, dim=1))


# --- the data module --------------------------------------------------------------------------------------------------


def ready(source, *stages, kind=ImageDataModule, **settings):
    data = kind(str(source), batch_size=7, **settings)
    for stage in stages or ("fit",):
        data.setup(stage)
    return data


@pytest.fixture
def digits(tmp_path):
    make_digits(tmp_path / "digits")
    return tmp_path / "digits"


def test_only_training_images_are_changed(digits):
    data = ready(digits, "fit", "predict", augment=[Shift(2)])
    before = data.train_set.images.clone()
    plain = list(ready(digits).train_dataloader())
    batches = list(data.train_dataloader())
    assert not any(torch.equal(one[0], other[0]) for one, other in zip(batches, plain, strict=True))
    assert all(torch.equal(one[1], other[1]) for one, other in zip(batches, plain, strict=True))
    assert {images.dtype for images, _ in batches} == {torch.uint8}
    assert torch.equal(data.train_set.images, before)
    for each, images in (
        (data.val_dataloader(), data.validation_set.images),
        (data.test_dataloader(), data.test_set.images),
        (data.predict_dataloader(), data.predict_images),
    ):
        assert torch.equal(torch.cat([batch[0] for batch in each]), images)


def test_without_changes_it_is_the_loader_that_it_was(digits):
    for augment in (None, []):
        assert type(ready(digits, augment=augment).train_dataloader()) is TensorLoader


def test_images_on_the_disk_are_changed_the_same(digits):
    pairs = zip(*(ready(digits, augment=[Shift(2)], memory_limit=m).train_dataloader() for m in (4096, 0)), strict=True)
    assert all(torch.equal(one[0], other[0]) for one, other in pairs)


def test_videos_are_changed_as_their_images(digits):
    """Every frame of a video is shifted as an image in its place of the epoch is."""
    settings = {"kind": DriftDataModule, "frames": 3}
    data = ready(digits, augment=[Shift(2)], **settings)
    plain = torch.cat([videos for videos, _ in ready(digits, **settings).train_dataloader()])
    made = torch.cat([videos for videos, _ in data.train_dataloader()])
    for frame in range(3):
        assert torch.equal(made[:, frame], augmented(plain[:, frame], [Shift(2)], (6, 5), 0, 0, 0))


def trained(data, **settings):
    seen = []

    class Seeing(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen.append(batch[0].clone())

    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[Seeing()], **settings,
    )  # fmt: skip
    trainer.fit(RecurrentModule([6]), datamodule=data)
    return trainer, seen


def test_overfit_batches_has_the_same_images_every_epoch(digits):
    data = ready(digits, augment=[Shift(2)])
    _, seen = trained(data, overfit_batches=2)
    for images, start in zip(seen, [0, 7, 0, 7], strict=True):
        assert torch.equal(images, data.train_set.images[start : start + 7])


def test_in_python_a_checkpoint_holds_no_objects(digits, tmp_path):
    data = ready(digits, augment=[Shift(2)])
    trainer, seen = trained(data)
    each = data.train_dataloader()
    each.set_epoch(1)
    assert all(torch.equal(images, batch[0]) for images, batch in zip(seen[8:], each, strict=True))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    settings = torch.load(tmp_path / "a.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert settings["batch_size"] == 7
    assert "augment" not in settings


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_shift_that_leaves_nothing_of_the_image(tmp_path):
    write_idx_folder(tmp_path)  # 3x4
    assert ready(tmp_path, augment=[Shift(2)]).image_shape == (3, 4)
    with pytest.raises(UserError) as caught:
        ready(tmp_path, augment=[Shift(1), Shift(3)])
    told = "Shift.pixels is 3, but must be less than the height and the width of the images, which are 3x4"
    assert str(caught.value) == told


@pytest.mark.parametrize("augment", [Shift(1), [Shift], ["Shift"], 2])
def test_what_is_no_list_of_changes(augment):
    with pytest.raises(UserError, match=r"^data.augment is .*, but must be a list of ffrecur.data.Augmentation"):
        ImageDataModule("bundled", augment=augment)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda images: images / 255, r"\(5, 30\) of torch.float32"),
        (lambda images: images[:, 1:], r"\(5, 29\) of torch.uint8"),
        (lambda images: images.view(-1, 6, 5), r"\(5, 6, 5\) of torch.uint8"),
    ],
)
def test_a_change_that_makes_no_such_images(change, told):
    class Wrong(Augmentation):
        def numbers(self, image_shape):
            return 1

        def __call__(self, images_BD, noise_B1, image_shape):
            return change(images_BD)

    with pytest.raises(UserError, match=f"data.augment has a Wrong, which makes {told}, but must make"):
        augmented(images_of((6, 5), 5), [Wrong()], (6, 5), 0, 0)
