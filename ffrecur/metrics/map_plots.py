"""Pictures of nets whose hidden layers are maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ffrecur.metrics.grid import PictureGrid
from ffrecur.metrics.plots import image


def goodness_maps(images_ND: Tensor, image_shape: Sequence[int], maps_NLTHW: Tensor) -> Figure:
    """Goodness of each place over the iterations, a line for each image and layer; bright is high.

    Args:
        images_ND: the images, in [0, 1].
        image_shape: (rows, columns), or (rows, columns, 3).
        maps_NLTHW: mean of the squared states at each place, of each image, layer and iteration. Each layer of an image has a
            scale of its own.
    """
    count, layers, iterations = maps_NLTHW.shape[:3]
    title = "goodness at each place with the true label, by iteration"
    grid = PictureGrid(count * layers, iterations + 1, (1.1, 1.1), above=0.2, left=0.6, title=title)
    for number, (image_D, maps_LTHW) in enumerate(zip(images_ND, maps_NLTHW, strict=True)):
        grid.show(number * layers, 0, **image(image_D, tuple(image_shape)))
        for layer, maps_THW in enumerate(maps_LTHW):
            line, limit = number * layers + layer, max(float(maps_THW.max()), 1e-12)
            grid.name_line(line, f"layer {layer + 1}")
            for iteration, map_HW in enumerate(maps_THW, start=1):
                first = str(iteration) if line == 0 else ""
                grid.show(line, iteration, np.asarray(map_HW), first, cmap="magma", vmin=0, vmax=limit)
    return grid.figure
