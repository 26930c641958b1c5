"""Which classes and settings there are, and which of them a user may have meant."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import pydoc
from collections.abc import Iterable

import lightning
import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, Trainer

import ffrecur.data
import ffrecur.lit

GROUPS = ("trainer", "model", "data")
OWN = ("config", "seed_everything", "ckpt_path", "checkpoint_seconds", "model", "data")  # options of the program's own
HABITS = {  # what other programs call it
    "lr": "model.optimizer.lr",
    "learning_rate": "model.optimizer.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "device": "trainer.accelerator",
    "seed": "seed_everything",
    "dataset": "data.source",
    "data_dir": "data.source",
    "data_path": "data.source",
    "val_size": "data.validation_size",
    "output_dir": "trainer.default_root_dir",
    "log_dir": "trainer.default_root_dir",
    "save_dir": "trainer.default_root_dir",
    "resume": "ckpt_path",
    "checkpoint": "ckpt_path",
    "resume_from_checkpoint": "ckpt_path",
    "layers": "model.hidden_features",
    "hidden_size": "model.hidden_features",
    "dropout": "model.state_dropout",
    "scheduler": "model.lr_scheduler",
}


def known_classes() -> list[str]:
    """Return the names that a user may have meant by a class."""
    torch_classes = [*vars(torch.optim), *vars(torch.optim.lr_scheduler)]
    return [*ffrecur.lit.__all__, *ffrecur.data.__all__, *(name for name in torch_classes if name[0].isupper())]


@functools.cache
def settings_by_class() -> dict[str, list[str]]:
    """Return the full names of the settings of our classes and of the trainer, by the name of the class."""
    owners = [("trainer", Trainer)]
    owners += [("model", getattr(ffrecur.lit, name)) for name in ffrecur.lit.__all__]
    for owner in (getattr(ffrecur.data, name) for name in ffrecur.data.__all__):
        owners.append((group_of(owner), owner))
    return {owner.__name__: [f"{group}.{name}" for name in arguments_of(owner)] for group, owner in owners}


def group_of(owner: type) -> str:
    """Return the setting below which those of one of our classes for data stand."""
    if issubclass(owner, LightningDataModule):
        return "data"
    return "data.scene" if issubclass(owner, ffrecur.data.Scene) else "data.augment"


def arguments_of(owner: type) -> list[str]:
    """Return the names of a class' arguments, those that it hands on to its base with `**` among them."""
    return list(ArgumentParser().add_class_arguments(owner))


def known_settings() -> list[str]:
    """Return the full names of all settings."""
    return [*OWN, *itertools.chain(*settings_by_class().values())]


def usual_name(name: str) -> str | None:
    """Return the setting whose name ends like this one, or that other programs call so; None if there is none.

    >>> usual_name("batch_size"), usual_name("model.lr"), usual_name("trainer.damping"), usual_name("dampning")
    ('data.batch_size', 'model.optimizer.lr', 'model.damping', None)
    """
    last = name.rpartition(".")[2]
    ending = [setting for setting in known_settings() if setting.rpartition(".")[2] == last and setting != name]
    return HABITS.get(last) or next(iter(ending), None)


def classes_with(setting: str, kinds: Iterable[type], like: str = "") -> list[str]:
    """Return the names of the classes of these kinds that have a setting: one that is called `like` first, then ours.

    >>> classes_with("epochs", [torch.optim.lr_scheduler.LRScheduler])
    ['FlatThenLinear', 'OneCycleLR']
    """
    found, waiting = set(), list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        offered = kind.__module__.startswith(("ffrecur.", "torch.", "lightning.")) and not inspect.isabstract(kind)
        if offered and kind.__name__[0] != "_" and setting in _parameters(kind):
            found.add(kind)
    first = [(kind.__name__.lower() != like, "ffrecur" not in kind.__module__, kind.__name__) for kind in found]
    return [name for *_, name in sorted(first)]


def nearest_argument(chosen: str, name: str) -> str | None:
    """Return the argument of a class, by its name or its path, that is nearest to a name; None where none is near.

    >>> nearest_argument("SGD", "momentun"), nearest_argument("torch.optim.Adam", "ams_grad"), nearest_argument("Nope", "lr")
    ('momentum', 'amsgrad', None)
    """
    places = (torch.optim, torch.optim.lr_scheduler, lightning.pytorch.callbacks, ffrecur.lit, ffrecur.data)
    short = (vars(place)[chosen] for place in places if chosen in vars(place))
    made = pydoc.locate(chosen) if "." in chosen else next(short, None)
    known = [] if made is None else list(_parameters(made))  # type: ignore[arg-type]  # what was chosen is a class
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _parameters(kind: type) -> Iterable[str]:
    try:
        return inspect.signature(kind).parameters
    except ValueError:  # some that are written in C tell none
        return ()
