"""lit/dreams.py: the rounds that are kept, and what a checkpoint has of them."""

import torch

from ffrecur.lit.dreams import Dreams


def round_of(number, places=4, window=3):
    return torch.full((places, window), number, dtype=torch.int16)


def test_the_last_rounds_are_kept_the_newest_first():
    dreams, here = Dreams(2), torch.tensor([3, 0])
    assert dreams.due
    dreams.add(round_of(1), 0)
    assert not dreams.due
    assert torch.equal(dreams.at(here), torch.ones(2, 3, dtype=torch.long))
    for number in (2, 3):
        dreams.add(round_of(number), number)
    assert dreams.dreamt_at == 3
    assert dreams.at(here).tolist() == [[[3, 3, 3], [2, 2, 2]]] * 2


def test_one_round_is_replaced():
    dreams = Dreams(1)
    for number in (1, 2):
        dreams.add(round_of(number), number)
    assert torch.equal(dreams.windows_GMW, round_of(2)[None])


def test_a_checkpoint_has_all_of_it():
    dreams, again = Dreams(2), Dreams(2)
    for number in (1, 2):
        dreams.add(round_of(number), number)
    dreams.due = True
    again.load(dreams.state())
    assert (again.dreamt_at, again.due) == (2, True)
    assert torch.equal(again.windows_GMW, dreams.windows_GMW)
    fewer = Dreams(1)
    fewer.load(dreams.state())
    assert torch.equal(fewer.windows_GMW, round_of(2)[None])


def test_dreams_are_forgotten_as_a_whole():
    dreams = Dreams(2)
    dreams.add(round_of(1), 3)
    dreams.forget()
    assert (dreams.windows_GMW, dreams.due) == (None, True)


def test_checkpoints_of_earlier_versions_have_one_round():
    dreams = Dreams(3)
    dreams.load({"windows": round_of(7), "dreamt_at": 5})
    assert (dreams.dreamt_at, dreams.due) == (5, False)
    assert torch.equal(dreams.windows_GMW, round_of(7)[None])
    for stored in ({"windows": None, "dreamt_at": -1}, {}):
        dreams.load(stored)
        assert (dreams.windows_GMW, dreams.due) == (None, True)
