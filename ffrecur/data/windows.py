"""Batches of windows of a text."""

from __future__ import annotations

from torch import Tensor

from ffrecur.data.loader import TensorLoader
from ffrecur.text.places import Places, Text, windows_at


class WindowLoader(TensorLoader):
    """Iterates over the places of a text: batches `(windows (B, W + 1) int64, index (B,) int64)`.

    The last symbol of a window is the one to predict; `index` numbers the places.
    """

    def __init__(self, text: Text, places_M: Tensor | Places, window: int, *arguments: object) -> None:
        super().__init__([places_M], *arguments)  # type: ignore[arg-type]
        self.text, self.places_M, self.window = text, places_M, window

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the windows of some places."""
        return windows_at(self.text, self.places_M[part], self.window + 1), part
