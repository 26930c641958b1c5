"""scripts/study/ngram.py: Kneser-Ney by hand, and probabilities that sum to 1."""

import contextlib
import io
import math
import sys

import ngram
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import TASKS


def test_a_bigram_model_by_hand():
    """ab, ba, ab, bb, bb of `ababbb`: after b come a once and b twice; b follows 2 different characters, a one."""
    model = ngram.KneserNey(["ababbb"], 2, "ab")
    cut = 1 / (1 + 2 * 2)  # once: ba; twice: ab, bb
    assert model.discounts == [1 / (1 + 2), cut]
    lower_b = (2 - 1 / 3) / 3 + (1 / 3 * 2 / 3) / 2
    found = model.probabilities("b")
    assert found["b"] == pytest.approx((2 - cut) / 3 + cut * 2 / 3 * lower_b)
    assert found["a"] == pytest.approx((1 - cut) / 3 + cut * 2 / 3 * (1 - lower_b))


@given(
    st.lists(st.text("abc", min_size=1, max_size=20), min_size=1, max_size=4),
    st.integers(1, 5),
    st.text("abcd", max_size=6),
)
def test_probabilities_sum_to_one(documents, order, context):
    found = ngram.KneserNey(documents, order, "abcd").probabilities(context)
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0


def test_the_unigram_of_evenly_used_symbols_is_uniform():
    bits, _ = ngram.evaluate(ngram.KneserNey(["abcd" * 5], 1, "abcd"), ["abcdabcd"], window=2)
    assert bits == pytest.approx(math.log2(4))


@pytest.mark.parametrize("order", ["0", "12"])
def test_orders_that_the_window_cannot_have_are_refused(order, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ngram.py", str(TASKS / "text" / "bundled.yaml"), "--orders", "2", order])
    with pytest.raises(SystemExit) as end:
        ngram.main()
    assert end.value.code == 2
    assert f"--orders is {order}, but must be from 1 to 11, one more than data.window" in capsys.readouterr().err


def test_a_task_of_images_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ngram.py", str(TASKS / "mnist" / "bundled.yaml")])
    with pytest.raises(SystemExit) as end:
        ngram.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("but must be of a task with text, but its data is ImageDataModule")


def test_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ngram.py", str(TASKS / "text" / "bundled.yaml"), "--orders", "1", "3"])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        ngram.main()
    one, three = (line.split() for line in out.getvalue().splitlines()[-2:])
    assert (one[0], three[0]) == ("1", "3")
    assert float(three[1]) < float(one[1]) < math.log2(30)
