"""Negative windows of text, from the model itself or from chance; each is held against the real window of its place.

A real (positive) window ends with the true next character. Shapes: B batch, W window, V alphabet, M places of a text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from ffrecur.bars import bar
from ffrecur.functional import Noise
from ffrecur.negatives.labels import hard_labels
from ffrecur.nets.character import LastSymbols
from ffrecur.processes import rank_slice
from ffrecur.text.places import Text, checked_depth, document_begins, windows_at
from ffrecur.text.sampling import WindowWriter, roll_out

ROWS = 4096  # of one roll-out; more would not be faster
PAPER_DREAM = (1, 90)  # characters that the paper's model writes on from the first ten of a document


class WindowNegatives(ABC):
    """Base of the negative windows that the command line takes by class path.

    `noise` says what their symbols are drawn from, which decides how the head counts in `CharNet.score`: "head",
    "masked_head" or "uniform".
    """

    noise: Noise = "head"

    @abstractmethod
    def __call__(
        self, contexts_BW: Tensor, next_B: Tensor, logits_BV: Tensor, noise_BV: Tensor
    ) -> Tensor | LastSymbols:
        """Return windows `(B, W)`, or the wrong symbols that the real windows end with; the noise is uniform in [0, 1)."""


def ended_with(contexts_BW: Tensor, symbols_B: Tensor) -> Tensor:
    """Return the windows one place on, which end with the given symbols, `(B, W)`."""
    return torch.cat([contexts_BW[:, 1:], symbols_B[:, None]], dim=1)


def teacher_forced(
    contexts_BW: Tensor,
    next_B: Tensor,
    logits_BV: Tensor,
    generator: Generator | None = None,
    noise_BV: Tensor | None = None,
) -> Tensor:
    """Teacher forcing: the real window, its last character a wrong one that the model predicts there.

    Drawn from the softmax of `logits_BV` with the true character's logit at minus infinity: never the true one. The
    draws take `noise_BV`, uniform in [0, 1), or else noise from the generator.
    """
    if noise_BV is None:
        noise_BV = torch.rand(logits_BV.shape, generator=generator).to(logits_BV.device)
    return ended_with(contexts_BW, hard_labels(logits_BV, next_B, noise_BV))


def forced_symbols(logits_BV: Tensor, next_B: Tensor, noise_BN: Tensor, count: int) -> Tensor:
    """Wrong last characters by teacher forcing, `count` for each window, `(B, count)`; noise is `(B, count * V)`.

    Each is drawn for itself, whatever the others are, so that some may be equal: only then does the prediction know what all
    of them are drawn from, q (1 - q) for any count, see `functional.noise_contrastive_logits`. Of different ones likely
    characters would be too few.
    """
    logits_NV, next_N = (each.repeat_interleave(count, dim=0) for each in (logits_BV, next_B))
    return hard_labels(logits_NV, next_N, noise_BN.reshape(logits_NV.shape)).view(-1, count)


def dream_begins(
    text: Text, places_M: Tensor, window: int, depth: tuple[int, int], generator: Generator | None = None
) -> Tensor:
    """Return where the dream that reaches each place begins, `(M,)`: the index of its first dreamt character.

    A dream goes on from real text for `depth[1]` characters, and its last `depth[1] - depth[0] + 1` windows are used, so
    that each window's dreamt characters are as many as `depth` says. Dreams follow one another through every document;
    with a generator, each document's first one is shortened at random, without, it begins where the model can first
    predict. Near a document's beginning there may be fewer dreamt characters.
    """
    checked_depth(depth)
    used = depth[1] - depth[0] + 1
    first_M = document_begins(text, places_M) + window
    shift = torch.zeros(len(text.begins), dtype=torch.long)
    if generator is not None:
        shift = torch.randint(used, shift.shape, generator=generator)
    shift_M = shift[torch.searchsorted(text.begins, places_M, right=True) - 1]
    first_used_M = places_M - (places_M - first_M + shift_M) % used
    return torch.maximum(first_used_M - depth[0] + 1, first_M)


@torch.no_grad()
def dreamt_windows(
    net: WindowWriter,
    text: Text,
    places_M: Tensor,
    depth: tuple[int, int],
    temperature: float = 1.0,
    generator: Generator | None = None,
    shuffle: bool = False,
    rank: int = 0,
    num_replicas: int = 1,
) -> Tensor:
    """Return for each place, in increasing order, a window that the model dreamt on from real text, `(M, W)`.

    The paper's strings are `depth=(1, 90)`: from the first ten characters of a document the model writes 90 more, and
    the windows of those are the negative data; in a longer document, it does so again after every 90. With less depth a
    window keeps real characters before the dreamt ones. With `shuffle` dreams begin elsewhere each time, see
    `dream_begins`. One batched roll-out for `ROWS` dreams.

    Of several processes each dreams its part, with the noise that one process would give it; the windows of the others'
    are 0, so that the sum over the ranks has them all.
    """
    begins_M = dream_begins(text, places_M, net.window, depth, generator if shuffle else None)
    begins_S, dream_M = begins_M.unique_consecutive(return_inverse=True)
    steps_M = places_M - begins_M + 1
    windows_MW = torch.zeros(len(places_M), net.window, dtype=text.symbols_N.dtype)
    noise_SN = torch.rand(len(begins_S), int(steps_M.max()), generator=generator)
    ours = rank_slice(len(begins_S), rank, num_replicas)
    starts = range(ours.start, ours.stop, ROWS)
    for first in bar(starts, "dreaming", "dreams", ours.stop - ours.start, lambda first: min(ROWS, ours.stop - first)):
        last = min(first + ROWS, ours.stop)
        mine = (dream_M >= first) & (dream_M < last)
        real = windows_at(text, begins_S[first:last] - 1, net.window)
        noise = noise_SN[first:last, : int(steps_M[mine].max())]
        dreams = roll_out(net, real.to(net.head.weight.device), noise.to(net.head.weight.device), temperature).cpu()
        columns = steps_M[mine][:, None] + torch.arange(net.window)
        windows_MW[mine] = dreams[(dream_M[mine] - first)[:, None], columns].to(windows_MW.dtype)
    return windows_MW
