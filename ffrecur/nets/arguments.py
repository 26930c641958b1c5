"""What the nets' methods are given: arrays become tensors, and what cannot be right is refused in a sentence.

Values are looked at where that is cheap: always in evaluation and `local_loss`; in `local_learning`, by which modules train,
labels only, and on the CPU only, since a GPU would have to wait. There, goodness that is not finite tells of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting, check_whole, is_whole

BRIGHTEST = 10  # no pixel of an image in [0, 1] reaches this, nor with noise on it


def as_tensor(name: str, value: Any, device: torch.device) -> Tensor:
    """Return a tensor of numbers: a tensor as it is, an array on the net's device.

    Raises `UserError` for anything else, and for a tensor on another device.
    """
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        try:
            array = np.ascontiguousarray(value)
            value = torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False)).to(device)
        except (TypeError, ValueError) as error:
            kind = getattr(getattr(value, "dtype", None), "kind", "O")  # a list has none
            what = {"U": "text", "O": "objects"}.get(kind, f"the type {getattr(value, 'dtype', None)}")
            raise UserError(f"{name} are an array of {what}, not of numbers") from error
    if not isinstance(value, Tensor):
        raise UserError(f"{name} are a {type(value).__name__}, but must be a tensor or an array")
    if value.is_complex() or value.layout != torch.strided:
        raise UserError(f"{name} are of type {short(value)}, but must be plain real numbers")
    if value.device != device:
        raise UserError(f"{name} are on {value.device}, but the net is on {device}")
    return value


def short(tensor: Tensor) -> str:
    """Return the name of a tensor's type of number.

    >>> short(torch.zeros(1))
    'float32'
    """
    return str(tensor.dtype).removeprefix("torch.")


def check_image_shape(images: Tensor, in_features: int, video: bool = True) -> None:
    """Raise `UserError` for images of another shape than the net reads."""
    if images.ndim not in ((2, 3) if video else (2,)) or images.shape[-1] != in_features:
        also = f" or, for video, (iterations, batch, {in_features})" if video else ""
        also += "; images.flatten(1) has it" if images.ndim > 2 and images[0].numel() == in_features else ""
        raise UserError(f"images have the shape {tuple(images.shape)}, but the net reads (batch, {in_features}){also}")


def as_images(
    images: Any,
    weight: Tensor,
    in_features: int,
    video: bool = True,
    values: bool = True,
    some: bool = False,
    scaled: bool = False,
) -> Tensor:
    """Return images `(B, D)`, or video `(T, B, D)`, of any type of real number, as a tensor.

    With `some` there must be one at least. `scaled` is for a net to which white must be 1, or 255 in uint8: it is refused other
    numbers that are far above 1. Raises `UserError` for another shape, for NaN and for infinity too.
    """
    images = as_tensor("images", images, weight.device)
    check_image_shape(images, in_features, video)
    if some and images.shape[-2] == 0:
        raise UserError(
            f"images have the shape {tuple(images.shape)}, an empty batch, but something must be learned from"
        )
    if values and look(images, values) and images.is_floating_point() and not finite(images):
        raise UserError("images have values that are NaN or infinite")
    if scaled and images.dtype != torch.uint8 and look(images, values) and (highest := float(images.max())) > BRIGHTEST:
        raise UserError(
            f"images reach {highest:g}, but must be uint8, or numbers from 0 to 1: divide them by what is white in them"
        )
    return images


def finite(tensor: Tensor) -> bool:
    """Whether all values are finite; a sum, read from memory once, tells so unless it is huge."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def look(tensor: Tensor, values: bool) -> bool:
    """Whether values are looked at: on a GPU only where that was asked for."""
    return tensor.numel() > 0 and (values or tensor.device.type == "cpu") and tensor.device.type != "meta"


def as_labels(name: str, labels: Any, count: int, classes: int, device: torch.device, values: bool = True) -> Tensor:
    """Return one label for each of `count` cases, `(B,)` int64, each from 0 to `classes - 1`.

    Raises `UserError` for anything else.
    """
    labels = as_tensor(name, labels, device)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise UserError(f"{name} are of type {short(labels)}, but must be whole numbers")
    if labels.shape != (count,):
        raise UserError(f"{name} have the shape {tuple(labels.shape)}, but must have ({count},), one for each case")
    labels = labels.long()
    if look(labels, values) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        wrong = labels[(labels < 0) | (labels >= classes)][0].item()
        raise UserError(f"{name} have the value {wrong}, but must be from 0 to {classes - 1}")
    return labels


