"""One clear sentence for each mistake on the command line."""

from __future__ import annotations

import difflib
import importlib
import itertools
import os
import pydoc
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import lightning.pytorch.callbacks
import lightning.pytorch.cli
import lightning.pytorch.loggers
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from ffrecur.errors import one_line
from ffrecur.lit.run.known import (
    GROUPS,
    OWN,
    classes_with,
    known_classes,
    known_settings,
    nearest_argument,
    settings_by_class,
    usual_name,
)
from ffrecur.lit.run.stopping import code_of_all, local_rank, met_by_all
from ffrecur.lit.run.tasks import nearest_task
from ffrecur.processes import count_processes

SUBCOMMANDS = ("fit", "validate", "test", "predict", "generate", "export", "runs", "report")

PLAIN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
PLAIN |= {"list": "a list in brackets, such as [20, 20]", "tuple": "a list in brackets, such as [3, 5]"}
NOT_HERE = "which is not of the kind that is needed here"
WORDS = {"None": "null", "True": "true", "False": "false"}  # of values, as YAML has them
LAYERS = (
    "a list with out_channels and kernel, and stride and padding where they are not 1 and 0, as whole numbers, for each "
    "layer"
)


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
    if key and key not in GROUPS and (told := _without_class(key, report, args)):
        return told
    if (match := re.search(r"Option '([^']+)' is not accepted", message)) and match[1] != key:
        name = _full_name(match[1], args)
        return _not_of_chosen(name, match[1], _chosen(name, args)) or _unknown(name)
    if key == "config" and (match := re.search(r"(File does not exist|Path is not a file): '(.*)'", report)):
        typed = (arg.removeprefix("--config=") for arg in args)
        name = next((arg for arg in typed if str(Path(arg).absolute()) == match[2]), match[2])
        if match[1].startswith("Path"):
            return f"config is '{name}', which is a folder, but must be a file"
        return f"config is '{name}', which is not there{nearest_task(name)}"
    number = "Expected a <class 'float'>" in report  # which may be a tensor too
    if key and not number and (match := re.search(r"dot import path string: (\S+)", report)):
        name = _full_name(key, args)
        if names := re.search(r"Subtypes: \[typing\.Literal\[(.*?)\], <class '[\w.]*?(\w+)'>\]", report):
            return f"{name} is {match[1]}, but must be one of {names[1]}, or the class path of a subclass of {names[2]}"
        if match[1] in known_classes():
            return f"{name} is '{match[1]}', {_of_kind(NOT_HERE, report)}"
        meant = _nearest(match[1], known_classes()) or "; one of your own is named with its module, as my_lab.MyClass"
        return f"{name} is '{match[1]}', which is not the name of a class{meant}"
    if key and (match := re.search(r"Subtypes: \[list\[(?:\w+\.)+(\w+)\], <class 'NoneType'>\]", report)):
        return _no_list(usual_name(key) or key, match[1], report)
    if key and not number and (match := re.search(r"but (\S+) either not accessible or invalid", report)):
        return f"{_full_name(key, args)} is '{match[1]}', {_of_kind(why_no_class(match[1]), report)}"
    given = re.search(r"Problem with given class_path '([^']+)'", report)
    if key and given and (why := why_no_class(given[1])) != NOT_HERE:
        return f"{_full_name(key, args)} is '{given[1]}', {why}"
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
    return NOT_HERE


def _of_kind(why: str, report: str) -> str:
    """Return why a class cannot be used, with the kind that is needed if that is why and the report tells."""
    kinds = [kind.__name__ for kind in _kinds(report) if kind is not type(None)]
    return f"which is not a subclass of {_listed(kinds)}" if why == NOT_HERE and kinds else why


def _unknown(name: str) -> str:
    if usual_name(name) == name:  # it was typed for another class, which has it: this one came from a file
        name = name.rpartition(".")[2]
    owners = [owner for owner, settings in settings_by_class().items() if name in settings]
    if owners:  # of another class than the one chosen
        listed = " and ".join([", ".join(owners[:-1]), owners[-1]][len(owners) == 1 :])
        group = name.rpartition(".")[0]
        choose = f"--{group}{'+' if group == 'data.augment' else ''}={owners[0]}"
        return f"{name} is a setting of {listed} only; choose the class first: {choose}"
    meant = usual_name(name)
    known = known_settings() if "." in name else [setting.split(".")[-1] for setting in known_settings()]
    return f"{name} is not a setting{f' (nearest: {meant})' if meant else _nearest(name, known)}"


