"""What the name of a file says about its text: the kind, whether it describes the others, and the split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import NamedTuple

from ffrecur.data.splits import WORDS

PLAIN = (".txt", ".text", ".tokens", ".raw")
MARKDOWN = (".md", ".markdown")  # text where a folder has none of the above
TABLES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
# Names, but for their endings, of files that describe the others. Of text these alone: `authors.txt` may be a story.
ABOUT_TEXT = re.compile("readme|licen[sc]e|copying")
ABOUT_CODE = re.compile("readme|licen[sc]e|copying|notice|changelog|citation|authors|contributing")
ABOUT_TABLE = re.compile("(metadata|index|dataset_infos?)([-_.].*)?")

ANY_WORD = re.compile("|".join(sorted(WORDS, reverse=True)))
SPLIT_WORD = re.compile(rf"(?<![^\W\d_])(?:{ANY_WORD.pattern})(?![^\W\d_])")
HELD_OUT = {"validation", "test"}
CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
SHARD = re.compile(r"\d+-of-\d+")


def ending(name: str) -> str:
    """Return the ending of a file's name in small letters, that before `.gz` where it is gzipped.

    >>> ending("a.TXT"), ending("b.jsonl.gz"), ending("LICENSE")
    ('.txt', '.jsonl', '')
    """
    return PurePath(name.lower().removesuffix(".gz")).suffix


def without_endings(name: str) -> str:
    """Return a name without its endings of text and tables.

    >>> without_endings("A.TXT.gz"), without_endings("wiki.train")
    ('A', 'wiki.train')
    """
    while ending(name) in (*PLAIN, *MARKDOWN, *TABLES) or name.lower().endswith(".gz"):
        name = name[: name.rindex(".")]
    return name


def describes(file: PurePath) -> bool:
    """Whether a file, by its name, describes the others.

    >>> [describes(PurePath(name)) for name in ("ReadMe.txt", "authors.txt", "AUTHORS", "metadata.csv", "license-plates.txt")]
    [True, False, True, True, False]
    """
    stem, kind = without_endings(file.name).lower(), ending(file.name)
    names = ABOUT_TABLE if kind in TABLES else ABOUT_TEXT if kind in PLAIN else ABOUT_CODE
    return names.fullmatch(stem) is not None


class Named(NamedTuple):
    """The split that a name has a word for, and the other letters of that name."""

    split: str | None = None
    others: str = ""
    apart: bool = True  # whether the word stands apart from other letters


def named_split(file: PurePath) -> Named:
    """Return the split that a folder in a path is named for, or else the file, with other words as well.

    >>> named_split(PurePath("Training/a.txt"))[:2], named_split(PurePath("wiki.valid.tokens"))[:2]
    (('train', ''), ('validation', 'wiki'))
    >>> named_split(PurePath("testSet.txt"))[:2], named_split(PurePath("trains.txt"))[:2]
    (('test', 'set'), (None, ''))
    """
    for part in file.parts[:-1]:
        if part.lower() in WORDS:
            return Named(WORDS[part.lower()])
    return within(SPLIT_WORD, without_endings(SHARD.sub("", file.name)))


def loosely_named_split(file: PurePath) -> Named:
    """The same where a folder's name has other words as well, or where the word is a part of another.

    >>> loosely_named_split(PurePath("training_set/a.txt"))
    Named(split='train', others='set', apart=True)
    >>> loosely_named_split(PurePath("mytest.txt"))
    Named(split='test', others='my', apart=False)
    """
    strict = named_split(file)
    names = [*file.parts[:-1], without_endings(SHARD.sub("", file.name))]
    exact = strict.split is not None and strict.others == ""
    apart = [strict] if exact else [within(SPLIT_WORD, name) for name in names]
    found = [*apart, *(within(ANY_WORD, name)._replace(apart=False) for name in names)]
    return next((named for named in found if named.split is not None), Named())


def within(words: re.Pattern[str], name: str) -> Named:
    """Return the split that a name has a word for, if it is one, in any letter case; `testSet` has two words."""
    spaced = CAMEL.sub(" ", name).lower()
    splits = {WORDS[word] for word in words.findall(spaced)}
    if len(splits) != 1:
        return Named()
    return Named(splits.pop(), "".join(letter for letter in words.sub("", spaced) if letter.isalpha()))


def of_folder(name: str) -> Named | None:
    """Return the split that a folder's name has a word for, if it has one."""
    named = within(SPLIT_WORD, name)
    return named if named.split else None


def pairs(named: Mapping[PurePath, Named]) -> set[str]:
    """Return the other letters of names that occur with a word for training and with one for held-out text."""
    splits_of = defaultdict(set)
    for split, others, _ in named.values():
        splits_of[others].add(split)
    found = {others for others, splits in splits_of.items() if "train" in splits and splits & HELD_OUT}
    return {""} if "" in found else found


class Assigned(NamedTuple):
    """Which files are which split."""

    splits: dict[str, list[PurePath]]
    unnamed: list[PurePath]  # that are none, where others are
    doubtful: list[PurePath]  # that train, although there is a word for held-out text in their names


def assign_splits(files: Sequence[PurePath]) -> Assigned:
    """Return which files are which split, by the names of files and folders; all train where none is named for one.

    `train.txt` and `test.txt`, or folders of these names, are splits. So are names that are otherwise alike, `wiki.train.raw`
    and `wiki.test.raw`, `trainSet` and `testSet`, `mytrain.txt` and `mytest.txt`; and names that are not alike, if each has
    such a word. `night_train.txt` and `blood_test.txt` are none beside `fox.txt`, nor is `train_labels.txt` beside `train.txt`.
    """
    strict = {file: named_split(file) for file in files}
    folders = [file.parts[:-1] for file in files]
    common = takewhile(
        lambda names: len(set(names)) == 1 and names[0].lower() not in WORDS, zip(*folders, strict=False)
    )
    depth = len(list(common))  # of a folder which holds them all
    loose = {file: loosely_named_split(PurePath(*file.parts[depth:])) for file in files}
    # What lies in `test_set` beside `train_set` tests, whatever the file itself is named.
    by_folder = {
        file: next(filter(None, (of_folder(part) for part in file.parts[depth:-1])), Named()) for file in files
    }
    paired = pairs(by_folder)
    for file, (split, others, _) in by_folder.items():
        if strict[file].split == "train" and split in HELD_OUT and others in paired:
            strict[file] = Named(split)
    held_out_alone = any(split in HELD_OUT and others == "" for split, others, _ in strict.values())
    splits = {split for split, _, _ in loose.values()}
    if counted := pairs(strict):
        named = strict
    elif counted := pairs(loose):
        named = loose
    elif "train" in splits and splits & HELD_OUT and all(split and apart for split, _, apart in loose.values()):
        named, counted = loose, {others for _, others, _ in loose.values()}
    elif held_out_alone:
        named, counted = strict, {""}
    else:
        return Assigned(
            {"train": list(files)}, [], [f for f, own in loose.items() if own.apart and own.split in HELD_OUT]
        )
    found: dict[str, list[PurePath]] = defaultdict(list)
    unnamed = []
    for file, (split, others, _) in named.items():
        if split is not None and others in counted | {""}:
            found[split].append(file)
        else:
            unnamed.append(file)
    return Assigned({name: found[name] for name in ("train", "validation", "test") if name in found}, unnamed, [])
