"""The LightningModules of the baselines: the same data, schedules and budget, but backpropagation."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ffrecur.errors import check_setting
from ffrecur.lit.images import ClassifierModule, prepare
from ffrecur.lit.text import TextModule
from ffrecur.metrics.images import LogitEvaluation
from ffrecur.nets.backprop import BackpropNet, character_logits


class BackpropModule(ClassifierModule):
    """Train a multilayer perceptron by backpropagation of the cross-entropy: the baseline for `RecurrentModule`.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data.
        shared: see `ClassifierModule` and `NetModule`.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "BackpropNet"

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.check_net_settings()

    def build_net(self, in_features: int, num_classes: int) -> BackpropNet:
        """Return a new net."""
        center = self.hparams["center_images"]
        return BackpropNet(in_features, self.hparams["hidden_features"], num_classes, center_images=center)

    def new_evaluation(self) -> LogitEvaluation:
        """Return the metrics."""
        return LogitEvaluation(self.net.num_classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        images_BD, labels_B = prepare(batch[0]), batch[1]
        part = self.part_of_batch(len(labels_B))
        _, masks = self.noise_and_masks(part, batch_index)
        logits_BC = self.net(images_BD, masks)
        loss = F.cross_entropy(logits_BC, labels_B)
        wrong = (logits_BC.argmax(dim=1) != labels_B).float().mean()
        figures: dict[str, Any] = {"train/loss": loss.detach(), "train/error": wrong}
        return self.finish_step(loss, figures, part, batch_index)

    def predict_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the logits, `(B, C)`."""
        return self.net(prepare(batch[0]))


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
