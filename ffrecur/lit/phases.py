"""Positive and negative data in phases apart: awake and asleep in turn, or without any sleep for a while."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Logistic, Objective, name_of
from ffrecur.errors import SettingWarning, check_setting, check_whole, pair_of

NO_DEPRIVATION = (0, 0)


def checked_phases(objective: Objective, sleep: int, deprivation: Sequence[int]) -> tuple[int, tuple[int, int]]:
    """Return both settings; raises `UserError` for what they cannot be, and for an objective that compares both kinds of data."""
    check_whole("sleep", sleep, 0)
    rule = "two whole numbers of at least 0: the first update, and how many"
    first, updates = pair_of("deprivation", deprivation, 0, rule)
    if sleep or updates:
        what = "logistic with phases apart" if sleep else "logistic with deprivation"
        check_setting(isinstance(objective, Logistic), "objective", name_of(objective), what)
    return sleep, (first, updates)


def warn_of_late(deprivation: tuple[int, int], updates: float) -> None:
    """Warn where a training of so many updates ends before negative data is left out."""
    first, length = deprivation
    if length and first >= updates:
        late = f"deprivation is [{first}, {length}], but training ends after {updates:.0f} updates: none is without negative data"
        warnings.warn(late, SettingWarning, stacklevel=2)


def weights_at(update: int, sleep: int, deprivation: tuple[int, int] = NO_DEPRIVATION) -> tuple[float, float]:
    """Return the weights of positive and of negative data in an update, counted from 0 over the whole training.

    With `sleep` n, n updates have positive data alone, the next n negative data alone; 0 has both in each. `deprivation` is
    the first of the updates that have positive data alone whatever the phase, and how many they are.

    >>> [weights_at(update, sleep=1, deprivation=(2, 2)) for update in range(5)]
    [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 0.0), (1.0, 0.0)]
    >>> [weights_at(update, sleep=0, deprivation=(1, 1)) for update in range(3)]
    [(1.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    """
    first, updates = deprivation
    if first <= update < first + updates:
        return 1.0, 0.0
    if sleep == 0:
        return 1.0, 1.0
    return (0.0, 1.0) if update // sleep % 2 else (1.0, 0.0)


def learning_at(update: int, learning: Learning, sleep: int, deprivation: tuple[int, int] = NO_DEPRIVATION) -> Learning:
    """Return how a net learns in an update. Without positive data there is no peer normalisation, which looks at it."""
    positive, negative = weights_at(update, sleep, deprivation)
    if positive == negative:
        return learning
    objective = replace(learning.objective, positive_weight=positive, negative_weight=negative)  # type: ignore[type-var]
    return replace(learning, objective=objective, peer_normalization=positive * learning.peer_normalization)
