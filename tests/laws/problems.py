"""All that the laws hold for: nets, objectives, goodness functions, devices. A new objective or goodness adds a line here.

A problem is one of each, with a batch. Shapes: B cases, T iterations, L layers, M negatives a case, K values of goodness.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from families import NETS
from family import Family
from making import wrong_labels
from torch import Tensor, nn

from ffrecur.core import learning as engine
from ffrecur.core.goodness import Goodness, MeanSquare
from ffrecur.core.learning import Learning, LocalLoss
from ffrecur.core.objectives import Logistic, Objective, Paired, SampledSoftmax, Softmax
from ffrecur.functional import rms_normalize
from ffrecur.nets.character import LastSymbols

CASES = 3


@dataclass(frozen=True)
class Exponential(Objective):
    """An objective as a user writes one, without slopes of its own."""

    threshold: float = 0.1

    def loss(self, positive, negatives):
        return (torch.exp(-positive / 2) + torch.exp((negatives - positive) / 4)).mean(dim=0)


@dataclass(frozen=True)
class Some(Objective):
    """An objective of one layer only, or of one block only: the loss of all others is 0."""

    whole: Objective
    layer: int | None = None
    block: int | None = None

    @property
    def threshold(self):
        return self.whole.threshold

    @property
    def all_candidates(self):
        return self.whole.all_candidates

    def among(self, answers):
        return replace(self, whole=self.whole.among(answers))

    def mask(self, positive_TLBK):
        mask_TLBK = torch.zeros_like(positive_TLBK)
        layers = slice(None) if self.layer is None else self.layer
        blocks = slice(None) if self.block is None else self.block
        mask_TLBK[:, layers, :, blocks] = 1
        return mask_TLBK

    def loss(self, positive, negatives):
        return self.whole.loss(positive, negatives) * self.mask(positive)

    def slopes(self, positive, negatives):
        return tuple(slopes * self.mask(positive) for slopes in self.whole.slopes(positive, negatives))


class Quartic(Goodness):
    """A goodness as a user writes one, without a factor."""

    def value(self, state_BH):
        return state_BH.pow(4).mean(dim=-1, keepdim=True)


class Halves(Goodness):
    """The same for several values a layer: means of the first and of the second half of the units, each squared."""

    blocks = 2

    def value(self, state_BH):
        return torch.stack([half.mean(dim=-1).square() for half in state_BH.tensor_split(2, dim=-1)], dim=-1)


OBJECTIVES: dict[str, Objective] = {
    "logistic": Logistic(0.9, 0.3),
    "awake": Logistic(0.9, 0.3, 1.0, 0.0),
    "paired": Paired(0.3),
    "softmax": Softmax(0.4),
    "sampled softmax": SampledSoftmax(0.4),
    "own objective": Exponential(),
}
GOODNESS: dict[str, Goodness] = {
    "mean square": MeanSquare(),
    "two blocks": MeanSquare(blocks=2),
    "own goodness": Quartic(),
    "own goodness of two values": Halves(),
}
DEVICES = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


class Batch(NamedTuple):
    """What a net learns from."""

    inputs: Tensor
    true_B: Tensor
    negatives: Any
    masks: list[Tensor | None] | None


class Learned(NamedTuple):
    """A net after one backward, with what came of it."""

    net: Any
    result: LocalLoss
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """A family, what its nets learn by, and where."""

    family: Family
    objective: Objective
    goodness: Goodness
    sign: int
    device: str

    @property
    def exact(self) -> dict[str, float]:
        """Tolerances for what is equal but for rounding: 1e-10 in float64, which MPS does not have."""
        if self.device == "mps":
            return {"rtol": 1e-4, "atol": 1e-4}
        return {"rtol": 1e-10, "atol": 1e-12 / getattr(self.objective, "temperature", 1.0)}

    @property
    def repeated(self) -> dict[str, float]:
        """Tolerances for the same sums once more: none on the CPU; a GPU may add in another order."""
        return {"rtol": 0.0, "atol": 0.0} if self.device == "cpu" else self.exact

    @property
    def iterations(self) -> int:
        """Number of iterations, T."""
        return self.family.iterations

    def put(self, thing: Any) -> Any:
        """Return a tensor, a net or some negatives on the device, in the precision that it has."""
        if isinstance(thing, LastSymbols):
            return LastSymbols(self.put(thing.symbols_BK))
        in_double = isinstance(thing, nn.Module) or thing.dtype == torch.float64
        return (thing.float() if in_double and self.device == "mps" else thing).to(self.device)

    def net(self, **settings: Any) -> Any:
        """Return a net, the same weights each time."""
        return self.put(self.family.net(goodness=self.goodness, sign=self.sign, **settings))

    def batch(self, negatives: int = 1) -> Batch:
        """Return a batch with so many negatives a case."""
        inputs, true_B = self.family.inputs(CASES), torch.tensor([0, 2, 1])
        wrong_BK = wrong_labels(true_B, self.family.answers, negatives if self.family.several else 1)
        made = self.family.negatives(inputs, wrong_BK)
        masks = None
        if self.family.dropout is not None:
            drawn = self.family.masks(self.family.net(), CASES, self.family.dropout, torch.Generator().manual_seed(3))
            masks = [None if mask is None else self.put(mask) for mask in drawn]
        return Batch(self.put(inputs), self.put(true_B), self.put(made), masks)

    def some(self, batch: Batch, cases: Sequence[int]) -> Batch:
        """Return the batch of some of the cases."""
        negatives = batch.negatives
        chosen = LastSymbols(negatives.symbols_BK[cases]) if isinstance(negatives, LastSymbols) else negatives[cases]
        masks = batch.masks and [None if mask is None else mask[cases] for mask in batch.masks]
        return Batch(self.family.some(batch.inputs, cases), batch.true_B[cases], chosen, masks)

    def learn(
        self, batch: Batch, module: Any = engine, net: Any = None, scale: float = 1.0, **settings: Any
    ) -> Learned:
        """Learn from a batch, `scale` times the loss, by the engine or the reference; `settings` are those of `Learning`."""
        net = self.net() if net is None else net
        learning = Learning(**{"objective": self.objective, "iterations": self.iterations, **settings})
        for parameter in net.parameters():
            parameter.grad = None
        result = module.local_learning(net, *batch[:3], learning, batch.masks)
        if result.loss.requires_grad:
            (scale * result.loss).backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        return Learned(net, result._replace(loss=result.loss.detach()), gradients)

    def features(self, net: Any, batch: Batch) -> Tensor:
        """Return what the head reads, `(B, F)`, from the states alone; without masks."""
        states = self.family.states(net, batch.inputs)
        return torch.cat([rms_normalize(state) for state in states], dim=1).detach()

    def owner(self, parameter: str) -> int | None:
        """Return the hidden layer that a parameter belongs to; None for the head's."""
        return self.family.owner(parameter)


