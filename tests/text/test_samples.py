"""What samples are measured by, on texts one can count by hand."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ffrecur.text.quality import distinct_4gram_ratio, grams, known_word_share, longest_copied, words

TEXT = st.text("ab ", max_size=25)


def test_words_of_any_script():
    assert words("Ein Füchslein, und 2 狐狸! ") == ["Ein", "Füchslein", "und", "狐狸"]
    assert words("cut of") == ["cut"]
    assert words("") == []


def test_known_words():
    assert known_word_share(["a fox ate. ", "a bxx, a fox "], ["the fox.", "a hen ate."]) == 6 / 7
    assert known_word_share(["a fox ate. "], ["the fox ate. a fo"]) == 1
    assert known_word_share(["a fo ate. "], ["the fox ate. a fo"]) == 2 / 3
    assert math.isnan(known_word_share([""], ["a"]))


def test_variety():
    assert distinct_4gram_ratio(["aaaaaaa"]) == 1 / 4
    assert distinct_4gram_ratio(["abcd", "abcd"]) == 1 / 2  # no run crosses from one sample to the next
    assert math.isnan(distinct_4gram_ratio(["abc"]))


@given(TEXT, TEXT)
def test_the_longest_copied_run_is_one(sample, training):
    run = longest_copied([sample], [training])
    assert run in sample
    assert run in training
    assert not any(gram in training for gram in grams([sample], len(run) + 1))


def test_nothing_in_common():
    assert longest_copied(["abc"], ["xyz"]) == ""
    assert longest_copied([], ["xyz"]) == ""