def _not_of_chosen(name: str, last: str, chosen: Sequence[str]) -> str | None:
    """Return that a setting is none of the class that was chosen for it; None where `_unknown` says more."""
    if not chosen:
        return None
    meant = nearest_argument(chosen[-1], last)
    if meant == last or (meant is None and not name.startswith("trainer.")):  # of ours the nearest name is known
        return None
    nearest = f" (nearest: {name.removesuffix(last)}{meant})" if meant else ""
    return f"{name} is not a setting of {chosen[-1].rpartition('.')[2]}{nearest}"


def _chosen(name: str, args: Sequence[str]) -> list[str]:
    """Return the classes that were typed before a setting of this name, as those that it belongs to."""
    before = " ".join(itertools.takewhile(lambda arg: not arg.startswith(f"--{name}"), args))
    named = re.findall(rf"--{re.escape(name.rpartition('.')[0])}\+?[= ]([\w.]+)", before)
    return [each for each in named if each != "null"]


def _full_name(last_part: str, args: Sequence[str]) -> str:
    typed = (arg.removeprefix("--").split("=")[0] for arg in args if arg.startswith("--"))
    ending = [name for name in typed if name == last_part or name.endswith("." + last_part)]
    # --model.lr rather than --model.optimizer.lr, which is accepted
    return min(ending, key=lambda name: name.count("."), default=last_part)


def _ill_typed(name: str, message: str) -> str:
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    kind = r"Expected an instantiatable class, but (?:\w+\.)*(\w+) is abstract|Not a valid subclass of (\w+)"
    message = re.sub(kind, lambda found: f"Expected a class of the kind {found[1] or found[2]}", message)
    expected = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, flags=re.MULTILINE)
    expected = [text for text in expected if not text.startswith(("dot import path", "path but"))]
    plain = [re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).replace("NoneType", "null") for text in expected]
    plain = [f"a {text}" if text.startswith("class of") else PLAIN.get(text, text) for text in plain]
    allowed = list(dict.fromkeys(re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", text) for text in plain))
    if "Subtypes: [list[dict[str, int]]," in message and name.rpartition(".")[2] == "layers":
        value = re.search(r"Given value: (.*)", message)
        allowed = [LAYERS]
    if value is None or not allowed:
        return f"{name}: " + " ".join(message.split())
    given = re.sub(r"\b(None|True|False)\b", lambda word: WORDS[word[0]], value[1].strip())
    return f"{name} is {given}, but must be {' or '.join(allowed)}"


def _without_class(key: str, report: str, args: Sequence[str]) -> str | None:
    """Return the sentence for settings of a class where no class was chosen, or there is none; None for other mistakes."""
    typed = re.search(r"(?:Given|Got) value: NestedArg\(key='([\w.]+)'", report)
    in_file = re.search(r"Given value: (\{'(\w+)': .*)", report)
    if not typed and (not in_file or in_file[2] in ("class_path", "init_args", "dict_kwargs")):
        return None
    setting = typed[1] if typed else in_file[2]  # type: ignore[index]
    name = _full_name(f"{key}.{setting}" if typed else key, args)
    kinds = _kinds(report)
    if not kinds:
        return _unknown(name) if typed else None
    word = re.search(r"Expected a dot import path string: (\w+)", report)  # a value so far, which is no class
    owners = classes_with(setting, kinds, word[1] if word else "")
    nothing_chosen = word or "is abstract" in report or (owners and not _chosen(name, args))
    if not nothing_chosen or ("is not accepted" in report and not owners):
        return None
    if not typed:
        meant = owners[0] if owners else "CLASS"
        return f"{name} is {in_file[1]}, which names no class; give class_path: {meant}, and these as its init_args"  # type: ignore[index]
    several = "list[" in report
    adds = f"{'+' * several}={owners[0] if owners else 'CLASS'}{' adds one' * (several and not owners)}"
    return f"{name} is given before the class that it belongs to: --{name.removesuffix('.' + setting)}{adds}"


def _kinds(report: str) -> list[type]:
    """Return the classes, but for Python's own, of which a value may be one."""
    subtypes = re.search(r"Subtypes: \[(.*)\]", report)
    named = re.sub(r"Callable\[\[.*?\]", "", subtypes[1]) if subtypes else ""  # of a function, what it returns
    paths = re.findall(r"(?:\w+\.)+\w+", named)
    located = [pydoc.locate(path) for path in paths if not path.startswith(("typing.", "collections."))]
    return [kind for kind in located if isinstance(kind, type)]


def _no_list(name: str, kind: str, report: str) -> str:
    adds = f"--{name}+=CLASS adds one"
    if problem := re.search(r"Problem with given class_path '(.+?)'", report):
        return f"{name} is '{problem[1]}', {why_no_class(problem[1])}"
    value = re.search(r"Given value: (.*)", report)
    return f"{name} is {value[1] if value else 'another value'}, but must be null or a list of classes of the kind {kind}: {adds}"


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (nearest: {found[0]})" if found else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " or " * (len(names) > 1) + names[-1]
