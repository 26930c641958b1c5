"""Batches: every sample once an epoch, in an order that only seed and epoch decide, and resumable anywhere."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ffrecur.data.loader import TensorLoader
from ffrecur.errors import UserError


def batches(loader: TensorLoader, epoch: int = 0) -> list[list[int]]:
    loader.set_epoch(epoch)
    return [batch[0].tolist() for batch in loader]


def flat(lists: Iterable[Sequence[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def loader(count: int = 23, batch_size: int = 5, shuffle: bool = True, seed: int = 0, **others: int) -> TensorLoader:
    return TensorLoader((torch.arange(count), torch.arange(count) * 10), batch_size, shuffle, seed, **others)  # type: ignore[arg-type]


def test_every_sample_once_an_epoch_and_the_smaller_last_batch_kept() -> None:
    got = batches(loader())
    assert [len(batch) for batch in got] == [5, 5, 5, 5, 3]
    assert sorted(flat(got)) == list(range(23))
    assert flat(got) != list(range(23))
    assert len(loader()) == 5


def test_without_shuffling_the_order_is_that_of_the_tensors() -> None:
    assert flat(batches(loader(shuffle=False), epoch=3)) == list(range(23))


def test_all_tensors_of_a_batch_have_the_same_rows() -> None:
    for first, second in loader():
        assert torch.equal(first * 10, second)


def test_the_order_is_a_function_of_seed_and_epoch_and_of_both() -> None:
    orders = {(seed, epoch): tuple(flat(batches(loader(seed=seed), epoch))) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == 16  # epoch 1 of seed 0 is not epoch 0 of seed 1
    torch.manual_seed(5)  # the global state has no part in it, nor has what was iterated before
    used = loader(seed=2)
    batches(used, 0)
    next(iter(used))
    assert tuple(flat(batches(used, 3))) == orders[2, 3]


def test_the_order_stays_what_it_was_in_earlier_versions() -> None:
    assert flat(batches(loader(count=8, seed=1), epoch=2)) == [0, 1, 5, 4, 7, 2, 6, 3]


@pytest.mark.parametrize("count", [12, 21, 22, 23, 24, 25])
@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_the_parts_of_all_ranks_make_up_the_global_batches(count: int, replicas: int) -> None:
    parts = [batches(loader(count, num_replicas=replicas, rank=rank), 1) for rank in range(replicas)]
    assert len({len(part) for part in parts}) == 1  # or the ranks would wait for each other forever
    joined = [flat(pieces) for pieces in zip(*parts, strict=True)]
    order = flat(batches(loader(count), 1))
    assert flat(joined) == order
    for batch, pieces in zip(joined, zip(*parts, strict=True), strict=True):
        sizes = [len(piece) for piece in pieces]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        assert len(batch) == 5 or batch[-1] == order[-1]


def test_a_rest_too_small_for_all_ranks_joins_the_batch_before() -> None:
    sizes = [[len(batch) for batch in batches(loader(21, num_replicas=2, rank=rank))] for rank in range(2)]
    assert sizes == [[2, 2, 2, 3], [3, 3, 3, 3]]


def test_fewer_samples_or_a_smaller_batch_than_processes() -> None:
    with pytest.raises(UserError, match=r"data.batch_size .* is 2, .*number of processes, 4"):
        loader(batch_size=2, num_replicas=4)
    with pytest.raises(UserError, match=r"split of 3 examples, .* 4 processes"):
        loader(count=3, num_replicas=4)


def test_state_continues_the_same_epoch_only() -> None:
    first = loader()
    first.set_epoch(2)
    iterator = iter(first)
    next(iterator)
    next(iterator)
    state = first.state_dict()

    resumed = loader()
    resumed.load_state_dict(state)
    assert batches(resumed, 2) == batches(loader(), 2)[2:]
    assert batches(resumed, 2) == batches(loader(), 2)  # once only
    resumed.load_state_dict(state)
    assert batches(resumed, 3) == batches(loader(), 3)


class Recorder(lightning.LightningModule):
    """Writes down the rows of every step that went through, and may break off inside a step."""

    def __init__(self, train_loader: TensorLoader, break_in: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_loader = train_loader
        self.break_in = break_in
        self.seen: list[tuple[int, ...]] = []
        self.current: tuple[int, ...] = ()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def train_dataloader(self) -> TensorLoader:
        return self.train_loader

    def val_dataloader(self) -> TensorLoader:
        return loader(shuffle=False)

    def training_step(self, batch: tuple[torch.Tensor, ...], batch_idx: int) -> torch.Tensor:
        if self.break_in == self.global_step:
            raise KeyError("broken off")
        self.current = (self.current_epoch, batch_idx, *batch[0].tolist())
        return self.weight * batch[0].sum()

    def on_train_batch_end(self, *_: object) -> None:
        self.seen.append(self.current)

    def validation_step(self, batch: tuple[torch.Tensor, ...], batch_idx: int) -> None:
        pass


def run(module: Recorder, folder: Path, *callbacks: Callback, resume: Path | None = None) -> Recorder:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        val_check_interval=2,
    )
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    module.train_loader.batches_done = lambda: progress.processed  # type: ignore[attr-defined]
    trainer.fit(module, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return module


def test_resuming_from_any_checkpoint_goes_on_with_exactly_the_rest(tmp_path: Path) -> None:
    every_step = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    every_epoch = ModelCheckpoint(
        tmp_path, filename="end-{epoch}", save_top_k=-1, save_on_train_epoch_end=True, every_n_epochs=1
    )
    whole = run(Recorder(loader()), tmp_path, every_step, every_epoch)
    assert len(whole.seen) == 15
    assert len({rows[2:] for rows in whole.seen}) == 15  # a new order each epoch: set_epoch was called
    assert Counter(flat(rows[2:] for rows in whole.seen)) == Counter(list(range(23)) * 3)

    checkpoints = {f"step={step}.ckpt": step for step in (1, 2, 4, 5, 6, 9, 10, 13)} | {"end-epoch=0.ckpt": 5}
    for name, steps in checkpoints.items():
        resumed = run(Recorder(loader()), tmp_path, resume=tmp_path / name)
        assert resumed.seen == whole.seen[steps:], name
        assert resumed.weight == whole.weight


@pytest.mark.parametrize("step", [1, 7, 9])
def test_a_step_that_was_broken_off_is_repeated(tmp_path: Path, step: int) -> None:
    whole = run(Recorder(loader()), tmp_path)
    saving = ModelCheckpoint(tmp_path, filename="broken", save_on_exception=True, every_n_train_steps=1000)
    broken = Recorder(loader(), break_in=step)
    with pytest.raises(KeyError, match="broken off"):
        run(broken, tmp_path, saving)
    resumed = run(Recorder(loader()), tmp_path, resume=tmp_path / "broken.ckpt")
    assert broken.seen + resumed.seen == whole.seen
    assert resumed.weight == whole.weight


def test_a_state_of_an_earlier_version_counts_batches() -> None:
    resumed = loader()
    resumed.load_state_dict({"epoch": 2, "batches": 2})
    assert batches(resumed, 2) == batches(loader(), 2)[2:]
    resumed.load_state_dict({"epoch": 2, "batches": 5})
    assert batches(resumed, 2) == []
    resumed.load_state_dict({"epoch": 2, "batches": 0})
    assert batches(resumed, 2) == batches(loader(), 2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10, 22, 23, 100])
@pytest.mark.parametrize("done", [0, 1, 2, 4])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_another_batch_size_goes_on_after_the_same_sample(size: int, done: int, replicas: int) -> None:
    if size < replicas:
        return
    first = loader()
    first.set_epoch(3)
    for _ in itertools.islice(first, done):
        pass
    parts = []
    for rank in range(replicas):
        resumed = loader(batch_size=size, num_replicas=replicas, rank=rank)
        resumed.load_state_dict(first.state_dict())
        assert resumed.place(3)[1] == 5 * done
        place = resumed.place(3)[0]
        parts.append(batches(resumed, 3))
        assert place + len(parts[-1]) == len(resumed), "the last batch has the last number"
        assert all(parts[-1]), "every process has a sample of every batch"
    assert flat(flat(pieces) for pieces in zip(*parts, strict=True)) == flat(batches(loader(), 3))[5 * done :]


def test_too_few_samples_left_for_all_processes() -> None:
    resumed = loader(num_replicas=4)
    resumed.load_state_dict({"epoch": 0, "batches": 4, "samples": 20})
    with pytest.raises(UserError, match="^the epoch that is continued has 3 examples left, too few for 4 processes;"):
        batches(resumed, 0)
