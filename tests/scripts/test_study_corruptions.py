"""The corruptions of scripts/study/corruptions.py, by hand or against SciPy, PyTorch and the package."""

from __future__ import annotations

import corruptions
import pytest
import torch
from corruptions import CORRUPTIONS, corrupted
from scipy import ndimage
from torch.nn import functional as F

from ffrecur.data.drift import drift
from ffrecur.seeding import uniform_at

SHAPES = [(28, 28), (6, 5), (9, 8, 3)]
every = pytest.mark.parametrize("name", CORRUPTIONS)
DIGIT = (28, 28)


def images_of(shape, count=12):
    return torch.rand(count, torch.Size(shape).numel(), generator=torch.Generator().manual_seed(0))


def numbers(count, columns):
    return uniform_at(0, count, columns, 7)


@every
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_is_the_same_in_batches_of_any_size(name, shape):
    images = images_of(shape)
    for strength in CORRUPTIONS[name].strengths[::4]:
        whole = corrupted(name, strength, images, 100, shape)
        assert whole.shape[-2:] == images.shape
        for first, last in ((0, 1), (3, 8)):
            part = corrupted(name, strength, images[first:last], 100 + first, shape)
            assert torch.equal(part, whole[..., first:last, :])


@every
def test_there_are_five_strengths_each_farther_from_the_image(name):
    images = images_of(DIGIT, 200)
    found = [(corrupted(name, each, images, 0, DIGIT) - images).square().mean() for each in CORRUPTIONS[name].strengths]
    assert len(found) == 5
    if name not in ("shift", "drift", "rotation"):  # far enough, one place of noise is like another
        assert found == sorted(found)
    assert found[0] > 0


def test_what_has_no_strength_changes_nothing():
    images = images_of(DIGIT)
    for corrupt, strength, columns in (
        (corruptions.noisy, 0, 784),
        (corruptions.uncut, 0, 784),
        (corruptions.salted, 0, 784),
        (corruptions.on_grey, 0, 0),
        (corruptions.rotated, 0, 1),
    ):
        assert torch.equal(corrupt(images, strength, numbers(12, columns), DIGIT), images)
    assert torch.allclose(corruptions.dimmed(images, 1, numbers(12, 0), DIGIT), images, atol=1e-6)


def test_noise_has_its_deviation_and_may_be_cut():
    grey = torch.full((200, 784), 0.5)
    for corrupt in (corruptions.noisy, corruptions.uncut):
        assert (corrupt(grey, 0.1, numbers(200, 784), DIGIT) - grey).std().item() == pytest.approx(0.1, rel=0.01)
    loud = [corrupt(grey, 2.0, numbers(200, 784), DIGIT) for corrupt in (corruptions.noisy, corruptions.uncut)]
    assert torch.equal(loud[0], loud[1].clamp(0, 1))
    assert loud[1].min() < -1


def test_salt_and_pepper_are_equally_many_and_colour_a_pixel_as_one():
    grey = torch.full((200, 300), 0.5)
    made = corruptions.salted(grey, 0.2, numbers(200, 300), (10, 10, 3)).unflatten(1, (100, 3))
    assert (made == made[..., :1]).all()
    for value in (0, 1):
        share = (made[..., 0] == value).double().mean().item()
        assert share == pytest.approx(0.1, abs=4 * (0.09 / 20_000) ** 0.5)


def test_an_occlusion_is_one_black_square_wholly_inside():
    shown = corruptions.occluded(torch.ones(50, 784), 6, numbers(50, 2), DIGIT).view(50, 28, 28)
    assert ((1 - shown).sum(dim=(1, 2)) == 36).all()
    for image in shown:
        rows, columns = (image == 0).nonzero().unbind(1)
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (5, 5)
    assert len({tuple(image.flatten().tolist()) for image in shown}) > 40


def test_blur_is_that_of_scipy():
    """Its Gaussian ends after three deviations too, and repeats the borders in the mode `nearest`."""
    images = images_of(DIGIT)
    expected = ndimage.gaussian_filter(
        images.view(12, 28, 28).double().numpy(), (0, 1, 1), mode="nearest", truncate=3.0
    )
    made = corruptions.blurred(images, 1.0, numbers(12, 0), DIGIT)
    assert torch.allclose(made.double(), torch.from_numpy(expected).flatten(1), atol=1e-6)


def test_contrast_and_background_by_hand():
    image = torch.tensor([[0.0, 0.5, 1.0, 0.5]])
    assert torch.allclose(corruptions.dimmed(image, 0.2, image, (2, 2)), torch.tensor([[0.4, 0.5, 0.6, 0.5]]))
    assert torch.allclose(corruptions.on_grey(image, 0.2, image, (2, 2)), torch.tensor([[0.2, 0.6, 1.0, 0.6]]))


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_rotation_is_that_of_grid_sample(degrees):
    """Half of the images one way, half the other: PyTorch's grid of an affine map, black outside, linear between pixels."""
    shape = (10, 10, 3)
    images, drawn = images_of(shape), numbers(12, 1)
    made = corruptions.rotated(images, degrees, drawn, shape)
    maps = images.view(-1, *shape).permute(0, 3, 1, 2)
    turned = []
    for sign in (1, -1):
        angle = torch.deg2rad(torch.tensor(float(sign * degrees)))
        turn = torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0), -angle.sin(), angle.cos(), torch.tensor(0.0)])
        grid = F.affine_grid(turn.view(1, 2, 3).expand(12, 2, 3), list(maps.shape), align_corners=False)
        turned.append(F.grid_sample(maps, grid, align_corners=False).permute(0, 2, 3, 1).flatten(1))
    first = (drawn < 0.5).expand(-1, images.shape[1])
    assert 2 < first[:, 0].sum() < 10
    assert torch.allclose(made, torch.where(first, *turned), atol=1e-4)


def test_a_shift_is_in_one_of_eight_directions():
    images = torch.zeros(400, 28, 28)
    images[:, 14, 14] = 1
    made = corruptions.shifted(images.flatten(1), 3, numbers(400, 1), DIGIT).view(400, 28, 28)
    places = [tuple(place) for place in (made.nonzero()[:, 1:] - 14).tolist()]
    assert len(places) == 400
    assert set(places) == {(down, right) for down in (-3, 0, 3) for right in (-3, 0, 3)} - {(0, 0)}


@pytest.mark.parametrize("speed", [1, 3])
def test_a_drift_is_that_of_the_package(speed):
    images = images_of(DIGIT)
    directions = torch.randint(8, (12,), generator=torch.Generator().manual_seed(4))
    expected = drift(images, DIGIT, 8, torch.Generator().manual_seed(4), speed).transpose(0, 1)
    made = corruptions.drifting(images, speed, (directions[:, None] + 0.5) / 8, DIGIT)
    assert torch.equal(made, expected)
    assert torch.equal(made[corruptions.IN_PLACE - 1], images)
