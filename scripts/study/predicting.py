"""What the layers above predict: how much of the next frame's bottom-up drive the top-down drive explains, layer by layer.

python scripts/study/predicting.py RUN --source FOLDER [--scene Aperture] [--split validation] [--limit 1000]

In iteration t + 1 layer l adds two drives: b, from frame t + 1 or the layer below, and d, from the layer above after frame t.
Both have their mean over the clips taken off, unit by unit and frame by frame. Over all clips, units and frames t = 1 to T - 1

    explained = max over s of 1 - sum (b - s d)**2 / sum b**2 = (sum b d)**2 / (sum b**2 * sum d**2)

with one scale s = sum b d / sum d**2 for the whole layer. Where input from above cancels what it expects, s is below 0.
Of the top layer, d comes from the clamped label, the true one. Two controls have a scale of their own: d of another clip, and
d of the label alone, its mean over the other clips of the same label.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from study import answer, split_of
from torch import Tensor

import ffrecur
import ffrecur.data
from ffrecur.commands.export import settings_of_run
from ffrecur.data import Scene, SceneDataModule
from ffrecur.data.imageset import ImageSet
from ffrecur.errors import UserError, check_whole
from ffrecur.lit.images import prepare
from ffrecur.lit.shapes import matched_shape
from ffrecur.nets.recurrent import RecurrentNet
from ffrecur.storage.files import with_home

Drives = tuple[list[Tensor], list[Tensor]]  # from below and from above, (B, H) of each layer


SCENES = ("Aperture", "SweepingBar", "MovingClutter", "NoisyFrames")


def scene_of(text: str) -> Scene:
    """Return a scene by its name, with its one setting after a "=" where it is not the usual one.

    >>> scene_of("SweepingBar=8")
    SweepingBar(pixels=8)
    """
    name, given, value = text.partition("=")
    if name not in SCENES:
        raise UserError(f"scene is {name}, but must be {' or '.join(SCENES)}")
    scene: type[Scene] = getattr(ffrecur.data, name)
    (setting,) = dataclasses.fields(scene)  # type: ignore[arg-type]
    usual: Any = setting.default
    try:
        settings = {setting.name: type(usual)(value)} if given else {}
    except ValueError as error:
        kind = "a whole number" if isinstance(usual, int) else "a number"
        raise UserError(f"scene is {text!r}, whose {setting.name} must be {kind}") from error
    return scene(**settings)


def videos_of(
    source: str,
    scene: Scene,
    split: str,
    frames: int = 8,
    net: Any = None,
    image_shape: list[int] | None = None,
    **settings: Any,
) -> ImageSet:
    """Return the videos and labels of a split, "validation" or "test": the same for whoever asks; settings as of `split_of`.

    Labels are those of the net, if one is given. Raises `UserError` for images or classes that are not the net's, and for
    images of another shape than `image_shape`, if that is known.
    """
    data = SceneDataModule(source, scene, frames, **settings)
    data.setup("test")
    matched_shape(image_shape, data.image_shape)
    if net is not None:
        if net.in_features != data.in_features:
            raise UserError(f"data.source has images of {data.in_features} values, but the net reads {net.in_features}")
        data.match_classes(net.class_names, net.num_classes)
    found: ImageSet = getattr(data, f"{split}_set")
    return found


class Explained(NamedTuple):
    """Share of the bottom-up drive's variance that the top-down drive explains, and the scale at which it does."""

    share: float
    scale: float


@torch.no_grad()
def drives(net: RecurrentNet, videos_TBD: Tensor, labels_B: Tensor) -> Iterator[Drives]:
    """Yield both drives of each layer in iterations 2 to T, of a net with the synchronous scheme."""
    states, image_TBH = net.bottom_up_pass(videos_TBD), net.bottom_up[0](net.image_row(videos_TBD))
    label_BH = net.top_down[-1](net.label_row(labels_B))
    for frame, image_BH in enumerate(image_TBH):
        if frame > 0:
            read = [net.read(state, layer) for layer, state in enumerate(states)]
            below = [image_BH, *(linear(row) for linear, row in zip(net.bottom_up[1:], read[:-1], strict=True))]
            above = [linear(row) for linear, row in zip(net.top_down[:-1], read[1:], strict=True)]
            yield below, [*above, label_BH]
        states = net.advance(states, image_BH, label_BH, frame)


