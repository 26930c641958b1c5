"""Which array of a file or folder is which: images or labels, and of which split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO

from ffrecur.data.imageset import PLAIN, Reading
from ffrecur.data.splits import FILLERS, WORDS, words_of
from ffrecur.errors import UserError, check_setting

CONTENTS = {
    **dict.fromkeys(("images", "image", "imgs", "x"), "images"),
    **dict.fromkeys(("labels", "label", "targets", "y"), "labels"),
}
OF_VIDEOS = {**CONTENTS, **dict.fromkeys(("videos", "video", "clips", "clip"), "images")}
Open = Callable[[], IO[bytes]]


def find_arrays(
    source: str, names: Mapping[str, Open], words_for: Mapping[str, str] = CONTENTS, how: Reading = PLAIN
) -> dict[tuple[str, str], tuple[str, Open]]:
    """Which array is which: its split and content by the words in its name, such as images, train_images, y_test, val_labels.

    Of several the plainest is taken: `labels` before `label_names`. The settings `data.image_column` and `data.label_column`
    name one, and those that are called the same but for the split.
    """
    chosen = {"images": how.image_column, "labels": how.label_column if how.require_labels else None}
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in names:
        splits, own = {WORDS[word] for word in words_of(name) if word in WORDS}, bare_words(name)
        named = {content for content, wanted in chosen.items() if wanted and own == bare_words(wanted)}
        contents = named or {words_for[word] for word in own if word in words_for and not chosen[words_for[word]]}
        if len(contents) != 1 or len(splits) > 1:
            continue
        (content,) = contents
        others = [word for word in own if word not in words_for and word not in FILLERS]
        rank = int(name != chosen[content]) if named else len(others)
        found.setdefault((splits.pop() if splits else "train", content), []).append((rank, name))
    for content, wanted in chosen.items():
        if wanted and not how.testing and how.require_labels and not any(place[1] == content for place in found):
            rule = f"one of the arrays of {source!r}: {', '.join(names)}"
            check_setting(False, f"data.{content.removesuffix('s')}_column", wanted, rule)
    for (split, content), ranked in found.items():
        ranked.sort()
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            raise UserError(
                f"data.source is {source!r}, which has two arrays of {split} {content}, {ranked[0][1]} and {ranked[1][1]}, but "
                f"must have one; data.{content.removesuffix('s')}_column names it"
            )
    return {place: (ranked[0][1], names[ranked[0][1]]) for place, ranked in found.items()}


def bare_words(name: str) -> list[str]:
    """The words of a name but for that of a split."""
    return [word for word in words_of(name) if word not in WORDS]
