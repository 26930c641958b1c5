"""Kinds 10, 11 and 12 for text: what is left out, one text split by place, and testing on other text than the training's."""

import gzip
import json
import re
from types import SimpleNamespace

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from running import drafts

from ffrecur import UserError
from ffrecur.data import CorpusDataModule
from ffrecur.data.documents import read_documents
from ffrecur.data.textfolder import list_folder
from ffrecur.data.textsplits import split_by_place, without_short
from ffrecur.lit import CharBackpropModule, CharModule
from ffrecur.lit.report.files import write_evaluation
from ffrecur.lit.report.text import text_table
from ffrecur.text.places import Places, fingerprint, make_text, places

ANIMALS = ("fox", "hen", "cow", "dog", "cat", "owl", "pig", "rat")
TALES = [f"the {one} met the {other}, and both slept." for one, other in zip(ANIMALS, reversed(ANIMALS), strict=True)]
LONG = " ".join(TALES * 5)  # one text of 1,639 characters


def data_of(folder, content, name="tales.txt", separator=r"\n\n", **options):
    """A data module for one file of documents, or of text, with a window of four characters."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else "\n\n".join(content))
    return CorpusDataModule(str(path), separator, **{"window": 4, **options})


def lines_of(messages):
    return [record.getMessage() for record in messages.records]


# --- kind 11: documents of no more characters than the window --------------------------------------------------------

# The documents of a file, options, the number of documents that train and validate, and what the log says; window 4.
SHORT = {
    "none": (TALES, {}, (7, 1), None),
    "one in the middle": (
        [*TALES[:4], "abcd", *TALES[4:]],
        {},
        (7, 1),
        "left out: 1 of 9 documents, .* 4, such as 'abcd'",
    ),
    "the first": (["a", *TALES], {}, (7, 1), "left out: 1 of 9 documents"),
    "the last, which would validate": ([*TALES, "moo"], {}, (7, 1), "left out: 1 of 9 documents"),
    "as long as the window and one more": ([*TALES, "abcde"], {}, (8, 1), None),
    "most": (["oh", "ah", "ay"] * 9 + TALES, {}, (7, 1), "left out: 27 of 35 documents"),
    "of other characters": ([*TALES[:4], "1234567890 1", *TALES[4:]], {}, (7, 1), "left out: 1 of 9 documents"),
    "counted in documents that are used": (["a", *TALES, "b"], {"validation_size": 3}, (5, 3), "left out: 2 of 10"),
    "drawn": (["a", *TALES, "b"], {"split_seed": 1, "validation_size": 3}, (5, 3), "left out: 2 of 10"),
    "cut short": (["a", *TALES], {"document_length": 5}, (7, 1), "left out: 1 of 9 documents"),
    "replaced, not dropped": ([*TALES, "12345678"], {"unknown": "replace"}, (8, 1), None),
    "with a learned alphabet": (["Oh!", *TALES], {"alphabet": "learned"}, (7, 1), "left out: 1 of 9 documents"),
}


@pytest.mark.parametrize(("documents", "options", "counts", "line"), SHORT.values(), ids=SHORT)
def test_short_documents_are_left_out_and_counted(tmp_path, messages, documents, options, counts, line):
    data = data_of(tmp_path, documents, **options)
    data.setup("fit")
    assert (len(data.train_documents), len(data.validation_documents)) == counts
    assert all(len(document) > 4 for document in [*data.train_documents, *data.validation_documents])
    for text in (data.train_text, data.validation_text):
        assert len(Places(text, 4)) == len(places(text, 4)) == len(text.symbols_N) - 4 * (len(text.begins) - 1)
    logged = [logged for logged in lines_of(messages) if logged.startswith("left out")]
    assert len(logged) == (line is not None)
    assert line is None or re.match(line, logged[0]), logged


@pytest.mark.parametrize(
    ("documents", "pieces"),
    [
        (
            ["ah", "oh"],
            ["training split has no document with more", "the window's 4: the longest of 2 has 2, the first is 'ah'"],
        ),
        (["1234567", "7654321"], ["training split has no document", "the longest of 1 has 0, the first is '1234567'"]),
    ],
    ids=["short", "no characters of the alphabet"],
)
def test_a_split_of_which_nothing_is_left(tmp_path, documents, pieces):
    with pytest.raises(UserError) as error:
        data_of(tmp_path, documents).setup("fit")
    for piece in pieces:
        assert piece in str(error.value)


def test_the_split_that_has_nothing_left_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("\n\n".join(TALES))
    (tmp_path / "test.txt").write_text("moo\n\nbaa")
    with pytest.raises(
        UserError, match="whose test split has no document with .*: the longest of 2 has 3, the first is 'moo'"
    ):
        CorpusDataModule(str(tmp_path), r"\n\n", window=4).setup("fit")


@pytest.mark.parametrize("lengths", [[9, 2, 9], [2, 9], [9, 2], [2, 2, 9, 2, 2, 9, 9, 0, 9, 4, 5]], ids=str)
def test_documents_are_taken_out_of_a_text_in_place(lengths):
    documents = [torch.arange(length) + 10 * number for number, length in enumerate(lengths)]
    text = make_text(documents, 200)
    left = without_short(text, 4)
    expected = make_text([document for document in documents if len(document) > 4], 200)
    assert torch.equal(left.symbols_N, expected.symbols_N)
    assert torch.equal(left.begins, expected.begins)
    assert left.symbols_N.data_ptr() == text.symbols_N.data_ptr()


# --- kind 11: one text, split by place -------------------------------------------------------------------------------


def words_of(data):
    return {name: " ".join(getattr(data, f"{name}_documents")) for name in ("train", "validation", "test")}


@pytest.mark.parametrize("ends", ["", "\r\n", " \n\n "], ids=repr)
def test_one_text_is_split_by_place(tmp_path, messages, ends):
    data = data_of(tmp_path, LONG + ends, separator=None)
    data.setup("fit")
    parts = words_of(data)
    assert " ".join(parts.values()) == LONG  # no word is torn, none is lost, none comes twice
    for name, share in (("train", 0.9), ("validation", 0.05), ("test", 0.05)):
        assert abs(len(parts[name]) - share * len(LONG)) <= len("the slept.")
    assert "it is one text, split by place" in lines_of(messages)[0]


def test_a_script_without_white_space_is_split_at_the_place(tmp_path):
    data = data_of(tmp_path, "狐狸和葡萄的故事很有名" * 100, separator=None, alphabet="learned")
    data.setup("fit")
    assert [len(part) for part in words_of(data).values()] == [990, 55, 55]


def test_a_word_that_is_too_long_to_wait_for_is_torn():
    text = "a " + "x" * 5000
    assert [len(part) for part in split_by_place(text, [10])] == [2501, 2501]


# Files of a folder, options, and the characters that train, validate and test (of a text of 1,000), or the sentence.
TEXT = ("abcd " * 200).strip() + "e"
PLACE = {
    "alone": ({"a.txt": TEXT}, {}, [904, 49, 45]),
    "with short ones": ({"a.txt": TEXT, "b.txt": "moo", "c.txt": ""}, {}, [904, 49, 45]),
    "its first half": ({"a.txt": TEXT}, {"document_length": 500}, [454, 24, 19]),
    "with a test split": ({"train.txt": TEXT, "test.txt": "a test"}, {}, [904, 95, 6]),
    "with a validation split": ({"train.txt": TEXT, "valid.txt": "a test"}, {}, [1000, 6, 6]),
    "with both": ({"train.txt": TEXT, "valid.txt": "a test", "test.txt": "another"}, {}, [1000, 6, 7]),
    "two texts": ({"a.txt": TEXT, "b.txt": TEXT[:500]}, {}, [1000, 499, 499]),
    "a number of documents": (
        {"a.txt": TEXT},
        {"validation_size": 1},
        "data.validation_size is 1, which is about documents",
    ),
    "a seed": (
        {"a.txt": TEXT},
        {"split_seed": 3},
        "data.split_seed is 3, which is about documents, but .* has one document",
    ),
    "too short": (
        {"a.txt": TEXT[:60]},
        {},
        "which has one document, of 59 characters: split by place, its .* part has",
    ),
    "cut too short": (
        {"a.txt": TEXT},
        {"document_length": 50},
        r"of 50 characters, the first of 1,000 \(data.document_length\): split by place, its validation part has",
    ),
    "a separator that finds nothing": (
        {"a.txt": TEXT},
        {"document_separator": "XX"},
        "since data.document_separator, 'XX',",
    ),
    "a separator that cuts a head off": ({"a.txt": "XX" + TEXT}, {"document_separator": "XX"}, [904, 49, 45]),
}


@pytest.mark.parametrize(("files", "options", "expected"), PLACE.values(), ids=PLACE)
def test_which_texts_are_split_by_place(tmp_path, files, options, expected):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    data = CorpusDataModule(str(tmp_path), **{"window": 4, **options})
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            data.setup("fit")
        return
    data.setup("fit")
    assert [len(text.symbols_N) for text in (data.train_text, data.validation_text, data.test_text)] == expected


# --- kind 10: the log tells which file is what, and what was left out ------------------------------------------------

TOLD = {
    "splits": (
        {"train.txt": "a", "valid.txt": "b", "test.txt": "c"},
        ["splits by name: train (train.txt), validation (valid.txt), test (test.txt)"],
    ),
    "many files": (
        {**{f"train/{n}.txt": "a" for n in range(5)}, "test/x.txt": "b"},
        ["splits by name: train (train/0.txt, train/1.txt, train/2.txt, ...), test (test/x.txt)"],
    ),
    "beside splits": (
        {"train.txt": "a", "test.txt": "b", "notes.txt": "c", "README.md": "d"},
        [
            "splits by name: train (train.txt), test (test.txt)",
            "left out: 1 named for no split (notes.txt), 1 describing the others (README.md)",
        ],
    ),
    "beside a text": (
        {"a.txt": "a", "LICENSE": "b", ".DS_Store": "c", "d.txt": " "},
        ["left out: 1 describing the others (LICENSE), 1 hidden (.DS_Store), 1 empty (d.txt)"],
    ),
    "folders with another word": (
        {"training_set/a.txt": "a", "test_set/b.txt": "b"},
        ["splits by name: train (training_set/a.txt), test (test_set/b.txt)"],
    ),
    "a word for held-out text": (
        {"night_train.txt": "a", "blood_test.txt": "b", "fox.txt": "c"},
        [
            "no splits by name: all files are taken together, also those whose names have a word for held-out text "
            "(blood_test.txt); splits are folders named train, validation and test"
        ],
    ),
    "what describes the others": (
        {"a.txt": "a", "license.txt": "b", "Readme.TXT": "c", "metadata.csv": "x", "b.rst": "d"},
        ["left out: 3 describing the others (Readme.TXT, license.txt, metadata.csv), 1 of other kinds (b.rst)"],
    ),
    "text beside tables": (
        {"a.csv": "text\na\n", "b.txt": "b", "c.jsonl": "{}", "d.csv": "text\nd\n"},
        ["left out: 2 of other kinds (b.txt, c.jsonl)"],
    ),
    "rows": (
        {"a.jsonl": '{"text": "a"}\n{"text": null}\n{"text": ""}\n', "b.jsonl": ""},
        ["left out: 1 without rows (b.jsonl), 2 without text (train row 2, train row 3)"],
    ),
    "a separator that matches nowhere": (
        {"a.txt": "a", "b.txt": "b"},
        ["data.document_separator matches nowhere: each file is a document"],
    ),
    "nothing": ({"a.txt": "a\n\nb"}, []),
}


@pytest.mark.parametrize(("files", "notes"), TOLD.values(), ids=TOLD)
def test_the_log_says_what_became_of_the_files(tmp_path, files, notes):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    separator = r"\n\n" if ("b.txt" in files and "a.txt" in files) or not notes else None
    assert list(read_documents(str(tmp_path), separator).notes) == notes


HEADER = "the first line of the {} table was taken as the names of its columns, though {!r} looks like data"
NOTED = "folder {} of 1 table read by datasets{}"
HEADERS = {  # a file, its first line, what the description says of the column, and which cell looks like data
    "names": ("a.csv", "text,label", "", None),
    "another name": ("a.csv", "review,label", ", column 'review'", None),
    "another case": ("a.csv", "Text,label", ", column 'Text'", None),
    "two words": ("a.csv", "the review,label", ", column 'the review'", None),
    "an index": ("a.csv", "review,", ", column 'review'", None),
    "an abbreviation": ("a.csv", "Sentence.,Nr.", ", column 'Sentence.'", None),
    "a document and a label": ("a.csv", "a fox ran off,0", ", column 'a fox ran off'", "0"),
    "a fraction": ("a.csv", "fox,0.5", ", column 'fox'", "0.5"),
    "less than nothing": ("a.csv", "fox,-1", ", column 'fox'", "-1"),
    "a sentence": ("a.csv", "A fox ran off.,x1", ", column 'A fox ran off.'", "A fox ran off."),
    "speech": ("a.csv", '"""Ran off!""",x1', """, column '"Ran off!"'""", '"Ran off!"'),
    "39 characters": ("a.csv", f"{'f' * 39},x1", f", column '{'f' * 39}'", None),
    "40 characters": ("a.csv", f"{'f' * 50},x1", f", column '{'f' * 40}'", "f" * 40),
    "tabs": ("a.tsv", "A fox ran off.\tx1", ", column 'A fox ran off.'", "A fox ran off."),
    "a split": ("test.csv", "A fox ran off.,x1", ", column 'A fox ran off.'", "A fox ran off."),
}


@pytest.mark.parametrize(("name", "line", "column", "data"), HEADERS.values(), ids=HEADERS)
def test_a_first_line_that_may_be_a_document(tmp_path, name, line, column, data):
    (tmp_path / name).write_text(line + "\none fish" + ("\t" if name == "a.tsv" else ",") + "1\n")
    found = read_documents(str(tmp_path))
    assert (found.train or found.test) == ["one fish"]
    assert found.description == NOTED.format(tmp_path.name, column)
    warnings = [note for note in found.notes if note.startswith("warning: ")]
    assert len(warnings) == (data is not None)
    assert data is None or HEADER.format("test" if name == "test.csv" else "train", data) in warnings[0]


def test_a_first_line_of_two_texts_that_may_be_a_document(tmp_path):
    (tmp_path / "a.csv").write_text("good,A fox ran off.\nbad,A hen sat.\n")
    with pytest.raises(
        UserError, match="several text columns, good, A fox ran off.: set .*; the first line of the train table"
    ):
        read_documents(str(tmp_path))


def test_json_has_no_first_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"A fox ran off.": "one fish"}\n')
    assert read_documents(str(tmp_path)).notes == ()


def test_a_validation_split_that_is_not_used_is_told(tmp_path, messages):
    (tmp_path / "train.txt").write_text("\n\n".join(TALES))
    (tmp_path / "valid.txt").write_text("\n\n".join(reversed(TALES)))
    data = CorpusDataModule(str(tmp_path), r"\n\n", window=4, validation_size=3)
    data.setup("fit")
    assert list(data.validation_documents) == TALES[-3:]
    assert "left out: the validation split of the source (8 documents)" in lines_of(messages)


WORDS = ["train", "Test", "valid", "dev.1", "story", "night_train", "README", "x.train", "x.test", "notes"]
ENDINGS = [".txt", ".TXT", ".md", ".csv", ".jsonl", ".tsv.gz", "", ".pdf"]
FOLDERS = ["", "Train/", "TEST/", "a/", ".git/"]
NAMES = st.tuples(*map(st.sampled_from, (FOLDERS, WORDS, ENDINGS))).map("".join)


@given(st.sets(NAMES, min_size=1, max_size=8))
def test_every_file_is_used_once_or_told(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("any")
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    try:
        listing = list_folder("any", folder)
    except UserError:
        # .1, .train and .test are no endings of text, and the sentence says so.
        others = (".pdf", "README", "dev.1", "x.train", "x.test")
        assert all(name.startswith(".git/") or name.endswith(others) for name in names)
        return
    used = [file.relative_to(folder).as_posix() for files in listing.splits.values() for file in files]
    left = [name for names in listing.left_out.values() for name in names]
    assert sorted([*used, *left]) == sorted(names)
    trains = [file.relative_to(folder).as_posix().lower() for file in listing.splits.get("train", [])]
    others = len(listing.splits) > 1
    assert not any(name.startswith("test/") or (name.startswith("test.") and others) for name in trains)


# --- data sets ------------------------------------------------------------------------------------------------------


def rows(*texts, **columns):
    return datasets.Dataset.from_dict({"text": list(texts), **columns})


SAVED = {
    "no text in a row": ({"train": rows("a", None, "b")}, {}, {"train": ["a", "b"]}),
    "other words": (
        {"Train": rows("a"), "dev": rows("b"), "Testing": rows("c")},
        {},
        {"train": ["a"], "validation": ["b"], "test": ["c"]},
    ),
    "a single split of any name": ({"stories": rows("a")}, {}, {"train": ["a"]}),
    "a test split alone": ({"test": rows("a")}, {}, {"train": [], "test": ["a"]}),
    "other columns in the test split": (
        {"train": rows("a", label=[1]), "test": rows("b")},
        {},
        {"train": ["a"], "test": ["b"]},
    ),
    "line ends in rows": ({"train": rows("a\r\n\r\nb")}, {"separator": r"\n\n"}, {"train": ["a", "b"]}),
    "a column by name": ({"train": rows("a", Title=["x"])}, {"text_column": "Title"}, {"train": ["x"]}),
    "the wrong case": ({"train": rows("a", Title=["x"])}, {"text_column": "title"}, "did you mean 'Title'?"),
    "a slip": ({"train": rows("a", Title=["x"])}, {"text_column": "Titel"}, "did you mean 'Title'?"),
    "a column of numbers": (
        {"train": rows("a", label=[1])},
        {"text_column": "label"},
        "the columns are text, label (int64)",
    ),
    "a NUL character": ({"train": rows("a", "b\0")}, {}, "whose train row 2 has a NUL character in its column 'text'"),
    "lists": ({"train": rows(["a", "b"])}, {}, "no text column; its columns are text (List)"),
    "two of a kind": (
        {"train": rows("a"), "dev": rows("b"), "valid": rows("c")},
        {},
        "has two validation splits, dev and valid",
    ),
    "no such splits": (
        {"x": rows("a"), "y": rows("b")},
        {},
        "which has the splits x, y, but must have one named train",
    ),
    "a column that one split lacks": (
        {"train": rows("a"), "test": datasets.Dataset.from_dict({"content": ["b"]})},
        {},
        "whose test split has no column 'text' of text; its columns are content",
    ),
}


@pytest.mark.parametrize(("splits", "options", "expected"), SAVED.values(), ids=SAVED)
def test_data_sets_that_save_to_disk_wrote(tmp_path, splits, options, expected):
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    if isinstance(expected, str):
        with pytest.raises(UserError, match=re.escape(expected)):
            read_documents(str(tmp_path / "saved"), **options)
        return
    found = read_documents(str(tmp_path / "saved"), **options)
    named = {"train": found.train, "validation": found.validation, "test": found.test}
    assert {name: documents for name, documents in named.items() if documents is not None} == expected


def test_splits_that_are_not_used_are_told(tmp_path):
    datasets.DatasetDict({"test": rows("c"), "train": rows("a"), "unsupervised": rows("b")}).save_to_disk(
        str(tmp_path / "saved")
    )
    found = read_documents(str(tmp_path / "saved"))
    assert (found.train, found.test) == (["a"], ["c"])
    assert found.notes == ("left out: 1 splits of other names (unsupervised)",)


def test_a_damaged_folder_of_save_to_disk(tmp_path):
    datasets.DatasetDict({"train": rows("a")}).save_to_disk(str(tmp_path / "saved"))
    next((tmp_path / "saved").rglob("*.arrow")).write_bytes(b"no table")
    with pytest.raises(UserError, match="saved', a folder that cannot be read as a data set: ") as error:
        read_documents(str(tmp_path / "saved"))
    assert "An error occurred" not in str(error.value)


def test_a_copy_of_a_data_set_of_the_hub_says_itself_which_file_is_what(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: first.csv\n"
        "  - split: test\n    path: second.csv\n---\n# Tales\n"
    )
    (tmp_path / "first.csv").write_text("text\none fish\n")
    (tmp_path / "second.csv").write_text("text\nred fish\n")
    found = read_documents(str(tmp_path))
    assert (found.train, found.test) == (["one fish"], ["red fish"])


def test_a_source_with_held_out_text_alone_does_not_train(tmp_path):
    (tmp_path / "test.txt").write_text("\n\n".join(TALES))
    data = CorpusDataModule(str(tmp_path), r"\n\n", window=4)
    with pytest.raises(UserError, match="which has text for test only, but must have some to train on"):
        data.setup("fit")
    data.other_source = True
    data.setup("test")
    assert len(data.test_documents) == 8


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["klingon", "", None, "base64", "rot13", "undefined", "utf-8\0", "x" * 5000, "ü"], ids=repr
)
def test_encodings_that_are_none(encoding):
    with pytest.raises(UserError) as error:
        CorpusDataModule(encoding=encoding)
    assert str(error.value).startswith(f"data.encoding is {encoding!r}, but must be an encoding that Python knows")


@pytest.mark.parametrize("line", [1, 2, 70_000])
def test_the_byte_and_the_line_of_a_large_file(tmp_path, line):
    """The largest is read in two parts."""
    before = "".join("x" * 20 + ("\r\n" if number % 2 else "\n") for number in range(line - 1))
    (tmp_path / "a.txt").write_bytes((before + "ab").encode() + b"\xff\nmore")
    with pytest.raises(UserError, match=f"not UTF-8: byte {len(before) + 2} is 0xff, in line {line};"):
        read_documents(str(tmp_path / "a.txt"))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_parts_of_a_file_are_read_as_the_whole(tmp_path, monkeypatch, size):
    text = "\ufeffzwölf\r\n\r\nüber\r\rein 🦊\x85\x85Ende"
    monkeypatch.setattr("ffrecur.data.textfiles.CHUNK", max(size, 4))  # a byte order mark is in the first part
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
        for packed in (False, True):
            data = text.encode(encoding)
            (tmp_path / "a.txt").write_bytes(gzip.compress(data) if packed else data)
            assert read_documents(str(tmp_path / "a.txt"), r"\n\n").train == ["zwölf", "über", "ein 🦊", "Ende"]


# --- kind 12: other data than the training's ---------------------------------------------------------------------------

OTHER = {  # files, the stage, options, how many documents are evaluated
    "a text": ({"a.txt": LONG}, "test", {}, 1),
    "a text, for validation": ({"a.txt": LONG}, "validate", {}, 1),
    "a short text": ({"a.txt": "the fox"}, "test", {}, 1),
    "the training's number of documents": ({"a.txt": TALES[0]}, "test", {"validation_size": 18}, 1),
    "the training's seed": ({"a.txt": TALES[0]}, "test", {"split_seed": 1}, 1),
    "the training's separator": ({"a.txt": TALES[0]}, "test", {"document_separator": "XX"}, 1),
    "documents": ({"a.txt": "\n\n".join(TALES)}, "test", {"document_separator": r"\n\n"}, 8),
    "fewer than before": ({"a.txt": "\n\n".join(TALES[:3])}, "validate", {"document_separator": r"\n\n"}, 3),
    "short ones": ({"a.txt": "\n\n".join([*TALES, "moo"])}, "test", {"document_separator": r"\n\n"}, 8),
    "a test split": ({"train.txt": LONG, "test.txt": TALES[0]}, "test", {}, 1),
    "a test split, for validation": ({"train.txt": LONG, "test.txt": TALES[0]}, "validate", {}, 2),
    "no test split": ({"train.txt": LONG, "valid.txt": TALES[0]}, "test", {}, 2),
    "all three": ({"train.txt": LONG, "valid.txt": TALES[0], "test.txt": TALES[1]}, "validate", {}, 1),
}


@pytest.mark.parametrize(("files", "stage", "options", "count"), OTHER.values(), ids=OTHER)
def test_other_data_is_evaluated_whole_or_by_its_split(tmp_path, files, stage, options, count):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    data = CorpusDataModule(str(tmp_path), **{"window": 4, **options})
    data.other_source = True
    data.setup(stage)
    data.setup(stage)  # once is enough
    name, loader = ("test", data.test_dataloader) if stage == "test" else ("validation", data.val_dataloader)
    assert len(getattr(data, f"{name}_documents")) == count
    assert sum(len(windows) for windows, _ in loader()) == len(places(getattr(data, f"{name}_text"), 4))
    assert data.train_text is None


# The splits of the source, the stage, and what the log says; each split has as many documents as its place in the row.
HELD_OUT = {
    ("train",): {
        "validate": "1 validate|all of it, since it has no validation split",
        "test": "1 test|all of it, since it has no test split",
    },
    ("valid",): {
        "validate": "1 validate|its validation split alone",
        "test": "1 test|all of it, its validation split, since it has no test split",
    },
    ("test",): {
        "validate": "1 validate|all of it, its test split, since it has no validation split",
        "test": "1 test|its test split alone",
    },
    ("train", "valid"): {
        "validate": "2 validate|its validation split alone",
        "test": "3 test|all of it, its train and validation splits, since it has no test split",
    },
    ("train", "test"): {
        "validate": "3 validate|all of it, its train and test splits, since it has no validation split",
        "test": "2 test|its test split alone",
    },
    ("valid", "test"): {"validate": "1 validate|its validation split alone", "test": "2 test|its test split alone"},
    ("train", "valid", "test"): {
        "validate": "2 validate|its validation split alone",
        "test": "3 test|its test split alone",
    },
}


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("splits", HELD_OUT, ids="+".join)
def test_the_log_says_which_splits_of_other_data_are_evaluated(tmp_path, messages, splits, stage):
    for count, name in enumerate(splits, start=1):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(TALES[:count]))
    data = CorpusDataModule(str(tmp_path), r"\n\n", window=4)
    data.other_source = True
    data.setup(stage)
    count, what = HELD_OUT[splits][stage].split("|")
    (line,) = [line for line in lines_of(messages) if "documents (characters)" in line]
    assert re.search(rf"documents \(characters\): {count} \([\d,]+\): {what}$", line), line
    assert not any(" trains" in line for line in lines_of(messages))


def test_both_splits_of_other_data(tmp_path):
    data = data_of(tmp_path, TALES)
    data.other_source = True
    data.setup("validate")
    data.setup("test")
    assert len(data.validation_documents) == len(data.test_documents) == 8


def trainer_for(folder, **options):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        **options,
    )


@pytest.fixture
def trained(staged):
    """A folder of a text, the settings of the data module of it, and a checkpoint of a module that was trained on it."""
    folder = staged("trained on text", train)
    checkpoint = folder / "net.ckpt"
    settings = torch.load(checkpoint, weights_only=True)["datamodule_hyper_parameters"]
    return SimpleNamespace(folder=folder, settings=settings, checkpoint=checkpoint)


def train(folder):
    data = data_of(folder, TALES, alphabet="learned", validation_size=2)
    module = CharModule(hidden_features=[5])
    trainer = trainer_for(folder, limit_train_batches=2)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "net.ckpt")


def report_on(trained, data):
    """Test the net of a checkpoint on data; return the results, and the table."""
    module = CharModule.load_from_checkpoint(trained.checkpoint, map_location="cpu")
    trainer = trainer_for(trained.folder)
    trainer.test(module, datamodule=data, verbose=False)
    found = module.evaluated(data, "test")
    with drafts():
        written = write_evaluation(trained.folder, "test", found)
    assert (trained.folder / "test_samples.txt").is_file()
    return json.loads((trained.folder / written[0]).read_text()), found.text


def spoil(folder):
    (folder / "tales.txt").write_text("\n\n".join(reversed(TALES)))


def remove(folder):
    (folder / "tales.txt").unlink()


# What happens to the training text, whether its settings are known, and why what needs it is left out, if it is.
TRAINING = {
    "as it was": (lambda folder: None, True, None),
    "touched": (lambda folder: (folder / "tales.txt").touch(), True, None),
    "gone": (remove, True, "the training text can no longer be read: data.source is '.*tales.txt'"),
    "changed": (spoil, True, "the training text has changed: data.source was '.*tales.txt'"),
    "settings not known": (lambda folder: None, False, "the training text is not known here"),
}


@pytest.mark.parametrize(("change", "known", "why"), TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("documents", [[LONG], ["the fox."], TALES[:2]], ids=["long", "short", "two"])
def test_known_words_are_those_of_the_training_text_or_left_out(trained, change, known, why, documents):
    change(trained.folder)
    data = data_of(trained.folder, documents, "other.txt", alphabet="learned")
    data.other_source, data.training_settings = True, trained.settings if known else None
    results, table = report_on(trained, data)
    assert results["num_characters"] == sum(len(document) - 4 for document in documents)
    assert len((trained.folder / "test_samples.txt").read_text().rstrip("\n").split("\n\n")) == len(documents)
    for judged in (results, results["real_text"]):
        assert (judged["known_word_share"] is None) == (judged["longest_copied"] is None) == (why is not None)
    if why is None:
        assert results["without_training_text"] is None
        assert "words of the training text" in table
    else:
        assert re.match(why, results["without_training_text"])
        assert f"known words and copied runs are left out: {results['without_training_text']}" in table
        assert "longest run copied" not in table


def test_copied_runs_are_sought_in_the_training_text(trained):
    """Of other text that the training's has too, and which alone would be no training text at all."""
    data = data_of(trained.folder, [f"xx xx {TALES[0]}"], "other.txt", alphabet="learned")
    data.other_source, data.training_settings = True, trained.settings
    results, _ = report_on(trained, data)
    assert (
        results["real_text"]["longest_copied"] == len(TALES[0]) + 1 - 1
    )  # what comes before it is not in the training text
    expected = TALES[0].split()[:-1]
    assert results["real_text"]["known_word_share"] == pytest.approx(len(expected) / (len(expected) + 1), abs=0.2)


