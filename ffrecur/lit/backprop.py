"""The LightningModules of the baselines: the same data, schedules and budget, but backpropagation."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from ffrecur.backprop import BackpropNet, character_logits
from ffrecur.errors import check_setting
from ffrecur.lit.classifier import ClassifierModule, prepare
from ffrecur.lit.optim import Interval
from ffrecur.lit.text import TextModule
from ffrecur.metrics import LogitEvaluation


class BackpropModule(ClassifierModule):
    """Train a multilayer perceptron by backpropagation of the cross-entropy: the baseline for `RecurrentModule`.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data.
        image_dropout: share of the image's features that are dropped in training, in [0, 1).
        state_dropout: share of the hidden units that are dropped in training, in [0, 1).
        optimizer: any optimiser, for example torch.optim.Adam.
        lr_scheduler: any schedule, such as PyTorch's.
        weight_decay: every step multiplies the weights, not the biases, by (1 - rate * weight_decay).
        head_learning_rate_scale: the head's learning rate over that of the hidden layers.
        head_weight_decay: weight decay of the head; as `weight_decay` where not given.
        seed: seed of the first weights and of all noise; the command line sets it to `seed_everything`.
        lr_scheduler_interval: what the schedule is stepped after, "epoch" or "step" (of the optimiser). By default each
            epoch; OneCycleLR and CyclicLR, which are meant for it, each step.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "BackpropNet"

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        image_dropout: float = 0.0,
        state_dropout: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        weight_decay: float = 0.0,
        head_learning_rate_scale: float = 1.0,
        head_weight_decay: float | None = None,
        seed: int = 0,
        lr_scheduler_interval: Interval | None = None,
    ) -> None:
        super().__init__(
            optimizer,
            lr_scheduler,
            weight_decay,
            head_learning_rate_scale,
            head_weight_decay,
            image_dropout,
            state_dropout,
            seed,
            lr_scheduler_interval,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        self.check_net_settings()

    def build_net(self, in_features: int, num_classes: int) -> BackpropNet:
        """Return a new net."""
        return BackpropNet(in_features, self.hparams["hidden_features"], num_classes)

    def new_evaluation(self) -> LogitEvaluation:
        """Return the metrics."""
        return LogitEvaluation(self.net.num_classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        images_BD, labels_B = prepare(batch[0]), batch[1]
        part = self.part_of_batch(len(labels_B))
        _, masks = self.noise(part, batch_index)
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
        window: characters that the model looks back; learned from the data.
        alphabet: its symbols; learned from the data.
        head_layers: layers that the head reads, counted from 1; all by default.
        fold_case: whether text is lower-cased; learned from the data.
        unknown: what becomes of characters that are no symbols; learned from the data.
        sample_temperature: of the samples in TensorBoard and in evaluations.
        state_dropout: share of the normalised states that are dropped in training, in [0, 1).
        optimizer: any optimiser, for example torch.optim.Adam.
        lr_scheduler: any schedule, such as PyTorch's.
        weight_decay: every step multiplies the weights, not the biases, by (1 - rate * weight_decay).
        head_learning_rate_scale: the head's learning rate over that of the hidden layers.
        head_weight_decay: weight decay of the head; as `weight_decay` where not given.
        seed: seed of the first weights; the command line sets it to `seed_everything`.
        lr_scheduler_interval: what the schedule is stepped after, "epoch" or "step" (of the optimiser). By default each
            epoch; OneCycleLR and CyclicLR, which are meant for it, each step.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(
        self,
        hidden_features: list[int] = [500, 500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        window: int | None = None,
        alphabet: str | None = None,
        head_layers: list[int] | None = None,
        fold_case: bool | None = None,
        unknown: str | None = None,
        sample_temperature: float = 0.7,
        state_dropout: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        weight_decay: float = 0.0,
        head_learning_rate_scale: float = 1.0,
        head_weight_decay: float | None = None,
        seed: int = 0,
        lr_scheduler_interval: Interval | None = None,
    ) -> None:
        super().__init__(
            optimizer,
            lr_scheduler,
            weight_decay,
            head_learning_rate_scale,
            head_weight_decay,
            seed,
            lr_scheduler_interval,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        check_setting(
            head_layers is None or len(hidden_features) in head_layers,
            "head_layers",
            head_layers,
            f"layers with the last one, {len(hidden_features)}, among them: nothing would train it",
        )
        self.check_net_settings(sample_temperature, state_dropout)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        contexts_BW, next_B = batch[0][:, :-1], batch[0][:, -1]
        part = self.part_of_batch(len(next_B))
        masks = self.batch_masks(part, (self.state_dropout,), self.batch_source(batch_index))
        logits_BV = character_logits(self.net, contexts_BW, masks)
        loss = F.cross_entropy(logits_BV, next_B)
        return self.finish_text_step(loss, loss, logits_BV, next_B, part, batch_index)
