"""What the modules that classify images share: sizes learned from the data, noise, evaluation."""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ffrecur.data.classes import listed
from ffrecur.errors import CommonError, SettingWarning, UserError, check_setting
from ffrecur.lit.module import NetModule
from ffrecur.lit.report.images import (
    FIGURES,
    calibration_table,
    confusion_table,
    errors_as_text,
    mistakes_table,
    names_of,
    predictions_table,
)
from ffrecur.lit.run.health import making
from ffrecur.lit.shapes import described, learn_statistics, matched_shape
from ffrecur.metrics import plots
from ffrecur.metrics.evaluation import Evaluation, Table
from ffrecur.processes import Part
from ffrecur.seeding import seeded_generator
from ffrecur.storage.checkpoint import NET_KEY, describe, stored_names


class ClassifierModule(NetModule):
    """Base of the modules for images. A subclass builds its net in `build_net`, trains it, and says how it is evaluated.

    Every net has `dropout_masks`.

    Args:
        image_dropout: share of the image's features that are dropped in training, in [0, 1); a label among them is spared.
        state_dropout: share of what the hidden layers show that is dropped in training, in [0, 1).
        center_images: whether an image's own mean is taken off before it is normalised, so that a brighter background
            changes nothing.
        standardize_images: whether each channel's mean over the training images is taken off an image first, and each channel is
            divided by its deviation there; the net keeps both.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1): of the one-pass head where the
            net learns by goodness, else of the net.
        training: see `NetModule`.
    """

    logged: ClassVar[tuple[str, ...]] = ("error", "one_pass_error")
    structure: ClassVar[tuple[str, ...]] = ("in_features", "hidden_features", "num_classes")
    class_names: tuple[str, ...] | None = None  # of the net; from a checkpoint, or else from the data
    trained = False  # whether the net comes from a checkpoint; an older one has no names
    sees_videos = False  # frame after frame
    knows_statistics = False  # of the images; those of a checkpoint, which is loaded later, take their place
    headless = False  # whether there are no labels, and so no classes to answer with

    def __init__(
        self,
        image_dropout: float = 0.0,
        state_dropout: float = 0.0,
        center_images: bool = False,
        label_smoothing: float = 0.0,
        *,
        standardize_images: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(**training)
        self.image_dropout, self.state_dropout, self.label_smoothing = image_dropout, state_dropout, label_smoothing
        for name in ("image_dropout", "state_dropout", "label_smoothing"):
            check_setting(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and less than 1")

    # --- what a subclass says -----------------------------------------------------------------------------------------

    @property
    def learns_without_labels(self) -> bool:
        """Whether the hidden layers need no labels; a net that has never seen any has no head."""
        return False

    @abstractmethod
    def build_net(self, in_features: int, num_classes: int) -> Any:
        """Return a new net."""

    # --- building -----------------------------------------------------------------------------------------------------

    def build(self) -> Any:
        """Return a new net of the sizes learned."""
        net = self.build_net(self.hparams["in_features"], self.hparams["num_classes"])
        net.class_names = self.class_names
        return net

    def setup(self, stage: str) -> None:
        """As `NetModule.setup`; a new net that standardises its images learns how from those that train."""
        super().setup(stage)
        if stage == "fit" and self.hparams["standardize_images"] and not (self.knows_statistics or self.trained):
            learn_statistics(self.net, getattr(self.trainer, "datamodule", None))
            self.knows_statistics = True

    def check_net_settings(self) -> None:
        """Refuse bad settings of the net before any data is read, by a net without memory; build it if sizes are known."""
        sizes = [self.hparams["in_features"], self.hparams["num_classes"]]
        classes = sizes[1] or 2
        with torch.device("meta"), making(self.hparams, self.widths):
            describe(self.build_net(sizes[0] or classes, classes))  # which no checkpoint might build again
        if None not in sizes:
            self.configure_model()

    def match_data(self, data: Any) -> None:
        """Take `in_features`, `num_classes` and `image_shape` from a data module that has been set up, unless they are known.

        Of a net that has names for its classes, or comes from a checkpoint, the data's labels are matched with them: see
        `ImageDataModule.match_classes`. Raises `UserError` for data of other sizes, classes that the net does not know, text, and
        videos for a net that looks once.
        """
        if hasattr(data, "alphabet"):
            raise UserError(f"data is {type(data).__name__}, but a {type(self).__name__} reads images: ImageDataModule")
        if getattr(data, "frames", None) is not None and not self.sees_videos:
            raise UserError(
                f"data has videos, but the net of a {type(self).__name__} looks once: use a RecurrentModule"
            )
        self.match_labels(data)
        # A net that is new has as many classes as the data, or else what was set is a mistake.
        if (self.trained or self.class_names is not None) and hasattr(data, "match_classes"):
            data.match_classes(self.class_names, self.hparams["num_classes"])
        elif self.class_names is not None and tuple(getattr(data, "class_names", None) or ()) not in (
            (),
            self.class_names,
        ):
            raise UserError(
                f"data is {type(data).__name__}, whose classes are {listed(data.class_names)}, but those of the net are "
                f"{listed(self.class_names)}"
            )
        found_shape = getattr(data, "image_shape", None)
        # A dense net does without it, but images of another shape would mix up its pixels.
        if self.reads_shape or found_shape is not None:
            self.hparams["image_shape"] = matched_shape(self.hparams["image_shape"], found_shape)
        for name in ("in_features", *(() if self.headless else ("num_classes",))):
            found, known = getattr(data, name, None), self.hparams[name]
            if known is None:
                told = f"given where the data does not tell it: by model.{name}, or by an attribute {name} of the data module"
                check_setting(found is not None, name, None, told)
                self.hparams[name] = found
            elif found not in (None, known):
                convert = "convert the images, or " if name == "in_features" else ""
                raise UserError(
                    f"{name} of the net is {known}, but the data has {found}; {convert}train a net on this data first"
                )
        self.take_names(getattr(data, "class_names", None))

    def match_labels(self, data: Any) -> None:
        """Learn whether there are labels; raises `UserError` where the data has none and the net needs some, or the reverse."""
        given, count = getattr(data, "labels", True) is not False, self.hparams["num_classes"]
        if not given and not self.learns_without_labels:
            needs = "true, for this net learns from labels; a FeedForwardModule with label null can do without"
            check_setting(False, "data.labels", given, needs)
        if not given and count is not None:
            check_setting(False, "data.labels", given, f"true, for the net has a head for {count} classes")
        if given and self.headless and self.trained:
            check_setting(False, "data.labels", given, "false, for the net was trained without labels and has no head")
        self.headless = not given

    def take_names(self, names: Any) -> None:
        """Give names to the net's classes, unless they have some."""
        if self.class_names is None and names is not None and len(names) == self.hparams["num_classes"]:
            self.class_names = tuple(names)
        if self.net is not None:
            self.net.class_names = self.class_names

    def adopt(self, entry: dict[str, Any]) -> None:
        """Take number and names of the classes of a stored net, which the data's labels are matched with from now on.

        `entry` is that of a checkpoint, see `ffrecur.storage.checkpoint.describe`.
        """
        names, count = stored_names(entry), entry["settings"]["num_classes"]
        if self.hparams["num_classes"] != count:  # learned from data that has other classes than the net
            self.hparams["num_classes"], self.net = count, None
        self.class_names, self.trained, self.headless = names, True, count is None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Match the data, which was there before the checkpoint, with the classes of its net."""
        before = self.class_names
        self.adopt(checkpoint[NET_KEY])
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        if data is not None and before != self.class_names:
            self.match_data(data)
        self.take_names(None)
        if self.hparams["in_features"] is not None and (self.headless or self.hparams["num_classes"] is not None):
            self.configure_model()
        super().on_load_checkpoint(checkpoint)

    @property
    def reads_shape(self) -> bool:
        """Whether the net's layers read images as maps: it is built once `image_shape` is known."""
        return any(self.hparams.get(name) for name in ("layers", "channels", "units_per_place"))

    def configure_model(self) -> None:
        """Build the net once, as soon as all sizes that it needs are known."""
        if self.reads_shape and self.hparams["image_shape"] is None:
            return
        first = self.net is None
        super().configure_model()
        widths, own = self.hparams["hidden_features"], inspect.signature(type(self)).parameters.get("hidden_features")
        given = next((name for name in ("layers", "units_per_place") if self.hparams.get(name)), None)
        if first and given is not None and own is not None and widths != own.default:
            unused = f"hidden_features is {widths}, but has no effect where {given} is given"
            warnings.warn(unused, SettingWarning, stacklevel=2)

    def check_stored(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """As `NetModule.check_stored`; a net keeps its images' statistics, or has none."""
        super().check_stored(stored, checkpoint)
        asked, known = self.hparams["standardize_images"], stored["settings"].get("standardize_images", False)
        if asked != known:
            raise UserError(f"standardize_images is {asked}, but the net in {checkpoint} has {known}")

    def check_layers(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """Raise `UserError` for local layers that are not those of a checkpoint's net."""
        asked, known = (described(layers) for layers in (self.hparams["layers"], stored["settings"].get("layers")))
        if asked != known:
            raise UserError(f"layers is {asked}, but the net in {checkpoint} has {known}")

    # --- training -----------------------------------------------------------------------------------------------------

    def noise_and_masks(
        self, part: Part, batch_index: int, columns: int = 0, **more: float
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Uniform noise `(B, columns)` and dropout masks, functions of (seed, epoch, place in the global batch).

        `more` are rates of dropout beside those of image and states.
        """
        source = seeded_generator(self.seed, self.current_epoch, batch_index)
        noise = self.batch_noise(part, columns, source)
        return noise, self.batch_masks(part, (self.image_dropout, self.state_dropout), source, **more)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def inputs_and_targets(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """Return images as the net reads them, and their labels, if there are any."""
        return images_of(batch), batch[1] if len(batch) > 1 else None

    def scoring(self) -> dict[str, Any]:
        """Return the settings by which classes are scored, for the figures of an evaluation."""
        return {}

    def predicted(self, scores_NC: Tensor, files: Sequence[str] | None) -> Table:
        """Return the table of a prediction, of what `predict_step` has returned; see `predictions_table`."""
        return predictions_table(scores_NC, names_of(self.net), files)

    def evaluated(self, data: Any, stage: str) -> Evaluation:
        """Return the errors, how often each class was taken for which, the calibration, and the worst mistakes.

        Without labels the figures alone.
        """
        measured = self.measured
        figures = {
            **{name: measured[name].tolist() for name in FIGURES if name in measured},
            **self.scoring(),
            "seed": self.seed,
            "net": self.net.settings(),
        }
        text = errors_as_text(figures, stage, getattr(data, "frames", None) is not None)
        if self.headless:
            return Evaluation(figures, text, {})
        names = names_of(self.net)
        figures["class_names"] = list(names)
        mistakes, shape = measured["mistakes"], getattr(data, "image_shape", None)
        tables = {
            "confusion": confusion_table(measured["confusion"], names),
            "calibration": calibration_table(measured["calibration"]),
            "mistakes": mistakes_table(mistakes, names),
        }

        def pictures() -> dict[str, Figure]:
            return {} if shape is None else {"mistakes": plots.worst_mistakes(mistakes, shape, names)}

        return Evaluation(figures, text, tables, pictures=pictures)


def images_of(batch: Any) -> Tensor:
    """Return the images of a batch as the net reads them; raises `UserError` for a batch that is no tuple."""
    if not isinstance(batch, tuple | list):
        what = f"a dict with {', '.join(map(repr, batch))}" if isinstance(batch, dict) else f"a {type(batch).__name__}"
        raise CommonError(f"a batch of the data is {what}, but must be a tuple (images, labels)")
    return prepare(batch[0])


def prepare(images: Tensor) -> Tensor:
    """Turn a batch as stored, uint8 `(B, D)` or video `(B, T, D)`, into what the net reads: `(B, D)` or `(T, B, D)` in [0, 1]."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return images.transpose(0, 1) if images.ndim == 3 else images
