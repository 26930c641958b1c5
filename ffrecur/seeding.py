"""Random numbers: streams that depend on nothing but what they are for, and first weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def seeded_generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose stream depends on `key` alone, such as `(seed, epoch, batch)`.

    The numbers, each in 0..2**32-1, are hashed together; with a mere sum, epoch 1 of seed 0 would be epoch 0 of seed 1.
    Zeros at the end of a key count for nothing: (0, 1) and (0, 1, 0) have the same stream.

    >>> torch.equal(torch.rand(3, generator=seeded_generator(0, 1)), torch.rand(3, generator=seeded_generator(1, 0)))
    False
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def uniform_at(first: int, count: int, columns: int, *key: int) -> Tensor:
    """Return the rows `first` to `first + count` of a table of numbers that depends on `key` alone, `(count, columns)`.

    They are uniform in [0, 1). The table is endless, and none of its other rows are drawn: the generator counts.

    >>> torch.equal(uniform_at(0, 9, 2, 5)[4:7], uniform_at(4, 3, 2, 5))
    True
    """
    counts = -(-columns // 4)  # of a row: each gives four numbers
    generator = np.random.Philox(np.random.SeedSequence(key))
    generator.advance(first * counts)
    raw = generator.random_raw(count * counts * 4).reshape(count, counts * 4)[:, :columns]
    return torch.from_numpy((raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def normal_of(uniform: Tensor) -> Tensor:
    """Return standard normal numbers, float32, made of uniform ones of `uniform_at`, each by itself.

    The inverse of the normal distribution function at `u + 2**-25`: the numbers u are multiples of 2**-24 from 0 on, so the
    results lie symmetrically, and none is infinite. `2 (u + 2**-25) - 1` is exact in float32.

    >>> normal_of(torch.tensor([0.5, 0.0, 1 - 2**-24])).round(decimals=3)
    tensor([ 0.0000, -5.4200,  5.4200])
    """
    return torch.erfinv(2 * uniform - (1 - 2**-24)) * 2**0.5


def draw_normal(weight: Tensor, std: float) -> None:
    """Fill a weight with draws from `N(0, std**2)`, of PyTorch's global generator.

    One on the meta device has no numbers and is left alone: PyTorch would import its compiler there, which takes a second.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)
