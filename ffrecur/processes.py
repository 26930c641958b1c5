"""What the processes that train together tell one another: a process alone computes and sends nothing here.

Each process has a part of the global batch, a run of neighbouring samples in the order of the ranks. Means over the global
batch weigh every sample alike, however unevenly the parts are cut.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist


class Part(NamedTuple):
    """Which samples of the global batch a process has."""

    total: int  # samples of the global batch
    mine: slice

    @property
    def size(self) -> int:
        """Samples of this process."""
        return self.mine.stop - self.mine.start

    @property
    def weight(self) -> float:
        """Factor of this process' mean in the plain mean over processes that makes it the mean over samples."""
        return count_processes() * self.size / self.total


def count_processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank_slice(count: int, rank: int, num_replicas: int) -> slice:
    """The part of a global batch of `count` samples that one process takes: contiguous, as even as possible.

    >>> [rank_slice(10, rank, 4) for rank in range(4)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    """
    return slice(count * rank // num_replicas, count * (rank + 1) // num_replicas)


def part_of_batch(count: int, device: torch.device) -> Part:
    """Return which part of the global batch our `count` samples are; every process must call it at the same time.

    >>> part_of_batch(3, torch.device("cpu"))
    Part(total=3, mine=slice(0, 3, None))
    """
    if count_processes() == 1:
        return Part(count, slice(0, count))
    counts = [torch.empty(1, dtype=torch.long, device=device) for _ in range(count_processes())]
    dist.all_gather(counts, torch.tensor([count], device=device))
    ends = torch.cat(counts).cumsum(0).tolist()
    end = ends[dist.get_rank()]
    return Part(ends[-1], slice(end - count, end))


def mean_over_processes(mean: Tensor, count: int) -> Tensor:
    """Return the mean over the samples of all processes: `sum(count * mean) / sum(count)`, of any shape.

    `mean` is that over our own `count` samples. Every process must call it at the same time and gets the same result.
    """
    if count_processes() == 1:
        return mean
    sums = torch.cat([mean.flatten() * count, mean.new_tensor([count])])
    dist.all_reduce(sums)
    return (sums[:-1] / sums[-1]).reshape(mean.shape)


def whole_batch(mine: Tensor, part: Part) -> Tensor:
    """Return what all processes have of a batch, in its order; every process must call it at the same time."""
    if count_processes() == 1:
        return mine
    everyone = mine.new_zeros(part.total, *mine.shape[1:])
    everyone[part.mine] = mine
    dist.all_reduce(everyone)
    return everyone


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum over all processes, in place; every process must call it at the same time."""
    if count_processes() > 1:
        dist.all_reduce(values)
    return values


def gather_first(mine: list[Tensor]) -> list[list[Tensor]]:
    """Return the tensors of every process, in the order of the ranks, to the first one; the others get an empty list."""
    if count_processes() == 1:
        return [mine]
    everyone: list[list[Tensor]] = [[] for _ in range(count_processes())]
    first = dist.get_rank() == 0
    dist.gather_object(mine, everyone if first else None)
    return everyone if first else []
