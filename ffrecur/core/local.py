"""Local receptive fields without weight sharing: every place has weights of its own and reads a square of the map below.

Shapes: maps of H rows, W columns and C channels, flattened row, column, channel; P places of the map above, each with K
channels; N inputs of a field; B cases.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.errors import SettingWarning, check_setting, check_whole, is_whole
from ffrecur.seeding import draw_normal


class LocalLinear(nn.Module):
    """A linear layer of which every place reads a square field of a map, `(..., H*W*C)` to `(..., H'*W'*K)`
    (section 3.2).

    With H' = (H + 2 padding - kernel) // stride + 1, and W' likewise, place p of row i and column j computes

        drive[p, k] = sum over the field of weight[p, k] * map + bias[p, k]

    where the field begins at row `i * stride - padding` and column `j * stride - padding`, and what lies outside the map is 0.
    Unlike a convolution no two places have a weight in common. Weights start at `N(0, 1/fan_in)`, biases at 0.

    Args:
        in_shape: the map below, (H, W) or (H, W, C).
        out_channels: units of each place, K.
        kernel: rows and columns of a field.
        stride: rows and columns from one field to the next.
        padding: zeros around the map, less than `kernel`.
        bias: whether the units have biases.

    Raises:
        UserError (a ValueError): a setting outside its range, such as a field larger than the map. Inputs that no field
            reads are only warned of.
    """

    weight: nn.Parameter  # (P, K, N), N = kernel * kernel * C: row, column, channel
    bias: nn.Parameter | None  # (P * K,)

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_setting(
            len(in_shape) in (2, 3) and all(map(is_whole, in_shape)),
            "in_shape",
            tuple(in_shape),
            "(rows, columns) or (rows, columns, channels), each a whole number of at least 1",
        )
        numbers = {"out_channels": out_channels, "kernel": kernel, "stride": stride, "padding": padding}
        for name, number in numbers.items():
            check_whole(name, number, 0 if name == "padding" else 1)
        self.in_shape = (*in_shape, 1) if len(in_shape) == 2 else tuple(in_shape)
        check_setting(
            0 <= padding < max(kernel, 1), "padding", padding, f"from 0 to {max(kernel, 1) - 1}, below kernel"
        )
        largest = min(self.in_shape[:2]) + 2 * padding
        allowed = f"from 1 to {largest}, the shorter side of the map" + (" with its padding" if padding else "")
        check_setting(1 <= kernel <= largest, "kernel", kernel, allowed)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        rows, columns = ((size + 2 * padding - kernel) // stride + 1 for size in self.in_shape[:2])
        self.out_shape = (rows, columns, out_channels)
        self.in_features, self.out_features = math.prod(self.in_shape), math.prod(self.out_shape)
        self.fan_in = kernel * kernel * self.in_shape[2]
        self.weight = nn.Parameter(torch.empty(rows * columns, out_channels, self.fan_in))
        self.bias = nn.Parameter(torch.empty(self.out_features)) if bias else None
        self.reset_parameters()
        if unseen := self.unseen():
            total = self.in_shape[0] * self.in_shape[1]
            warnings.warn(
                f"{unseen} of {total} places of the map are in no field: kernel {kernel}, stride {stride} and padding "
                f"{padding} leave them out",
                SettingWarning,
                stacklevel=2,
            )

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 1/fan_in)`; set the biases to 0."""
        draw_normal(self.weight, self.fan_in**-0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a layer like this one, in plain types."""
        plain = {"in_shape": list(self.in_shape), "out_channels": self.out_shape[2], "kernel": self.kernel}
        return {**plain, "stride": self.stride, "padding": self.padding, "bias": self.bias is not None}

    def unseen(self) -> int:
        """Return how many places of the map below no field reads."""
        seen = 1
        for size, count in zip(self.in_shape[:2], self.out_shape[:2], strict=True):
            starts = range(-self.padding, count * self.stride - self.padding, self.stride)
            seen *= len({place for start in starts for place in range(start, start + self.kernel)} & set(range(size)))
        return self.in_shape[0] * self.in_shape[1] - seen

    def fields(self, rows_BD: Tensor) -> Tensor:
        """Return what each place reads, `(P, B, N)`."""
        maps_BHWC = rows_BD.unflatten(1, self.in_shape)
        if self.padding:
            maps_BHWC = F.pad(maps_BHWC, (0, 0, *[self.padding] * 4))
        of_rows = maps_BHWC.unfold(1, self.kernel, self.stride)
        fields = of_rows.unfold(2, self.kernel, self.stride)  # (B, H', W', C, kernel, kernel)
        return fields.permute(1, 2, 0, 4, 5, 3).reshape(len(self.weight), len(rows_BD), self.fan_in)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the drives `(..., H'*W'*K)` of rows `(..., H*W*C)`."""
        rows_BD = rows.reshape(-1, rows.shape[-1])
        drives_BH = side_by_side(torch.bmm(self.fields(rows_BD), self.weight.transpose(1, 2)))
        drives_BH = drives_BH if self.bias is None else drives_BH + self.bias
        return drives_BH.view(*rows.shape[:-1], self.out_features)

    def transposed(self, drives_BH: Tensor) -> Tensor:
        """Return `drives @ W`, `(B, H*W*C)`, where W is the whole weight matrix with its zeros: what the units look for."""
        drives_PBK = drives_BH.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        fields_PBN = torch.bmm(drives_PBK, self.weight).unflatten(2, (self.kernel**2, self.in_shape[2]))
        columns = fields_PBN.permute(1, 3, 2, 0).flatten(1, 2)  # channel, then place in the field, as `fold` has them
        maps_BCHW = F.fold(columns, self.in_shape[:2], self.kernel, padding=self.padding, stride=self.stride)
        return maps_BCHW.permute(0, 2, 3, 1).flatten(1)

    def extra_repr(self) -> str:
        """Return the settings, for `print`."""
        return ", ".join(f"{name}={value}" for name, value in self.settings().items())


def side_by_side(drives_PBK: Tensor) -> Tensor:
    """Return the drives of all places as rows, `(B, P*K)`, in a new tensor."""
    return drives_PBK.transpose(0, 1).flatten(1)
