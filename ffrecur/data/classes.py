"""Classes: from the labels of a source, whatever they are, to names and numbers from 0; and from those of one data set to
those of another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffrecur.errors import UserError

MOST_LISTED = 20  # classes that a message lists


def number_labels(
    source: str, labels: Mapping[str, Any], names: Sequence[str] | None = None, of_all_splits: bool = False
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the classes, and for each split the index of each label among them, `(N,)` int64.

    `labels` are whole numbers or text, a list or an array for each split. With `names` they are indexes into these already.
    Without, the classes are the distinct labels of the split `train` (or `of_all_splits`), as text: whole numbers in the order
    of numbers, anything else in the order of text. Raises `UserError` for labels that are neither, for a class that only another
    split has, and for an index outside the names.

    >>> number_labels("set", {"train": [10, 2, 2, 1], "test": [1]})
    (('1', '2', '10'), {'train': tensor([2, 1, 1, 0]), 'test': tensor([0])})
    """
    arrays = {split: plain_labels(source, split, values) for split, values in labels.items()}
    if names is not None:
        for split, array in arrays.items():
            check_range(source, split, array, len(names))
        return tuple(map(composed, names)), {
            split: torch.from_numpy(array.astype(np.int64)) for split, array in arrays.items()
        }
    distinct, inverse = {}, {}
    for split, array in arrays.items():
        values, inverse[split] = np.unique(array, return_inverse=True)
        distinct[split] = [composed(str(value)) for value in values.tolist()]
    of = distinct if of_all_splits else {"train": distinct["train"]}
    found = in_order({name for names in of.values() for name in names})
    for split, own in distinct.items():
        check_known(source, split, own, found)
    index = {name: number for number, name in enumerate(found)}
    numbers = {split: np.array([index[name] for name in own], np.int64) for split, own in distinct.items()}
    return found, {split: torch.from_numpy(numbers[split][inverse[split]]) for split in arrays}


def composed(name: str) -> str:
    """A name with its accents composed (Unicode's form NFC): macOS writes the names of files with them apart.

    >>> composed("e\u0301") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def plain_labels(source: str, split: str, values: Any) -> np.ndarray:
    """The labels as an array (N,) of whole numbers or text; raises `UserError` for any other kind."""
    array = np.asarray(values)
    # Whole numbers as a table with gaps has them.
    if array.dtype.kind == "f" and (np.isfinite(array) & (array == np.floor(array))).all():
        return array.astype(np.int64)
    if array.dtype.kind not in "biuU" or array.ndim != 1:
        kind = array.dtype.name if array.ndim == 1 else f"arrays of shape {array.shape[1:]}"
        raise UserError(
            f"data.source is {source!r}, whose {split} labels are {kind}, but must be whole numbers or text, one an image"
        )
    return array


def check_range(source: str, split: str, array: np.ndarray, count: int) -> None:
    """Raise `UserError` for an index outside 0..count-1."""
    for value in (int(array.min()), int(array.max())):
        if not 0 <= value < count:
            raise UserError(
                f"data.source is {source!r}, whose {split} split has the label {value}, but labels must lie in 0..{count - 1}"
            )


def check_known(source: str, split: str, own: Sequence[str], known: Sequence[str]) -> None:
    """Raise `UserError`, with both lists, for a class of a split that training does not have."""
    unknown = [name for name in own if name not in set(known)]
    if unknown:
        raise UserError(
            f"data.source is {source!r}, whose {split} split has the class {unknown[0]!r}, which its training split does not "
            f"have; training: {listed(known)}; {split}: {listed(in_order(own))}"
        )


def in_order(names: Sequence[str] | set[str]) -> tuple[str, ...]:
    """Names sorted as whole numbers if all are such, else as text.

    >>> in_order(["10", "9"]), in_order(["10", "9", "b"])
    (('9', '10'), ('10', '9', 'b'))
    """
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def listed(names: Sequence[str]) -> str:
    """Names for a message, not too many.

    >>> listed(["cat", "dog"]), listed([str(k) for k in range(21)])[-15:]
    ('cat, dog', '..., 20 (21)')
    """
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_LISTED - 2])}, ..., {names[-1]} ({len(names)})"


def plain_names(count: int) -> tuple[str, ...]:
    """The names of classes that have none: their numbers."""
    return tuple(str(number) for number in range(count))


def match(
    source: str, data_names: Sequence[str], occurring: set[str], net_names: Sequence[str] | None, count: int
) -> Tensor:
    """Return for each class of the data the index of the net's class, -1 for one that no image has and the net lacks.

    By name; where one side has but the numbers 0..C-1 for names, as many as the other, and they share none, by position.
    `net_names` None: a net of before names were kept, with `count` classes, by position if the counts agree. Raises
    `UserError`, with both lists, for images of a class that the net does not know.
    """
    known = plain_names(count) if net_names is None else tuple(map(composed, net_names))
    data_names, occurring = list(map(composed, data_names)), set(map(composed, occurring))
    equal = len(data_names) == count
    numbers = plain_names(count) in (known, tuple(data_names))
    index = {name: number for number, name in enumerate(known)}
    unknown = [name for name in data_names if name in occurring and name not in index]
    if (net_names is None and equal) or (unknown and equal and numbers and not index.keys() & set(data_names)):
        return torch.arange(count)
    if unknown:
        raise UserError(
            f"data.source is {source!r}, which has images of the class {unknown[0]!r}, which the net does not know; the net's "
            f"classes: {listed(known)}; the data's: {listed(data_names)}; train a net on this data first"
        )
    return torch.tensor([index.get(name, -1) for name in data_names])
