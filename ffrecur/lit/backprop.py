"""The LightningModules of the baselines: the same data, schedules and budget, but backpropagation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ffrecur.errors import check_setting
from ffrecur.lit.images import ClassifierModule, images_of
from ffrecur.lit.text import TextModule
from ffrecur.metrics.images import LogitEvaluation
from ffrecur.nets.backprop import BackpropNet, character_logits
from ffrecur.nets.convolution import check_fields, smallest_side
from ffrecur.nets.layers import local_layers


class BackpropModule(ClassifierModule):
    """Train a net by backpropagation of the cross-entropy: the baseline for `RecurrentModule`.

    It is a multilayer perceptron, with `channels` a convolutional net, or with `layers` one of local receptive fields.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data.
        channels: channels of each convolution below the hidden layers, such as [32, 64]; each has a ReLU, and a pooling that
            keeps the largest value of 2x2 places. None by default.
        kernel: height and width of the field that a unit of a convolution reads.
        layers: instead of `hidden_features`, layers of local receptive fields without weight sharing: for each
            `out_channels`, `kernel`, and, where not 1 and 0, `stride` and `padding`. See `ffrecur.LocalLinear`.
        image_shape: height and width of an image, and 3 for colour, where the layers read such maps; learned from the data.
        shared: see `ClassifierModule` and `NetModule`. Dropout acts on the image and on the hidden layers.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "BackpropNet"
    structure = ("in_features", "hidden_features", "num_classes", "channels", "kernel", "image_shape")

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        *,
        channels: list[int] = [],  # noqa: B006  # as above
        kernel: int = 5,
        layers: list[dict[str, int]] | None = None,
        image_shape: list[int] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if check_fields(channels, kernel):
            self.widths = ("channels", "kernel", "hidden_features")
            check_setting(layers is None, "channels", channels, "empty where layers are given")
        if layers is None:
            self.check_net_settings()
        else:
            self.widths = ("layers",)

    def build_net(self, in_features: int, num_classes: int) -> BackpropNet:
        """Return a new net; where the images' shape is not known yet, one for the smallest images that it could read."""
        names = ("hidden_features", "center_images", "channels", "kernel", "image_shape", "standardize_images")
        settings = {name: self.hparams[name] for name in names}
        if settings["channels"] and None in (self.hparams["in_features"], settings["image_shape"]):
            side = smallest_side(len(settings["channels"]), settings["kernel"])
            settings["image_shape"] = settings["image_shape"] or [side, side]
            in_features = math.prod(settings["image_shape"])
        if self.hparams["layers"] is not None:
            settings["hidden_features"] = None
            settings["layers"] = local_layers(self.hparams["image_shape"], self.hparams["layers"])
        net = BackpropNet(in_features, num_classes=num_classes, **settings)
        if self.hparams["layers"] is not None:
            net.reset_parameters()  # which the net does not do to modules that it is given
        return net

    def check_stored(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """As `NetModule.check_stored`; a net that is stored without channels has none."""
        super().check_stored({**stored, "settings": {"channels": [], **stored["settings"]}}, checkpoint)
        self.check_layers(stored, checkpoint)

    def new_evaluation(self) -> LogitEvaluation:
        """Return the metrics."""
        return LogitEvaluation(self.net.num_classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        images_BD, labels_B = images_of(batch), batch[1]
        part = self.part_of_batch(len(labels_B))
        _, masks = self.noise_and_masks(part, batch_index)
        logits_BC = self.net(images_BD, masks)
        loss = F.cross_entropy(logits_BC, labels_B, label_smoothing=self.label_smoothing)
        wrong = (logits_BC.argmax(dim=1) != labels_B).float().mean()
        figures: dict[str, Any] = {"train/loss": loss.detach(), "train/error": wrong}
        return self.finish_step(loss, figures, part, batch_index)

    def predict_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the logits, `(B, C)`."""
        return self.net(images_of(batch))


class CharBackpropModule(TextModule):
    """Train the same net by backpropagation of the next character's cross-entropy: the baseline for `CharModule`.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        head_layers: layers that the head reads, counted from 1, the last one among them; all by default.
        shared: see `TextModule` and `NetModule`.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(
        self,
        hidden_features: list[int] = [500, 500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        *,
        head_layers: list[int] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_setting(
            head_layers is None or len(hidden_features) in head_layers,
            "head_layers",
            head_layers,
            f"layers with the last one, {len(hidden_features)}, among them: nothing would train it",
        )
        self.check_net_settings()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        contexts_BW, next_B = batch[0][:, :-1], batch[0][:, -1]
        part = self.part_of_batch(len(next_B))
        masks = self.batch_masks(part, (self.state_dropout,), self.batch_source(batch_index))
        logits_BV = character_logits(self.net, contexts_BW, masks)
        loss = F.cross_entropy(logits_BV, next_B)
        return self.finish_text_step(loss, loss, logits_BV, next_B, part, batch_index)
