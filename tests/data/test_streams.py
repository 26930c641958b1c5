"""Parallel streams of characters, and whole documents: every character once, in an order of seed and epoch, resumable."""

import itertools

import pytest
import torch

from ffrecur.data.streams import DocumentLoader, StreamLoader
from ffrecur.errors import UserError
from ffrecur.text.places import make_text

LENGTHS = (7, 4, 9, 5, 6)
DOCUMENTS = [torch.full((length,), number) * 10 + torch.arange(length) for number, length in enumerate(LENGTHS)]
TEXT = make_text(DOCUMENTS, symbols=100)  # 31 characters; each tells its document and its place there


def loader(streams=3, shuffle=True, seed=0, **others):
    return StreamLoader(TEXT, streams, shuffle, seed, **others)


def read(made, epoch=0):
    made.set_epoch(epoch)
    return list(made)


def rows(batches):
    """What each stream reads, and where it begins anew."""
    symbols, begins = (torch.stack(parts, dim=1) for parts in zip(*batches, strict=True))
    return symbols, begins


@pytest.mark.parametrize("shuffle", [True, False])
def test_streams_are_the_documents_one_after_another_cut_in_equal_parts(shuffle):
    made = loader(shuffle=shuffle)
    symbols_BT, begins_BT = rows(read(made))
    assert symbols_BT.shape == (3, 10) == (3, len(made))
    laid = symbols_BT.flatten().tolist()
    order = [number for number, _ in itertools.groupby(value // 10 for value in laid)]
    whole = torch.cat([DOCUMENTS[number] for number in order]).tolist()
    assert laid == whole[:30]
    assert sorted(order) == list(range(5))
    assert (order == list(range(5))) != shuffle
    for symbols_T, begins_T in zip(symbols_BT.tolist(), begins_BT.tolist(), strict=True):
        assert begins_T == [place == 0 or value % 10 == 0 for place, value in enumerate(symbols_T)]
    assert symbols_BT.dtype == torch.int64


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): rows(read(loader(seed=seed), epoch))[0] for seed in range(2) for epoch in range(3)}
    assert len({tuple(symbols.flatten().tolist()) for symbols in orders.values()}) == 6
    used = loader(seed=1)
    read(used, 0)
    next(iter(used))
    assert torch.equal(rows(read(used, 2))[0], orders[1, 2])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_have_streams_of_their_own(processes):
    whole = rows(read(loader(), 1))
    parts = [rows(read(loader(num_replicas=processes, rank=rank), 1)) for rank in range(processes)]
    for place in range(2):
        assert torch.equal(torch.cat([part[place] for part in parts]), whole[place])


def test_an_epoch_goes_on_where_it_stopped():
    whole = read(loader(), 1)
    for done in (1, 4, 9):
        first = loader()
        first.set_epoch(1)
        running = iter(first)
        for _ in range(done):
            next(running)
        again = loader()
        again.load_state_dict(first.state_dict())
        rest = read(again, 1)
        assert len(rest) == 10 - done
        assert all(
            torch.equal(a, b)
            for one, two in zip(rest, whole[done:], strict=True)
            for a, b in zip(one, two, strict=True)
        )
    other = loader(streams=5)
    other.load_state_dict(first.state_dict())
    with pytest.raises(
        UserError, match="data.batch_size is 5, but must be 3 until the epoch that is continued is over"
    ):
        read(other, 1)
    assert len(read(other, 2)) == 31 // 5, "the next one may have other streams"


def test_more_streams_than_characters():
    with pytest.raises(
        UserError, match="data.batch_size is 32, but must be at most the 31 characters of the training text"
    ):
        loader(streams=32)


@pytest.mark.parametrize("processes", [1, 2])
def test_whole_documents_come_once_the_longest_first(processes):
    parts = [list(DocumentLoader(TEXT, 2, False, 0, processes, rank)) for rank in range(processes)]
    found = [
        symbols_T[:length].tolist()
        for batches in zip(*parts, strict=True)
        for symbols_ST, lengths_S in batches
        for symbols_T, length in zip(symbols_ST, lengths_S.tolist(), strict=True)
    ]
    by_length = sorted(range(5), key=lambda number: -LENGTHS[number])
    assert found == [DOCUMENTS[number].tolist() for number in by_length]
    assert all((row[length:] == 0).all() for batch in parts[0] for row, length in zip(*batch, strict=True))
