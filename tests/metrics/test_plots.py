"""Every picture is drawn from the numbers that were put in, and leaves no trace in pyplot."""

import io
import math
import sys

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ffrecur.metrics import plots

PNG = b"\x89PNG\r\n\x1a\n"
EDGE = 0.5  # the shaded window reaches half an iteration beyond its first and last


@pytest.fixture(autouse=True)
def no_pyplot_figures():
    """Figures that pyplot knows would pile up in a long evaluation."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def check_png(figure):
    """The figure can be saved, and into memory."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(PNG)


def line_data(line):
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def shaded(axis):
    """The horizontal span of the one shaded window."""
    (patch,) = axis.patches
    return patch.get_x(), patch.get_x() + patch.get_width()


def check_iteration_axis(axis, iterations):
    assert axis.get_xticks().tolist() == list(range(1, iterations + 1))
    for line in axis.get_lines():
        assert line_data(line)[0].tolist() == list(range(1, iterations + 1))


@pytest.mark.parametrize(("iterations", "layers"), [(8, 2), (5, 1), (1, 3)])
def test_goodness_has_a_panel_a_layer_with_both_curves(iterations, layers):
    positive, negative = torch.rand(iterations, layers), torch.rand(iterations, layers)
    figure = plots.goodness_curves(positive, negative)
    assert len(figure.axes) == layers
    for layer, axis in enumerate(figure.axes):
        true, wrong = axis.get_lines()
        np.testing.assert_array_equal(line_data(true)[1], positive[:, layer])
        np.testing.assert_array_equal(line_data(wrong)[1], negative[:, layer])
        assert (true.get_color(), wrong.get_color()) == (plots.TRUE, plots.WRONG)
        assert (true.get_label(), wrong.get_label()) == ("true label", "wrong labels")
        assert axis.get_title() == f"hidden layer {layer + 1}"
        check_iteration_axis(axis, iterations)
    assert len({axis.get_ylim() for axis in figure.axes}) == 1  # panels that are compared share their scale
    check_png(figure)


@pytest.mark.parametrize("window", [(3, 5), (2, 2)])
def test_error_is_in_percent_and_the_window_is_shaded(window):
    errors = torch.tensor([0.9, 0.5, 0.25, 0.125, 0.0625, 0.2], dtype=torch.float64)
    figure = plots.error_curve(errors, window, window_error=0.11)
    (axis,) = figure.axes
    (line,) = axis.get_lines()
    assert line_data(line)[1].tolist() == [90, 50, 25, 12.5, 6.25, 20]
    check_iteration_axis(axis, 6)
    edges = (window[0] - EDGE, window[1] + EDGE)
    assert shaded(axis) == edges
    (mean,) = [collection for collection in axis.collections if isinstance(collection, LineCollection)]
    np.testing.assert_allclose(mean.get_segments()[0], [[edges[0], 11], [edges[1], 11]], rtol=1e-12)
    assert axis.get_ylim()[0] == 0
    check_png(figure)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("image_shape", [(4, 3), (4, 3, 3)])
def test_labels_compete_beside_their_image(sign, image_shape):
    torch.manual_seed(0)
    images = torch.rand(3, math.prod(image_shape))
    goodness = torch.rand(6, 2, 3, 5, dtype=torch.float64)
    labels, window = torch.tensor([4, 0, 2]), (2, 4)
    figure = plots.label_competition(images, image_shape, goodness, labels, window, sign)
    panels = np.array(figure.axes).reshape(3, 2)
    for row, label in enumerate(labels.tolist()):
        (shown,) = panels[row, 0].get_images()
        np.testing.assert_array_equal(shown.get_array(), images[row].reshape(image_shape))
        assert len(image_shape) == 3 or shown.get_cmap().name == "gray"
        score_TC = np.array([[sign * goodness[t, :, row, c].sum() for c in range(5)] for t in range(6)])
        over_window = score_TC[1:4].mean(axis=0)
        rival = max((c for c in range(5) if c != label), key=lambda c: over_window[c])
        axis = panels[row, 1]
        lines = axis.get_lines()
        assert len(lines) == 5
        for c, line in enumerate(lines):
            np.testing.assert_allclose(line_data(line)[1], score_TC[:, c], rtol=1e-12)
            assert line.get_color() == {label: plots.TRUE, rival: plots.WRONG}.get(c, plots.NEUTRAL)
        assert shaded(axis) == (2 - EDGE, 4 + EDGE)
        check_iteration_axis(axis, 6)
        named = {text.get_text().strip(): (text.get_color(), *text.xy) for text in axis.texts}
        assert named == {
            str(label): (plots.TRUE, 6, pytest.approx(score_TC[5, label])),
            str(rival): (plots.WRONG, 6, pytest.approx(score_TC[5, rival])),
        }
    check_png(figure)


