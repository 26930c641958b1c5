"""Classes that a file names: ours are imported, one of the user's only where it was typed, or given in Python."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ffrecur.core.goodness import Goodness
from ffrecur.errors import UserError, one_line

TRUSTED = ("ffrecur", "torch", "lightning")  # packages whose classes a file may name


def of_the_users(class_path: str) -> bool:
    """Tell whether a class is outside ffrecur, torch and lightning.

    >>> of_the_users("my_lab.TopK"), of_the_users("torch.optim.Adam")
    (True, False)
    """
    return class_path.partition(".")[0] not in TRUSTED


def temperature_of(settings: Mapping[str, Any], usual: float) -> Any:
    """Return the temperature that the settings of a run give: that of an objective given as a class, else their own.

    >>> temperature_of({"temperature": 0.1, "objective": {"class_path": "ffrecur.Paired", "init_args": {"temperature": 0.3}}}, 1)
    0.3
    """
    objective = settings.get("objective")
    own = objective.get("init_args") if isinstance(objective, Mapping) else None
    own = own if isinstance(own, Mapping) else {}
    return own.get("temperature", settings.get("temperature", usual))


def imported_goodness(class_path: str) -> type[Goodness]:
    """Return the goodness that was typed; raises `UserError` for what cannot be imported or is none."""
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # of a file of the user's: anything
        raise UserError(f"goodness is '{class_path}', which cannot be imported: {one_line(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Goodness)):
        raise UserError(f"goodness is '{class_path}', which is not a subclass of ffrecur.Goodness")
    return found


def built_goodness(entry: Any, given: Goodness | type[Goodness] | None) -> Goodness:
    """Return the goodness that a checkpoint describes, see `core.goodness.described_as`.

    `given` is its class, or one that takes its place. Raises `UserError` for a class of the user's that was not given, and
    `ValueError` for an entry that describes none.
    """
    if isinstance(given, Goodness):
        return given
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_path"), str):
        raise ValueError("its goodness is no class")
    path = entry["class_path"]
    if given is None and of_the_users(path):
        raise UserError(
            f"goodness is '{path}', a class of your own, which is imported only where it is given: "
            f"ffrecur.load(..., goodness={path.rpartition('.')[2]}), or --goodness {path}"
        )
    kind = imported_goodness(path) if given is None else given
    return kind(**entry.get("init_args", {}))
