"""Parameter groups, decoupled weight decay and typed settings, for whichever optimiser the user chose."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from ffrecur.errors import CommonError, SettingWarning, UserError, check_setting, one_line

DECAY_KEY = "decoupled_weight_decay"
Interval = Literal["epoch", "step"]
OF_STEPS = (OneCycleLR, CyclicLR)  # schedules that PyTorch means to be stepped after each batch


def grouped_optimizer(
    make: Callable[[Iterable[Any]], Optimizer],
    net: nn.Module,
    weight_decay: float,
    head_weight_decay: float,
    head_learning_rate_scale: float,
) -> Optimizer:
    """Return one optimiser with a group each for the weights, and for all else, of the hidden layers and of the head.

    Weights are the parameters of that name, in a module of the user's too. Each group carries its weight decay for
    `decay_weights`; biases, and parameters with other names, are never decayed.

    Raises `UserError` for settings that the optimiser refuses.
    """
    groups = []
    for of_head, decay in ((False, weight_decay), (True, head_weight_decay)):
        named = [(name, p) for name, p in net.named_parameters() if name.startswith("head.") == of_head]
        groups.append({"params": [p for name, p in named if name.endswith("weight")], DECAY_KEY: decay})
        groups.append({"params": [p for name, p in named if not name.endswith("weight")], DECAY_KEY: 0.0})
    rule = "a function of the parameters, such as functools.partial(torch.optim.Adam, lr=0.003)"
    check_setting(callable(make), "optimizer", make if isinstance(make, str) else f"a {type(make).__name__}", rule)
    try:
        optimizer = make(groups)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, UserError) else UserError(f"model.optimizer: {error}") from error
    for group in optimizer.param_groups[2:]:
        group["lr"] = group["lr"] * head_learning_rate_scale
    return optimizer


def make_schedule(
    make: Callable[[Optimizer], Any] | None, optimizer: Optimizer, head_learning_rate_scale: float
) -> Any:
    """Return the schedule, or None; one that sets rates of its own gets the head's scaled too.

    Raises `UserError` for settings that it refuses.
    """
    if make is None:
        return None
    try:
        scheduler = make(optimizer)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise error if isinstance(error, UserError) else UserError(f"model.lr_scheduler: {one_line(error)}") from error
    if isinstance(scheduler, OF_STEPS):
        for group in optimizer.param_groups[2:]:
            for name in ("lr", "initial_lr", "max_lr", "min_lr"):
                if name in group:
                    group[name] *= head_learning_rate_scale
        for name in ("base_lrs", "max_lrs", "_last_lr"):
            rates = getattr(scheduler, name, [])
            rates[2:] = [rate * head_learning_rate_scale for rate in rates[2:]]
    return scheduler


def interval_of(scheduler: Any, given: Interval | None, stored: dict[str, Any] | None) -> Interval:
    """Return what a schedule is stepped after: what is given; else as in the run that is continued; else as PyTorch means it.

    Runs of version 0.1.0 stepped every schedule after each epoch. Raises `UserError` for a schedule that looks at a figure,
    which there is after an epoch only, stepped after each step.
    """
    if given == "step" and isinstance(scheduler, ReduceLROnPlateau):
        raise UserError("model.lr_scheduler_interval is 'step', but ReduceLROnPlateau looks at figures of whole epochs")
    if given is not None:
        return given
    if stored is not None and stored["schedule"] == type(scheduler).__name__:
        of_stored: Interval = stored.get("interval", "epoch")
        return of_stored
    return "step" if isinstance(scheduler, OF_STEPS) else "epoch"


def step_plateau(scheduler: Any, monitor: str, figures: dict[str, Any], validated: bool) -> None:
    """Step a schedule that looks at a figure; one of validation may still be to come, if the run is `validated`.

    Raises `UserError` for a figure that there is not.
    """
    if monitor in figures:
        scheduler.step(float(figures[monitor]))
    elif any(name.startswith("val/") for name in figures) or not (monitor.startswith("val/") and validated):
        there = ", ".join(sorted(figures))
        raise CommonError(f"model.lr_scheduler.monitor is {monitor!r}, which is never logged; there are {there}")


def use_rate(optimizer: Optimizer, scheduler: Any, configured: dict[str, Any], rate: float) -> None:
    """Start with this learning rate in place of the configured one; all rates keep their proportions to it.

    Where a schedule has a highest rate of its own, as OneCycleLR and CyclicLR have, it stands for that.
    """
    first = configured["groups"][0]
    highest = getattr(scheduler, "max_lrs", None) or [first.get("max_lr", first.get("initial_lr", first["lr"]))]
    factor = rate / float(highest[0])
    for group, start in zip(optimizer.param_groups, configured["groups"], strict=True):
        group.update({name: start[name] * factor for name in ("lr", "initial_lr", "max_lr", "min_lr") if name in start})
    for name in ("base_lrs", "max_lrs", "_last_lr"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, [value * factor for value in getattr(scheduler, name)])


@torch.no_grad()
def decay_weights(optimizer: Optimizer) -> None:
    """Shrink the weights, `weight *= 1 - rate * weight_decay`: once the gradients are there, before the step.

    So the decay is decoupled from the gradient and from its smoothing, as in Hinton's published code and in AdamW.
    """
    for group in optimizer.param_groups:
        if group.get(DECAY_KEY, 0) > 0:  # an optimiser of the user's own has none
            learning = [parameter for parameter in group["params"] if parameter.requires_grad]
            torch._foreach_mul_(learning, 1 - float(group["lr"]) * group[DECAY_KEY])


def configured_settings(optimizer: Optimizer, scheduler: Any) -> dict[str, Any]:
    """Note how a new optimiser and its schedule (None: no schedule) were configured, in types that a checkpoint can hold."""
    made = type(scheduler).__mro__[:-1] if scheduler else ()
    named = {name for each in made for name in inspect.signature(each.__init__).parameters}  # type: ignore[misc]
    has = vars(scheduler) if scheduler else {}
    values = {name: value for name, value in has.items() if name in named - {"optimizer", "last_epoch"}}
    values |= {"min_lrs": scheduler.min_lrs} if isinstance(scheduler, ReduceLROnPlateau) else {}
    return {
        "optimizer": type(optimizer).__name__,
        "schedule": type(scheduler).__name__ if scheduler else None,
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups],
        "settings": {name: value for name, value in values.items() if isinstance(value, int | float | str | bool)},
        "lists": {name: listed for name, value in values.items() if (listed := list_of(value))},
        "base_rates": list(getattr(scheduler, "base_lrs", [])),
    }


def list_of(value: Any) -> list[float]:
    """Return the numbers that a setting lists, such as the milestones, which `MultiStepLR` counts; of others nothing."""
    numbers = sorted(value.elements()) if isinstance(value, Counter) else value
    plain = isinstance(numbers, list | tuple) and all(isinstance(number, int | float) for number in numbers)
    return list(numbers) if plain else []


def check_continued(configured: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise `UserError` where a run cannot be continued as configured: another optimiser, kind of schedule or interval."""
    for name in ("optimizer", "schedule"):
        found, kept = configured[name], stored[name]
        if None not in (found, kept) and found != kept:
            setting = "model.lr_scheduler" if name == "schedule" else "model.optimizer"
            raise UserError(f"{setting} is {found}, but the run that is continued has {kept}; start a new run for that")
    interval, kept = configured.get("interval", "epoch"), stored.get("interval", "epoch")
    if None not in (configured["schedule"], stored["schedule"]) and interval != kept:
        raise UserError(
            f"model.lr_scheduler_interval is {interval!r}, but the run that is continued has {kept!r}; start a new run "
            "for that"
        )


