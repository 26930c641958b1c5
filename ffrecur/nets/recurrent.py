"""The recurrent top-down network of section 3.4: its parameters, how it classifies and how it learns.

Its dynamics are in `dynamics.py`. Shapes: B batch, D input features, H units of a layer, L hidden layers, T iterations,
C classes. Iterations are numbered from 1, windows are inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ffrecur.core.adversary import first_layer_slopes, moved_uphill
from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Average, Begun, Learning, LocalLoss, Masks, Memory, Negatives, local_learning
from ffrecur.core.objectives import Objective, objective_of
from ffrecur.core.products import product_dtype
from ffrecur.core.sources import LookUp, Stream, source_of
from ffrecur.core.sweep import Wiring, rise
from ffrecur.errors import check_setting, check_sizes
from ffrecur.functional import window_score
from ffrecur.nets.arguments import as_labels, as_negatives, check_iterations, check_window, kinds_of_answers
from ffrecur.nets.base import draw_weights, every_other, linear_layers
from ffrecur.nets.dynamics import TopDownDynamics, UpdateScheme
from ffrecur.nets.maps import check_regions, described_maps, label_layers
from ffrecur.nets.statistics import ChannelStatistics, scale_of

UPDATE_SCHEMES = ("synchronous", "alternating")


class RecurrentNet(TopDownDynamics):
    """Hidden layers of ReLUs between a clamped image and a clamped label, each driven from below and from above.

    One iteration computes `relu(rms(below) @ bottom_up.T + rms(above) @ top_down.T + bias)` for every layer and moves
    the state there by `damping * previous + (1 - damping) * computed`. Layer 0 of `bottom_up` reads the image; the last
    of `top_down` reads the one-hot label. Weights start at `N(0, 1/fan_in)` per stream, biases at 0, the head at 0 (so
    that the first hard negatives are uniform).

    Args:
        in_features: features of an image, D; of a net of maps as `in_shape` says.
        hidden_features: units of each hidden layer, at least one layer.
        num_classes: number of labels C, at least 2.
        damping: share of the previous state in the new one, in [0, 1); or one for each iteration, the last for all further.
        sign: 1 if positive data shall have high goodness, -1 if low (section 3.5).
        update_scheme: "synchronous" (all layers read the states of the previous iteration) or "alternating" (even
            hidden layers first, counted from 1; then the odd ones, from the new even ones).
        center_images: whether an image's own mean is taken off before it is normalised, so that the brightness of the
            background does not matter; of a video, each frame's. Not in the paper.
        goodness: what the layers are judged by.
        in_shape: of a net of maps, instead of the two above: an image's (rows, columns) or (rows, columns, channels).
        units_per_place: of a net of maps, the units of each layer at each place of the image (section 4).
        field: of a net of maps, how many rows and columns of the neighbouring maps a unit reads, an odd number; see
            `ffrecur.nets.maps.Maps`. `bottom_up[l]` and `top_down[l]` are `LocalLinear` then, except the last of `top_down`.
        standardize_images: whether each channel's mean over the training images is taken off first, and it is divided by its
            deviation there: see `net.statistics`, which `RecurrentModule` fills from the data.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    class_names: tuple[str, ...] | None = None  # of the labels, where they are known; checkpoints keep them

    def __init__(
        self,
        in_features: int | None = None,
        hidden_features: Sequence[int] | None = None,
        num_classes: int = 10,
        damping: float | Sequence[float] = 0.3,
        sign: int = 1,
        update_scheme: UpdateScheme = "synchronous",
        center_images: bool = False,
        goodness: Goodness = MEAN_SQUARE,
        *,
        in_shape: Sequence[int] | None = None,
        units_per_place: Sequence[int] | None = None,
        field: int | None = None,
        standardize_images: bool = False,
    ) -> None:
        maps, sizes = described_maps(in_features, hidden_features, in_shape, units_per_place, field)
        in_features, widths = sizes[0], check_sizes(*sizes, num_classes)
        check_regions(maps, goodness)
        super().__init__(widths, sign, goodness)
        self.maps = maps
        check_setting(update_scheme in UPDATE_SCHEMES, "update_scheme", update_scheme, " or ".join(UPDATE_SCHEMES))
        self.damping = damping
        self.in_features, self.num_classes = in_features, num_classes
        self.update_scheme, self.center_images = update_scheme, center_images
        self.statistics = ChannelStatistics(in_features) if standardize_images else None
        # A ModuleList does not tell what it holds; the annotations of `TopDownDynamics` do.
        self.bottom_up = linear_layers(in_features, widths) if maps is None else maps.bottom_up()  # type: ignore[assignment]
        self.top_down = label_layers(widths, num_classes) if maps is None else maps.top_down(num_classes)  # type: ignore[assignment]
        self.head, self.head_layers = nn.Linear(sum(widths), num_classes), range(1, len(widths) + 1)
        self.add_peer_means()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 1/fan_in)`, set biases and head to 0 and the peers' mean activities to 0.5."""
        draw_weights([*self.bottom_up, *self.top_down], 1, self.head)
        self.reset_peer_means()

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold."""
        names = ["num_classes", "damping", "sign", "update_scheme"]
        names += ["center_images"] if self.center_images else []
        plain = {name: list(kept) if isinstance(kept := getattr(self, name), tuple) else kept for name in names}
        layers = {"hidden_features": list(self.hidden_features), "in_features": self.in_features}
        described = layers if self.maps is None else self.maps.settings()
        standardized = {} if self.statistics is None else {"standardize_images": True}
        return {**described, **plain, **standardized, **self.described_goodness()}

    def extra_repr(self) -> str:
        """Show the settings that the sub-modules do not tell."""
        shown = [f"damping={self.damping}, sign={self.sign}, update_scheme={self.update_scheme!r}"]
        shown += ["center_images=True"] if self.center_images else []
        shown += [] if self.maps is None else [f"{name}={value}" for name, value in self.maps.settings().items()]
        shown += [f"goodness={self.goodness_function}"] if self.goodness_function != MEAN_SQUARE else []
        return ", ".join(shown)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def judged(self, images: Tensor, iterations: int = 8) -> tuple[Tensor, Tensor]:
        """Return the head's logits `(B, C)` and `label_goodness`, from one look at the images."""
        images = self.check_images(images)
        check_iterations(images, iterations)
        dtype = product_dtype(self.head.weight)
        with torch.autocast(images.device.type, enabled=False):
            begun = self.begin(images, None, dtype)
            labels_C1 = torch.arange(self.num_classes, device=images.device)[:, None]
            wiring = begun.wiring(labels_C1, None, iterations)
            return self.head(begun.features_BF), self.goodness_of_kinds(wiring, dtype).transpose(-1, -2)

    def label_goodness(self, images: Tensor, iterations: int = 8) -> Tensor:
        """Goodness of every iteration, layer and image under each of the C labels, `(T, L, B, C)`.

        A layer has one state for all labels until the label's influence reaches it.
        """
        return self.judged(images, iterations)[1]

    def score(self, images: Tensor, window: tuple[int, int] = (3, 5), head_weight: float = 0.0) -> Tensor:
        """Class scores `(B, C)`: sign times the goodness averaged over the window and summed over layers (section 3.4).

        With a `head_weight` the one-pass head has a say: its log-probabilities are added, times the weight. At the
        temperature of the objective that multiplies the probabilities which head and goodness give a label.

        Computes no iteration after the window. Raises `UserError` for a window that starts before 1 or is empty, and
        for a weight below 0.
        """
        check_window(window)
        check_setting(head_weight >= 0, "head_weight", head_weight, "at least 0")
        return self.scores_of(*self.judged(images, window[1]), window, head_weight)

    def scores_of(
        self, logits_BC: Tensor, goodness_TLBC: Tensor, window: tuple[int, int], head_weight: float
    ) -> Tensor:
        """Return the class scores `(B, C)` of what `judged` gives."""
        scores_BC = window_score(goodness_TLBC, window, self.sign)
        return scores_BC + head_weight * torch.log_softmax(logits_BC, dim=1) if head_weight > 0 else scores_BC

    def classify(self, images: Tensor, window: tuple[int, int] = (3, 5), head_weight: float = 0.0) -> Tensor:
        """Label with the highest score, `(B,)`."""
        return self.score(images, window, head_weight).argmax(dim=1)

    # --- learning -----------------------------------------------------------------------------------------------------

    def local_loss(
        self,
        images: Tensor,
        labels_B: Tensor,
        negative_labels_B: Negatives | None,
        iterations: int = 8,
        objective: str | Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        peer_normalization: float = 0.0,
        masks: Masks | None = None,
        memory: Memory = "full",
    ) -> Tensor:
        """Loss `1/B * sum over images, layers, iterations` of the objective; `.backward()` leaves the local gradients.

        Every layer's gradient comes from its own goodness at each iteration, through its computed state only:
        neighbours, earlier iterations and the damped part are constants. The head gets the gradient of its mean
        cross-entropy (the delta rule), which is not part of the value. The objective is "logistic", "paired", "softmax" or
        "sampled_softmax" with this threshold and temperature, or an `Objective` of your own; "softmax", and any other of all
        candidates, takes all wrong labels for negatives, whichever are given, or None. See `Learning` for the other settings
        and `local_learning` for the other arguments and for what else can be had.
        """
        learning = Learning(
            objective=objective_of(objective, threshold, temperature),
            iterations=iterations,
            peer_normalization=peer_normalization,
            memory=memory,
        )
        images = self.check_images(images, some=True)
        return self.local_learning(images, labels_B, negative_labels_B, learning, masks).loss

    def local_learning(
        self,
        images: Tensor,
        labels_B: Tensor,
        negative_labels_B: Negatives | None,
        learning: Learning,
        masks: Masks | None = None,
        average: Average | None = None,
    ) -> LocalLoss:
        """`local_loss` and what came along: the head's loss and logits, goodness of both kinds of data.

        Args:
            images: `(B, D)`, or video `(T, B, D)` with at least `iterations` frames.
            labels_B: true labels.
            negative_labels_B: wrong labels, `(B,)` or K for each image `(B, K)`; or a function of the head's logits `(B, C)`
                and the true labels that draws them, such as `ffrecur.negatives.hard_labels`.
            learning: iterations, objective and its settings.
            masks: L + 1 dropout masks, that of the image first; see `dropout_masks`.
            average: of several processes, what makes a mean over this one's images one over those of all.

        Raises:
            UserError: images or labels that do not fit the net, negative labels that are the true ones, or a video with too
                few frames. On a GPU, values are not looked at, and those of images nowhere: `local_loss` does that.
        """
        images = self.check_images(images, values=False, some=True)
        labels_B = as_labels("labels", labels_B, images.shape[-2], self.num_classes, images.device, values=False)
        if negative_labels_B is not None or not learning.objective.all_candidates:
            negative_labels_B = as_negatives(negative_labels_B, labels_B, self.num_classes, values=False)
        check_iterations(images, learning.iterations or self.usual_iterations)
        return local_learning(self, images, labels_B, negative_labels_B, learning, masks, average)

    def adversarial_images(
        self,
        images: Tensor,
        labels_B: Tensor,
        negative_labels_B: Negatives | None,
        learning: Learning,
        length: float,
        masks: Masks | None = None,
    ) -> Tensor:
        """Return images that are harder for layer 1, `(B, D)`: see `core.adversary.moved_uphill`.

        Each is moved by `length` times its own length along the gradient of layer 1's own loss, of half as many iterations
        as `learning` has, rounded up. No other layer sends a gradient there. The other arguments are those of
        `local_learning`. Raises `UserError` for what does not fit the net, for videos, and for a length below 0.
        """
        check_setting(length >= 0, "length", length, "at least 0")
        images = self.check_images(images, values=False, some=True)
        check_setting(images.ndim == 2, "images", tuple(images.shape), "still ones of shape (B, D), not a video")
        labels_B = as_labels("labels", labels_B, len(images), self.num_classes, images.device, values=False)
        half = replace(learning, iterations=((learning.iterations or self.usual_iterations) + 1) // 2)
        scale = 1 if self.statistics is None else scale_of(images)
        images = images.to(self.weight.dtype) / scale
        slopes_BH = first_layer_slopes(self, images, labels_B, negative_labels_B, half, masks)
        return moved_uphill(
            images, lambda each_BD: self.bottom_up[0](self.image_row(each_BD, masks)), slopes_BH, length
        )

    def begin(self, inputs: Tensor, masks: Masks | None, dtype: torch.dtype) -> Begun:
        """Make the bottom-up pass; see `core.learning.LocalNet`."""
        row = self.image_row(inputs, masks)
        video, of_layers = row.ndim == 3, [None] * len(self.bottom_up) if masks is None else masks[1:]
        image = Stream(
            source_of(self.bottom_up[0], dtype, again=False), rows=row[:, None] if video else row[None], video=video
        )
        below = [image, *(Stream(source_of(module, dtype), layer) for layer, module in enumerate(self.bottom_up[1:]))]
        first = rise([[stream] for stream in below], self.goodness_function, of_layers)

        def wiring(labels: Tensor, negatives: Tensor | None, iterations: int) -> Wiring:
            """Clamp the labels: the true ones and the negatives, or as many kinds `(N, 1)` as there are."""
            kinds = labels if negatives is None else kinds_of_answers(labels, negatives, self.num_classes)
            above = [
                Stream(source_of(module, dtype), layer) for layer, module in enumerate(self.top_down[:-1], start=1)
            ]
            above.append(Stream(LookUp(self.top_down[-1], self.num_classes), rows=kinds[..., None]))
            damping = [self.damping_at(iteration) for iteration in range(iterations)]
            layers = [list(streams) for streams in zip(below, above, strict=True)]
            cases, means = row.shape[-2], self.peer_means()
            return Wiring(layers, self.update_groups(), damping, of_layers, len(kinds), cases, first, means)

        return Begun(self.read_out(first.rows, masks), wiring)

    def candidates(self, true_B: Tensor) -> Tensor:
        """Every wrong label, `(B, C - 1)`."""
        return every_other(true_B, self.num_classes)

    def dropout_masks(
        self,
        batch_size: int,
        image_dropout: float,
        state_dropout: float,
        generator: torch.Generator | None = None,
        head_dropout: float = 0.0,
    ) -> list[Tensor | None]:
        """L + 1 masks, one a sample: first the image row's `(B, D)`, then each normalised state's `(B, H)`; None is no mask.

        With `head_dropout` one more, for what the head reads. Drawn on the CPU, so that a seed gives the same masks on any
        device. Rates lie in [0, 1).
        """
        return self.draw_masks(batch_size, self.in_features, (image_dropout, state_dropout), generator, head_dropout)
