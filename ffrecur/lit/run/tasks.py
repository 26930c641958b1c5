"""The tasks that come with ffrecur, by name from any folder: `mnist/bundled`."""

from __future__ import annotations

import difflib
import site
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

INSTALLED = "share/ffrecur/tasks"  # where a wheel has them, below the environment, or beside the package
BESIDE = Path(__file__).parents[3]  # where the package lies
OPTIONS = ("--config", "-c")


@cache
def shipped_tasks() -> dict[str, Path]:
    """Return the configuration files by name: those of the checkout, or else of the installed package."""
    roots = [
        BESIDE / "tasks",
        *(Path(root) / INSTALLED for root in (BESIDE, sysconfig.get_path("data"), site.getuserbase())),
    ]
    for root in roots:
        if found := {file.relative_to(root).with_suffix("").as_posix(): file for file in sorted(root.glob("*/*.yaml"))}:
            return found
    return {}


def as_file(value: str) -> str:
    """Return the file of a task that is named, with or without `tasks/` and `.yaml`; all else, and files that exist, as it is.

    >>> as_file("mnist/bundled") == as_file("mnist/bundled.yaml") == str(shipped_tasks()["mnist/bundled"])
    True
    """
    try:
        if Path(value).is_file():
            return value
    except OSError:  # too long for a name
        return value
    return str(shipped_tasks().get(value.removeprefix("tasks/").removesuffix(".yaml"), value))


def with_tasks(typed: Sequence[str]) -> list[str]:
    """Return arguments whose configuration files are found, where they are tasks of ours."""
    found: list[str] = []
    for arg in typed:
        option, equals, value = arg.partition("=")
        if equals and option in OPTIONS:
            found.append(f"{option}={as_file(value)}")
        else:
            found.append(as_file(arg) if found and found[-1] in OPTIONS else arg)
    return found


def nearest_task(value: str) -> str:
    """Return a remark on the task that is named most alike, if there is one.

    >>> nearest_task("mnist/bundeld"), nearest_task("notes.yaml")
    (' (nearest task: mnist/bundled)', '')
    """
    name = value.removeprefix("tasks/").removesuffix(".yaml")
    found = difflib.get_close_matches(name, shipped_tasks(), n=1)
    return f" (nearest task: {found[0]})" if found else ""