def as_stored(configured: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of an optimiser that nobody named: that of the run that is continued, but for the weight decay.

    A schedule that the run did not have is taken as configured; one that it had, and that was not given again, is warned of.
    """
    had, has = stored["schedule"], configured["schedule"]
    if had is None and has is not None:
        return configured
    groups = [
        {**old, DECAY_KEY: new[DECAY_KEY]} for new, old in zip(configured["groups"], stored["groups"], strict=True)
    ]
    if had is not None and has is None:
        rate = groups[0].get("initial_lr", groups[0]["lr"])
        warning = (
            f"lr_scheduler is None, but the run that is continued had {had}, which no checkpoint can hold: "
            f"give it again; without, the learning rate is {rate:g} from now on"
        )
        warnings.warn(warning, SettingWarning, stacklevel=2)
        groups = [
            {**{k: v for k, v in group.items() if k != "initial_lr"}, "lr": group.get("initial_lr", group["lr"])}
            for group in groups
        ]
    return {**configured, "groups": groups, "base_rates": stored["base_rates"]}


def apply_configured(optimizer: Optimizer, scheduler: Any, configured: dict[str, Any], stored: dict[str, Any]) -> None:
    """Let settings that differ from those `stored` when the checkpoint was written win over what it brought back.

    All else, and the progress above all, stays as it was, to the last bit. A rate that was changed scales the current one;
    where the schedule was changed, the current rate is computed anew for the epoch reached. A schedule that is new, or
    left out, starts from the configured rate.
    Raises `UserError` for a changed schedule that cannot be computed anew.
    """
    replaced = (configured["schedule"] is None) != (stored["schedule"] is None)
    found = stored.get("found_rate")  # by a search, in place of the configured one
    for group, new, old in zip(optimizer.param_groups, configured["groups"], stored["groups"], strict=True):
        if replaced:
            group.pop("initial_lr", None)
            group.update(new)
            continue
        first = "initial_lr" if "initial_lr" in new else "lr"
        if new[first] != old[first]:
            before = old[first] if found is None else found * old[first] / stored["groups"][0][first]
            scaled = group["lr"] * new[first] / before
            stored["found_rate"] = None
            group.update({first: new[first], "lr": scaled})
        group.update(
            {key: value for key, value in new.items() if key not in ("lr", "initial_lr") and value != old[key]}
        )
    if scheduler is None or replaced:
        return
    changed = {k: v for k, v in configured["settings"].items() if v != stored["settings"].get(k)}
    # Runs of before these were kept go on with what they had.
    changed |= {k: v for k, v in configured["lists"].items() if v != stored.get("lists", {}).get(k, v)}
    counted = isinstance(scheduler, MultiStepLR)
    vars(scheduler).update({k: Counter(v) if counted and k == "milestones" else v for k, v in changed.items()})
    if configured["base_rates"] != stored["base_rates"]:
        scheduler.base_lrs = configured["base_rates"]
    if isinstance(scheduler, ReduceLROnPlateau):
        changed = {}  # its rate is a matter of the figures to come
    if changed and not hasattr(scheduler, "_get_closed_form_lr") and hasattr(scheduler, "get_lr"):
        raise CommonError(
            f"model.lr_scheduler.{next(iter(changed))} is {next(iter(changed.values()))}, but {configured['schedule']} "
            "cannot be changed in a run that is continued; start a new run for that"
        )
    if changed and hasattr(scheduler, "_get_closed_form_lr"):
        for group, rate in zip(optimizer.param_groups, scheduler._get_closed_form_lr(), strict=True):
            group["lr"] = rate
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
