"""Drawing characters and text: frequencies, limits, reproducibility, and what one step may see."""

import pytest
import torch
from making import character_net, windows_of
from scipy.stats import chi2

from ffrecur import CharNet, UserError
from ffrecur.data.corpus import WindowLoader
from ffrecur.text.alphabet import Alphabet
from ffrecur.text.places import make_text, places
from ffrecur.text.sampling import as_read, draw, padded, roll_out, stream


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3)])
def test_frequencies_are_those_of_the_softmax(temperature, top_k):
    """A correct sampler fails this one time in a million; the seed is fixed, so it fails always or never."""
    logits, count = torch.tensor([0.3, -1.0, 2.0, 1.1, 0.2]), 200_000
    drawn = draw(logits.expand(count, 5), torch.rand(count, generator=generator()), temperature, top_k)
    kept = logits if top_k is None else torch.where(logits >= logits.topk(top_k).values[-1], logits, -torch.inf)
    expected = count * torch.softmax(kept.double() / temperature, dim=0)
    found = torch.bincount(drawn, minlength=5)
    assert (found[expected == 0] == 0).all()
    possible = expected > 0
    statistic = ((found - expected)[possible] ** 2 / expected[possible]).sum().item()
    assert statistic < chi2.isf(1e-6, int(possible.sum()) - 1)


def test_temperature_zero_is_the_argmax_and_top_1_too():
    logits = torch.randn(50, 7, generator=generator())
    noise = torch.rand(50, generator=generator(1))
    assert torch.equal(draw(logits, noise, temperature=0), logits.argmax(dim=1))
    assert torch.equal(draw(logits, noise, top_k=1), logits.argmax(dim=1))


def test_a_symbol_without_probability_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    for noise in (0.0, 0.5, 1 - 2**-24):
        assert draw(logits, torch.tensor([noise])).item() in (1, 3)
    assert draw(torch.tensor([[200.0, 0.0]]), torch.tensor([1 - 2**-24])).item() == 0


def test_a_roll_out_is_one_step_after_another():
    net = character_net()
    windows, noise = windows_of(net, 6), torch.rand(6, 5, generator=generator())
    text = roll_out(net, windows, noise, temperature=0.7)
    assert torch.equal(text[:, :3], windows)
    for step in range(5):
        expected = draw(net.logits(text[:, step : step + 3]), noise[:, step], temperature=0.7)
        assert torch.equal(text[:, step + 3], expected)


def test_texts_are_the_same_in_one_batch_or_one_by_one():
    net = character_net()
    windows, noise = windows_of(net, 6), torch.rand(6, 8, generator=generator())
    together = roll_out(net, windows, noise)
    alone = [roll_out(net, windows[i : i + 1], noise[i : i + 1]) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))


def test_a_roll_out_by_score():
    net = character_net(goodness_weight=2.0)
    windows, noise = windows_of(net, 6), torch.rand(6, 5, generator=generator())
    text = roll_out(net, windows, noise, by="score")
    for step in range(5):
        assert torch.equal(text[:, step + 3], draw(net.score(text[:, step : step + 3]), noise[:, step]))
    assert not torch.equal(text, roll_out(net, windows, noise, by="softmax"))


def test_a_stream_rates_by_score_or_by_the_head_alone():
    net = character_net(goodness_weight=50.0)
    window = net.encode("abc")[None]
    expected = {"score": net.score(window).argmax(), "softmax": net.logits(window).argmax()}
    assert expected["score"] != expected["softmax"]
    for by, symbol in expected.items():
        assert "".join(stream(net, "abc", 1, temperature=0, by=by)) == "abc "[symbol]
    assert net.generate("abc", 1, temperature=0) == "abc "[expected["score"]]


def test_a_stream_is_the_roll_out_of_the_prompts_last_window():
    net = character_net()
    text = net.generate("cab a", 9, temperature=0.8, generator=generator(5))
    source = generator(5)
    noise = torch.cat([torch.rand(1, generator=source) for _ in range(9)])[None]
    assert text == net.decode(roll_out(net, net.encode("b a")[None], noise, temperature=0.8)[0, 3:])
    assert text == net.generate("cab a", 9, temperature=0.8, generator=generator(5))
    assert len(text) == 9


def test_later_characters_never_change_earlier_predictions():
    """Character 7 of a document of 12, then its last; the windows as the data module cuts them."""
    net = character_net()
    symbols = windows_of(CharNet("abc ", 12, (2,)), 1)[0]

    def predictions(symbols):
        text = make_text([symbols], symbols=4)
        here = places(text, net.window)
        ((windows, index),) = WindowLoader(text, here, net.window, 100, False, 0)
        return dict(zip(here[index].tolist(), net.logits(windows[:, :-1]), strict=True))

    before = predictions(symbols)
    for changed_place in (7, 11):
        changed = symbols.clone()
        changed[changed_place] = (changed[changed_place] + 1) % 4
        after = predictions(changed)
        for place in before:
            sees_it = changed_place < place <= changed_place + net.window
            assert torch.equal(before[place], after[place]) != sees_it, place


def test_no_temperature_overflows():
    logits, noise = torch.tensor([[700.0, 699.0, -700.0]]), torch.tensor([0.999])
    assert draw(logits, noise, temperature=1e-310).item() == 0
    assert draw(logits, noise, temperature=1e300).item() == 2


def test_a_net_that_has_diverged_does_not_write():
    net = character_net()
    torch.nn.init.constant_(net.head.weight, float("nan"))
    with pytest.raises(UserError, match="not finite"):
        next(stream(net, "ab", 3))


def test_characters_come_one_by_one():
    net = character_net()
    characters = stream(net, "ab", 10**9)
    assert len(next(characters)) == 1


@pytest.mark.parametrize(
    ("alphabet", "prompt", "expected"),
    [("abc ", "b", "  b"), ("abc ", "", "   "), ("abc ", "abcab", "cab"), ("xyz", "z", "xxz"), ("abc ", "A-b", " ab")],
)
def test_short_prompts_are_filled_up_on_the_left(alphabet, prompt, expected):
    net = character_net(alphabet)
    assert net.decode(padded(net, net.encode(prompt))[0]) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_line_ends_of_prompts_are_those_of_the_alphabet(end):
    assert as_read(f"a{end}b", Alphabet("\n ab")) == "a\nb"
    assert as_read(f"a{end} b", Alphabet(" ab")) == "a b"


def test_by_goodness_the_best_candidate_has_the_best_goodness():
    net = character_net(sign=-1)
    (character,) = stream(net, "abc", 1, temperature=0, by="goodness")
    windows = torch.stack([net.encode("bc" + candidate) for candidate in "abc "])
    assert character == "abc "[net.goodness(windows).sum(dim=0).argmin()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length is -1, but must be a whole number of at least 0"),
        ({"temperature": -0.1}, "temperature is -0.1, but must be at least 0"),
        ({"top_k": 0}, "top_k is 0, but must be a whole number of at least 1"),
        ({"by": "chance"}, "by is 'chance', but must be score or softmax or goodness"),
        ({"goodness_temperature": 0.0}, "goodness_temperature is 0.0, but must be greater than 0"),
    ],
)
def test_bad_settings_are_refused_at_once(options, message):
    with pytest.raises(UserError) as error:
        stream(character_net(), "ab", **{"length": 3, **options})
    assert str(error.value) == message


def test_no_characters_at_all():
    assert character_net().generate("ab", 0) == ""
