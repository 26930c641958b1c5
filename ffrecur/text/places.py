"""Text as a tensor: documents one after another, and the places in them that a model predicts.

Shapes: N symbols of all documents, M places, W window. A place is the index of a symbol that has W symbols of its own
document before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from ffrecur.errors import check_setting, pair_of


class Text(NamedTuple):
    """Documents in numbers."""

    symbols_N: Tensor  # uint8, or int32 for an alphabet of more than 256 symbols
    begins: Tensor  # index of each document's first symbol, and N at the end


def make_text(documents: Sequence[Tensor], symbols: int) -> Text:
    """Put documents of symbol numbers `(n,)` one after another; `symbols` is the size of the alphabet."""
    begins = torch.tensor([0, *(len(document) for document in documents)]).cumsum(0)
    return Text(torch.cat(list(documents)).to(symbol_type(symbols)), begins)


def fingerprint(text: Text) -> str:
    """Return the SHA-256 of a text's symbols and of where its documents begin: equal texts have equal ones.

    >>> fingerprint(make_text([torch.tensor([1, 0])], symbols=2))[:12]
    '74ed77ccf25b'
    """
    found = sha256(text.symbols_N.numpy().data)
    found.update(text.begins.numpy().data)
    return found.hexdigest()


def symbol_type(symbols: int) -> torch.dtype:
    """Return the narrowest type for the numbers of an alphabet of so many symbols."""
    return torch.uint8 if symbols <= 256 else torch.int32


def places(text: Text, window: int) -> Tensor:
    """Return the index of every symbol with at least `window` symbols of its document before it, `(M,)`.

    >>> places(make_text([torch.arange(4), torch.arange(3)], symbols=4), window=2)
    tensor([2, 3, 6])
    """
    first, stop = text.begins[:-1], text.begins[1:]
    predicted_N = torch.ones(len(text.symbols_N), dtype=torch.bool)
    for offset in range(min(window, int((stop - first).max()))):
        predicted_N[(first + offset)[first + offset < stop]] = False
    return predicted_N.nonzero().squeeze(1)


class Places:
    """What `places` returns, without holding it: 16 bytes a document instead of 8 a place.

    Stands for the tensor wherever only `len` and indexing by an index `(B,)` are asked for.

    >>> Places(make_text([torch.arange(4), torch.arange(3)], symbols=4), window=2)[torch.tensor([0, 2])]
    tensor([2, 6])
    """

    def __init__(self, text: Text, window: int) -> None:
        # The places of a document are its last ones, so each is as far from its document's end in the text as in the list.
        self.stops = (text.begins.diff() - window).clamp(min=0).cumsum(0)
        self.shifts = text.begins[1:] - self.stops

    def __len__(self) -> int:
        return int(self.stops[-1])

    def __getitem__(self, index_B: Tensor) -> Tensor:
        return index_B + self.shifts[torch.searchsorted(self.stops, index_B, right=True)]


def document_begins(text: Text, places_M: Tensor) -> Tensor:
    """Return the index of the first symbol of each place's document, `(M,)`."""
    return text.begins[torch.searchsorted(text.begins, places_M, right=True) - 1]


def windows_at(text: Text, places_M: Tensor, length: int) -> Tensor:
    """Return the `length` symbols that end with each place, `(M, length)` int64.

    >>> windows_at(make_text([torch.tensor([5, 6, 7, 8])], symbols=9), torch.tensor([2, 3]), length=2)
    tensor([[6, 7],
            [7, 8]])
    """
    return text.symbols_N[places_M[:, None] + torch.arange(1 - length, 1)].long()


def checked_depth(depth: Sequence[int]) -> tuple[int, int]:
    """Return least and most dreamt characters; raises `UserError` for a range that is none."""
    rule = "two whole numbers, 1 <= least <= most"
    least, most = pair_of("dream_depth", depth, 1, rule)
    check_setting(least <= most, "dream_depth", [least, most], rule)
    return least, most
