"""Random numbers as pure functions of what they are for."""

from __future__ import annotations

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose stream depends on all of `key`, such as `(seed, epoch, batch)`, and on nothing else.

    Unlike `seed + epoch`, different keys give unrelated streams: (0, 1) is not (1, 0).

    >>> torch.equal(torch.rand(3, generator=generator(0, 1)), torch.rand(3, generator=generator(1, 0)))
    False
    """
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
