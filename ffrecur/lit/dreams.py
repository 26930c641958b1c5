"""The dreams that a character model trains against: of the last rounds, or of a stream, while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffrecur.nets.stream import StreamNet
from ffrecur.nets.streaming import StreamState
from ffrecur.text.sampling import draw


@dataclass
class Dreams:
    """A window a place of the training text from each of the last rounds, the newest first: G rounds, M places, W symbols.

    Args:
        rounds: how many of them are kept; those of earlier ones are forgotten.
        windows_GMW: what was dreamt; None before the first round.
        dreamt_at: the update before which the last round was dreamt.
        due: whether the next update begins with another round.
    """

    rounds: int
    windows_GMW: Tensor | None = None
    dreamt_at: int = -1
    due: bool = True

    def add(self, windows_MW: Tensor, step: int) -> None:
        """Take another round, dreamt before this update."""
        earlier = [] if self.windows_GMW is None else [self.windows_GMW[: self.rounds - 1]]
        self.windows_GMW, self.dreamt_at, self.due = torch.cat([windows_MW[None], *earlier]), step, False

    def at(self, places_B: Tensor) -> Tensor:
        """Return the negative windows of some places: `(B, W)` of one round, `(B, G, W)` of several."""
        assert self.windows_GMW is not None, "it dreams before the first update"
        found_GBW = self.windows_GMW[:, places_B].long()
        return found_GBW[0] if len(found_GBW) == 1 else found_GBW.transpose(0, 1)

    def forget(self) -> None:
        """Forget all rounds: the text has changed since."""
        self.windows_GMW, self.due = None, True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"windows": self.windows_GMW, "dreamt_at": self.dreamt_at, "due": self.due}

    def load(self, stored: dict[str, Any]) -> None:
        """Take back what a checkpoint kept; earlier versions kept one round, `(M, W)`, or None where one was due."""
        windows = stored.get("windows")
        windows = windows[None] if windows is not None and windows.ndim == 2 else windows
        self.windows_GMW = None if windows is None else windows[: self.rounds]
        self.dreamt_at, self.due = stored.get("dreamt_at", -1), stored.get("due", windows is None)


@dataclass
class StreamDreams:
    """What a streaming model dreams next to its streams: it goes on from what it knows with characters of its own.

    A dream begins from the state of its stream. After some characters, and where its document ends, it begins again.

    Args:
        count: dreams of each stream at the same time, K.
        depth: least and most characters of a dream.
        temperature: of the softmax that its characters are drawn from.
        left_BK: how many characters are left of each; None before the first.
    """

    count: int
    depth: tuple[int, int]
    temperature: float
    left_BK: Tensor | None = None

    def begin(self, state: StreamState, carried: StreamState, begins_B: Tensor, uniform_BK: Tensor) -> StreamState:
        """Return a state with its dreams: those of `carried`, or new ones where they are over; one character less is left."""
        begun = tuple(hidden_BH[:, None].expand(-1, self.count, -1) for hidden_BH in state.hidden)
        known = self.left_BK is not None and self.left_BK.shape == uniform_BK.shape and len(carried.dreams) > 0
        before = carried.dreams if known else begun
        left_BK = self.left_BK if known and self.left_BK is not None else torch.zeros_like(uniform_BK).long()
        over_BK, (least, most) = begins_B[:, None] | (left_BK == 0), self.depth
        self.left_BK = torch.where(over_BK, least + (uniform_BK * (most - least + 1)).long(), left_BK) - 1
        pairs = zip(begun, before, strict=True)
        return StreamState(state.hidden, (), tuple(torch.where(over_BK[..., None], new, old) for new, old in pairs))

    def draw(self, net: StreamNet, state: StreamState, uniform_BK: Tensor) -> Tensor:
        """Return the next character of each dream, `(B, K)`, as the head predicts it."""
        flat = StreamState(tuple(dreams_BKH.flatten(0, 1) for dreams_BKH in state.dreams))
        with torch.no_grad(), torch.autocast(net.weight.device.type, enabled=False):
            symbols = draw(net.plain_logits(flat), uniform_BK.flatten(), self.temperature)
        return symbols.view_as(uniform_BK)
