"""What is measured of a character model on held-out text, as torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from ffrecur.errors import CommonError
from ffrecur.nets.character import CharNet

UNITS = 2**32
MOST = 2**40  # nats of a batch; a model that is so wrong has diverged, and sums of what is less fit into 64 bits


class NextCharacter(Metric):
    """Bits per character, the mean of `-log2 p(next character)`, and accuracy, the share of places where it is likeliest.

    Bits of the uniform model over V symbols are `log2(V)`.
    """

    full_state_update = False
    nats: Tensor
    parts: Tensor
    hits: Tensor
    count: Tensor
    infinite: Tensor  # batches with predictions that are not finite, or as wrong as that

    def __init__(self) -> None:
        super().__init__()
        # Whole numbers, nats and parts of a nat in units of 2**-32: exact in any order, and on devices without float64 too.
        for name in ("nats", "parts", "hits", "count", "infinite"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits_BV: Tensor, next_B: Tensor) -> None:
        """Add a batch."""
        nats = F.cross_entropy(logits_BV.cpu().double(), next_B.cpu(), reduction="sum").item()
        finite = math.isfinite(nats) and nats < MOST
        self.infinite += not finite
        self.nats += int(nats) if finite else 0
        self.parts += round((nats % 1) * UNITS) if finite else 0
        self.hits += (logits_BV.argmax(dim=1) == next_B).sum()
        self.count += len(next_B)

    def compute(self) -> dict[str, float | int]:
        """Return `bits_per_character`, `accuracy` (a fraction) and `num_characters`.

        Raises `UserError` for predictions that are not finite: here, where all processes know of them.
        """
        if self.infinite:
            raise CommonError("the model's predictions are not finite: its training has diverged")
        count = int(self.count)
        bits = (int(self.nats) + int(self.parts) / UNITS) / count / math.log(2)
        return {"bits_per_character": bits, "accuracy": int(self.hits) / count, "num_characters": count}


class TextEvaluation(nn.Module):
    """What is measured when a `CharNet` is evaluated: the figures of `NextCharacter` by its score, and by its head alone."""

    def __init__(self) -> None:
        super().__init__()
        self.by_score, self.by_head = NextCharacter(), NextCharacter()

    def update(self, net: CharNet, contexts_BW: Tensor, next_B: Tensor) -> None:
        """Add a batch, in float32 whatever the precision of the training."""
        with torch.autocast(contexts_BW.device.type, enabled=False):
            logits_BV = net.logits(contexts_BW)
            self.by_head.update(logits_BV, next_B)
            self.by_score.update(net.score(contexts_BW) if net.goodness_weight else logits_BV, next_B)

    def compute(self) -> dict[str, float | int]:
        """Return the figures, those of the head alone as `head_bits_per_character` and `head_accuracy`."""
        figures, head = self.by_score.compute(), self.by_head.compute()
        return {**figures, **{f"head_{name}": head[name] for name in ("bits_per_character", "accuracy")}}


class Separation(nn.Module):
    """How well each layer's goodness tells real windows from others: the area under the ROC curve, by layer.

    1 where `sign * goodness` of every real window is above that of every other, 0.5 by chance. It counts what this process
    alone was given.
    """

    def __init__(self, layers: int, sign: int) -> None:
        super().__init__()
        self.sign = sign
        self.by_layer: Sequence[BinaryAUROC] = nn.ModuleList(BinaryAUROC(sync_on_compute=False) for _ in range(layers))  # type: ignore[assignment]

    def update(self, real_LB: Tensor, other_LB: Tensor) -> None:
        """Add goodness of real and of other windows."""
        truth = torch.cat([torch.ones_like(real_LB[0]), torch.zeros_like(other_LB[0])]).long()
        for metric, real_B, other_B in zip(self.by_layer, real_LB, other_LB, strict=True):
            # The ranks alone count: squeezed into [0, 1], because torchmetrics would do so by a logistic that saturates.
            scores = self.sign * torch.cat([real_B, other_B]).double()
            metric.update(0.5 + torch.atan(scores) / math.pi, truth)

    def compute(self) -> list[float]:
        """Return the areas."""
        return [float(metric.compute()) for metric in self.by_layer]
