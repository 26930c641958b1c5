"""The goodness of a layer: what it is judged by, and what it learns from.

Shapes: B cases, H units, K values a layer; each is judged by the objective on its own. K is 1 unless a goodness says otherwise.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting, check_whole, one_line
from ffrecur.functional import EPS, at_least_float32


class Goodness(ABC):
    """Base of the goodness functions: a subclass says what the `value` is; the gradient follows by autograd.

    The state is that before normalisation.
    """

    blocks: int = 1

    @abstractmethod
    def value(self, state_BH: Tensor) -> Tensor:
        """Return the goodness of each case, `(B, K)` with `K = blocks`."""

    def gradient(self, state_BH: Tensor, slopes_BK: Tensor) -> Tensor:
        """Return the derivative of `sum(slopes * value)` by the state, `(B, H)`: by autograd, right for any value."""
        with torch.enable_grad():
            state_BH = state_BH.detach().requires_grad_()
            values_BK = self.value(state_BH)
            (gradient_BH,) = torch.autograd.grad(values_BK, state_BH, slopes_BK, materialize_grads=True)
        return gradient_BH

    def factor(self, slopes: Tensor, units: int) -> Tensor | None:
        """Return `f` of shape `(..., 1)` or `(..., H)` where the gradient is `f * state`; None where it is no such product.

        With it the sweep works in place on states of which it keeps the active units only.
        """
        return None

    def check(self, units: int) -> None:  # noqa: B027  # most have nothing to refuse
        """Raise `UserError` for a layer of so many units that it cannot judge."""

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build another like it, in plain types: here its attributes, which must be named so."""
        return dict(vars(self))


@dataclass(frozen=True)
class MeanSquare(Goodness):
    """Mean of the squared states, of the layer as a whole or of each of `blocks` equal blocks of neighbouring units.

    Blocks are judged, and learn, each alone; the loss is the mean over them. Not in the paper, whose goodness is the sum.

    Args:
        blocks: number of blocks, at least 1; must divide the number of units.

    Raises:
        UserError: a setting outside its range.

    >>> MeanSquare(blocks=2).value(torch.tensor([[1.0, 2.0, 0.0, 1.0]]))
    tensor([[2.5000, 0.5000]])
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        check_whole("goodness blocks", self.blocks)

    def value(self, state_BH: Tensor) -> Tensor:
        """See `Goodness.value`."""
        return state_BH.unflatten(-1, (self.blocks, -1)).square().mean(dim=-1)

    def factor(self, slopes: Tensor, units: int) -> Tensor:
        """See `Goodness.factor`: `2 * slope / units of the block`."""
        units_of_block = units // self.blocks
        factors = slopes * (2 / units_of_block)
        return factors if self.blocks == 1 else factors.repeat_interleave(units_of_block, dim=-1)

    def check(self, units: int) -> None:
        """See `Goodness.check`."""
        check_setting(
            units % self.blocks == 0, "goodness blocks", self.blocks, f"a divisor of the layer's {units} units"
        )


MEAN_SQUARE = MeanSquare()


def judge(goodness: Goodness, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the goodness `(..., K)` of states `(..., H)`, and the factor `(..., 1)` by which `rms_normalize` multiplies them.

    Both are new tensors: the states may be overwritten.
    """
    norm = torch.linalg.vector_norm(state, dim=-1, keepdim=True, dtype=at_least_float32(state.dtype))
    mean_square = norm.square_().div_(state.shape[-1])
    if goodness == MEAN_SQUARE:
        return mean_square.to(state.dtype), (mean_square + EPS).rsqrt_().to(state.dtype)
    values = judged(goodness, state.flatten(0, -2)).unflatten(0, state.shape[:-1]).clone()
    return values, mean_square.add_(EPS).rsqrt_().to(state.dtype)


def judged(goodness: Goodness, state_BH: Tensor) -> Tensor:
    """Return the values `(B, K)`; raises `UserError` for a goodness that gives another shape."""
    values, shape = goodness.value(state_BH), (len(state_BH), goodness.blocks)
    if values.shape != shape:
        name, found = type(goodness).__name__, tuple(values.shape)
        raise UserError(f"goodness {name} gives values of the shape {found}, but must give {shape}: cases, blocks")
    return values


def mean_over_blocks(goodness: Goodness, state: Tensor) -> Tensor:
    """Return the goodness of states `(..., H)`, the mean over its blocks, `(...)`."""
    return judged(goodness, state.flatten(0, -2)).mean(dim=-1).unflatten(0, state.shape[:-1])


def described_as(goodness: Goodness) -> dict[str, Any]:
    """Return the class and the settings of a goodness, as a checkpoint keeps them.

    Raises `UserError` for settings that do not build it again: the checkpoint could not be loaded.
    """
    kind, settings = type(goodness), goodness.settings()
    what = f"goodness is {kind.__name__}, whose attributes must be the arguments of its constructor, numbers or text"
    try:
        inspect.signature(kind).bind(**settings)
    except TypeError as error:
        raise UserError(f"{what}: {one_line(error)}") from error
    for name, value in settings.items():
        if not isinstance(value, bool | int | float | str | list | tuple | dict | None):
            raise UserError(f"{what}: {name} is a {type(value).__name__}")
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": settings}
