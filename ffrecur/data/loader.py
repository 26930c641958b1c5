"""Batches sliced from tensors, in an order that depends on nothing but the seed and the epoch; which Lightning gets them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from ffrecur.data.mapped import MappedImages
from ffrecur.errors import CommonError
from ffrecur.processes import rank_slice
from ffrecur.seeding import seeded_generator
from ffrecur.text.places import Places, Text, windows_at


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The permutation (count,) of one epoch: the same for the same seed and epoch, on every machine.

    int32 where that is enough, with the numbers that int64 would have.
    """
    narrow = torch.int32 if count <= torch.iinfo(torch.int32).max else torch.int64
    return torch.randperm(count, generator=seeded_generator(seed, epoch), dtype=narrow)


class TensorLoader:
    """Iterates over one epoch of batches: tuples with the same rows of each of `tensors`, which may lie on the disk.

    `batch_size` is that of the global batch, which is cut into one part for each of `num_replicas` processes. Every
    sample comes exactly once an epoch: the last batch may be smaller; if it has fewer samples than there are processes,
    it is joined to the batch before. A plain loop must call `set_epoch` before each epoch; Lightning does so by itself.

    `state_dict` and `load_state_dict` let the next iteration of the same epoch begin where another one stopped, also with
    another batch size: the place is kept in samples, and the first batch is what is left of the one in which it lies. What
    counts as done is `batches_done()`, if given (a trainer knows whether the last batch was trained on or broken off),
    otherwise every batch that was handed out.

    Raises `UserError` for fewer samples, or a smaller batch, than there are processes.
    """

    batch_sampler = None  # Lightning looks at it together with `sampler`
    may_be_empty = False  # whether a process may have no sample of a batch

    def __init__(
        self,
        tensors: Sequence[Tensor | MappedImages | Places],
        batch_size: int,
        shuffle: bool,
        seed: int,
        num_replicas: int = 1,
        rank: int = 0,
        batches_done: Callable[[], int] | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.num_replicas = num_replicas
        self.rank = rank
        self.batches_done = batches_done
        self.epoch = 0
        self._handed_out = 0
        self._resume_at: dict[str, int] | None = None

        self.count = len(self.tensors[0])
        assert all(len(tensor) == self.count for tensor in self.tensors)
        if batch_size < max(1, num_replicas):
            raise CommonError(
                f"data.batch_size or data.evaluation_batch_size is {batch_size}, but must be at least the number of "
                f"processes, {num_replicas}"
            )
        if self.count < num_replicas and not self.may_be_empty:
            raise CommonError(
                f"data.source has a split of {self.count} examples, which is too few for {num_replicas} processes"
            )

    @property
    def sampler(self) -> TensorLoader:
        """Lightning calls `set_epoch` on this attribute of a loader, before each epoch and on one device too."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        return max(1, whole + (rest >= (1 if self.may_be_empty else self.num_replicas)))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # Nothing runs before the first batch is asked for: Lightning creates the iterator before it sets the epoch.
        first, begin = self.place(self.epoch)
        self._resume_at = None
        order = epoch_order(self.count, self.seed, self.epoch) if self.shuffle else None
        for batch in range(first, len(self)):
            start, stop = begin if batch == first else batch * self.batch_size, self.end(batch)
            batch_B = torch.arange(start, stop) if order is None else order[start:stop]
            mine = rank_slice(stop - start, self.rank, self.num_replicas)
            self._handed_out = batch + 1
            yield self.changed(self.take(batch_B[mine].long()), start + mine.start)

    def end(self, batch: int) -> int:
        """Return how many samples come in the batches up to this one."""
        return self.count if batch >= len(self) - 1 else (batch + 1) * self.batch_size

    def place(self, epoch: int) -> tuple[int, int]:
        """Return the batch and the sample that an iteration of this epoch begins with; the first ones but for a state loaded.

        A rest of a batch that is too small for all processes joins the batch after it. Raises `UserError` where there is
        none after it.
        """
        if self._resume_at is None or self._resume_at["epoch"] != epoch:
            return 0, 0
        done = min(self._resume_at["samples"], self.count)
        if done == self.count:
            return len(self), done
        if self.count - done < self.num_replicas:
            raise CommonError(
                f"the epoch that is continued has {self.count - done} examples left, too few for {self.num_replicas} "
                "processes; continue with fewer"
            )
        batch = min(done // self.batch_size, len(self) - 1)
        return batch + (batch < len(self) - 1 and self.end(batch) - done < self.num_replicas), done

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the samples at some indices."""
        return tuple(tensor[part] for tensor in self.tensors)

    def changed(self, samples: tuple[Tensor, ...], first: int) -> tuple[Tensor, ...]:
        """Return what a subclass makes of samples that come from place `first` of the epoch on."""
        return samples

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its samples are done; the batches too."""
        batches = self.batches_done() if self.batches_done else self._handed_out
        return {"epoch": self.epoch, "batches": batches, "samples": self.end(batches - 1) if batches else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next iteration, if it is of the same epoch, leave out the samples that are done.

        A state of version 0.1.0 counts batches of the size that this loader has.
        """
        samples = state_dict.get("samples", self.end(state_dict["batches"] - 1) if state_dict["batches"] else 0)
        self._resume_at = {"epoch": state_dict["epoch"], "samples": samples}


class WindowLoader(TensorLoader):
    """Iterates over the places of a text: batches `(windows (B, W + 1) int64, index (B,) int64)`.

    The last symbol of a window is the one to predict; `index` numbers the places.
    """

    def __init__(self, text: Text, places_M: Tensor | Places, window: int, *arguments: object) -> None:
        super().__init__([places_M], *arguments)  # type: ignore[arg-type]
        self.text, self.places_M, self.window = text, places_M, window

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the windows of some places."""
        return windows_at(self.text, self.places_M[part], self.window + 1), part


class BatchedDataModule(LightningDataModule, ABC):
    """What the data modules share: the loaders of their splits, for the process that we are."""

    batch_size: int
    evaluation_batch_size: int
    seed: int

    @abstractmethod
    def make_loader(self, split: str, *arguments: object) -> TensorLoader:
        """The loader of a split (train, validation, test or predict); `arguments` are those of `TensorLoader`."""

    def train_dataloader(self) -> TensorLoader:
        """Batches of the training split, in a new order each epoch."""
        if self.trainer is None:
            return self.make_loader("train", self.batch_size, True, self.seed)
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        # Lightning's overfit_batches means the same batches every epoch.
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        process = self.trainer.world_size, self.trainer.global_rank
        return self.make_loader("train", self.batch_size, shuffle, self.seed, *process, lambda: progress.processed)

    def val_dataloader(self) -> TensorLoader:
        """Batches of the validation split, in order."""
        return self.in_order("validation")

    def test_dataloader(self) -> TensorLoader:
        """Batches of the test split, in order."""
        return self.in_order("test")

    def in_order(self, split: str) -> TensorLoader:
        """Batches of a split that is evaluated."""
        process = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        return self.make_loader(split, self.evaluation_batch_size, False, self.seed, *process)
