"""The parser of the command line: mistakes are `UserError`s, null is no value, and what it writes it can read again."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
import typing
import warnings
from collections.abc import Callable, Container
from enum import Enum
from types import UnionType
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ffrecur.errors import UserError, check_setting

NOT_WRITTEN = "Unable to serialize instance "  # jsonargparse's text in place of a value that YAML does not have
MADE_LATER = (Optimizer, LRScheduler, ReduceLROnPlateau)  # by the module, which tells their errors


class Mistake(BaseException):
    """Carries a `UserError` out of jsonargparse, which would bury any `Exception` of a constructor in its own report."""


class Parser(LightningArgumentParser):
    """A parser that reports a mistake as `UserError`, one sentence without the usage."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise the mistake."""
        raise UserError(message) from ex

    def parse_args(self, args: Any = None, *rest: Any, **kwargs: Any) -> Any:
        """Parse; null for a setting of a class, which jsonargparse hands on as the text None, is null again."""
        if args is not None and len(args) == 1 and args[0].endswith("=None"):
            args = [args[0].removesuffix("None") + "null"]
        return super().parse_args(args, *rest, **kwargs)

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> Any:
        """Add the settings of a class; one that may be a whole number or a fraction takes 1 as 1 and 1.0 as 1.0."""
        added = super().add_class_arguments(*args, **kwargs)
        for action in self._actions:
            hint = getattr(action, "_typehint", None)
            if hint is not None:
                action._typehint = whole_numbers_first(hint)  # type: ignore[attr-defined]  # of jsonargparse
        return added

    def add_instantiator(self, instantiator: Any, *args: Any, **kwargs: Any) -> None:
        """Let a `UserError` of the classes that are built pass through."""

        @functools.wraps(instantiator.__call__)
        def surfacing(made: type, *args: Any, applied_instantiation_links: Any, **settings: Any) -> Any:
            try:
                check_given(made, settings)
                check_finite(made, settings)
                return instantiator(made, *args, applied_instantiation_links=applied_instantiation_links, **settings)
            except UserError as error:
                raise Mistake(error) from error

        super().add_instantiator(surfacing, *args, **kwargs)

    def tell_of(self, explain: Callable[[type, Exception], str]) -> None:
        """Let `explain` make the sentence for whatever the constructor of any other class raises, such as a callback's."""

        def telling(made: type, *args: Any, **kwargs: Any) -> Any:
            try:
                if issubclass(made, MADE_LATER):
                    check_given(made, kwargs)
                check_finite(made, kwargs)
                return made(*args, **kwargs)
            except Exception as error:
                if issubclass(made, MADE_LATER):
                    raise
                raise Mistake(error if isinstance(error, UserError) else UserError(explain(made, error))) from error

        super().add_instantiator(telling, object)

    def dump(self, cfg: Namespace, *args: Any, **kwargs: Any) -> str:
        """Return a configuration as YAML that can be read again: without the defaults of classes that YAML cannot hold.

        It was parsed, so it is not checked once more, which takes longer than the rest.
        """
        config = changed(cfg.clone(), plain)
        kwargs["skip_validation"] = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f"(?s).*{NOT_WRITTEN}")
            text: str = super().dump(config, *args, **kwargs)
        if NOT_WRITTEN not in text:
            return text
        return yaml.safe_dump(without_unwritten(yaml.safe_load(text), config), sort_keys=False)


def whole_numbers_first(hint: Any) -> Any:
    """Return a type hint with whole numbers before fractions in a union of both.

    Python keeps one union for each set of types, in the order in which it was first written anywhere.

    >>> whole_numbers_first(float | int | None)
    int | float | None
    """
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union else ()
    if not {int, float} <= {kind for kind in kinds if isinstance(kind, type)} or kinds.index(int) < kinds.index(float):
        return hint
    return functools.reduce(operator.or_, [int, *(kind for kind in kinds if kind is not int)])