def problems(nets=tuple(NETS), objectives=tuple(OBJECTIVES), goodness=tuple(GOODNESS)):
    """Decorate a law that holds for all of these names; a device that is missing is one test that is skipped.

    Signs take turns, so that every net and every objective is met with both. A family with a goodness of its own, of several
    values, is met with that alone, and in laws of such goodness.
    """
    made = []
    for device, present in DEVICES.items():
        if not present:
            made.append(pytest.param(None, id=device, marks=pytest.mark.skip(reason=f"there is no {device} here")))
            continue
        for (i, n), (j, o) in itertools.product(enumerate(nets), enumerate(objectives)):
            for g, judge in goodness_of(NETS[n], goodness).items():
                problem = Problem(NETS[n], OBJECTIVES[o], judge, 1 if (i + j) % 2 else -1, device)
                made.append(pytest.param(problem, id=f"{n}-{o}-{g}-{device}"))
    return pytest.mark.parametrize("problem", made)


def goodness_of(family: Family, names: Sequence[str]) -> dict[str, Goodness]:
    """Return the goodness functions of these names that a family is met with."""
    named = {name: GOODNESS[name] for name in names}
    if "goodness" not in family.settings:
        return named
    several = any(each.blocks > 1 for each in named.values())
    return {"its own": family.settings["goodness"]} if several else {}
