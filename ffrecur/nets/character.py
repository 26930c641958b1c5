"""The character model: hidden layers that learn from windows of text, each by its own goodness.

The paper's first draft (FFA13, December 2022) has it: the last ten characters, three hidden layers, negative data that
the model predicts or dreams itself. Shapes: B batch, W window, V alphabet, H units of a layer, L hidden layers,
N characters of a text. A window is a row of symbol numbers, the oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Begun, HandOut, Learning, LocalLoss, Masks, local_learning, sweep_batch
from ffrecur.core.objectives import Objective, objective_of
from ffrecur.core.sources import Stream, parameters_of
from ffrecur.core.sweep import Wiring
from ffrecur.errors import UserError, check_whole, check_widths
from ffrecur.functional import Noise
from ffrecur.nets.arguments import as_labels, as_tensor, as_windows, kinds_of_answers
from ffrecur.nets.base import draw_weights, every_other, linear_layers
from ffrecur.nets.layers import checked_layers
from ffrecur.nets.windows import Prepared, WindowDynamics
from ffrecur.text.alphabet import PAPER_ALPHABET, Alphabet, Unknown
from ffrecur.text.sampling import padded


class LastSymbols(NamedTuple):
    """Negative windows that are the real ones but for their last symbol: K wrong ones for each."""

    symbols_BK: Tensor


NegativeWindows = Tensor | LastSymbols | Callable[[Tensor, Tensor], Tensor | LastSymbols]


class CharNet(WindowDynamics):
    """Predict the next character from a window; the hidden layers learn by Forward-Forward, the head by the delta rule.

    Layer 0 reads the window as W one-hot vectors side by side, column `position * V + character`, which normalisation
    scales to `sqrt(V)` each; since all else is 0, it is computed as a sum of W columns. Every further layer reads the
    normalised state of the one below. Weights start at `N(0, 2/fan_in)`, so that goodness starts near 1, biases and head
    at 0.

    Args:
        alphabet: the symbols, V of them; the paper's 30 by default.
        window: characters that the model looks back, W.
        hidden_features: units of each hidden layer, at least one layer.
        sign: 1 if real text shall have high goodness, -1 if low.
        head_layers: layers whose normalised states the head reads, counted from 1; all by default.
        fold_case: whether text is lower-cased.
        unknown: what becomes of characters that are no symbols: "drop", "replace" (by a space) or "error".
        goodness_weight: weight of the layers' goodness in `score`, at least 0; 0 leaves the head alone.
        noise: what negative characters are drawn from, which decides how the head counts in `score`: "head",
            "masked_head" (with the true character masked out, as by teacher forcing) or "uniform".
        goodness: what the layers are judged by.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    def __init__(
        self,
        alphabet: str = PAPER_ALPHABET,
        window: int = 10,
        hidden_features: Sequence[int] = (2000, 2000, 2000),
        sign: int = 1,
        head_layers: Sequence[int] | None = None,
        fold_case: bool = True,
        unknown: Unknown = "drop",
        goodness_weight: float = 0.0,
        noise: Noise = "head",
        goodness: Goodness = MEAN_SQUARE,
    ) -> None:
        widths = check_widths(hidden_features)
        symbols = Alphabet(alphabet, fold_case, unknown)
        super().__init__(symbols, widths, sign, goodness_weight, noise, goodness)
        every = range(1, len(widths) + 1)
        check_whole("window", window)
        layers = checked_layers("head_layers", every if head_layers is None else head_layers, len(widths))
        self.window, self.head_layers = window, layers
        # A ModuleList does not tell what it holds; the annotation above does.
        self.hidden = linear_layers(window * len(self.alphabet), widths)  # type: ignore[assignment]
        self.head = nn.Linear(sum(widths[layer - 1] for layer in layers), len(self.alphabet))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 2/fan_in)`; set the biases and the head to 0."""
        draw_weights(self.hidden, 2, self.head)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold."""
        return {
            "alphabet": self.alphabet.symbols,
            "window": self.window,
            "hidden_features": list(self.hidden_features),
            "sign": self.sign,
            "head_layers": list(self.head_layers),
            **self.described_text(),
        }

    # --- what it computes ---------------------------------------------------------------------------------------------

    def check_pairs(self, real_BW: Tensor, negative_BW: Any) -> tuple[Tensor, Tensor]:
        """Return windows as tensors; raises `UserError` for what does not fit, and for unequal numbers.

        There may be several negative ones of each place, `(B, K, W)`.
        """
        real_BW = self.check_windows(real_BW)
        negative = as_tensor("negative windows", negative_BW, self.head.weight.device)
        flat = self.check_windows(negative.flatten(0, 1) if negative.ndim == 3 else negative, "negative windows")
        negative_BW = flat.view_as(negative)
        if len(real_BW) != len(negative_BW):
            raise UserError(f"there are {len(real_BW)} real windows, but {len(negative_BW)} negative ones")
        if len(real_BW) == 0:
            raise UserError("windows have the shape (0, ...), an empty batch, but something must be learned from")
        return real_BW, negative_BW

    @torch.no_grad()
    def score(self, windows_BW: Tensor) -> Tensor:
        """Score `(B, V)` of each symbol after each window: the logits of the model's best prediction, without gradients.

            log n + goodness_weight * sign * sum over layers of goodness;    of the head alone where the weight is 0

        n is what negative symbols are drawn from, q or q (1 - q) of the head's softmax q, or uniform: see `noise`. The
        goodness is that of the window one place on, which ends with the symbol. Layers that tell real windows from
        negative ones learn the log-ratio of the two probabilities: see `functional.noise_contrastive_logits`. V windows
        are looked at for each one given. Raises `UserError` for windows that do not fit.
        """
        windows_BW, prepared = self.check_windows(windows_BW), self.prepare()
        with torch.autocast(windows_BW.device.type, enabled=False):
            return self.prepared_score(prepared, windows_BW)

    # --- learning -----------------------------------------------------------------------------------------------------

    def local_loss(
        self,
        positive_windows_BW: Tensor,
        negative_windows_BW: Tensor | None,
        objective: str | Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
    ) -> Tensor:
        """Local loss `1/B * sum over windows and layers of the objective`, a scalar.

        Its backward leaves the local gradients of the hidden layers, in closed form: the derivative of each layer's own
        objective by its own weights, and no others. The head learns by `F.cross_entropy(net.logits(windows), next)`.
        A positive window is real text that ends with the character in question; of negative ones there may be several for each,
        `(B, K, W)`. An objective of all candidates, such as
        "softmax", compares it with those that end with every other one, and not with the negative windows, which may be None.
        Raises `UserError` for settings outside their range and for windows that do not fit.
        """
        learning = Learning(objective=objective_of(objective, threshold, temperature), iterations=1)
        needless = negative_windows_BW is None and learning.objective.all_candidates
        pair = self.check_pairs(positive_windows_BW, positive_windows_BW if needless else negative_windows_BW)
        gradients, prepared = torch.is_grad_enabled(), self.prepare()
        with torch.no_grad(), torch.autocast(pair[0].device.type, enabled=False):
            begun, next_B = pair[0][:, :-1], pair[0][:, -1]
            negatives = self.candidates(next_B) if learning.objective.all_candidates else pair[1]
            wiring = self.wired_windows(prepared, begun, next_B, negatives, None)
            swept = sweep_batch(self, wiring, learning, prepared.dtype, gradients)
        return HandOut.apply(swept.loss, swept.gradients, *parameters_of(wiring.layers)) if gradients else swept.loss

    def local_learning(
        self,
        contexts_BW: Tensor,
        next_B: Tensor,
        negatives: NegativeWindows | None,
        learning: Learning,
        masks: Masks | None = None,
    ) -> LocalLoss:
        """Return the local loss of one batch with what else there is to know of it.

        Its backward leaves the local gradients of the hidden layers, and the head's delta rule for the mean
        cross-entropy of the next character, in closed form.

        Args:
            contexts_BW: real windows.
            next_B: the character that comes after each.
            negatives: negative windows `(B, W)`, each of the place of the real window that ends with the next character, or
                several of each place, `(B, K, W)`;
                or `LastSymbols`; or a function that makes them from the head's logits `(B, V)` and the next characters.
            learning: objective.
            masks: L dropout masks `(B, H)` of the normalised states, None for a layer without, and none of the window; the
                same for the context, the positive and the negative window. See `dropout_masks`.

        Raises:
            UserError: windows that do not fit.
        """
        contexts_BW = self.check_windows(contexts_BW)
        device = self.head.weight.device
        next_B = as_labels("next symbols", next_B, len(contexts_BW), len(self.alphabet), device, values=False)
        if isinstance(negatives, Tensor):
            contexts_BW, negatives = self.check_pairs(contexts_BW, negatives)
        return local_learning(self, contexts_BW, next_B, negatives, learning, masks)

    def begin(self, inputs: Tensor, masks: Masks | None, dtype: torch.dtype) -> Begun:
        """Show the contexts to the net; see `core.learning.LocalNet`."""
        prepared = self.prepare(dtype)

        def wiring(next_B: Tensor, negatives: Tensor | LastSymbols, iterations: int) -> Wiring:
            return self.wired_windows(prepared, inputs[:, 1:], next_B, negatives, masks)

        return Begun(self.features(prepared, inputs, masks), wiring)

    def wired_windows(
        self, prepared: Prepared, begun_BX: Tensor, next_B: Tensor, negatives: Tensor | LastSymbols, masks: Masks | None
    ) -> Wiring:
        """Clamp the real windows, given by all characters but the last and by the last, and the negative ones."""
        if isinstance(negatives, LastSymbols):
            last_NB = kinds_of_answers(next_B, negatives.symbols_BK, len(self.alphabet), "negative symbols")
            streams = [Stream(prepared.whole, rows=begun_BX[None]), Stream(prepared.last, rows=last_NB[..., None])]
            return self.wired(prepared, streams, masks, len(last_NB), len(next_B))
        positive_BW = torch.cat([begun_BX, next_B[:, None]], dim=1)
        negatives, device = as_tensor("negative windows", negatives, next_B.device), next_B.device
        of_place = negatives[:, None] if negatives.ndim == 2 else negatives
        wanted = tuple(positive_BW.shape)
        if of_place.ndim != 3 or (len(of_place), *of_place.shape[2:]) != wanted or of_place.shape[1] == 0:
            several = f"{wanted}, or (B, K, W) for K of each place"
            raise UserError(f"negative windows have the shape {tuple(negatives.shape)}, but must have {several}")
        flat = as_windows(
            "negative windows", of_place.flatten(0, 1), self.window, len(self.alphabet), device, values=False
        )
        kinds_NBW = torch.cat([positive_BW[None], flat.view_as(of_place).transpose(0, 1)])
        return self.wired(prepared, [Stream(prepared.whole, rows=kinds_NBW)], masks, len(kinds_NBW), len(next_B))

    def candidates(self, true_B: Tensor) -> LastSymbols:
        """Every wrong symbol."""
        return LastSymbols(every_other(true_B, len(self.alphabet)))

    # --- text ---------------------------------------------------------------------------------------------------------

    def begun_with(self, prepared: Prepared, numbers_N: Tensor) -> Tensor:
        """Return the last window of a text, `(1, W)`; see `text.sampling.Writer`."""
        return padded(self, numbers_N)

    def extended(self, prepared: Prepared, windows_BW: Tensor, symbols_B: Tensor) -> Tensor:
        """Return the windows one place on."""
        return torch.cat([windows_BW[:, 1:], symbols_B[:, None]], dim=1)