def as_negatives(
    negatives: Any,
    labels_B: Tensor,
    classes: int,
    values: bool = True,
    name: str = "negative_labels",
    may_be_true: bool = False,
) -> Any:
    """Return wrong labels, `(B,)` or K a case `(B, K)`, as `as_labels` does; a function that draws them is left to itself.

    Raises `UserError` for one that is the true label, unless it may be.
    """
    if callable(negatives):
        return negatives
    negatives = as_tensor(name, negatives, labels_B.device)
    shape = negatives.shape
    if negatives.ndim == 2 and len(negatives) == len(labels_B):
        labels_B, negatives = labels_B.repeat_interleave(shape[1]), negatives.flatten()
    negatives = as_labels(name, negatives, len(labels_B), classes, labels_B.device, values)
    if not may_be_true and look(negatives, values) and bool((negatives == labels_B).any()):
        places = (negatives == labels_B).nonzero().flatten().tolist()
        raise UserError(
            f"{name} have the true label in {len(places)} of {len(labels_B)} places (first in {places[0]}), but "
            "must be wrong"
        )
    return negatives.view(shape)


def kinds_of_answers(
    true_B: Tensor, wrong: Any, classes: int, name: str = "negative_labels", may_be_true: bool = False
) -> Tensor:
    """Return the true answers and the wrong ones, `(B,)` or M a case `(B, M)`, as kinds of data, `(1 + M, B)`.

    Raises `UserError` for another shape, type or value: wrong answers may be what a function of the user's has drawn.
    """
    wrong = as_tensor("negatives", wrong, true_B.device)
    if wrong.is_floating_point() or wrong.dtype == torch.bool:
        raise UserError(f"negatives are of type {short(wrong)}, but must be whole numbers")
    if wrong.ndim not in (1, 2) or len(wrong) != len(true_B) or wrong.numel() == 0:
        cases = len(true_B)
        raise UserError(
            f"negatives have the shape {tuple(wrong.shape)}, but must have ({cases},), or ({cases}, M) for M of each case"
        )
    wrong = as_negatives(wrong, true_B, classes, values=False, name=name, may_be_true=may_be_true)
    return torch.cat([true_B[None], wrong.reshape(len(true_B), -1).t()])


def as_windows(name: str, windows: Any, length: int, symbols: int, device: torch.device, values: bool = True) -> Tensor:
    """Return windows of text, `(B, W)` of whole numbers, each from 0 to `symbols - 1`; raises `UserError` for anything else."""
    windows = as_tensor(name, windows, device)
    if windows.is_floating_point() or windows.dtype == torch.bool:
        raise UserError(f"{name} are of type {short(windows)}, but must be whole numbers: see CharNet.encode")
    if windows.ndim != 2 or windows.shape[1] != length:
        raise UserError(f"{name} have the shape {tuple(windows.shape)}, but the net reads (batch, {length})")
    # Another number would read the column of another position.
    if look(windows, values) and not 0 <= int(windows.min()) <= int(windows.max()) < symbols:
        raise UserError(f"{name} have a number that is no symbol; they are 0 to {symbols - 1}")
    return windows.long()


def check_iterations(images: Tensor, iterations: int) -> None:
    """Raise `UserError` for fewer than 1 iteration, or for more than a video has frames."""
    check_whole("iterations", iterations)
    if images.ndim == 3:
        check_setting(iterations <= len(images), "iterations", iterations, f"at most the video's {len(images)} frames")


def check_window(window: tuple[int, int], evaluation_iterations: int | None = None) -> None:
    """Raise `UserError` unless `1 <= window[0] <= window[1]` (and `<= evaluation_iterations` where given)."""
    rule = "two iterations [first, last], counted from 1, with first <= last"
    if evaluation_iterations is not None:
        rule += f" <= evaluation_iterations, which is {evaluation_iterations}"
    numbers = list(window) if isinstance(window, Sequence) else window
    fits = isinstance(numbers, list) and len(numbers) == 2 and all(map(is_whole, numbers)) and numbers[0] <= numbers[1]
    check_setting(fits and window[1] <= (evaluation_iterations or window[1]), "window", numbers, rule)


def as_negative_images(negatives: Any, images_BD: Tensor, values: bool = True) -> Tensor:
    """Return negative images `(K, B, D)`; raises `UserError` for what does not fit."""
    negatives = as_tensor("negative images", negatives, images_BD.device)
    if negatives.shape[-2:] != images_BD.shape or negatives.ndim not in (2, 3) or len(negatives) == 0:
        wanted, found = tuple(images_BD.shape), tuple(negatives.shape)
        raise UserError(f"negative images have the shape {found}, but must have {wanted}, or (K, ...) for K of each")
    if values and look(negatives, values) and negatives.is_floating_point() and not finite(negatives):
        raise UserError("negative images have values that are NaN or infinite")
    return negatives if negatives.ndim == 3 else negatives[None]
