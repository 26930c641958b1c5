"""What live pages compute in a real browser is what Python computes with the same weights, to float32's precision."""

import sys

import numpy as np
import pytest
import torch
from browser import chromium, complaints, fetched, open_page
from making import character_net, recurrent_net

import ffrecur
from ffrecur.pages.live import Scoring, live_page
from ffrecur.pages.live_weights import rounded
from ffrecur.text.alphabet import WHITE_SPACE
from ffrecur.text.sampling import draw, padded

pytestmark = pytest.mark.slow
RELATIVE = 1e-4

RECURRENT = [
    {"sign": -1},
    {"sign": 1, "update_scheme": "alternating", "damping": [0.1, 0.5, 0.7]},
    {"sign": -1, "update_scheme": "alternating", "center_images": True},
    {"hidden": (8,), "damping": 0.0, "sign": -1},
    {"hidden": (8, 4), "goodness": ffrecur.MeanSquare(blocks=4), "update_scheme": "alternating"},
    {"hidden": (8, 12, 4, 8), "goodness": ffrecur.MeanSquare(blocks=2), "center_images": True, "damping": [0.9, 0.2]},
]
CHARACTERS = [
    {},
    {"goodness_weight": 1.5, "sign": -1, "noise": "masked_head"},
    {"goodness_weight": 0.5, "noise": "head", "head_layers": [2, 3]},
    {"goodness_weight": 2.5, "noise": "uniform", "hidden": (8,)},
    {"goodness_weight": 1.0, "hidden": (4, 8), "goodness": ffrecur.MeanSquare(blocks=2), "window": 1},
    {"goodness_weight": 1.0, "alphabet": "zyx", "unknown": "drop", "window": 12},
]


@pytest.fixture(scope="module")
def driver():
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(driver, tmp_path):
    """A function that opens the page of a net; afterwards nothing was complained of or fetched."""

    def open_net(net, scoring=None):
        (tmp_path / "page.html").write_text(live_page(net, None, scoring).html, encoding="utf-8")
        open_page(driver, tmp_path / "page.html")
        return lambda script, *given: driver.execute_script(f"return {script}", *given)

    complaints(driver), fetched(driver)
    yield open_net
    assert complaints(driver) == []
    assert fetched(driver) == []


def close(found, expected):
    """Equal but for a share of the largest number."""
    found, expected = np.array(found, np.float64), expected.double().numpy()
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= RELATIVE * np.abs(expected).max()


def test_all_float16_numbers_are_read(opened):
    run = opened(recurrent_net(in_features=9))
    bits = np.arange(1 << 16, dtype=np.uint16)
    found = run("Array.from({length: 65536}, (_, bits) => String(half(bits)))")
    expected = bits.view(np.float16).astype(np.float64)
    assert np.array_equal(
        np.array([float(text.replace("Infinity", "inf")) for text in found]), expected, equal_nan=True
    )


@pytest.mark.parametrize("number", range(len(RECURRENT)))
def test_a_recurrent_net_computes_what_it_does_in_python(opened, number):
    net = recurrent_net(**{"hidden": (7, 5, 6), "in_features": 16, "classes": 5, **RECURRENT[number]})
    torch.nn.init.normal_(net.head.weight)
    weight = 0.5 * (number % 2)
    run, same = opened(net, Scoring((2, 4), weight)), rounded(net)
    images = torch.rand(3, 16, generator=torch.Generator().manual_seed(number))
    images[2, ::2] = 0
    precise = rounded(net).double()  # an expectation is a small difference of large numbers
    for image in images:
        close(run("ffrecur.curves(arguments[0], 6)", image.tolist()), same.label_goodness(image[None], 6)[:, :, 0])
        close(run("ffrecur.score(arguments[0])", image.tolist()), same.score(image[None], (2, 4), weight)[0])
        for label, iterations in ((0, 4), (4, 6)):
            found = run("Array.from(ffrecur.expectation(...arguments))", image.tolist(), label, iterations)
            close(found, precise.expectation(image[None], torch.tensor([label]), iterations)[0])
    if len(net.hidden_features) > 2:  # before the label has reached layer 2
        assert not any(run("Array.from(ffrecur.expectation(arguments[0], 0, 1))", image.tolist()))
    same.damping = 0.75
    close(run("ffrecur.curves(arguments[0], 6, 0.75)", image.tolist()), same.label_goodness(image[None], 6)[:, :, 0])


