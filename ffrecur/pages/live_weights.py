"""A net's weights as float16: as a page holds them, and what is lost by it."""

from __future__ import annotations

import base64
import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ffrecur.errors import UserError, check_setting
from ffrecur.nets.character import CharNet
from ffrecur.nets.recurrent import RecurrentNet

LiveNet = RecurrentNet | CharNet


class Loss(NamedTuple):
    """How far the scores of a net with rounded weights are from its own."""

    cases: int
    differing: int  # answers: the label or symbol of the highest score
    largest: float  # difference of a score

    def __str__(self) -> str:
        return f"float16 weights: {self.differing} of {self.cases} answers differ, scores by at most {self.largest:.2g}"


def tables_of(net: LiveNet) -> dict[str, Tensor]:
    """Return the parameters that are computed with, by name; weights as tables (inputs, outputs), one row an input.

    Raises `UserError` for a module that is no linear layer of PyTorch: a page computes nothing else.
    """
    groups = (
        {"hidden": net.hidden} if isinstance(net, CharNet) else {"bottom_up": net.bottom_up, "top_down": net.top_down}
    )
    modules = {f"{name}.{number}": module for name, group in groups.items() for number, module in enumerate(group)}
    tables = {}
    for name, module in {**modules, "head": net.head}.items():
        rule = f"folder for a net whose {name} is a {type(module).__name__}; a page computes linear layers"
        check_setting(type(module) is nn.Linear, "format", "page", rule)
        tables[f"{name}.weight"] = module.weight.detach().t()
        if module.bias is not None:
            tables[f"{name}.bias"] = module.bias.detach()
    return tables


def packed(tables: dict[str, Tensor]) -> tuple[list[tuple[str, list[int]]], str]:
    """Return names and shapes in order, and all numbers one after another as float16, little-endian, in base64.

    Raises `UserError` for numbers that float16 does not have: above 65504, infinite or none.
    """
    parts = []
    for name, table in tables.items():
        numbers = table.cpu().to(torch.float16).contiguous()
        if not torch.isfinite(numbers).all():
            raise UserError(
                f"format is 'page', whose weights must be finite and at most 65504, but those of {name} are not"
            )
        parts.append(numbers.numpy().astype("<f2").tobytes())
    shapes = [(name, list(table.shape)) for name, table in tables.items()]
    return shapes, base64.b64encode(b"".join(parts)).decode("ascii")


def rounded(net: LiveNet) -> LiveNet:
    """Return the net as the page has it: its weights rounded to float16, its sums in float32."""
    return copy.deepcopy(net).half().float()


def loss_of_rounding(net: LiveNet, inputs: Tensor, **scoring: object) -> Loss:
    """Compare the scores of a net and of its rounded copy for inputs of which `net.score` makes scores.

    The net's own are computed in float64 where its weights are, else in float32.
    """
    exact = net if net.weight.dtype == torch.float64 else copy.deepcopy(net).float()
    ours = exact.score(inputs, **scoring).double()  # type: ignore[arg-type]
    pages = rounded(net).score(inputs, **scoring).double()  # type: ignore[arg-type]
    differing = int((ours.argmax(dim=1) != pages.argmax(dim=1)).sum())
    return Loss(len(inputs), differing, float((ours - pages).abs().max()))


def widths_in_words(widths: Sequence[int]) -> str:
    """Return the widths of hidden layers in words.

    >>> widths_in_words([500]), widths_in_words([500, 400])
    ('one hidden layer of 500 units', '2 hidden layers of 500 and 400 units')
    """
    if len(widths) == 1:
        return f"one hidden layer of {widths[0]:,} units"
    *others, last = (f"{width:,}" for width in widths)
    return f"{len(widths)} hidden layers of {', '.join(others)} and {last} units"
