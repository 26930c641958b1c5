"""Which classes of model and data a command begins with, before what was typed is parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffrecur.lit.run.own_classes import texts, typed_texts

DEFAULT_CLASSES = {
    "model": {"class_path": "ffrecur.lit.RecurrentModule"},
    "data": {"class_path": "ffrecur.data.ImageDataModule"},
}


def default_classes(stored: Mapping[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of model and data: our usual classes, and None where a checkpoint or the user names another.

    jsonargparse hands the settings of a default class on to the one that is chosen, where they have the same name: a
    `CharModule` would have the layers of a `RecurrentModule`.
    """
    named = {**dict(texts(stored)), **dict(typed_texts(typed))}
    usual = {key: default["class_path"] for key, default in DEFAULT_CLASSES.items()}
    return {
        key: default if named.get(key, usual[key]) in (usual[key], usual[key].rpartition(".")[2]) else None
        for key, default in DEFAULT_CLASSES.items()
    }
