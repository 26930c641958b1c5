"""Pictures of nets whose hidden layers are maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor


def goodness_maps(images_ND: Tensor, image_shape: Sequence[int], maps_NLTHW: Tensor) -> Figure:
    """Goodness of each place over the iterations, a line for each image and layer; bright is high.

    Args:
        images_ND: the images, in [0, 1].
        image_shape: (rows, columns), or (rows, columns, 3).
        maps_NLTHW: mean of the squared states at each place, of each image, layer and iteration. Each layer of an image has a
            scale of its own.
    """
    count, layers, iterations = maps_NLTHW.shape[:3]
    figure = Figure(figsize=(1.1 * (iterations + 1) + 0.6, 1.15 * count * layers + 0.4), layout="constrained")
    axes = figure.subplots(count * layers, iterations + 1, squeeze=False)
    for number, (image_D, maps_LTHW) in enumerate(zip(images_ND, maps_NLTHW, strict=True)):
        for layer, maps_THW in enumerate(maps_LTHW):
            first, *others = axes[number * layers + layer]
            if layer == 0:
                first.imshow(np.asarray(image_D.reshape(tuple(image_shape))), cmap="gray", vmin=0, vmax=1)
            first.axis("off")
            first.text(
                -0.08, 0.5, f"layer {layer + 1}", transform=first.transAxes, ha="right", va="center", fontsize="small"
            )
            limit = max(float(maps_THW.max()), 1e-12)
            for iteration, (axis, map_HW) in enumerate(zip(others, maps_THW, strict=True), start=1):
                axis.imshow(np.asarray(map_HW), cmap="magma", vmin=0, vmax=limit)
                axis.axis("off")
                if number == layer == 0:
                    axis.set_title(str(iteration), fontsize="small")
    figure.suptitle("goodness at each place with the true label, by iteration", fontsize="medium")
    return figure
