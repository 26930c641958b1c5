"""One clear sentence for each mistake on the command line."""

from __future__ import annotations

import difflib
import functools
import importlib
import itertools
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import lightning.pytorch.callbacks
import lightning.pytorch.cli
import lightning.pytorch.loggers
import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

import ffrecur.data
import ffrecur.lit
from ffrecur.errors import one_line
from ffrecur.lit.run.stopping import code_of_all, local_rank, met_by_all
from ffrecur.lit.run.tasks import nearest_task
from ffrecur.processes import count_processes

SUBCOMMANDS = ("fit", "validate", "test", "predict", "generate", "export", "runs")

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

PLAIN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def tell(error: BaseException, args: Sequence[str]) -> int:
    """Print what `explain` makes of an error, on standard error; return the exit code, 2.

    Of several processes the first one tells an error that all of them meet. Before they know of one another, where torchrun
    or SLURM started them, the first on each machine speaks. An error of one process alone is told by it, whichever it is.
    """
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    started_together = distributed.is_torchelastic_launched() or "SLURM_PROCID" in os.environ
    if met_by_all(error):
        silent, code = rank != 0, code_of_all(2)
    else:
        silent, code = started_together and count_processes() == 1 and local_rank() != 0, 2
    if not silent:
        # In one piece: other processes may write at the same time.
        print(f"error: {explain(str(error), args)}\n", end="", file=sys.stderr, flush=True)
    return code


def explain(message: str, args: Sequence[str]) -> str:
    """Return the message of an error as one line that names the setting, its value, and what is allowed or nearest.

    jsonargparse tells only the last part of an unknown or ill-typed setting's name; `args`, what was typed, has all.
    """
    if match := re.search(r"invalid choice: '(.*?)' \(choose from", message):
        return f"subcommand is '{match[1]}', but must be {_listed(SUBCOMMANDS)}{_nearest(match[1], SUBCOMMANDS)}"
    if 'expected "subcommand"' in message:
        return f"subcommand is missing; give {_listed(SUBCOMMANDS)}"
    if match := re.search(r"[Uu]nrecognized arguments: ([^\s=]+)", message):
        option = match[1].removesuffix("+")
        meant = usual_name(option.removeprefix("--"))
        nearest = f" (nearest: --{meant})" if meant else _nearest(option, ["--" + name for name in known_settings()])
        return f"{option} is not an option{nearest}"
    if match := re.search(r"Subcommand '(\w+)' does not accept option '([^']+)'", message):
        name = match[2].removeprefix(f"{match[1]}.")
        group = name.partition(".")[0]
        if group in GROUPS:
            return _unknown(name)
        return f"{group} is not a setting{_nearest(group, [*GROUPS, *OWN])}"
    key, report = _innermost(message)
    if (match := re.search(r"Option '([^']+)' is not accepted", message)) and match[1] != key:
        name = _full_name(match[1], args)
        before = " ".join(itertools.takewhile(lambda arg: not arg.startswith(f"--{name}"), args))
        chosen = re.findall(rf"--{re.escape(name.rpartition('.')[0])}\+?[= ]([\w.]+)", before)
        if chosen and name.startswith("trainer."):  # of our own classes the nearest name is known
            return f"{name} is not a setting of {chosen[-1].rpartition('.')[2]}"
        return _unknown(name)
    if key == "config" and (match := re.search(r"(File does not exist|Path is not a file): '(.*)'", report)):
        typed = (arg.removeprefix("--config=") for arg in args)
        name = next((arg for arg in typed if str(Path(arg).absolute()) == match[2]), match[2])
        if match[1].startswith("Path"):
            return f"config is '{name}', which is a folder, but must be a file"
        return f"config is '{name}', which is not there{nearest_task(name)}"
    if key and (match := re.search(r"dot import path string: (\S+)", report)):
        name = _full_name(key, args)
        if names := re.search(r"Subtypes: \[typing\.Literal\[(.*?)\], <class '[\w.]*?(\w+)'>\]", report):
            return f"{name} is {match[1]}, but must be one of {names[1]}, or the class path of a subclass of {names[2]}"
        return f"{name} is '{match[1]}', which is not the name of a class{_nearest(match[1], known_classes())}"
    if key and (match := re.search(r"Subtypes: \[list\[(?:\w+\.)+(\w+)\], <class 'NoneType'>\]", report)):
        return _no_list(usual_name(key) or key, match[1], report)
    if key and (match := re.search(r"but (\S+) either not accessible or invalid", report)):
        return f"{_full_name(key, args)} is '{match[1]}', {why_no_class(match[1])}"
    if key and (match := re.search(r"arguments are required: (.+)", report)):
        return f"{_full_name(key, args)} needs its setting {match[1]}, which is not given"
    if key and (match := re.search(r"Multiple subclasses with name .*", report)):
        return f"{_full_name(key, args)}: {match[0]}"
    if key:
        return _ill_typed(_full_name(key, args), report)
    return " ".join(message.split())


