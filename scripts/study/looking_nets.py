"""The rivals of a recurrent net that looks at videos: trained on single frames, cut from above, or by backpropagation in time.

`looking.py` trains them by their class paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrecur.core.learning import Masks
from ffrecur.core.products import native_autocast
from ffrecur.data import SceneDataModule
from ffrecur.data.loader import TensorLoader
from ffrecur.data.staged import TRAINING, SceneLoader
from ffrecur.errors import check_setting
from ffrecur.functional import damped_update, masked
from ffrecur.lit import BackpropModule, RecurrentModule
from ffrecur.lit.images import prepare
from ffrecur.nets.base import States
from ffrecur.nets.recurrent import RecurrentNet
from ffrecur.seeding import uniform_at

CHOICE = TRAINING + 2  # keeps the draws of the frames apart from those of the videos


class FrameLoader(SceneLoader):
    """Iterates over the training videos' frames: `(B * shown, D)`, with each label as often."""

    data: SingleFrames

    def changed(self, samples: tuple[Tensor, ...], first: int) -> tuple[Tensor, ...]:
        """Return some frames of each of the videos that the same place of the epoch has in `SceneLoader`."""
        videos_BTD, labels_B = super().changed(samples, first)
        noise_BT = uniform_at(first, len(labels_B), self.data.frames, self.seed, self.epoch, CHOICE)
        chosen_BN = noise_BT.argsort(dim=1)[:, : self.data.shown]
        frames_BND = videos_BTD[torch.arange(len(labels_B))[:, None], chosen_BN]
        return frames_BND.flatten(0, 1), labels_B.repeat_interleave(self.data.shown)


class SingleFrames(SceneDataModule):
    """The training videos of `SceneDataModule` as single images: a batch has `shown` frames of each of its videos.

    Args:
        source: as of `SceneDataModule`.
        shown: frames of each video, drawn again each epoch; at most all of them.
        settings: the others of `SceneDataModule`.
    """

    def __init__(self, source: str = "bundled", shown: int = 8, **settings: Any) -> None:
        super().__init__(source, **settings)
        check_setting(1 <= shown <= self.frames, "data.shown", shown, f"from 1 to the {self.frames} frames")
        self.shown = shown

    def make_loader(self, split: str, *arguments: Any) -> TensorLoader:
        """The loader of a split; only training has single frames."""
        if split != "train" or self.train_set is None:
            return super().make_loader(split, *arguments)
        return FrameLoader(self, [part for part in self.train_set if part is not None], *arguments)


class PerceptronModule(BackpropModule):
    """Train a perceptron by backpropagation on `SingleFrames`."""

    sees_videos = True  # whose batches are images


def hidden_top_down(net: RecurrentNet) -> Sequence[Tensor]:
    """Return the weights by which hidden layers hear hidden layers above them: all but the label's."""
    return [linear.weight for linear in net.top_down[: len(net.top_down) - 1]]


class CutModule(RecurrentModule):
    """Train a recurrent net whose hidden layers hear nothing from hidden layers above them; the top one hears the label.

    Those weights are 0 at the beginning, and so are their gradients at each step.
    """

    def build_net(self, in_features: int, num_classes: int) -> RecurrentNet:
        """Return a new net, cut."""
        net = super().build_net(in_features, num_classes)
        for weight in hidden_top_down(net):
            nn.init.zeros_(weight)
        return net

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """As in any module, but without a step of the weights that are cut."""
        super().on_before_optimizer_step(optimizer)
        for weight in hidden_top_down(self.net):
            if weight.grad is not None:
                weight.grad.zero_()


def unrolled(net: RecurrentNet, videos_TBD: Tensor, masks: Masks | None = None) -> Iterator[States]:
    """Yield the states `(B, H)` after each frame, with a graph through all frames and layers, and no label on top.

    The equations are those of `RecurrentNet.rollout` with the label's drive 0, in the synchronous scheme; masks are dropout's.
    """
    drive_TBH, states = net.bottom_up[0](net.image_row(videos_TBD, masks)), net.bottom_up_pass(videos_TBD, masks)
    last = len(states) - 1
    for frame, drive_BH in enumerate(drive_TBH):
        read, new = [net.read(state, layer, masks) for layer, state in enumerate(states)], []
        for layer, previous in enumerate(states):
            drive = drive_BH if layer == 0 else net.bottom_up[layer](read[layer - 1])
            if layer < last:
                drive = drive + net.top_down[layer](read[layer + 1])
            new.append(damped_update(previous, torch.relu(drive), net.damping_at(frame)))
        states = tuple(new)
        yield states


def unrolled_logits(net: RecurrentNet, videos_TBD: Tensor, masks: Masks | None = None) -> Tensor:
    """Return what the head reads off the states after each frame, `(T, B, C)`: `head_logits`, but with a graph."""
    logits = []
    with native_autocast(videos_TBD.device.type):
        for states in unrolled(net, videos_TBD, masks):
            row = torch.cat([net.read(state, layer, masks) for layer, state in enumerate(states)], dim=-1)
            logits.append(net.head(masked(row, net.head_mask(masks))))
    return torch.stack(logits)


class UnrolledModule(RecurrentModule):
    """Train a recurrent net by backpropagation through time: the mean cross-entropy of its head after the window's frames."""

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        """Return the loss of one batch, whose gradients go through all earlier frames and all layers."""
        videos_TBD, labels_B = prepare(batch[0])[: self.learning.iterations], batch[1]
        part = self.part_of_batch(len(labels_B))
        _, masks = self.noise_and_masks(part, batch_index)
        first, last = self.window
        logits_TBC = unrolled_logits(self.net, videos_TBD, masks)[first - 1 : last].float()
        targets = labels_B.expand(len(logits_TBC), -1)
        loss = F.cross_entropy(logits_TBC.flatten(0, 1), targets.flatten(), label_smoothing=self.label_smoothing)
        wrong = (logits_TBC.mean(dim=0).argmax(dim=1) != labels_B).float().mean()
        return self.finish_step(loss, {"train/loss": loss.detach(), "train/error": wrong}, part, batch_index)
