"""Documents in numbers, a part at a time: the same as one document after another."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ffrecur.data.cutting import cut
from ffrecur.data.encoding import DecodedDocuments, encode_documents, learned_symbols
from ffrecur.data.loader import epoch_order
from ffrecur.seeding import seeded_generator
from ffrecur.text.alphabet import Alphabet, learn_alphabet
from ffrecur.text.places import Places, make_text, places

# A capital sigma becomes another letter at the end of a word; the small letter of a dotted capital I is two characters.
LETTERS = st.one_of(st.sampled_from("ab ABΣς.'İ\u0345é🦊\ud800\x00"), st.characters())
DOCUMENT = st.text(LETTERS, max_size=12).map(lambda text: " ".join(text.split())).filter(bool)
DOCUMENTS = st.lists(DOCUMENT, min_size=1, max_size=6)
LINES = st.lists(st.text(LETTERS | st.sampled_from("\n\t "), min_size=1, max_size=12), min_size=1, max_size=6)
SIZES = st.integers(1, 20)


@given(
    DOCUMENTS | LINES, SIZES, st.sampled_from(["drop", "replace", "error"]), st.booleans(), st.sampled_from([None, 3])
)
def test_parts_are_encoded_as_documents_are(documents, size, unknown, fold_case, longest):
    alphabet = Alphabet("ab σς\n\u0307🦊\ud800", fold_case, unknown)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffrecur.data.encoding.CHUNK", size)
        text, counts = encode_documents(alphabet, documents, longest)
    dropping = Alphabet(alphabet.symbols, fold_case, "drop" if unknown == "error" else unknown)
    expected = make_text([dropping.encode(document)[:longest] for document in documents], len(alphabet))
    assert text.symbols_N.dtype == expected.symbols_N.dtype
    assert torch.equal(text.symbols_N, expected.symbols_N)
    assert torch.equal(text.begins, expected.begins)
    expected_counts, kept = Counter(), unknown == "replace"
    for document in documents:
        left = len(document) * 2 if longest is None else longest
        for character in document.lower() if fold_case else document:
            known = character in alphabet.symbols or character.isspace()
            if left > 0 and not known:
                expected_counts[character] += 1
            left -= known or kept
    assert list(counts.items()) == list(expected_counts.items())  # the order, too


@given(LINES, SIZES, st.booleans(), st.integers(1, 2), st.booleans())
def test_an_alphabet_is_learned_from_parts_as_from_the_whole(documents, size, fold_case, minimum_count, keep):
    lowered = [document.lower() if fold_case else document for document in documents]
    whole = "".join(lowered)
    counts = Counter(whole if keep else [" " if character.isspace() else character for character in whole])
    expected = "".join(sorted(symbol for symbol, count in counts.items() if count >= minimum_count))
    if len(expected) >= 2:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ffrecur.data.encoding.CHUNK", size)
            assert learned_symbols(lowered, minimum_count, keep) == expected
        assert learn_alphabet(whole, minimum_count, False, keep) == expected


def test_an_alphabet_of_more_than_256_symbols():
    alphabet = Alphabet("".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    text, _ = encode_documents(alphabet, ["\u4e00\u4f2b", "\u4f2b"])
    assert text.symbols_N.tolist() == [0, 299, 299]
    assert list(DecodedDocuments(alphabet, text)) == ["\u4e00\u4f2b", "\u4f2b"]


def test_documents_are_decoded_when_they_are_asked_for():
    alphabet = Alphabet("abc ")
    documents = ["a cab", "bbb", "c"]
    decoded = DecodedDocuments(alphabet, encode_documents(alphabet, documents)[0])
    assert (len(decoded), list(decoded), decoded[-1], decoded[:2], decoded[5:]) == (
        3,
        documents,
        "c",
        documents[:2],
        [],
    )
    assert "bbb" in decoded
    with pytest.raises(IndexError):
        decoded[3]


@given(st.text(st.sampled_from("ab \t\n\u2028|"), max_size=40), SIZES, st.sampled_from([None, "|"]))
def test_long_documents_are_cut_as_short_ones_are(text, size, separator):
    expected = [" ".join(part.split()) for part in (text.split(separator) if separator else [text])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffrecur.data.cutting.PIECE", size)
        found = cut(text, separator and re.compile(re.escape(separator)))
    assert found == [part for part in expected if part]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8).filter(any), st.integers(1, 4))
def test_places_need_not_be_held(lengths, window):
    text = make_text([torch.zeros(length) for length in lengths], 2)
    computed, held = Places(text, window), places(text, window)
    assert len(computed) == len(held)
    assert torch.equal(computed[torch.arange(len(held))], held)
    assert computed[torch.arange(len(held)).flip(0)].tolist() == held.flip(0).tolist()


@pytest.mark.parametrize("count", [1, 2, 1000, 2**16 + 3, 10**6])
def test_a_permutation_in_32_bits_is_the_one_in_64(count):
    order = epoch_order(count, 3, 5)
    assert order.dtype == torch.int32
    assert torch.equal(order.long(), torch.randperm(count, generator=seeded_generator(3, 5)))
