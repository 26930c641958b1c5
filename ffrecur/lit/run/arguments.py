"""What is typed, before and after it is parsed: the order of options, and paths that begin with `~`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from ffrecur.lit.run.config import config_files, settings_in
from ffrecur.lit.run.parser import changed
from ffrecur.lit.run.tasks import OPTIONS
from ffrecur.storage.files import with_home

TEXT = ("alphabet", "document_separator")  # settings whose ~ is a character


def after_subcommand(typed: Sequence[str], subcommands: Container[str]) -> list[str]:
    """Return the arguments with the subcommand first: options before it mean what they mean after it.

    A configuration file with a section for a subcommand, as Lightning has them, is for all of them and stays where it is.

    >>> after_subcommand(["--config", "a.yaml", "fit", "--seed_everything=1"], ["fit", "test"])
    ['fit', '--config', 'a.yaml', '--seed_everything=1']
    """
    at = next((place for place, arg in enumerate(typed) if arg in subcommands), None)
    if at is None or {"-h", "--help"} & set(typed[:at]):
        return list(typed)
    if any(section in subcommands for file in config_files(typed[:at]) for section in settings_in(file)):
        return list(typed)
    return [typed[at], *typed[:at], *typed[at + 1 :]]


def files_first(typed: Sequence[str]) -> list[str]:
    """Return the arguments after a subcommand with the configuration files before the rest: what is typed wins over them.

    >>> files_first(["--seed_everything=1", "--config", "a.yaml", "--model.sign", "-1", "--config=b.yaml"])
    ['--config', 'a.yaml', '--config=b.yaml', '--seed_everything=1', '--model.sign', '-1']
    """
    files: list[str] = []
    others: list[str] = []
    for place, argument in enumerate(typed):
        of_file = argument.partition("=")[0] in OPTIONS or (place > 0 and typed[place - 1] in OPTIONS)
        (files if of_file else others).append(argument)
    return [*files, *others]


def typed_with_home(typed: Sequence[str]) -> list[str]:
    """Return arguments whose values have the home folder in place of `~`, as a shell does where it sees one."""
    found: list[str] = []
    for arg in typed:
        option, equals, value = arg.partition("=")
        name = option.lstrip("-") if arg.startswith("--") and equals else (found or [""])[-1].lstrip("-")
        if name.split(".")[-1] in TEXT:
            found.append(arg)
        else:
            found.append(option + equals + with_home(value) if arg.startswith("--") else with_home(arg))
    return found


def expand_home(config: Any) -> Any:
    """Put the home folder in place of `~` in every text of a parsed configuration; return it."""
    return changed(config, lambda value: with_home(value) if isinstance(value, str) else value, but=TEXT)
