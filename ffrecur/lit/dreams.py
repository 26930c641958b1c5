"""The dreams that a character model trains against: those of the last rounds, from one dreaming to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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
