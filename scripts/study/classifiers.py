"""Nets that corruption.py compares: any that gives scores to labels, read with the settings by which its run scored.

A score divided by the temperature is a logit: of a recurrent net (goodness over the window plus `head_weight` times the
head's log-probabilities), of a feed-forward net with labels (the same without a window) or without (its head), and of a net
that was trained by backpropagation (its logits, temperature 1).

Shapes: B images, D values of one, T frames, C labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from attacks import head_of, scores_of
from drift import without_hidden_top_down
from study import OF_THE_SPLIT, split_in_settings
from torch import Tensor

import ffrecur
from ffrecur import LocalLinear
from ffrecur.commands.export import settings_of_run
from ffrecur.data import ImageDataModule
from ffrecur.errors import UserError
from ffrecur.lit.images import prepare
from ffrecur.lit.shapes import as_map
from ffrecur.storage.checkpoint import describe
from ffrecur.storage.classes import temperature_of
from ffrecur.storage.exported import checksum
from ffrecur.storage.files import existing, with_home
from ffrecur.storage.museum import place_of

Net = ffrecur.RecurrentNet | ffrecur.FeedForwardNet | ffrecur.BackpropNet
SPLITS = ("validation", "test", "train")
BATCH = 500  # images at a time
STILL_FRAMES = 5  # of a video, over which nets for still images average: as many as a recurrent net's window needs
USUAL: dict[str, Any] = {
    "window": (3, 5),
    "head_weight": 0.0,
    "temperature": 1.0,
}  # of a net without the settings of a run


@dataclass(frozen=True)
class Classifier:
    """A net as it is compared.

    `logits` are those of images `(B, D)` or, where `video` holds, of videos `(T, B, D)`; `slopes` are the same of still images
    with a graph, for attacks. `split` tells which images validated in its run, see `study.split_of`; `source`, `shape` and
    `on_videos` where these came from, what shape they had and whether they were videos, as far as the run keeps it.
    """

    name: str
    net: Net
    settings: dict[str, Any]
    logits: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor], Tensor]
    video: bool = False
    split: dict[str, Any] | None = None
    source: str | None = None
    shape: Sequence[int] | None = None
    on_videos: bool = False

    @torch.no_grad()
    def classify(self, images: Tensor, frame_by_frame: bool = False) -> Tensor:
        """Return a label for each image or video, `(B,)`.

        Without `video`, or if asked to, log-probabilities are averaged over the frames of a video.
        """
        if images.ndim == 2 or (self.video and not frame_by_frame):
            return self.logits(images).argmax(dim=1)
        frames = [torch.log_softmax(self.logits(frame), dim=1) for frame in images[:STILL_FRAMES]]
        return torch.stack(frames).mean(dim=0).argmax(dim=1)

    def identity(self) -> str:
        """Return a checksum of the net and of how it scores."""
        return checksum({**describe(self.net), **self.settings}, self.net.state_dict())[:16]


def classifier(name: str, net: Net, settings: dict[str, Any], split: dict[str, Any] | None = None) -> Classifier:
    """Return a net with the settings of its run: window, head_weight and temperature."""
    window, weight, temperature = (settings[key] for key in USUAL)

    def logits(images: Tensor) -> Tensor:
        if isinstance(net, ffrecur.RecurrentNet):
            return net.score(images, window, weight) / temperature
        return (net.score(images, weight) if isinstance(net, ffrecur.FeedForwardNet) else net(images)) / temperature

    def slopes(images_BD: Tensor) -> Tensor:
        return scores_of(net, images_BD, window, weight) / temperature

    return Classifier(name, net, settings, logits, slopes, isinstance(net, ffrecur.RecurrentNet), split)


def parts(whole: Classifier) -> list[Classifier]:
    """Return two parts of a recurrent net beside it: without top-down weights between hidden layers, and its head alone.

    In the cut net the top layer still hears the label. The head reads one pass, which hears nothing from above at all.
    """
    net = whole.net
    if not isinstance(net, ffrecur.RecurrentNet):
        return []
    cut = classifier(f"{whole.name}, no top-down", without_hidden_top_down(net), whole.settings)
    return [cut, head_alone(whole)]


def head_alone(whole: Classifier) -> Classifier:
    """Return the head of a Forward-Forward net alone."""
    net = whole.net
    assert not isinstance(net, ffrecur.BackpropNet)
    settings = {**whole.settings, "part": "head"}
    return Classifier(
        f"{whole.name}, its head", net, settings, net.one_pass_logits, lambda images_BD: head_of(net, images_BD)
    )


def error(whole: Classifier, images_ND: Tensor, labels_N: Tensor) -> float:
    """Return the share of images that get a wrong label."""
    pairs = zip(images_ND.split(BATCH), labels_N.split(BATCH), strict=True)
    return sum(int((whole.classify(images) != labels).sum()) for images, labels in pairs) / len(labels_N)


def read(run: str) -> Classifier:
    """Return the net that `RUN` or `name=RUN` tells: a run's folder, a checkpoint, an exported net or one of the museum.

    Without a name it is called as its folder is. Raises `UserError` for what is no net, and for one that gives no scores.
    """
    name, path = "", run
    if "=" in run and existing(run) is None:
        name, _, path = run.partition("=")
    if run.startswith("="):
        raise UserError(f"run is {run!r}, but must be RUN or name=RUN")
    net = ffrecur.load(path)
    if isinstance(net, ffrecur.CharNet | ffrecur.StreamNet):
        kind = type(net).__name__
        raise UserError(f"run is {run!r}, which holds a {kind}, but must hold a net that classifies images")
    if isinstance(net, ffrecur.FeedForwardNet) and net.num_classes is None:
        raise UserError(f"run is {run!r}, whose net was trained without labels and has no head, so it gives no scores")
    if not name:
        place = Path(with_home(path))
        name = path if place_of(path) != Path(path) else (place.parent if place.suffix else place).resolve().name
    kept, seen = (settings_of_run(Path(with_home(path)), of) for of in ("model", "data"))
    found = classifier(name, net, settings_of(kept, net), split_in_settings(seen))
    shape = shape_read(net) or kept.get("image_shape")
    return replace(found, source=seen.get("source"), shape=shape, on_videos="frames" in seen)


def settings_of(kept: Mapping[str, Any], net: Net) -> dict[str, Any]:
    """Return window, head_weight and temperature of what a run keeps; the usual ones for an exported net, which keeps none."""
    if isinstance(net, ffrecur.BackpropNet):
        return dict(USUAL)
    settings = {key: kept.get(key, usual) for key, usual in USUAL.items()}
    settings["temperature"] = temperature_of(kept, USUAL["temperature"])
    if isinstance(net, ffrecur.FeedForwardNet) and net.label is None:
        settings["temperature"] = 1.0  # its scores are log-probabilities already
    return {**settings, "window": tuple(settings["window"])}


def add_images(parser: argparse.ArgumentParser, limit: int) -> None:
    """Let a command line say which images are shown, but for the split."""
    parser.add_argument("--data.source", "--source", dest="source", help="images; by default those of the nets' runs")
    for name in OF_THE_SPLIT:
        parser.add_argument(f"--data.{name}", dest=name, type=int, help="by default as the nets' runs had it")
    parser.add_argument(
        "--limit", "--images", type=int, default=limit, help="images, the first of the split (default: %(default)s)"
    )


def images_for(found: Sequence[Classifier], options: argparse.Namespace, splits: Sequence[str]) -> ImageDataModule:
    """Return the data of a command line, set up, its labels those of the nets.

    By default the source is that of the nets' runs, "bundled" where they keep none, and those images validate that validated
    there. Raises `UserError` for nets whose runs differ in this, for the latter unless the test images are asked for; and as
    `match` does.
    """
    split = {name: getattr(options, name) for name in OF_THE_SPLIT if getattr(options, name) is not None}
    of_runs = [each for each in found if each.split is not None]
    for each in of_runs:
        if not split and set(splits) != {"test"} and each.split != of_runs[0].split:
            raise UserError(
                f"run is {each.name!r}, in which other images validated than in {of_runs[0].name!r} ({each.split} and "
                f"{of_runs[0].split}): choose with --data.validation_size, or look at the test images"
            )
    data = ImageDataModule(
        options.source or source_of(found), **(split or (of_runs[0].split if of_runs else None) or {})
    )
    data.setup("test")
    match(found, data)
    return data


def source_of(found: Sequence[Classifier]) -> str:
    """Return where the images of the nets' runs came from, "bundled" if none keeps it; raises `UserError` if they differ."""
    known = {each.source: each.name for each in found if each.source is not None}
    if len(known) > 1:
        told = ", ".join(f"{source!r} of {name!r}" for source, name in known.items())
        raise UserError(f"data.source must be given, since the runs have {told}")
    return next(iter(known), "bundled")


