"""The baselines, trained by backpropagation: a multilayer perceptron of a recurrent net's widths, or a convolutional net."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.local import LocalLinear
from ffrecur.core.products import native_autocast, product_dtype
from ffrecur.core.tiles import tiled_drive
from ffrecur.errors import UserError, check_setting, check_sizes
from ffrecur.functional import center, dropout_masks, masked, rms_normalize
from ffrecur.nets.arguments import as_images, as_tensor, check_image_shape
from ffrecur.nets.base import draw_weights, linear_layers
from ffrecur.nets.character import CharNet
from ffrecur.nets.convolution import as_maps, check_fields, check_shape, convolutions, pooled_shape
from ffrecur.nets.layers import are_given, described_layers, made_layers, widths_of
from ffrecur.nets.statistics import ChannelStatistics


class BackpropNet(nn.Module):
    """Hidden layers of ReLUs on the normalised image, and a linear head on the last of them.

    With `channels` there are convolutions between the image and the hidden layers, each with a ReLU and a pooling that keeps
    the largest value of 2x2 places. Weights start at `N(0, 2/fan_in)` (He et al. 2015), biases and the head at 0. It reads
    images as `RecurrentNet` does and takes dropout masks in the same places: on the image and on each hidden layer.

    Args:
        in_features: features of an image, D.
        hidden_features: units of each hidden layer, at least one layer.
        num_classes: number of labels C, at least 2.
        center_images: whether an image's own mean is taken off before it is normalised.
        channels: channels of each convolution; none by default.
        kernel: height and width of the field that a unit of a convolution reads.
        image_shape: (H, W), or (H, W, 3) for colour; of a net with convolutions.
        layers: instead of `hidden_features`, modules that each map rows `(B, N)` of the layer below to drives `(B, H)`, or
            settings of a `LocalLinear`. Modules keep the weights that they have.
        standardize_images: whether each channel is normalised first, by its mean and its deviation in the training images.

    Raises:
        UserError (a ValueError): a setting outside its range, or images too small for the convolutions.
    """

    hidden: Sequence[nn.Linear]
    image_shape: tuple[int, ...] | None = None  # of a net with convolutions
    class_names: tuple[str, ...] | None = None  # of the labels, where they are known; checkpoints keep them

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int] | None,
        num_classes: int,
        center_images: bool = False,
        channels: Sequence[int] = (),
        kernel: int = 5,
        image_shape: Sequence[int] | None = None,
        layers: Sequence[nn.Module | Mapping[str, Any]] | None = None,
        *,
        standardize_images: bool = False,
    ) -> None:
        super().__init__()
        if (hidden_features is None) == (layers is None):
            raise UserError("hidden_features and layers are two ways to say the same: give one of them")
        check_setting(layers is None or not channels, "channels", list(channels), "empty where layers are given")
        modules = None if layers is None else made_layers(layers)
        widths = hidden_features if modules is None else widths_of(modules, in_features)
        widths = check_sizes(in_features, () if widths is None else widths, num_classes)
        self.own_layers = modules is not None
        self.in_features, self.hidden_features, self.num_classes = in_features, widths, num_classes
        self.center_images, self.channels, self.kernel = center_images, check_fields(channels, kernel), kernel
        self.statistics = ChannelStatistics(in_features) if standardize_images else None
        below = in_features
        if self.channels:
            self.image_shape = check_shape(image_shape, in_features)
            below = self.channels[-1] * math.prod(pooled_shape(self.image_shape, self.channels, kernel))
            self.convolutions = convolutions(self.image_shape, self.channels, kernel)
        # A ModuleList does not tell what it holds; the annotation above does.
        self.hidden = modules or linear_layers(below, widths)  # type: ignore[assignment]
        self.head = nn.Linear(widths[-1], num_classes)
        self.draw([] if are_given(layers) else self.modules())

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 2/fan_in)`; set the biases and the head to 0."""
        self.draw(self.modules())

    def draw(self, modules: Iterable[nn.Module]) -> None:
        """The same, for some of the modules."""
        drawn = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear | LocalLinear)]
        draw_weights([module for module in drawn if module is not self.head], 2, self.head)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold."""
        hidden: dict[str, Any] = {"hidden_features": list(self.hidden_features)}
        if self.own_layers:
            hidden = {"hidden_features": None, "layers": described_layers(self.hidden)}
        return {
            "in_features": self.in_features,
            **hidden,
            "num_classes": self.num_classes,
            **({"center_images": True} if self.center_images else {}),
            **({} if self.statistics is None else {"standardize_images": True}),
            **self.of_convolutions(),
        }

    def of_convolutions(self) -> dict[str, Any]:
        """Return the arguments that describe the convolutions; of a net without, nothing."""
        if self.image_shape is None:
            return {}
        return {"channels": list(self.channels), "kernel": self.kernel, "image_shape": list(self.image_shape)}

    def forward(self, images_BD: Tensor, masks: Sequence[Tensor | None] | None = None) -> Tensor:
        """Logits `(B, C)`; raises `UserError` for images that are not `(B, in_features)`."""
        images_BD = as_tensor("images", images_BD, self.head.weight.device)
        check_image_shape(images_BD, self.in_features, video=False)
        masks = masks or [None] * (len(self.hidden) + 1)
        images_BD = (images_BD if self.statistics is None else self.statistics(images_BD)).to(self.head.weight.dtype)
        row = masked(rms_normalize(center(images_BD) if self.center_images else images_BD), masks[0])
        with native_autocast(row.device.type):
            if self.image_shape is not None:
                row = self.convolutions(as_maps(row, self.image_shape))
            for linear, mask in zip(self.hidden, masks[1:], strict=True):
                row = masked(torch.relu(driven(linear, row)), mask)
            return self.head(row)

    def classify(self, images_BD: Tensor) -> Tensor:
        """Label with the highest logit, `(B,)`; raises `UserError` for images with NaN or infinity too."""
        scaled = self.statistics is not None
        images_BD = as_images(images_BD, self.head.weight, self.in_features, video=False, scaled=scaled)
        return self(images_BD).argmax(dim=1)

    def dropout_masks(
        self, batch_size: int, image_dropout: float, state_dropout: float, generator: torch.Generator | None = None
    ) -> list[Tensor | None]:
        """One mask a sample for the image and for each hidden layer, as `RecurrentNet.dropout_masks`."""
        widths = (self.in_features, *self.hidden_features)
        rates = (image_dropout, *[state_dropout] * len(self.hidden_features))
        return dropout_masks(batch_size, widths, rates, self.head.weight, generator)


def driven(module: nn.Module, row: Tensor) -> Tensor:
    """Return the drives of a layer, `module(row)`; of overlapping local fields by the faster product."""
    if type(module) is LocalLinear and module.stride == 1:
        return tiled_drive(module, row, product_dtype(module.weight))
    drive: Tensor = module(row)
    return drive


def character_logits(net: CharNet, windows_BW: Tensor, masks: Sequence[Tensor | None] | None = None) -> Tensor:
    """Logits `(B, V)` of a character model, with a graph through all layers: for its training by backpropagation."""
    masks, windows_BW = masks or [None] * len(net.hidden), net.check_windows(windows_BW)
    with native_autocast(windows_BW.device.type):
        rows = [masked(rms_normalize(torch.relu(net.first_drive(windows_BW))), masks[0])]
        for linear, mask in zip(net.hidden[1:], masks[1:], strict=True):
            rows.append(masked(rms_normalize(torch.relu(linear(rows[-1]))), mask))
        return net.head(torch.cat([rows[layer - 1] for layer in net.head_layers], dim=1))
