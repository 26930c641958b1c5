"""Classes of the user's own: what a checkpoint names is imported only where it was typed too."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import yaml

from ffrecur.errors import UserError
from ffrecur.lit.run.config import config_files, settings_in, values_of
from ffrecur.lit.run.folders import CONFIG
from ffrecur.lit.run.parser import Mistake
from ffrecur.storage.classes import of_the_users

CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@contextmanager
def imports_of(stored: Mapping[str, Any], typed: Sequence[str], checkpoint: Path) -> Iterator[None]:
    """Let the settings of a checkpoint be parsed, and import no class of the user's that they name but those typed.

    Typed is what stands on the command line, or in a configuration file that was given there, for the same setting.
    Raises `UserError` for a class that was not typed: it would run as code.
    """
    said = set(typed_texts(typed))
    for place, path in class_paths(stored):
        setting, listed = place.replace("[]", ""), "[]" in place
        if of_the_users(path) and (setting, path) not in said:
            # Typed with = it would replace the whole list, with += it would be there twice.
            add = f"--config {checkpoint.parent / CONFIG}" if listed else f"--{setting}={path}"
            raise UserError(
                f"{setting} is '{path}' in '{checkpoint}', a class of your own, which is imported only where it is typed: "
                f"add {add}"
            )
    # A class can be named by its path alone too. Most texts of that form are names of files, which nobody imports.
    named = {module_of(text) for setting, text in texts(stored) if (setting, text) not in said}
    allowed = {module_of(text) for _, text in said if not Path(text).exists()}
    guard = Guard(named - allowed - {None}, checkpoint)
    sys.meta_path.insert(0, guard)
    try:
        yield
    finally:
        sys.meta_path.remove(guard)


class Guard(MetaPathFinder):
    """Refuses to import the modules that a checkpoint names and nobody has typed."""

    def __init__(self, refused: Set[str | None], checkpoint: Path) -> None:
        self.refused, self.checkpoint = refused, checkpoint

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Leave every other module to the finders that follow. Raises `Mistake`: the parser goes on after an `Exception`."""
        if fullname.partition(".")[0] in self.refused:
            told = f"{fullname} is named in '{self.checkpoint}', but a module of your own is imported only where it is typed"
            raise Mistake(UserError(told))


def module_of(text: str) -> str | None:
    """Return the module on top that a class path of the user's begins with; None for any other text.

    >>> module_of("my_lab.layers.TopK"), module_of("torch.optim.Adam"), module_of("./my_lab.csv")
    ('my_lab', None, None)
    """
    return text.partition(".")[0] if CLASS_PATH.fullmatch(text) and of_the_users(text) else None


def typed_texts(typed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every text that was typed, on the command line or in a configuration file, after its setting."""
    for option in {arg.partition("=")[0] for arg in typed if arg.startswith("--")}:
        setting = option.removeprefix("--").rstrip("+").replace(".init_args", "").removesuffix(".class_path")
        for value in values_of(typed, option):
            yield from texts(value, setting)
    for file in config_files(typed):
        yield from texts(settings_in(file))


def class_paths(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a configuration that name a class, those in a list with `[]` behind, and its path.

    >>> list(class_paths({"model": {"class_path": "a.B", "init_args": {"optimizer": {"class_path": "c.D"}}}}))
    [('model', 'a.B'), ('model.optimizer', 'c.D')]
    >>> list(class_paths({"trainer": {"callbacks": [{"class_path": "a.B"}]}}))
    [('trainer.callbacks[]', 'a.B')]
    """
    if isinstance(settings, list):
        for item in settings:
            yield from class_paths(item, f"{name}[]")
    elif isinstance(settings, Mapping):
        if isinstance(settings.get("class_path"), str):
            yield name, settings["class_path"]
        for key, value in settings.items():
            yield from class_paths(value, name if key == "init_args" else f"{name}.{key}".lstrip("."))


def texts(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a configuration after its setting; one that holds settings is read as the parser reads it.

    >>> list(texts({"model": {"class_path": "a.B", "init_args": {"x": ["c.D", 3], "y": '{"class_path": "e.F"}'}}}))
    [('model', 'a.B'), ('model.x', 'c.D'), ('model.y', 'e.F')]
    """
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from texts(value, name if key in ("class_path", "init_args") else f"{name}.{key}".lstrip("."))
    elif isinstance(settings, list):
        for item in settings:
            yield from texts(item, name)
    elif isinstance(settings, str):
        with suppress(yaml.YAMLError, ValueError, RecursionError):
            if isinstance(inner := yaml.safe_load(settings), Mapping | list):
                yield from texts(inner, name)
                return
        yield name, settings
