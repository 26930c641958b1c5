"""One kind of error for everything a user can get wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Integral
from typing import TypeGuard


class UserError(ValueError):
    """A mistake in what the user gave: a setting, a file, a data set.

    Its message is one clear sentence that names the setting, its value and what is allowed. The command line prints it as
    `error: ...` with exit code 2 and without a traceback; in Python it is an ordinary `ValueError`.
    """


class CommonError(UserError):
    """One that all processes of a training meet alike, at the same place: the first of them tells it."""


class SettingWarning(UserWarning):
    """Settings that are allowed, but may not be what was meant. The command line prints its message as `warning: ...`."""


def check_setting(allowed: bool, name: str, value: object, rule: str) -> None:
    """Raise `UserError("<name> is <value>, but must be <rule>")` unless `allowed`.

    >>> check_setting(False, "damping", 1.5, "at least 0 and less than 1")
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: damping is 1.5, but must be at least 0 and less than 1
    """
    if not allowed:
        raise UserError(f"{name} is {shown(value)}, but must be {rule}")


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Return whether a value is a whole number of at least `least`; True and False are none.

    >>> is_whole(3), is_whole(0), is_whole(2.0), is_whole(True)
    (True, False, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def check_whole(name: str, value: object, least: int = 1, most: float = math.inf) -> None:
    """Raise `UserError` for what is no whole number of at least `least` and at most `most`.

    >>> check_whole("iterations", 0)
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: iterations is 0, but must be a whole number of at least 1
    """
    rule = f"a whole number of at least {least}" if most == math.inf else f"a whole number from {least} to {most}"
    check_setting(is_whole(value, least) and value <= most, name, value, rule)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number; True and False are none.

    >>> is_number(0.5), is_number(2), is_number(math.nan), is_number("2"), is_number(True)
    (True, True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_number(name: str, value: object, most: float = math.inf) -> None:
    """Raise `UserError` for what is no number from 0 to `most`, see `is_number`.

    >>> check_number("share", "half", 1)
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: share is 'half', but must be a number from 0 to 1
    """
    rule = f"a number from 0 to {most:g}" if most < math.inf else "a finite number of at least 0"
    check_setting(is_number(value) and 0 <= value <= most, name, value, rule)


def pair_of(name: str, value: object, least: int, rule: str) -> tuple[int, int]:
    """Return two whole numbers of at least `least`; raises `UserError`, with this rule, for anything else.

    >>> pair_of("dream_depth", [1, 5], 1, "two whole numbers of at least 1")
    (1, 5)
    """
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    fits = len(numbers) == 2 and all(is_whole(each, least) for each in numbers)
    check_setting(fits, name, numbers or value, rule)
    return numbers[0], numbers[1]


def check_seed(name: str, value: object) -> None:
    """Raise `UserError` for what is no seed: those of PyTorch and NumPy have 32 bits in common.

    >>> check_seed("seed", -1)
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: seed is -1, but must be a whole number from 0 to 4294967295
    """
    check_whole(name, value, 0, 2**32 - 1)


def shown(value: object) -> str:
    """Return a value as a message shows it: as Python writes it, but objects and functions by their names alone.

    >>> shown(0.5), shown([one_line, object()])
    ('0.5', '[one_line, object]')
    """
    return re.sub(r"<(?:function )?(?:[\w.]|<locals>)*?(\w+)(?: object)? at 0x[0-9a-f]+>", r"\1", repr(value))


def one_line(error: BaseException) -> str:
    r"""Return the message of an error in one line, without a stop at its end; the name of its kind where it has none.

    >>> one_line(ValueError("No\nnet.")), one_line(ValueError())
    ('No net', 'ValueError')
    """
    return " ".join(str(error).split()).rstrip(":. ") or type(error).__name__


def counts_of(name: str, values: object, meaning: str, fewest: int = 1) -> tuple[int, ...]:
    """Return whole numbers of at least 1 as a tuple; raises `UserError` for others, and for fewer than `fewest`.

    >>> counts_of("units", [3, True], "one for each place")
    Traceback (most recent call last):
    ...
    ffrecur.errors.UserError: units is [3, True], but must be one or more whole numbers of at least 1, one for each place
    """
    listed = list(values) if isinstance(values, Sequence) else values
    fits = isinstance(listed, list) and len(listed) >= fewest and all(map(is_whole, listed))
    check_setting(fits, name, listed, f"{'one or more ' if fewest else ''}whole numbers of at least 1, {meaning}")
    return tuple(listed)  # type: ignore[arg-type]  # `fits` says that it is a list


def check_widths(hidden_features: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of a net's hidden layers; raises `UserError` for what are none."""
    return counts_of("hidden_features", hidden_features, "the widths of the layers")


def check_sizes(in_features: int, hidden_features: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """Return the widths of the hidden layers; raises `UserError` for sizes that no net can have."""
    check_whole("in_features", in_features)
    widths = check_widths(hidden_features)
    check_whole("num_classes", num_classes, 2)
    return widths
