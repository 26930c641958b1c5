"""The data module: splits, sizes, settings, loaders, and what it does inside a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from making import idx_bytes, write_idx_folder
from PIL import Image

from ffrecur.data import DriftDataModule, ImageDataModule
from ffrecur.data.imageset import ImageSet
from ffrecur.errors import UserError


def rows(images: ImageSet | None) -> list[int]:
    """The numbers of the images of a split: the first pixel of each, see `write_idx_folder`."""
    assert images is not None
    assert images.labels is not None
    assert images.labels.tolist() == [number % 3 for number in images.images[:, 0].tolist()]
    return images.images[:, 0].tolist()


def ready(source: object, stage: str = "fit", **settings: Any) -> ImageDataModule:
    data = ImageDataModule(str(source), **settings)
    data.setup(stage)
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_idx_folder(tmp_path, train=30, test=6)


def test_a_sixth_validates_by_default(folder: Path, messages: pytest.LogCaptureFixture) -> None:
    data = ready(folder)
    assert rows(data.train_set) == list(range(25))
    assert rows(data.validation_set) == list(range(25, 30))
    assert rows(data.test_set) == list(range(6))
    assert (data.image_shape, data.in_features, data.num_classes, data.class_names) == (
        (3, 4),
        12,
        3,
        ("0", "1", "2"),
    )
    [line] = messages.messages
    assert line.startswith(f"IDX files in {folder}: 30 training + 6 test images of 3x4, 3 classes; ")
    assert "25 train, 5 validate (the last training images), 6 test" in line
    data.setup("test")
    assert len(messages.messages) == 1  # read once


def test_the_default_validation_stops_at_ten_thousand(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((61_000, 1, 1))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(61_000) % 3))
    data = ready(tmp_path)
    assert data.validation_set is not None
    assert len(data.validation_set.images) == 10_000


def test_images_that_come_almost_sorted_are_drawn(tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    labels = np.repeat(np.arange(4), 6)
    labels[12] = 0  # class 0 is no single run: the images are not interleaved
    np.savez(tmp_path / "set.npz", images=np.arange(2, 26, dtype=np.uint8).reshape(24, 1, 1), labels=labels)
    data, drawn = (ready(tmp_path / "set.npz", validation_size=8, split_seed=seed) for seed in (None, 0))
    for own, other in ((data.train_set, drawn.train_set), (data.validation_set, drawn.validation_set)):
        assert own is not None
        assert other is not None
        assert torch.equal(own.images, other.images)
    assert data.train_set is not None
    assert data.train_set.labels is not None
    assert data.train_set.labels.unique().tolist() == [0, 1, 2, 3]
    assert "drawn with split_seed 0, since the last ones have all of class '3')" in messages.messages[0]


def test_a_class_that_one_side_lacks_is_told(tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    np.savez(
        tmp_path / "set.npz", images=np.arange(2, 10, dtype=np.uint8).reshape(8, 1, 1), labels=[0, 1, 2] * 2 + [0, 1]
    )
    ready(tmp_path / "set.npz", validation_size=2)
    assert messages.messages[-1] == "warning: no image of class '2' validates; data.split_seed draws which validate"


def test_validation_size_and_split_seed(folder: Path) -> None:
    assert rows(ready(folder, validation_size=8).validation_set) == list(range(22, 30))
    drawn = ready(folder, validation_size=8, split_seed=1)
    validation, train = rows(drawn.validation_set), rows(drawn.train_set)
    assert sorted(train + validation) == list(range(30))
    assert len(validation) == 8
    assert validation != list(range(22, 30))
    assert rows(ready(folder, validation_size=8, split_seed=1).validation_set) == validation
    assert rows(ready(folder, validation_size=8, split_seed=2).validation_set) != validation
    assert len(rows(ready(folder, split_seed=1).validation_set)) == 5


def test_a_source_without_a_test_split_says_what_is_used(folder: Path, messages: pytest.LogCaptureFixture) -> None:
    for path in list(folder.glob("t10k*")):
        path.unlink()
    data = ready(folder, "test")
    assert rows(data.test_set) == rows(data.validation_set)
    assert "no test split: the validation images test too" in messages.text


def test_the_bundled_validation_split_and_how_to_replace_it(messages: pytest.LogCaptureFixture) -> None:
    data = ready("bundled")
    assert data.train_set is not None
    assert data.validation_set is not None
    assert data.test_set is not None
    assert (len(data.train_set.images), len(data.validation_set.images), len(data.test_set.images)) == (4000, 500, 500)
    assert "500 validate (the source's own validation split)" in messages.text
    other = ready("bundled", validation_size=1000)
    assert other.train_set is not None
    assert other.validation_set is not None
    assert other.validation_set.labels is not None
    assert torch.equal(other.train_set.images, data.train_set.images[:3000])
    assert torch.bincount(other.validation_set.labels).tolist() == [100] * 10
    assert "1,000 validate (the last training images, not the source's own validation split)" in messages.text


@pytest.mark.parametrize("size", [30, 31])
def test_validation_must_leave_something_to_train_on(folder: Path, size: int) -> None:
    with pytest.raises(
        UserError, match=rf"data.validation_size is {size}, .* less than the number of training images, 30"
    ):
        ready(folder, validation_size=size)


def test_two_images_are_enough_to_train_on_one(tmp_path: Path) -> None:
    for name, color in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2), color).save(tmp_path / name / "1.png")
    assert ready(tmp_path).num_classes == 2
    with pytest.raises(UserError, match=r"data.validation_size is 2, "):
        ready(tmp_path, validation_size=2)


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("batch_size", 0, "at least 1"),
        ("evaluation_batch_size", -3, "at least 1"),
        ("validation_size", 0, "at least 1"),
        ("split_seed", -1, "from 0 to 4294967295"),
        ("seed", 2**32, "from 0 to 4294967295"),
        ("source", " ", "'bundled', a folder or a hub id"),
    ],
)
def test_settings_out_of_range(setting: str, value: Any, allowed: str) -> None:
    with pytest.raises(UserError) as caught:
        ImageDataModule(**{setting: value})
    assert str(caught.value).startswith(f"data.{setting} is {value!r}, but must be ")
    assert allowed in str(caught.value)


def test_loaders(folder: Path) -> None:
    data = ready(folder, batch_size=10, evaluation_batch_size=4)
    data.setup("predict")
    train = list(data.train_dataloader())
    assert [len(images) for images, _ in train] == [10, 10, 5]
    images, labels = train[0]
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((10, 12), torch.uint8, (10,), torch.int64)
    assert labels.tolist() == [number % 3 for number in images[:, 0].tolist()]
    assert torch.cat([images[:, 0] for images, _ in train]).tolist() != list(range(25))
    assert torch.cat([images[:, 0] for images, _ in data.val_dataloader()]).tolist() == list(range(25, 30))
    assert [len(images) for images, _ in data.test_dataloader()] == [4, 2]
    assert [tuple(images.shape) for (images,) in data.predict_dataloader()] == [(4, 12), (2, 12)]


def test_prediction_takes_the_test_images_or_else_all(folder: Path) -> None:
    predicted = ready(folder, "predict").predict_images
    assert predicted is not None
    assert predicted[:, 0].tolist() == list(range(6))
    for path in folder.glob("t10k*"):
        path.unlink()
    (folder / "train-labels-idx1-ubyte").unlink()
    data = ready(folder, "predict", validation_size=1000)  # which does not matter here
    assert data.predict_images is not None
    assert data.predict_images[:, 0].tolist() == list(range(30))
    assert data.num_classes is None
    with pytest.raises(UserError, match="no file"):
        data.setup("fit")


def test_a_loader_before_setup_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call setup\(\)"):
        ImageDataModule().val_dataloader()


def test_hyper_parameters_are_plain_and_complete(folder: Path) -> None:
    data = ImageDataModule(folder, batch_size=7)  # type: ignore[arg-type]
    assert data.hparams["source"] == str(folder)
    assert data.hparams["batch_size"] == 7
    assert set(DriftDataModule().hparams) == set(data.hparams) | {"frames"}


class Reader(lightning.LightningModule):
    """Writes down the first pixels of the training batches of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs: list[list[int]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.epochs[-1] += batch[0][:, 0].tolist()
        return self.weight * 0.0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        assert len(batch) == 2

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        assert len(batch) == 2

    def predict_step(self, batch: tuple[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return batch[0][:, 0]


def trainer(folder: Path, **settings: Any) -> lightning.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return lightning.Trainer(accelerator="cpu", max_epochs=3, default_root_dir=folder, **quiet | settings)


def test_inside_a_trainer(folder: Path) -> None:
    data, reader = ImageDataModule(str(folder), batch_size=10, evaluation_batch_size=4), Reader()
    run = trainer(folder)
    run.fit(reader, datamodule=data)
    assert all(sorted(epoch) == list(range(25)) for epoch in reader.epochs)
    assert len({tuple(epoch) for epoch in reader.epochs}) == 3
    run.test(reader, datamodule=data, verbose=False)
    predicted = run.predict(reader, datamodule=data)
    assert predicted is not None
    assert torch.cat(predicted).tolist() == list(range(6))  # type: ignore[arg-type]


def test_overfitting_repeats_the_same_batches(folder: Path) -> None:
    reader = Reader()
    trainer(folder, overfit_batches=1).fit(reader, datamodule=ImageDataModule(str(folder), batch_size=10))
    assert reader.epochs == [list(range(10))] * 3


def test_each_process_takes_its_part(folder: Path) -> None:
    class OneOfTwo:
        world_size = 2
        overfit_batches = 0
        fit_loop = trainer(folder).fit_loop

        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    parts = []
    for rank in range(2):
        data = ready(folder, batch_size=10)
        data.trainer = OneOfTwo(rank)  # type: ignore[assignment]
        parts.append([images[:, 0].tolist() for images, _ in data.train_dataloader()])
    alone = [images[:, 0].tolist() for images, _ in ready(folder, batch_size=10).train_dataloader()]
    assert [first + second for first, second in zip(*parts, strict=True)] == alone
