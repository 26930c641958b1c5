"""IDX files: what is read, which file is taken, and every way a file can be broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from making import idx_bytes, write_idx_folder

from ffrecur.data.idx import read_idx
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError


def message(source: Path, **settings: bool) -> str:
    with pytest.raises(UserError) as caught:
        read_source(str(source), **settings)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("data.source ")
    return text


@pytest.mark.parametrize("naming", ["{}", "fashion-{}", "{}.gz", "dotted"])
def test_names_plain_gzipped_prefixed_and_dotted(tmp_path: Path, naming: str) -> None:
    for path in sorted(write_idx_folder(tmp_path).iterdir()):
        data = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", ".idx") if naming == "dotted" else naming.format(path.name)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    source = read_source(str(tmp_path))
    assert source.train.images.dtype == torch.uint8
    assert source.train.images.shape == (12, 12)
    assert source.train.images[5].tolist() == list(range(5, 17))  # row after row
    assert source.train.labels is not None
    assert source.train.labels.dtype == torch.int64
    assert source.train.labels.tolist() == [k % 3 for k in range(12)]
    assert source.test is not None
    assert source.test.images.shape == (6, 12)
    assert (source.image_shape, source.num_classes, source.validation) == ((3, 4), 3, None)
    assert source.description == f"IDX files in {tmp_path}: 12 training + 6 test images of 3x4, 3 classes"


def test_test_prefix_is_taken_as_well_as_t10k(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    for path in list(tmp_path.glob("t10k*")):
        path.rename(tmp_path / path.name.replace("t10k", "test"))
    test = read_source(str(tmp_path)).test
    assert test is not None
    assert len(test.images) == 6


def test_the_plain_file_wins_over_the_gzipped_one(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"never opened")
    assert read_source(str(tmp_path)).num_classes == 3


def test_two_files_for_one_place_are_refused(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "letters-train-images-idx3-ubyte").write_bytes(b"")
    assert "two files of train images" in message(tmp_path)


BROKEN = {
    "ends too soon": (lambda data: data[:-1], "truncated"),
    "has too much": (lambda data: data + b"\0", "header promises 12 x 3 x 4 = 144 bytes, but it holds 145"),
    "promises petabytes": (
        lambda data: data[:4] + b"\xff" * 12 + data[16:],
        "79,228,162,458,924,105,385,300,197,375 bytes",
    ),
    "ends in the header": (lambda data: data[:9], "ends within its header"),
    "is nothing": (lambda data: b"", "starts with nothing"),
    "is of another type": (lambda data: b"\0\0\x0d\x03" + data[4:], "must start with 00 00 08 03"),
    "has other dimensions": (lambda data: b"\0\0\x08\x01" + data[4:], "starts with 00 00 08 01"),
    "is text": (lambda data: b"<html>not found</html>", "starts with 3c 68 74 6d"),
    "has no images": (lambda data: idx_bytes(np.zeros((0, 3, 4))), "is empty: its sizes are 0 x 3 x 4"),
    "has images without pixels": (lambda data: idx_bytes(np.zeros((5, 0, 4))), "is empty"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, what: str, zipped: bool) -> None:
    damage, expected = BROKEN[what]
    path = write_idx_folder(tmp_path) / "train-images-idx3-ubyte"
    data = damage(path.read_bytes())
    if zipped:
        path.unlink()
        path = path.with_name(path.name + ".gz")
    path.write_bytes(gzip.compress(data) if zipped else data)
    text = message(tmp_path)
    assert path.name in text
    # A gzipped file is not unpacked farther than its header promises.
    assert (expected.replace("holds 145", "holds at least 145") if zipped else expected) in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:-3],
        lambda data: data[:12] + bytes([data[12] ^ 0xFF]) + data[13:],
        lambda data: data[:-8] + bytes(8),  # a wrong checksum and size
        lambda data: b"not gzip at all",
        lambda data: data[:5],
    ],
)
def test_a_broken_gzip_file_is_named(tmp_path: Path, damage) -> None:
    path = write_idx_folder(tmp_path) / "train-images-idx3-ubyte"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(damage(packed))
    text = message(tmp_path)
    assert "train-images-idx3-ubyte.gz, which is truncated, corrupt or not readable" in text


def test_image_and_label_counts_that_differ(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(11) % 3))
    assert "12 train images, but 11 labels" in message(tmp_path)


def test_missing_labels_and_missing_training_images(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "no file *-labels-idx1-ubyte" in message(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    assert "no file *train-images-idx3-ubyte" in message(tmp_path)


def test_a_test_label_that_training_does_not_know(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2, 3, 0, 1])))
    text = message(tmp_path)
    assert "test split has the class '3', which its training split does not have" in text
    assert "training: 0, 1, 2; test: 0, 1, 2, 3" in text


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(idx_bytes(np.zeros(12 if "train" in name else 6)))
    assert "one class only" in message(tmp_path)


def test_training_and_test_images_of_different_sizes(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((6, 5, 4))))
    text = message(tmp_path)
    assert "3x4 and 5x4" in text


@pytest.mark.parametrize("kept", ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"])
def test_images_alone_will_do_for_prediction(tmp_path: Path, kept: str) -> None:
    write_idx_folder(tmp_path)
    for path in list(tmp_path.iterdir()):
        if path.name != kept:
            path.unlink()
    source = read_source(str(tmp_path), require_labels=False)
    assert len(source.train.images) == (12 if "train" in kept else 6)
    assert (source.train.labels, source.test, source.num_classes) == (None, None, None)


def test_images_sorted_by_class_are_interleaved(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.repeat([0, 1, 2], 4)))
    source = read_source(str(tmp_path))
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0, 1, 2] * 4
    assert source.train.images[:, 0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]  # the images moved along
    assert "sorted by class" in source.description


def test_the_array_can_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(np.arange(3)))
    array = read_idx(path, 1)
    array += 1
    assert array.tolist() == [1, 2, 3]
