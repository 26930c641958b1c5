"""What samples of a text model are worth: words that exist, variety, and how much is copied."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ffrecur.bars import bar

WORD = re.compile(r"[^\W\d_]+")  # letters of any script


def words(text: str) -> list[str]:
    """Return the words of a text, the last one left out if the text ends within it.

    >>> words("The fox, the cro")
    ['The', 'fox', 'the']
    """
    found = WORD.findall(text)
    return found[:-1] if text and WORD.fullmatch(text[-1]) else found


def without_begun_word(before: str, text: str) -> str:
    """Return a text without the rest of a word that was begun before it.

    >>> without_begun_word("a bad wo", "lf sat"), without_begun_word("a bad ", "wolf sat")
    (' sat', 'wolf sat')
    """
    if not WORD.fullmatch(before[-1:]):
        return text
    begun = WORD.match(text)
    return text[begun.end() :] if begun else text


def known_word_share(samples: Sequence[str], training_texts: Sequence[str]) -> float:
    """Return the share of the samples' words that occur in the training text; NaN if there are none.

    Words as in `words`: neither the samples' nor the training text's last ones count where text ends within them.

    >>> known_word_share(["the cat zat. "], ["the cat sat. "])
    0.6666666666666666
    """
    shown = bar(training_texts, "collecting the known words", "documents", len(training_texts))
    known = {word for text in shown for word in words(text)}
    drawn = [word for sample in samples for word in words(sample)]
    return sum(word in known for word in drawn) / len(drawn) if drawn else float("nan")


def grams(texts: Sequence[str], length: int) -> list[str]:
    """Return every run of so many characters of each text."""
    return [text[start : start + length] for text in texts for start in range(len(text) - length + 1)]


def distinct_4gram_ratio(samples: Sequence[str]) -> float:
    """Return the number of different runs of 4 characters over the number of all; NaN if there are none.

    A model that repeats itself has a low one. It falls with the length of text, so compare equal lengths only.

    >>> distinct_4gram_ratio(["abcdabcd"])
    0.8
    """
    found = grams(samples, 4)
    return len(set(found)) / len(found) if found else float("nan")


def longest_copied(samples: Sequence[str], training_texts: Sequence[str]) -> str:
    """Return the longest run of characters that samples and training text have in common, the first of equals.

    >>> longest_copied(["a red fox ran"], ["the red fox sat"])
    ' red fox '
    """

    def copied(length: int) -> str | None:
        runs = dict.fromkeys(grams(samples, length))  # in order; samples are few, the training text may be large
        found = {
            text[start : start + length]
            for text in bar(training_texts, "comparing with the training text", "documents", len(training_texts))
            for start in range(len(text) - length + 1)
            if text[start : start + length] in runs
        }
        return next((run for run in runs if run in found), None)

    # Every part of a copied run is copied too: double the length until nothing is found, then halve the distance.
    best, low, high = "", 0, 1
    while (run := copied(high)) is not None:
        best, low, high = run, high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        run = copied(middle)
        if run is None:
            high = middle
        else:
            low, best = middle, run
    return best
