"""What the modules for images share whose nets learn by goodness, from wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import Tensor

from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Learning, Masks
from ffrecur.core.objectives import Objective, check_negatives, objective_of
from ffrecur.errors import check_setting, check_whole
from ffrecur.lit.images import ClassifierModule
from ffrecur.lit.phases import NO_DEPRIVATION, checked_phases, learning_at, warn_of_late
from ffrecur.negatives.labels import LabelNegatives, hard_labels, labels_for, uniform_labels
from ffrecur.processes import Part, mean_over_processes

NEGATIVES = {"hard": hard_labels, "uniform": uniform_labels}


class GoodnessModule(ClassifierModule):
    """Base of such a module: a subclass says from what it learns, and builds its net.

    Args:
        sign: 1 if positive data shall have high goodness, -1 if low.
        objective: "logistic", "paired" (each negative against the positive of the same image; no threshold), "softmax"
            (the true label against all others, of which none is drawn), "sampled_softmax" (the same with `negatives_per_case`
            wrong ones, most of them the likeliest, which stand for all), or the class path of an `ffrecur.Objective`.
        threshold: goodness at which an image is as likely positive as negative.
        temperature: goodness scale of the objective, greater than 0.
        head_weight: weight in a label's score of the log-probability that the head gives it before it sees a label; 0 leaves
            goodness alone, the temperature multiplies both probabilities.
        peer_normalization: strength of peer normalisation; 0 is off.
        negatives_per_case: different negatives for each image, each of which weighs as much.
        head_dropout: share of what the head reads that is dropped in training, in [0, 1).
        sleep: updates on positive data alone, followed by as many on negative data alone; 0 has both in each update.
        deprivation: the first of the updates, counted from 0, that have positive data alone, and how many they are.
        goodness: class path of an `ffrecur.Goodness`; the mean square where not given.
        shared: see `ClassifierModule` and `NetModule`.
    """

    learning: Learning
    negatives: Any
    draw_labels: Callable[..., Tensor]

    def __init__(
        self,
        sign: int = 1,
        objective: Literal["logistic", "paired", "softmax", "sampled_softmax"] | Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        head_weight: float = 0.0,
        peer_normalization: float = 0.0,
        negatives_per_case: int = 1,
        goodness: Goodness | None = None,
        *,
        head_dropout: float = 0.0,
        sleep: int = 0,
        deprivation: tuple[int, int] = NO_DEPRIVATION,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_setting(head_weight >= 0, "head_weight", head_weight, "at least 0")
        check_setting(0 <= head_dropout < 1, "head_dropout", head_dropout, "at least 0 and less than 1")
        self.head_dropout = head_dropout
        self.goodness, self.head_weight, self.negatives_per_case = (
            goodness or MEAN_SQUARE,
            head_weight,
            negatives_per_case,
        )
        self.objective, self.peer_normalization = objective_of(objective, threshold, temperature), peer_normalization
        self.sleep, self.deprivation = checked_phases(self.objective, sleep, deprivation)
        self.temperature = getattr(self.objective, "temperature", temperature)  # of the scores, as probabilities

    def learn_from(self, negatives: str | LabelNegatives) -> None:
        """Take what draws wrong labels; raises `UserError` for what does not."""
        check_negatives(self.objective, self.negatives_per_case, negatives, "hard")
        self.negatives, self.draw_labels = negatives, drawn_by(negatives, self.negatives_per_case, self.objective)

    def on_train_start(self) -> None:
        """Warn of a deprivation that never comes."""
        super().on_train_start()
        warn_of_late(self.deprivation, self.trainer.estimated_stepping_batches)

    def negatives_of(self, images: Tensor, part: Part, noise_BC: Tensor, batch_index: int) -> Any:
        """Return the negatives of a batch as the net's `local_learning` takes them."""
        return partial(self.draw_labels, noise_BC=noise_BC)

    def harder(
        self, images: Tensor, labels_B: Tensor | None, negatives: Any, learning: Learning, masks: Masks
    ) -> Tensor:
        """Return the images that a net learns from in place of those of the batch: the same ones."""
        return images

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        """Return the local loss of one batch; its backward leaves each layer's local gradients."""
        images, labels_B = self.inputs_and_targets(batch)
        part, classes = self.part_of_batch(len(batch[0])), self.net.num_classes or 0
        noise_BC, masks = self.noise_and_masks(part, batch_index, classes, head_dropout=self.head_dropout)
        negatives = self.negatives_of(images, part, noise_BC, batch_index)
        average = partial(mean_over_processes, count=part.size)
        learning = learning_at(self.global_step, self.learning, self.sleep, self.deprivation)
        images = self.harder(images, labels_B, negatives, learning, masks)
        learned = self.net.local_learning(images, labels_B, negatives, learning, masks, average)
        figures = {"train/loss": learned.loss.detach()}
        if labels_B is not None:
            figures["train/head_loss"] = learned.head_loss
            figures["train/one_pass_error"] = (learned.logits_BC.argmax(dim=1) != labels_B).float().mean()
        return self.finish_step(learned.loss, figures, part, batch_index, learned.mean_goodness())


def drawn_by(negatives: str | LabelNegatives, count: int, objective: Objective) -> Callable[..., Tensor]:
    """Return what draws negative labels from logits, true labels and noise; raises `UserError` for an unknown name."""
    if isinstance(negatives, LabelNegatives):
        check_setting(count == 1, "negatives_per_case", count, "1 where negatives is a class, which decides it itself")
        return lambda logits_BC, labels_B, noise_BC: negatives(logits_BC, labels_B, noise_BC)  # by place, not by name
    allowed = f"{', '.join(NEGATIVES)} or an ffrecur.negatives.LabelNegatives"
    check_setting(isinstance(negatives, str) and negatives in NEGATIVES, "negatives", negatives, allowed)
    check_whole("negatives_per_case", count)
    draw = labels_for(objective, NEGATIVES[negatives])
    return draw if count == 1 else partial(draw, count=count)