def refuse_videos(found: Sequence[Classifier]) -> None:
    """Raise `UserError` for a net that was trained on videos: still images would say nothing of its training."""
    for each in found:
        if each.on_videos:
            raise UserError(
                f"run is {each.name!r}, which was trained on videos, but must be one trained on still images"
            )


def split_in(data: ImageDataModule) -> dict[str, Any]:
    """Return which images of data validate, as of `study.split_of`: results of others are not theirs."""
    return {name: getattr(data, name) for name in OF_THE_SPLIT if getattr(data, name) is not None}


def shown_of(data: ImageDataModule, split: str, limit: int) -> tuple[Tensor, Tensor]:
    """Return the first images of a split, `(N, D)` in [0, 1], with their labels."""
    shown = {"train": data.train_set, "validation": data.validation_set, "test": data.test_set}[split]
    assert shown is not None
    assert shown.labels is not None
    return prepare(shown.images[:limit]), shown.labels[:limit]


def shape_read(net: Net) -> Sequence[int] | None:
    """Return the shape of the images that a net reads as maps; None for one that reads rows of numbers."""
    if isinstance(net, ffrecur.RecurrentNet):
        return None if net.maps is None else net.maps.in_shape
    lowest = net.hidden[0]
    return lowest.in_shape if isinstance(lowest, LocalLinear) else getattr(net, "image_shape", None)


def match(found: Sequence[Classifier], data: ImageDataModule) -> None:
    """Make the labels of data, which has been set up, those of the nets.

    Raises `UserError` for two nets of one name, for images that a net does not read, and for nets of different classes.
    """
    shape = tuple(data.image_shape)
    for place, each in enumerate(found):
        if each.name in [other.name for other in found[:place]]:
            raise UserError(f"run is {each.name!r} twice: give names, such as first=RUN second=RUN")
        read = each.shape or shape_read(each.net)
        if each.net.in_features != data.in_features or (read is not None and as_map(read) != as_map(shape)):
            size = f"{each.net.in_features} values" if read is None else "x".join(map(str, read))
            raise UserError(
                f"run is {each.name!r}, whose net reads images of {size}, but those of data.source have "
                f"{'x'.join(map(str, shape))}, {data.in_features} values"
            )
    known = [each.net.class_names for each in found if each.net.class_names is not None]
    for each in found[1:]:
        alike = each.net.num_classes == found[0].net.num_classes and each.net.class_names in (None, *known[:1])
        if not alike:
            raise UserError(f"run is {each.name!r}, whose classes are not those of {found[0].name!r}")
    count = found[0].net.num_classes
    assert count is not None, "nets without a head are refused"
    data.match_classes(known[0] if known else None, count)
