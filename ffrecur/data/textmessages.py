"""What the data module for text tells: what is evaluated, left out and unknown, in the log, and documents that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from ffrecur.data.documents import Documents
from ffrecur.errors import UserError
from ffrecur.text.alphabet import Alphabet
from ffrecur.text.places import Text


def sizes(text: Text, does: str) -> str:
    """Return how many documents, and characters, do what."""
    return f"{len(text.begins) - 1:,} {does} ({len(text.symbols_N):,})"


def which_are_held_out(name: str, source: Documents) -> str:
    """Return which documents of a source that nothing was trained on are its test or validation text."""
    has = {"train": bool(source.train), "validation": source.validation is not None, "test": source.test is not None}
    if has[name]:
        return f"its {name} split alone"
    splits = [split for split, is_there in has.items() if is_there]
    which = f", its {' and '.join(splits)} split{'s' * (len(splits) > 1)}" if splits != ["train"] else ""
    return f"all of it{which}, since it has no {name} split"


def which_are_short(count: int, total: int, window: int, example: str) -> str:
    """Return how many documents are left out because they have no more characters than the window."""
    return (
        f"left out: {count:,} of {total:,} documents, which have no more characters than the window's {window}, such as "
        f"{example!r}"
    )


def what_is_unknown(alphabet: Alphabet, splits: Mapping[str, Counter[str]]) -> str:
    """Return what becomes of the characters that are no symbols, and how many each split has, the most frequent five."""
    phrases = []
    for name, counts in splits.items():
        most = ", ".join(f"{character!r} {count:,}" for character, count in counts.most_common(5))
        phrases.append(f"{counts.total():,} in the {name} documents" + (f" ({most})" if most else ""))
    policy = {"drop": "dropped", "replace": "replaced by spaces", "error": "refused"}[alphabet.unknown]
    return f"other characters are {policy}: {', '.join(phrases)}"


def all_short(source: str, window: int, name: str, documents: Sequence[str], longest: int) -> UserError:
    """Return the error for the documents of a split of which none has more characters than the window."""
    return UserError(
        f"data.source is {source!r}, whose {name} split has no document with more characters of the alphabet than the window's "
        f"{window}: the longest of {len(documents):,} has {longest}, the first is {documents[0][:30]!r}"
    )


def no_training_text(source: str, found: Documents) -> UserError:
    """Return the error for a source that has held-out splits only."""
    held_out = " and ".join(name for name, split in (("validation", found.validation), ("test", found.test)) if split)
    why = f" ({'; '.join(found.notes)})" if found.notes else ""
    return UserError(
        f"data.source is {source!r}, which has text for {held_out} only, but must have some to train on: files, folders or "
        f"splits that are named train{why}"
    )


def refuse_unknown(
    source: str, alphabet: Alphabet, name: str, documents: Sequence[str], longest: int | None = None
) -> NoReturn:
    """Raise `UserError` for the first document with a character that the alphabet refuses, of which there must be one.

    It is among the first `longest` of its document.
    """
    for number, document in enumerate(documents, start=1):
        try:
            alphabet.encode(alphabet.lower(document)[:longest])  # in this order, as a letter may depend on the next one
        except UserError as error:
            which = f"data.source is {source!r}, whose {name} document {number} ({document[:30]!r})"
            raise UserError(f"{which}: {error}") from error
    raise AssertionError("all documents can be used")
