"""Grids of pictures: where each stands, how large it is, and what stands above it."""

import itertools

import numpy as np
import pytest

from ffrecur.metrics.grid import SHARE, PictureGrid, grid_for

WIDTH, HEIGHT, ABOVE, LEFT = 2.0, 1.0, 0.5, 0.75


@pytest.fixture
def grid():
    return PictureGrid(3, 4, (WIDTH, HEIGHT), ABOVE, LEFT, title="all of them")


@pytest.mark.parametrize("shape", [(5, 5), (2, 8), (9, 1), (28, 28, 3)])
def test_a_picture_fills_its_own_cell_and_keeps_its_shape(grid, shape):
    for line, column in itertools.product(range(3), range(4)):
        grid.show(line, column, np.zeros(shape))
        left, right, bottom, top = grid.axis.get_images()[-1].get_extent()
        assert column * WIDTH < left < right < (column + 1) * WIDTH
        assert line * (HEIGHT + ABOVE) + ABOVE < top < bottom < (line + 1) * (HEIGHT + ABOVE)
        assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0])
        assert max((right - left) / WIDTH, (bottom - top) / HEIGHT) == pytest.approx(SHARE)
    assert grid.axis.get_xlim() == (-LEFT, 4 * WIDTH), "no picture moves the limits"
    assert grid.axis.get_ylim() == (3 * (HEIGHT + ABOVE), 0)
    assert grid.axis.get_aspect() == 1, "an inch is as long down as across"


def test_names_are_no_formulas_and_stand_where_they_belong(grid):
    grid.show(1, 2, np.zeros((3, 3)), "a $x_{ b")
    grid.name_line(2, "third $y^{ line")
    title, name = grid.axis.texts
    assert [text.get_text() for text in (title, name)] == ["a $x_{ b", "third $y^{ line"]
    assert HEIGHT + ABOVE < title.get_position()[1] < HEIGHT + 2 * ABOVE + HEIGHT / 2
    assert name.get_position()[0] < 0
    grid.figure.canvas.draw()
    assert grid.figure.get_suptitle() == "all of them"


@pytest.mark.parametrize(
    ("count", "most", "lines", "columns"), [(0, 5, 1, 1), (3, 5, 1, 3), (5, 5, 1, 5), (11, 5, 3, 5)]
)
def test_a_grid_has_a_cell_for_each_picture(count, most, lines, columns):
    grid = grid_for(count, most, 2.0, above=0.5)
    assert grid.axis.get_xlim() == (0, 2 * columns)
    assert grid.axis.get_ylim() == (2.5 * lines, 0)
    places = [grid.place(number) for number in range(count)]
    assert places == list(itertools.product(range(lines), range(columns)))[:count]
