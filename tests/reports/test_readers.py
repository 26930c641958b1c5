"""Kind 9, another reader is chosen by chance: what a folder or file is taken for, with what must come out; tables."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from making import CLASSES, LABELS, image_files, numbers
from PIL import Image

from ffrecur.data import ImageDataModule
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
    image_files(tmp_path, CLASSES)
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
    write(image_files(tmp_path, CLASSES) / "metadata.csv", content)
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
    write(image_files(tmp_path, ["0.png", "1.png"]) / "metadata.csv", content)
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert "its image 0.png lies directly in it" in str(caught.value)
    assert piece in str(caught.value)


def test_images_come_in_the_order_of_their_rows(tmp_path: Path) -> None:
    image_files(tmp_path, [f"{k}.png" for k in range(5)])
    rows = [(3, "a"), (0, "b"), (4, "a"), (1, "b"), (2, "a")]
    write(tmp_path / "metadata.csv", "file_name,label\n" + "".join(f"{k}.png,{label}\n" for k, label in rows))
    source = read_source(str(tmp_path))
    assert source.train.images[:, 0].tolist() == [3, 0, 4, 1, 2]
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.files["train"] == ["3.png", "0.png", "4.png", "1.png", "2.png"]


def test_metadata_with_splits_and_another_column(tmp_path: Path) -> None:
    image_files(tmp_path, ["train/0.png", "train/1.png", "train/2.png", "test/3.png"])
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
    image_files(tmp_path, ["assets/cover.png"])
    parquet(tmp_path / "train.parquet")
    source = read_source(str(tmp_path))
    assert numbers(source.train) == {7: 0, 8: 1, 9: 0}
    assert source.notes == ("1 image files beside the tables are left out, such as assets/cover.png",)
    image_files(tmp_path, CLASSES)
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
    image_files(tmp_path, CLASSES)
    rows = "file_name,label\ncat/0.png,01\ndog/1.png,NA\ncat/2.png,01\n"
    for name in ("mine.csv", "metadata.csv"):
        write(tmp_path / name, rows)
        source = read_source(str(tmp_path / "mine.csv" if name == "mine.csv" else tmp_path))
        assert (source.class_names, numbers(source.train)) == (("01", "NA"), {0: 0, 1: 1, 2: 0})


def test_words_in_a_csv_file_are_text(tmp_path: Path) -> None:
    """Pandas alone takes None and NA for labels that are missing."""
    image_files(tmp_path / ".images", ["0.png", "1.png"])
    write(tmp_path / "mine.csv", "path,label\n.images/0.png,None\n.images/1.png,NA\n")
    source = read_source(str(tmp_path / "mine.csv"), image_column="path")
    assert (source.class_names, numbers(source.train)) == (("NA", "None"), {0: 1, 1: 0})


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
    "a test split alone": (["test.parquet"], [[0], None, None], "its only split is test, which trains"),
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
def test_a_path_of_any_characters(tmp_path: Path, alone: bool) -> None:
    folder = tmp_path / "set [1] * ?"
    folder.mkdir()
    pandas.DataFrame({"image": BYTES, "label": [0, 1, 0, 1]}).to_parquet(folder / "Train.parquet")
    source = read_source(str(folder / "Train.parquet" if alone else folder))
    assert numbers(source.train) == {0: 0, 1: 1, 2: 0, 3: 1}


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
    image_files(tmp_path, CLASSES)
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
