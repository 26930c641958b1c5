"""Visits to the layers of a net, in order, iteration by iteration: what every layer becomes, and its local gradients.

For a layer with drive z, computed state c = relu(z), new state s = damping * previous + (1 - damping) * c and goodness g(s), the
local derivative is

    d loss / d z = d loss / d g * d g / d s * (1 - damping) * [c > 0]

Neighbours, earlier iterations and the damped part are constants. The gradient of a parameter sums over iterations, kinds and
cases; the rows that a source read and these derivatives are laid one under another, so that the sum is one matrix product.

Shapes: N kinds of data, the positive first, B cases, H units, T iterations, L layers, K values of goodness a layer.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ffrecur.core.goodness import Goodness, judge
from ffrecur.core.sources import Layers, Stream, clamped_drive, plus_product

Order = Sequence[
    Sequence[int]
]  # layers that are visited together, group after group; a later group reads what an earlier became


@dataclass
class First:
    """What one visit to each layer in turn leaves, each reading the one below; the iterations begin from there.

    Or, `carried`, states that are brought along, from a character before: then there are no drives, and no goodness.
    """

    states: list[Tensor]  # (n, B, H)
    rows: list[Tensor]  # (n, B, H): normalised and masked, as neighbours and head read them
    goodness: list[Tensor]  # (n, B, K)
    drives: dict[int, Tensor] = field(default_factory=dict)  # of streams, by their place: (T, n, B, H) of video
    # Each is that of the first stream of its layer, without the bias where it moves.
    carried: bool = False


class Wiring(NamedTuple):
    """How the layers of a net hang together, with all that is clamped for a batch."""

    layers: Layers
    order: Order
    damping: Sequence[float | Sequence[float]]  # of each iteration, of all its layers or one a layer
    masks: Sequence[Tensor | None]  # of each layer's normalised state, (B, H)
    kinds: int  # N: the positive, and its negatives
    cases: int  # B
    first: First | None = None  # where the iterations begin; None for layers that are visited once, in turn
    peer_means: Sequence[Tensor] = ()  # running means of the units' activities, of each layer (H,)
    shown: Sequence[int] = ()  # layers of which something but a layer reads what they become in the end
    kept: Sequence[int] = ()  # layers of which the last drive of positive data is kept


class Sweep:
    """The layers of a net while they are visited.

    Args:
        wiring: how they hang together.
        goodness: what they are judged by.
        dtype: precision of the rows that are kept.
        tape: iterations of which rows and derivatives are kept; 0 keeps none. With a tape all states have N kinds, without
            one kind until they differ.
        peers: whether the units' mean activities on positive data are kept.
    """

    def __init__(
        self, wiring: Wiring, goodness: Goodness, dtype: torch.dtype, tape: int = 0, peers: bool = False
    ) -> None:
        check_wiring(wiring)
        self.layers, self.order, self.damping, self.masks = wiring.layers, wiring.order, wiring.damping, wiring.masks
        self.first, self.kinds = wiring.first, wiring.kinds
        self.goodness, self.dtype, self.tape, self.peers = goodness, dtype, tape, peers
        count = len(self.layers)
        self.group = {layer: number for number, group in enumerate(self.order) for layer in group}
        self.held = [self._held(layer) for layer in range(count)]
        self.states: list[Tensor | None] = [None] * count
        self.rows: list[Tensor | None] = [None] * count  # as the neighbours read them now
        self.visits = [0] * count
        self.agree = [True] * count  # whether all kinds have the same state
        # On the tape, of each layer: kept rows, (t + 1, N, B, H), or (1, N, B, H) of layers that are visited once and read;
        # active states (t, N, B, H), or whole ones where the goodness has no factor; for such a goodness, the active units.
        self.reads: dict[int, Tensor] = {}
        self.kept: dict[int, Tensor] = {}
        self.gates: dict[int, Tensor] = {}
        self.read = {stream.layer for streams in self.layers for stream in streams if stream.rows is None}
        self.read |= set(wiring.shown)
        self.positive_means: list[list[Tensor]] = [[] for _ in self.layers]  # of each iteration on the tape (H,)
        self.folds = [False] * count  # whether in the first iteration all kinds read the same rows
        self.keeps, self.last_drives = wiring.kept, dict[int, Tensor]()  # (B, H)
        if self.first is not None:
            self._begin(self.first)

    # --- what does not change ----------------------------------------------------------------------------------------

    def _held(self, layer: int) -> Tensor | None:
        """The part of a layer's drive that stays: what is clamped and still, and the biases; `(n, B, H)` or `(H,)`."""
        held: Tensor | None = None
        for place, stream in enumerate(self.layers[layer]):
            if stream.rows is not None and not stream.video:
                ready = None if self.first is None or place > 0 else self.first.drives.get(layer)
                part = clamped_drive(stream) if ready is None else ready
            elif stream.source.bias is not None and stream.rows is None:
                part = stream.source.bias
            else:
                continue
            held = part if held is None else held + part
        if held is not None and held.ndim == 3 and self.tape and self.first is not None:
            return held.expand(self.kinds, -1, -1).contiguous()  # read by every iteration's products
        return held

    def _begin(self, first: First) -> None:
        """Put the first states where the iterations find them."""
        self.agree = [len(state) == 1 for state in first.states]
        if not self.tape:
            self.states, self.rows = list(first.states), list(first.rows)
            return
        for layer, (state, row) in enumerate(zip(first.states, first.rows, strict=True)):
            self.states[layer] = state.expand(self.kinds, -1, -1).clone()
            shape = (self.kinds, *state.shape[1:])
            self.reads[layer] = state.new_empty(self.tape + 1, *shape, dtype=self.dtype)
            self.reads[layer][0] = row
            self.rows[layer] = self.reads[layer][0]
            whole = self._whole(state)
            self.kept[layer] = state.new_empty(self.tape, *shape, dtype=state.dtype if whole else self.dtype)
            if whole:
                self.gates[layer] = state.new_empty(self.tape, *shape, dtype=torch.bool)

    def _whole(self, state: Tensor) -> bool:
        """Whether the gradient needs all of a state: its goodness has no factor."""
        return self.goodness.factor(state.new_empty(0, self.goodness.blocks), state.shape[-1]) is None

    # --- visits -------------------------------------------------------------------------------------------------------

    def iterate(
        self,
        iteration: int,
        step: int,
        goodness_LNBK: Tensor | None = None,
        only: Container[int] | None = None,
    ) -> None:
        """Visit every layer once, or these `only`; write down its goodness. `step` is the iteration's place on the tape."""
        for group in self.order:
            shown = {}
            for layer in group:
                if only is not None and layer not in only:
                    continue
                shown[layer], values = self.visit(layer, iteration, step)
                if goodness_LNBK is not None:
                    goodness_LNBK[layer] = values
            for layer, (row, agree) in shown.items():
                self.rows[layer], self.agree[layer] = row, agree
                self.visits[layer] += 1

    def shown(self) -> dict[int, Tensor]:
        """Return what layers show to those that read them: of each `(n, B, H)`, its normalised state."""
        return {layer: row for layer, row in enumerate(self.rows) if row is not None}

    def wind_back(self) -> None:
        """Make the tape ready for the next stretch of iterations: its last rows are the first ones there."""
        self.positive_means = [[] for _ in self.layers]
        for layer, read in self.reads.items():
            read[0].copy_(read[-1])
            self.rows[layer] = read[0]

    def visit(self, layer: int, iteration: int, step: int) -> tuple[tuple[Tensor | None, bool], Tensor]:
        """Visit a layer; return what its neighbours read of it from now on, whether all kinds agree, and its goodness.

        With a tape there is nothing to be read of a layer that no other reads, and that is visited once.
        """
        drive, agree = self.drive(layer, iteration)
        if layer in self.keeps:
            self.last_drives[layer] = drive[0].clone()
        computed = drive.clamp_(min=0)
        if self.peers:
            self.positive_means[layer].append(computed[0].mean(dim=0))
        if self.tape and len(computed) < self.kinds:
            computed = computed.repeat(self.kinds, 1, 1)
        previous, damping = self.states[layer], damping_of(self.damping, iteration, layer)
        if previous is not None:
            computed = computed.to(previous.dtype)  # of parameters in half precision, some drives are in float32
        if previous is None:
            state = computed
            if self.tape:
                self.kept[layer] = state[None]
                if self._whole(state):
                    self.gates[layer] = state[None] > 0
        elif self.tape:
            state = previous.lerp_(computed, 1 - damping)
            if layer in self.gates:
                self.kept[layer][step] = state
                torch.gt(computed, 0, out=self.gates[layer][step])
            else:  # the state where the unit is active, else 0
                torch.ops.aten.threshold_backward.grad_input(state, computed, 0, grad_input=self.kept[layer][step])
        else:
            state = computed.lerp_(previous, damping)
        values, scale = judge(self.goodness, state)
        if previous is not None or self.tape:
            self.states[layer] = state
        if previous is not None and self.tape:
            row = torch.mul(state, scale, out=self.reads[layer][step + 1])
        elif self.tape and layer not in self.read:
            return (None, agree), values
        elif self.tape or previous is not None:
            row = (state * scale).to(self.dtype)
        else:  # nothing asks for the state again
            row = state.mul_(scale).to(self.dtype)
        mask = self.masks[layer]
        if mask is not None:
            row.mul_(mask)
        if previous is None and self.tape:
            self.reads[layer] = row[None]
        return (row, agree), values

    def drive(self, layer: int, iteration: int) -> tuple[Tensor, bool]:
        """Return a layer's drive `(n, B, H)` in a new tensor, and whether it is the same for all kinds, `n = 1` then."""
        streams = self.layers[layer]
        agrees = [self._agrees(stream) for stream in streams]
        agree = all(agrees) and self.agree[layer]
        outer = self.held[layer]
        if self.first is not None and streams[0].video:
            frame = self.first.drives[layer][iteration]
            outer = frame if outer is None else outer + frame
        moving = [(s, a) for s, a in zip(streams, agrees, strict=True) if s.rows is None]
        if outer is not None and outer.ndim == 3 and agree:
            outer = outer[:1]
        if not moving:
            assert outer is not None, "a layer has a source"
            return (outer if self.first is None else outer.clone()), agree
        if iteration == 0 and all(a for _, a in moving):
            self.folds[layer] = True
        for stream, same in moving:
            rows = self.rows[stream.layer]
            assert rows is not None, "a layer reads what was visited before"
            rows = rows[:1] if same else rows
            ready = self.first.drives.get(layer) if self.first is not None and stream is streams[0] else None
            if ready is not None and self.visits[stream.layer] == 0:
                outer = ready.clone() if outer is None else outer + ready
            else:
                outer = plus_product(stream.source, rows, outer)
        assert outer is not None, "a layer has a source"
        return outer, agree

    def _agrees(self, stream: Stream) -> bool:
        if stream.rows is None:
            return self.agree[stream.layer]
        return stream.rows.shape[1 if stream.video else 0] == 1


