"""What the nets that predict text share: symbols, how goodness weighs in a prediction, and writing on.

Shapes: B windows or streams, V alphabet, H units of a layer, L hidden layers, N characters of a text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import Goodness
from ffrecur.errors import check_setting
from ffrecur.functional import NOISES, Noise, noise_contrastive_logits
from ffrecur.nets.base import LocalNet
from ffrecur.text.alphabet import Alphabet
from ffrecur.text.sampling import stream


class TextNet(LocalNet, ABC):
    """Base of the nets that give every symbol a score as the next one. See `text.sampling.Writer` for what it is asked for.

    Args:
        alphabet: the symbols, V of them.
        hidden_features: units of each hidden layer.
        sign: 1 if real text shall have high goodness, -1 if low.
        goodness_weight: weight of the layers' goodness in `score`, at least 0.
        noise: what wrong characters are drawn from, which decides how the head counts in `score`.
        goodness: what the layers are judged by.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    head: nn.Linear

    def __init__(
        self,
        alphabet: Alphabet,
        hidden_features: tuple[int, ...],
        sign: int,
        goodness_weight: float,
        noise: Noise,
        goodness: Goodness,
    ) -> None:
        super().__init__(hidden_features, sign, goodness)
        check_setting(goodness_weight >= 0, "goodness_weight", goodness_weight, "at least 0")
        check_setting(noise in NOISES, "noise", noise, " or ".join(NOISES))
        self.alphabet, self.goodness_weight, self.noise = alphabet, goodness_weight, noise

    def described_text(self) -> dict[str, Any]:
        """Return the entries of the settings for what a net of text has more than others."""
        return {
            "fold_case": self.alphabet.fold_case,
            "unknown": self.alphabet.unknown,
            "goodness_weight": self.goodness_weight,
            "noise": self.noise,
            **self.described_goodness(),
        }

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's symbols, `(N,)` int64; see `Alphabet.encode`."""
        return self.alphabet.encode(text)

    def decode(self, numbers_N: Tensor | Sequence[int]) -> str:
        """Return the text of symbol numbers `(N,)`."""
        return self.alphabet.decode(numbers_N)

    def dropout_masks(
        self, batch_size: int, state_dropout: float, generator: torch.Generator | None = None
    ) -> list[Tensor | None]:
        """L masks `(B, H)` of the normalised states, none of the symbols; None at rate 0. Drawn on the CPU."""
        return self.draw_masks(batch_size, 0, (0.0, state_dropout), generator)[1:]

    def generate(
        self,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> str:
        """Return `length` characters that go on from the prompt; see `sampling.stream` for how they are drawn."""
        return "".join(stream(self, prompt, length, temperature, top_k, generator))

    # --- prediction, with the weights laid out for many characters ----------------------------------------------------

    @abstractmethod
    def prepare(self) -> Any:
        """Lay the weights out."""

    @abstractmethod
    def begun_with(self, prepared: Any, numbers_N: Tensor) -> Any:
        """Return the context of a text, of one row: its last window, or the state after it."""

    @abstractmethod
    def extended(self, prepared: Any, context: Any, symbols_B: Tensor) -> Any:
        """Return the context after one more symbol of each row."""

    @abstractmethod
    def prepared_logits(self, prepared: Any, context: Any, /) -> Tensor:
        """Return the head's logits `(B, V)` of the next character."""

    @abstractmethod
    def candidate_goodness(self, prepared: Any, context: Any, /) -> Tensor:
        """Return the goodness `(L, B, V)` of each of the V symbols as the next one."""

    def prepared_score(self, prepared: Any, context: Any) -> Tensor:
        """Return what `score` does: `functional.noise_contrastive_logits` of head and goodness."""
        logits_BV = self.prepared_logits(prepared, context)
        if self.goodness_weight == 0:
            return logits_BV
        goodness_BV = self.sign * self.candidate_goodness(prepared, context).sum(dim=0)
        return noise_contrastive_logits(logits_BV, goodness_BV, self.goodness_weight, self.noise)
