"""What the first layer of a feed-forward net reads: an image, with or without a label in it.

Shapes: B cases, D features of an image, C labels, D' inputs of the first layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.core.sources import Columns, Dense, Source, Stream
from ffrecur.functional import EPS, center, masked, rms_normalize

Place = Literal["pixels", "beside"]
PLACES = ("pixels", "beside")


class LabelledInputs(NamedTuple):
    """How labels and images become rows: `place` is where a label goes, `scale` what stands in its entry.

    "pixels" puts the one-hot label, times the scale, in place of the first C inputs, "beside" after the image; without a
    label every label entry is `scale / C`. With `centered` the row's mean is taken off in "pixels", the image's in "beside".
    Then the row is normalised, and masked.
    """

    place: Place | None
    classes: int
    scale: float
    centered: bool

    def size(self, in_features: int) -> int:
        """Return the number of inputs, D'."""
        return in_features + self.classes if self.place == "beside" else in_features

    def first(self, in_features: int) -> int:
        """Return the input of the first label."""
        return in_features if self.place == "beside" else 0

    def row(self, images_BD: Tensor, labels_B: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the row `(B, D')` of a label, or the neutral one."""
        if self.place is None:
            return masked(rms_normalize(center(images_BD) if self.centered else images_BD), mask)
        if labels_B is None:
            entries_BC = images_BD.new_full((len(images_BD), self.classes), self.scale / self.classes)
        else:
            entries_BC = self.scale * F.one_hot(labels_B, self.classes).to(images_BD.dtype)
        if self.place == "beside":
            row = torch.cat([center(images_BD) if self.centered else images_BD, entries_BC], dim=1)
        else:
            row = torch.cat([entries_BC, images_BD[:, self.classes :]], dim=1)
            row = center(row) if self.centered else row
        return masked(rms_normalize(row), mask)

    def parts(self, images_BD: Tensor, mask: Tensor | None = None) -> Parts:
        """Return what the rows of all labels have in common, and what one label adds.

        A one-hot row of any label has the same mean m and the same length, so that with `1/r = rsqrt(mean square + eps)`

            row = (image - m) / r + scale / r at the label's input

        where the label inputs of "image" are 0. The neutral row has the same mean, but another length r'.
        """
        first, mean_B1 = self.first(images_BD.shape[1]), images_BD.new_zeros(())
        if self.place == "beside":
            base = F.pad(center(images_BD) if self.centered else images_BD, (0, self.classes))
        else:
            base = F.pad(images_BD[:, self.classes :], (self.classes, 0))
            if self.centered:
                mean_B1 = (base.sum(dim=1, keepdim=True) + self.scale) / base.shape[1]
                base = base - mean_B1
        # An entry e on a label input makes (e - m)^2 of its m^2; the entries sum to `scale` in both rows.
        squares_B1 = base.square().sum(dim=1, keepdim=True) - 2 * self.scale * mean_B1
        inverse_B1 = ((squares_B1 + self.scale**2) / base.shape[1] + EPS).rsqrt()
        neutral_B1 = ((squares_B1 + self.scale**2 / self.classes) / base.shape[1] + EPS).rsqrt()
        of_labels = None if mask is None else mask[:, first : first + self.classes]
        return Parts(
            masked(base * inverse_B1, mask),
            masked((self.scale * inverse_B1).expand(-1, self.classes), of_labels),
            masked((self.scale / self.classes * neutral_B1).expand(-1, self.classes), of_labels),
            neutral_B1 / inverse_B1,
        )


class Parts(NamedTuple):
    """The rows of a batch, taken apart."""

    row_BD: Tensor  # what the rows of all labels have in common
    strengths_BC: Tensor  # what a label adds at its own input
    neutral_BC: Tensor  # what the neutral row adds at each label input
    ratio_B1: Tensor  # of what they have in common: the neutral row's over a label's


def labelled_streams(
    of_input: LabelledInputs, source: Source, images_BD: Tensor, mask: Tensor | None
) -> tuple[Stream, Callable[[Tensor], list[Stream]]]:
    """Return what a first layer reads: the stream of the neutral row, and what makes the streams of labels `(n, B)`, n kinds.

    A linear layer is shown the images once, for all kinds and the neutral row: see `LabelledInputs.parts`. A module of another
    kind reads every row.
    """
    if not isinstance(source, Dense):

        def rows_of(labels_NB: Tensor) -> list[Stream]:
            return [
                Stream(source, rows=torch.stack([of_input.row(images_BD, labels_B, mask) for labels_B in labels_NB]))
            ]

        return Stream(source, rows=of_input.row(images_BD, None, mask)[None]), rows_of
    parts = of_input.parts(images_BD, mask)
    columns = Columns(source.linear, of_input.first(images_BD.shape[1]), parts.strengths_BC)
    shared_BH, bias_H = source.drive(parts.row_BD), 0.0 if source.bias is None else source.bias
    labels_BH = (parts.neutral_BC @ columns.table).to(shared_BH.dtype)  # that of a product of bfloat16 is float32
    neutral_BH = labels_BH.add_(shared_BH * parts.ratio_B1).add_(bias_H)
    neutral = Stream(source, rows=parts.row_BD[None], drive=neutral_BH[None])
    image = Stream(source, rows=parts.row_BD[None], drive=shared_BH.add_(bias_H)[None])
    return neutral, lambda labels_NB: [image, Stream(columns, rows=labels_NB[..., None])]
