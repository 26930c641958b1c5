"""Which folder, file or split of a data set is for training, which for validation and which for test."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ffrecur.errors import UserError

# `eval` tests, as it does for the library `datasets`.
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def exact_role(name: str) -> str | None:
    """`train`, `validation` or `test` for a name that says just that, in any letter case.

    >>> exact_role("Training"), exact_role("dev"), exact_role("test_set")
    ('train', 'validation', None)
    """
    return WORDS.get(name.casefold())


def role_within(name: str) -> str | None:
    """The same for a name with one such word among others.

    >>> role_within("test_set"), role_within("seg-train"), role_within("train_test"), role_within("trains")
    ('test', 'train', None, None)
    """
    found = {WORDS[word] for word in re.findall("[a-z]+", name.casefold()) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def choose_splits(source: str, names: Iterable[str], within: bool = False) -> tuple[dict[str, str], list[str]]:
    """Return which of the names is `train`, `validation` and `test`, and the names that are left out.

    Of several for a split the plainest is taken: `test` before `testing` before, if names `within` which there is such a
    word count, `test_set`. Raises `UserError` where two are equally plain.
    """
    names = list(names)
    chosen = {}
    for role in ("train", "validation", "test"):
        plain = [name for name in names if name.casefold() == role]
        exact = [name for name in names if exact_role(name) == role]
        inner = [name for name in names if within and role_within(name) == role]
        candidates = plain or exact or inner
        if len(candidates) > 1:
            raise UserError(
                f"data.source is {source!r}, which has two of the {role} split, {candidates[0]} and {candidates[1]}, but must "
                "have one"
            )
        if candidates:
            chosen[role] = candidates[0]
    return chosen, [name for name in names if name not in chosen.values()]
