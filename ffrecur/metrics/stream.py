"""What is measured of a streaming character model on held-out documents, each read from its first character on.

Shapes: S documents, T characters of the longest, B those that go on at a place, V alphabet, L hidden layers, M places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from ffrecur.bars import bar
from ffrecur.metrics.text import TextEvaluation
from ffrecur.negatives.labels import hard_labels
from ffrecur.nets.stream import StreamNet
from ffrecur.nets.streaming import Prepared, StreamState
from ffrecur.text.sampling import draw

ROWS = 128  # that are judged at once, at least: one document has one row a place


class Place(NamedTuple):
    """Some documents, all at the same distance from their beginning; or several such places, one after another."""

    prepared: Prepared
    state: StreamState  # after the characters before
    next_B: Tensor  # the character there


@torch.no_grad()
def follow(net: StreamNet, symbols_ST: Tensor, lengths_S: Tensor, window: int) -> Iterator[Place]:
    """Read documents side by side; yield every place that has `window` characters or more of its document before it.

    Those are the places that a model with that window predicts, so that figures compare.
    """
    order = lengths_S.argsort(descending=True, stable=True)
    symbols_ST, lengths = symbols_ST[order], lengths_S[order].tolist()
    prepared, state, count = net.prepare(), net.first_state(len(lengths)), len(lengths)
    for place in range(max(lengths, default=0)):
        while lengths[count - 1] <= place:
            count -= 1
        state, next_B = state.streams(slice(0, count)), symbols_ST[:count, place]
        if place >= window:
            yield Place(prepared, state, next_B)
        state = net.prepared_step(prepared, state, next_B)


def together(places: Iterable[Place], rows: int = ROWS) -> Iterator[Place]:
    """Yield the same in the same order, with so many rows or more at once: a place alone has as many as documents."""
    found: list[Place] = []
    for place in places:
        found.append(place)
        if sum(len(each.next_B) for each in found) >= rows:
            yield joined(found)
            found = []
    if found:
        yield joined(found)


def joined(places: Sequence[Place]) -> Place:
    """Return several places as one."""
    of_kinds = zip(*(each.state for each in places), strict=True)
    state = StreamState(*(tuple(map(torch.cat, zip(*parts, strict=True))) for parts in of_kinds))
    return Place(places[0].prepared, state, torch.cat([each.next_B for each in places]))


class StreamEvaluation(TextEvaluation):
    """The figures of `TextEvaluation` by the score and by the head alone, at the places that `follow` yields.

    Args:
        window: characters of a document before the first place that is judged.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    @torch.no_grad()
    def update(self, net: StreamNet, symbols_ST: Tensor, lengths_S: Tensor) -> None:  # type: ignore[override]
        """Add documents, any number and none too, in float32 whatever the precision of the training."""
        heads, truth = [net.weight.new_empty(0, len(net.alphabet))], [lengths_S.new_empty(0)]
        scores = list(heads)
        with torch.autocast(net.weight.device.type, enabled=False):
            for prepared, state, next_B in together(follow(net, symbols_ST, lengths_S, self.window)):
                heads.append(net.prepared_logits(prepared, state))
                scores.append(net.prepared_score(prepared, state) if net.goodness_weight else heads[-1])
                truth.append(next_B)
        self.by_head.update(torch.cat(heads), torch.cat(truth))
        self.by_score.update(torch.cat(scores), torch.cat(truth))


@torch.no_grad()
def goodness_of_kinds(net: StreamNet, documents: Sequence[str], window: int, generator: Generator) -> dict[str, Tensor]:
    """Return the goodness `(L, M)` of the characters of documents, of wrong ones that the head draws, and of dreams.

    A dream is what the model writes itself, at temperature 1, after the first window of a document.
    """
    kinds: dict[str, list[Tensor]] = {"real": [], "teacher-forced": [], "dreamt": []}
    for prepared, state, next_B in together(follow(net, *side_by_side(net, documents), window)):
        noise_BV = torch.rand(len(next_B), len(net.alphabet), generator=generator).to(next_B.device)
        wrong_B = hard_labels(net.prepared_logits(prepared, state), next_B, noise_BV)
        goodness_LNB = last_goodness(net, prepared, state, torch.stack([next_B, wrong_B]))
        kinds["real"].append(goodness_LNB[:, 0])
        kinds["teacher-forced"].append(goodness_LNB[:, 1])
    dreams = write_on(net, documents, window, 1.0, generator)
    whole = [document[:window] + dream for document, dream in zip(documents, dreams, strict=True)]
    for prepared, state, next_B in together(follow(net, *side_by_side(net, whole), window)):
        kinds["dreamt"].append(last_goodness(net, prepared, state, next_B[None])[:, 0])
    return {name: torch.cat(parts, dim=1).cpu() for name, parts in kinds.items()}


def last_goodness(net: StreamNet, prepared: Prepared, state: StreamState, kinds_NB: Tensor) -> Tensor:
    """Return the goodness `(L, N, B)` of candidates after the last iteration."""
    return net.goodness_of_kinds(net.wired(prepared, state, kinds_NB), prepared.dtype)[-1]


def side_by_side(net: StreamNet, documents: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return documents in numbers, `(S, T)` filled up with 0, and their lengths `(S,)`, on the net's device."""
    numbers = [net.encode(document) for document in documents]
    lengths_S = torch.tensor([len(each) for each in numbers])
    return pad_sequence(numbers, batch_first=True).to(net.weight.device), lengths_S


@torch.no_grad()
def write_on(
    net: StreamNet, documents: Sequence[str], window: int, temperature: float, generator: Generator
) -> list[str]:
    """Return what the model writes after the first window of each document: as many characters as the document has."""
    numbers_ST, lengths_S = side_by_side(net, documents)
    prepared, length = net.prepare(), int(lengths_S.max()) - window
    noise_SN = torch.rand(len(documents), length, generator=generator)
    written: list[Tensor] = []
    with torch.autocast(net.weight.device.type, enabled=False):
        state = net.read(prepared, numbers_ST[:, :window])
        for noise_S in bar(noise_SN.t(), f"writing {len(documents):,} texts at once", "characters", length):
            written.append(draw(net.prepared_score(prepared, state), noise_S, temperature))
            state = net.extended(prepared, state, written[-1])
    rows = torch.stack(written, dim=1).cpu()
    return [net.decode(row[: total - window]) for row, total in zip(rows, lengths_S.tolist(), strict=True)]
