"""Errors of what the user chose, a callback, a logger, an optimiser or a setting of the trainer, told in one sentence.

Errors of ours keep their traceback. Whose an error is, its traceback tells: that of the class which the user named if no code
of ours lies deeper than it; of the trainer's settings if Lightning raised it and nobody else's code lies in between.
"""

from __future__ import annotations

import importlib
import pickle
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer

from ffrecur.errors import CommonError, UserError, one_line
from ffrecur.lit.run.own_classes import class_paths
from ffrecur.lit.run.saving import LastCheckpoint
from ffrecur.processes import count_processes
from ffrecur.storage.output import DISK_ERRORS, not_written, output_closed

OURS = "ffrecur"
# On the way to any class.
PASSED_THROUGH = ("ffrecur.commands.train", "ffrecur.main", "ffrecur.lit.run.parser", "ffrecur.lit.run.boundary")
OF_THE_TRAINER = ("lightning", "multiprocessing", "pickle", "torch.distributed", "torch.profiler", "importlib")
# Code that every class of a kind shares.
BASES = (OURS, "builtins", "abc", "typing", "torch.nn.", "lightning.pytorch.core.")
CALLED_BACK = ("lightning.", "torch.autograd")
OTHER_PROCESS = ("Connection closed by peer", "Connection reset by peer", "gloo", "NCCL")
REFUSALS = (ValueError, TypeError, RuntimeError, ImportError, OSError, NotImplementedError, pickle.PicklingError)
NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc")


class Named(NamedTuple):
    """A class that the user chose."""

    setting: str  # such as trainer.callbacks
    made: type


def named_classes(config: Namespace) -> Iterator[Named]:
    """Yield the classes in a configuration that are not ours, with the settings that name them."""
    for setting, path in class_paths(config.as_dict()):
        made = None if path.startswith(f"{OURS}.") else _class_of(path)
        if made is not None:
            yield Named(setting.replace("[]", ""), made)


