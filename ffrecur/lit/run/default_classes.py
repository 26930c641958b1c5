"""Which classes of model and data a command begins with, before what was typed is parsed."""

from __future__ import annotations

import pydoc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lightning import LightningDataModule, LightningModule

from ffrecur.lit.run.own_classes import texts, typed_texts

DEFAULT_CLASSES = {
    "model": {"class_path": "ffrecur.lit.RecurrentModule"},
    "data": {"class_path": "ffrecur.data.ImageDataModule"},
}
KINDS = {"model": ("ffrecur.lit", LightningModule), "data": ("ffrecur.data", LightningDataModule)}


def default_classes(stored: Mapping[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of model and data: the class that the user or a checkpoint names, or else our usual one.

    jsonargparse hands the settings of a default class on to another that is chosen, where they have the same name: a
    `CharModule` would have the layers of a `RecurrentModule`. What is no such class is left to the parser, which tells of it.
    """
    named = {**dict(texts(stored)), **dict(typed_texts(typed))}
    return {key: found_class(key, named.get(key)) or default for key, default in DEFAULT_CLASSES.items()}


def found_class(key: str, name: str | None) -> dict[str, str] | None:
    """Return the class of a model or of data by its name or its path; None for what is none."""
    home, kind = KINDS[key]
    for path in () if name is None else (f"{home}.{name}", name):
        with suppress(Exception):  # a module of the user's can raise anything
            if issubclass(pydoc.locate(path), kind):  # type: ignore[arg-type]
                return {"class_path": path}
    return None
