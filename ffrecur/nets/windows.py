"""What a character model computes of windows: plainly, one window at a time, and of many with the weights laid out once.

Shapes: B batch, W window, V alphabet, H units of a layer, L hidden layers. A window is a row of symbol numbers, the oldest
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.core.goodness import judge, mean_over_blocks
from ffrecur.core.learning import Masks
from ffrecur.core.products import product_dtype
from ffrecur.core.sources import LookUp, Source, Stream, source_of
from ffrecur.core.sweep import Wiring
from ffrecur.functional import EPS, masked, rms_normalize
from ffrecur.nets.arguments import as_windows
from ffrecur.nets.base import States
from ffrecur.nets.texts import TextNet

CANDIDATES = 8192  # windows at once, to bound the memory of a score


class Prepared(NamedTuple):
    """A net's sources, ready for many windows."""

    whole: LookUp  # of the first layer, which reads all of a window
    last: LookUp  # the same columns, of the last character alone
    above: list[Source]  # of the layers above
    dtype: torch.dtype  # of the products


class WindowDynamics(TextNet):
    """What a `CharNet` computes from its parameters."""

    window: int
    hidden: Sequence[nn.Linear]

    def first_drive(self, windows_BW: Tensor) -> Tensor:
        """Return the first layer's drive `(B, H)`: the bias and a sum of W columns of its weight, times `sqrt(V)`.

        Raises `UserError` for windows of another length, and for numbers that are no symbols.
        """
        windows_BW, linear = self.check_windows(windows_BW), self.hidden[0]
        table = linear.weight.t() * (1 / len(self.alphabet) + EPS) ** -0.5
        columns = windows_BW + torch.arange(self.window, device=windows_BW.device) * len(self.alphabet)
        return F.embedding_bag(columns, table, mode="sum") + linear.bias

    def check_windows(self, windows_BW: Tensor, name: str = "windows") -> Tensor:
        """Return windows as a tensor; raises `UserError` for another length or type, and for numbers that are no symbols."""
        return as_windows(name, windows_BW, self.window, len(self.alphabet), self.head.weight.device)

    def read(self, state_BH: Tensor, layer: int, masks: Masks | None = None) -> Tensor:
        """Return what the layer above and the head read of a hidden layer (from 0): its normalised state, masked.

        It carries no gradient.
        """
        return masked(rms_normalize(state_BH.detach()), None if masks is None else masks[layer])

    def states(self, windows_BW: Tensor, masks: Masks | None = None) -> States:
        """Return the hidden states before normalisation, L of `(B, H)`; no layer gets a gradient from one above."""
        states = [torch.relu(self.first_drive(windows_BW))]
        for layer, linear in enumerate(self.hidden[1:]):
            states.append(torch.relu(linear(self.read(states[-1], layer, masks))))
        return tuple(states)

    def head_logits(self, states: States, masks: Masks | None = None) -> Tensor:
        """Logits `(B, V)` of the linear head on the concatenated normalised states, to which it sends no gradient."""
        return self.head(
            torch.cat([self.read(states[layer - 1], layer - 1, masks) for layer in self.head_layers], dim=1)
        )

    def plain_logits(self, inputs: Tensor, masks: Masks | None = None) -> Tensor:
        """`logits`; see `core.learning.LocalNet`."""
        return self.logits(inputs, masks)

    def logits(self, windows_BW: Tensor, masks: Masks | None = None) -> Tensor:
        """Logits `(B, V)` of the character that comes after each window."""
        return self.head_logits(self.states(windows_BW, masks), masks)

    def forward(self, windows_BW: Tensor) -> Tensor:
        """Logits `(B, V)`, as `logits` gives them: the net can stand where any module can."""
        return self.logits(windows_BW)

    def goodness(self, windows_BW: Tensor) -> Tensor:
        """Goodness `mean(state**2)` of each layer, `(L, B)`."""
        return torch.stack([mean_over_blocks(self.goodness_function, state) for state in self.states(windows_BW)])

    # --- many windows, with the weights laid out once: with autocast switched off, as the products alone are in bfloat16 ---

    def prepare(self, dtype: torch.dtype | None = None) -> Prepared:
        """Lay the weights out once for many windows, in this precision or that which autocast asks for."""
        dtype, symbols = dtype or product_dtype(self.head.weight), len(self.alphabet)
        with torch.no_grad():
            whole = LookUp(self.hidden[0], symbols)
            last = LookUp(self.hidden[0], symbols, self.window - 1, whole.table)
            return Prepared(whole, last, [source_of(module, dtype) for module in self.hidden[1:]], dtype)

    def wired(self, prepared: Prepared, first: list[Stream], masks: Masks | None, kinds: int, cases: int) -> Wiring:
        """Return the layers, visited once in turn, with these streams into the first."""
        layers = [first, *([Stream(source, layer)] for layer, source in enumerate(prepared.above))]
        order = [[layer] for layer in range(len(layers))]
        return Wiring(layers, order, [0.0], masks or [None] * len(layers), kinds, cases)

    def climb(
        self, prepared: Prepared, drive_KH: Tensor, masks: Masks | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each layer's goodness `(K, blocks)` and row `(K, H)`, from the drive of the first, which is overwritten.

        What a `Sweep` finds of windows of one kind that nothing is learned from, without its cost.
        """
        for layer, mask in enumerate(masks or [None] * len(self.hidden)):
            state_KH = drive_KH.clamp_(min=0)
            values, scale = judge(self.goodness_function, state_KH)
            row_KH = state_KH.mul_(scale).to(prepared.dtype)
            yield values, row_KH if mask is None else row_KH.mul_(mask)
            if layer < len(prepared.above):
                source = prepared.above[layer]
                drive_KH = source.drive(row_KH, source.bias)

    def features(self, prepared: Prepared, windows_BW: Tensor, masks: Masks | None = None) -> Tensor:
        """Return what the head reads, `(B, F)`."""
        drive_BH = prepared.whole.drive(windows_BW, prepared.whole.bias)
        rows = [row_BH for _, row_BH in self.climb(prepared, drive_BH, masks)]
        return torch.cat([rows[layer - 1].to(self.head.weight.dtype) for layer in self.head_layers], dim=1)

    def prepared_logits(self, prepared: Prepared, windows_BW: Tensor) -> Tensor:
        """Logits `(B, V)` of the character after each window, by the head."""
        return self.head(self.features(prepared, windows_BW))

    def candidate_goodness(self, prepared: Prepared, windows_BW: Tensor) -> Tensor:
        """Goodness `(L, B, V)` of the windows one place on that end with each of the V symbols.

        The V windows of a place share what their first W - 1 characters give to the first layer.
        """
        parts = []
        symbols = len(self.alphabet)
        every_VH = prepared.last.drive(torch.arange(symbols, device=windows_BW.device)[:, None])
        for part_BW in windows_BW.split(max(1, CANDIDATES // symbols)):
            shared_BH = prepared.whole.drive(part_BW[:, 1:], prepared.whole.bias)
            drive_BVH = shared_BH[:, None] + every_VH
            layers = [values.mean(dim=-1) for values, _ in self.climb(prepared, drive_BVH.flatten(0, 1))]
            parts.append(torch.stack(layers).unflatten(1, (-1, symbols)))
        return torch.cat(parts, dim=1)
