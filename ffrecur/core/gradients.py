"""The local gradients of a sweep, from what it kept: added up stretch by stretch of iterations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ffrecur.core.sources import Stream
from ffrecur.core.sweep import Sweep, damping_of


class Gradients:
    """Gradients of all sources' parameters.

    What stays the same over the iterations, such as a still image or a label, needs the sum of the derivatives only, and its
    gradient is taken once, at the end.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        places = [(layer, place) for layer, streams in enumerate(sweep.layers) for place in range(len(streams))]
        self.sums: dict[tuple[int, int], Tensor] = {}  # of still clamped streams: (n, B, H)
        self.found: dict[tuple[int, int], list[Tensor | None]] = {place: [] for place in places}
        self.totals: list[Tensor | None] = [None] * len(sweep.layers)  # of the biases, where no sum has it

    def add(self, slopes_TLNBK: Tensor, start: int, ascents: Sequence[Tensor] = ()) -> None:
        """Add the gradients of the iterations on the tape, the first of which is `start`; what is on the tape is used up.

        `slopes` are the derivatives of the loss of a case by their goodness. `ascents`, of each layer `(t, H)`, are added
        to the direction of ascent of every positive case's drive.
        """
        sweep, cases = self.sweep, slopes_TLNBK.shape[3]
        layers, iterations = range(len(sweep.layers)), range(start, start + len(slopes_TLNBK))
        moved = [[1 - damping_of(sweep.damping, iteration, layer) for layer in layers] for iteration in iterations]
        slopes_TLNBK = slopes_TLNBK * (slopes_TLNBK.new_tensor(moved) / cases)[:, :, None, None, None]
        for layer in layers:
            delta_TNBH = self.by_drive(layer, slopes_TLNBK[:, layer])
            if ascents:
                delta_TNBH[:, 0] -= (ascents[layer] / cases)[:, None]
            self._add_layer(layer, delta_TNBH, start)

    def by_drive(self, layer: int, slopes_TNBK: Tensor) -> Tensor:
        """Return the derivatives by a layer's drives, `(t, N, B, H)`; what is on the tape is used up."""
        sweep, kept_TNBH = self.sweep, self.sweep.kept[layer]
        factor = sweep.goodness.factor(slopes_TNBK, kept_TNBH.shape[-1])
        if factor is not None:
            return kept_TNBH.mul_(factor.to(kept_TNBH.dtype))
        by_state = sweep.goodness.gradient(kept_TNBH.flatten(0, 2), slopes_TNBK.flatten(0, 2))
        inactive_TNBH = sweep.gates[layer].logical_not_()
        return by_state.view_as(kept_TNBH).masked_fill_(inactive_TNBH, 0)  # the derivative at 0 may be infinite

    def _add_layer(self, layer: int, delta_TNBH: Tensor, start: int) -> None:
        streams, state = self.sweep.layers[layer], self.sweep.states[layer]
        assert state is not None
        moving = []
        summed = False
        for place, stream in enumerate(streams):
            if stream.rows is None:
                moving.append((place, stream))
            elif stream.video:
                self._add(layer, place, stream, *self._frames(stream, delta_TNBH, start))
            else:
                shared, summed = stream.rows.shape[0] == 1, True
                if self.sweep.first is None and not shared and all(other.rows is not None for other in streams):
                    part = delta_TNBH[0]  # of the one visit, which nothing changes any more
                else:
                    part = delta_TNBH.sum((0, 1) if shared else 0, dtype=state.dtype)
                self.sums[layer, place] = plus(self.sums.get((layer, place)), part[None] if shared else part)
        if not summed and any(stream.source.bias is not None for stream in streams):
            self.totals[layer] = plus(self.totals[layer], delta_TNBH.sum((0, 1, 2), dtype=state.dtype))
        if moving:
            rows_KH = self._folded(layer, delta_TNBH, start)
            for place, stream in moving:
                self._add(layer, place, stream, rows_KH, self._read(layer, stream, len(rows_KH)))

    def _frames(self, stream: Stream, delta_TNBH: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Derivatives and frames one under another; what all kinds see needs the sum over them."""
        assert stream.rows is not None
        frames = stream.rows[start : start + len(delta_TNBH)]
        if frames.shape[1] == 1:
            delta_TNBH = delta_TNBH.sum(1, keepdim=True, dtype=frames.dtype)
        return delta_TNBH.flatten(0, 2), frames.flatten(0, 2)

    def _add(self, layer: int, place: int, stream: Stream, deltas_KH: Tensor, rows_KN: Tensor) -> None:
        parts = stream.source.gradients(deltas_KH, rows_KN)
        before = self.found[layer, place] or [None] * len(parts)
        pairs = zip(before, parts, strict=True)
        self.found[layer, place] = [None if part is None else plus(total, part) for total, part in pairs]

    def _folded(self, layer: int, delta_TNBH: Tensor, start: int) -> Tensor:
        """Derivatives one under another.

        In the first iteration all kinds may read the same rows of all neighbours; their derivatives are added up then, so
        that the products have fewer rows.
        """
        if start == 0 and self.sweep.folds[layer]:
            first_NBH = delta_TNBH[0]
            for kind in range(len(first_NBH) - 1):
                first_NBH[-1] += first_NBH[kind]
            return delta_TNBH.flatten(0, 2)[(len(first_NBH) - 1) * first_NBH.shape[1] :]
        return delta_TNBH.flatten(0, 2)

    def _read(self, layer: int, stream: Stream, count: int) -> Tensor:
        """The last `count` rows that a layer read of another: of this iteration if that one was visited before it."""
        reads, length = self.sweep.reads[stream.layer], len(self.sweep.kept[layer])
        late = len(reads) - length if self.sweep.group[stream.layer] < self.sweep.group[layer] else 0
        return reads[late : late + length].flatten(0, 2)[-count:]

    def finish(self) -> list[Tensor | None]:
        """Return the gradients of all sources' parameters, in the order of `parameters_of`."""
        gradients: dict[int, Tensor | None] = {}
        for layer, streams in enumerate(self.sweep.layers):
            summed = [self.sums[layer, place] for place in range(len(streams)) if (layer, place) in self.sums]
            total_H = min(summed, key=Tensor.numel).sum((0, 1)) if summed else self.totals[layer]
            for place, stream in enumerate(streams):
                if (layer, place) in self.sums:
                    assert stream.rows is not None
                    sums, rows = self.sums[layer, place], stream.rows
                    parts = stream.source.gradients(sums.flatten(0, 1), rows.flatten(0, 1))
                else:
                    parts = self.found[layer, place]
                if stream.source.bias is not None:
                    assert total_H is not None
                    parts = [*parts, total_H.clone()]  # no two parameters have one tensor for a gradient
                for parameter, part in zip(stream.source.parameters(), parts, strict=True):
                    before = gradients.get(id(parameter))  # two sources may have a parameter in common
                    gradients[id(parameter)] = part if before is None or part is None else before.add_(part)
        return list(gradients.values())


def plus(total: Tensor | None, part: Tensor) -> Tensor:
    """Add `part` to `total` in place; the first part is the total."""
    return part if total is None else total.add_(part)
