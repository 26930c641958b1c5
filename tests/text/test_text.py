"""Places of a text, and negative windows: what they share with the real ones and where they differ."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from making import character_net, windows_of

from ffrecur import UserError
from ffrecur.lit.character import drawn_by
from ffrecur.negatives.windows import dream_begins, dreamt_windows, teacher_forced
from ffrecur.text.places import document_begins, make_text, places, windows_at


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_text(lengths=(9, 4, 12), symbols=4):
    return make_text([torch.randint(symbols, (n,), generator=generator(n)) for n in lengths], symbols)


def test_places_have_a_whole_window_of_their_own_document_before_them():
    text = some_text((5, 2, 4))
    assert places(text, 3).tolist() == [3, 4, 10]
    assert document_begins(text, places(text, 3)).tolist() == [0, 0, 7]
    assert places(text, 4).tolist() == [4]


def test_windows_end_with_their_places():
    text = some_text((5, 4))
    windows = windows_at(text, torch.tensor([3, 8]), 3)
    assert windows.tolist() == [text.symbols_N[1:4].tolist(), text.symbols_N[6:9].tolist()]


def test_large_alphabets():
    assert make_text([torch.tensor([300, 1])], 301).symbols_N.tolist() == [300, 1]


@pytest.mark.parametrize("source", ["teacher_forcing", "uniform"])
def test_a_wrong_last_character_and_only_there(source):
    net = character_net()
    contexts, following = windows_of(net, 200), torch.randint(4, (200,), generator=generator())
    logits = net.logits(contexts)
    noise = torch.rand(logits.shape, generator=generator(1))
    negatives = drawn_by(source, 1)(contexts, following, logits, noise)
    positives = torch.cat([contexts[:, 1:], following[:, None]], dim=1)
    assert torch.equal(negatives[:, :-1], positives[:, :-1])
    assert (negatives[:, -1] != positives[:, -1]).all()
    if source == "teacher_forcing":  # each is drawn by noise of its own
        noise = torch.cat([noise, torch.rand(200, 8, generator=generator(2))], dim=1)
    symbols = drawn_by(source, 3)(contexts, following, logits, noise).symbols_BK
    assert symbols.shape == (200, 3)
    assert torch.equal(symbols[:, 0], negatives[:, -1])
    assert (symbols != following[:, None]).all()
    different = [len(set(row)) for row in symbols.tolist()]
    assert (min(different) == 3) == (source == "uniform")
    if source == "teacher_forcing":
        assert torch.equal(negatives, teacher_forced(contexts, following, logits, generator(1)))


def test_teacher_forcing_draws_from_the_models_prediction():
    net = character_net()
    context = windows_of(net, 1)
    logits, count = net.logits(context), 20_000
    drawn = teacher_forced(context.expand(count, -1), torch.full((count,), 2), logits.expand(count, -1), generator())[
        :, -1
    ]
    share = torch.bincount(drawn, minlength=4).double() / count
    expected = torch.softmax(logits[0].detach().index_fill(0, torch.tensor([2]), -torch.inf), dim=0)
    torch.testing.assert_close(share, expected, rtol=0, atol=5 * 0.5 / count**0.5)
    noise = torch.rand(count, 4, generator=generator())
    even = drawn_by("uniform", 1)(context.expand(count, -1), torch.full((count,), 2), logits.expand(count, -1), noise)[
        :, -1
    ]
    share = torch.bincount(even, minlength=4).double() / count
    torch.testing.assert_close(share, torch.tensor([1, 1, 0, 1]).double() / 3, rtol=0, atol=5 * 0.5 / count**0.5)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_dreams_are_as_deep_as_asked(data):
    window, lengths = data.draw(st.integers(1, 4)), data.draw(st.lists(st.integers(1, 15), min_size=1, max_size=4))
    least = data.draw(st.integers(1, 6))
    depth = (least, data.draw(st.integers(least, 8)))
    text = some_text(lengths)
    here = places(text, window)
    begins = dream_begins(text, here, window, depth, data.draw(st.sampled_from([None, generator()])))
    first = document_begins(text, here) + window
    dreamt = here - begins + 1
    assert (begins >= first).all()
    assert (dreamt >= 1).all()
    assert (dreamt <= depth[1]).all()
    assert (dreamt[begins > first] >= depth[0]).all()


def test_the_papers_dreams_begin_with_their_documents():
    text = some_text((9, 4, 12))
    here = places(text, 3)
    begins = dream_begins(text, here, 3, (1, 90))
    assert begins.tolist() == [3] * 6 + [12] + [16] * 9


def test_every_depth_is_as_frequent():
    text = some_text((5000,))
    here = places(text, 3)
    begins = dream_begins(text, here, 3, (2, 5), generator())
    counts = torch.bincount(here - begins + 1)
    assert counts[2:6].min() > 1200


@pytest.mark.parametrize(("depth", "shuffle"), [((1, 1), False), ((1, 4), True), ((2, 3), True), ((1, 90), False)])
def test_dreamt_windows_are_what_the_strings_say(depth, shuffle):
    """Real before the dream, and then what the model draws after what it has drawn."""
    net, text = character_net(), some_text()
    here = places(text, net.window)
    windows = dreamt_windows(net, text, here, depth, 0.7, generator(3), shuffle)
    begins = dream_begins(text, here, net.window, depth, generator(3) if shuffle else None)
    for place, begin, window in zip(here.tolist(), begins.tolist(), windows.tolist(), strict=True):
        dreamt = place - begin + 1
        real = windows_at(text, torch.tensor([place]), net.window)[0].tolist()
        assert window[: max(net.window - dreamt, 0)] == real[: max(net.window - dreamt, 0)]
    # Windows of one dream at neighbouring places overlap in all but one character.
    for k in range(len(here) - 1):
        if begins[k] == begins[k + 1]:
            assert windows[k, 1:].tolist() == windows[k + 1, :-1].tolist()


@pytest.mark.parametrize(("depth", "shuffle"), [((2, 2), False), ((1, 4), True), ((1, 90), False)])
def test_dreams_at_temperature_zero_are_written_on_alone(depth, shuffle):
    """Each dream once more, character by character, from the real window before its beginning."""
    net, text = character_net(), some_text((20, 15))
    here = places(text, net.window)
    windows = dreamt_windows(net, text, here, depth, 0.0, generator(3), shuffle)
    begins = dream_begins(text, here, net.window, depth, generator(3) if shuffle else None)
    for place, begin, window in zip(here.tolist(), begins.tolist(), windows, strict=True):
        written = windows_at(text, torch.tensor([begin - 1]), net.window)[0]
        for _ in range(place - begin + 1):
            written = torch.cat([written, net.logits(written[None, -net.window :]).argmax(dim=1)])
        assert torch.equal(window.long(), written[-net.window :])


def test_dreams_at_temperature_zero_are_the_likeliest_characters():
    net, text = character_net(), some_text()
    here = places(text, net.window)
    windows = dreamt_windows(net, text, here, (1, 1), temperature=0)
    contexts = windows_at(text, here - 1, net.window)
    assert torch.equal(windows[:, -1].long(), net.logits(contexts).argmax(dim=1))


def test_dreams_do_not_depend_on_how_they_are_batched(monkeypatch):
    net, text = character_net(), some_text((40, 30))
    here = places(text, net.window)
    together = dreamt_windows(net, text, here, (1, 4), 1.0, generator(3), shuffle=True)
    monkeypatch.setattr("ffrecur.negatives.windows.ROWS", 3)
    assert torch.equal(dreamt_windows(net, text, here, (1, 4), 1.0, generator(3), shuffle=True), together)


@pytest.mark.parametrize("depth", [(0, 3), (4, 3)])
def test_bad_depths(depth):
    text = some_text()
    with pytest.raises(UserError, match="dream_depth is .*, but must be two whole numbers, 1 <= least <= most"):
        dream_begins(text, places(text, 3), 3, depth)