@pytest.mark.parametrize(("sign", "rival"), [(1, 1), (-1, 2)])
def test_the_rival_is_the_best_wrong_label_within_the_window(sign, rival):
    """By the window's mean, not by its last iteration, not by iterations outside it, and never the true label."""
    goodness_TC = torch.tensor(
        [[0.0, 0.0, 0.0, 9.0], [5.0, 4.0, 1.0, 2.0], [5.0, 2.0, 3.0, 2.5], [0.0, 0.0, 0.0, -9.0]]
    )
    if sign == -1:
        goodness_TC[1:3, 0] = 0.0  # the true label is best within the window for either sign
        goodness_TC[1:3, 3] = 4.0
    figure = plots.label_competition(
        torch.rand(1, 6), (2, 3), goodness_TC[:, None, None], torch.tensor([0]), (2, 3), sign
    )
    if sign == -1:
        assert goodness_TC[1:3].mean(dim=0).tolist() == [0, 3, 2, 4]
    lines = figure.axes[1].get_lines()
    assert [line.get_color() for line in lines].index(plots.WRONG) == rival
    assert lines[0].get_color() == plots.TRUE


def fields(figure):
    """What a grid of pictures shows, in order."""
    (axis,) = figure.axes
    assert not axis.axison
    return axis.get_images()


@pytest.mark.parametrize(("units", "count"), [(10, 4), (5, 64), (1, 64), (7, 7)])
def test_receptive_fields_show_the_units_with_the_largest_weights(units, count):
    torch.manual_seed(0)
    size_H = 1.0 + torch.randperm(units)
    directions = torch.nn.functional.normalize(torch.randn(units, 12), dim=1)
    figure = plots.receptive_fields(size_H[:, None] * directions, (4, 3), count=count)
    largest_first = sorted(range(units), key=lambda unit: -size_H[unit])[:count]
    shown = fields(figure)
    assert len(shown) == len(largest_first)
    for image, unit in zip(shown, largest_first, strict=True):
        np.testing.assert_allclose(image.get_array(), (size_H[unit] * directions[unit]).reshape(4, 3), rtol=1e-6)
    check_png(figure)


def test_weights_are_red_where_positive_and_zero_is_white():
    weight_HD = torch.tensor([[-2.0, 0.0, 2.0, 1.0]])
    (image,) = fields(plots.receptive_fields(weight_HD, (2, 2)))
    low, high = image.get_clim()
    assert low == -high
    assert 1 < high <= 2
    red, green, blue = image.to_rgba(np.array([[2.0]]))[0, 0, :3]
    assert red > max(green, blue)
    red, green, blue = image.to_rgba(np.array([[-2.0]]))[0, 0, :3]
    assert blue > max(red, green)
    assert min(image.to_rgba(np.array([[0.0]]))[0, 0, :3]) > 0.95


def test_one_enormous_weight_does_not_drown_the_others():
    weight_HD = torch.cat([torch.linspace(-1, 1, 399), torch.tensor([1000.0])])[None]
    (image,) = fields(plots.receptive_fields(weight_HD, (20, 20)))
    assert image.get_clim()[1] < 2


def test_weights_that_are_all_zero_can_be_drawn():
    figure = plots.receptive_fields(torch.zeros(2, 4), (2, 2))
    for image in fields(figure):
        assert min(image.to_rgba(np.zeros((2, 2)))[..., :3].ravel()) > 0.95
    check_png(figure)


def test_weights_of_colour_images_are_shown_in_colour():
    """Grey is 0; the colour is full at the 99th percentile of the unit's weights."""
    weight_HD = torch.randn(3, 4 * 5 * 3, dtype=torch.float64)
    shown = fields(plots.receptive_fields(weight_HD, (4, 5, 3)))
    order = sorted(range(3), key=lambda unit: -weight_HD[unit].norm())
    for image, unit in zip(shown, order, strict=True):
        limit = weight_HD[unit].abs().quantile(0.99)
        expected = (0.5 + weight_HD[unit].reshape(4, 5, 3) / (2 * limit)).clamp(0, 1).numpy()
        np.testing.assert_allclose(image.get_array(), expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [3, 10, 12])
def test_imagination_shows_each_label_under_its_name(classes):
    images_CD = torch.randn(classes, 20, dtype=torch.float64)
    figure = plots.imagination(images_CD, (4, 5))
    shown = fields(figure)
    assert len(shown) == classes
    for label, image in enumerate(shown):
        np.testing.assert_array_equal(image.get_array(), images_CD[label].reshape(4, 5))
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == [str(label) for label in range(classes)]
    for text, image in zip(texts, shown, strict=True):
        left, right, _, top = image.get_extent()
        x, y = text.get_position()
        assert x == pytest.approx((left + right) / 2)
        assert y < top, "above its picture; the axis counts downwards"
    check_png(figure)


def test_the_colours_differ():
    assert len({to_hex(color) for color in (plots.TRUE, plots.WRONG, plots.NEUTRAL)}) == 3


def test_mixtures_show_what_belongs_together_in_one_column():
    rows = {name: torch.rand(3, 12, dtype=torch.float64) for name in ("image", "other", "mask", "negative")}
    figure = plots.mixtures(rows, (4, 3))
    shown = fields(figure)
    expected = [image_D for images_ND in rows.values() for image_D in images_ND]
    for image, image_D in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(image.get_array(), image_D.reshape(4, 3))
        assert image.get_clim() == (0, 1)  # the same grey everywhere
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == list(rows)
    check_png(figure)
