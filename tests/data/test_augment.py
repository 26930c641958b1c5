"""Augmentation: which images come out, how likely each change is, and that batches, processes and stops change nothing."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections import Counter

import lightning
import numpy as np
import pytest
import torch
from making import make_digits, write_idx_folder
from running import ROOT

from ffrecur.data import Augmentation, DriftDataModule, ImageDataModule, Shift
from ffrecur.data.augment import AugmentedLoader, augmented
from ffrecur.data.loader import TensorLoader
from ffrecur.errors import UserError
from ffrecur.lit import RecurrentModule
from ffrecur.seeding import uniform_at

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
SHAPES = [(5, 7), (4, 4, 3)]
law = pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda each: "-".join(type(one).__name__ for one in each))


def images_of(shape, count=23, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, int(np.prod(shape))), generator=generator, dtype=torch.uint8)


# --- Shift ------------------------------------------------------------------------------------------------------------

LEFT, STAYS, RIGHT = 0.0, 0.5, 0.999  # numbers of a shift by at most one pixel; up and down likewise


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ((STAYS, STAYS), [[1, 2, 3], [4, 5, 6]]),
        ((STAYS, RIGHT), [[0, 1, 2], [0, 4, 5]]),
        ((STAYS, LEFT), [[2, 3, 0], [5, 6, 0]]),
        ((RIGHT, STAYS), [[0, 0, 0], [1, 2, 3]]),  # down
        ((LEFT, LEFT), [[5, 6, 0], [0, 0, 0]]),
        ((0.333, 0.334), [[4, 5, 6], [0, 0, 0]]),  # up: each shift has a third of the numbers
    ],
)
def test_shifts_by_hand(noise, expected):
    images = torch.tensor([[1, 2, 3, 4, 5, 6]], dtype=torch.uint8)
    made = Shift(1)(images, torch.tensor([noise]), (2, 3))
    assert made.dtype == torch.uint8
    assert made.view(2, 3).tolist() == expected


def test_the_channels_of_a_pixel_move_together():
    images = torch.tensor([[1, 2, 3, 11, 12, 13]], dtype=torch.uint8)  # two pixels beside each other
    assert Shift(1)(images, torch.tensor([[STAYS, RIGHT]]), (1, 2, 3)).tolist() == [[0, 0, 0, 1, 2, 3]]


def shifted_by_loops(image, down, right, shape):
    height, width = shape[:2]
    image = image.reshape(height, width, -1)
    made = torch.zeros_like(image)
    for row, column in itertools.product(range(height), range(width)):
        if 0 <= row - down < height and 0 <= column - right < width:
            made[row, column] = image[row - down, column - right]
    return made.flatten()


@pytest.mark.parametrize("shape", [(5, 7), (7, 5, 3), (4, 4)])
@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_each_image_is_shifted_by_its_own_numbers(shape, pixels):
    images, noise = images_of(shape, 40), torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    shifts = (noise * (2 * pixels + 1)).floor().long() - pixels
    expected = [shifted_by_loops(image, *shift, shape) for image, shift in zip(images, shifts.tolist(), strict=True)]
    assert torch.equal(Shift(pixels)(images, noise, shape), torch.stack(expected))


def places(augment, count, side=9, epoch=0):
    """Where the one bright pixel of each image comes to lie, counted from the middle."""
    images = torch.zeros(count, side * side, dtype=torch.uint8)
    images[:, side * side // 2] = 1
    made = augmented(images, augment, (side, side), 0, 3, epoch)
    assert (made.sum(dim=1) == 1).all()
    return [(place // side - side // 2, place % side - side // 2) for place in made.argmax(dim=1).tolist()]


def chi_squared(found, shares):
    total = sum(found.values())
    assert set(found) == set(shares)
    return sum((found[key] - total * share) ** 2 / (total * share) for key, share in shares.items())


def test_all_shifts_are_equally_likely():
    """25 of them: chi squared with 24 degrees of freedom exceeds 51 once in a thousand."""
    every = list(itertools.product(range(-2, 3), repeat=2))
    assert chi_squared(Counter(places([Shift(2)], 10_000)), dict.fromkeys(every, 1 / 25)) < 51


def test_the_changes_of_a_list_draw_independent_numbers():
    """Two shifts by at most one pixel add up to 0 in a third of the cases, to 1 in two ninths, to 2 in one ninth."""
    share = {-2: 1 / 9, -1: 2 / 9, 0: 3 / 9, 1: 2 / 9, 2: 1 / 9}
    shares = {(down, right): share[down] * share[right] for down, right in itertools.product(share, repeat=2)}
    assert chi_squared(Counter(places([Shift(1), Shift(1)], 10_000)), shares) < 51


def test_epochs_draw_independent_numbers():
    """The pairs of an image's shifts in two epochs: all 81 are equally likely; once in a thousand it exceeds 125."""
    pairs = Counter(zip(places([Shift(1)], 16_200), places([Shift(1)], 16_200, epoch=1), strict=True))
    one = list(itertools.product((-1, 0, 1), repeat=2))
    assert chi_squared(pairs, dict.fromkeys(itertools.product(one, repeat=2), 1 / 81)) < 125


def test_numbers_are_uniform_and_below_one():
    numbers = uniform_at(0, 100_000, 3, 7)
    assert numbers.shape == (100_000, 3)
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert numbers.histc(100, 0, 1).sub(3000).abs().max() < 5 * 3000**0.5
    assert numbers.double().t().corrcoef().sub(torch.eye(3)).abs().max() < 0.02
    assert uniform_at(5, 4, 0, 7).shape == (4, 0)


def test_the_numbers_stay_what_they_are():
    """A change would train other weights from the same seed."""
    assert uniform_at(1000, 1, 2, 0, 1, 0).mul(2**24).long().tolist() == [[10472622, 1794358]]


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


@pytest.mark.parametrize("pixels", [-1, 1.5, "2", None])
def test_pixels_that_are_no_whole_number_of_at_least_0(pixels):
    with pytest.raises(UserError, match=r"^Shift.pixels is .*, but must be a whole number of at least 0$"):
        Shift(pixels)


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
