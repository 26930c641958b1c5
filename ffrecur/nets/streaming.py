"""What a streaming character model computes: one character at a time, from a state that goes in and comes out.

Shapes: B parallel streams, V alphabet, H units of a layer, L hidden layers, N kinds of candidates, J keys of fast weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ffrecur.core.fast import FastRule, FastWeights, written
from ffrecur.core.learning import Carried, Masks, carried_on
from ffrecur.core.products import product_dtype
from ffrecur.core.sources import LookUp, Source, Stream, source_of
from ffrecur.core.sweep import First, Wiring
from ffrecur.functional import at_least_float32, masked, rms_normalize
from ffrecur.nets.texts import TextNet

CANDIDATES = 8192  # at once, to bound the memory of a score


class StreamState(NamedTuple):
    """What a net knows of the characters that it has read: all of it, and nothing else is kept anywhere."""

    hidden: tuple[Tensor, ...]  # L states (B, H) before normalisation
    memory: tuple[Tensor, ...] = ()  # of fast weights: L memories (B, H, J); none without them
    dreams: tuple[Tensor, ...] = ()  # what K negatives go on from, where not from the same: L states (B, K, H)

    def streams(self, some: slice | Tensor) -> StreamState:
        """Return the state of some of the streams."""
        return StreamState(*(tuple(each[some] for each in kind) for kind in self))


class Prepared(NamedTuple):
    """A net's sources, ready for many characters."""

    symbols: dict[int, LookUp]  # the candidate, by the layers that read it, numbered from 0
    below: list[Source]  # of the layers above the first
    lateral: list[Source]  # of every layer; none without
    above: list[Source]  # of the layers below the last; none without
    dtype: torch.dtype  # of the products


