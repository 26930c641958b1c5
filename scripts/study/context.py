"""Does a unit's surrounding foretell it? How much of the bottom-up drive the top-down drive explains, cancels and fills in.

python scripts/study/context.py RUN [--data.source FOLDER] [--limit 1000] [--patch 11] [--cut RUN] [--json FILE] [--picture FILE]

RUN is a run's folder or checkpoint with a `RecurrentNet`, of maps or dense, trained on still images. In the last iteration of
its window, the true label clamped, layer l adds two drives: b from below (with bias) and d from above. Each has its mean over
the images taken off, unit by unit. Over images and units

    explained = max over s of 1 - sum (b - s d)**2 / sum b**2 = (sum b d)**2 / (sum b**2 * sum d**2),  s = sum b d / sum d**2

with one scale s for the whole layer: below 0 where input from above cancels what it expects. Each control has a scale of its
own: d of another image; the mean of d over the other images of the label; d of the label where nothing comes from below (as
`imagine`). "Own, within a label": b and d both less their means over the images of the label, so that the label explains
nothing. The top layer hears nothing but the label.

Filling in: a square in the middle is set to the mean. d of layer 1 with it hidden, against the drive from below that the whole
image has there ("whole"), and against what the hidden square adds to that ("missing": b whole less b hidden); units with more
than half of their field in the square, of a dense net all. The last table has errors on both kinds of images, with top-down
weights between hidden layers as they are and set to 0, of the one-pass head, and with --cut of a net that was trained without
these weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from classifiers import (
    BATCH,
    SPLITS,
    Classifier,
    add_images,
    error,
    images_for,
    parts,
    read,
    refuse_videos,
    shown_of,
    split_in,
)
from context_parts import (
    cancelled,
    centred,
    compared,
    drives,
    explained_at_places,
    hardest_labels,
    in_the_middle,
    occluded,
    units_inside,
    without_images,
)
from looking_nets import hidden_top_down
from matplotlib.figure import Figure
from predicting import of_the_label
from study import answer, make_folder
from torch import Tensor

from ffrecur.errors import UserError, check_setting
from ffrecur.lit.shapes import as_map
from ffrecur.nets.recurrent import RecurrentNet
from ffrecur.storage.files import replacing

SHOWN = 6
Found = dict[str, Any]


@torch.no_grad()
def measured(
    whole: Classifier,
    images_ND: Tensor,
    labels_N: Tensor,
    shape: tuple[int, int, int],
    side: int,
    cut: Sequence[Classifier] = (),
) -> Found:
    """Return all figures, and under "pictures" the rows of the picture and the maps of what is explained.

    `cut` is a net trained without top-down weights between hidden layers, if there is one.
    """
    net, iteration = whole.net, whole.settings["window"][1]
    assert isinstance(net, RecurrentNet)
    patch = in_the_middle(shape, side)
    hidden_ND, inside_H = occluded(net, images_ND, patch), units_inside(net, patch)
    check_setting(bool(inside_H.any()), "--patch", side, "a side that covers more than half of some unit's field")
    scores = torch.cat([whole.logits(images) for images in images_ND.split(BATCH)])
    imagined = without_images(net)
    true, hidden = (drives(net, images, labels_N, iteration) for images in (images_ND, hidden_ND))
    wrong = drives(net, images_ND, hardest_labels(scores, labels_N), iteration)
    layers = list(zip(*true, imagined, strict=True))
    drive_NH, above_NH = true.below[0], hidden.above[0]
    targets = {"whole": drive_NH, "missing": drive_NH - hidden.below[0]}
    filled = {
        name: compared(target_NH[:, inside_H], above_NH[:, inside_H], imagined[0][:, inside_H], labels_N)
        for name, target_NH in targets.items()
    }
    named = dict(zip(["as it is", "no top-down", "its head"], [whole, *parts(whole)], strict=True))
    named |= dict(zip(["trained without"], cut, strict=False))
    places = 0 if net.maps is None else shape[0] * shape[1]
    sought = [net.sign * centred(above_NH), net.sign * centred(of_the_label(above_NH, labels_N)), centred(drive_NH)]
    return {
        "explained": [as_plain(compared(b, d, e, labels_N)) for b, d, e in layers],
        "cancelled": {
            name: [cancelled(b, d) for b, d in zip(*each, strict=True)]
            for name, each in (("true", true), ("hardest wrong", wrong))
        },
        "filled in": {name: as_plain(each) for name, each in filled.items()},
        "units": int(inside_H.sum()),
        "errors": {
            name: {"whole": error(each, images_ND, labels_N), "hidden": error(each, hidden_ND, labels_N)}
            for name, each in named.items()
        },
        "pictures": {
            "rows": [images_ND[:SHOWN], hidden_ND[:SHOWN], *(net.looked_for(each[:SHOWN]) for each in sought)],
            "maps": [explained_at_places(b, d, places) for b, d, _ in layers] if places else [],
        },
    }


def as_plain(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return what JSON can hold."""
    return {name: each._asdict() for name, each in found.items()}


