"""Small pictures in lines and columns, all on one axis: about three times as fast to draw as an axis each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

SHARE = 0.92  # of its cell that a picture fills


class PictureGrid:
    """A figure with a cell for each picture; the axis counts in inches, downwards.

    Args:
        lines: of cells.
        columns: of cells.
        size: width and height of what a cell has for its picture, in inches.
        above: height for a picture's title, in inches.
        left: width for the names of lines, in inches.
        title: of the whole figure.
    """

    def __init__(
        self,
        lines: int,
        columns: int,
        size: tuple[float, float],
        above: float = 0.0,
        left: float = 0.0,
        title: str = "",
    ) -> None:
        self.columns, self.size, self.above = columns, size, above
        width, height = columns * size[0], lines * (size[1] + above)
        self.figure = Figure(figsize=(left + width, height + (0.35 if title else 0.0)), layout="constrained")
        self.axis = self.figure.subplots()
        self.axis.axis("off")
        self.axis.set(xlim=(-left, width), ylim=(height, 0.0))
        if title:
            self.figure.suptitle(title, fontsize="medium")

    def place(self, number: int) -> tuple[int, int]:
        """Return line and column of a picture, counted along the lines."""
        return divmod(number, self.columns)

    def middle(self, line: int, column: int) -> tuple[float, float]:
        """Return the middle of a cell's picture."""
        width, height = self.size
        return (column + 0.5) * width, line * (height + self.above) + self.above + 0.5 * height

    def show(self, line: int, column: int, X: np.ndarray, title: str = "", **colours: Any) -> None:
        """Draw a picture X, `(rows, columns)` or `(rows, columns, 3)`, as large as its cell allows; both as of `imshow`."""
        (x, y), (rows, columns) = self.middle(line, column), X.shape[:2]
        half = 0.5 * SHARE * min(self.size[0] / columns, self.size[1] / rows)  # a pixel's
        left, right, top, bottom = x - half * columns, x + half * columns, y - half * rows, y + half * rows
        self.axis.imshow(X, extent=(left, right, bottom, top), **colours)
        if title:
            self.axis.text(x, top - 0.03, title, ha="center", va="bottom", fontsize="small", parse_math=False)

    def name_line(self, line: int, name: str) -> None:
        """Write the name of a line of pictures to its left."""
        _, y = self.middle(line, 0)
        self.axis.text(-0.05, y, name, ha="right", va="center", fontsize="small", parse_math=False)


def grid_for(count: int, most: int, side: float, above: float = 0.0, title: str = "") -> PictureGrid:
    """Return a grid of square cells for so many pictures, at most `most` in a line, and at least one cell."""
    columns = max(min(count, most), 1)
    return PictureGrid(max(math.ceil(count / columns), 1), columns, (side, side), above, title=title)
