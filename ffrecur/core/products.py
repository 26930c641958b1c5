"""The engine's matrix products: in which precision, and by which routine.

On processors with AVX-512, oneDNN multiplies float32 matrices faster than the library that PyTorch takes by default, all
the more when a weight is laid out in blocks once and read by all iterations. PyTorch has that routine for its own
compiler; where it is missing, or does not pay, the usual product does the work. The two round differently.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

SMALLEST_BLOCKED = 128  # features; smaller products are over before the layout pays
SMALLEST_BLOCKED_GRADIENT = 1200  # each factor of a gradient is read once, so both would be laid out for one product


class Weight(NamedTuple):
    """A weight matrix, ready for many products."""

    matrix: Tensor  # (out, in)
    blocks: Tensor | None  # the same in oneDNN's layout, where that pays


def product_dtype(like: Tensor) -> torch.dtype:
    """Return the precision of the products: bfloat16 for float32 parameters under autocast to it, else their own.

    A processor without bfloat16 would emulate it, many times slower: it keeps to float32, so that one configuration does
    for all machines. Autocast to float16 is not followed: a local derivative is divided by batch and width, too small
    for float16.
    """
    device = like.device.type
    followed = wants_bfloat16(device) and like.dtype == torch.float32 and has_bfloat16(device)
    return torch.bfloat16 if followed else like.dtype


def wants_bfloat16(device: str) -> bool:
    """Tell whether autocast to bfloat16 is on."""
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16


def native_autocast(device: str) -> AbstractContextManager[Any]:
    """Return a context without autocast where the device would emulate bfloat16; autocast as it is elsewhere."""
    emulated = wants_bfloat16(device) and not has_bfloat16(device)
    return torch.autocast(device, enabled=False) if emulated else nullcontext()


@functools.cache
def has_bfloat16(device: str) -> bool:
    """Tell whether bfloat16 is native to a kind of device; of processors, to those that PyTorch can tell it of."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 has no such function
    return device != "cpu" or any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def blocks_pay(width: int, smallest: int, like: Tensor) -> bool:
    """Tell whether oneDNN's layout pays at this width; depends on machine and settings alone, so that runs repeat."""
    return bool(
        width >= smallest
        and like.dtype == torch.float32
        and like.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def prepare(matrix: Tensor) -> Weight:
    """Return a weight `(out, in)` ready for many products."""
    blocked = blocks_pay(min(matrix.shape), SMALLEST_BLOCKED, matrix)
    return Weight(matrix, torch.ops.mkldnn._reorder_linear_weight(matrix) if blocked else None)


def product(rows: Tensor, weight: Weight, outer: Tensor | None = None) -> Tensor:
    """Return `rows @ weight.T + outer` in a new tensor; rows `(B, in)`, outer `(out,)` or `(B, out)`."""
    if weight.blocks is not None:
        if outer is None or outer.ndim == 1:
            return torch.ops.mkldnn._linear_pointwise(rows, weight.blocks, outer, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(rows, outer, weight.blocks, None, "add")
    if weight.matrix.dtype == torch.bfloat16:
        result = (rows.bfloat16() @ weight.matrix.t()).float()
        return result if outer is None else result.add_(outer)
    return rows @ weight.matrix.t() if outer is None else torch.addmm(outer, rows, weight.matrix.t())


def weight_gradient(deltas_KH: Tensor, rows_KN: Tensor) -> Tensor:
    """Return `deltas.T @ rows`, `(H, N)`; in bfloat16 if the rows are, and float32 then."""
    deltas_KH = deltas_KH.to(rows_KN.dtype)
    if blocks_pay(min(deltas_KH.shape[1], rows_KN.shape[1]), SMALLEST_BLOCKED_GRADIENT, deltas_KH):
        return torch.ops.mkldnn._linear_pointwise(deltas_KH.t(), rows_KN.t(), None, "none", [], "")
    gradient = deltas_KH.t() @ rows_KN
    return gradient.float() if gradient.dtype == torch.bfloat16 else gradient
