"""The parser of the command line: mistakes are `UserError`s, and null is no value."""

from __future__ import annotations

import functools
import typing
from typing import Any

from lightning import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

from ffrecur.errors import UserError


class Mistake(BaseException):
    """Carries a `UserError` out of jsonargparse, which would bury any `Exception` of a constructor in its own report."""


class Parser(LightningArgumentParser):
    """A parser that reports a mistake as `UserError`, one sentence without the usage."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise the mistake."""
        raise UserError(message) from ex

    def add_instantiator(self, instantiator: Any, *args: Any, **kwargs: Any) -> None:
        """Let a `UserError` of the classes that are built pass through."""

        @functools.wraps(instantiator.__call__)
        def surfacing(*args: Any, **kwargs: Any) -> Any:
            try:
                refuse_null(args[0], kwargs)
                return instantiator(*args, **kwargs)
            except UserError as error:
                raise Mistake(error) from error

        super().add_instantiator(surfacing, *args, **kwargs)


def refuse_null(made: type, settings: dict[str, Any]) -> None:
    """Raise `UserError` for null where a setting of one of our classes must have a value: the parser lets it pass."""
    if made.__module__.startswith("ffrecur."):
        hints = typing.get_type_hints(made.__init__)  # type: ignore[misc]  # of the class itself
        for name, value in settings.items():
            if value is None and name in hints and type(None) not in typing.get_args(hints[name]):
                group = "data" if issubclass(made, LightningDataModule) else "model"
                raise UserError(f"{group}.{name} is null, but must have a value")