@pytest.mark.parametrize("number", range(len(CHARACTERS)))
def test_a_character_model_computes_what_it_does_in_python(opened, number):
    net = character_net(**{"alphabet": "abcdef ", "window": 4, "hidden": (7, 6, 5), **CHARACTERS[number]})
    run, same = opened(net), rounded(net)
    for text in ("", "a bad cafe", "fee", "xyzzy"):
        expected = same.score(padded(same, same.encode(text)))[0]
        close(run("ffrecur.score(arguments[0])", text), expected)
        close(run("ffrecur.probabilities(arguments[0])", text), torch.softmax(expected, dim=0))


@pytest.mark.parametrize(
    ("alphabet", "fold_case", "unknown"),
    [
        (alphabet, fold_case, unknown)
        for alphabet, fold_case in [("abc ", True), ("abcABC", False), ("abc", True), ("aß\nΩé☃🦊 ", False)]
        for unknown in ("drop", "replace", "error")
        if " " in alphabet or unknown != "replace"  # by a space
    ],
)
def test_text_becomes_the_same_numbers(opened, alphabet, fold_case, unknown):
    net = character_net(alphabet, fold_case=fold_case, unknown=unknown)
    run = opened(net)
    for text in ("", "a bad CAB", "a\nb\tc\u2003a\u00a0b\ufeff\x1f\x85", "ß🦊☃ é a", "\u0130 A"):
        found = run("ffrecur.encode(arguments[0])", text)
        assert found["unknown"] == sorted(net.alphabet.unknown_in(text))
        if unknown == "error" and found["unknown"]:
            with pytest.raises(ffrecur.UserError, match=f"at character {found['refused']},"):
                net.encode(text)
            assert run("ffrecur.score(arguments[0])", text) is None
        else:
            assert found["refused"] is None
            assert found["numbers"] == net.encode(text).tolist()


def test_white_space_is_pythons(opened):
    run = opened(character_net())
    script = (
        "Array.from({length: 0x3001}, (_, code) => code).filter((code) => WHITE_SPACE.test(String.fromCharCode(code)))"
    )
    assert run(script) == WHITE_SPACE
    assert not any(chr(code).isspace() for code in range(0x3001, sys.maxunicode + 1))


def test_symbols_are_drawn_as_in_python(opened):
    run = opened(character_net())
    generator = torch.Generator().manual_seed(0)
    for temperature in (0.0, 0.5, 1.0, 1.5):
        scores = 3 * torch.randn(40, 7, generator=generator)
        noise = torch.rand(40, generator=generator)
        noise[0] = 0
        found = run(
            "arguments[0].map((scores, i) => ffrecur.draw(scores, arguments[1][i], arguments[2]))",
            scores.tolist(),
            noise.tolist(),
            temperature,
        )
        assert found == draw(scores, noise, temperature).tolist()


def test_random_numbers_are_uniform_and_those_of_noise_normal(opened):
    run = opened(character_net())
    uniform = np.array(run("Array.from({length: 40000}, generatorOf(7))"))
    assert ((uniform >= 0) & (uniform < 1)).all()
    counts = np.histogram(uniform, 20, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 43.8, "chi-square of 19 degrees, 0.1 %"
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.02
    normal = np.array(run("Array.from(gaussians(40000, 1))"))
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert abs((np.abs(normal) < 1).mean() - 0.6827) < 0.01
    firsts = run("Array.from({length: 100}, (_, seed) => generatorOf(seed)())")
    assert len(set(firsts)) == 100
    assert run("[generatorOf(3)(), generatorOf(3)()]") == [firsts[3]] * 2
