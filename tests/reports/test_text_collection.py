"""Criterion 3, text: files and folders as people have them, each with the documents that must come out, or the sentence."""

import errno
import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from ffrecur import UserError
from ffrecur.data.documents import read_documents

BLANK_LINE = r"\n\n"
ONE, TWO, THREE = ["one fish"], ["two fish"], ["red fish"]
GERMAN = "Der Füchsin Söhne\n\nÄpfel\n"
GERMAN_DOCUMENTS = ["Der Füchsin Söhne", "Äpfel"]
CSV = "text,label\none fish,0\n"
SPLITS = {"train": ONE, "validation": TWO, "test": THREE}
TRAIN_TEST = {"train": ONE, "test": THREE}


def zipped(text):
    return gzip.compress(text.encode())


def three(train, valid, test, texts=("one fish", "two fish", "red fish")):
    return dict(zip((train, valid, test), texts, strict=True))


# What lies in the folder, which separator, and the documents of each split that must come out.
READ = {
    # --- line ends: the separator is a blank line
    "line feeds": ({"a.txt": "one fish\n\ntwo\nfish\n"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "Windows": ({"a.txt": "one fish\r\n\r\ntwo\r\nfish\r\n"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "old Mac": ({"a.txt": "one fish\r\rtwo\rfish\r"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "mixed": ({"a.txt": "one fish\r\n\ntwo fish\n\r\nred fish"}, BLANK_LINE, {"train": [*ONE, *TWO, *THREE]}),
    "NEL": ({"a.txt": "one fish\x85\x85two fish"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "U+2028": ({"a.txt": "one fish\u2028\u2028two fish"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "U+2029": ({"a.txt": "one fish\u2029\u2029two fish"}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "a title a line": ({"a.txt": "FOX\r\n\r\none\r\nHEN\r\n\r\ntwo"}, r"^[A-Z]+$", {"train": ["one", "two"]}),
    "a separator with \\r": ({"a.txt": "one\r\n\r\ntwo\n\nthree"}, r"\r\n\r\n", {"train": ["one", "two three"]}),
    "white space alone between": ({"a.txt": "one\n\n \n\n\u3000\n\ntwo"}, BLANK_LINE, {"train": ["one", "two"]}),
    # --- encodings and byte order marks
    "UTF-8": ({"a.txt": GERMAN.encode()}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    "UTF-8 with a mark": ({"a.txt": GERMAN.encode("utf-8-sig")}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    "UTF-16": ({"a.txt": GERMAN.encode("utf-16")}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    "UTF-16 BE": ({"a.txt": ("\ufeff" + GERMAN).encode("utf-16-be")}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    "UTF-32": ({"a.txt": GERMAN.encode("utf-32")}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    "UTF-16, Windows": ({"a.txt": "a b\r\n\r\nc".encode("utf-16")}, BLANK_LINE, {"train": ["a b", "c"]}),
    "a mark in each file": ({"a.txt": "\ufeffone", "b.txt": "\ufefftwo"}, None, {"train": ["one", "two"]}),
    # --- gzip, by what is in the file
    "gzipped": ({"a.txt.gz": zipped("one fish\n\ntwo fish")}, BLANK_LINE, {"train": ["one fish", "two fish"]}),
    "gzipped, in capitals": ({"A.TXT.GZ": zipped("one fish")}, None, {"train": ONE}),
    "gzipped, named .txt": ({"a.txt": zipped("one fish")}, None, {"train": ONE}),
    "unpacked, named .gz": ({"a.txt.gz": "one fish"}, None, {"train": ONE}),
    "gzipped UTF-16": ({"a.txt.gz": gzip.compress(GERMAN.encode("utf-16"))}, BLANK_LINE, {"train": GERMAN_DOCUMENTS}),
    # --- endings
    "capitals": ({"A.TXT": "one fish", "b.Txt": "two fish"}, None, {"train": [*ONE, *TWO]}),
    ".text": ({"a.text": "one fish"}, None, {"train": ONE}),
    "Markdown": ({"a.md": "one fish", "b.MD": "two fish"}, None, {"train": [*ONE, *TWO]}),
    "Markdown beside text": ({"a.txt": "one fish", "notes.md": "two fish"}, None, {"train": ONE}),
    "other files beside text": ({"a.txt": "one fish", "b.pdf": b"%PDF", "c.png": b"\x89"}, None, {"train": ONE}),
    "20 newsgroups": ({"alt.atheism/49960": "one fish", "sci.space/60151": "two fish"}, None, {"train": [*ONE, *TWO]}),
    "no ending beside text": ({"a.txt": "one fish", "Makefile": "x"}, None, {"train": ONE}),
    # --- what describes the text is none
    "README and LICENSE": ({"a.txt": "one fish", "README.txt": "x", "LICENSE": "y"}, None, {"train": ONE}),
    "README.md of Markdown": ({"a.md": "one fish", "README.md": "x"}, None, {"train": ONE}),
    "licences of all kinds": (
        {"a.txt": "one fish", "License.txt": "x", "licence.TXT": "x", "COPYING.txt.gz": "x", "ReadMe.text": "x"},
        None,
        {"train": ONE},
    ),
    "stories that sound so": (
        {f"{n}.txt": n for n in ("authors-note", "changelog", "index-of-plants", "notice-to-all", "readme-first")},
        None,
        {"train": ["authors-note", "changelog", "index-of-plants", "notice-to-all", "readme-first"]},
    ),
    "an index, notices": (
        {"a.txt": "one fish", "index.txt": "two fish", "notice.txt": "red fish"},
        None,
        {"train": [*ONE, *TWO, *THREE]},
    ),
    "Markdown that sounds so": ({"index-of-plants.md": "one fish", "CHANGELOG.md": "x"}, None, {"train": ONE}),
    "a README alone": ({"README.txt": "one fish"}, None, {"train": ONE}),
    "a story of notices": (
        {"notices.txt": "one fish", "license to kill.txt": "two fish"},
        None,
        {"train": [*TWO, *ONE]},
    ),
    # --- hidden files
    "of the Mac": ({"a.txt": "one fish", "._a.txt": "x", ".DS_Store": "y"}, None, {"train": ONE}),
    "of git": ({"a.txt": "one fish", ".git/b.txt": "x"}, None, {"train": ONE}),
    "of zip": ({"a.txt": "one fish", "__MACOSX/a.txt": "x"}, None, {"train": ONE}),
    "of a notebook": ({"a.txt": "one fish", ".ipynb_checkpoints/a-checkpoint.txt": "x"}, None, {"train": ONE}),
    # --- empty ones
    "an empty file": ({"a.txt": "one fish", "b.txt": "", "c.txt": " \n"}, None, {"train": ONE}),
    "an empty training file": (
        {"train/a.txt": "one fish", "train/b.txt": "", "test/c.txt": "two fish"},
        None,
        {"train": ONE, "test": TWO},
    ),
    # --- splits by the names of files
    "files": (three("train.txt", "valid.txt", "test.txt"), None, SPLITS),
    "files in capitals": (three("TRAIN.TXT", "Valid.TXT", "Test.txt"), None, SPLITS),
    "other words": (three("training.txt", "dev.txt", "testing.txt"), None, SPLITS),
    "validation": (three("train.txt", "validation.txt", "eval.txt"), None, SPLITS),
    "WikiText": (three("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"), None, SPLITS),
    "WikiText, raw": (three("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"), None, SPLITS),
    "Penn Treebank": (three("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"), None, SPLITS),
    "in front and behind": (three("tales-train.txt", "val_tales.txt", "tales_test.txt"), None, SPLITS),
    "numbered": (three("train-1.txt", "val-1.txt", "test-1.txt"), None, SPLITS),
    "gzipped files": (
        {"train.txt.gz": zipped("one fish"), "test.txt": "red fish"},
        None,
        {"train": ONE, "test": THREE},
    ),
    "several files a split": (
        {"train1.txt": "one fish", "train2.txt": "two fish", "test1.txt": "red fish"},
        None,
        {"train": [*ONE, *TWO], "test": THREE},
    ),
    "two languages": (
        {"de.train.txt": "one fish", "de.test.txt": "red fish", "en.train.txt": "two fish", "en.test.txt": "x y"},
        None,
        {"train": [*ONE, *TWO], "test": ["red fish", "x y"]},
    ),
    "other files beside splits": (
        {"train.txt": "one fish", "test.txt": "red fish", "notes.txt": "x", "README.md": "y"},
        None,
        {"train": ONE, "test": THREE},
    ),
    "labels beside splits": (
        {"train.txt": "one fish", "test.txt": "red fish", "train_labels.txt": "0", "test_labels.txt": "1"},
        None,
        {"train": ONE, "test": THREE},
    ),
    "a held-out split alone": ({"test.txt": "red fish"}, None, {"train": [], "test": THREE}),
    "test and others": ({"test.txt": "red fish", "story.txt": "one fish"}, None, {"train": [], "test": THREE}),
    "folders with another word": ({"training_set/a.txt": "one fish", "test_set/b.txt": "red fish"}, None, TRAIN_TEST),
    "a file named for a split in a folder with another word": (
        {"train_set/train.txt": "one fish", "train_set/valid.txt": "two fish", "test_set/train.txt": "red fish"},
        None,
        SPLITS,
    ),
    "folders, data": ({"train_data/a.txt": "one fish", "test_data/a.txt": "red fish"}, None, TRAIN_TEST),
    "folders, small and capital letters": (three("trainSet/x/a.txt", "devSet/a.txt", "testSet/a.txt"), None, SPLITS),
    "folders in a folder": (
        {"my_test/trainSet/a.txt": "one fish", "my_test/testSet/a.txt": "red fish"},
        None,
        TRAIN_TEST,
    ),
    "files, small and capital letters": (three("trainSet.txt", "validationSet.txt", "testSet.txt"), None, SPLITS),
    "two words for one split": (three("train.txt", "dev-valid.txt", "test_eval.txt"), None, SPLITS),
    "words that are not apart": (three("mytrain.txt", "myvalid.txt", "mytest.txt"), None, SPLITS),
    "in a folder of a split": (
        {"test/a_train.txt": "one fish", "test/b_test.txt": "two fish"},
        None,
        {"train": [], "test": [*ONE, *TWO]},
    ),
    "and in small letters": ({"trainset.txt": "one fish", "testset.txt": "red fish"}, None, TRAIN_TEST),
    "and beside others": ({"mytrain.txt": "one fish", "mytest.txt": "red fish", "words.txt": "x"}, None, TRAIN_TEST),
    "not alike, but each with a word": ({"tales_train.txt": "one fish", "news_test.txt": "red fish"}, None, TRAIN_TEST),
    "one exact, the other with a word": ({"test/a.txt": "red fish", "train_set/a.txt": "one fish"}, None, TRAIN_TEST),
    "held out": (three("corpus.train.txt", "corpus.devel.txt", "corpus.heldout.txt"), None, SPLITS),
    # --- no splits: names that only sound so
    "a training file alone": ({"train.txt": "one fish", "story.txt": "two fish"}, None, {"train": [*TWO, *ONE]}),
    "stories of trains and tests": (
        {"night_train.txt": "one fish", "blood_test.txt": "two fish", "contest.txt": "red fish"},
        None,
        {"train": [*TWO, *THREE, *ONE]},
    ),
    "one of them beside others": ({"the test.txt": "one fish", "a.txt": "two fish"}, None, {"train": [*TWO, *ONE]}),
    "both words": ({"train_test.txt": "one fish", "a.txt": "two fish"}, None, {"train": [*TWO, *ONE]}),
    # --- splits by the names of folders
    "folders": (three("train/a.txt", "valid/a.txt", "test/a.txt"), None, SPLITS),
    "folders in capitals": (three("Train/a.txt", "Dev/a.txt", "TEST/a.txt"), None, SPLITS),
    "folders further down": (three("data/training/x/a.txt", "data/val/a.txt", "data/testing/a.txt"), None, SPLITS),
    "a file named for a split in a folder of another": (
        {"train/test.txt": "one fish", "test/train.txt": "red fish"},
        None,
        {"train": ONE, "test": THREE},
    ),
    "files beside folders": (
        {"train/a.txt": "one fish", "test/a.txt": "red fish", "vocabulary.txt": "x"},
        None,
        {"train": ONE, "test": THREE},
    ),
    "folders that are no splits": (
        {"aesop/a.txt": "one fish", "grimm/b.txt": "two fish"},
        None,
        {"train": ["one fish", "two fish"]},
    ),
    # --- tables
    "CSV": ({"a.csv": CSV}, None, {"train": ONE}),
    "CSV in capitals": ({"A.CSV": CSV}, None, {"train": ONE}),
    "CSV, Windows": ({"a.csv": CSV.replace("\n", "\r\n")}, None, {"train": ONE}),
    "CSV, UTF-16": ({"a.csv": "text\nFüchse\n".encode("utf-16")}, None, {"train": ["Füchse"]}),
    "CSV with a mark": ({"a.csv": "text\nFüchse\n".encode("utf-8-sig")}, None, {"train": ["Füchse"]}),
    "TSV": ({"a.tsv": "text\tlabel\none, fish\t0\n"}, None, {"train": ["one, fish"]}),
    "TSV in capitals, gzipped": ({"A.TSV.GZ": zipped("text\tlabel\none fish\t0\n")}, None, {"train": ONE}),
    "JSON lines": ({"a.jsonl": '{"text": "one fish"}\n\n{"text": "two fish"}\n'}, None, {"train": [*ONE, *TWO]}),
    "JSON lines in capitals": ({"a.JSONL": '{"text": "one fish"}\n'}, None, {"train": ONE}),
    ".ndjson": ({"a.ndjson": '{"text": "one fish"}\n'}, None, {"train": ONE}),
    "gzipped JSON lines": ({"a.jsonl.gz": zipped('{"text": "one fish"}\n')}, None, {"train": ONE}),
    "a list of JSON": ({"a.json": '[{"text": "one fish"}, {"text": "two fish"}]'}, None, {"train": [*ONE, *TWO]}),
    "rows with line ends": (
        {"a.jsonl": '{"text": "one fish\\r\\n\\r\\ntwo fish"}\n'},
        BLANK_LINE,
        {"train": [*ONE, *TWO]},
    ),
    "rows without text": ({"a.jsonl": '{"text": "one fish"}\n{"text": null}\n{"text": " "}\n'}, None, {"train": ONE}),
    "words for nothing": ({"a.csv": 'text,n\nNA,1\nnull,2\n"",3\n'}, None, {"train": ["NA", "null"]}),
    "a column called Text": ({"a.csv": "Text,Title\none fish,x\n"}, None, {"train": ONE}),
    "splits of tables": (
        {"train.csv": CSV, "dev.csv": "text\ntwo fish\n", "Test.CSV": "id,text\n7,red fish\n"},
        None,
        SPLITS,
    ),
    "folders of tables": ({"Train/a.csv": CSV, "test/a.csv": "text\nred fish\n"}, None, {"train": ONE, "test": THREE}),
    "tables beside text": ({"a.csv": CSV, "b.txt": "two fish"}, None, {"train": ONE}),
    "tables that describe text": ({"metadata.csv": "text\nx\n", "b.txt": "two fish"}, None, {"train": TWO}),
    "JSON that describes text": ({"info.json": '{"text": "x"}', "b.txt": "two fish"}, None, {"train": TWO}),
    "an empty table beside another": ({"a.csv": CSV, "b.csv": "", "c.csv": "text\n"}, None, {"train": ONE}),
    "a name with brackets": ({"[a] *.csv": CSV}, None, {"train": ONE}),
}


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def splits_of(found):
    named = {"train": found.train, "validation": found.validation, "test": found.test}
    return {name: documents for name, documents in named.items() if documents is not None}


@pytest.mark.parametrize(("files", "separator", "expected"), READ.values(), ids=READ)
def test_folders_that_are_read(tmp_path, files, separator, expected):
    assert splits_of(read_documents(write(tmp_path / "data", files), separator)) == expected


def linked(folder, links):
    for name, target in links.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


# What lies in the folder, beside a folder `store` with `en/a.txt`, "two fish", and `b.txt`, "red fish"; the links in it; what
# must come out, and what is told.
LINKED = {
    "a folder": ({"a.txt": "one fish"}, {"en": "../store/en"}, {"train": [*ONE, *TWO]}, None),
    "a file": ({"a.txt": "one fish"}, {"b.txt": "../store/b.txt"}, {"train": [*ONE, *THREE]}, None),
    "folders in a linked one": ({}, {"all": "../store"}, {"train": [*THREE, *TWO]}, None),
    "a split": (
        {"train/a.txt": "one fish"},
        {"valid": "../store/en", "test/b.txt": "../../store/b.txt"},
        SPLITS,
        "splits",
    ),
    "two of one folder": ({}, {"one": "../store/en", "two": "../store/en"}, {"train": [*TWO, *TWO]}, None),
    "to itself": ({"a.txt": "one fish"}, {"again": "."}, {"train": ONE}, None),
    "to the folder above": ({"x/a.txt": "one fish"}, {"x/again": ".."}, {"train": ONE}, None),
    "to one another": (
        {"x/a.txt": "one fish", "y/b.txt": "two fish"},
        {"x/y": "../y", "y/x": "../x"},
        {"train": [*ONE, *TWO, *TWO, *ONE]},  # x/a, x/y/b, y/b, y/x/a
        None,
    ),
    "to nothing": ({"a.txt": "one fish"}, {"b": "../nowhere"}, {"train": ONE}, "left out: 1 linked to nothing (b)"),
    "in a circle": (
        {"a.txt": "one fish"},
        {"b": "c", "c": "b"},
        {"train": ONE},
        "left out: 2 linked to nothing (b, c)",
    ),
}


@pytest.mark.parametrize(("files", "links", "expected", "told"), LINKED.values(), ids=LINKED)
def test_links_are_followed(tmp_path, files, links, expected, told):
    write(tmp_path / "store", {"en/a.txt": "two fish", "b.txt": "red fish"})
    (tmp_path / "data").mkdir()
    folder = write(tmp_path / "data", files)
    linked(tmp_path / "data", links)
    found = read_documents(folder)
    assert splits_of(found) == expected
    assert "".join(found.notes).startswith(told or "")
    assert (told is None) == (found.notes == ())


SINGLE = {
    "text of an unknown ending": ("tales.fables", "one fish\n\ntwo fish", ["one fish", "two fish"]),
    "no ending": ("tales", "one fish", ONE),
    "named for a test": ("test.txt", "one fish", ONE),
    "a README": ("README", "one fish", ONE),
    "hidden": (".tales", "one fish", ONE),
    "gzipped": ("tales.gz", zipped("one fish"), ONE),
    "a table in capitals": ("TALES.CSV", CSV, ONE),
    "a gzipped table": ("tales.csv.gz", zipped(CSV), ONE),
    "tabs": ("tales.tsv", "text\tlabel\none fish\t0\n", ONE),
    "HTML is text": ("tales.html", "<p>one fish", ["<p>one fish"]),
}


@pytest.mark.parametrize(("name", "content", "expected"), SINGLE.values(), ids=SINGLE)
def test_single_files_that_are_read(tmp_path, name, content, expected):
    write(tmp_path, {name: content})
    assert splits_of(read_documents(str(tmp_path / name), BLANK_LINE)) == {"train": expected}


@pytest.mark.parametrize(
    ("encoding", "files"),
    [
        ("latin-1", {"a.txt": "Füchse".encode("latin-1")}),
        ("cp1252", {"a.txt": "Füchse".encode("cp1252")}),
        ("utf-16-le", {"a.txt": "Füchse".encode("utf-16-le")}),
        ("UTF8", {"a.txt": "Füchse".encode()}),
        ("latin-1", {"a.txt": "\ufeffFüchse".encode()}),  # its mark decides
        ("latin-1", {"a.txt.gz": gzip.compress("Füchse".encode("latin-1"))}),
        ("latin-1", {"a.csv": "text\nFüchse\n".encode("latin-1")}),
        ("latin-1", {"a.jsonl": '{"text": "Füchse"}\n'.encode("latin-1")}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_encodings(tmp_path, encoding, files):
    assert read_documents(write(tmp_path / "data", files), encoding=encoding).train == ["Füchse"]


# What lies in the folder, and pieces of the sentence that refuses it.
REFUSED = {
    "empty": ({}, ["a folder which is empty"]),
    "hidden files alone": ({".a.txt": "x"}, ["a folder which holds hidden files only"]),
    "other endings": ({"a.pdf": "x", "b.rst": "y"}, ["whose files have other endings (.pdf, .rst)", ".txt, .text"]),
    "all empty": ({"a.txt": "", "b.txt": "\n"}, ["whose 2 text files are all empty"]),
    "not UTF-8": (
        {"a.txt": "ok", "x/b.txt": b"eins\r\nzw\xf6lf"},
        ["whose file x/b.txt is not UTF-8: byte 8 is 0xf6, in line 2", "set data.encoding", "latin-1"],
    ),
    "half a character": ({"a.txt": "Füchse ü".encode()[:-1]}, ["not UTF-8: byte 8 is 0xc3, in line 1"]),
    "UTF-16 without a mark": (
        {"a.txt": "ab".encode("utf-16-le")},
        ["a.txt has a NUL character in line 1", "utf-16-le"],
    ),
    "a NUL character": ({"a.txt": "one\ntwo\rthree \0"}, ["file a.txt has a NUL character in line 3"]),
    "half a gzip file": ({"a.txt.gz": zipped("one fish" * 99)[:-9]}, ["file a.txt.gz is a damaged gzip file: "]),
    "a spoilt gzip file": ({"a.txt.gz": zipped("one fish")[:-3] + b"xxx"}, ["is a damaged gzip file: "]),
    "Word": ({"a.txt": b"PK\x03\x04..."}, ["file a.txt is a zip archive, as .docx and .epub are, but must be text"]),
    "PDF": ({"a.txt": b"%PDF-1.7"}, ["file a.txt is a PDF, but must be text"]),
    "a bad line of JSON": (
        {"a.jsonl": '{"text": "x"}\n', "b.jsonl": '{"text": "x"}\n\n{"text": y}\n'},
        ["file b.jsonl cannot be read as a table: line 3 is no JSON, Expecting value at character 10"],
    ),
    "a bad list of JSON": ({"a.json": '[{"text": "x"},\n{"text": y}]'}, ["file a.json", "line 2 is no JSON"]),
    "half a line of JSON": ({"a.jsonl": '{"text": "x"}\n{"te'}, ["line 2 is no JSON, Unterminated string"]),
    "too many fields": (
        {"a.csv": "text,label\na,1\nb,2\nc,d,3\n"},
        ["whose file a.csv cannot be read as a table: Expected 2 fields in line 4, saw 3"],
    ),
    "an open quote": (
        {"a.csv": 'text,label\n"a,1\nb,2\n'},
        ["a.csv", "a quote that is opened in line 2 is not closed"],
    ),
    "CSV in Latin-1": ({"a.csv": b"text\nx\nF\xfcchse\n"}, ["file a.csv is not UTF-8: byte 8 is 0xfc, in line 3"]),
    "JSON in Latin-1": ({"a.jsonl": b'{"text": "F\xfcchse"}\n'}, ["file a.jsonl is not UTF-8: byte 11 is 0xfc"]),
    "NUL in CSV": ({"a.csv": b"text\na\nb\0c\n"}, ["file a.csv has a NUL character in line 3"]),
    "half a gzipped table": ({"a.csv.gz": zipped(CSV * 99)[:-9]}, ["file a.csv.gz is a damaged gzip file"]),
    "damaged parquet": ({"a.parquet": b"PAR1 ... PAR1"}, ["file a.parquet cannot be read as a table: "]),
    "no text column": ({"a.csv": "number,x\n1,2.5\n"}, ["no text column; its columns are number (int64), x (float64)"]),
    "numbers as text": ({"a.csv": "text\n1984\n2001\n"}, ["no text column; its columns are text (int64)"]),
    "lists": ({"a.jsonl": '{"text": ["a", "b"]}\n'}, ["no text column; its columns are text (List)"]),
    "semicolons": ({"a.csv": "text;label\na;1\n"}, ["whose only column is 'text;label'", "separated by commas"]),
    "several": ({"a.csv": "a,b\nx,y\n"}, ["several text columns, a, b: set data.text_column"]),
    "another split without the column": (
        {"train.csv": "text\na\n", "test.csv": "content\nb\n"},
        ["whose test split has no column 'text' of text; its columns are content"],
    ),
    "tables without rows": ({"a.csv": "text\n", "b.csv": ""}, ["which has no rows of text"]),
}


@pytest.mark.parametrize(("files", "pieces"), REFUSED.values(), ids=REFUSED)
def test_folders_that_are_refused(tmp_path, files, pieces):
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError) as error:
        read_documents(write(tmp_path / "data", files))
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"data.source is '{tmp_path / 'data'}', ")
    assert "An error occurred" not in sentence
    for piece in pieces:
        assert piece in sentence, sentence


@pytest.mark.parametrize("method", ["iterdir", "is_file"])
def test_folders_that_may_not_be_read(tmp_path, monkeypatch, method):
    """Tests may run as root, whom nothing is forbidden."""

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    folder = write(tmp_path / "data", {"a.txt": "one fish"})
    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(UserError, match="data', a folder that may not be read, because of .*data"):
        read_documents(folder)


@pytest.mark.slow
def test_text_files_need_no_data_sets(tmp_path):
    """The library `datasets` takes a second to import."""
    code = "from ffrecur.data.documents import read_documents; read_documents(sys.argv[1]); print('datasets' in sys.modules)"
    folder = write(tmp_path / "data", {"train.txt": "one fish", "test.txt.gz": zipped("two fish"), "README.md": "x"})
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", folder], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
