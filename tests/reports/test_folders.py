"""Kind 8, all or nothing for a folder, without the culprit: what people's folders look like, and what must come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from making import CLASSES, LABELS, TRAIN, idx_bytes, image_files, numbers, write_idx_folder
from PIL import Image

from ffrecur.data import ImageDataModule
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError

# files; labels of the training images, of the validation images, of the test images; what the notes say
LAYOUTS = {
    "classes": (CLASSES, LABELS, None, None, []),
    "splits": ([*TRAIN, "val/dog/3.png", "test/dog/4.png"], LABELS, {3: 1}, {4: 1}, []),
    "other letter case": (["Train/cat/0.png", "TRAIN/../Train/dog/1.png", "Test/dog/2.png"], {0: 0, 1: 1}, None, {2: 1}, []),
    "training and testing": (["training/a/0.png", "training/b/1.png", "testing/b/2.png"], {0: 0, 1: 1}, None, {2: 1}, []),
    "dev and eval": (
        ["train/a/0.png", "train/b/1.png", "dev/b/2.png", "eval/a/3.png"], {0: 0, 1: 1}, {2: 1}, {3: 0}, [],
    ),
    "validation": (["train/a/0.png", "train/b/1.png", "Validation/b/2.png"], {0: 0, 1: 1}, {2: 1}, None, []),
    "valid": (["train/a/0.png", "train/b/1.png", "valid/b/2.png"], {0: 0, 1: 1}, {2: 1}, None, []),
    "training_set and test_set": (
        ["training_set/a/0.png", "training_set/b/1.png", "test_set/b/2.png"], {0: 0, 1: 1}, None, {2: 1}, [],
    ),
    "train and test1": (["train/a/0.png", "train/b/1.png", "test1/5.png"], {0: 0, 1: 1}, None, None, ["prediction"]),
    "Udemy: single_prediction beside training_set and test_set": (
        ["training_set/cats/0.png", "training_set/dogs/1.png", "test_set/dogs/2.png", "single_prediction/3.png"],
        {0: 0, 1: 1}, None, {2: 1}, ["1 file is left out (outside the folders test_set, training_set): single_prediction/3.png"],
    ),
    "Kaggle, Intel: seg_pred beside seg_train and seg_test": (
        [*[f"seg_train/seg_train/{name}" for name in CLASSES], "seg_test/seg_test/dog/3.png", "seg_pred/seg_pred/4.png"],
        LABELS, None, {3: 1}, ["outside the folders seg_test, seg_train): seg_pred/seg_pred/4.png"],
    ),
    "Kaggle, digits: trainingSet, testSet, trainingSample": (
        ["trainingSet/trainingSet/0/0.png", "trainingSet/trainingSet/1/1.png", "testSet/testSet/img_1.png",
         "trainingSample/trainingSample/0/3.png"],
        {0: 0, 1: 1}, None, None, ["trainingSample/trainingSample/0/3.png", "the test images have no labels"],
    ),
    "TrainSet and TestSet, and a folder of other things": (
        ["TrainSet/a/0.png", "TrainSet/b/1.png", "TestSet/b/2.png", "docs/3.png"], {0: 0, 1: 1}, None, {2: 1}, ["docs/3.png"],
    ),
    "trainset and valset": (["trainset/a/0.png", "trainset/b/1.png", "valset/b/2.png"], {0: 0, 1: 1}, {2: 1}, None, []),
    "classes that are called test_tube and train_station": (
        ["test_tube/0.png", "train_station/1.png", "cat/2.png"], {0: 1, 1: 2, 2: 0}, None, None, [],
    ),
    "two names for a split: val and dev": (
        [*TRAIN, "val/dog/3.png", "dev/cat/4.png"], LABELS, {3: 1}, None, ["(outside the folders train, val): dev/cat/4.png"],
    ),
    "two names for a split: eval and testing": (
        [*TRAIN, "eval/dog/3.png", "testing/cat/4.png"], LABELS, None, {4: 0}, ["eval/dog/3.png"],
    ),
    "nested once": ([f"pets/{name}" for name in TRAIN], LABELS, None, None, []),
    "nested twice, as archives unpack": (
        [*[f"pets/pets/{name}" for name in TRAIN], "__MACOSX/pets/._0.png", "__MACOSX/x.png", "pets/.DS_Store", "Thumbs.db"],
        LABELS, None, None, [],
    ),
    "splits that are nested in themselves": (
        ["seg_train/seg_train/a/0.png", "seg_train/seg_train/b/1.png", "seg_test/seg_test/b/2.png"],
        {0: 0, 1: 1}, None, {2: 1}, [],
    ),
    "classes in a folder of the set's name": (["pets/cat/0.png", "pets/dog/1.png"], {0: 0, 1: 1}, None, None, []),
    "a picture beside the classes": (
        [*CLASSES, "cover.png"], LABELS, None, None,
        ["1 file is left out (beside the folders of the classes): cover.png"],
    ),
    "a picture beside the classes of a split": (
        [*TRAIN, "train/sheet.png"], LABELS, None, None,
        ["1 file is left out (beside the folders of the classes): train/sheet.png"],
    ),
    "a picture beside the splits": (
        [*TRAIN, "test/dog/3.png", "cover.png"], LABELS, None, {3: 1},
        ["1 file is left out (outside the folders test, train): cover.png"],
    ),
    "a third folder beside the splits": (
        [*TRAIN, "test/dog/3.png", "extra/dog/4.png", "extra/dog/5.png"], LABELS, None, {3: 1},
        ["2 files are left out (outside the folders test, train), such as extra/dog/4.png"],
    ),
    "Kaggle: a flat test folder": (
        [*TRAIN, "test/3.png", "test/4.png", "sample_submission.csv"], LABELS, None, None,
        ["1 file is left out (no images): sample_submission.csv",
         "the test images have no labels: they are for prediction only"],
    ),
    "a test folder with one sub-folder of no class": (
        [*TRAIN, "test/unknown/3.png"], LABELS, None, None, ["the test images have no labels"],
    ),
    "a test folder nested in itself, flat": ([*TRAIN, "test/test/3.png"], LABELS, None, None, ["the test images have no"]),
    "an h5 file beside the classes": (
        [*CLASSES, "model.h5", "report.pdf", "clip.mpeg"], LABELS, None, None,
        ["3 files are left out (no images), such as clip.mpeg"],
    ),
    "a text file among the images": ([*CLASSES, "cat/notes.txt"], LABELS, None, None, [": cat/notes.txt"]),
    "a test split of one class with sub-folders": (
        [*TRAIN, "test/cat/persian/3.png", "test/cat/siam/4.png"], LABELS, None, {3: 0, 4: 0}, ["2 images lie deeper"],
    ),
    "classes with sub-folders": (
        ["cat/persian/0.png", "dog/1.png", "cat/2.png"], LABELS, None, None,
        ["1 image lies deeper, such as cat/persian/0.png, whose class is 'cat'"],
    ),
    "an empty class folder": ([*CLASSES, "eel/"], LABELS, None, None, ["the folder eel has no images, and so makes no class"]),
    "a class with one image": (["cat/0.png", "cat/1.png", "dog/2.png"], {0: 0, 1: 0, 2: 1}, None, None, []),
    "a class that is called train": (["car/0.png", "train/1.png", "bus/2.png"], {0: 1, 1: 2, 2: 0}, None, None, []),
    "accents composed in one split and apart in another": (
        ["train/\u00fc/0.png", "train/a/1.png", "test/u\u0308/2.png"], {0: 1, 1: 0}, None, {2: 1}, [],
    ),
    "hidden files and folders": ([*CLASSES, ".git/x.png", "cat/.x.png", ".thumbnails/dog/y.png"], LABELS, None, None, []),
    "numbers as classes, in the order of text": (["2/0.png", "10/1.png", "1/2.png"], {0: 2, 1: 1, 2: 0}, None, None, []),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    files, train, validation, test, notes = LAYOUTS[layout]
    source = read_source(str(image_files(tmp_path, files)))
    assert (numbers(source.train), numbers(source.validation), numbers(source.test)) == (train, validation, test)
    assert len(source.notes) == len(notes), source.notes
    for note, part in zip(source.notes, notes, strict=True):
        assert part in note


REFUSED = {
    "flat": (["0.png", "1.png"], ["its image 0.png lies directly in it", "metadata.csv with the columns file_name and label"]),
    "a flat training folder": (["train/0.png", "test/1.png"], ["its image train/0.png lies directly in it"]),
    "a class of the test folder only": (
        [*TRAIN, "test/eel/3.png", "test/cat/4.png"],
        ["test split has the class 'eel'", "training: cat, dog; test: cat, eel"],
    ),
    "a class of the validation folder only": (
        [*TRAIN, "val/Cat/3.png"], ["validation split has the class 'Cat'", "training: cat, dog; validation: Cat"],
    ),
    "no training folder": (
        ["val/cat/0.png", "test/dog/1.png"],
        ["has the folders test, val, but none for training, which must be named train or training"],
    ),
    "one class": (["cat/0.png", "cat/1.png"], ["one class only, 'cat'"]),
    "two folders for one split": (
        ["train/a/0.png", "train/b/1.png", "Testing/a/2.png", "testing/b/3.png"],
        ["two of the test split, Testing and testing"],
    ),
    "no images": (["notes.md", "model.h5"], ["must hold images (.png, .jpg, ...)", "but it holds model.h5"]),
    "empty folders": (["cat/", "dog/"], ["but it holds empty folders"]),
}  # fmt: skip


@pytest.mark.parametrize("layout", REFUSED)
def test_folders_that_are_refused(tmp_path: Path, layout: str) -> None:
    files, pieces = REFUSED[layout]
    with pytest.raises(UserError) as caught:
        read_source(str(image_files(tmp_path, files)))
    assert str(caught.value).startswith(f"data.source is {str(tmp_path)!r}, ")
    for piece in pieces:
        assert piece in str(caught.value)


SPOILT = {
    "a link to nothing": (lambda path: path.symlink_to("nowhere.png"), "whose file dog/x.png is a link to nothing"),
    "no bytes": (lambda path: path.write_bytes(b""), "whose train image 2 (dog/x.png) cannot be decoded"),
    "text": (lambda path: path.write_text("not an image"), "whose train image 2 (dog/x.png) cannot be decoded"),
    "another size": (lambda path: Image.new("L", (3, 2)).save(path), "2x2, then 2x3 (train image 2, dog/x.png)"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_the_culprit_is_named(tmp_path: Path, what: str) -> None:
    spoil, piece = SPOILT[what]
    spoil(image_files(tmp_path, ["cat/0.png", "dog/1.png"]) / "dog" / "x.png")
    with pytest.raises(UserError) as caught:
        read_source(str(tmp_path))
    assert piece in str(caught.value)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    image_files(tmp_path, CLASSES)
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / "\udcff.png")
    with pytest.raises(UserError, match="has a name that is not Unicode"):
        read_source(str(tmp_path))


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    image_files(tmp_path / "elsewhere", ["0.png"])
    image_files(tmp_path / "set", ["dog/0.txt", "dog/1.png"])
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "dog" / "again").symlink_to(tmp_path / "set")
    assert numbers(read_source(str(tmp_path / "set")).train) == {0: 0, 1: 1}


def test_split_folders_may_be_links(tmp_path: Path) -> None:
    image_files(tmp_path / "real", CLASSES)
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / name).symlink_to(tmp_path / "real")
    (folder / "val").symlink_to("test")
    source = read_source(str(folder))
    assert [numbers(split) for split in (source.train, source.validation, source.test)] == [LABELS] * 3


def test_kaggles_layout_trains_and_predicts_the_flat_test_images(tmp_path: Path) -> None:
    image_files(tmp_path, [*TRAIN, "test/11.png", "test/3.png"])
    data = ImageDataModule(str(tmp_path))
    data.setup("fit")
    assert data.test_set is data.validation_set
    data.setup("predict")
    assert data.predict_images[:, 0].tolist() == [3, 4]
    assert data.predict_files == ["test/11.png", "test/3.png"]


def test_a_folder_without_training_images_is_predicted(tmp_path: Path) -> None:
    data = ImageDataModule(str(image_files(tmp_path, ["val/a/0.png", "test/b/1.png", "test/2.png"])))
    data.setup("predict")
    assert data.predict_files == ["test/2.png", "test/b/1.png"]


def test_a_mixed_folder_is_predicted_whole(tmp_path: Path) -> None:
    data = ImageDataModule(str(image_files(tmp_path, [*CLASSES, "z.png"])))
    data.setup("predict")
    assert data.predict_files == ["cat/0.png", "cat/2.png", "dog/1.png", "z.png"]


IDX = {  # how the four files are called, and where they lie
    "torchvision": "MNIST/raw/{split}-{content}-idx{d}-ubyte",
    "one folder down": "mnist/{split}-{content}-idx{d}-ubyte",
    "a dot": "{split}-{content}.idx{d}-ubyte",
    "idx3": "{split}-{content}.idx{d}",
    "idx": "{split}_{content}.idx",
    "ubyte": "{split}-{content}.ubyte",
    "capitals": "{split}-{content}-IDX{d}-UBYTE",
    "a prefix": "emnist-letters-{split}-{content}-idx{d}-ubyte",
    "twice, with the same bytes": "{split}-{content}.idx{d}-ubyte {split}-{content}-idx{d}-ubyte",
}


@pytest.mark.parametrize("naming", IDX)
def test_idx_files(tmp_path: Path, naming: str) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in sorted(write_idx_folder(plain).iterdir()):
        split, content = path.name.split("-")[:2]
        for name in IDX[naming].format(split=split, content=content, d=3 if content == "images" else 1).split():
            place = tmp_path / "set" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    source = read_source(str(tmp_path / "set"))
    assert source.test is not None
    assert (len(source.train.images), len(source.test.images)) == (12, 6)
    assert source.class_names == ("0", "1", "2")


def test_idx_files_of_two_sets_are_told_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("MNIST", "KMNIST"), start=12):
        (tmp_path / name).mkdir()
        write_idx_folder(tmp_path / name, train=number)
    with pytest.raises(UserError, match=r"two files of train images, KMNIST/.* and MNIST/.*give the folder of one"):
        read_source(str(tmp_path))
    assert len(read_source(str(tmp_path / "MNIST")).train.images) == 12


@pytest.mark.parametrize("place", [".cache", ".git/raw", "__MACOSX/MNIST", "MNIST/raw"])
def test_idx_files_below_images_do_not_replace_them(tmp_path: Path, place: str) -> None:
    image_files(tmp_path, CLASSES)
    (tmp_path / place).mkdir(parents=True)
    write_idx_folder(tmp_path / place)
    assert numbers(read_source(str(tmp_path)).train) == LABELS


def test_hidden_idx_files_are_no_source(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    write_idx_folder(tmp_path / ".cache")
    with pytest.raises(UserError, match="a folder that cannot be read as a data set"):
        read_source(str(tmp_path))


def test_idx_test_images_without_labels(tmp_path: Path) -> None:
    (write_idx_folder(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    source = read_source(str(tmp_path))
    assert (source.test, source.notes) == (None, ("the test images have no labels: they are for prediction only",))
    (tmp_path / "valid-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((2, 3, 4))))
    (tmp_path / "valid-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([2, 1])))
    assert numbers(read_source(str(tmp_path)).validation) is not None