def test_the_same_source_that_has_changed_since(trained):
    """Not another source, but no longer what the net was trained on either: by its settings it cannot be read anew."""
    spoil(trained.folder)
    results, _ = report_on(trained, CorpusDataModule(**trained.settings))
    assert results["known_word_share"] is None
    assert results["without_training_text"] == "the training text was another one than that of this data"


def test_other_settings_for_the_same_source(trained):
    data = CorpusDataModule(**{**trained.settings, "validation_size": 5})
    data.training_settings = trained.settings
    results, _ = report_on(trained, data)
    assert results["without_training_text"] is None
    assert results["real_text"]["longest_copied"] == len(TALES[4]) - 4  # it trained on some that validate now


def test_a_checkpoint_without_a_fingerprint_is_believed(trained):
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    assert checkpoint.pop("ffrecur_training_text")
    torch.save(checkpoint, trained.checkpoint)
    spoil(trained.folder)
    results, _ = report_on(trained, CorpusDataModule(**trained.settings))
    assert results["without_training_text"] is None


@pytest.mark.parametrize("kind", [CharModule, CharBackpropModule])
def test_the_fingerprint_is_that_of_the_training_text(tmp_path, kind):
    data = data_of(tmp_path, TALES)
    module, trainer = kind(hidden_features=[5]), trainer_for(tmp_path, limit_train_batches=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    stored = torch.load(tmp_path / "net.ckpt", weights_only=True)["ffrecur_training_text"]
    assert stored == module.trained_on == fingerprint(data.train_text)
    assert stored != fingerprint(data.validation_text)
    trainer.test(module, datamodule=data, verbose=False)
    found = module.evaluated(data, "test")
    assert found.figures["without_training_text"] is None
    assert text_table(found.figures, "test") == found.text


def test_a_net_reads_other_text_by_its_own_alphabet(trained):
    """Through the Trainer, without the command line, which tells the data module the alphabet before."""
    data = data_of(trained.folder, ["the fox QUACKED? 123!"], "other.txt", alphabet="learned")
    data.other_source = True
    report_on(trained, data)
    assert list(data.test_documents) == ["the fox aced "]


def test_texts_whose_beginnings_and_ends_differ_have_other_fingerprints():
    one, two = make_text([torch.arange(4), torch.arange(3)], 9), make_text([torch.arange(4)], 9)
    moved = make_text([torch.arange(3), torch.tensor([3, 0, 1, 2])], 9)
    assert one.symbols_N.tolist() == moved.symbols_N.tolist()
    assert len({fingerprint(text) for text in (one, two, moved)}) == 3


@pytest.mark.parametrize("documents", [[LONG], [*TALES, "the f"], ["abcde", "edcba"]], ids=["one", "short", "shortest"])
@pytest.mark.parametrize("negatives", ["teacher_forcing", "dream", "self_generated"])
def test_one_text_and_short_ones_train_and_are_reported(tmp_path, capsys, documents, negatives):
    data = data_of(tmp_path, documents, separator=None if documents == [LONG] else r"\n\n")
    module, trainer = CharModule(hidden_features=[5], negatives=negatives), trainer_for(tmp_path, limit_train_batches=3)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    written = write_evaluation(tmp_path, "test", module.evaluated(data, "test"))
    results = json.loads((tmp_path / written[0]).read_text())
    assert 0 < results["bits_per_character"] < 10
    assert "nan" not in capsys.readouterr().err
