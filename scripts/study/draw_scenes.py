"""Draws docs/images/scenes.png: the frames of each scene, made of one of the bundled digits.

python scripts/study/draw_scenes.py [--source bundled] [--number 7] [--output docs/images/scenes.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from predicting import SCENES, scene_of, videos_of
from study import answer
from torch import Tensor

from ffrecur.errors import check_setting

DOCS = Path(__file__).parents[2] / "docs"
FRAMES = 8


def frames_of(source: str, number: int) -> Tensor:
    """Return the videos of one validation image, `(scenes, T, H, W)`, for square images of one channel."""
    of_scenes = [videos_of(source, scene_of(name), "validation", FRAMES).images for name in SCENES]
    count = len(of_scenes[0])
    check_setting(0 <= number < count, "--number", number, f"from 0 to {count - 1}, a number of a validation image")
    videos = [videos[[number]] for videos in of_scenes]
    shown = torch.cat(videos)
    side = round(shown.shape[-1] ** 0.5)
    return shown.unflatten(2, (side, side))


def draw(frames_STHW: Tensor) -> Figure:
    """Return a picture with a row a scene and a column a frame."""
    rows, columns = frames_STHW.shape[:2]
    figure = Figure(figsize=(columns, rows + 0.3), layout="constrained")
    for axes, name, video in zip(figure.subplots(rows, columns, squeeze=False), SCENES, frames_STHW, strict=True):
        for number, (axis, frame) in enumerate(zip(axes, video, strict=True), start=1):
            axis.imshow(frame.numpy(), cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            if name == SCENES[0]:
                axis.set_title(f"frame {number}", fontsize="small")
        axes[0].set_ylabel(name, fontsize="x-small")
    return figure


def run() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data.source", "--source", dest="source", default="bundled", help="the images, as of --data.source"
    )
    parser.add_argument("--number", type=int, default=7, help="number of the validation image, from 0")
    parser.add_argument("--output", type=Path, default=DOCS / "images" / "scenes.png")
    options = parser.parse_args()
    draw(frames_of(options.source, options.number)).savefig(options.output, dpi=72)


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
