"""Kind 9, another reader is chosen by chance: what a folder or file is taken for, with what must come out; arrays and tables."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from test_folders import CLASSES, LABELS, make, numbers

from ffrecur.data import ImageDataModule
from ffrecur.data.mapped import MappedImages
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError


def png(number: int, mode: str = "L") -> bytes:
    """The bytes of an image whose first pixel is `number`."""
    file = io.BytesIO()
    Image.fromarray(np.array([[number, 200], [100, 50]], np.uint8)).convert(mode).save(file, "PNG")
    return file.getvalue()


def parquet(path: Path, images: bool = True) -> None:
    """A table as pandas writes it, with images or without."""
    column = {"image": [{"bytes": png(k), "path": f"{k}.png"} for k in range(7, 10)]} if images else {"x": [1, 2, 3]}
    pandas.DataFrame({**column, "label": [0, 1, 0]}).to_parquet(path)


# --- metadata and stray files -----------------------------------------------------------------------------------------

CSV = "file_name,label\ncat/0.png,eel\ndog/1.png,ant\ncat/2.png,eel\n"
NAMED = {0: 1, 1: 0, 2: 1}  # ant, eel

# what lies beside three images in two class folders; the labels that must come out; what the notes say
BESIDE: dict[str, tuple[dict[str, Any], dict[int, int], list[str]]] = {
    "nothing": ({}, LABELS, []),
    "metadata.csv": ({"metadata.csv": CSV}, NAMED, []),
    "METADATA.CSV": ({"METADATA.CSV": CSV}, NAMED, []),
    "with a mark, \\r\\n and backslashes": (
        {"metadata.csv": "\ufeff" + CSV.replace("\n", "\r\n").replace("/", "\\")}, NAMED, [],
    ),
    "metadata.jsonl": (
        {"metadata.jsonl": "".join(
            json.dumps({"file_name": f, "label": name}) + "\n"
            for f, name in zip(CLASSES, ("eel", "ant", "eel"), strict=True)
        )}, NAMED, [],
    ),
    "metadata.parquet": (
        {"metadata.parquet": pandas.DataFrame({"file_name": CLASSES, "label": [5, 3, 5]})}, NAMED, [],
    ),
    "a table in each folder": (
        {"cat/metadata.csv": "file_name,label\n0.png,eel\n2.png,eel\n", "dog/metadata.csv": "file_name,label\n1.png,ant\n"},
        NAMED, [],
    ),
    "other columns too": ({"metadata.csv": "file_name,id,label\ncat/0.png,7,b\ndog/1.png,8,a\ncat/2.png,9,b\n"}, NAMED, []),
    "a table of half of the images": (
        {"metadata.csv": "file_name,label\ncat/0.png,eel\ndog/1.png,ant\n"}, {0: 1, 1: 0},
        ["1 file is left out (in no row of the metadata): cat/2.png"],
    ),
    "numbers and text mixed": (
        {"metadata.jsonl": "".join(
            json.dumps({"file_name": f, "label": name}) + "\n" for f, name in zip(CLASSES, ("b", 1, "b"), strict=True)
        )}, NAMED, [],
    ),
    "a row twice": ({"metadata.csv": CSV + "cat/0.png,eel\n"}, NAMED, []),
    "rows that differ in other columns": (
        {"metadata.csv": "file_name,box,label\ncat/0.png,1,b\ncat/0.png,2,b\ndog/1.png,3,a\ncat/2.png,4,b\n"}, NAMED, [],
    ),
    "a line separator within text": (
        {"metadata.jsonl": "".join(
            json.dumps({"file_name": f, "caption": "one\u2028two\x85", "label": name}, ensure_ascii=False) + "\r\n"
            for f, name in zip(CLASSES, ("eel", "ant", "eel"), strict=True)
        )}, NAMED, [],
    ),
    "rows of other files": (
        {"metadata.csv": CSV + "./cat/../notes.md,eel\n", "notes.md": "x"}, NAMED,
        ["1 file is left out (no images): notes.md",
         "1 file is left out (named in the metadata, but no images of a split): notes.md"],
    ),
    "metadata without labels": (
        {"metadata.csv": "file_name,caption\ncat/0.png,sleeps\n"}, LABELS,
        ["metadata.csv has no column of labels: the sub-folders are the classes"],
    ),
    "metadata.json, of something else": ({"metadata.json": '{"a": 1}'}, LABELS, [": metadata.json"]),
    "metadata.txt": ({"metadata.txt": "made by me"}, LABELS, [": metadata.txt"]),
    "metadata.xml in a class folder": ({"cat/metadata.xml": "<x/>"}, LABELS, [": cat/metadata.xml"]),
    "metadata.csv without file names": ({"metadata.csv": "a,b\n1,2\n"}, LABELS, [": metadata.csv"]),
    "an empty metadata.csv": ({"metadata.csv": ""}, LABELS, [": metadata.csv"]),
    "labels.csv": ({"labels.csv": CSV}, LABELS, [": labels.csv"]),
    "a json file": ({"info.json": "[1, 2]"}, LABELS, [": info.json"]),
    "a parquet file without images": ({"results.parquet": pandas.DataFrame({"x": [1]})}, LABELS, [": results.parquet"]),
    "arrays": ({"features.npz": b"PK"}, LABELS, [": features.npz"]),
}  # fmt: skip


def write(path: Path, content: str | bytes | pandas.DataFrame) -> None:
    if isinstance(content, pandas.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("beside", BESIDE)
def test_files_beside_class_folders(tmp_path: Path, beside: str) -> None:
    files, labels, notes = BESIDE[beside]
    make(tmp_path, CLASSES)
    for name, content in files.items():
        write(tmp_path / name, content)
    source = read_source(str(tmp_path))
    assert numbers(source.train) == labels
    assert len(source.notes) == len(notes), source.notes
    for note, part in zip(source.notes, notes, strict=True):
        assert part in note
    assert ("labels from" in source.description) == (labels is not LABELS)


BROKEN = {
    "a file that is not there": (
        "file_name,label\ncat/9.png,a\n",
        "metadata.csv names the file cat/9.png, which is not there",
    ),
    "two labels for one file": (
        CSV + "cat/0.png,ant\n",
        "whose metadata has two labels (column 'label') for cat/0.png: 'eel' and 'ant'",
    ),
    "a line that is too short": (CSV + "cat/0.png\n", "metadata.csv cannot be read: line 5 has not as many values"),
    "a label that is missing": (CSV.replace("dog/1.png,ant", "dog/1.png,"), "has no label in column 'label'"),
    "not UTF-8": (CSV.encode() + b"\xff\n", "metadata.csv cannot be read: 'utf-8' codec"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_metadata_that_is_refused(tmp_path: Path, what: str) -> None:
    content, piece = BROKEN[what]
    write(make(tmp_path, CLASSES) / "metadata.csv", content)
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert piece in str(caught.value)


UNUSABLE = {
    "no file_name": (
        "id,label\n0.png,a\n1.png,b\n",
        "its metadata.csv has the columns 'id', 'label', none of them file_name",
    ),
    "semicolons": (
        "file_name;label\n0.png;a\n1.png;b\n",
        "its metadata.csv has the column 'file_name;label' (commas must separate the values), none of them file_name",
    ),
    "no rows": ("file_name,label\n", "its metadata.csv has no rows"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_metadata_that_names_no_files_is_named(tmp_path: Path, what: str) -> None:
    content, piece = UNUSABLE[what]
    write(make(tmp_path, ["0.png", "1.png"]) / "metadata.csv", content)
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert "its image 0.png lies directly in it" in str(caught.value)
    assert piece in str(caught.value)


def test_images_come_in_the_order_of_their_rows(tmp_path: Path) -> None:
    make(tmp_path, [f"{k}.png" for k in range(5)])
    rows = [(3, "a"), (0, "b"), (4, "a"), (1, "b"), (2, "a")]
    write(tmp_path / "metadata.csv", "file_name,label\n" + "".join(f"{k}.png,{label}\n" for k, label in rows))
    source = read_source(str(tmp_path))
    assert source.train.images[:, 0].tolist() == [3, 0, 4, 1, 2]
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.files["train"] == ["3.png", "0.png", "4.png", "1.png", "2.png"]


def test_metadata_with_splits_and_another_column(tmp_path: Path) -> None:
    make(tmp_path, ["train/0.png", "train/1.png", "train/2.png", "test/3.png"])
    write(tmp_path / "train" / "metadata.csv", "file_name,kind\n0.png,b\n1.png,a\n2.png,b\n")
    with pytest.raises(UserError, match="no label column"):
        read_source(str(tmp_path))
    source = read_source(str(tmp_path), label_column="kind")
    assert (numbers(source.train), source.test) == ({0: 1, 1: 0, 2: 1}, None)  # the test images have no rows: no labels
    with pytest.raises(UserError, match=r"data\.label_column is 'sort', but must be a column of the metadata: kind"):
        read_source(str(tmp_path), label_column="sort")
    write(tmp_path / "test" / "metadata.csv", "file_name,kind\n3.png,c\n")
    with pytest.raises(UserError, match="the class 'c', .*; training: a, b; test: c"):
        read_source(str(tmp_path), label_column="kind")


def test_parquet_files_with_images_beside_image_files(tmp_path: Path) -> None:
    make(tmp_path, ["assets/cover.png"])
    parquet(tmp_path / "train.parquet")
    source = read_source(str(tmp_path))
    assert numbers(source.train) == {7: 0, 8: 1, 9: 0}
    assert source.notes == ("1 image files beside the tables are left out, such as assets/cover.png",)
    make(tmp_path, CLASSES)
    with pytest.raises(
        UserError, match=r"images both in files, such as assets/cover.png, and in tables, such as train\."
    ):
        read_source(str(tmp_path))


# --- tables -----------------------------------------------------------------------------------------------------------

STRUCTS = [{"bytes": png(k), "path": f"{k}.png"} for k in range(4)]
BYTES = [png(k) for k in range(4)]
COLUMNS: dict[str, tuple[dict[str, Any], tuple[str, ...], dict[int, int]]] = {
    "structs of bytes and path": (
        {"image": STRUCTS, "label": [0, 1, 0, 1]}, ("0", "1"), {0: 0, 1: 1, 2: 0, 3: 1},
    ),
    "bytes": ({"img": BYTES, "label": [1, 0, 1, 0]}, ("0", "1"), {0: 1, 1: 0, 2: 1, 3: 0}),
    "labels from 1": ({"image": BYTES, "label": [2, 1, 2, 1]}, ("1", "2"), {0: 1, 1: 0, 2: 1, 3: 0}),
    "labels with a gap": ({"image": BYTES, "Label": [0, 9, 0, 10]}, ("0", "9", "10"), {0: 0, 1: 1, 2: 0, 3: 2}),
    "labels of text": ({"image": BYTES, "class": ["dog", "cat", "dog", "cat"]}, ("cat", "dog"), {0: 1, 1: 0, 2: 1, 3: 0}),
    "numbers as text": ({"image": BYTES, "label": ["10", "9", "10", "9"]}, ("9", "10"), {0: 1, 1: 0, 2: 1, 3: 0}),
    "whole numbers as floats": ({"image": BYTES, "label": [1.0, 2.0, 1.0, 2.0]}, ("1", "2"), {0: 0, 1: 1, 2: 0, 3: 1}),
    "true and false": ({"image": BYTES, "label": [True, False, True, True]}, ("False", "True"), {0: 1, 1: 0, 2: 1, 3: 1}),
    "negative numbers": ({"image": BYTES, "label": [1, -1, 1, -1]}, ("-1", "1"), {0: 1, 1: 0, 2: 1, 3: 0}),
}  # fmt: skip


@pytest.mark.parametrize("alone", [False, True], ids=["in a folder", "alone"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_tables_of_pandas(tmp_path: Path, columns: str, alone: bool) -> None:
    table, names, labels = COLUMNS[columns]
    pandas.DataFrame(table).to_parquet(tmp_path / "train.parquet")
    source = read_source(str(tmp_path / "train.parquet" if alone else tmp_path))
    assert (source.class_names, numbers(source.train)) == (names, labels)


REFUSED_COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "floats": ({"image": BYTES, "label": [0.5, 1.5, 0.5, 1.5]}, "train labels are float64, but must be whole numbers or text"),
    "lists": ({"image": BYTES, "label": [[0], [1], [0], [1]]}, "has no label column"),
    "one that is missing": ({"image": BYTES, "label": ["a", None, "b", "a"]}, "train image 1 has no label in column 'label'"),
    "other names": ({"image": BYTES, "kind": [0, 1, 0, 1]}, "set data.label_column to a column of whole numbers or text"),
    "two that could be": (
        {"image": BYTES, "label": [0, 1, 0, 1], "class": [0, 1, 0, 1]}, "several columns that could be labels",
    ),
    "no images": ({"pixels": [1, 2, 3, 4], "label": [0, 1, 0, 1]}, "has no image column (type Image); its columns are"),
    "bytes that are no images": ({"image": [b"x"] * 4, "label": [0, 1, 0, 1]}, "train image 0 (no file name) cannot be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("columns", REFUSED_COLUMNS)
def test_tables_that_are_refused(tmp_path: Path, columns: str) -> None:
    table, piece = REFUSED_COLUMNS[columns]
    pandas.DataFrame(table).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert piece in str(caught.value)


def test_the_cause_of_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"image": 1}\n{"image": \n')
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert "cannot be read as a data set: " in str(caught.value)
    assert "An error occurred" not in str(caught.value)


def test_labels_are_the_same_in_a_table_and_in_metadata(tmp_path: Path) -> None:
    make(tmp_path, CLASSES)
    rows = "file_name,label\ncat/0.png,01\ndog/1.png,NA\ncat/2.png,01\n"
    for name in ("mine.csv", "metadata.csv"):
        write(tmp_path / name, rows)
        source = read_source(str(tmp_path / "mine.csv" if name == "mine.csv" else tmp_path))
        assert (source.class_names, numbers(source.train)) == (("01", "NA"), {0: 0, 1: 1, 2: 0})


# names of tables; the numbers of the images of the training, validation and test split; what the note says
TABLES: dict[str, tuple[list[str], list[list[int] | None], str]] = {
    "Train and Test": (["Train.parquet", "Test.parquet"], [[0], None, [1]], ""),
    "trainset and testset": (["trainset.parquet", "testset.parquet"], [[0], None, [1]], ""),
    "capitals": (["train.parquet", "TEST.PARQUET"], [[0], None, [1]], ""),
    "camelCase": (["mnistTrain.parquet", "mnistTest.parquet"], [[0], None, [1]], ""),
    "three": (["Training.parquet", "Dev.parquet", "Eval.parquet"], [[0], [1], [2]], ""),
    "shards": (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet",
        "test-00000-of-00001.parquet"], [[0, 1], None, [2]], ""),
    "shards with a hash": (
        ["data/train-00000-of-00002-a09bef12.parquet", "data/train-00001-of-00002-77ccb3.parquet", "data/test.parquet"],
        [[0, 1], None, [2]], "",
    ),
    "folders": (["Train/0000.parquet", "Train/0001.parquet", "Test/0000.parquet"], [[0, 1], None, [2]], ""),
    "parts": (["train_a.parquet", "train_b.parquet"], [[0, 1], None, None], ""),
    "no splits": (["a.parquet", "b.parquet"], [[0, 1], None, None], ""),
    "another": (["Train.parquet", "extra.parquet"], [[0], None, None], "1 file is left out (beside the tables of the splits"),
    "val and dev": (["train.parquet", "val.parquet", "dev.parquet"], [[0], [1], None], "dev.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("layout", TABLES)
def test_names_of_tables_tell_the_splits(tmp_path: Path, layout: str, kind: str) -> None:
    names, splits, note = TABLES[layout]
    for number, name in enumerate(names):
        table = tmp_path / name.replace("parquet", kind).replace("PARQUET", kind.upper())
        table.parent.mkdir(exist_ok=True)
        image = STRUCTS[number] if kind == "parquet" else str(tmp_path / ".images" / f"{number}.png")
        rows = pandas.DataFrame({"image" if kind == "parquet" else "file_name": [image] * 2, "label": [0, 1]})
        if kind == "parquet":
            rows.to_parquet(table)
        elif kind == "jsonl":
            rows.to_json(table, orient="records", lines=True)
        else:
            rows.to_csv(table, index=False)
        (tmp_path / ".images").mkdir(exist_ok=True)
        (tmp_path / ".images" / f"{number}.png").write_bytes(BYTES[number])
    source = read_source(str(tmp_path))
    found = [
        None if s is None else sorted(set(s.images[:, 0].tolist()))
        for s in (source.train, source.validation, source.test)
    ]
    assert found == splits
    assert len(source.notes) == bool(note)
    assert note.replace(".parquet", f".{kind}") in "".join(source.notes)


# labels as they come; the order of the images that must come out, so that the last sixth, which validates, has every class
ORDERS: dict[str, tuple[list[Any], list[int]]] = {
    "ascending": ([0, 0, 0, 0, 1, 1], [0, 4, 1, 2, 5, 3]),
    "ascending with a gap": ([3, 3, 3, 3, 7, 7], [0, 4, 1, 2, 5, 3]),
    "descending": ([1, 1, 1, 1, 0, 0], [0, 4, 1, 2, 5, 3]),
    "text, not in the order of text": (["dog"] * 4 + ["cat"] * 2, [0, 4, 1, 2, 5, 3]),
    "three": (["b", "b", "c", "c", "a", "a"], [0, 2, 4, 1, 3, 5]),
    "mixed already": ([1, 1, 0, 1, 0, 0], [0, 1, 2, 3, 4, 5]),
    "a class in two runs": ([1, 1, 0, 0, 1, 1], [0, 1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize("labels", ORDERS)
def test_images_grouped_by_class_are_interleaved(tmp_path: Path, labels: str) -> None:
    given, order = ORDERS[labels]
    pandas.DataFrame({"image": [png(k) for k in range(6)], "label": given}).to_parquet(tmp_path / "train.parquet")
    source = read_source(str(tmp_path / "train.parquet"))
    assert source.train.images[:, 0].tolist() == order
    assert source.class_names is not None
    assert source.train.labels is not None
    assert [source.class_names[k] for k in source.train.labels.tolist()] == [str(given[k]) for k in order]
    assert ("interleaved" in source.description) == (order != list(range(6)))


def test_a_readme_that_declares_the_splits_decides(tmp_path: Path) -> None:
    for number, name in enumerate(["a.parquet", "b.parquet"]):
        pandas.DataFrame({"image": [STRUCTS[number]] * 2, "label": [0, 1]}).to_parquet(tmp_path / name)
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: b.parquet\n"
        "  - split: test\n    path: a.parquet\n---\n"
    )
    source = read_source(str(tmp_path))
    assert numbers(source.train) == {1: 1}
    assert source.test is not None
    assert source.test.images[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("alone", [False, True], ids=["in a folder", "alone"])
def test_a_table_larger_than_the_memory_limit_stays_on_the_disk(
    tmp_path: Path, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []
    load = datasets.load_dataset

    def watched(*given: Any, **named: Any) -> Any:
        kept.append(named["keep_in_memory"])
        return load(*given, **named)

    monkeypatch.setattr(datasets, "load_dataset", watched)
    pandas.DataFrame({"image": BYTES, "label": [0, 1, 0, 1]}).to_parquet(tmp_path / "train.parquet")
    source = tmp_path / "train.parquet" if alone else tmp_path
    size = (tmp_path / "train.parquet").stat().st_size
    assert numbers(read_source(str(source), limit=size).train) == numbers(
        read_source(str(source), limit=size - 1).train
    )
    assert kept == [True, False]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_table_that_names_files(tmp_path: Path, ending: str) -> None:
    make(tmp_path, CLASSES)
    rows = pandas.DataFrame({"file_name": CLASSES, "label": ["eel", "ant", "eel"]})
    table = tmp_path / f"mine.{ending}"
    if ending == "csv":
        rows.to_csv(table, index=False)
    else:
        rows.to_json(table, orient="records", lines=True)
    source = read_source(str(table))
    assert numbers(source.train) == NAMED
    assert source.files["train"] == CLASSES


def test_splits_of_a_data_set_in_any_spelling_and_those_left_out(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    split = datasets.Dataset.from_dict({"image": STRUCTS, "label": [3, 4, 3, 4]}, features=features)
    other = {"Training": split, "dev": split, "eval": split, "extra": split}
    datasets.DatasetDict(other).save_to_disk(str(tmp_path / "set"))
    source = read_source(str(tmp_path / "set"))
    expected = {0: 0, 1: 1, 2: 0, 3: 1}
    assert [numbers(s) for s in (source.train, source.validation, source.test)] == [expected] * 3
    assert source.notes == ("the splits extra are left out",)


@pytest.mark.parametrize("labels", [[-1] * 4, [None] * 4])
def test_a_test_split_without_labels(tmp_path: Path, labels: list[Any]) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    train, test = (
        datasets.Dataset.from_dict({"image": STRUCTS, "label": values}, features=features)
        for values in ([0, 1, 0, 1], labels)
    )
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "set"))
    source = read_source(str(tmp_path / "set"))
    assert (source.test, source.notes) == (None, ("the test images have no labels: they are for prediction only",))
    data = ImageDataModule(str(tmp_path / "set"))
    data.setup("predict")
    assert len(data.predict_images) == 4


def test_splits_that_declare_their_classes_in_another_order(tmp_path: Path) -> None:
    def split(names: list[str], labels: list[str]) -> datasets.Dataset:
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        return datasets.Dataset.from_dict({"image": STRUCTS[: len(labels)], "label": labels}, features=features)

    train = split(["cat", "dog", "eel"], ["cat", "dog", "cat"])
    both = datasets.DatasetDict({"train": train, "test": split(["dog", "cat"], ["dog", "cat"])})
    both.save_to_disk(str(tmp_path / "set"))
    source = read_source(str(tmp_path / "set"))
    assert source.class_names == ("cat", "dog", "eel")  # declared, though no image is an eel
    assert numbers(source.test) == {0: 1, 1: 0}
    datasets.DatasetDict({"train": train, "test": split(["ant"], ["ant"])}).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(UserError, match="the class 'ant', .*; training: cat, dog, eel; test: ant"):
        read_source(str(tmp_path / "other"))


def test_whole_numbers_are_indexes_into_declared_classes(tmp_path: Path) -> None:
    names = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])})
    plain = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    train = datasets.Dataset.from_dict({"image": STRUCTS, "label": [0, 1, 0, 1]}, features=names)
    for name, labels in (("set", [1, 0, 1, 1]), ("other", [1, 0, 1, 2])):
        test = datasets.Dataset.from_dict({"image": STRUCTS, "label": labels}, features=plain)
        datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / name))
    source = read_source(str(tmp_path / "set"))
    assert source.class_names == ("dog", "cat")
    assert numbers(source.test) == {0: 1, 1: 0, 2: 1, 3: 1}
    with pytest.raises(UserError, match=r"test split has the label 2, but labels must lie in 0\.\.1"):
        read_source(str(tmp_path / "other"))


# --- arrays -----------------------------------------------------------------------------------------------------------

GREY = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)  # 4 images of 2x3
COLOUR = np.arange(4 * 18, dtype=np.uint8).reshape(4, 2, 3, 3)
BINARY = GREY % 2
FOUR = np.array([0, 1, 0, 1])
Arrays = dict[str, Any]
ARRAYS: dict[str, tuple[Arrays, np.ndarray, tuple[int, ...]]] = {
    "images and labels": ({"images": GREY, "labels": FOUR}, GREY, (2, 3)),
    "x and y": ({"x": GREY, "y": FOUR}, GREY, (2, 3)),
    "MedMNIST": (
        {f"{s}_{c}": a for s in ("train", "val", "test") for c, a in (("images", GREY), ("labels", FOUR[:, None]))},
        GREY, (2, 3),
    ),
    "Keras": ({"x_train": GREY, "y_train": FOUR, "x_test": GREY, "y_test": FOUR}, GREY, (2, 3)),
    "colour": ({"images": COLOUR, "labels": FOUR}, COLOUR, (2, 3, 3)),
    "one channel": ({"images": GREY[..., None], "labels": FOUR}, GREY, (2, 3)),
    "channels first": ({"images": COLOUR.transpose(0, 3, 1, 2).repeat(2, 3), "labels": FOUR}, COLOUR.repeat(2, 2), (2, 6, 3)),
    "one channel first": ({"images": GREY[:, None].repeat(2, 3), "labels": FOUR}, GREY.repeat(2, 2), (2, 6)),
    "floats from 0 to 1": ({"images": GREY / 255, "labels": FOUR}, GREY, (2, 3)),
    "float32 from 0 to 1": ({"images": (GREY / 255).astype(np.float32), "labels": FOUR}, GREY, (2, 3)),
    "whole floats from 0 to 255": ({"images": GREY.astype(float), "labels": FOUR}, GREY, (2, 3)),
    "int64": ({"images": GREY.astype(np.int64), "labels": FOUR}, GREY, (2, 3)),
    "big-endian": ({"images": GREY.astype(">i4"), "labels": FOUR}, GREY, (2, 3)),
    "true and false": ({"images": BINARY.astype(bool), "labels": FOUR}, BINARY * 255, (2, 3)),
    "whole numbers 0 and 1": ({"images": BINARY.astype(np.int64), "labels": FOUR}, BINARY * 255, (2, 3)),
    "bytes 0 and 1": ({"images": BINARY, "labels": FOUR}, BINARY * 255, (2, 3)),
    "int8, 0 and 1": ({"images": BINARY.astype(np.int8), "labels": FOUR}, BINARY * 255, (2, 3)),
    "0 and 1 in the test split only": (
        {"train_images": GREY, "train_labels": FOUR, "test_images": BINARY, "test_labels": FOUR}, GREY, (2, 3),
    ),
    "Fortran's order": ({"images": np.asfortranarray(GREY), "labels": FOUR}, GREY, (2, 3)),
    "labels of text": ({"images": GREY, "labels": np.array(["b", "c", "b", "c"])}, GREY, (2, 3)),
    "one image less in the validation split": (
        {"train_images": GREY, "train_labels": FOUR, "val_images": GREY[:3], "val_labels": FOUR[:3]}, GREY, (2, 3),
    ),
    "other arrays too": ({"images": GREY, "labels": FOUR, "ids": np.arange(4)}, GREY, (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("limit", [np.inf, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("arrays", ARRAYS)
def test_arrays(tmp_path: Path, arrays: str, limit: float) -> None:
    given, pixels, shape = ARRAYS[arrays]
    np.savez(tmp_path / "set.npz", **given)
    source = read_source(str(tmp_path / "set.npz"), limit=limit)
    assert isinstance(source.train.images, MappedImages if limit == 0 else torch.Tensor)
    assert source.train.images[:].tolist() == pixels.reshape(4, -1).tolist()
    assert source.image_shape == shape
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0, 1, 0, 1]
    assert (source.test is not None) == any("test" in name for name in given)
    assert (source.validation is not None) == any("val" in name for name in given)


REFUSED_ARRAYS: dict[str, tuple[Arrays, str]] = {
    "no images": ({"a": GREY}, "has no array of images; it must have images and labels, or train_images,"),
    "no labels": ({"images": GREY}, "has images, but no array of labels for them; it has images"),
    "test images only": ({"test_images": GREY, "test_labels": FOUR}, "has no array of training images"),
    "rows": ({"images": GREY.reshape(4, 6), "labels": FOUR}, "array images has the shape (4, 6), but must have (N, height,"),
    "four channels": ({"images": np.zeros((4, 5, 5, 4), np.uint8), "labels": FOUR}, "has the shape (4, 5, 5, 4)"),
    "no image": ({"images": GREY[:0], "labels": FOUR[:0]}, "has the shape (0, 2, 3)"),
    "negative": ({"images": GREY - 1.0, "labels": FOUR}, "has values from -1 to 22, but must have bytes, numbers from 0 to 1"),
    "normalised": ({"images": GREY / 7.3, "labels": FOUR}, "undo a normalisation first"),
    "NaN": ({"images": np.full((4, 2, 3), np.nan), "labels": FOUR}, "has values that are not finite"),
    "16 bits": ({"images": GREY.astype(np.uint16) * 99, "labels": FOUR}, "has values from 0 to 2277"),
    "text": ({"images": GREY.astype(str), "labels": FOUR}, "has values of the type <U3, but must have numbers"),
    "objects": ({"images": GREY.astype(object), "labels": FOUR}, "holds Python objects, which could run code"),
    "objects as labels": ({"images": GREY, "labels": FOUR.astype(object)}, "whose labels cannot be read ("),
    "too few labels": ({"images": GREY, "labels": FOUR[:3]}, "labels has the shape (3,), but must have one label for each"),
    "one-hot": ({"images": GREY, "labels": np.eye(4)}, "labels has the shape (4, 4), but must have one label for each"),
    "fractions as labels": ({"images": GREY, "labels": FOUR / 2}, "train labels are float64, but must be whole numbers"),
    "two sizes": (
        {"train_images": GREY, "train_labels": FOUR, "test_images": COLOUR[..., 0].repeat(2, 1), "test_labels": FOUR},
        "differ in size between the splits: 2x3 and 4x3",
    ),
    "a class of the test split only": (
        {"train_images": GREY, "train_labels": FOUR, "test_images": GREY, "test_labels": FOUR + 1},
        "the class '2', which its training split does not have; training: 0, 1; test: 1, 2",
    ),
    "two arrays of images": ({"images": GREY, "x": GREY, "labels": FOUR}, "two arrays of train images, images and x"),
}  # fmt: skip


@pytest.mark.parametrize("arrays", REFUSED_ARRAYS)
def test_arrays_that_are_refused(tmp_path: Path, arrays: str) -> None:
    given, piece = REFUSED_ARRAYS[arrays]
    np.savez(tmp_path / "set.npz", **given)
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path / "set.npz"))
    assert piece in str(caught.value)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "text": lambda data: b"not an archive",
    "cut": lambda data: data[:-60],
    "a flipped bit": lambda data: data[:400] + bytes([data[400] ^ 1]) + data[401:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays(tmp_path: Path, damage: str) -> None:
    np.savez(tmp_path / "set.npz", images=GREY.repeat(50, 1), labels=FOUR)
    (tmp_path / "set.npz").write_bytes(DAMAGE[damage]((tmp_path / "set.npz").read_bytes()))
    with pytest.raises(UserError, match=r"data\.source is .*set\.npz', whose .* cannot be read \("):
        read_source(str(tmp_path / "set.npz"))


def test_a_header_that_promises_petabytes(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1000, 1000)})
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", file.getvalue() + b"123")
        archive.writestr("labels.npy", file.getvalue())
    with pytest.raises(UserError, match="cannot be read"):
        read_source(str(tmp_path / "set.npz"), require_labels=False)


def test_a_folder_of_npy_files_and_one_with_an_archive(tmp_path: Path) -> None:
    for name, array in (("train_images", GREY), ("train_labels", FOUR)):
        np.save(tmp_path / f"{name}.npy", array)
    assert numbers(read_source(str(tmp_path)).train) == {0: 0, 6: 1, 12: 0, 18: 1}
    np.savez(tmp_path / "set.npz", images=GREY, labels=FOUR)
    with pytest.raises(UserError, match=r"several sets of arrays, set\.npz among them; give one file"):
        read_source(str(tmp_path))
    (tmp_path / "train_images.npy").unlink()
    (tmp_path / "train_labels.npy").unlink()
    assert numbers(read_source(str(tmp_path)).train) == {0: 0, 6: 1, 12: 0, 18: 1}


def test_black_and_white_of_0_and_1_is_told(tmp_path: Path) -> None:
    for kind, told in ((np.uint8, True), (np.int32, True), (bool, False), (float, False)):
        np.savez(tmp_path / "set.npz", images=BINARY.astype(kind), labels=FOUR)
        notes = read_source(str(tmp_path / "set.npz")).notes
        assert any("0 is read as black and 1 as white (255)" in note for note in notes) == told


def test_kmnist_has_an_archive_for_each_array(tmp_path: Path) -> None:
    for split, images in (("train", GREY), ("test", GREY + 100)):
        np.savez(tmp_path / f"kmnist-{split}-imgs.npz", images)
        np.savez(tmp_path / f"kmnist-{split}-labels.npz", FOUR)
    (tmp_path / "kmnist_classmap.csv").write_text("index,char\n0,o\n")
    source = read_source(str(tmp_path))
    assert numbers(source.train) == {0: 0, 6: 1, 12: 0, 18: 1}
    assert numbers(source.test) == {100: 0, 106: 1, 112: 0, 118: 1}


def test_channels_first_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 3, 8, 8), np.uint8), labels=FOUR[:2])
    source = read_source(str(tmp_path / "set.npz"))
    assert source.image_shape == (8, 8, 3)
    assert source.notes[0] == "images has its channels first, and is read so"
