"""Kind 9, arrays: what `.npz` and `.npy` files are read as, and those that are refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import numbers

from ffrecur.data.mapped import MappedImages
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError

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
    "names of the labels": ({"images": GREY, "labels": FOUR, "label_names": np.array(["b", "c"])}, GREY, (2, 3)),
    "rounded beyond 1": ({"images": GREY.astype(np.float32) / 23 * np.float32(1.0000001), "labels": FOUR},
        np.rint(GREY / 23 * 255), (2, 3)),
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
    "objects as labels": ({"images": GREY, "labels": FOUR.astype(object)}, "whose labels are Python objects"),
    "too few labels": ({"images": GREY, "labels": FOUR[:3]}, "labels has the shape (3,), but must have one label for each"),
    "one-hot": ({"images": GREY, "labels": np.eye(4)}, "labels has the shape (4, 4), but must have one label for each"),
    "infinite labels": ({"images": GREY, "labels": np.where(FOUR, np.inf, 0)}, "train labels are float64, but must be whole"),
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


FINE: Arrays = {
    "data": GREY,
    "fine_labels": FOUR,
    "coarse_labels": FOUR // 2,
    "val_data": GREY[:2],
    "val_fine_labels": FOUR[:2],
}


def test_settings_choose_among_the_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **FINE)
    source = read_source(str(tmp_path / "set.npz"), "data", "fine_labels")
    assert source.validation is not None
    assert numbers(source.train) == {0: 0, 6: 1, 12: 0, 18: 1}
    assert numbers(source.validation) == {0: 0, 6: 1}
    with pytest.raises(
        UserError, match=r"two arrays of train labels, coarse_labels and fine_labels, .*label_column names"
    ):
        read_source(str(tmp_path / "set.npz"), "data")
    with pytest.raises(
        UserError, match=r"^data\.image_column is 'pixels', but must be one of the arrays of .*: data, fine"
    ):
        read_source(str(tmp_path / "set.npz"), "pixels", "fine_labels")
    (tmp_path / "._set.npz").write_bytes(b"left by an archive of macOS")
    assert len(read_source(str(tmp_path), "data", "fine_labels").train.images) == 4


@pytest.mark.parametrize("setting", ["image_column", "label_column"])
def test_settings_for_columns_are_refused_where_there_are_none(setting: str) -> None:
    settings: dict[str, Any] = {setting: "kind"}
    with pytest.raises(
        UserError, match=rf"^data\.{setting} is 'kind', but must be left out, since 'bundled' has no columns"
    ):
        read_source("bundled", **settings)


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