def _innermost(message: str) -> tuple[str | None, str]:
    """Return the setting that jsonargparse's nested report ends at, and the part of the report about it alone."""
    found = list(re.finditer(r'^([ -]*)Parser key "([^"]+)"[^:]*:', message, flags=re.MULTILINE))
    if not found:
        return None, message
    first, *lines = message[found[-1].end() :].splitlines() or [""]
    depth = len(found[-1][1])
    # What belongs to it is indented as far as it is, or farther.
    inside = itertools.takewhile(lambda line: not line.strip() or len(line) - len(line.lstrip(" ")) >= depth, lines)
    return found[-1][2], "\n".join([first, *inside])


def why_no_class(path: str) -> str:
    """Return why a dotted name is no class that can be used: what its import raises, or that it has no such name.

    >>> why_no_class("nowhere.Callback"), why_no_class("json.Nothing")
    ("which cannot be imported: ModuleNotFoundError: No module named 'nowhere'", "but json has no 'Nothing'")
    """
    module, _, name = path.rpartition(".")
    if not module:
        lit = lightning.pytorch
        places = (torch.optim, torch.optim.lr_scheduler, lit.cli, lit.callbacks, lit.loggers)
        full = [f"{place.__name__}.{name}" for place in places if hasattr(place, name)]
        return (
            f"which may be {_listed(full)}; give the full name" if len(full) > 1 else "which is not the name of a class"
        )
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # of a file of the user's: anything
        return f"which cannot be imported: {type(error).__name__}: {one_line(error)}"
    if found is None:
        return f"but {module} has no '{name}'"
    return "which is not of the kind that is needed here"


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
        owners.append(("data" if issubclass(owner, LightningDataModule) else "data.augment", owner))
    return {owner.__name__: [f"{group}.{name}" for name in arguments_of(owner)] for group, owner in owners}


def arguments_of(owner: type) -> list[str]:
    """Return the names of a class' arguments, those that it hands on to its base with `**` among them."""
    return list(ArgumentParser().add_class_arguments(owner))


def known_settings() -> list[str]:
    """Return the full names of all settings."""
    return [*OWN, *itertools.chain(*settings_by_class().values())]


def _unknown(name: str) -> str:
    if usual_name(name) == name:  # it was typed for another class, which has it: this one came from a file
        name = name.rpartition(".")[2]
    owners = [owner for owner, settings in settings_by_class().items() if name in settings]
    if owners:  # of another class than the one chosen
        return f"{name} is a setting of {' and '.join(owners)} only; choose the class first: --{name.split('.')[0]}={owners[0]}"
    meant = usual_name(name)
    known = known_settings() if "." in name else [setting.split(".")[-1] for setting in known_settings()]
    return f"{name} is not a setting{f' (nearest: {meant})' if meant else _nearest(name, known)}"


def usual_name(name: str) -> str | None:
    """Return the setting whose name ends like this one, or that other programs call so; None if there is none.

    >>> usual_name("batch_size"), usual_name("model.lr"), usual_name("trainer.damping"), usual_name("dampning")
    ('data.batch_size', 'model.optimizer.lr', 'model.damping', None)
    """
    last = name.rpartition(".")[2]
    ending = [setting for setting in known_settings() if setting.rpartition(".")[2] == last and setting != name]
    return HABITS.get(last) or next(iter(ending), None)


def _full_name(last_part: str, args: Sequence[str]) -> str:
    typed = (arg.removeprefix("--").split("=")[0] for arg in args if arg.startswith("--"))
    ending = [name for name in typed if name == last_part or name.endswith("." + last_part)]
    # --model.lr rather than --model.optimizer.lr, which is accepted
    return min(ending, key=lambda name: name.count("."), default=last_part)


def _ill_typed(name: str, message: str) -> str:
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    expected = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, flags=re.MULTILINE)
    plain = [re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).replace("NoneType", "null") for text in expected]
    plain = [PLAIN.get(word, word) for word in plain]
    allowed = list(dict.fromkeys(re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", text) for text in plain))
    if value is None or not allowed:
        return f"{name}: " + " ".join(message.split())
    return f"{name} is {value[1].strip()}, but must be {' or '.join(allowed)}"


def _no_list(name: str, kind: str, report: str) -> str:
    adds = f"--{name}+=CLASS adds one"
    if problem := re.search(r"Problem with given class_path '(.+?)'", report):
        return f"{name} is '{problem[1]}', {why_no_class(problem[1])}"
    if setting := re.search(r"Given value: NestedArg\(key='(.+?)'", report):
        return f"{name}.{setting[1]} is given before the class that it belongs to: {adds}"
    value = re.search(r"Given value: (.*)", report)
    return f"{name} is {value[1] if value else 'another value'}, but must be null or a list of classes of the kind {kind}: {adds}"


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (nearest: {found[0]})" if found else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1]
