"""metrics/stream.py: goodness of each kind of character and what is written on, against a plain loop over the net."""

import pytest
import torch
from making import stream_net

from ffrecur.core import products
from ffrecur.metrics.stream import StreamEvaluation, follow, goodness_of_kinds, side_by_side, together, write_on
from ffrecur.negatives.labels import hard_labels

DOCUMENTS = ("abca bcab", "cab abca", "bbca ab")
WINDOW = 3


def read(net, text):
    """The state after a text, character by character."""
    state = net.first_state(1)
    for symbol in net.encode(text):
        state = net.step(state, symbol[None])
    return state


def last_goodness(net, text, symbol):
    """Goodness `(L,)` of a candidate after a text, after the last iteration."""
    return net.goodness(read(net, text), symbol.view(1))[-1, :, 0]


@torch.no_grad()
@pytest.mark.parametrize("options", [{"keys": 2}, {"iterations": 2, "candidate_layers": [1, 3]}])
def test_goodness_of_real_and_of_wrong_characters_is_that_of_a_loop(options):
    net = stream_net(goodness_weight=0.5, **options)
    found = goodness_of_kinds(net, DOCUMENTS, WINDOW, torch.Generator().manual_seed(4))
    source = torch.Generator().manual_seed(4)
    longest = sorted(DOCUMENTS, key=len, reverse=True)
    real, wrong = [], []
    for place in range(WINDOW, len(longest[0])):
        here = [document for document in longest if len(document) > place]
        noise_BV = torch.rand(len(here), len(net.alphabet), generator=source)
        for document, noise_V in zip(here, noise_BV, strict=True):
            before, true = document[:place], net.encode(document[place])
            drawn = hard_labels(net.logits(read(net, before)), true, noise_V[None])
            assert drawn != true
            real.append(last_goodness(net, before, true))
            wrong.append(last_goodness(net, before, drawn))
    torch.testing.assert_close(found["real"], torch.stack(real, dim=1))
    torch.testing.assert_close(found["teacher-forced"], torch.stack(wrong, dim=1))
    assert found["dreamt"].shape == found["real"].shape


@torch.no_grad()
@pytest.mark.parametrize("keys", [0, 2])
@pytest.mark.parametrize(("rows", "sizes"), [(1, [3, 3, 3, 3, 2, 1]), (4, [6, 6, 3]), (100, [15])])
def test_places_that_are_judged_together_are_the_same_places(keys, rows, sizes):
    net = stream_net(goodness_weight=0.5, keys=keys)
    documents = side_by_side(net, DOCUMENTS)
    alone = [(*state.hidden, *state.memory, next_B) for _, state, next_B in follow(net, *documents, WINDOW)]
    found = list(together(follow(net, *documents, WINDOW), rows))
    assert [len(each.next_B) for each in found] == sizes
    for _, state, next_B in found:
        assert len(state.memory) == (len(net.hidden_features) if keys else 0)
        assert all(len(each) == len(next_B) for each in (*state.hidden, *state.memory))
    whole = [torch.cat(parts) for parts in zip(*((*s.hidden, *s.memory, n) for _, s, n in found), strict=True)]
    expected = [torch.cat(parts) for parts in zip(*alone, strict=True)]
    assert all(torch.equal(*pair) for pair in zip(whole, expected, strict=True))


@torch.no_grad()
def test_at_temperature_zero_it_writes_the_characters_of_the_highest_score():
    net = stream_net(goodness_weight=0.5)
    for document, written in zip(DOCUMENTS, write_on(net, DOCUMENTS, WINDOW, 0.0, torch.Generator()), strict=True):
        text = document[:WINDOW]
        while len(text) < len(document):
            text += net.decode(net.score(read(net, text)).argmax(dim=1))
        assert document[:WINDOW] + written == text


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_streams_are_measured_in_whole_precision(weight, monkeypatch):
    monkeypatch.setattr(products, "has_bfloat16", lambda device: True)  # emulated where it is not
    net = stream_net(goodness_weight=weight).float()
    figures = []
    for enabled in (False, True):
        found = StreamEvaluation(WINDOW)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.update(net, *side_by_side(net, DOCUMENTS))
        figures.append(found.compute())
    assert figures[0] == figures[1]
