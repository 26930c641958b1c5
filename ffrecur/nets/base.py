"""What the nets that learn locally share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import MEAN_SQUARE, Goodness, described_as
from ffrecur.core.sweep import Sweep, Wiring
from ffrecur.errors import check_setting
from ffrecur.functional import dropout_masks
from ffrecur.seeding import draw_normal

States = tuple[Tensor, ...]


class LocalNet(nn.Module):
    """Base of the nets whose hidden layers learn each by its own goodness.

    Args:
        hidden_features: units of each hidden layer.
        sign: 1 if positive data shall have high goodness, -1 if low (section 3.5).
        goodness: what the layers are judged by.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    head: nn.Linear

    def __init__(self, hidden_features: tuple[int, ...], sign: int, goodness: Goodness) -> None:
        super().__init__()
        check_setting(sign in (1, -1), "sign", sign, "1 or -1")
        self.hidden_features, self.sign, self.goodness_function = hidden_features, sign, goodness
        for width in hidden_features:
            goodness.check(width)

    def described_goodness(self) -> dict[str, Any]:
        """Return the entry of the settings for the goodness; none for the mean square, which older versions have too."""
        return {} if self.goodness_function == MEAN_SQUARE else {"goodness": described_as(self.goodness_function)}

    def draw_masks(
        self, batch_size: int, features: int, rates: tuple[float, float], generator: torch.Generator | None
    ) -> list[Tensor | None]:
        """One mask a case for what the first layer reads, `(B, features)`, and for each normalised state, `(B, H)`."""
        of_states = [rates[1]] * len(self.hidden_features)
        widths = (features, *self.hidden_features)
        return dropout_masks(batch_size, widths, (rates[0], *of_states), self.head.weight, generator)

    @torch.no_grad()
    def goodness_of_kinds(self, wiring: Wiring, dtype: torch.dtype) -> Tensor:
        """Goodness `(T, L, N, B)` of N kinds of data, the mean over blocks; with autocast switched off."""
        sweep = Sweep(wiring, self.goodness_function, dtype)
        shape = (len(wiring.damping), len(wiring.layers), wiring.kinds, wiring.cases, self.goodness_function.blocks)
        goodness_TLNBK = self.head.weight.new_empty(shape)
        for iteration in range(len(wiring.damping)):
            sweep.iterate(iteration, 0, goodness_TLNBK[iteration])
        return goodness_TLNBK.mean(dim=-1) if shape[-1] > 1 else goodness_TLNBK.squeeze(-1)


def linear_layers(in_features: int, widths: Sequence[int]) -> nn.ModuleList:
    """Return linear layers one above the other."""
    return nn.ModuleList([nn.Linear(below, width) for below, width in pairwise((in_features, *widths))])


def draw_weights(linears: Sequence[nn.Linear], gain: float, head: nn.Linear) -> None:
    """Draw weights from `N(0, gain/fan_in)`; set the biases and the head to 0, so that the first negatives are uniform."""
    for linear in linears:
        fan_in = linear.in_features
        draw_normal(linear.weight, fan_in**-0.5 if gain == 1 else (gain / fan_in) ** 0.5)
    for linear in (*linears, head):
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    nn.init.zeros_(head.weight)


def every_other(true_B: Tensor, count: int) -> Tensor:
    """Return all answers but the true one, in order, `(B, count - 1)`.

    >>> every_other(torch.tensor([0, 2]), count=3)
    tensor([[1, 2],
            [0, 1]])
    """
    others_K = torch.arange(count - 1, device=true_B.device)
    return others_K + (others_K >= true_B[:, None]).long()