def changed(config: Any, change: Callable[[Any], Any], but: Container[str] = ()) -> Any:
    """Put what `change` makes of it in place of each value of a configuration, `but` those of these names; return it."""
    if isinstance(config, Namespace | dict):
        items = vars(config) if isinstance(config, Namespace) else config
        items.update({name: changed(value, change, but) for name, value in items.items() if name not in but})
        return config
    return [changed(item, change, but) for item in config] if isinstance(config, list) else change(config)


def plain(value: Any) -> Any:
    """Return text for a member of a text enumeration, and for a device; any other value as it is."""
    if isinstance(value, torch.device):
        return str(value)
    return str(value.value) if isinstance(value, Enum) and isinstance(value, str) else value


def without_unwritten(written: Any, config: Any) -> Any:
    """Return a configuration as it was written, with text that was not written in its place, and without other such values.

    These are defaults of a class: none can be typed, and without an entry the class has its default again.
    """
    if isinstance(written, list):
        return [without_unwritten(*pair) for pair in zip(written, config, strict=True)]
    if not isinstance(written, dict):
        return written
    items = vars(config) if isinstance(config, Namespace) else config
    kept = {}
    for name, value in written.items():
        if not (isinstance(value, str) and value.startswith(NOT_WRITTEN)):
            kept[name] = without_unwritten(value, items[name]) if isinstance(value, dict | list) else value
        elif isinstance(items[name], str):
            kept[name] = items[name]
    return kept


def without_marks(stored: Any) -> Any:
    """Return a stored configuration without the marks that earlier versions wrote in place of values."""
    if isinstance(stored, dict):
        return {name: without_marks(value) for name, value in stored.items() if not _is_mark(value)}
    return [without_marks(value) for value in stored] if isinstance(stored, list) else stored


def _is_mark(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(NOT_WRITTEN)


def check_given(made: type, settings: dict[str, Any]) -> None:
    """Raise `UserError` for what the parser lets pass of our classes, `dict_kwargs`, and of PyTorch's too: null for a value."""
    if made.__module__.startswith("ffrecur."):
        hints: dict[str, Any] = {}
        for kind in reversed(made.__mro__):  # a class hands shared settings on to its bases
            if kind.__module__.startswith("ffrecur."):
                hints |= typing.get_type_hints(kind.__init__)  # type: ignore[misc]  # of the class itself
        unknown = next((name for name in settings if name not in hints), None)
        if unknown is not None:
            value = settings[unknown]
            raise UserError(f"dict_kwargs.{unknown} is {value!r}, but {made.__name__} has no setting of that name")
        filled = {name for name, hint in hints.items() if type(None) not in typing.get_args(hint)}
    elif made.__module__.startswith("torch."):  # whose hints are text, of names that are not always there
        parameters = inspect.signature(made).parameters.values()
        filled = {each.name for each in parameters if not re.search(r"None|Optional|Any|_empty", str(each.annotation))}
    else:
        return
    for name, value in settings.items():
        if value is None and name in filled:
            raise UserError(f"{_group(made)}.{name} is null, but must have a value")


def _group(made: type) -> str:
    kinds: dict[Any, str] = {
        LightningDataModule: "data",
        Optimizer: "model.optimizer",
        MADE_LATER: "model.lr_scheduler",
    }
    return next((group for kind, group in kinds.items() if issubclass(made, kind)), "model")


def check_finite(made: type, settings: dict[str, Any]) -> None:
    """Raise `UserError` for an infinite number, or none, among the settings of our classes, and for such a learning rate."""
    ours, learns = made.__module__.startswith("ffrecur."), issubclass(made, Optimizer)
    for name, value in settings.items():
        if isinstance(value, float) and (ours or (learns and name == "lr")):
            whole_name = f"{_group(made)}.{name}" if learns else name
            check_setting(math.isfinite(value), whole_name, value, "a finite number")
