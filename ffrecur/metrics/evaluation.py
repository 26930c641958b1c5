"""What an evaluation found, as plain objects: files, TensorBoard and pages are made from it, without a Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure


class Table(NamedTuple):
    """Rows of cells, each as long as the header."""

    header: Sequence[str]
    rows: Iterable[Sequence[Any]]


class Evaluation(NamedTuple):
    """What was measured of a net on one split of the data, and the settings behind it.

    Attributes:
        figures: by name, in order: numbers (errors are fractions), text, None, and lists and dictionaries of these.
        text: the main figures, for reading.
        tables: by name.
        texts: by name, such as samples of a character model.
        pictures: draws the pictures, by name, each time it is called; there may be none.
    """

    figures: Mapping[str, Any]
    text: str
    tables: Mapping[str, Table] = {}
    texts: Mapping[str, str] = {}
    pictures: Callable[[], Mapping[str, Figure]] = dict

    def with_pictures(self, draw: Callable[[], Mapping[str, Figure]]) -> Evaluation:
        """Return the same with more pictures, before those that there are."""
        return self._replace(pictures=lambda: {**draw(), **self.pictures()})
