"""Images as maps: their shape, the local layers that read them, and the statistics of their channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffrecur.errors import UserError, check_setting


def described(layers: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Return settings of local layers as a user gives them, with none left out.

    >>> described([{"in_shape": [9, 9, 1], "out_channels": 4, "kernel": 3, "stride": 2, "padding": 0, "bias": True}])
    [{'out_channels': 4, 'kernel': 3, 'stride': 2, 'padding': 0}]
    """
    usual = {"out_channels": None, "kernel": None, "stride": 1, "padding": 0}
    return (
        None
        if layers is None
        else [{name: layer.get(name, value) for name, value in usual.items()} for layer in layers]
    )


def as_map(shape: Sequence[int]) -> tuple[int, ...]:
    """Return rows, columns and channels of images.

    >>> as_map([28, 28]), as_map((32, 32, 3))
    ((28, 28, 1), (32, 32, 3))
    """
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


def matched_shape(known: list[int] | None, found: Sequence[int] | None) -> list[int]:
    """Return the images' shape, which a net knows already or takes from the data; raises `UserError` for another one."""
    if known is None:
        check_setting(found is not None, "image_shape", None, "given where the data does not tell it")
        return list(found or ())
    if found is not None and as_map(found) != as_map(known):
        raise UserError(
            f"image_shape of the net is {known}, but the data has {list(found)}; convert the images, or train a net on this "
            "data first"
        )
    return known


def learn_statistics(net: Any, data: Any) -> None:
    """Let a net that standardises images see those that train; raises `UserError` for a data module that has none."""
    images = getattr(getattr(data, "train_set", None), "images", None)
    shape = getattr(data, "image_shape", None)
    allowed = "false where the data module has neither a train_set with images nor an image_shape"
    check_setting(images is not None and shape is not None, "standardize_images", True, allowed)
    net.statistics.learn(images, as_map(shape or ())[2])
