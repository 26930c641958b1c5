"""The data module: from the settings under `data.` to batches of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info

from ffrecur.data.augment import Augmentation, AugmentedLoader, check_augment
from ffrecur.data.classes import composed, listed, match, plain_names
from ffrecur.data.imageset import ImageSet, ImageSource, without_labels
from ffrecur.data.loader import BatchedDataModule, TensorLoader
from ffrecur.data.sources import read_source
from ffrecur.data.validation import missing_classes, split_off, whole
from ffrecur.errors import check_seed, check_setting, check_whole


class ImageDataModule(BatchedDataModule):
    """Images with labels; batches are `(images (B, D) uint8, labels (B,) int64)`, for prediction `(images,)`.

    Without a test split the validation images test too, and the log says so. Prediction takes the test images, or all
    images of a source without a test split, and needs no labels. After `setup` there are `description`, `image_shape`
    ((H, W), or (H, W, 3)), `in_features`, `num_classes` and `class_names` (the latter two None where an unlabelled
    source leaves them unknown); labels are indexes into `class_names`.

    Args:
        source: "bundled" (5,000 MNIST digits); a folder with IDX files, arrays, images or parquet files, or one that
            `save_to_disk` wrote; a file of arrays (.npz) or a table (.parquet, .csv, .jsonl); or a hub id such as ylecun/mnist.
        batch_size: images a training batch, of all processes together.
        evaluation_batch_size: images a batch in validation, test and prediction.
        validation_size: the last so many training images validate. By default the source's own validation split; where
            it has none, a sixth of the training images, at most 10,000.
        split_seed: draw the validation images at random with this seed instead, so many of the training images.
        image_column: column with the images, where the source has several.
        label_column: column with the labels, whole numbers or text, where the source has several or none of type ClassLabel
            or named label.
        memory_limit: MiB that the images of a split may take in memory; those that take more stay on the disk and are
            read batch by batch, with the same batches and weights.
        seed: seed of the order of the training images; the command line sets it to `seed_everything`.
        augment: changes of the training images, drawn again each epoch, such as
            [{class_path: Shift, init_args: {pixels: 2}}]; class paths of an `ffrecur.data.Augmentation`. Validation, test and
            prediction have the images as they are, and so has `trainer.overfit_batches`.
        labels: whether labels are read. Without them a batch is `(images,)`, and only a net that learns without labels can be
            trained; classes are unknown then, and the validation images are drawn with the split_seed 0 by default.

    Raises:
        UserError: a setting outside its range; in `setup`, everything wrong with the source.
    """

    description: str
    image_shape: tuple[int, ...]
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    train_set: ImageSet | None = None
    validation_set: ImageSet | None = None
    test_set: ImageSet | None = None
    predict_set: ImageSet | None = None
    predict_files: Sequence[str] | None = None  # of the images to predict, relative to the source, where it knows them
    other_source: bool = False  # whether the net that is validated or tested was trained on another source
    net_classes: Sequence[str] | None = (
        None  # of a net that was trained before, where known: they are no wrapper folders
    )
    training_settings: dict[str, Any] | None = None  # then: the settings of the data that it was trained on

    def __init__(
        self,
        source: str = "bundled",
        batch_size: int = 100,
        evaluation_batch_size: int = 500,
        validation_size: int | None = None,
        split_seed: int | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        memory_limit: int = 4096,
        seed: int = 0,
        augment: list[Augmentation] | None = None,
        labels: bool = True,
    ) -> None:
        super().__init__()
        source = str(source)  # a Path would make the checkpoint unreadable under weights_only
        check_setting(source.strip() != "", "data.source", source, "'bundled', a folder or a hub id")
        check_whole("data.batch_size", batch_size)
        check_whole("data.evaluation_batch_size", evaluation_batch_size)
        if validation_size is not None:
            check_whole("data.validation_size", validation_size)
        if split_seed is not None:
            check_seed("data.split_seed", split_seed)
        check_whole("data.memory_limit", memory_limit, 0)
        check_seed("data.seed", seed)
        check_augment(augment)
        self.save_hyperparameters()
        if any(isinstance(change, Augmentation) for change in self.hparams.get("augment") or ()):
            # An object does not load with weights_only=True; the command line keeps class paths.
            del self._hparams["augment"], self._hparams_initial["augment"]  # type: ignore[attr-defined]
        self.source = source
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.validation_size = validation_size
        self.split_seed = split_seed
        self.image_column = image_column
        self.label_column = label_column
        self.memory_limit = memory_limit
        self.seed = seed
        self.augment = list(augment or ())
        self.labels = labels

    @property
    def predict_images(self) -> Any:
        """The images to predict, (N, D) uint8 (a tensor or `MappedImages`), after `setup("predict")`."""
        return None if self.predict_set is None else self.predict_set.images

    @property
    def in_features(self) -> int:
        """The number D of values of one image."""
        return math.prod(self.image_shape)

    def know_net(self, entry: Mapping[str, Any]) -> None:
        """Take the names of the classes of a stored net; `entry` as of `ffrecur.storage.checkpoint.describe`."""
        self.net_classes = entry.get("class_names")

    def setup(self, stage: str) -> None:
        """Read the source for `fit`, `validate` and `test`, or without labels for `predict`; once each."""
        if stage == "predict":
            if self.predict_set is None:
                self.setup_prediction()
        elif self.other_source and stage in ("validate", "test"):
            self.setup_other(stage)
        elif self.train_set is None:
            self.setup_training()

    def setup_prediction(self) -> None:
        """Make the images to predict: the test images, or all where there is no test split."""
        source = self.read(require_labels=False)
        images = whole(source).images if source.test is None else source.test.images
        names = ("train", "validation") if source.test is None else ("test",)
        files = [file for name in names for file in source.files.get(name, ())]
        self.predict_files = files if len(files) == len(images) else None
        self.predict_set = self.prepare_set(ImageSet(images, None), 2)
        self.tell(source, f"predicting {len(images):,}")

    def setup_training(self) -> None:
        """Make the images to train with, to validate with and to test with."""
        source = self.read(require_labels=self.labels)
        for change in self.augment:
            change.numbers(self.image_shape)  # which refuses images that it cannot change
        drawn = self.split_seed is None and not self.labels and source.validation is None
        # Without labels it is not known whether the images come sorted.
        train, validation, how = split_off(source, self.validation_size, 0 if drawn else self.split_seed)
        self.train_set = self.prepare_set(train, 0)
        self.validation_set = self.prepare_set(validation, 1)
        test = "no test split: the validation images test too, so test figures are validation figures"
        if source.test is None:
            self.test_set = self.validation_set
        else:
            self.test_set = self.prepare_set(source.test, 2)
            test = f"{len(source.test.images):,} test"
        self.tell(source, f"{len(train.images):,} train, {len(validation.images):,} validate ({how}), {test}")
        for does, images in {"trains": train, "validates": validation}.items():
            missing = missing_classes(source, images)
            if missing:
                which = f"class {missing[0]!r}" + f" and {len(missing) - 1} more" * (len(missing) > 1)
                own = source.validation is not None and self.validation_size is None and self.split_seed is None
                advice = "the source says itself which validate" if own else "data.split_seed draws which validate"
                rank_zero_info(f"warning: no image of {which} {does}; {advice}")

    def setup_other(self, stage: str) -> None:
        """Make the images on which a net from another source is validated or tested: that split, or all without it."""
        if (self.validation_set if stage == "validate" else self.test_set) is not None:
            return
        source = self.read(require_labels=self.labels, testing=True)
        own = source.validation if stage == "validate" else source.test
        images, name = whole(source) if own is None else own, {"validate": "validation", "test": "test"}[stage]
        how = f"the source's own {name} split" if own is not None else f"all of them, for there is no {name} split"
        if stage == "validate":
            self.validation_set = self.prepare_set(images, 1)
        else:
            self.test_set = self.prepare_set(images, 2)
        self.tell(source, f"another source than the training's: {len(images.images):,} {name} images ({how})")

    def read(self, require_labels: bool, testing: bool = False) -> ImageSource:
        """The source, whose shape and classes are kept."""
        source = read_source(
            self.source,
            self.image_column,
            self.label_column,
            require_labels,
            self.memory_limit * 2**20,
            testing,
            self.net_classes or (),
            **self.reading(),
        )
        source = source if require_labels else without_labels(source)
        self.description, self.image_shape = source.description, source.image_shape
        if source.num_classes is not None and self.labels:
            self.num_classes, self.class_names = source.num_classes, source.class_names
        return source

    def reading(self) -> dict[str, Any]:
        """What a subclass adds to how its source is read: arguments of `read_source`."""
        return {}

    def tell(self, source: ImageSource, what: str) -> None:
        """Log what was read, what becomes of it, and what a user should know."""
        rank_zero_info(f"{source.description}; {what}")
        for note in source.notes:
            rank_zero_info(f"warning: data.source is {self.source!r}: {note}")

    def match_classes(self, names: Sequence[str] | None, count: int) -> None:
        """Turn the labels into those of a net with `count` classes called `names`, None for one that keeps no names.

        By name, see `classes.match`; then `class_names` and `num_classes` are the net's. Without labels nothing is done. Raises
        `UserError`, with both lists, for images of a class that the net does not know.
        """
        sets = {name: getattr(self, name) for name in ("train_set", "validation_set", "test_set")}
        sets = {name: images for name, images in sets.items() if images is not None}
        if not sets or self.class_names is None:
            return
        occurring = {self.class_names[label] for part in sets.values() for label in part.labels.unique().tolist()}
        index_C = match(self.source, self.class_names, occurring, names, count)
        same = torch.equal(index_C, torch.arange(count))
        if same and names is not None and tuple(map(composed, names)) != tuple(map(composed, self.class_names)):
            pairs = listed([f"{own} is {of_net}" for own, of_net in zip(self.class_names, names, strict=True)])
            rank_zero_info(f"warning: the classes of data.source are matched with the net's by position: {pairs}")
        if not same:
            for name, images in sets.items():
                setattr(self, name, images._replace(labels=index_C[images.labels]))
        if names is not None or not same:
            self.class_names, self.num_classes = tuple(names or plain_names(count)), count

    def prepare_set(self, images: ImageSet, number: int) -> ImageSet:
        """What a subclass makes of a split before training; `number` (0 train, 1 validation, 2 test) tells them apart."""
        return images

    def predict_dataloader(self) -> TensorLoader:
        """Batches of the images to predict, in order, without labels."""
        return self.in_order("predict")

    def make_loader(self, split: str, *arguments: Any) -> TensorLoader:
        """The loader of a split."""
        images = getattr(self, f"{split}_set")
        if images is None:
            raise RuntimeError("call setup() with the stage of this loader first")
        tensors = [part for part in images if part is not None]
        if split == "train" and self.augment:
            return AugmentedLoader(self.augment, self.image_shape, tensors, *arguments)
        return TensorLoader(tensors, *arguments)
