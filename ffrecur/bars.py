"""Progress bars with a rate, for what takes more than a second: on a terminal, where a command has switched them on.

A bar stands on standard error, and goes when it is done. Nothing is shown by the package as a library.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
DELAY = 1.0  # seconds before a bar appears
_on = False


def switch(on: bool) -> None:
    """Let bars appear from now on, or not. It is process state, which commands set."""
    global _on
    _on = on


def are_on() -> bool:
    """Whether bars appear."""
    return _on


def bar(
    items: Iterable[Item],
    what: str,
    unit: str,
    total: int | None = None,
    size: Callable[[Item], int] | None = None,
) -> Iterable[Item]:
    """Return the items, with a bar that counts them as they are used up, or the units that `size` says each one has.

    `total` is the number of items or units, None where it is not known.

    >>> list(bar([1, 2], "counting", "numbers"))
    [1, 2]
    """
    return _shown(items, what, unit, total, size) if _on else items


def _shown(
    items: Iterable[Item], what: str, unit: str, total: int | None, size: Callable[[Item], int] | None
) -> Iterator[Item]:
    begun, done, progress = time.monotonic(), 0, None
    try:
        for item in items:
            yield item
            count = 1 if size is None else size(item)
            done += count
            if progress is not None:
                progress.update(count)
            elif time.monotonic() >= begun + DELAY:
                progress = _new_bar(what, unit, total, done)
    finally:
        if progress is not None:
            progress.close()


def _new_bar(what: str, unit: str, total: int | None, done: int) -> Any:
    from tqdm import tqdm  # as Lightning's bar of a training; here, since most commands need none

    return tqdm(desc=what, unit=f" {unit}", total=total, initial=done, unit_scale=True, leave=False, dynamic_ncols=True)
