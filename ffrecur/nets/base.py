"""What the nets that learn locally share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import MEAN_SQUARE, Goodness, described_as
from ffrecur.core.learning import Masks
from ffrecur.core.local import LocalLinear
from ffrecur.core.sweep import Sweep, Wiring
from ffrecur.errors import check_setting
from ffrecur.functional import dropout_masks, masked
from ffrecur.seeding import draw_normal

States = tuple[Tensor, ...]
DRAWN = (nn.Linear, nn.Conv2d, LocalLinear)  # layers that get their first weights from us


class LocalNet(nn.Module):
    """Base of the nets whose hidden layers learn each by its own goodness.

    Args:
        hidden_features: units of each hidden layer.
        sign: 1 if positive data shall have high goodness, -1 if low (section 3.5).
        goodness: what the layers are judged by.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    head: nn.Linear | None
    head_layers: Sequence[int]  # that the head reads, counted from 1
    usual_iterations = (
        1  # that it learns from where nothing else is asked for; more only where layers are visited again
    )

    def __init__(self, hidden_features: tuple[int, ...], sign: int, goodness: Goodness) -> None:
        super().__init__()
        check_setting(isinstance(goodness, Goodness), "goodness", goodness, "an ffrecur.Goodness, such as MeanSquare()")
        self.hidden_features, self.sign, self.goodness_function = hidden_features, sign, goodness
        for width in hidden_features:
            goodness.check(width)

    @property
    def sign(self) -> int:
        """1 if positive data shall have high goodness, -1 if low; may be set at any time."""
        return self._sign

    @sign.setter
    def sign(self, sign: int) -> None:
        check_setting(sign in (1, -1), "sign", sign, "1 or -1")
        self._sign = sign

    @property
    def weight(self) -> Tensor:
        """One of the parameters: all have its type and its device."""
        return next(self.parameters())

    def described_goodness(self) -> dict[str, Any]:
        """Return the entry of the settings for the goodness; none for the mean square, which older versions have too."""
        return {} if self.goodness_function == MEAN_SQUARE else {"goodness": described_as(self.goodness_function)}

    def read_out(self, rows: Mapping[int, Tensor] | Sequence[Tensor], masks: Masks | None = None) -> Tensor:
        """Return what the head reads, `(B, F)`, of the layers' normalised states `(n, B, H)`: of their first kind."""
        row = torch.cat([rows[layer - 1][0].to(self.weight.dtype) for layer in self.head_layers], dim=1)
        return masked(row, self.head_mask(masks))

    def head_mask(self, masks: Masks | None) -> Tensor | None:
        """Return the mask of what the head reads, the last of `dropout_masks` where it has one."""
        return None if masks is None or len(masks) < len(self.hidden_features) + 2 else masks[-1]

    def draw_masks(
        self,
        batch_size: int,
        features: int,
        rates: tuple[float, float],
        generator: torch.Generator | None,
        head_dropout: float = 0.0,
    ) -> list[Tensor | None]:
        """One mask a case for what the first layer reads, `(B, features)`, and for each normalised state, `(B, H)`.

        With `head_dropout` one more, for what the head reads, `(B, F)`.
        """
        of_states = [rates[1]] * len(self.hidden_features)
        widths, all_rates = (features, *self.hidden_features), (rates[0], *of_states)
        if head_dropout > 0:
            read = sum(self.hidden_features[layer - 1] for layer in self.head_layers)
            widths, all_rates = (*widths, read), (*all_rates, head_dropout)
        return dropout_masks(batch_size, widths, all_rates, self.weight, generator)

    @torch.no_grad()
    def sweep_kinds(self, wiring: Wiring, dtype: torch.dtype) -> tuple[Sweep, Tensor]:
        """Visit the layers without learning; return the sweep and the goodness `(T, L, N, B)`, the mean over blocks.

        With autocast switched off.
        """
        sweep = Sweep(wiring, self.goodness_function, dtype)
        shape = (len(wiring.damping), len(wiring.layers), wiring.kinds, wiring.cases, self.goodness_function.blocks)
        goodness_TLNBK = self.weight.new_empty(shape)
        for iteration in range(len(wiring.damping)):
            sweep.iterate(iteration, 0, goodness_TLNBK[iteration])
        return sweep, goodness_TLNBK.mean(dim=-1) if shape[-1] > 1 else goodness_TLNBK.squeeze(-1)

    def goodness_of_kinds(self, wiring: Wiring, dtype: torch.dtype) -> Tensor:
        """Goodness `(T, L, N, B)` of N kinds of data, see `sweep_kinds`."""
        return self.sweep_kinds(wiring, dtype)[1]

    # --- peer normalisation, of the nets that have it -----------------------------------------------------------------

    def add_peer_means(self) -> None:
        """Keep a running mean activity of each layer's units: the state of peer normalisation."""
        for layer, width in enumerate(self.hidden_features):
            self.register_buffer(f"peer_mean_{layer}", torch.empty(width))

    def peer_means(self) -> States:
        """Running mean activity of each layer's units on positive data; L of `(H,)`."""
        return tuple(self.get_buffer(f"peer_mean_{layer}") for layer in range(len(self.hidden_features)))

    def reset_peer_means(self) -> None:
        """Set them to 0.5."""
        for mean_H in self.peer_means():
            nn.init.constant_(mean_H, 0.5)


def linear_layers(in_features: int, widths: Sequence[int]) -> nn.ModuleList:
    """Return linear layers one above the other."""
    return nn.ModuleList([nn.Linear(below, width) for below, width in pairwise((in_features, *widths))])


def draw_weights(layers: Iterable[nn.Module], gain: float, head: nn.Linear | None) -> None:
    """Draw weights from `N(0, gain/fan_in)`; set the biases and the head to 0, so that the first negatives are uniform.

    Layers of the user's own keep what they have.
    """
    for linear in layers:
        if type(linear) not in DRAWN:
            continue
        assert isinstance(linear, DRAWN)
        fan_in = getattr(linear, "fan_in", linear.weight[0].numel())  # of local layers, that of one place
        draw_normal(linear.weight, fan_in**-0.5 if gain == 1 else (gain / fan_in) ** 0.5)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    if head is not None:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)


def every_other(true_B: Tensor, count: int) -> Tensor:
    """Return all answers but the true one, in order, `(B, count - 1)`.

    >>> every_other(torch.tensor([0, 2]), count=3)
    tensor([[1, 2],
            [0, 1]])
    """
    others_K = torch.arange(count - 1, device=true_B.device)
    return others_K + (others_K >= true_B[:, None]).long()