def _class_of(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return made if isinstance(made, type) else None


def to_tell(
    error: Exception, named: Sequence[Named], typed: Sequence[str], trainer: Trainer | None
) -> UserError | None:
    """Return what `as_user_error` makes of any error of a command, with the training's checkpoint, if there is one.

    None for an error of ours, and for a reader that has seen enough, which is no error.
    """
    told: UserError | None
    if isinstance(error, UserError):
        told = error
    elif isinstance(error, OSError) and error.errno in DISK_ERRORS:
        told = UserError(not_written(error))
    elif isinstance(error, BrokenPipeError) and output_closed():
        told = None
    else:
        told = as_user_error(error, named, typed)
    saved = None if trainer is None else checkpoint_of(trainer)
    if told is None or saved is None:
        return told
    kind = CommonError if isinstance(told, CommonError) else UserError
    return kind(f"{one_line(told)}; {saved}")


def checkpoint_of(trainer: Trainer) -> str | None:
    """Return a phrase that names the checkpoint of a training, if one was written."""
    last = next((each for each in trainer.checkpoint_callbacks if isinstance(each, LastCheckpoint)), None)
    if last is None or (last.saved_path is None and last.saved_step < 0):
        return None
    return f"{'the training so far' if last.saved_path else 'the last checkpoint'} is in {last.path}"


def as_user_error(error: Exception, named: Sequence[Named], typed: Sequence[str]) -> UserError | None:
    """Return what to tell the user of an error; None if it is ours, which keeps its traceback.

    `named` are the classes that the user chose, `typed` the arguments of the command line.
    """
    if lacks_memory(error):
        cure = "a smaller data.batch_size or model.hidden_features takes less"
        return UserError(f"the memory is not enough: {one_line(error)}; {cure}")
    if count_processes() > 1 and any(words in str(error) for words in OTHER_PROCESS):
        return UserError(f"another process of the training has ended: {one_line(error)}")
    frames = list(_frames(error))
    own = [depth for depth, frame in enumerate(frames) if _is_ours(frame)]
    blamed = [(depth, each) for depth, frame in enumerate(frames) for each in named if _belongs(frame, each.made)]
    if blamed and issubclass(blamed[-1][1].made, Optimizer):
        # Its step calls back for the loss and the gradients: what is wrong with those is not its fault.
        called_back = any(_module(frame).startswith(CALLED_BACK) for frame in frames[blamed[-1][0] :])
        blamed = [] if called_back else blamed
    if blamed and (not own or blamed[-1][0] > own[-1]):
        return UserError(failed(blamed[-1][1], error, typed, frames))
    refused = isinstance(error, REFUSALS) and frames and _module(frames[-1]).startswith(OF_THE_TRAINER)
    if isinstance(error, MisconfigurationException) or (refused and not own):
        told = _with_cause(error)
        return UserError(f"{' '.join(trainer_settings(typed, told)) or 'trainer'}: {told}")
    return None


def trainer_settings(typed: Sequence[str], message: str) -> list[str]:
    """Return the arguments for the trainer that a message is about: those whose name or value it has.

    >>> args = ["fit", "--trainer.max_epochs=2", "--trainer.accelerator", "gpu", "--data.source=gpu"]
    >>> trainer_settings(args, "No supported gpu backend found!")
    ['--trainer.accelerator', 'gpu']
    """
    found = []
    for place, arg in enumerate(typed):
        option, equals, value = arg.partition("=")
        if option.startswith("--trainer."):
            shown = [arg] if equals else list(typed[place : place + 2])
            value = value if equals else shown[-1]
            if option.rpartition(".")[2] in message or (len(value) > 1 and value in message):
                found += shown
    return found


def failed(named: Named, error: Exception, typed: Sequence[str], frames: Sequence[FrameType] = ()) -> str:
    """Return the sentence for an error of a class that the user named, with what was typed to name it."""
    what = " ".join(typed_for(named, typed)) or f"{named.setting} {named.made.__name__}"
    return f"{what}: {type(error).__name__}: {_with_cause(error)}{_place(named, frames)}"


def typed_for(named: Named, typed: Sequence[str]) -> list[str]:
    """Return the arguments that chose a class, and those after it that set something of it.

    >>> class EarlyStopping: ...
    >>> args = ["fit", "--trainer.callbacks+=Timer", "--trainer.callbacks+=EarlyStopping", "--data=x"]
    >>> typed_for(Named("trainer.callbacks", EarlyStopping), [*args, "--trainer.callbacks.monitor", "x"])
    ['--trainer.callbacks+=EarlyStopping', '--trainer.callbacks.monitor', 'x']
    """
    found: list[str] = []
    chosen = shown = False  # whether the class chosen last is this one, and whether the option is about it
    for place, arg in enumerate(typed):
        option, _, value = arg.partition("=")
        if option.startswith("--"):
            name = option[2:].removesuffix("+")
            if name == named.setting:
                value = value or next(iter(typed[place + 1 :]), "")
                chosen = value.rpartition(".")[2] == named.made.__name__
                found = [] if chosen else found
            shown = chosen and (name == named.setting or name.startswith(f"{named.setting}."))
        if shown:
            found.append(arg)
    return found


def lacks_memory(error: BaseException) -> bool:
    """Whether an error tells that the memory is used up: PyTorch has several kinds of it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)


def _with_cause(error: BaseException) -> str:
    """Return the message of an error in one line, and in brackets that of the first of its causes."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return one_line(error) if cause is error else f"{one_line(error)} ({type(cause).__name__}: {one_line(cause)})"


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames that an error and its causes passed, the outermost first."""
    current: BaseException | None = error
    while current is not None:
        yield from (frame for frame, _ in traceback.walk_tb(current.__traceback__))
        current = current.__cause__


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_ours(frame: FrameType) -> bool:
    name = _module(frame)
    return (name == OURS or name.startswith(f"{OURS}.")) and name not in PASSED_THROUGH


def _belongs(frame: FrameType, made: type) -> bool:
    """Whether a frame is code of a class, of one that it inherits from, or of the modules that define these."""
    return _module(frame) in {base.__module__ for base in made.__mro__ if not base.__module__.startswith(BASES)}


def _place(named: Named, frames: Sequence[FrameType]) -> str:
    """Return where in a file of the user's own it happened; nothing for an installed class."""
    for frame in reversed(frames):
        path = Path(frame.f_code.co_filename)
        if _belongs(frame, named.made):
            installed = any(path.is_relative_to(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
            return "" if installed else f" ({path.name}, line {frame.f_lineno})"
    return ""