def check_wiring(wiring: Wiring) -> None:
    """Raise `ValueError` for layers that hang together in a way that a sweep cannot follow."""
    count, first, length = len(wiring.layers), wiring.first, len(wiring.damping)
    if first is None and length != 1:
        raise ValueError(f"there are {length} iterations, but without a first pass layers are visited once")
    if first is not None and not first.carried and sorted(first.drives) != list(range(count)):
        raise ValueError(f"the first pass has drives of layers {sorted(first.drives)}, but needs all {count}")
    if sorted(layer for group in wiring.order for layer in group) != list(range(count)):
        raise ValueError(f"the order of visits is {wiring.order}, but must have each of {count} layers once")
    for layer, streams in enumerate(wiring.layers):
        passed = first is not None and not first.carried
        if any(stream.video and (place > 0 or not passed) for place, stream in enumerate(streams)):
            raise ValueError(f"layer {layer} reads a video, which must be its first stream, with a first pass")


def damping_of(damping: Sequence[float | Sequence[float]], iteration: int, layer: int) -> float:
    """Return the share of a layer's previous state in an iteration."""
    shares = damping[iteration]
    return shares[layer] if isinstance(shares, Sequence) else shares


def rise(layers: Layers, goodness: Goodness, masks: Sequence[Tensor | None]) -> First:
    """Visit each layer once, in turn, reading its first stream alone: what is clamped, or the layer below."""
    found = First([], [], [])
    for layer, streams in enumerate(layers):
        stream = streams[0]
        if stream.rows is not None:
            drive = found.drives[layer] = clamped_drive(stream)
            drive = drive[0] if stream.video else drive
        else:
            found.drives[layer] = plus_product(stream.source, found.rows[stream.layer], None)
            bias = stream.source.bias
            drive = found.drives[layer] if bias is None else found.drives[layer] + bias
        state = torch.relu(drive)
        values, scale = judge(goodness, state)
        row, mask = state * scale, masks[layer]
        found.states.append(state)
        found.rows.append(row if mask is None else row.mul_(mask))
        found.goodness.append(values)
    return found
