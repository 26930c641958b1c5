"""Parameter groups, decoupled weight decay and typed settings, for whichever optimiser the user chose."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from ffrecur.recurrent import RecurrentNet

DECAY_KEY = "decoupled_weight_decay"


def grouped_optimizer(
    make: Callable[[Iterable[Any]], Optimizer],
    net: RecurrentNet,
    weight_decay: float,
    head_weight_decay: float,
    head_learning_rate_scale: float,
) -> Optimizer:
    """Return one optimiser with a group each for weights and biases of the hidden layers and of the head.

    Weight decay is decoupled from the gradient and its smoothing: before each step, `weight *= 1 - rate * weight_decay`,
    as in Hinton's published code; biases are never decayed.
    """
    hidden = nn.ModuleList([*net.bottom_up, *net.top_down])
    groups = []
    for module, decay in ((hidden, weight_decay), (net.head, head_weight_decay)):
        named = list(module.named_parameters())
        groups.append({"params": [p for name, p in named if name.endswith("weight")], DECAY_KEY: decay})
        groups.append({"params": [p for name, p in named if name.endswith("bias")], DECAY_KEY: 0.0})
    optimizer = make(groups)
    for group in optimizer.param_groups[2:]:
        group["lr"] = group["lr"] * head_learning_rate_scale
    optimizer.register_step_pre_hook(_decay)
    return optimizer


@torch.no_grad()
def _decay(optimizer: Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        if group[DECAY_KEY] > 0:
            torch._foreach_mul_(group["params"], 1 - float(group["lr"]) * group[DECAY_KEY])


class Configured(NamedTuple):
    """Settings of an optimiser and its schedule as they were configured, before a checkpoint's state replaced them."""

    groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    base_rates: list[float]


def configured_settings(optimizer: Optimizer, scheduler: Any) -> Configured:
    """Note the settings of a new optimiser and schedule (None: no schedule)."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    names = set(inspect.signature(type(scheduler).__init__).parameters) & set(vars(scheduler)) if scheduler else set()
    schedule = {name: getattr(scheduler, name) for name in names - {"optimizer", "last_epoch"}}
    return Configured(groups, schedule, list(getattr(scheduler, "base_lrs", [])))


def apply_configured(optimizer: Optimizer, scheduler: Any, configured: Configured) -> None:
    """Let the configured settings win over those that a checkpoint brought back; only its progress is kept.

    The rate of a schedule with a closed form is computed anew for the epoch reached; that of another one is scaled by
    the configured over the checkpoint's first rate.
    """
    for group, wanted in zip(optimizer.param_groups, configured.groups, strict=True):
        scaled = group["lr"] * wanted.get("initial_lr", 0.0) / group["initial_lr"] if group.get("initial_lr") else None
        group.update(wanted)
        if scheduler is not None and scaled is not None:
            group["lr"] = scaled
    if scheduler is None:
        return
    vars(scheduler).update(configured.schedule)
    if configured.base_rates:
        scheduler.base_lrs = configured.base_rates
    if hasattr(scheduler, "_get_closed_form_lr"):
        for group, rate in zip(optimizer.param_groups, scheduler._get_closed_form_lr(), strict=True):
            group["lr"] = rate
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
