"""The recurrent top-down network of section 3.4: its parameters and its dynamics.

States go in and states come out; nothing is kept between calls. Shapes: B batch, D input features, H units of a layer,
L hidden layers, T iterations, C classes. Iterations are numbered from 1, windows are inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur import engine
from ffrecur.arguments import as_images, as_labels, as_negatives, as_tensor, check_image_shape
from ffrecur.errors import check_setting, check_sizes
from ffrecur.evaluation import label_goodness
from ffrecur.functional import damped_update, dropout_masks, goodness, masked, rms_normalize, window_score
from ffrecur.reference import Learning, LocalLoss, Masks, Memory, Negatives, Objective
from ffrecur.seeding import draw_normal

States = tuple[Tensor, ...]
UpdateScheme = Literal["synchronous", "alternating"]
UPDATE_SCHEMES = ("synchronous", "alternating")


class RecurrentNet(nn.Module):
    """Hidden layers of ReLUs between a clamped image and a clamped label, each driven from below and from above.

    One iteration computes `relu(rms(below) @ bottom_up.T + rms(above) @ top_down.T + bias)` for every layer and moves
    the state there by `damping * previous + (1 - damping) * computed`. Layer 0 of `bottom_up` reads the image; the last
    of `top_down` reads the one-hot label. Weights start at `N(0, 1/fan_in)` per stream, biases at 0, the head at 0 (so
    that the first hard negatives are uniform).

    Args:
        in_features: features of an image, D.
        hidden_features: units of each hidden layer, at least one layer.
        num_classes: number of labels C, at least 2.
        damping: share of the previous state in the new one, in [0, 1).
        sign: 1 if positive data shall have high goodness, -1 if low (section 3.5).
        update_scheme: "synchronous" (all layers read the states of the previous iteration) or "alternating" (even
            hidden layers first, counted from 1; then the odd ones, from the new even ones).

    Raises:
        UserError (a ValueError): a setting outside its range.
    """

    bottom_up: Sequence[nn.Linear]
    top_down: Sequence[nn.Linear]
    class_names: tuple[str, ...] | None = None  # of the labels, where they are known; checkpoints keep them

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int],
        num_classes: int,
        damping: float = 0.3,
        sign: int = 1,
        update_scheme: UpdateScheme = "synchronous",
    ) -> None:
        super().__init__()
        widths = check_sizes(in_features, hidden_features, num_classes)
        check_setting(0 <= damping < 1, "damping", damping, "at least 0 and less than 1")
        check_setting(sign in (1, -1), "sign", sign, "1 or -1")
        check_setting(update_scheme in UPDATE_SCHEMES, "update_scheme", update_scheme, " or ".join(UPDATE_SCHEMES))
        self.in_features, self.hidden_features, self.num_classes = in_features, widths, num_classes
        self.damping, self.sign, self.update_scheme = damping, sign, update_scheme
        below, above = (in_features, *widths[:-1]), (*widths[1:], num_classes)
        # A ModuleList does not tell what it holds; the annotations above do.
        self.bottom_up = nn.ModuleList(map(nn.Linear, below, widths))  # type: ignore[assignment]
        self.top_down = nn.ModuleList(map(partial(nn.Linear, bias=False), above, widths))  # type: ignore[assignment]
        self.head = nn.Linear(sum(widths), num_classes)
        for layer, width in enumerate(widths):
            self.register_buffer(f"peer_mean_{layer}", torch.full((width,), 0.5))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from `N(0, 1/fan_in)`, set biases and head to 0 and the peers' mean activities to 0.5."""
        for linear in (*self.bottom_up, *self.top_down):
            draw_normal(linear.weight, linear.in_features**-0.5)
        for linear in (*self.bottom_up, self.head):
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.head.weight)
        for mean_H in self.peer_means():
            nn.init.constant_(mean_H, 0.5)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build a net like this one, in plain types that any checkpoint can hold."""
        names = ("in_features", "num_classes", "damping", "sign", "update_scheme")
        return {"hidden_features": list(self.hidden_features), **{name: getattr(self, name) for name in names}}

    def extra_repr(self) -> str:
        """Show the settings that the sub-modules do not tell."""
        return f"damping={self.damping}, sign={self.sign}, update_scheme={self.update_scheme!r}"

    def peer_means(self) -> States:
        """Running mean activity of each layer's units on positive data, the state of peer normalisation; L of `(H,)`."""
        return tuple(self.get_buffer(f"peer_mean_{layer}") for layer in range(len(self.hidden_features)))

    def check_images(self, images: Tensor, values: bool = True, some: bool = False) -> Tensor:
        """Return images as a tensor; raises `UserError` for what the net cannot read, see `arguments.as_images`."""
        return as_images(images, self.head.weight, self.in_features, values=values, some=some)

    # --- dynamics -----------------------------------------------------------------------------------------------------

    def image_row(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Return what layer 1 reads: the images (any number type) normalised to length sqrt(D), times their mask.

        Shape `(B, D)` or, for video, `(T, B, D)`; raises `UserError` where D is not `in_features`.
        """
        images = as_tensor("images", images, self.head.weight.device)
        check_image_shape(images, self.in_features)
        row = rms_normalize(images.to(self.head.weight.dtype))
        return masked(row, None if masks is None else masks[0])

    def label_row(self, labels_B: Tensor) -> Tensor:
        """Return what the top layer reads: the one-hot label normalised like any other layer, `(B, C)`."""
        return rms_normalize(F.one_hot(labels_B, self.num_classes).to(self.head.weight.dtype))

    def read(self, state: Tensor, layer: int, masks: Masks | None = None) -> Tensor:
        """Return what the neighbours and the head read of a hidden layer (from 0): its normalised state, masked."""
        return masked(rms_normalize(state), None if masks is None else masks[layer + 1])

    def bottom_up_pass(self, images: Tensor, masks: Masks | None = None) -> States:
        """Return the first states: one pass without top-down input, which is not an iteration. L of `(B, H)`.

        Of a video, the first frame.
        """
        row = self.image_row(images, masks)
        below, states = row if row.ndim == 2 else row[0], []
        for layer, linear in enumerate(self.bottom_up):
            states.append(torch.relu(linear(below)))
            below = self.read(states[-1], layer, masks)
        return tuple(states)

    def head_logits(self, states: States, masks: Masks | None = None) -> Tensor:
        """Logits `(B, C)` of the linear head on the concatenated normalised states, to which it sends no gradient."""
        rows = [self.read(state.detach(), layer, masks) for layer, state in enumerate(states)]
        return self.head(torch.cat(rows, dim=-1))

    def one_pass_logits(self, images: Tensor) -> Tensor:
        """Logits `(B, C)` of the head after the bottom-up pass alone, without any iteration."""
        images = self.check_images(images)
        with torch.no_grad():
            states = self.bottom_up_pass(images)
        return self.head_logits(states)

    def update_groups(self) -> list[list[int]]:
        """Layers (from 0) that are updated together, in order; a later group reads the new states of the earlier."""
        layers = list(range(len(self.hidden_features)))
        if self.update_scheme == "synchronous":
            return [layers]
        return [layers[1::2], layers[::2]]  # the paper counts hidden layers from 1, so its even ones are 1, 3, ... here

    def advance(self, states: States, image_drive: Tensor, label_drive: Tensor) -> States:
        """One damped iteration given both outer drives, already projected: of the image (with bias) and of the label.

        Leading dimensions broadcast: with states `(1, B, H)` and a label drive `(C, 1, H)`, a layer has one state for
        all labels until the label's influence reaches it.
        """
        new, last = list(states), len(states) - 1
        for group in self.update_groups():
            read = [self.read(state, layer) for layer, state in enumerate(new)]
            for layer in group:
                below = image_drive if layer == 0 else self.bottom_up[layer](read[layer - 1])
                above = label_drive if layer == last else self.top_down[layer](read[layer + 1])
                new[layer] = damped_update(states[layer], torch.relu(below + above), self.damping)
        return tuple(new)

    def step(self, states: States, images_BD: Tensor, labels_B: Tensor) -> States:
        """One damped iteration of all layers with image and label clamped: L states `(B, H)` in, L states out."""
        images_BD = self.check_images(images_BD)
        labels_B = as_labels("labels", labels_B, len(images_BD), self.num_classes, images_BD.device)
        image_drive = self.bottom_up[0](self.image_row(images_BD))
        return self.advance(states, image_drive, self.top_down[-1](self.label_row(labels_B)))

    def rollout(self, images: Tensor, label_drive: Tensor, iterations: int) -> Iterator[States]:
        """Yield the states after iteration 1, 2, ..., starting from the bottom-up pass; frame t drives iteration t."""
        check_iterations(images, iterations)
        states, image_drive = self.bottom_up_pass(images), self.bottom_up[0](self.image_row(images))
        for iteration in range(iterations):
            frame_drive = image_drive if images.ndim == 2 else image_drive[iteration]
            states = self.advance(states, frame_drive, label_drive)
            yield states

    def forward(self, images: Tensor, window: tuple[int, int] = (3, 5)) -> Tensor:
        """Class scores `(B, C)` as `score` gives them, but with a graph and without a look at the values.

        So the net can stand where any module can: in `torch.nn.Sequential`, a summary, `torch.func`. For training there is
        `local_loss`, for speed `score`.
        """
        check_window(window)
        all_C = torch.arange(self.num_classes, device=self.head.weight.device)
        label_drive_C1H = self.top_down[-1](self.label_row(all_C))[:, None]
        images = as_tensor("images", images, self.head.weight.device)
        goodness_TLCB = torch.stack(
            [
                torch.stack([goodness(state).expand(self.num_classes, images.shape[-2]) for state in states])
                for states in self.rollout(images, label_drive_C1H, window[1])
            ]
        )
        return window_score(goodness_TLCB.transpose(-1, -2), window, self.sign)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def goodness(self, images: Tensor, labels_B: Tensor, iterations: int = 8) -> Tensor:
        """Goodness of every iteration and layer with these labels clamped, `(T, L, B)`; index 0 is iteration 1."""
        images = self.check_images(images)
        labels_B = as_labels("labels", labels_B, images.shape[-2], self.num_classes, images.device)
        label_drive = self.top_down[-1](self.label_row(labels_B))
        rolled = self.rollout(images, label_drive, iterations)
        return torch.stack([torch.stack([goodness(state) for state in states]) for states in rolled])

    @torch.no_grad()
    def label_goodness(self, images: Tensor, iterations: int = 8) -> Tensor:
        """Goodness of every iteration, layer and image under each of the C labels, `(T, L, B, C)`."""
        images = self.check_images(images)
        check_iterations(images, iterations)
        return label_goodness(self, images, iterations)

    def score(self, images: Tensor, window: tuple[int, int] = (3, 5), head_weight: float = 0.0) -> Tensor:
        """Class scores `(B, C)`: sign times the goodness averaged over the window and summed over layers (section 3.4).

        With a `head_weight` the one-pass head has a say: its log-probabilities are added, times the weight. At the
        temperature of the objective that multiplies the probabilities which head and goodness give a label.

        Computes no iteration after the window. Raises `UserError` for a window that starts before 1 or is empty, and
        for a weight below 0.
        """
        check_window(window)
        check_setting(head_weight >= 0, "head_weight", head_weight, "at least 0")
        images = self.check_images(images)
        scores_BC = window_score(self.label_goodness(images, iterations=window[1]), window, self.sign)
        return scores_BC + self.head_scores(images, head_weight) if head_weight > 0 else scores_BC

    @torch.no_grad()
    def head_scores(self, images: Tensor, head_weight: float) -> Tensor:
        """What the one-pass head adds to the class scores: its log-probabilities times `head_weight`, `(B, C)`."""
        return head_weight * torch.log_softmax(self.one_pass_logits(images).to(self.head.weight.dtype), dim=1)

    def classify(self, images: Tensor, window: tuple[int, int] = (3, 5), head_weight: float = 0.0) -> Tensor:
        """Label with the highest score, `(B,)`."""
        return self.score(images, window, head_weight).argmax(dim=1)

    @torch.no_grad()
    def imagine(self) -> Tensor:
        """What each label expects to see, `(C, D)`: its top-down drive of layer 1 through that layer's image weights.

        From the label down, `state = relu(rms(above) @ top_down.T + bias)` without any input from below; then
        `sign * (rms(state) @ top_down[0].T) @ bottom_up[0].weight`, minus its mean over the labels. The sign is there
        because with `sign=-1` top-down input learns to cancel what it expects.
        """
        row = self.label_row(torch.arange(self.num_classes, device=self.head.weight.device))
        for layer in range(len(self.hidden_features) - 1, 0, -1):
            row = rms_normalize(torch.relu(self.top_down[layer](row) + self.bottom_up[layer].bias))
        images_CD = self.sign * self.top_down[0](row) @ self.bottom_up[0].weight
        return images_CD - images_CD.mean(dim=0)

    # --- learning -----------------------------------------------------------------------------------------------------

    def local_loss(
        self,
        images: Tensor,
        labels_B: Tensor,
        negative_labels_B: Negatives,
        iterations: int = 8,
        objective: Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        peer_normalization: float = 0.0,
        masks: Masks | None = None,
        memory: Memory = "full",
    ) -> Tensor:
        """Loss `1/B * sum over images, layers, iterations` of the objective; `.backward()` leaves the local gradients.

        Every layer's gradient comes from its own goodness at each iteration, through its computed state only:
        neighbours, earlier iterations and the damped part are constants. The head gets the gradient of its mean
        cross-entropy (the delta rule), which is not part of the value. See `Learning` for the settings and
        `local_learning` for the other arguments and for what else can be had.
        """
        learning = Learning(
            iterations=iterations,
            objective=objective,
            threshold=threshold,
            temperature=temperature,
            peer_normalization=peer_normalization,
            memory=memory,
        )
        images = self.check_images(images, some=True)
        return self.local_learning(images, labels_B, negative_labels_B, learning, masks).loss

    def local_learning(
        self,
        images: Tensor,
        labels_B: Tensor,
        negative_labels_B: Negatives,
        learning: Learning,
        masks: Masks | None = None,
    ) -> LocalLoss:
        """`local_loss` and what came along: the head's loss and logits, goodness of both kinds of data.

        Args:
            images: `(B, D)`, or video `(T, B, D)` with at least `iterations` frames.
            labels_B: true labels.
            negative_labels_B: wrong labels, or a function of the head's logits `(B, C)` and the true labels that draws
                them, such as `ffrecur.negatives.hard_labels`.
            learning: iterations, objective and its settings.
            masks: dropout masks from `dropout_masks`.

        Raises:
            UserError: images or labels that do not fit the net, negative labels that are the true ones, or a video with too
                few frames. On a GPU, values are not looked at, and those of images nowhere: `local_loss` does that.
        """
        images = self.check_images(images, values=False, some=True)
        labels_B = as_labels("labels", labels_B, images.shape[-2], self.num_classes, images.device, values=False)
        negative_labels_B = as_negatives(negative_labels_B, labels_B, self.num_classes, values=False)
        check_iterations(images, learning.iterations)
        return engine.local_learning(self, images, labels_B, negative_labels_B, learning, masks)

    def dropout_masks(
        self, batch_size: int, image_dropout: float, state_dropout: float, generator: torch.Generator | None = None
    ) -> list[Tensor | None]:
        """One mask a sample for the image row and for each normalised state, `(B, D)` and L of `(B, H)`; None is no mask.

        Drawn on the CPU, so that a seed gives the same masks on any device. Rates lie in [0, 1).
        """
        widths = (self.in_features, *self.hidden_features)
        rates = (image_dropout, *[state_dropout] * len(self.hidden_features))
        return dropout_masks(batch_size, widths, rates, self.head.weight, generator)


def check_iterations(images: Tensor, iterations: int) -> None:
    """Raise `UserError` for fewer than 1 iteration, or for more than a video has frames."""
    check_setting(iterations >= 1, "iterations", iterations, "at least 1")
    if images.ndim == 3:
        check_setting(iterations <= len(images), "iterations", iterations, f"at most the video's {len(images)} frames")


def check_window(window: tuple[int, int], evaluation_iterations: int | None = None) -> None:
    """Raise `UserError` unless `1 <= window[0] <= window[1]` (and `<= evaluation_iterations` where given)."""
    last = window[1] if evaluation_iterations is None else evaluation_iterations
    rule = "two iterations [first, last], counted from 1, with first <= last"
    if evaluation_iterations is not None:
        rule += f" <= evaluation_iterations, which is {evaluation_iterations}"
    check_setting(1 <= window[0] <= window[1] <= last, "window", list(window), rule)