def table(names: list[str], rows: dict[str, list[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())])


def printed(found: Found) -> str:
    """Return the four tables."""

    def cells(of: dict[str, dict[str, float]]) -> list[str]:
        return [f"{each['share']:.1%}, {each['scale']:.2f}" for each in of.values()]

    kinds = list(found["explained"][0])
    by_layer = {f"layer {layer}": cells(of) for layer, of in enumerate(found["explained"], start=1)}
    squares = {
        f"{label}, layer {layer}": [f"{of['below']:.3f}", f"{of['sum']:.3f}"]
        + [f"{of[name]:.1%}" for name in ("cancelled", "cancelled after the ReLU")]
        for label, of_label in found["cancelled"].items()
        for layer, of in enumerate(of_label, start=1)
    }
    errors = {name: [f"{of['whole']:.2%}", f"{of['hidden']:.2%}"] for name, of in found["errors"].items()}
    return "\n\n".join(
        [
            table(["explained: share, scale", *kinds], by_layer),
            table(["label", "below, squared", "sum, squared", "cancelled", "after the ReLU"], squares),
            table(["filled in: share, scale", *kinds], {name: cells(of) for name, of in found["filled in"].items()}),
            table(["error", "whole images", "hidden square"], errors),
        ]
    )


def draw(found: Found, shape: tuple[int, int, int], side: int) -> Figure:
    """Return six images as they are, with the square hidden, and what is looked for; and the maps of what is explained."""
    rows, maps = found["pictures"]["rows"], found["pictures"]["maps"]
    names = ["image", "hidden", "context\nfills in", "label\nfills in", "image\ndrives"]
    figure = Figure(figsize=(1.2 * SHOWN + 0.8, 1.25 * (len(rows) + bool(maps)) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows) + bool(maps), max(SHOWN, len(maps)), squeeze=False)
    patch = in_the_middle(shape, side)
    for axis in axes.ravel():
        axis.axis("off")
    for number, (name, images_ND) in enumerate(zip(names, rows, strict=True)):
        axes[number, 0].text(-0.1, 0.5, name, transform=axes[number, 0].transAxes, ha="right", va="center", fontsize=8)
        for axis, image_D in zip(axes[number], images_ND, strict=False):
            pixels_HWC = image_D.float().reshape(shape)
            if number >= 2:  # what is looked for has both signs: 0 is grey
                pixels_HWC = 0.5 + pixels_HWC / (2 * pixels_HWC.abs().quantile(0.99).clamp(min=1e-12))
            shown = pixels_HWC if shape[2] == 3 else pixels_HWC.mean(dim=2)
            axis.imshow(np.asarray(shown.clamp(0, 1)), cmap="gray", vmin=0, vmax=1)
            left, above, far = patch.column - 0.5, patch.row - 0.5, patch.side
            corners = ([left, left + far, left + far, left, left], [above, above, above + far, above + far, above])
            axis.plot(*corners, color="tab:orange", linewidth=0.6)
    for layer, (axis, map_P) in enumerate(zip(axes[-1], maps, strict=False), start=1):
        axis.imshow(np.asarray(map_P.reshape(shape[:2])), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(f"explained, layer {layer}\nred 100 %, blue -100 %", fontsize=6)
    return figure


def check_cut(net: RecurrentNet, cut: Sequence[Classifier]) -> None:
    """Raise `UserError` for a net that is not cut, or has other layers than the one it is compared with."""
    for other in (each.net for each in cut):
        assert isinstance(other, RecurrentNet)
        if any(bool(weight.any()) for weight in hidden_top_down(other)):
            raise UserError("--cut is a run whose net has top-down weights between hidden layers: train CutModule")
        if other.hidden_features != net.hidden_features or (other.maps is None) != (net.maps is None):
            raise UserError(
                f"--cut is a run with layers of {list(other.hidden_features)} units, but must have the same as RUN, "
                f"{list(net.hidden_features)}"
            )


def run(options: argparse.Namespace) -> None:
    """Measure, print, and write the figures and the picture; raises `UserError`."""
    check_setting(options.limit >= 2, "--limit", options.limit, "a whole number of at least 2")
    for name in ("json", "picture"):
        if getattr(options, name) is not None:
            make_folder(f"the folder of --{name}", getattr(options, name).parent)
    whole = read(options.run)
    cut = [] if options.cut is None else [read(f"trained without={options.cut}")]
    for each in (whole, *cut):
        if not isinstance(each.net, RecurrentNet):
            raise UserError(
                f"run is {each.name!r}, which holds a {type(each.net).__name__}, but must hold a RecurrentNet"
            )
    assert isinstance(whole.net, RecurrentNet)
    refuse_videos([whole, *cut])
    check_cut(whole.net, cut)
    data = images_for([whole, *cut], options, [options.split])
    rows, columns, channels = as_map(data.image_shape)
    shape, widest = (rows, columns, channels), min(rows, columns) - 1
    usual = max(widest // 3, 1) if whole.net.maps is None else min(whole.net.maps.field, widest)
    side = usual if options.patch is None else options.patch
    check_setting(1 <= side <= widest, "--patch", side, f"from 1 to {widest}, less than the image's shorter side")
    images_ND, labels_N = shown_of(data, options.split, options.limit)
    found = measured(whole, images_ND, labels_N, shape, side, cut)
    about = {
        "split": options.split,
        **split_in(data),
        "images": len(labels_N),
        "patch": side,
        "sign": whole.net.sign,
        **whole.settings,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"filled in: {found['units']} units of layer 1\n\n{printed(found)}")
    if options.json is not None:
        maps = [map_P.reshape(rows, columns).tolist() for map_P in found["pictures"]["maps"]]
        kept = {name: value for name, value in found.items() if name != "pictures"}
        with replacing(options.json) as path:
            path.write_text(json.dumps({"about": about, **kept, "explained at places": maps}, indent=2) + "\n")
    if options.picture is not None:
        draw(found, shape, side).savefig(options.picture, dpi=130)


def main() -> None:
    """Read the command line; mistakes are told in a sentence, with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder, checkpoint, exported net or museum/NAME")
    parser.add_argument("--split", choices=SPLITS[:2], default=SPLITS[0])
    add_images(parser, 1000)
    parser.add_argument(
        "--cut", metavar="RUN", help="a run trained without top-down weights, as of looking_nets.CutModule"
    )
    parser.add_argument("--patch", type=int, help="side of the hidden square (default: the field; dense: a third)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    answer(lambda: run(parser.parse_args()))


if __name__ == "__main__":
    main()
