"""Negative images of a batch, made from its own images, and what is refused of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting
from ffrecur.negatives.images import Hybrids, ImageNegatives, partners
from ffrecur.processes import Part


def mixed(
    make_images: ImageNegatives,
    images_BD: Tensor,
    everyone: Tensor,
    part: Part,
    image_shape: Sequence[int],
    count: int,
    source: torch.Generator,
) -> Tensor:
    """Return `count` negative images for each of our part of a batch, `(K, B, D)`; `everyone` is the whole batch."""
    others_KB = partners(part.total, count, source)[:, part.mine].to(images_BD.device)
    noise_KBP = torch.rand(count, part.total, math.prod(image_shape[:2]), generator=source)[:, part.mine]
    made = []
    for others_B, noise_BP in zip(others_KB, noise_KBP.to(images_BD.device), strict=True):
        of_ours = type(make_images) is Hybrids
        positives_BD = images_BD if of_ours else images_BD.clone()  # which may be written on
        negatives_BD = make_images(positives_BD, everyone[others_B], noise_BP, image_shape)
        if not of_ours:
            check_made(negatives_BD, images_BD, make_images)
        made.append(negatives_BD)
    return torch.stack(made)


def check_made(negatives_BD: Any, images_BD: Tensor, make_images: ImageNegatives) -> None:
    """Raise `UserError` for negative images of the user's making that are none."""
    name, wanted = type(make_images).__name__, tuple(images_BD.shape)
    if not isinstance(negatives_BD, Tensor) or negatives_BD.shape != wanted:
        found = tuple(negatives_BD.shape) if isinstance(negatives_BD, Tensor) else type(negatives_BD).__name__
        raise UserError(f"negatives is {name}, which makes {found}, but must make {wanted}: images of the same size")
    if not negatives_BD.is_floating_point() or not negatives_BD.isfinite().all():
        raise UserError(f"negatives is {name}, which makes images with values that are no finite numbers")


def check_batches(data: Any, count: int) -> None:
    """Raise `UserError` for training data of which a batch, the last one perhaps, has too few images to be mixed."""
    images, batch_size = getattr(getattr(data, "train_set", None), "images", ()), getattr(data, "batch_size", 0)
    if len(images) > 0 and batch_size > 0:
        smallest = len(images) % batch_size or batch_size
        told = (
            f"one that leaves more than {count} of the {len(images)} images for every batch: each is mixed with others"
        )
        check_setting(smallest > count, "data.batch_size", batch_size, told)


def check_separation(data: Any) -> None:
    """Raise `UserError` for validation images that cannot be mixed with one another, by which a net is chosen."""
    allowed, size = "at least 2, for each image is mixed with another", getattr(data, "evaluation_batch_size", 2)
    check_setting(size > 1, "data.evaluation_batch_size", size, allowed)
    images = getattr(getattr(data, "validation_set", None), "images", None)
    check_setting(images is None or len(images) > 1, "data.validation_size", 1, allowed)
