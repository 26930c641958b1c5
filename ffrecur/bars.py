"""Progress bars with a rate, for what takes more than a second: on a terminal, where a command has switched them on.

A bar stands on standard error, and goes when it is done. Nothing is shown by the package as a library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

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
    from tqdm import tqdm  # as Lightning's bar of a training; here, since most commands need none

    with tqdm(
        desc=what, total=total, unit=f" {unit}", unit_scale=True, delay=DELAY, leave=False, dynamic_ncols=True
    ) as progress:
        for item in items:
            yield item
            progress.update(1 if size is None else size(item))
