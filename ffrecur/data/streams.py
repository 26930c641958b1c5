"""Text for a model that carries a state: parallel streams of characters to train on, whole documents to be judged by.

Shapes: B streams, T characters of each; S documents, N symbols of all documents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ffrecur.data.loader import TensorLoader, epoch_order
from ffrecur.errors import CommonError
from ffrecur.text.places import Text


class StreamLoader(TensorLoader):
    """Iterates over parallel streams: a batch is the next character of each, `(symbols (B,) int64, begins (B,) bool)`.

    The documents are laid one after another, in an order of their own each epoch, and cut into B streams of equal length;
    what is left over, fewer than B characters, may come in another epoch, in another order of several documents. `begins`
    tells where a stream's character is the first of a document, or of the epoch: what was read before has nothing to do
    with it. A process has its part of the streams. The place is that of `TensorLoader`, in samples; an epoch cannot be
    continued with another number of streams, as each of them is amid its own part of the text.

    Raises `UserError` for more streams than there are characters.
    """

    def __init__(self, text: Text, batch_size: int, shuffle: bool, *arguments: Any, **named: Any) -> None:
        characters = len(text.symbols_N)
        if batch_size > characters:
            raise CommonError(
                f"data.batch_size is {batch_size}, but must be at most the {characters} characters of the training text: "
                "it is the number of streams"
            )
        self.length = characters // batch_size
        samples = torch.empty(self.length * batch_size, 0)  # which takes no memory
        super().__init__([samples], batch_size, False, *arguments, **named)  # which lays no order of its own
        self.text, self.ordered_anew = text, shuffle
        self.laid: tuple[int, Tensor, Tensor] | None = None  # the epoch, and its symbols and begins (T, B)

    def laid_out(self) -> tuple[Tensor, Tensor]:
        """Return symbols and begins `(T, B)` of the epoch."""
        if self.laid is None or self.laid[0] != self.epoch:
            begins, count = self.text.begins, len(self.text.begins) - 1
            order = epoch_order(count, self.seed, self.epoch).tolist() if self.ordered_anew else range(count)
            symbols_N = torch.cat([self.text.symbols_N[begins[number] : begins[number + 1]] for number in order])
            first_N = torch.zeros(len(symbols_N), dtype=torch.bool)
            lengths = begins.diff()[torch.as_tensor(list(order))]
            first_N[lengths.cumsum(0) - lengths] = True
            used = self.length * self.batch_size
            symbols_TB, first_TB = (each[:used].view(self.batch_size, -1).t() for each in (symbols_N, first_N))
            first_TB = first_TB.clone()
            first_TB[0] = True
            self.laid = self.epoch, symbols_TB, first_TB
        return self.laid[1:]

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the characters of some samples: sample `t * B + b` is character t of stream b."""
        symbols_TB, first_TB = self.laid_out()
        step, streams = int(part[0]) // self.batch_size, part % self.batch_size
        return symbols_TB[step, streams].long(), first_TB[step, streams]

    def place(self, epoch: int) -> tuple[int, int]:
        """See `TensorLoader.place`; raises `UserError` for another number of streams amid an epoch."""
        stored = self._resume_at
        if stored is not None and stored["epoch"] == epoch and stored["samples"]:
            streams = stored.get("streams", self.batch_size)
            if streams != self.batch_size:
                raise CommonError(
                    f"data.batch_size is {self.batch_size}, but must be {streams} until the epoch that is continued is over: "
                    "it is the number of streams"
                )
        return super().place(epoch)

    def state_dict(self) -> dict[str, int]:
        """See `TensorLoader`; with the number of streams."""
        return {**super().state_dict(), "streams": self.batch_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `TensorLoader`."""
        super().load_state_dict(state_dict)
        assert self._resume_at is not None
        self._resume_at["streams"] = state_dict.get("streams", self.batch_size)


class DocumentLoader(TensorLoader):
    """Iterates over whole documents, the longest first: batches `(symbols (S, T) int64, lengths (S,) int64)`.

    Documents that are shorter than the longest of a batch are filled up with symbol 0. A process may have no document of a
    batch, as where a text is one document.
    """

    may_be_empty = True

    def __init__(self, text: Text, *arguments: Any) -> None:
        super().__init__([text.begins.diff().argsort(descending=True, stable=True)], *arguments)
        self.text = text

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the documents at some places of the order by length."""
        return documents_at(self.text, self.tensors[0][part])


def documents_at(text: Text, numbers_S: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symbols of some documents, `(S, T)` int64 and filled up with 0, and their lengths `(S,)`.

    >>> documents_at(Text(torch.tensor([5, 6, 7]), torch.tensor([0, 2, 3])), torch.tensor([0, 1]))
    (tensor([[5, 6],
            [7, 0]]), tensor([2, 1]))
    """
    if not len(numbers_S):
        return torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    ends = [text.begins[number : number + 2].tolist() for number in numbers_S.tolist()]
    documents = [text.symbols_N[begin:end].long() for begin, end in ends]
    return pad_sequence(documents, batch_first=True), torch.tensor([len(document) for document in documents])
