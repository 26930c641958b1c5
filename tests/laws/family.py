"""What the laws ask of nets of one kind; the kinds are in `families.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Family(ABC):
    """Nets of one kind, and how they are asked.

    `answers` are the labels, or symbols, C. `several` tells whether a case may have several negatives. Dropout is that of the
    inputs, where the net knows it, and of the states.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    iterations: int = 1
    answers: int = 4
    several: bool = True
    dropout: tuple[float, float] | None = None

    @abstractmethod
    def net(self, **settings: Any) -> Any:
        """Return a net in float64, the same weights each time."""

    @abstractmethod
    def inputs(self, count: int) -> Tensor:
        """Return what a batch shows to the net."""

    def some(self, inputs: Tensor, cases: Sequence[int]) -> Tensor:
        """Return the inputs of some cases."""
        return inputs[cases]

    def negatives(self, inputs: Tensor, wrong_BK: Tensor) -> Any:
        """Return wrong answers as the net takes them for negatives."""
        return wrong_BK

    @abstractmethod
    def masks(
        self, net: Any, count: int, rates: tuple[float, float], generator: torch.Generator
    ) -> list[Tensor | None]:
        """Return dropout masks."""

    @abstractmethod
    def states(self, net: Any, inputs: Tensor) -> Sequence[Tensor]:
        """Return the states that the head reads, before normalisation."""

    @abstractmethod
    def judged(self, net: Any, inputs: Tensor) -> Tensor:
        """Return the goodness under each answer, `(T, L, B, C)`."""

    @property
    def scoring(self) -> dict[str, Any]:
        """Return the arguments of `score`."""
        return {}

    def owner(self, parameter: str) -> int | None:
        """Return the hidden layer that a parameter belongs to; None for the head's."""
        kind, layer = parameter.split(".")[:2]
        return None if kind == "head" else int(layer)
