"""What a feed-forward net computes of images, in its plain form: layer by layer, and nothing saved.

Shapes: B batch, D features of an image, D' inputs of the first layer, H units of a layer, L hidden layers, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import Goodness, mean_over_blocks
from ffrecur.core.learning import Masks
from ffrecur.core.local import LocalLinear
from ffrecur.core.regions import RegionMeanSquare
from ffrecur.errors import UserError, check_setting, is_whole, one_line
from ffrecur.functional import masked, rms_normalize
from ffrecur.nets.arguments import as_images, as_labels, as_tensor, check_image_shape
from ffrecur.nets.base import LocalNet, States
from ffrecur.nets.inputs import LabelledInputs, Place
from ffrecur.nets.statistics import ChannelStatistics, scale_of


class FeedForwardStates(LocalNet):
    """What a `FeedForwardNet` computes from its parameters, layer by layer."""

    in_features: int
    num_classes: int | None
    of_input: LabelledInputs  # which says where a label goes; it does not change
    score_layers: Sequence[int]
    hidden: Sequence[nn.Module]
    statistics: ChannelStatistics | None

    @property
    def label(self) -> Place | None:
        """Where the label goes: into the pixels, beside the image, or None for nowhere."""
        return self.of_input.place

    @property
    def label_scale(self) -> float:
        """What stands in the label's input."""
        return self.of_input.scale

    @property
    def center_images(self) -> bool:
        """Whether the mean is taken off before the row is normalised."""
        return self.of_input.centered

    def check_images(self, images: Tensor, values: bool = True, some: bool = False) -> Tensor:
        """Return images as a tensor; raises `UserError` for what the net cannot read, see `arguments.as_images`."""
        scaled = self.label is not None or self.statistics is not None  # else the length of a row says nothing
        return as_images(images, self.weight, self.in_features, video=False, values=values, some=some, scaled=scaled)

    def input_row(self, images_BD: Tensor, labels_B: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """Return what layer 1 reads, `(B, D')`: the label put in, the neutral one without; centred if set; normalised."""
        images_BD = as_tensor("images", images_BD, self.weight.device)
        check_image_shape(images_BD, self.in_features, video=False)
        if labels_B is not None:
            labels_B = self.check_labels(labels_B, len(images_BD))
        images_BD = self.standardized(images_BD)
        return self.of_input.row(images_BD, labels_B, None if masks is None else masks[0])

    def standardized(self, images_BD: Tensor) -> Tensor:
        """Return the images, of uint8 or in [0, 1], in the precision of the weights, with each channel normalised if set."""
        if self.statistics is not None:
            return self.statistics(images_BD).to(self.weight.dtype)
        # The label stands beside the pixels: white must be 1 whatever type they have.
        scale, images_BD = scale_of(images_BD), images_BD.to(self.weight.dtype)
        return images_BD if scale == 1 else images_BD / scale

    def check_labels(self, labels_B: Tensor, count: int, values: bool = True) -> Tensor:
        """Return labels as a tensor; raises `UserError` for what are none, and for a net that has no place for them."""
        if self.num_classes is None:
            raise UserError("labels are given, but the net was made without: num_classes is None")
        return as_labels("labels", labels_B, count, self.num_classes, self.weight.device, values)

    def states(self, images_BD: Tensor, labels_B: Tensor | None = None, masks: Masks | None = None) -> States:
        """Return the hidden states before normalisation, L of `(B, H)`; no layer gets a gradient from one above."""
        if labels_B is not None and self.label is None:
            raise UserError("labels are given, but the net has no place for them: label is None")
        return self.states_of(self.input_row(images_BD, labels_B, masks), masks)

    def states_of(self, row: Tensor, masks: Masks | None = None) -> States:
        """`states` of what layer 1 reads, `(B, D')`."""
        states: list[Tensor] = []
        for layer, module in enumerate(self.hidden):
            states.append(torch.relu(module(row)))
            row = self.read(states[-1], layer, masks)
        return tuple(states)

    def read(self, state_BH: Tensor, layer: int, masks: Masks | None = None) -> Tensor:
        """Return what the layer above and the head read of a hidden layer (from 0): its normalised state, masked.

        It carries no gradient.
        """
        return masked(rms_normalize(state_BH.detach()), None if masks is None else masks[layer + 1])

    def goodness(self, images_BD: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Goodness of each layer with these labels, or of the neutral pass, `(L, B)`."""
        states = self.states(self.check_images(images_BD), labels_B)
        return torch.stack([mean_over_blocks(self.goodness_function, state) for state in states])

    def plain_logits(self, inputs: Tensor, masks: Masks | None = None) -> Tensor | None:
        """Return the head's logits on the neutral pass; None without a head. See `core.learning.LocalNet`."""
        if self.head is None:
            return None
        rows = [self.read(state, layer, masks)[None] for layer, state in enumerate(self.states(inputs, None, masks))]
        return self.head(self.read_out(rows, masks))

    def dropout_masks(
        self,
        batch_size: int,
        image_dropout: float,
        state_dropout: float,
        generator: torch.Generator | None = None,
        head_dropout: float = 0.0,
    ) -> list[Tensor | None]:
        """One mask a sample for the input row and for each normalised state, `(B, D')` and L of `(B, H)`; None is no mask.

        With `head_dropout` one more, for what the head reads. That of the input leaves the label's entries alone: without
        them a positive and a negative row would be the same. Drawn on the CPU, so that a seed gives the same masks on any
        device. Rates lie in [0, 1).
        """
        inputs = self.of_input.size(self.in_features)
        masks = self.draw_masks(batch_size, inputs, (image_dropout, state_dropout), generator, head_dropout)
        if masks[0] is not None and self.label is not None:
            first = self.of_input.first(self.in_features)
            masks[0][:, first : first + self.of_input.classes] = 1
        return masks

    @torch.no_grad()
    def logits_by_layer(self, features_BF: Tensor) -> Tensor:
        """Return what the head makes of each of its layers alone, with its bias, `(len(head_layers), B, C)`."""
        assert self.head is not None, "only nets with a head are asked"
        widths = [self.hidden_features[layer - 1] for layer in self.head_layers]
        pairs = zip(features_BF.split(widths, dim=1), self.head.weight.split(widths, dim=1), strict=True)
        return torch.stack([row @ weight.t() + self.head.bias for row, weight in pairs])

    def one_pass_logits(self, images_BD: Tensor) -> Tensor:
        """Logits `(B, C)` of the head on the neutral pass, or on the image of a net without labels."""
        logits_BC = self.plain_logits(self.check_images(images_BD))
        if logits_BC is None:
            raise UserError("one_pass_logits needs a head, which the net has not: num_classes is None")
        return logits_BC

    def forward(self, images_BD: Tensor, head_weight: float = 0.0) -> Tensor:
        """Class scores `(B, C)` as `score` gives them, but with a graph and without a look at the values."""
        if self.num_classes is None:
            raise UserError("score needs labels, of which the net has none: num_classes is None")
        images_BD = as_tensor("images", images_BD, self.weight.device)
        log_probabilities = torch.log_softmax(self.plain_logits(images_BD), dim=1)  # type: ignore[arg-type]
        if self.label is None:
            return log_probabilities
        scores, standardized_BD = [], self.standardized(images_BD)
        for label in range(self.num_classes):
            labels_B = torch.full((len(images_BD),), label, device=self.weight.device)
            states = self.states_of(self.of_input.row(standardized_BD, labels_B))
            goodness = [mean_over_blocks(self.goodness_function, states[layer - 1]) for layer in self.score_layers]
            scores.append(torch.stack(goodness).sum(dim=0))
        return self.sign * torch.stack(scores, dim=1) + head_weight * log_probabilities


def local_layers(image_shape: Sequence[int], layers: Sequence[Mapping[str, int]]) -> list[LocalLinear]:
    """Return local layers one above the other, the lowest of which reads the image; raises `UserError`."""
    made: list[LocalLinear] = []
    for number, layer in enumerate(layers, start=1):
        known = {"out_channels", "kernel"} <= set(layer) <= {"out_channels", "kernel", "stride", "padding"}
        allowed = "made of out_channels and kernel, and of stride and padding where they are not 1 and 0"
        check_setting(known, "layers", dict(layer), allowed)
        made.append(made_layer(number, {"in_shape": made[-1].out_shape if made else image_shape, **layer}))
    return made


def made_layers(layers: Sequence[nn.Module | Mapping[str, Any]]) -> nn.ModuleList:
    """Return the layers of a net, those made of `LocalLinear` of which the settings are given; raises `UserError`."""
    listed = isinstance(layers, Sequence | nn.ModuleList | nn.Sequential)
    check_setting(listed, "layers", layers, "a list of modules, or of settings of a LocalLinear")
    return nn.ModuleList([made_layer(number, layer) for number, layer in enumerate(layers, start=1)])


def are_given(layers: Sequence[nn.Module | Mapping[str, Any]] | None) -> bool:
    """Return whether some of the layers are modules, which may have been trained."""
    return any(isinstance(layer, nn.Module) for layer in layers or ())


def made_layer(number: int, layer: nn.Module | Mapping[str, Any]) -> Any:
    """Return one of the layers, of which `number` is told where its settings are none of a `LocalLinear`."""
    if isinstance(layer, nn.Module):
        return layer
    try:
        return LocalLinear(**layer)
    except (TypeError, UserError) as error:
        raise UserError(f"layers: number {number}: {one_line(error)}") from error


def described_layers(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Return the settings that `made_layers` takes; raises `UserError` for a module that no plain types describe."""
    if not all(type(module) is LocalLinear for module in modules):
        raise UserError("layers are modules, which no checkpoint can build again: keep the net's state_dict instead")
    return [module.settings() for module in modules if isinstance(module, LocalLinear)]


def widths_of(modules: nn.ModuleList, in_features: int, goodness: Goodness | None = None) -> tuple[int, ...]:
    """Return the units of each layer, from what the modules make of a row; raises `UserError` for what does not fit.

    Regions of a goodness must be of the maps that local layers have.
    """
    widths: list[int] = []
    for layer, module in enumerate(modules, start=1):
        below = widths[-1] if widths else in_features
        if isinstance(module, LocalLinear) and isinstance(goodness, RegionMeanSquare):
            sides = tuple(module.out_shape[:2])
            allowed = f"{list(sides)}, the rows and columns of layer {layer}"
            check_setting(goodness.map_shape == sides, "goodness map_shape", list(goodness.map_shape), allowed)
        if isinstance(module, nn.Linear) and module.in_features == below:
            widths.append(module.out_features)
            continue
        like = next(module.parameters(), torch.zeros(0))
        try:
            with torch.no_grad():
                drive: Tensor = module(like.new_zeros(1, below))
        except Exception as error:  # a module of the user's can raise anything
            raise UserError(
                f"layers: number {layer} does not take rows of {below} features ({one_line(error)})"
            ) from error
        if drive.ndim != 2 or len(drive) != 1:
            raise UserError(f"layers: number {layer} makes {tuple(drive.shape)} of one row, but must make (1, units)")
        widths.append(drive.shape[1])
    check_setting(len(widths) > 0, "layers", [], "one layer at least")
    return tuple(widths)


def checked_layers(name: str, layers: Sequence[int], count: int) -> tuple[int, ...]:
    """Return numbers of layers as a tuple; raises `UserError` unless they are different ones, in order."""
    whole = all(map(is_whole, layers))
    in_order = whole and len(layers) >= 1 and all(a < b for a, b in pairwise((0, *layers, count + 1)))
    check_setting(in_order, name, list(layers), f"different layers from 1 to {count}, in order")
    return tuple(layers)
