"""From documents as strings to one tensor of symbols and back, some characters at a time so that large text fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
import torch

from ffrecur.bars import bar
from ffrecur.text.alphabet import Alphabet, characters, choose_symbols, code_points, count_characters
from ffrecur.text.places import Text, symbol_type

CHUNK = 1 << 18  # characters that are encoded at a time, which takes some 30 bytes for each


class Chunk(NamedTuple):
    """A part of documents that stand one after another."""

    text: str
    starts: list[int]  # places in it at which a document starts, other than the first of all


def chunks(documents: Iterable[str]) -> Iterator[Chunk]:
    """Return the documents one after another, cut into parts of any length: of `CHUNK` characters or some more."""
    parts: list[str] = []
    starts: list[int] = []
    size = 0
    for number, document in enumerate(documents):
        if number:
            starts.append(size)
        for start in range(0, len(document), CHUNK):
            parts.append(document[start : start + CHUNK])
            size += len(parts[-1])
            if size + len(starts) >= CHUNK:
                yield Chunk("".join(parts), starts)
                parts, starts, size = [], [], 0
    yield Chunk("".join(parts), starts)


def learned_symbols(documents: Iterable[str], minimum_count: int, keep_white_space: bool) -> str:
    """Return the alphabet that documents have, see `learn_alphabet`, which raises the same errors."""
    parts = (text for text, _ in chunks(documents))
    return choose_symbols(count_characters(parts, keep_white_space), minimum_count)


def encode_documents(
    alphabet: Alphabet, documents: Iterable[str], longest: int | None = None
) -> tuple[Text, Counter[str]]:
    """Return documents in numbers as `Alphabet.encode` has them, the first `longest` of each, and what is no symbol.

    Characters that are no symbols are counted in the order in which they come up, those behind the first `longest` symbols of
    a document left out. Those that the alphabet refuses are dropped here, so look at the count.
    """
    kind = symbol_type(len(alphabet))
    symbols, begins, unknown = bytearray(), [np.zeros(1, np.int64)], Counter[str]()  # a bytearray grows in place
    kept, begun = 0, 0  # begun: where the document begins that a part goes on with
    total = sum(map(len, documents)) if isinstance(documents, Sequence) else None
    parts = chunks(alphabet.lower(document) for document in documents)
    for part in bar(parts, "encoding the text", "characters", total, lambda part: len(part.text)):
        codes, starts = code_points(part.text), np.array(part.starts, np.int64)
        numbers = alphabet.look_up(codes)
        other = numbers < 0
        if alphabet.unknown == "replace":
            numbers[other] = alphabet.symbols.index(" ")
        dropped, at = np.flatnonzero(numbers < 0), np.flatnonzero(other)
        begins.append(kept + starts - np.searchsorted(dropped, starts))
        if len(at):
            owners = np.concatenate([[begun], begins[-1]])[np.searchsorted(starts, at, side="right")]
            places = kept + at - np.searchsorted(dropped, at) - owners  # symbols before it in its document
            unknown.update(characters(codes[at if longest is None else at[places < longest]]))
        begun = int(begins[-1][-1]) if len(starts) else begun
        kept += len(numbers) - len(dropped)
        symbols += torch.from_numpy(numbers[numbers >= 0]).to(kind).numpy().tobytes()
    begins.append(np.array([kept]))
    symbols_N = torch.frombuffer(symbols, dtype=kind) if symbols else torch.empty(0, dtype=kind)
    text = Text(symbols_N, torch.from_numpy(np.concatenate(begins)))
    return text if longest is None else shortened(text, longest), unknown


def shortened(text: Text, longest: int) -> Text:
    """Return a text with the first `longest` symbols of each document."""
    lengths = text.begins.diff().clamp(max=longest)
    parts = [text.symbols_N[begin : begin + length] for begin, length in zip(text.begins, lengths, strict=False)]
    return Text(torch.cat(parts), torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]))


class DecodedDocuments(Sequence[str]):
    """The documents of a text as strings, as the model sees them, each decoded whenever it is asked for."""

    def __init__(self, alphabet: Alphabet, text: Text) -> None:
        self.alphabet, self.text = alphabet, text

    def __len__(self) -> int:
        return len(self.text.begins) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]  # counts from the end, and raises IndexError
        begin, end = self.text.begins[number : number + 2].tolist()
        return self.alphabet.decode(self.text.symbols_N[begin:end])
