"""Which folder, file or split of a data set is for training, which for validation and which for test."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from ffrecur.errors import UserError

# Of several for a split the first is taken. `eval` tests, as it does for the library `datasets`.
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "heldout", "holdout"), "test"),
}
RANK = list(WORDS)
FILLERS = {"set", "data", "dataset", "images", "seg", "split"}  # words beside that of the split that mean nothing


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def words_of(name: str) -> list[str]:
    """The words of a name, in small letters.

    >>> words_of("trainingSet"), words_of("seg-train_1"), words_of("TEST_X"), words_of("testset")
    (['training', 'set'], ['seg', 'train'], ['test', 'x'], ['test', 'set'])
    """
    apart = re.sub("(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall("[a-z]+", apart.casefold())
    return [part for word in words for part in ([word[:-3], "set"] if is_set(word) else [word])]


def is_set(word: str) -> bool:
    """Whether a word is one of the splits with `set` behind it."""
    return word.endswith("set") and word[:-3] in WORDS


def exact_role(name: str) -> str | None:
    """`train`, `validation` or `test` for a name that says just that, in any letter case.

    >>> exact_role("Training"), exact_role("dev"), exact_role("test_set")
    ('train', 'validation', None)
    """
    return WORDS.get(name.casefold())


def role_within(name: str) -> str | None:
    """The same for a name with one such word among others.

    >>> role_within("testSet"), role_within("seg-train"), role_within("train_test"), role_within("trains")
    ('test', 'train', None, None)
    """
    found = {WORDS[word] for word in words_of(name) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def plainness(name: str) -> tuple[int, int]:
    """The place of a name among those for the same split: the smaller, the plainer."""
    if exact_role(name):
        return 0, RANK.index(name.casefold())
    words = words_of(name)
    first = min(RANK.index(word) for word in words if word in WORDS)
    return 1 if set(words) <= {*FILLERS, RANK[first]} else 2, first


def choose_splits(source: str, names: Iterable[str], within: bool = False) -> tuple[dict[str, str], list[str]]:
    """Return which of the names is `train`, `validation` and `test`, and the names that are left out.

    The names are those of `WORDS`, in any letter case; with `within` also names that hold one such word among others. Of several
    for a split the plainest is taken: exact names first, in the order of `WORDS`, then `test_set`, then `test_sample`. Raises
    `UserError` where two are equally plain.
    """
    names = list(names)
    chosen = {}
    for role in ("train", "validation", "test"):
        found = [name for name in names if exact_role(name) == role or (within and role_within(name) == role)]
        found.sort(key=plainness)
        if len(found) > 1 and plainness(found[0]) == plainness(found[1]):
            raise UserError(
                f"data.source is {source!r}, which has two of the {role} split, {found[0]} and {found[1]}, but must have one"
            )
        if found:
            chosen[role] = found[0]
    return chosen, [name for name in names if name not in chosen.values()]


def roles_of(splits: Collection[str]) -> dict[str, str]:
    """Which of some splits has which role: each its own, but without one for training the last alone stands for it.

    >>> roles_of(["train", "test"]), roles_of(["validation", "test"])
    ({'train': 'train', 'test': 'test'}, {'train': 'test'})
    """
    return {split: split for split in splits} if "train" in splits else {"train": [*splits][-1]}


def name_of(file: Path) -> str:
    """The name that tells the split of a file: a folder above it that is named for one exactly, else its own without numbers,
    else a folder with such a word.

    >>> name_of(Path("data/Test-00000-of-00002.parquet")), name_of(Path("train/part_1.csv")), name_of(Path("valSet/a.csv"))
    ('Test', 'train', 'valSet')
    """
    exact = [part for part in file.parts[:-1] if exact_role(part)]
    own = re.sub(r"[-_. ]*\d+([-_]of[-_]\d+)?$", "", file.name.split(".")[0]) or file.stem
    inner = [part for part in file.parts[:-1] if role_within(part)]
    return exact[0] if exact else own if role_within(own) or not inner else inner[0]


def declares_splits(folder: Path) -> bool:
    """Whether a folder says itself which of its files are which split: by `save_to_disk`, or as a data set of the hub."""
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json", "dataset_infos.json")):
        return True
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return False
    return head.startswith("---") and bool(
        re.search("^ *(- )?(data_files|dataset_info):", head.split("\n---")[0], re.M)
    )
