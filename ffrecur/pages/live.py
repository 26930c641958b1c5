"""A live page: one HTML file with a net in it, to draw or to type into, which needs no server and fetches nothing.

`live.html.jinja` and the files whose names begin with `live_` make the page: the net's equations are in `live_numbers.js`,
`live_recurrent.js` and `live_character.js`, what is seen of them in the others.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from math import isqrt
from typing import Any, NamedTuple

import jinja2
import torch
from markupsafe import Markup
from torch import Tensor

from ffrecur.core.goodness import MeanSquare
from ffrecur.errors import UserError, check_setting, one_line
from ffrecur.nets.arguments import check_window
from ffrecur.nets.character import CharNet
from ffrecur.nets.recurrent import RecurrentNet
from ffrecur.pages.live_inputs import NONE, Stored, digits, random_images, windows_to_measure
from ffrecur.pages.live_weights import Loss, loss_of_rounding, packed, tables_of, widths_in_words
from ffrecur.storage.classes import temperature_of

MARKER = "ffrecur export --format page"  # by which an earlier page is known
OF_IMAGES = ("live_numbers.js", "live_recurrent.js", "live_draw.js", "live_curves.js", "live_images.js")
OF_TEXT = ("live_numbers.js", "live_character.js", "live_text.js")


class Scoring(NamedTuple):
    """How a recurrent net scores labels: window and head's weight, and the temperature of its objective."""

    window: tuple[int, int] = (3, 5)
    head_weight: float = 0.0
    temperature: float = 0.1
    origin: str = "the defaults: an exported net does not keep its own"


class LivePage(NamedTuple):
    """A page and what its making showed."""

    html: str
    loss: Loss
    measured_on: str


def scoring_of(settings: Mapping[str, Any]) -> Scoring | None:
    """Return how the run with these settings scores labels; None where they do not say, as those of an exported folder.

    Raises `UserError` for what is no window, weight or temperature.
    """
    if "window" not in settings or "head_weight" not in settings:
        return None
    try:
        first, last = map(int, settings["window"])
        weight, temperature = float(settings["head_weight"]), float(temperature_of(settings, Scoring().temperature))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"checkpoint has a window, head_weight or temperature that is none ({one_line(error)})"
        ) from error
    return Scoring((first, last), weight, temperature, "those of the run")


def live_page(net: Any, images: Stored | None = None, scoring: Scoring | None = None) -> LivePage:
    """Return the page of a recurrent net or of a character model.

    Args:
        net: the net, whose goodness is the mean square.
        images: grey images to choose from; by default two bundled test digits of each class for a net of 784 features and
            10 classes, and none for others.
        scoring: how a recurrent net scores labels.

    Raises:
        UserError: a net or images of which no page can be made.
    """
    kind, known = type(net).__name__, isinstance(net, RecurrentNet | CharNet)
    check_setting(known, "format", "page", f"folder for a {kind}; a page is made of a RecurrentNet or a CharNet")
    standardized = getattr(net, "statistics", None) is not None
    check_setting(not standardized, "format", "page", "folder for a net that standardises its images; a page does not")
    goodness = net.goodness_function
    rule = f"folder for a net whose goodness is {type(goodness).__name__}; a page computes the mean square"
    check_setting(type(goodness) is MeanSquare, "format", "page", rule)
    shared = {"layers": len(net.hidden_features), "sign": net.sign, "blocks": goodness.blocks}
    shapes, weights = packed(tables_of(net))
    shared |= {"shapes": shapes, "weights": weights}
    if isinstance(net, CharNet):
        check_setting(images is None, "images", "given", "left out: the net reads text")
        return page_of_text(net, shared)
    return page_of_images(net, shared, images, scoring or Scoring())


def page_of_images(net: RecurrentNet, shared: dict[str, Any], images: Stored | None, scoring: Scoring) -> LivePage:
    """Return the page of a recurrent net."""
    check_window(scoring.window)
    check_setting(scoring.head_weight >= 0, "head_weight", scoring.head_weight, "at least 0")
    check_setting(scoring.temperature > 0, "temperature", scoring.temperature, "greater than 0")
    stored, measured, measured_on = NONE, random_images(net.in_features), "random images"
    mnist = net.in_features == 784 and net.num_classes == 10
    if images is not None:
        stored, measured_on = images, "the images of the page"
        measured = as_rows(images, net.in_features)
    elif mnist:
        stored, measured = digits()
        measured_on = "the bundled test digits"
    loss = loss_of_rounding(net, measured, window=scoring.window, head_weight=scoring.head_weight)
    first, last = scoring.window
    settings = {
        **shared,
        "classes": net.class_names or [str(label) for label in range(net.num_classes)],
        "inFeatures": net.in_features,
        "shape": shape_of(net.in_features, stored),
        "damping": [net.damping] if isinstance(net.damping, float) else list(net.damping),
        "alternating": net.update_scheme == "alternating",
        "center": net.center_images,
        "window": [first, last],
        "headWeight": scoring.head_weight,
        "temperature": scoring.temperature,
        "mnist": mnist,
        "images": [
            {"name": name, "pixels": base64.b64encode(pixels.tobytes()).decode("ascii")}
            for name, pixels in zip(stored.names, stored.pixels, strict=True)
        ],
    }
    head = (
        f", plus {scoring.head_weight:g} times the log-probability of the one-pass head" if scoring.head_weight else ""
    )
    less = "high" if net.sign == 1 else "low"
    about = [
        "Every label is tried: clamped on top, with the image clamped below, it drives the layers between, again and again.",
        f"A curve is the sum over layers of goodness, mean(state²), times the sign {net.sign:+d}: "
        f"this net learned {less} goodness for the right label.",
        f"A label's score is the mean of its curve over the shaded window, iterations {first} to {last}{head}; "
        f"its share is softmax(score / {scoring.temperature:g}), which is no measured probability.",
        "The expectation is what a label sends down to layer 1, less the mean over all labels, back through the image's "
        "weights: red where it expects ink, blue where none, smoothed over 3 by 3 pixels for the eye.",
        "Damping is the share of the previous state in the new one; noise is the standard deviation of Gaussian numbers that "
        "are added to the pixels, which are from 0 to 1.",
        f"Window, head's weight and temperature are {scoring.origin}.",
    ]
    layers = widths_in_words(net.hidden_features)
    words = f"A recurrent net that learned by Forward-Forward: {layers} between an image and a label."
    return filled("images", "See a net think", words, settings, about, loss, measured_on)


