"""Fast weights: what a layer's own recent past associates with its state, as a source like the others.

    F_t = decay * F_(t-1) + rate * v_t k_t^T                             the drive that is added to the layer's:  F_(t-1) k_t
    F_t = decay * F_(t-1) + rate * (v_t - decay * F_(t-1) k_t) k_t^T     the same, written by the delta rule

The key k_t is made of the layer's normalised state before character t, k = P row / sqrt(sum((P row)**2) + keys * eps), so that
its length is 1: a pair that has just been written is recalled by the same key as `rate` times its value, and fades by `decay`
with each character since. The value v_t is what followed: the drive of the true character at t, without what F recalled for
it, since a recall that is written again would feed itself. Only the true character writes. By the delta rule (Widrow and Hoff)
a key's old value makes room for its new one, and keys that are alike disturb each other less; at rate 1 a pair that has just
been written is recalled whole.
Ba et al., "Using Fast Weights to Attend to the Recent Past" (arXiv 1610.06258), for sequences; Schlag et al., "Linear
Transformers Are Secretly Fast Weight Programmers" (arXiv 2102.11174), for the delta rule; the paper asks whether such weights
can stand in for a transformer. Shapes: B streams, H units, N features of a row, K rows, J keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.core.sources import Source
from ffrecur.errors import check_setting
from ffrecur.functional import EPS, at_least_float32

FastRule = Literal["hebbian", "delta"]  # how a pair is written
FAST_RULES: tuple[FastRule, ...] = get_args(FastRule)


class FastWeights(Source):
    """The drive `F key(row)` of each stream's own memory F, which is a constant to the gradient: P alone learns.

    It reads rows of any number of kinds of the same B streams, one kind under another.

    Args:
        linear: P, without a bias: N features to J keys.
        memory_BHJ: F of each stream.
    """

    def __init__(self, linear: nn.Linear, memory_BHJ: Tensor) -> None:
        super().__init__(linear)
        self.linear, self.memory_BHJ = linear, memory_BHJ

    def plain(self, rows: Tensor) -> Tensor:
        """See `Source.plain`."""
        return self.recalled(unit(self.linear(rows)))

    def keys(self, rows_KN: Tensor) -> Tensor:
        """Return the keys of rows, `(K, J)`, of length 1 (0 of a row of zeros), without a graph."""
        return unit(self._projected(rows_KN))

    def recalled(self, keys_KJ: Tensor) -> Tensor:
        """Return what each stream's memory has for its keys, `(K, H)`."""
        keys_NBJ = keys_KJ.to(self.memory_BHJ.dtype).unflatten(0, (-1, len(self.memory_BHJ)))
        return torch.einsum("bhj,nbj->nbh", self.memory_BHJ, keys_NBJ).flatten(0, 1).to(keys_KJ.dtype)

    def drive(self, rows_KN: Tensor, outer: Tensor | None = None) -> Tensor:
        """See `Source.drive`."""
        drive_KH = self.recalled(self.keys(rows_KN))
        return drive_KH if outer is None else drive_KH.add_(outer)

    def gradients(self, deltas_KH: Tensor, rows_KN: Tensor) -> list[Tensor | None]:
        """See `Source.gradients`: with a = P row, its length n and the key k = a / n, `(e - k (k . e)) / n`, e = F^T delta."""
        projected_KJ = self._projected(rows_KN)
        keys_KJ, length_K1 = unit(projected_KJ), length(projected_KJ)
        deltas_NBH = deltas_KH.to(self.memory_BHJ.dtype).unflatten(0, (-1, len(self.memory_BHJ)))
        by_key_KJ = torch.einsum("bhj,nbh->nbj", self.memory_BHJ, deltas_NBH).flatten(0, 1)
        along_K1 = (by_key_KJ * keys_KJ).sum(dim=1, keepdim=True)
        by_projected_KJ = (by_key_KJ - along_K1 * keys_KJ) / length_K1
        rows_KN = self._as_weights(rows_KN)
        return [by_projected_KJ.to(rows_KN.dtype).t() @ rows_KN]

    def _projected(self, rows_KN: Tensor) -> Tensor:
        return F.linear(self._as_weights(rows_KN), self.linear.weight.detach())


def checked(fast_weights: Sequence[Any]) -> tuple[int, float, float, FastRule]:
    """Return keys, decay, rate and rule, "hebbian" where none is given; raises `UserError` for what is none of these.

    >>> checked([64, 1, 0.3, "delta"]), checked((0, 0.95, 0.5))
    ((64, 1.0, 0.3, 'delta'), (0, 0.95, 0.5, 'hebbian'))
    """
    listed = list(fast_weights)
    numbers, rule = listed[:3], [*listed[3:], "hebbian"][0]
    fits = len(listed) in (3, 4) and rule in FAST_RULES and not any(isinstance(each, str) for each in numbers)
    fits = fits and numbers[0] == int(numbers[0]) >= 0 and 0 <= numbers[1] <= 1 and numbers[2] >= 0
    allowed = "keys (a whole number of at least 0), decay (from 0 to 1) and rate (at least 0), and hebbian or delta"
    check_setting(fits, "fast_weights", listed, allowed)
    check_setting(
        rule != "delta" or numbers[2] <= 1, "fast_weights", listed, "of a rate of at most 1 by the delta rule"
    )
    return int(numbers[0]), float(numbers[1]), float(numbers[2]), cast(FastRule, rule)


def described(fast_weights: Sequence[Any]) -> list[Any]:
    """Return the settings as nets store them: the rule only where it is another than "hebbian", which has not always been one."""
    keys, decay, rate, rule = checked(fast_weights)
    return [keys, decay, rate, *([] if rule == "hebbian" else [rule])]


def length(projected_KJ: Tensor) -> Tensor:
    """Return the length of rows, `(K, 1)`, never 0; in float32 at least."""
    wide_KJ = projected_KJ.to(at_least_float32(projected_KJ.dtype))
    return (wide_KJ.square().sum(dim=1, keepdim=True) + projected_KJ.shape[1] * EPS).sqrt()


def unit(projected_KJ: Tensor) -> Tensor:
    """Return rows of length 1, those of zeros excepted: `functional.rms_normalize` over the root of their number of entries."""
    return (projected_KJ / length(projected_KJ)).to(projected_KJ.dtype)


def written(
    memory_BHJ: Tensor,
    values_BH: Tensor,
    keys_BJ: Tensor,
    decay: float,
    rate: float,
    recalled_BH: Tensor | None = None,
) -> Tensor:
    """Return the memory after one more pair, `decay * F + rate * v k^T`, in a new tensor.

    Where it is told what the memory recalls, `F k`, it writes by the delta rule, `decay * F + rate * (v - decay * F k) k^T`.

    >>> written(torch.ones(1, 1, 2), torch.tensor([[4.0]]), torch.tensor([[0.0, 1.0]]), decay=0.5, rate=0.25)
    tensor([[[0.5000, 1.5000]]])
    """
    if recalled_BH is not None:
        values_BH = values_BH - decay * recalled_BH
    values_BH1, keys_B1J = values_BH[:, :, None].to(memory_BHJ.dtype), keys_BJ[:, None].to(memory_BHJ.dtype)
    return torch.baddbmm(memory_BHJ, values_BH1, keys_B1J, beta=decay, alpha=rate)
