"""The streaming character model: hidden states go on from character to character, and no layer looks further back.

Nothing of the past is stored but the state itself, and no gradient goes back in time: each layer learns at each character, by
its own goodness. Shapes: B parallel streams, V alphabet, H units of a layer, L hidden layers, K wrong candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core import fast
from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Begun, Learning, LocalLoss, Masks, Negatives, local_learning
from ffrecur.core.sweep import Wiring
from ffrecur.errors import UserError, check_setting, check_whole, check_widths
from ffrecur.functional import Noise
from ffrecur.nets.arguments import as_labels, as_negatives, kinds_of_answers
from ffrecur.nets.base import draw_weights, every_other, linear_layers
from ffrecur.nets.layers import checked_layers
from ffrecur.nets.streaming import StreamDynamics, StreamState
from ffrecur.text.alphabet import PAPER_ALPHABET, Alphabet


class StreamNet(StreamDynamics):
    """Read a text character by character and predict the next one; the hidden layers learn by Forward-Forward.

    Each candidate for the next character, the true one and drawn ones, goes on from the carried state: the layers are
    visited in turn from the bottom, and layer l computes

        relu(bottom_up @ rms(below) + lateral @ rms(carried) + top_down @ rms(above) + fast + bias)

    and moves there by `damping * carried + (1 - damping) * computed`. `below` is the new state of the layer below, or the
    candidate itself, one-hot; other layers may read the candidate too (`+ candidate @ one_hot`). `carried` is the layer's own
    state after the characters before, and `above` that of the layer above. With several iterations a candidate goes on from
    its own states in all of them but the first, and only what is lateral or fast stays as it was carried. Layers are judged by
    the new state's goodness. The true character's state is the one that is carried on. The head reads the carried states and
    predicts the next character.

    Weights start at `N(0, 2 / (fan_in * sources of the layer))`, so that goodness starts near 1, biases and head at 0.

    Args:
        alphabet: the symbols, V of them; the paper's 30 by default.
        hidden_features: units of each hidden layer, at least one layer.
        damping: share of the carried state in the new one, in [0, 1); or one for each layer, from the bottom.
        iterations: visits to every layer for each character, at least 1.
        lateral: whether a layer reads its own carried state.
        top_down: whether a layer reads the layer above.
        candidate_layers: the layers that read the candidate, numbered from 1, the first among them.
        fast_weights: of each layer's fast weights, see `ffrecur.core.fast`: how many keys, 0 for none; the decay, the share that
            is left after a character, in [0, 1]; the rate, the weight of what is written, at least 0; and "delta" for the
            delta rule, which takes away what the key recalled before; its rate is at most 1.
        sign: 1 if real text shall have high goodness, -1 if low.
        goodness_weight: weight of the layers' goodness in `score`, at least 0; 0 leaves the head alone.
        noise: what wrong characters are drawn from, which decides how the head counts in `score`; as of `CharNet`.
        goodness: what the layers are judged by.
        text: `fold_case`, whether text is lower-cased, and `unknown`, what becomes of characters that are no symbols: "drop",
            "replace" (by a space) or "error"; as of `Alphabet`.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    def __init__(
        self,
        alphabet: str = PAPER_ALPHABET,
        hidden_features: Sequence[int] = (500, 500, 500),
        damping: float | Sequence[float] = 0.3,
        *,
        iterations: int = 1,
        lateral: bool = True,
        top_down: bool = True,
        candidate_layers: Sequence[int] = (1,),
        fast_weights: Sequence[float | str] = (0, 0.95, 0.5),
        sign: int = 1,
        goodness_weight: float = 0.0,
        noise: Noise = "masked_head",
        goodness: Goodness = MEAN_SQUARE,
        **text: Any,
    ) -> None:
        widths = check_widths(hidden_features)
        super().__init__(Alphabet(alphabet, **text), widths, sign, goodness_weight, noise, goodness)
        single = isinstance(damping, Real)
        shares = tuple(float(share) for share in ([damping] if single else damping))  # type: ignore[union-attr, arg-type]
        fits = (single or len(shares) == len(widths)) and all(0 <= share < 1 for share in shares)
        allowed = f"at least 0 and less than 1, one number or {len(widths)}, one a layer"
        check_setting(fits, "damping", damping if single else list(shares), allowed)
        check_whole("iterations", iterations)
        self.keys, self.decay, self.rate, self.fast_rule = fast.checked(fast_weights)
        self.candidate_layers = checked_layers("candidate_layers", candidate_layers, len(widths))
        readers = list(self.candidate_layers)
        check_setting(readers[0] == 1, "candidate_layers", readers, "layers of which the first is one")
        self.damping = shares[0] if single else shares
        self.iterations = self.usual_iterations = iterations
        self.head_layers = range(1, len(widths) + 1)
        # Lists and dicts of modules do not tell what they hold; the annotations above do.
        self.bottom_up = linear_layers(len(self.alphabet), widths)  # type: ignore[assignment]
        own, higher = list(zip(widths, widths, strict=True)), list(zip(widths[1:], widths, strict=False))
        shown = {str(layer - 1): nn.Linear(len(self.alphabet), widths[layer - 1], bias=False) for layer in readers[1:]}
        self.candidate = nn.ModuleDict(shown)  # type: ignore[assignment]
        self.lateral = plain_layers(own if lateral else [])  # type: ignore[assignment]
        self.top_down = plain_layers(higher if top_down else [])  # type: ignore[assignment]
        self.fast = plain_layers([(width, self.keys) for width in widths] if self.keys else [])  # type: ignore[assignment]
        self.reads_above, self.head = top_down, nn.Linear(sum(widths), len(self.alphabet))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 2 / (fan_in * sources))`, the keys' from `N(0, 1 / fan_in)`; biases and head are 0.

        The keys' weights have a mean of 0 over what each key reads, so that what all states have in common makes no key.
        """
        draw_weights([], 1, self.head)
        for layer in range(len(self.hidden_features)):
            above = [self.top_down[layer]] if layer < len(self.top_down) else []
            above += [module for reader, module in self.candidate.items() if int(reader) == layer]
            drawn = [self.bottom_up[layer], *self.lateral[layer : layer + 1], *above]
            draw_weights(drawn, 2 / len(drawn), None)
        draw_weights(self.fast, 1, None)
        with torch.no_grad():
            for linear in self.fast:
                linear.weight -= linear.weight.mean(dim=1, keepdim=True)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold."""
        return {
            "alphabet": self.alphabet.symbols,
            "hidden_features": list(self.hidden_features),
            "damping": self.damping if isinstance(self.damping, float) else list(self.damping),
            "iterations": self.iterations,
            "lateral": len(self.lateral) > 0,
            "top_down": self.reads_above,  # also where there is one layer
            "candidate_layers": list(self.candidate_layers),
            "fast_weights": fast.described([self.keys, self.decay, self.rate, self.fast_rule]),
            "sign": self.sign,
            **self.described_text(),
        }

    # --- what it computes ---------------------------------------------------------------------------------------------

    def step(self, state: StreamState, symbols_B: Tensor) -> StreamState:
        """Return the state after one more character of each stream, without a graph.

        Raises `UserError` for a state or for symbols that do not fit.
        """
        state = self.check_state(state)
        symbols_B = self.check_symbols(symbols_B, state)
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.prepared_step(self.prepare(again=False), state, symbols_B)

    def logits(self, state: StreamState) -> Tensor:
        """Logits `(B, V)` of the head for the character that comes next; no hidden layer gets a gradient from them."""
        return self.plain_logits(self.check_state(state))

    def forward(self, state: StreamState) -> Tensor:
        """Logits `(B, V)`, as `logits` gives them."""
        return self.logits(state)

    @torch.no_grad()
    def goodness(self, state: StreamState, symbols_B: Tensor) -> Tensor:
        """Goodness `(T, L, B)` of one more character of each stream, in each iteration."""
        state = self.check_state(state)
        symbols_B, prepared = self.check_symbols(symbols_B, state), self.prepare(again=False)
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.goodness_of_kinds(self.wired(prepared, state, symbols_B[None]), prepared.dtype)[:, :, 0]

    @torch.no_grad()
    def score(self, state: StreamState) -> Tensor:
        """Score `(B, V)` of each symbol as the next one: the logits of the model's best prediction, without gradients.

        As `CharNet.score`: of the head, and of the goodness that each of the V candidates has after the last iteration.
        """
        state, prepared = self.check_state(state), self.prepare()
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.prepared_score(prepared, state)

    def check_state(self, state: StreamState) -> StreamState:
        """Return a state; raises `UserError` for one that is not of this net."""
        if not isinstance(state, StreamState):
            raise UserError(f"state is a {type(state).__name__}, but must be a StreamState: see StreamNet.first_state")
        given = [tuple(each.shape) for each in (*state.hidden, *state.memory)]
        count = len(state.hidden[0]) if given and state.hidden[0].ndim else 0
        wanted: list[tuple[int, ...]] = [(count, width) for width in self.hidden_features]
        wanted += [(count, width, self.keys) for width in self.hidden_features] if self.keys else []
        if state.dreams:
            check_setting(not self.keys, "dreams", len(state.dreams), "none of a net with fast weights")
            given += [tuple(each.shape) for each in state.dreams]
            wanted += [(count, state.dreams[0].shape[1], width) for width in self.hidden_features]
        if given != wanted:
            raise UserError(f"state has tensors of the shapes {given}, but the net's have {wanted}")
        return state

    def check_symbols(self, symbols_B: Tensor, state: StreamState, values: bool = True) -> Tensor:
        """Return one symbol for each stream; raises `UserError` for anything else."""
        count, device = len(state.hidden[0]), self.weight.device
        return as_labels("symbols", symbols_B, count, len(self.alphabet), device, values)

    # --- learning -----------------------------------------------------------------------------------------------------

    def local_learning(
        self,
        state: StreamState,
        symbols_B: Tensor,
        negatives: Negatives | None,
        learning: Learning,
        masks: Masks | None = None,
    ) -> tuple[LocalLoss, StreamState]:
        """Return the local loss of the next character of each stream, and the state after it.

        Its backward leaves the local gradients of the hidden layers, and the head's delta rule for the mean cross-entropy
        of these characters. No gradient goes through the state, and the new one does not depend on the negatives.

        Args:
            state: that after the characters before. Where it has K `dreams`, each negative goes on from one of them, and may
                be the true character, since what came before it is another text.
            symbols_B: the next character of each stream.
            negatives: wrong characters `(B,)`, or K for each stream `(B, K)`; or a function of the head's logits `(B, V)` and
                the next characters that draws them, such as `ffrecur.negatives.hard_labels`.
            learning: objective; as many iterations as the net has.
            masks: L dropout masks `(B, H)` of the normalised states, carried and new; see `dropout_masks`.

        Raises:
            UserError: a state, symbols or settings that do not fit.
        """
        state = self.check_state(state)
        symbols_B = self.check_symbols(symbols_B, state, values=False)
        if len(symbols_B) == 0:
            raise UserError("symbols have the shape (0,), an empty batch, but something must be learned from")
        iterations = learning.iterations or self.iterations
        check_setting(iterations == self.iterations, "iterations", iterations, f"those of the net, {self.iterations}")
        if not callable(negatives) and not learning.objective.all_candidates:
            wrong, dreaming = (negatives, symbols_B, len(self.alphabet)), len(state.dreams) > 0
            negatives = as_negatives(*wrong, values=False, name="negative symbols", may_be_true=dreaming)
        learned = local_learning(self, state, symbols_B, negatives, learning, masks)
        assert learned.carried is not None
        with torch.no_grad(), torch.autocast(self.weight.device.type, enabled=False):  # what is carried is in float32
            return learned, self.gone_on(state, learned.carried)

    def begin(self, inputs: StreamState, masks: Masks | None, dtype: torch.dtype) -> Begun:
        """Show the carried state to the head; see `core.learning.LocalNet`."""
        prepared = self.prepare(dtype, again=False)
        rows = [row[None] for row in self.rows_of(inputs, masks)]

        def wiring(symbols_B: Tensor, negatives: Tensor, iterations: int) -> Wiring:
            dreaming = len(inputs.dreams) > 0
            kinds_NB = kinds_of_answers(symbols_B, negatives, len(self.alphabet), "negative symbols", dreaming)
            dreams = inputs.dreams[0].shape[1] if dreaming else len(kinds_NB) - 1
            check_setting(len(kinds_NB) == 1 + dreams, "negatives", len(kinds_NB) - 1, f"{dreams}, one for each dream")
            return self.wired(prepared, inputs, kinds_NB, masks, inputs.dreams)

        return Begun(self.read_out(rows, masks), wiring)

    def candidates(self, true_B: Tensor) -> Tensor:
        """Every wrong symbol, `(B, V - 1)`."""
        return every_other(true_B, len(self.alphabet))


def plain_layers(sizes: Sequence[tuple[int, int]]) -> nn.ModuleList:
    """Return linear layers without biases, of these numbers of inputs and outputs."""
    return nn.ModuleList([nn.Linear(inputs, outputs, bias=False) for inputs, outputs in sizes])
