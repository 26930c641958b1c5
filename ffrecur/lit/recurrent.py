"""The LightningModule that trains and evaluates a `RecurrentNet`, with automatic optimisation."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from ffrecur.checkpoint import NET_KEY, describe
from ffrecur.errors import UserError, check_setting
from ffrecur.lit.optim import (
    apply_configured,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
)
from ffrecur.metrics import MeanGoodness, RecurrentEvaluation
from ffrecur.negatives import hard_labels, uniform_labels
from ffrecur.recurrent import RecurrentNet, check_window
from ffrecur.reference import Learning, Memory, Objective
from ffrecur.seeding import seeded_generator

OPTIMIZER_KEY = "ffrecur_optimizer"  # entry of a checkpoint: how its optimiser and schedule were configured
NEGATIVES = {"hard": hard_labels, "uniform": uniform_labels}


class RecurrentModule(L.LightningModule):
    """Train a recurrent top-down network on images, each layer by its own goodness.

    One batch is one bottom-up pass, `iterations` iterations on positive data (true labels) and negative data (wrong
    labels), the local gradients summed over the iterations, and one optimiser step.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data.
        damping: share of the previous state in the new one, in [0, 1).
        sign: 1 if positive data shall have high goodness, -1 if low.
        update_scheme: "synchronous" or "alternating" (even hidden layers first, then odd).
        objective: "logistic" or "paired" (each negative against the positive of the same image; no threshold).
        threshold: goodness at which an image is as likely positive as negative.
        temperature: goodness scale of the objective, greater than 0.
        iterations: iterations in training; all carry loss.
        evaluation_iterations: iterations in validation, test and prediction.
        window: first and last iteration, inclusive, whose mean goodness scores a label.
        peer_normalization: strength of peer normalisation; 0 is off.
        memory: "full" (fastest) or "constant" (does not grow with the iterations; the same gradients).
        image_dropout: share of the image's features that are dropped in training, in [0, 1).
        state_dropout: share of the normalised states that are dropped in training, in [0, 1).
        negatives: "hard" (wrong labels as the one-pass head would guess them) or "uniform".
        optimizer: any optimiser, for example torch.optim.Adam.
        lr_scheduler: any schedule, stepped once an epoch.
        weight_decay: every step multiplies the weights, not the biases, by (1 - rate * weight_decay).
        head_learning_rate_scale: the head's learning rate over that of the hidden layers.
        head_weight_decay: weight decay of the head; as `weight_decay` where not given.
        seed: seed of the first weights and of all noise; the command line sets it to `seed_everything`.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        damping: float = 0.3,
        sign: int = 1,
        update_scheme: Literal["synchronous", "alternating"] = "synchronous",
        objective: Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        iterations: int = 8,
        evaluation_iterations: int = 8,
        window: tuple[int, int] = (3, 5),
        peer_normalization: float = 0.0,
        memory: Memory = "full",
        image_dropout: float = 0.0,
        state_dropout: float = 0.0,
        negatives: Literal["hard", "uniform"] = "hard",
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        weight_decay: float = 0.0,
        head_learning_rate_scale: float = 1.0,
        head_weight_decay: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # Callables do not load with weights_only=True; the command line keeps them in the checkpoint as text.
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.learning = Learning(iterations, objective, threshold, temperature, peer_normalization, memory)
        self.evaluation_iterations, self.window = evaluation_iterations, (window[0], window[1])
        self.image_dropout, self.state_dropout = image_dropout, state_dropout
        self.negatives, self.seed = negatives, seed
        self.weight_decay, self.head_learning_rate_scale = weight_decay, head_learning_rate_scale
        self.head_weight_decay = weight_decay if head_weight_decay is None else head_weight_decay
        self._check_settings()
        self._net_settings: dict[str, Any] = dict(
            hidden_features=hidden_features, damping=damping, sign=sign, update_scheme=update_scheme
        )
        with torch.device("meta"):  # a net without memory: refuses bad settings before any data is read
            RecurrentNet(in_features or 1, num_classes=num_classes or 2, **self._net_settings)
        self._stored: dict[str, Any] | None = None
        known = in_features is not None and num_classes is not None
        self.net: RecurrentNet | None = self._build_net() if known else None

    def _check_settings(self) -> None:
        check_setting(self.negatives in NEGATIVES, "negatives", self.negatives, " or ".join(NEGATIVES))
        check_setting(
            self.evaluation_iterations >= 1, "evaluation_iterations", self.evaluation_iterations, "at least 1"
        )
        check_window(self.window, self.evaluation_iterations)
        scale = self.head_learning_rate_scale
        check_setting(scale > 0, "head_learning_rate_scale", scale, "greater than 0")
        for name in ("weight_decay", "head_weight_decay", "seed"):
            check_setting(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("image_dropout", "state_dropout"):
            check_setting(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and less than 1")

    # --- building -----------------------------------------------------------------------------------------------------

    def _build_net(self) -> RecurrentNet:
        """Return a new net, with weights that depend on the seed only."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            hparams = self.hparams
            return RecurrentNet(
                num_classes=hparams["num_classes"], in_features=hparams["in_features"], **self._net_settings
            )

    def setup(self, stage: str) -> None:
        """Learn the sizes from the data, or refuse data that does not fit."""
        self.match_data(getattr(self.trainer, "datamodule", None))

    def match_data(self, data: Any) -> None:
        """Take `in_features` and `num_classes` from a data module that has been set up, unless they are known already.

        Raises `UserError` for data of other sizes, and for videos with fewer frames than there are iterations.
        """
        for name in ("in_features", "num_classes"):
            found, known = getattr(data, name, None), self.hparams[name]
            if known is None:
                check_setting(found is not None, name, None, "given where the data does not tell it")
                self.hparams[name] = found
            elif found not in (None, known):
                raise UserError(
                    f"{name} of the net is {known}, but the data has {found}; train a net on this data first"
                )
        frames = getattr(data, "frames", None)
        for name in ("iterations", "evaluation_iterations"):
            if frames is not None:
                check_setting(
                    self.hparams[name] <= frames, name, self.hparams[name], f"at most the {frames} frames of the videos"
                )

    def configure_model(self) -> None:
        """Build the net, now that the data has told its sizes."""
        if self.net is None:
            self.net = self._build_net()

    def configure_optimizers(self) -> Any:
        """Return one optimiser for all layers, and the schedule."""
        optimizer = grouped_optimizer(
            self.optimizer, self._net, self.weight_decay, self.head_weight_decay, self.head_learning_rate_scale
        )
        try:
            scheduler = None if self.lr_scheduler is None else self.lr_scheduler(optimizer)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise error if isinstance(error, UserError) else UserError(f"model.lr_scheduler: {error}") from error
        self._configured = configured_settings(optimizer, scheduler)
        if self._stored is not None:
            check_continued(self._configured, self._stored)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/error"}}

    def check_optimizer(self, stored: dict[str, Any] | None) -> None:
        """Make optimiser and schedule for the sake of their errors, before anything is written.

        `stored` is how those of the run that is continued were configured. Raises `UserError`.
        """
        self.configure_model()
        self._stored = stored
        self.configure_optimizers()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `ffrecur.load` needs to rebuild the net, and how the optimiser was configured."""
        checkpoint[NET_KEY] = describe(self._net)
        checkpoint[OPTIMIZER_KEY] = self._configured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how the optimiser of a run that is continued was configured."""
        self._stored = checkpoint[OPTIMIZER_KEY]

    @property
    def _net(self) -> RecurrentNet:
        assert self.net is not None, "configure_model builds the net before anything uses it"
        return self.net

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer), "configure_optimizers returns one"
        return optimizer

    # --- training -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Let settings that were changed win over those in a checkpoint's optimiser state."""
        if self._stored is not None:
            apply_configured(self._optimizer, self.lr_schedulers(), self._configured, self._stored)
        self._start_goodness_means()  # Lightning leaves out on_train_epoch_start where it goes on amid an epoch

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Decay the weights, now that the gradients have been taken at the old ones."""
        decay_weights(optimizer)

    def on_train_epoch_start(self) -> None:
        """Log the hidden layers' learning rate, and start the epoch's means of goodness."""
        self.log("train/learning_rate", float(self._optimizer.param_groups[0]["lr"]))
        self._start_goodness_means()

    def _start_goodness_means(self) -> None:
        layers = len(self._net.hidden_features)
        self.goodness_means = {
            kind: MeanGoodness(self.learning.iterations, layers).to(self.device) for kind in ("positive", "negative")
        }

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the local loss of one batch; its backward leaves each layer's local gradients."""
        images, labels_B = prepare(batch[0]), batch[1]
        noise_BC, masks = self._noise(len(labels_B), batch_index)
        learned = self._net.local_learning(
            images,
            labels_B,
            partial(NEGATIVES[self.negatives], noise_BC=noise_BC),
            self.learning,
            masks,
        )
        if not torch.isfinite(learned.loss):
            # Raised before the optimiser step: the weights, and the checkpoints written so far, stay finite.
            raise UserError(
                f"the loss is {learned.loss.item()} in epoch {self.current_epoch}, batch {batch_index}: training has "
                "diverged; a lower learning rate (model.optimizer.init_args.lr) is the usual cure"
            )
        self.goodness_means["positive"].update(learned.goodness_positive_TLB)
        self.goodness_means["negative"].update(learned.goodness_negative_TLB)
        figures = {
            "train/loss": learned.loss.detach(),
            "train/head_loss": learned.head_loss,
            "train/one_pass_error": (learned.logits_BC.argmax(dim=1) != labels_B).float().mean(),
        }
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(labels_B))
        return learned.loss

    def on_train_epoch_end(self) -> None:
        """Log the mean goodness of each layer over the training iterations."""
        for kind, metric in self.goodness_means.items():
            for layer, value in enumerate(metric.compute().reshape(metric.sum_TL.shape).mean(dim=0), start=1):
                self.log(f"train/goodness_{kind}_layer_{layer}", value)

    def _noise(self, batch_size: int, batch_index: int) -> tuple[Tensor, list[Tensor | None]]:
        """Noise of the negatives and dropout masks, functions of (seed, epoch, place in the global batch)."""
        source = seeded_generator(self.seed, self.current_epoch, batch_index)
        world, rank = self.trainer.world_size, self.trainer.global_rank
        # For several processes: every part of a batch is as large as this one, but for a last batch that is cut unevenly.
        noise_BC = torch.rand(world * batch_size, self._net.num_classes, generator=source)
        masks = self._net.dropout_masks(world * batch_size, self.image_dropout, self.state_dropout, source)
        mine = slice(rank * batch_size, (rank + 1) * batch_size)
        return noise_BC[mine].to(self.device), [None if mask is None else mask[mine] for mask in masks]

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def _start_evaluation(self) -> None:
        # While training, no iteration is computed that the validation error does not need.
        iterations = self.window[1] if self.trainer.state.fn == "fit" else self.evaluation_iterations
        self.evaluation = RecurrentEvaluation(self._net, iterations, self.window, self.learning.temperature).to(
            self.device
        )

    on_validation_epoch_start = on_test_epoch_start = _start_evaluation

    def _evaluation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.evaluation.update(self._net, prepare(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Evaluate one batch under every label."""
        self._evaluation_step(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Evaluate one batch under every label."""
        self._evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the errors by goodness and of the one-pass head."""
        results = self.evaluation.compute()
        self.log("val/error", float(results["error"]), prog_bar=True)
        self.log("val/one_pass_error", float(results["one_pass_error"]), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log the errors by goodness and of the one-pass head."""
        results = self.evaluation.compute()
        self.log_dict({f"test/{name}": float(results[name]) for name in ("error", "one_pass_error")})

    def predict_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the scores of every label, `(B, C)`."""
        return self._net.score(prepare(batch[0]), self.window)


def prepare(images: Tensor) -> Tensor:
    """Turn a batch as stored, uint8 `(B, D)` or video `(B, T, D)`, into what the net reads: `(B, D)` or `(T, B, D)` in [0, 1]."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return images.transpose(0, 1) if images.ndim == 3 else images
