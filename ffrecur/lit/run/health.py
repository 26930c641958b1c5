"""Numbers gone wrong: what ends a training before the optimiser step, and what is warned of once."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ffrecur.errors import CommonError, SettingWarning, UserError, one_line
from ffrecur.storage.output import print_warning

CURE = "training has diverged; a lower learning rate (model.optimizer.init_args.lr) is the usual cure"
SAME = 0.001  # of their sum: a smaller difference of positive and negative goodness counts as none
REPEATING = 0.5  # of real text's: dreams with less variety than that repeat themselves


class DivergedError(CommonError):
    """Numbers are no longer finite; the weights may have been bad for some steps."""


def check_figures(
    loss: Tensor, goodness: Mapping[str, Tensor], weights: Iterable[tuple[str, Tensor]], where: str
) -> None:
    """Raise `UserError` for a mean goodness `(T, L)` or a loss that is not finite, with its layer and iteration.

    `goodness` has the positive and the negative data's, `where` tells epoch and batch. If it is because of a weight that is
    not finite, that is told.
    """
    if math.isfinite(loss) and all(mean_TL.isfinite().all() for mean_TL in goodness.values()):
        return
    check_tensors("weight", weights, where)
    for kind, mean_TL in goodness.items():
        wrong = (~mean_TL.isfinite()).nonzero()
        if len(wrong):
            t, layer = wrong[0].tolist()
            iteration = f", iteration {t + 1}" if len(mean_TL) > 1 else ""
            raise DivergedError(
                f"the goodness of layer {layer + 1}{iteration}, on {kind} data, is {mean_TL[t, layer].item()} in {where}: {CURE}"
            )
    raise DivergedError(f"the loss is {loss.item()} in {where}: {CURE}")


def check_tensors(kind: str, named: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Raise `UserError` if one of the gradients or weights is not finite; `kind` tells which they are."""
    tensors = dict(named)
    # A sum is read from memory once and is finite if all it is made of is, unless that is huge: then a closer look decides.
    if not tensors or torch.stack([tensor.sum() for tensor in tensors.values()]).isfinite().all():
        return
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise DivergedError(f"the {kind} of {place(name)} is not finite in {where}: {CURE}")


def place(name: str) -> str:
    """Return a parameter's name, with its layer counted from 1 as everywhere.

    >>> place("bottom_up.0.weight"), place("head.bias")
    ('bottom_up.0.weight (layer 1)', 'head.bias')
    """
    layer = re.search(r"\.(\d+)\.", name)
    return name if layer is None else f"{name} (layer {int(layer[1]) + 1})"


def collapses(positive_TL: Tensor, negative_TL: Tensor) -> dict[str, str]:
    r"""Return the warnings that an epoch's mean goodness gives cause for, each under a key of its own.

    A layer's units are all dead if its goodness is 0 on all data, positive and negative, at every iteration. The two kinds
    of data no longer differ if their means over the iterations, p and n, have |p - n| <= 0.001 (p + n).

    >>> found = collapses(torch.tensor([[0.0, 1.0, 1.2]]), torch.tensor([[0.0, 1.0, 0.8]]))
    >>> print("\n".join(found.values()))
    all units of layer 1 are dead: its goodness is 0 on all data
    layer 2 does not tell positive from negative data: their mean goodness is 1.0000 and 1.0000
    """
    warnings = {}
    pairs = zip(positive_TL.mean(dim=0).tolist(), negative_TL.mean(dim=0).tolist(), strict=True)
    for layer, (positive, negative) in enumerate(pairs, start=1):
        if positive == negative == 0:
            warnings[f"dead {layer}"] = f"all units of layer {layer} are dead: its goodness is 0 on all data"
        elif abs(positive - negative) <= SAME * (positive + negative):
            warnings[f"same {layer}"] = (
                f"layer {layer} does not tell positive from negative data: their mean goodness is {positive:.4f} and "
                f"{negative:.4f}"
            )
    return warnings


def repetition(variety: float) -> dict[str, str]:
    """Return the warning that dreams give cause for whose variety (that of real text is 1) is below 0.5.

    >>> repetition(0.25)
    {'repetition': 'the dreams repeat themselves: they have 0.25 of the different runs of 4 characters of as much real text'}
    """
    if not variety < REPEATING:  # or not a number, of text too short for runs
        return {}
    what = f"they have {variety:.2f} of the different runs of 4 characters of as much real text"
    return {"repetition": f"the dreams repeat themselves: {what}"}


@rank_zero_only
def warn(message: str) -> None:
    """Print a warning on standard error."""
    print_warning(message)


def warn_of_chance(net: nn.Module) -> None:
    """Warn of parts of a net, if it learns locally, that do not answer the same twice: dropout, statistics of the batch."""
    for name, part in net.named_modules() if hasattr(net, "local_learning") else ():
        if isinstance(part, _DropoutNd | _BatchNorm):
            kind = type(part).__name__
            unlike = f"{name} is a {kind}, but a layer must give each row the same answer every time it is asked"
            warnings.warn(f"{unlike}: gradients will be wrong", SettingWarning, stacklevel=2)


@contextmanager
def making(settings: Mapping[str, Any], names: Sequence[str]) -> Iterator[None]:
    """Raise `UserError`, with the settings of these names, where a net is made that is too large for memory or for numbers."""
    try:
        yield
    except (RuntimeError, OverflowError) as error:  # the former is PyTorch's kind of MemoryError
        found = [(name, settings[name]) for name in names]
        sizes = " and ".join(f"{name} is {list(value) if isinstance(value, tuple) else value}" for name, value in found)
        raise UserError(f"{sizes}, a net that cannot be made: {one_line(error)}") from error


def warn_of_other_seed(seed: int) -> None:
    """Warn where Lightning was given another seed than the module, which reads its own alone."""
    given = os.environ.get("PL_GLOBAL_SEED", str(seed))  # where `lightning.seed_everything` leaves it
    if given != str(seed):
        warning = (
            f"seed is {seed}, but seed_everything was given {given}: weights, order of the images and noise depend on "
            f"the seeds of module and data alone; give both seed={given}"
        )
        warnings.warn(warning, SettingWarning, stacklevel=2)