def page_of_text(net: CharNet, shared: dict[str, Any]) -> LivePage:
    """Return the page of a character model."""
    windows, measured_on = windows_to_measure(net)
    loss = loss_of_rounding(net, windows)
    settings = {
        **shared,
        "symbols": list(net.alphabet.symbols),
        "window": net.window,
        "headLayers": list(net.head_layers),
        "foldCase": net.alphabet.fold_case,
        "unknown": net.alphabet.unknown,
        "goodnessWeight": net.goodness_weight,
        "noise": net.noise,
    }
    by = {
        "head": "log-probability of the softmax q",
        "masked_head": "logarithm of q (1 - q), where q is the softmax's probability,",
        "uniform": "same number for every character",
    }[net.noise]
    rating = (
        "The softmax of the head alone gives the probabilities."
        if net.goodness_weight == 0
        else f"A character is rated by the {by} plus {net.goodness_weight:g} times the sum over layers of goodness, "
        f"mean(state²), of the window that ends with it, times the sign {net.sign:+d}."
    )
    about = [
        f"The net reads the last {net.window} characters and nothing before them.",
        rating,
        "Dreaming draws a character by these probabilities, adds it, and goes on; the temperature divides the ratings first.",
        "The same seed, text and temperature give the same dream in every browser, but not the same as ffrecur generate.",
    ]
    layers = widths_in_words(net.hidden_features)
    words = f"A character model that learned by Forward-Forward: {layers}, {len(net.alphabet)} symbols."
    return filled("text", "See a net write", words, settings, about, loss, measured_on, prompt_of(net))


def prompt_of(net: CharNet) -> str:
    """Return what stands in the text at first."""
    return "the fox " if set("the fox ") <= set(net.alphabet.symbols) else ""


def shape_of(features: int, images: Stored) -> list[int]:
    """Return height and width of a net's images: those of the images, or a square. Raises `UserError` where it is none."""
    if len(images.pixels):
        return list(images.pixels.shape[1:])
    side = isqrt(features)
    if side * side != features:
        raise UserError(
            f"images is not given, but must be a folder of grey images of {features:,} pixels: the net's are no squares"
        )
    return [side, side]


def as_rows(images: Stored, features: int) -> Tensor:
    """Return images as the net reads them, `(N, D)` from 0 to 1. Raises `UserError` for images of another size."""
    height, width = images.pixels.shape[1:]
    if height * width != features:
        raise UserError(
            f"images has images of {height} by {width} grey pixels, but must have {features:,} pixels, as the net has"
        )
    return torch.from_numpy(images.pixels.reshape(len(images.pixels), -1)) / 255


@cache
def templates() -> jinja2.Environment:
    """Return the templates of this folder, which escape what they are given."""
    loader = jinja2.FunctionLoader(text_of)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)


def text_of(name: str) -> str:
    """Return the text of a file of this folder."""
    return resources.files("ffrecur.pages").joinpath(name).read_text(encoding="utf-8")


def filled(
    body: str,
    title: str,
    words: str,
    net: dict[str, Any],
    about: Sequence[str],
    loss: Loss,
    measured_on: str,
    prompt: str = "",
) -> LivePage:
    """Return the page with everything put in."""
    scripts, start = (OF_IMAGES, "playWithImages") if body == "images" else (OF_TEXT, "playWithText")
    made = f"Made by ffrecur; {loss} ({measured_on})."
    html = (
        templates()
        .get_template("live.html.jinja")
        .render(
            marker=MARKER,
            title=title,
            net_in_words=words,
            body=f"live_{body}.html.jinja",
            net=net,
            about=[*about, made],
            prompt=prompt,
            style=Markup(text_of("live.css")),  # our own files
            script=Markup("\n".join(map(text_of, scripts))),
            start=start,
        )
    )
    return LivePage(html, loss, measured_on)