def of_another(drive_BH: Tensor, labels_B: Tensor) -> Tensor:
    """Return the drive of another clip: of the one before."""
    return drive_BH.roll(1, dims=0)


def of_the_label(drive_BH: Tensor, labels_B: Tensor) -> Tensor:
    """Return the mean drive of the other clips of the same label; 0 where there is none.

    >>> of_the_label(torch.tensor([[1.0], [3.0], [5.0], [7.0]]), torch.tensor([0, 0, 0, 1])).flatten()
    tensor([4., 3., 2., 0.])
    """
    one_hot_BC = torch.nn.functional.one_hot(labels_B).to(drive_BH.dtype)
    sums_BH = one_hot_BC @ (one_hot_BC.T @ drive_BH) - drive_BH
    others_B1 = (one_hot_BC @ one_hot_BC.sum(dim=0) - 1)[:, None]
    return torch.where(others_B1 > 0, sums_BH / others_B1.clamp(min=1), 0)


def as_it_is(drive_BH: Tensor, labels_B: Tensor) -> Tensor:
    """Return the drive of the clip itself."""
    return drive_BH


KINDS = {"own": as_it_is, "another clip's": of_another, "the label's": of_the_label}


def explained(pairs: Iterator[tuple[Tensor, Tensor]]) -> Explained:
    """Return what d explains of b in pairs `(b, d)` of shape `(B, H)`, a pair a frame; 0 where either does not vary.

    >>> b = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])
    >>> explained(iter([(b, -2 * b)]))
    Explained(share=1.0, scale=-0.5)
    """
    bb = bd = dd = 0.0
    for below_BH, above_BH in pairs:
        b, d = ((drive.double() - drive.double().mean(dim=0)) for drive in (below_BH, above_BH))
        bb, bd, dd = bb + float((b * b).sum()), bd + float((b * d).sum()), dd + float((d * d).sum())
    return Explained(bd**2 / (bb * dd), bd / dd) if bb > 0 and dd > 0 else Explained(0.0, 0.0)


def explained_by_layer(net: RecurrentNet, videos_TBD: Tensor, labels_B: Tensor) -> dict[str, list[Explained]]:
    """Return, of the own top-down drive and of both controls, what it explains in each layer from the first on."""
    found, all_drives = {}, list(drives(net, videos_TBD, labels_B))
    for kind, taken in KINDS.items():
        found[kind] = [
            explained((below[layer], taken(above[layer], labels_B)) for below, above in all_drives)
            for layer in range(len(net.hidden_features))
        ]
    return found


def table(found: dict[str, list[Explained]]) -> str:
    """Return a Markdown table, a row a layer."""
    lines = [
        "| layer | " + " | ".join(f"{kind}: share, scale" for kind in found) + " |",
        "|---" * (len(found) + 1) + "|",
    ]
    for layer, row in enumerate(zip(*found.values(), strict=True), start=1):
        lines.append(f"| {layer} | " + " | ".join(f"{each.share:.3f}, {each.scale:.2f}" for each in row) + " |")
    return "\n".join(lines)


def run() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder or checkpoint of a recurrent net trained on videos")
    parser.add_argument("--data.source", "--source", dest="source", required=True, help="the images")
    parser.add_argument("--scene", default="Aperture", help="such as Aperture, or SweepingBar=8")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=1000, help="clips, the first of the split")
    options = parser.parse_args()
    check_whole("--limit", options.limit)
    net = ffrecur.load(options.run)
    if not isinstance(net, RecurrentNet) or net.update_scheme != "synchronous":
        raise UserError("run holds another net than a RecurrentNet of the synchronous scheme")
    split, shape = split_of(options.run) or {}, settings_of_run(Path(with_home(options.run))).get("image_shape")
    scene = scene_of(options.scene)
    videos, labels_N = videos_of(options.source, scene, options.split, net=net, image_shape=shape, **split)
    assert labels_N is not None
    videos_TBD, labels_B = prepare(videos[: options.limit]), labels_N[: options.limit]
    print(f"{len(labels_B)} clips, sign {net.sign}")
    print(table(explained_by_layer(net, videos_TBD, labels_B)))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
