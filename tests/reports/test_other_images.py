"""Kind 12, testing on other data than the training's: which images of another source validate or test a net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from making import CLASSES, TRAIN, image_files, write_idx_folder
from PIL import Image

from ffrecur.data import DriftDataModule, ImageDataModule
from ffrecur.data.mapped import MappedImages
from ffrecur.errors import UserError

TWELVE = [f"{'abc'[k % 3]}/{k}.png" for k in range(12)]

# files; the stage; the numbers of the images that are used; what the log says
SOURCES: dict[str, tuple[list[str], str, list[int], str]] = {
    "no test split: all of them": (TWELVE, "test", list(range(12)), "12 test images (all of them, for there is no test split)"),
    "no validation split: all of them": (
        TWELVE, "validate", list(range(12)), "12 validation images (all of them, for there is no validation split)",
    ),
    "a test split": ([*TRAIN, "test/cat/3.png"], "test", [3], "1 test images (the source's own test split)"),
    "a validation split too": ([*TRAIN, "val/dog/3.png", "test/cat/4.png"], "test", [4], "own test split"),
    "a validation split": ([*TRAIN, "val/dog/3.png"], "validate", [3], "own validation split"),
    "training and validation, no test": ([*TRAIN, "val/dog/3.png"], "test", [0, 1, 2, 3], "4 test images (all of them"),
    "a test split, to validate with": (
        [*TRAIN, "test/dog/3.png"], "validate", [0, 1, 2, 3], "4 validation images (all of them, for there is no",
    ),
    "one class": (["cat/0.png", "cat/1.png"], "test", [0, 1], "2 test images"),
    "one image": (["cat/0.png"], "test", [0], "1 test images"),
    "a class that only its test split has": ([*TRAIN, "test/eel/3.png"], "test", [3], "own test split"),
    "only a test split": (["test/cat/0.png", "test/dog/1.png"], "test", [0, 1], "2 test images"),
    "only a validation split": (["val/cat/0.png", "val/dog/1.png"], "test", [0, 1], "2 test images"),
}  # fmt: skip


def other(folder: Path, **settings: Any) -> ImageDataModule:
    data = ImageDataModule(str(folder), **settings)
    data.other_source = True
    return data


@pytest.mark.parametrize("limit", [4096, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("what", SOURCES)
def test_which_images_are_used(tmp_path: Path, what: str, limit: int, messages: pytest.LogCaptureFixture) -> None:
    files, stage, expected, said = SOURCES[what]
    image_files(tmp_path, files)
    data = other(tmp_path, memory_limit=limit, validation_size=5000, split_seed=3)  # the training's, of no concern here
    data.setup(stage)
    data.setup(stage)
    images = data.test_set if stage == "test" else data.validation_set
    assert images is not None
    assert isinstance(images.images, MappedImages) == (limit == 0)
    found = images.images[:][:, 0].tolist()
    assert sorted(found) == expected
    assert images.labels is not None
    assert data.class_names is not None
    names = [data.class_names[label] for label in images.labels.tolist()]
    assert names == [Path(files[number]).parent.name for number in found]
    assert (data.train_set, data.test_set if stage == "validate" else data.validation_set) == (None, None)
    [line] = [message for message in messages.messages if "another source than the training's" in message]
    assert said in line


def test_the_loader_gives_them_all(tmp_path: Path) -> None:
    data = other(image_files(tmp_path, TWELVE), evaluation_batch_size=5)
    data.setup("test")
    assert [len(labels) for _, labels in data.test_dataloader()] == [5, 5, 2]


def test_without_the_attribute_a_sixth_tests(tmp_path: Path) -> None:
    data = ImageDataModule(str(image_files(tmp_path, TWELVE)))
    data.setup("test")
    assert data.test_set is not None
    assert len(data.test_set.images) == 2


def test_labels_are_those_of_the_net(tmp_path: Path) -> None:
    data = other(image_files(tmp_path, CLASSES))
    data.setup("test")
    data.match_classes(("ant", "dog", "cat"), 3)
    assert data.test_set is not None
    assert data.test_set.labels is not None
    assert data.test_set.labels.tolist() == [2, 2, 1]  # in the order of the paths
    fresh = other(tmp_path)
    fresh.setup("test")
    with pytest.raises(UserError, match="the class 'dog', which the net does not know"):
        fresh.match_classes(("cat", "eel"), 2)


@pytest.mark.parametrize("place", ["", "test/"])
def test_a_class_of_the_net_is_no_wrapper_folder(tmp_path: Path, place: str) -> None:
    image_files(tmp_path, [f"{place}cat/persian/0.png", f"{place}cat/siam/1.png"])
    data = other(tmp_path)
    data.net_classes = ("ant", "cat")
    data.setup("test")
    data.match_classes(("ant", "cat"), 2)
    assert data.test_set is not None
    assert data.test_set.labels is not None
    assert data.test_set.labels.tolist() == [1, 1]


def test_classes_without_an_image_in_what_is_tested_do_not_matter(tmp_path: Path) -> None:
    data = other(image_files(tmp_path, ["train/cat/0.png", "train/eel/1.png", "test/cat/2.png"]))
    data.setup("test")
    data.match_classes(("ant", "cat"), 2)
    assert data.test_set is not None
    assert data.test_set.labels is not None
    assert data.test_set.labels.tolist() == [1]


@pytest.mark.parametrize("kept", ["train", "t10k"])
def test_idx_files_of_one_split(tmp_path: Path, kept: str) -> None:
    for path in list(write_idx_folder(tmp_path).iterdir()):
        if kept not in path.name:
            path.unlink()
    data = other(tmp_path)
    data.setup("test")
    assert data.test_set is not None
    assert len(data.test_set.images) == (12 if kept == "train" else 6)


def test_the_bundled_digits_have_a_test_split(tmp_path: Path) -> None:
    data = other("bundled")  # type: ignore[arg-type]
    data.setup("test")
    assert data.test_set is not None
    assert len(data.test_set.images) == 500


def test_videos(tmp_path: Path) -> None:
    data = DriftDataModule(str(image_files(tmp_path, TWELVE)), frames=3)
    data.other_source = True
    data.setup("test")
    assert data.test_set is not None
    assert tuple(data.test_set.images.shape) == (12, 3, 4)


def test_prediction_is_as_it_was(tmp_path: Path) -> None:
    data = other(image_files(tmp_path, [*TRAIN, "test/3.png"]))
    data.setup("predict")
    assert data.predict_images[:, 0].tolist() == [3]
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("L", (2, 2), 7).save(flat / "1.png")
    data = other(flat)
    data.setup("predict")
    assert data.predict_images[:, 0].tolist() == [7]
    with pytest.raises(UserError, match="no label column"):
        data.setup("test")
