"""What the modules for images share whose nets learn by goodness, from wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import check_negatives
from ffrecur.errors import check_setting
from ffrecur.lit.images import ClassifierModule, prepare
from ffrecur.negatives.labels import LabelNegatives, hard_labels, uniform_labels
from ffrecur.processes import Part, mean_over_processes

NEGATIVES = {"hard": hard_labels, "uniform": uniform_labels}


class GoodnessModule(ClassifierModule):
    """Base of such a module: a subclass sets `learning`, says by what it learns and is judged, and builds its net."""

    learning: Learning
    negatives: str | LabelNegatives
    draw_labels: Callable[..., Tensor]
    goodness: Goodness
    head_weight: float
    temperature: float  # of the scores, as probabilities

    def learn_from(self, negatives: str | LabelNegatives, count: int) -> None:
        """Take the settings of the negatives; raises `UserError` for those outside their range."""
        check_negatives(self.learning.objective, count)
        self.negatives, self.draw_labels = negatives, drawn_by(negatives, count)

    def judge_by(self, goodness: Goodness | None, head_weight: float, temperature: float) -> None:
        """Take the settings of the scores; raises `UserError` for a weight below 0."""
        check_setting(head_weight >= 0, "head_weight", head_weight, "at least 0")
        self.goodness, self.head_weight = goodness or MEAN_SQUARE, head_weight
        self.temperature = getattr(self.learning.objective, "temperature", temperature)

    def negatives_of(self, images: Tensor, part: Part, noise_BC: Tensor, batch_index: int) -> Any:
        """Return the negatives of a batch as the net's `local_learning` takes them."""
        return partial(self.draw_labels, noise_BC=noise_BC)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the local loss of one batch; its backward leaves each layer's local gradients."""
        images, labels_B = prepare(batch[0]), batch[1]
        part = self.part_of_batch(len(labels_B))
        noise_BC, masks = self.noise_and_masks(part, batch_index, columns=self.net.num_classes)
        negatives = self.negatives_of(images, part, noise_BC, batch_index)
        average = partial(mean_over_processes, count=part.size)
        learned = self.net.local_learning(images, labels_B, negatives, self.learning, masks, average)
        goodness = {
            "positive": learned.goodness_positive_TLB.mean(dim=-1),
            "negative": learned.goodness_negative_TLB.mean(dim=-1),
        }
        figures = {
            "train/loss": learned.loss.detach(),
            "train/head_loss": learned.head_loss,
            "train/one_pass_error": (learned.logits_BC.argmax(dim=1) != labels_B).float().mean(),
        }
        return self.finish_step(learned.loss, figures, part, batch_index, goodness)


def drawn_by(negatives: str | LabelNegatives, count: int) -> Callable[..., Tensor]:
    """Return what draws negative labels from logits, true labels and noise; raises `UserError` for an unknown name."""
    if isinstance(negatives, LabelNegatives):
        check_setting(count == 1, "negatives_per_case", count, "1 where negatives is a class, which decides it itself")
        return lambda logits_BC, labels_B, noise_BC: negatives(logits_BC, labels_B, noise_BC)  # by place, not by name
    check_setting(negatives in NEGATIVES, "negatives", negatives, " or ".join(NEGATIVES))
    check_setting(count >= 1, "negatives_per_case", count, "at least 1")
    return NEGATIVES[negatives] if count == 1 else partial(NEGATIVES[negatives], count=count)