class StreamDynamics(TextNet):
    """What a `StreamNet` computes from its parameters."""

    iterations: int
    keys: int
    decay: float
    rate: float
    fast_rule: FastRule
    bottom_up: Sequence[nn.Linear]
    candidate: Mapping[str, nn.Linear]  # by the layers above the first that read it, numbered from 0
    lateral: Sequence[nn.Linear]
    top_down: Sequence[nn.Linear]
    fast: Sequence[nn.Linear]
    damping: float | tuple[float, ...]

    # --- states -------------------------------------------------------------------------------------------------------

    def first_state(self, batch_size: int) -> StreamState:
        """Return the state of streams that have read nothing: zeros, in float32 where the parameters are in half precision."""
        zeros = partial(torch.zeros, dtype=at_least_float32(self.weight.dtype), device=self.weight.device)
        memory = tuple(zeros(batch_size, width, self.keys) for width in self.hidden_features) if self.keys else ()
        return StreamState(tuple(zeros(batch_size, width) for width in self.hidden_features), memory)

    def fresh_where(self, state: StreamState, begins_B: Tensor) -> StreamState:
        """Return the state with streams that begin a document back at the first state; without dreams."""
        hidden = tuple(each.masked_fill(begins_B[:, None], 0) for each in state.hidden)
        if not state.memory or not begins_B.any():
            return StreamState(hidden, state.memory)
        return StreamState(hidden, tuple(each.masked_fill(begins_B[:, None, None], 0) for each in state.memory))

    def rows_of(self, state: StreamState, masks: Masks | None = None) -> list[Tensor]:
        """Return what the layers and the head read of a carried state: L normalised states `(B, H)`, masked."""
        return [
            masked(rms_normalize(each).to(self.weight.dtype), None if masks is None else masks[layer])
            for layer, each in enumerate(state.hidden)
        ]

    # --- the layers, and what drives them -----------------------------------------------------------------------------

    def prepare(self, dtype: torch.dtype | None = None, again: bool = True) -> Prepared:
        """Lay the weights out for many characters, in this precision or that which autocast asks for."""
        dtype = dtype or product_dtype(self.weight)
        with torch.no_grad():
            often = again or self.iterations > 1
            below = [source_of(module, dtype, often) for module in self.bottom_up[1:]]
            lateral = [source_of(module, dtype, again) for module in self.lateral]
            above = [source_of(module, dtype, often) for module in self.top_down]
            readers = {0: self.bottom_up[0], **{int(layer): module for layer, module in self.candidate.items()}}
            symbols = {layer: LookUp(module, len(self.alphabet)) for layer, module in readers.items()}
            return Prepared(symbols, below, lateral, above, dtype)

    def wired(
        self,
        prepared: Prepared,
        state: StreamState,
        kinds_NB: Tensor,
        masks: Masks | None = None,
        dreams: Sequence[Tensor] = (),
    ) -> Wiring:
        """Return the layers with the candidates, `(N, B)` or `(N, 1)`, and all clamped that is carried.

        Each candidate goes on from the state; with `dreams`, of each layer `(B, N - 1, H)`, all but the first from them. In the
        one iteration that there may be, a layer reads the carried state of the one above.
        """
        hidden, last = [each[None] for each in state.hidden], len(self.hidden_features) - 1
        if dreams:
            pairs = zip(hidden, dreams, strict=True)
            hidden = [torch.cat([true_1BH, dreams_BKH.transpose(0, 1)]) for true_1BH, dreams_BKH in pairs]
        rows = self.rows_of(StreamState(tuple(hidden)), masks)
        kinds_NB = kinds_NB if prepared.lateral else kinds_NB.expand(-1, len(state.hidden[0]))
        layers = []
        for layer, row in enumerate(rows):
            streams = [Stream(prepared.below[layer - 1], layer - 1)] if layer else []
            if layer in prepared.symbols:
                streams.append(Stream(prepared.symbols[layer], rows=kinds_NB[..., None]))
            if prepared.lateral:
                streams.append(Stream(prepared.lateral[layer], rows=row))
            if prepared.above and layer < last:
                once = rows[layer + 1] if self.iterations == 1 else None
                streams.append(Stream(prepared.above[layer], layer + 1, rows=once))
            if state.memory:
                weights = FastWeights(self.fast[layer], state.memory[layer])
                streams.append(Stream(weights, rows=row, drive=weights.drive(row[0])[None]))
            layers.append(streams)
        masks = masks or [None] * len(layers)
        order, kept = [[layer] for layer in range(len(layers))], range(len(layers)) if state.memory else ()
        begun, dampings = First(hidden, rows, [], carried=True), [self.damping]
        cases = len(state.hidden[0])
        return Wiring(layers, order, dampings * self.iterations, masks, len(kinds_NB), cases, begun, kept=kept)

    def gone_on(self, state: StreamState, found: Carried) -> StreamState:
        """Return the state after a character: the true candidate's, which alone writes into the fast weights.

        Dreams go on from what their own characters leave.
        """
        hidden = tuple(each[0].clone() for each in found.states)  # in tensors that hold nothing else
        if not state.memory:
            return StreamState(hidden, (), tuple(each[1:].transpose(0, 1) for each in found.states if state.dreams))
        memory = []
        for layer, before in enumerate(state.memory):
            stream = found.layers[layer][-1]
            assert isinstance(stream.source, FastWeights)
            assert stream.rows is not None
            assert stream.drive is not None
            recalled_BH, keys_BJ = stream.drive[0], stream.source.keys(stream.rows[0])
            values_BH, old_BH = found.drives[layer] - recalled_BH, recalled_BH if self.fast_rule == "delta" else None
            memory.append(written(before, values_BH, keys_BJ, self.decay, self.rate, old_BH))
        return StreamState(hidden, tuple(memory))

    # --- reading ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepared_step(self, prepared: Prepared, state: StreamState, symbols_B: Tensor) -> StreamState:
        """See `StreamNet.step`."""
        sweep, _ = self.sweep_kinds(self.wired(prepared, state, symbols_B[None]), prepared.dtype)
        found = carried_on(sweep)
        assert found is not None
        return self.gone_on(state._replace(dreams=()), found)  # dreams go on where the net learns

    def read(self, prepared: Prepared, symbols_BT: Tensor, state: StreamState | None = None) -> StreamState:
        """Return the state after some characters of each stream, from this state on or from the first one."""
        state = self.first_state(len(symbols_BT)) if state is None else state
        for symbols_B in symbols_BT.t():
            state = self.prepared_step(prepared, state, symbols_B)
        return state

    def begun_with(self, prepared: Prepared, numbers_N: Tensor) -> StreamState:
        """Return the state after a text, from its beginning; see `text.sampling.Writer`."""
        return self.read(prepared, numbers_N[None].to(self.weight.device))

    def extended(self, prepared: Prepared, state: StreamState, symbols_B: Tensor) -> StreamState:
        """Return the state after one more character."""
        return self.prepared_step(prepared, state, symbols_B)

    def prepared_logits(self, prepared: Prepared, state: StreamState) -> Tensor:
        """Logits `(B, V)` of the next character, by the head."""
        return self.plain_logits(state)

    def plain_logits(self, inputs: StreamState, masks: Masks | None = None) -> Tensor:
        """Logits `(B, V)` of the head; see `core.learning.LocalNet`."""
        with torch.no_grad():
            rows = [row[None] for row in self.rows_of(inputs, masks)]
            features_BF = self.read_out(rows, masks)
        return self.head(features_BF)

    def candidate_goodness(self, prepared: Prepared, state: StreamState) -> Tensor:
        """Goodness `(L, B, V)` of each of the V symbols as the next one, after the last iteration."""
        parts, symbols_V1 = [], torch.arange(len(self.alphabet), device=self.weight.device)[:, None]
        count = max(1, CANDIDATES // len(self.alphabet))
        for first in range(0, len(state.hidden[0]), count):
            part = state.streams(slice(first, first + count))
            goodness_TLVB = self.goodness_of_kinds(self.wired(prepared, part, symbols_V1), prepared.dtype)
            parts.append(goodness_TLVB[-1].transpose(-1, -2))
        return torch.cat(parts, dim=1)
