"""What the goodness of positive and negative data should be: the objective of every layer.

An objective is written for high goodness on positive data. It is given *signed* goodness, `sign * (goodness - threshold)`, so
that a net with `sign=-1`, which wants low goodness there, needs no objective of its own. Shapes: `(...)` any, M negatives a
case, first.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ffrecur.errors import SettingWarning, UserError, check_setting
from ffrecur.functional import logistic_loss, logistic_loss_gradient, paired_loss, paired_loss_gradient


class Objective(ABC):
    """Base of the objectives: a subclass says what `loss` is, and may say what its `slopes` are, where that is cheaper.

    `threshold` is taken off the goodness before the sign is put to it. `all_candidates` asks for every wrong label, or
    symbol, as negatives.
    """

    threshold: float = 0.0
    all_candidates: ClassVar[bool] = False

    @abstractmethod
    def loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss `(...)` of signed goodness: `(...)` of the positive, `(M, ...)` of its negatives."""

    def slopes(self, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives of the loss by both, `(...)` and `(M, ...)`: by autograd, right for any loss."""
        with torch.enable_grad():
            pair = positive.detach().requires_grad_(), negatives.detach().requires_grad_()
            by_positive, by_negatives = torch.autograd.grad(self.loss(*pair).sum(), pair, materialize_grads=True)
        return by_positive, by_negatives

    def among(self, answers: int) -> Objective:
        """Return this objective for so many answers to choose from, the true one included; few depend on their number."""
        return self


@dataclass(frozen=True)
class Logistic(Objective):
    """Logistic regression of "is it positive?" on goodness (section 2), each of M negatives with weight 1/M.

    `softplus(-positive / temperature) + mean over negatives of softplus(negative / temperature)`, see
    `functional.logistic_loss`.

    Args:
        threshold: goodness at which the probability of positive is one half.
        temperature: goodness scale, greater than 0.
        positive_weight: weight of positive data; 0 in the phases of sleep.
        negative_weight: weight of negative data; 0 in the phases of waking.

    Raises:
        UserError: a setting outside its range.

    >>> Logistic(threshold=1.0).loss(torch.tensor(0.2), torch.tensor([0.0]))
    tensor(0.8201)
    """

    threshold: float = 1.0
    temperature: float = 0.1
    positive_weight: float = 1.0
    negative_weight: float = 1.0

    def __post_init__(self) -> None:
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")

    def loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """See `Objective.loss`."""
        weights = self.positive_weight, self.negative_weight
        return logistic_loss(positive, negatives, 0.0, self.temperature, 1, *weights).mean(dim=0)

    def slopes(self, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective.slopes`; in closed form."""
        weights = self.positive_weight, self.negative_weight
        by_positive, by_negatives = logistic_loss_gradient(positive, negatives, 0.0, self.temperature, 1, *weights)
        return by_positive, by_negatives / len(negatives)


@dataclass(frozen=True)
class Paired(Objective):
    """Each negative against the positive of the same case, `mean of softplus((negative - positive) / temperature)`.

    It needs no threshold; see `functional.paired_loss`.

    Args:
        temperature: goodness scale, greater than 0.

    Raises:
        UserError: a setting outside its range.

    >>> Paired().loss(torch.tensor(1.2), torch.tensor([1.0]))
    tensor(0.1269)
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")

    def loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """See `Objective.loss`."""
        return paired_loss(positive, negatives, self.temperature).mean(dim=0)

    def slopes(self, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective.slopes`; in closed form."""
        by_positive, by_negatives = paired_loss_gradient(positive, negatives, self.temperature)
        return by_positive.mean(dim=0), by_negatives / len(negatives)


@dataclass(frozen=True)
class Softmax(Objective):
    """Cross-entropy of the true candidate among all: `-log softmax(signed goodness / temperature)` of the positive.

    Its negatives are all other labels, or symbols, of which none is drawn. Not in the paper.

    Args:
        temperature: goodness scale, greater than 0.

    Raises:
        UserError: a setting outside its range.

    >>> Softmax(temperature=1.0).loss(torch.tensor(1.0), torch.tensor([1.0, 1.0]))
    tensor(1.0986)
    """

    temperature: float = 0.1
    all_candidates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")

    def loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """See `Objective.loss`."""
        candidates = torch.cat([positive[None], negatives]) / self.temperature
        return torch.logsumexp(candidates, dim=0) - candidates[0]

    def slopes(self, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective.slopes`; in closed form."""
        probabilities = torch.softmax(torch.cat([positive[None], negatives]) / self.temperature, dim=0)
        return (probabilities[0] - 1) / self.temperature, probabilities[1:] / self.temperature


@dataclass(frozen=True)
class SampledSoftmax(Objective):
    """As `Softmax`, with a few of the wrong candidates, which stand for all: the likeliest ones, and some of the others.

    `-log(exp(p) / (exp(p) + sum over negatives of weight * exp(n)))` of signed goodness over temperature. The last quarter of
    the negatives, at least one, are drawn from all wrong candidates that are not among the first three quarters, and have the
    weight of those they stand for, so that the sum has the right mean, though not its logarithm: the probabilities are a
    little off. Negatives that were drawn in another way, such as by `hard_labels`, are no such sample: take those of
    `negatives.likely_labels`. Not in the paper.

    Args:
        temperature: goodness scale, greater than 0.
        answers: number of all candidates, the true one included; nets fill it in.

    Raises:
        UserError: a setting outside its range.

    >>> SampledSoftmax(temperature=1.0, answers=3).loss(torch.tensor(1.0), torch.tensor([1.0, 1.0]))
    tensor(1.0986)
    """

    temperature: float = 0.1
    answers: int | None = None

    def __post_init__(self) -> None:
        check_setting(self.temperature > 0, "temperature", self.temperature, "greater than 0")

    def among(self, answers: int) -> SampledSoftmax:
        """See `Objective.among`."""
        return replace(self, answers=answers)

    def candidates(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """Return what the softmax is taken of, `(1 + M, ...)`, the positive first."""
        if self.answers is None:
            raise UserError("answers of SampledSoftmax is None, but must be the number of all candidates")
        drawn = drawn_others(len(negatives))
        left = self.answers - 1 - (len(negatives) - drawn)
        rule = f"from {drawn + 1} to {self.answers - 1}, the number of wrong candidates"
        check_setting(left >= drawn > 0, "negatives_per_case", len(negatives), rule)
        of_all = torch.cat([positive[None], negatives]) / self.temperature
        of_all[-drawn:] += math.log(left / drawn)
        return of_all

    def loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """See `Objective.loss`."""
        of_all = self.candidates(positive, negatives)
        return torch.logsumexp(of_all, dim=0) - of_all[0]

    def slopes(self, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective.slopes`; in closed form."""
        probabilities = torch.softmax(self.candidates(positive, negatives), dim=0)
        return (probabilities[0] - 1) / self.temperature, probabilities[1:] / self.temperature


def drawn_others(count: int) -> int:
    """Return how many of so many negatives are drawn from the less likely candidates, by `SampledSoftmax`: a quarter.

    >>> [drawn_others(count) for count in (1, 3, 8)]
    [1, 1, 2]
    """
    return max(1, count // 4)


def predicts_alone(objective: Objective) -> bool:
    """Whether goodness becomes the logarithm of a probability, whatever the negatives are drawn from."""
    return objective.all_candidates or isinstance(objective, SampledSoftmax)


def check_negatives(objective: Objective, count: int, negatives: object, usual: str, dreamt: bool = False) -> None:
    """Raise `UserError` for numbers and dreams that an objective which chooses its negatives would leave out of account.

    Other `negatives` than the usual ones are warned of; "none" has an effect with all objectives.
    """
    if isinstance(objective, SampledSoftmax):
        if not isinstance(negatives, str):
            unread = f"negatives is a {type(negatives).__name__}, but sampled_softmax chooses wrong answers itself"
            raise UserError(f"{unread}: leave negatives out, or take another objective")
        check_setting(count > 1, "negatives_per_case", count, "at least 2 with sampled_softmax; 12 do well")
        if dreamt:
            raise UserError(
                "negatives are dreamt, but sampled_softmax takes no dreams: it chooses wrong candidates itself"
            )
    if objective.all_candidates:
        check_setting(
            count == 1, "negatives_per_case", count, "1 with an objective of all candidates, which draws none"
        )
        if dreamt:
            raise UserError(
                "negatives are dreamt, but an objective of all candidates, such as softmax, takes no dreams"
            )
    if predicts_alone(objective) and negatives not in (usual, "none"):
        given = negatives if isinstance(negatives, str) else f"a {type(negatives).__name__}"
        unread = (
            f"negatives is {given}, but has no effect with {name_of(objective)}, which chooses wrong answers itself"
        )
        warnings.warn(unread, SettingWarning, stacklevel=4)


COMPARED: dict[object, type[Paired | Softmax | SampledSoftmax]] = {
    "paired": Paired,
    "softmax": Softmax,
    "sampled_softmax": SampledSoftmax,
}  # candidates, without a threshold


def name_of(objective: Objective) -> str:
    """Return the name of one of our objectives, and of others that of their class.

    >>> name_of(SampledSoftmax()), name_of(Logistic())
    ('sampled_softmax', 'logistic')
    """
    ours = {**COMPARED, "logistic": Logistic}
    names = [str(name) for name, kind in ours.items() if type(objective) is kind]
    return names[0] if names else type(objective).__name__


def objective_of(objective: str | Objective, threshold: float = 1.0, temperature: float = 0.1) -> Objective:
    """Return an objective as it is, or ours of that name with these settings. Raises `UserError` for anything else.

    A setting that the objective does not have, or has already, and that is not the usual one, is warned of.

    >>> objective_of("paired", temperature=0.05)
    Paired(temperature=0.05)
    """
    if objective == "logistic":
        return Logistic(threshold, temperature)
    if isinstance(objective, Objective):
        for name, value, usual in (("threshold", threshold, 1.0), ("temperature", temperature, 0.1)):
            if value not in (usual, getattr(objective, name, usual)):
                own = f"a {type(objective).__name__}, which has settings of its own"
                unread = f"{name} is {value}, but has no effect on the loss of {own}"
                warnings.warn(unread, SettingWarning, stacklevel=3)
        return objective
    if objective in COMPARED:
        if threshold != 1.0:
            unread = f"threshold is {threshold}, but has no effect with the objective {objective}, which has none"
            warnings.warn(unread, SettingWarning, stacklevel=3)
        return COMPARED[objective](temperature)
    allowed = f"logistic, {', '.join(map(str, COMPARED))} or an ffrecur.Objective"
    raise UserError(f"objective is {objective!r}, but must be {allowed}")
