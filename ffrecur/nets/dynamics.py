"""The dynamics of the recurrent top-down network of section 3.4, in their plain form: differentiable, and nothing saved.

States go in and states come out; nothing is kept between calls. Shapes: B batch, D input features, H units of a layer,
L hidden layers, T iterations, C classes. Iterations are numbered from 1, windows are inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.core.goodness import mean_over_blocks
from ffrecur.core.learning import Masks
from ffrecur.core.local import LocalLinear
from ffrecur.errors import check_setting, check_whole
from ffrecur.functional import center, damped_update, masked, rms_normalize, window_score
from ffrecur.nets.arguments import as_images, as_labels, as_tensor, check_image_shape, check_iterations, check_window
from ffrecur.nets.base import LocalNet, States
from ffrecur.nets.statistics import ChannelStatistics

UpdateScheme = Literal["synchronous", "alternating"]


class TopDownDynamics(LocalNet):
    """What a `RecurrentNet` computes from its parameters, step by step."""

    usual_iterations = 8
    head: nn.Linear
    in_features: int
    num_classes: int
    update_scheme: UpdateScheme
    center_images: bool
    statistics: ChannelStatistics | None
    bottom_up: Sequence[nn.Linear]  # of maps `LocalLinear`, as are all but the last of `top_down`
    top_down: Sequence[nn.Linear]

    def check_images(self, images: Tensor, values: bool = True, some: bool = False) -> Tensor:
        """Return images as a tensor; raises `UserError` for what the net cannot read, see `arguments.as_images`."""
        scaled = self.statistics is not None
        return as_images(images, self.head.weight, self.in_features, values=values, some=some, scaled=scaled)

    def image_row(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Return what layer 1 reads: the images (any number type) normalised to length sqrt(D), times their mask.

        Before that they are standardised and centred, where the net does so.
        Shape `(B, D)` or, for video, `(T, B, D)`; raises `UserError` where D is not `in_features`.
        """
        images = as_tensor("images", images, self.head.weight.device)
        check_image_shape(images, self.in_features)
        images = (images if self.statistics is None else self.statistics(images)).to(self.head.weight.dtype)
        row = rms_normalize(center(images) if self.center_images else images)
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
        return self.head(masked(torch.cat(rows, dim=-1), self.head_mask(masks)))

    def one_pass_logits(self, images: Tensor) -> Tensor:
        """Logits `(B, C)` of the head after the bottom-up pass alone, without any iteration."""
        return self.plain_logits(self.check_images(images))

    def plain_logits(self, inputs: Tensor, masks: Masks | None = None) -> Tensor:
        """`one_pass_logits` with dropout masks."""
        with torch.no_grad():
            states = self.bottom_up_pass(inputs, masks)
        return self.head_logits(states, masks)

    def update_groups(self) -> list[list[int]]:
        """Layers (from 0) that are updated together, in order; a later group reads the new states of the earlier."""
        layers = list(range(len(self.hidden_features)))
        if self.update_scheme == "synchronous":
            return [layers]
        return [layers[1::2], layers[::2]]  # the paper counts hidden layers from 1, so its even ones are 1, 3, ... here

    @property
    def damping(self) -> float | tuple[float, ...]:
        """Share of the previous state in the new one, or one for each iteration; may be set at any time."""
        return self._damping

    @damping.setter
    def damping(self, damping: float | Sequence[float]) -> None:
        single = isinstance(damping, Real)
        shares = [float(share) for share in ([damping] if single else damping)]  # type: ignore[arg-type, union-attr]
        in_range = len(shares) > 0 and all(0 <= share < 1 for share in shares)
        check_setting(in_range, "damping", damping if single else shares, "at least 0 and less than 1")
        self._damping = shares[0] if single else tuple(shares)

    def damping_at(self, iteration: int) -> float:
        """Return the damping of an iteration, counted from 0."""
        if isinstance(self.damping, float):
            return self.damping
        return self.damping[min(iteration, len(self.damping) - 1)]

    def advance(self, states: States, image_drive: Tensor, label_drive: Tensor, iteration: int = 0) -> States:
        """One damped iteration given both outer drives, already projected: of the image (with bias) and of the label."""
        new, last = list(states), len(states) - 1
        for group in self.update_groups():
            read = [self.read(state, layer) for layer, state in enumerate(new)]
            for layer in group:
                below = image_drive if layer == 0 else self.bottom_up[layer](read[layer - 1])
                above = label_drive if layer == last else self.top_down[layer](read[layer + 1])
                new[layer] = damped_update(states[layer], torch.relu(below + above), self.damping_at(iteration))
        return tuple(new)

    def step(self, states: States, images_BD: Tensor, labels_B: Tensor, iteration: int = 1) -> States:
        """One damped iteration of all layers with image and label clamped: L states `(B, H)` in, L states out.

        `iteration`, counted from 1, matters where the damping changes with it.
        """
        check_whole("iteration", iteration)
        images_BD = self.check_images(images_BD)
        check_image_shape(images_BD, self.in_features, video=False)
        labels_B = as_labels("labels", labels_B, len(images_BD), self.num_classes, images_BD.device)
        image_drive = self.bottom_up[0](self.image_row(images_BD))
        return self.advance(states, image_drive, self.top_down[-1](self.label_row(labels_B)), iteration - 1)

    def rollout(self, images: Tensor, label_drive: Tensor, iterations: int) -> Iterator[States]:
        """Yield the states after iteration 1, 2, ..., starting from the bottom-up pass; frame t drives iteration t."""
        check_iterations(images, iterations)
        states, image_drive = self.bottom_up_pass(images), self.bottom_up[0](self.image_row(images))
        for iteration in range(iterations):
            frame_drive = image_drive if images.ndim == 2 else image_drive[iteration]
            states = self.advance(states, frame_drive, label_drive, iteration)
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
        shape = (self.num_classes, images.shape[-2])
        rolled = self.rollout(images, label_drive_C1H, window[1])
        goodness_TLCB = torch.stack([torch.stack([self._judged(s).expand(shape) for s in states]) for states in rolled])
        return window_score(goodness_TLCB.transpose(-1, -2), window, self.sign)

    def _judged(self, state: Tensor) -> Tensor:
        return mean_over_blocks(self.goodness_function, state)

    def goodness(self, images: Tensor, labels_B: Tensor, iterations: int = 8) -> Tensor:
        """Goodness of every iteration and layer with these labels clamped, `(T, L, B)`; index 0 is iteration 1."""
        images = self.check_images(images)
        labels_B = as_labels("labels", labels_B, images.shape[-2], self.num_classes, images.device)
        label_drive = self.top_down[-1](self.label_row(labels_B))
        rolled = self.rollout(images, label_drive, iterations)
        return torch.stack([torch.stack([self._judged(state) for state in states]) for states in rolled])

    @torch.no_grad()
    def imagine(self) -> Tensor:
        """What each label expects to see, `(C, D)`: its top-down drive of layer 1 through that layer's image weights.

        From the label down, `state = relu(rms(above) @ top_down.T + bias)` without any input from below; then
        `sign * (rms(state) @ top_down[0].T) @ bottom_up[0].weight`, minus its mean over the labels. The sign is there
        because with `sign=-1` top-down input learns to cancel what it expects.
        """
        row = self.label_row(torch.arange(self.num_classes, device=self.head.weight.device))
        for layer in range(len(self.hidden_features) - 1, 0, -1):
            drive, bias = self.top_down[layer](row), getattr(self.bottom_up[layer], "bias", None)
            row = rms_normalize(torch.relu(drive if bias is None else drive + bias))
        images_CD = self.sign * self.looked_for(self.top_down[0](row))
        return images_CD - images_CD.mean(dim=0)

    @torch.no_grad()
    def expectation(self, images: Tensor, labels_B: Tensor, iterations: int = 8) -> Tensor:
        """What each image's label expects to see at that image, `(B, D)`, after so many iterations with the label clamped.

        As `imagine`, but with the states that image and label bring about together:
        `sign * (rms(state of layer 2) @ top_down[0].T) @ bottom_up[0].weight`, minus its mean over all labels at this image.
        In a net of one layer the label's row stands in the place of layer 2, and every image gives what `imagine` gives.

        Raises `UserError` for images or labels that do not fit the net, and for a video with fewer frames than iterations.
        """
        images = self.check_images(images)
        labels_B = as_labels("labels", labels_B, images.shape[-2], self.num_classes, images.device)
        row_C1 = self.label_row(torch.arange(self.num_classes, device=images.device))[:, None]
        *_, states = self.rollout(images, self.top_down[-1](row_C1), iterations)
        above = self.read(states[1], 1) if len(states) > 1 else row_C1
        drive_CBH = self.top_down[0](above).expand(self.num_classes, images.shape[-2], -1)
        drive_CBH = drive_CBH - drive_CBH.mean(dim=0)
        drive_BH = drive_CBH[labels_B, torch.arange(images.shape[-2], device=images.device)]
        return self.sign * self.looked_for(drive_BH)

    def looked_for(self, drive_BH: Tensor) -> Tensor:
        """Return what layer 1 looks for in an image where it has such drives, `drives @ bottom_up[0].weight`, `(B, D)`."""
        lowest: nn.Module = self.bottom_up[0]
        return lowest.transposed(drive_BH) if isinstance(lowest, LocalLinear) else drive_BH @ self.bottom_up[0].weight
