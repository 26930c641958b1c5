"""The feed-forward nets of sections 3.2 and 3.3: each layer learns from its own goodness, with the label in the input or without.

Shapes: B batch, D features of an image, D' inputs of the first layer, H units of a layer, L hidden layers, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Average, Begun, Learning, LocalLoss, Masks, Negatives, local_learning
from ffrecur.core.local import LocalLinear
from ffrecur.core.objectives import Objective, objective_of, predicts_alone
from ffrecur.core.products import product_dtype
from ffrecur.core.sources import Stream, source_of
from ffrecur.core.sweep import Wiring, rise
from ffrecur.errors import UserError, check_setting, check_whole, check_widths, is_whole
from ffrecur.nets.arguments import as_negative_images, as_negatives, as_tensor, kinds_of_answers
from ffrecur.nets.base import draw_weights, every_other, linear_layers
from ffrecur.nets.inputs import PLACES, LabelledInputs, Place, labelled_streams
from ffrecur.nets.layers import FeedForwardStates, are_given, checked_layers, described_layers, made_layers, widths_of
from ffrecur.nets.statistics import ChannelStatistics


class Judged(NamedTuple):
    """What a net makes of images."""

    logits_BC: Tensor | None  # of the head, on the neutral pass; None without a head
    goodness_LBC: Tensor  # under each label; of a net that has no place for labels (L, B, 1), of the images
    features_BF: Tensor | None  # what the head reads


class FeedForwardNet(FeedForwardStates):
    """Hidden layers of ReLUs, one above the other, each trained by its own goodness; and a linear head on some of them.

    Layer 0 reads the image, with a label in it or not, normalised; every further layer the normalised state of the one
    below. Weights start at `N(0, 1/fan_in)`, biases and the head at 0.

    Args:
        in_features: features of an image, D.
        hidden_features: units of each hidden layer, at least one layer.
        num_classes: number of labels C, at least 2; without a label it may be None: such a net has no head.
        label: where the label is: "pixels" (instead of the first C inputs), "beside" (C more inputs after the image), or
            None (nowhere: unsupervised, from negative images).
        sign: 1 if positive data shall have high goodness, -1 if low (section 3.5).
        center_images: whether the mean is taken off before the row is normalised: of image and label in "pixels", of the
            image alone in "beside".
        label_scale: what stands in the label's input; without a label each label input holds `label_scale / C`.
        head_layers: layers whose normalised states the head reads, counted from 1; all but the first, or the only one.
        score_layers: layers whose goodness scores a label, counted from 1; by default as `head_layers`.
        goodness: what the layers are judged by.
        layers: instead of `hidden_features`, modules each of which maps rows `(B, N)` of the layer below to drives
            `(B, H)`, each row on its own; or settings of a `LocalLinear`. Modules keep the weights that they have.
        standardize_images: whether each channel is normalised first, by its mean and its deviation in the training images: see
            `net.statistics`.

    Images are uint8, or numbers from 0 to 1: the label's input is as strong as `label_scale` white pixels.

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    class_names: tuple[str, ...] | None = None  # of the labels, where they are known; checkpoints keep them

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int] | None = None,
        num_classes: int | None = 10,
        label: Place | None = "pixels",
        sign: int = 1,
        center_images: bool = False,
        label_scale: float = 1.0,
        head_layers: Sequence[int] | None = None,
        score_layers: Sequence[int] | None = None,
        goodness: Goodness = MEAN_SQUARE,
        layers: Sequence[nn.Module | Mapping[str, Any]] | None = None,
        *,
        standardize_images: bool = False,
    ) -> None:
        check_whole("in_features", in_features)
        check_setting(label in (None, *PLACES), "label", label, f"{', '.join(PLACES)} or None")
        least = "a whole number of at least 2" + (", or None without a label" if label is None else "")
        enough = label is None if num_classes is None else is_whole(num_classes, 2)
        check_setting(enough, "num_classes", num_classes, least)
        check_setting(label_scale > 0, "label_scale", label_scale, "greater than 0")
        if label == "pixels":
            allowed = f"at most {in_features} with label pixels, as many as an image has features"
            check_setting(in_features >= (num_classes or 0), "num_classes", num_classes, allowed)
        of_input = LabelledInputs(label, num_classes or 0, label_scale, center_images)
        size = of_input.size(in_features)
        if (hidden_features is None) == (layers is None):
            raise UserError("hidden_features and layers are two ways to say the same: give one of them")
        widths = hidden_features
        modules = made_layers(layers or ()) if widths is None else linear_layers(size, check_widths(widths))
        on_map = len(modules) > 0 and isinstance(modules[0], LocalLinear) and label == "beside"
        check_setting(not on_map, "label", label, "pixels or None where the first layer reads a map")
        super().__init__(widths_of(modules, size, goodness), sign, goodness)
        self.in_features, self.num_classes = in_features, num_classes
        self.of_input, self.own_layers = of_input, layers is not None
        self.statistics = ChannelStatistics(in_features) if standardize_images else None
        count = len(self.hidden_features)
        usual = tuple(range(2, count + 1)) or (1,)
        self.head_layers = checked_layers("head_layers", usual if head_layers is None else head_layers, count)
        scored = self.head_layers if score_layers is None else score_layers
        self.score_layers = checked_layers("score_layers", scored, count)
        self.hidden = modules  # type: ignore[assignment]  # a ModuleList does not tell what it holds
        read = sum(self.hidden_features[layer - 1] for layer in self.head_layers)
        self.head = None if num_classes is None else nn.Linear(read, num_classes)
        self.add_peer_means()
        self.draw([] if are_given(layers) else self.hidden)

    def reset_parameters(self) -> None:
        """Draw the weights of linear and local layers from `N(0, 1/fan_in)`; biases and head to 0, the peers' means to 0.5."""
        self.draw(self.hidden)

    def draw(self, layers: Iterable[nn.Module]) -> None:
        """The same, for some of the layers."""
        draw_weights(layers, 1, self.head)
        self.reset_peer_means()

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold.

        Raises `UserError` for layers of the user's own, which no plain types describe.
        """
        names = ["in_features", "num_classes", "label", "sign", "center_images", "label_scale"]
        plain = {name: getattr(self, name) for name in names}
        layers = {"head_layers": list(self.head_layers), "score_layers": list(self.score_layers)}
        hidden: dict[str, Any] = {"hidden_features": list(self.hidden_features)}
        if self.own_layers:
            hidden = {"layers": described_layers(self.hidden)}
        standardized = {} if self.statistics is None else {"standardize_images": True}
        return {**hidden, **plain, **layers, **standardized, **self.described_goodness()}

    # --- evaluation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def judged(self, images_BD: Tensor, head: bool = True) -> Judged:
        """Return the head's logits and the goodness under each label, from one look at the images.

        Without `head` there are neither logits nor what the head reads: no neutral pass is made.
        """
        images_BD, dtype = self.check_images(images_BD), product_dtype(self.weight)
        with torch.autocast(images_BD.device.type, enabled=False):
            begun = self.begin(images_BD, None, dtype, neutral=head)
            labels_C1 = torch.arange(self.num_classes or 0, device=images_BD.device)[:, None]
            wiring = begun.wiring(None if self.label is None else labels_C1.expand(-1, len(images_BD)), None, 1)
            sweep, found_LCB = self.sweep_kinds(wiring, dtype)
            goodness_LBC = found_LCB[0].transpose(1, 2)
            if not head:
                return Judged(None, goodness_LBC, None)
            features_BF = self.read_out(sweep.shown()) if begun.features_BF is None else begun.features_BF
            return Judged(None if self.head is None else self.head(features_BF), goodness_LBC, features_BF)

    def label_goodness(self, images_BD: Tensor) -> Tensor:
        """Goodness of each layer under each label, `(L, B, C)`; refused by a net that has no place for labels."""
        if self.label is None:
            raise UserError("label_goodness needs a place for labels, which the net has not: label is None")
        return self.judged(images_BD, head=False).goodness_LBC

    def score(self, images_BD: Tensor, head_weight: float = 0.0) -> Tensor:
        """Class scores `(B, C)`: sign times the goodness summed over `score_layers` (section 3.3).

        With a `head_weight` the head has a say: its log-probabilities are added, times the weight. At the temperature of
        the objective that multiplies the probabilities which head and goodness give a label. Without a place for labels the
        score is the head's log-probabilities. Raises `UserError` for a weight below 0, and for a net without labels.
        """
        check_setting(head_weight >= 0, "head_weight", head_weight, "at least 0")
        if self.num_classes is None:
            raise UserError("score needs labels, of which the net has none: num_classes is None")
        judged = self.judged(images_BD, head=self.label is None or head_weight > 0)
        return self.scores_of(judged.logits_BC, judged.goodness_LBC, head_weight)

    def scores_of(self, logits_BC: Tensor | None, goodness_LBC: Tensor, head_weight: float) -> Tensor:
        """Return the class scores `(B, C)` of what `judged` gives."""
        if self.label is not None:
            of_goodness = self.sign * goodness_LBC[[layer - 1 for layer in self.score_layers]].sum(dim=0)
            if head_weight == 0:
                return of_goodness
        assert logits_BC is not None, "a net with labels has a head"
        log_probabilities_BC = torch.log_softmax(logits_BC.to(self.weight.dtype), dim=1)
        return log_probabilities_BC if self.label is None else of_goodness + head_weight * log_probabilities_BC

    def classify(self, images_BD: Tensor, head_weight: float = 0.0) -> Tensor:
        """Label with the highest score, `(B,)`."""
        return self.score(images_BD, head_weight).argmax(dim=1)

    # --- learning -----------------------------------------------------------------------------------------------------

    def local_loss(
        self,
        images_BD: Tensor,
        labels_B: Tensor | None,
        negatives: Negatives,
        objective: str | Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        peer_normalization: float = 0.0,
        masks: Masks | None = None,
    ) -> Tensor:
        """Loss `1/B * sum over images and layers of the objective`; `.backward()` leaves the local gradients.

        Every layer's gradient comes from its own goodness. The head gets the gradient of its mean cross-entropy on the
        neutral pass (the delta rule), which is not part of the value. See `local_learning` for the arguments.
        """
        learning = Learning(
            objective=objective_of(objective, threshold, temperature),
            iterations=1,
            peer_normalization=peer_normalization,
        )
        images_BD = self.check_images(images_BD, some=True)
        if self.label is None:
            negatives = as_negative_images(negatives, images_BD)
        return self.local_learning(images_BD, labels_B, negatives, learning, masks).loss

    def local_learning(
        self,
        images: Tensor,
        labels_B: Tensor | None,
        negatives: Negatives,
        learning: Learning,
        masks: Masks | None = None,
        average: Average | None = None,
    ) -> LocalLoss:
        """`local_loss` and what came along: the head's loss and logits, goodness of both kinds of data.

        Args:
            images: `(B, D)`.
            labels_B: true labels; None is allowed where the net has no place for them, and the head learns nothing then.
            negatives: wrong labels, `(B,)` or K for each image `(B, K)`; or a function of the head's logits `(B, C)` and the
                true labels that draws them. Without a place for labels: negative images `(B, D)`, or K a case `(K, B, D)`.
            learning: objective and its settings.
            masks: dropout masks from `dropout_masks`.
            average: of several processes, what makes a mean over this one's images one over those of all.

        Raises:
            UserError: images, labels or negatives that do not fit the net. Values are looked at as in
                `RecurrentNet.local_learning`.
        """
        images = self.check_images(images, values=False, some=True)
        if labels_B is None:
            check_setting(self.label is None, "labels", None, "given to a net that has a place for them")
        else:
            labels_B = self.check_labels(labels_B, len(images), values=False)
        if self.label is None:
            check_setting(
                not predicts_alone(learning.objective),
                "objective",
                type(learning.objective).__name__,
                "one without candidates where label is None: its negatives are images",
            )
            negatives = as_negative_images(negatives, images, values=False)
        elif labels_B is not None and not (negatives is None and learning.objective.all_candidates):
            negatives = as_negatives(negatives, labels_B, self.num_classes or 0, values=False)
        return local_learning(self, images, labels_B, negatives, learning, masks, average)

    def begin(self, inputs: Tensor, masks: Masks | None, dtype: torch.dtype, neutral: bool = True) -> Begun:
        """Make the neutral pass, if wanted; see `core.learning.LocalNet`."""
        of_layers = [None] * len(self.hidden) if masks is None else masks[1:]
        lowest = source_of(self.hidden[0], dtype, again=False)
        above = [[Stream(source_of(module, dtype), layer)] for layer, module in enumerate(self.hidden[1:])]

        shown = [layer - 1 for layer in self.head_layers] if self.label is None else []

        def wired(streams: list[Stream], kinds: int) -> Wiring:
            layers, order = [streams, *above], [[layer] for layer in range(len(self.hidden))]
            return Wiring(
                layers, order, [0.0], of_layers, kinds, len(inputs), peer_means=self.peer_means(), shown=shown
            )

        if self.label is None:

            def of_images(labels_B: Tensor | None, negatives_KBD: Tensor | None, iterations: int) -> Wiring:
                kinds = [inputs] if negatives_KBD is None else [inputs, *negatives_KBD]
                rows = torch.stack([self.input_row(images, None, masks) for images in kinds])
                return wired([Stream(lowest, rows=rows)], len(rows))

            return Begun(None, of_images)

        images_BD = self.standardized(as_tensor("images", inputs, self.weight.device))
        mask = None if masks is None else masks[0]
        without, streams_of = labelled_streams(self.of_input, lowest, images_BD, mask)

        def of_labels(labels: Tensor, negatives: Tensor | None, iterations: int) -> Wiring:
            kinds = labels if negatives is None else kinds_of_answers(labels, negatives, self.num_classes or 0)
            return wired(streams_of(kinds), len(kinds))

        if not neutral:
            return Begun(None, of_labels)
        first = rise([[without], *above], self.goodness_function, of_layers)
        return Begun(self.read_out(first.rows, masks), of_labels)

    def candidates(self, true_B: Tensor) -> Tensor:
        """Every wrong label, `(B, C - 1)`."""
        return every_other(true_B, self.num_classes or 0)
