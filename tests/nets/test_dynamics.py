"""The dynamics: a trajectory computed by hand, the loop-only oracle, and properties that must hold exactly."""

import itertools
import math

import numpy as np
import oracle
import pytest
import torch
from making import recurrent_net

from ffrecur import MeanSquare, RecurrentNet, UserError


def test_three_steps_by_hand():
    """One pixel, one unit, two classes, all weights set so that every number can be checked on paper.

    rms(image) = 1 and rms(label 0) = (sqrt 2, 0). The bottom-up pass gives relu(2 * 1 - 1) = 1. Every iteration computes
    relu(2 - 1 + 3 sqrt 2 / sqrt 2) = 4 for label 0, so with damping 0.5 the states are 2.5, 3.25, 3.625. For label 1 the
    computed state is relu(1 - 5) = 0, so the state halves: 0.5, 0.25, 0.125.
    """
    net = RecurrentNet(1, [1], 2, damping=0.5).double()
    with torch.no_grad():
        net.bottom_up[0].weight.fill_(2.0)
        net.bottom_up[0].bias.fill_(-1.0)
        net.top_down[0].weight.copy_(torch.tensor([[3.0, -5.0]]) / math.sqrt(2))
    image = torch.tensor([[0.7]], dtype=torch.float64)
    np.testing.assert_allclose(net.bottom_up_pass(image)[0].item(), 1.0, rtol=1e-7)
    by_label = net.label_goodness(image, iterations=3)[:, 0, 0].sqrt()
    np.testing.assert_allclose(by_label, [[2.5, 0.5], [3.25, 0.25], [3.625, 0.125]], rtol=1e-6)
    np.testing.assert_allclose(
        net.score(image, window=(2, 3)), [[(3.25**2 + 3.625**2) / 2, (0.25**2 + 0.125**2) / 2]], rtol=1e-6
    )


def test_two_layers_by_hand():
    """Two single-unit layers: normalisation makes every state that is on a 1 for its neighbours.

    Bottom-up: s1 = relu(1) = 1, s2 = relu(0.5 * 1) = 0.5. Synchronous, damping 0: s1 = relu(1 + 2 * 1) = 3 and
    s2 = relu(0.5 + sqrt 2 * w) with w = 1 / sqrt 2, that is 1.5; both stay there.
    """
    net = RecurrentNet(1, [1, 1], 2, damping=0.0).double()
    with torch.no_grad():
        for linear, weight in ((net.bottom_up[0], 1.0), (net.bottom_up[1], 0.5), (net.top_down[0], 2.0)):
            linear.weight.fill_(weight)
        net.top_down[1].weight.copy_(torch.tensor([[1.0, -1.0]]) / math.sqrt(2))
    image, label = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0])
    states = net.bottom_up_pass(image)
    np.testing.assert_allclose([s.item() for s in states], [1.0, 0.5], rtol=1e-6)
    for _ in range(2):
        states = net.step(states, image, label)
        np.testing.assert_allclose([s.item() for s in states], [3.0, 1.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("hidden", "scheme", "video"),
    list(itertools.product([(6,), (7, 5), (4, 6, 5), (3, 4, 5, 4)], ["synchronous", "alternating"], [False, True])),
)
def test_goodness_agrees_with_the_oracle(hidden, scheme, video):
    net = recurrent_net(hidden, update_scheme=scheme)
    arrays = oracle.arrays_of(net)
    torch.manual_seed(1)
    images = torch.randn(5, 2, 4, dtype=torch.float64) if video else torch.randn(2, 4, dtype=torch.float64)
    found = net.goodness(images, torch.tensor([2, 0]), iterations=5).detach().numpy()
    for b, label in enumerate([2, 0]):
        frames = [(images[t, b] if video else images[b]).tolist() for t in range(5)]
        rolled = oracle.trajectory(arrays, frames, label, 5)
        expected = [[oracle.goodness(state) for state in states] for states in rolled]
        np.testing.assert_allclose(found[:, :, b], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scheme", ["synchronous", "alternating"])
@pytest.mark.parametrize("hidden", [(6,), (4, 6, 5)])
def test_every_label_at_once_is_each_label_alone(hidden, scheme):
    net = recurrent_net(hidden, update_scheme=scheme, damping=0.2)
    images = torch.randn(3, 4, dtype=torch.float64)
    together = net.label_goodness(images, iterations=6)
    assert together.shape == (6, len(hidden), 3, 3)
    for label in range(3):
        alone = net.goodness(images, torch.full((3,), label), iterations=6)
        torch.testing.assert_close(together[..., label], alone, rtol=1e-13, atol=0)


def test_the_label_reaches_layer_l_at_iteration_last_minus_l_plus_1():
    net = recurrent_net((5, 5, 5))
    spread = net.label_goodness(torch.randn(2, 4, dtype=torch.float64), iterations=3).std(dim=-1)
    for layer in range(3):
        first = 3 - (layer + 1) + 1
        assert (spread[: first - 1, layer] == 0).all()
        assert (spread[first - 1 :, layer] > 0).all()


def test_rollout_is_step_after_step():
    net = recurrent_net((6, 5))
    images, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    states, expected = net.bottom_up_pass(images), []
    for _ in range(4):
        states = net.step(states, images, labels)
        expected.append(torch.stack([state.square().mean(dim=1) for state in states]))
    torch.testing.assert_close(net.goodness(images, labels, iterations=4), torch.stack(expected), rtol=1e-13, atol=0)


def test_states_go_in_and_out_and_nothing_is_kept():
    net = recurrent_net((6, 5))
    images, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    before = net.bottom_up_pass(images)
    copies = [state.clone() for state in before]
    first = net.step(before, images, labels)
    net.step(net.step(before, -images, labels), images, labels)  # other calls in between leave no trace
    for state, copy in zip(before, copies, strict=True):
        assert torch.equal(state, copy)
    for one, two in zip(first, net.step(before, images, labels), strict=True):
        assert torch.equal(one, two)


def test_damping_zero_is_the_computed_state():
    """A batch of any previous states leads to the same place in a one-layer net without damping."""
    net = recurrent_net((6,), damping=0.0)
    image, label = torch.randn(1, 4, dtype=torch.float64), torch.tensor([1])
    one = net.step((torch.rand(1, 6, dtype=torch.float64),), image, label)[0]
    two = net.step((torch.zeros(1, 6, dtype=torch.float64),), image, label)[0]
    assert torch.equal(one, two)


@pytest.mark.parametrize("scheme", ["synchronous", "alternating"])
def test_a_fixed_point_stays_fixed_at_any_damping(scheme):
    """Where an undamped iteration changes nothing, a damped one changes nothing either."""
    net = recurrent_net((6, 5), damping=0.5, update_scheme=scheme)
    for linear in net.top_down:
        torch.nn.init.normal_(linear.weight, std=0.02)  # a weak loop, so that the iteration converges
    image, label = torch.randn(2, 4, dtype=torch.float64), torch.tensor([1, 0])
    states = net.bottom_up_pass(image)
    for _ in range(200):
        states = net.step(states, image, label)
    for damping in (0.0, 0.3, 0.9):
        net.damping = damping
        for old, new in zip(states, net.step(states, image, label), strict=True):
            torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-14)


def test_a_boring_video_is_the_image():
    net = recurrent_net((6, 5))
    images, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    torch.testing.assert_close(
        net.goodness(images.expand(5, 3, 4), labels, iterations=5),
        net.goodness(images, labels, iterations=5),
        rtol=1e-14,
        atol=0,
    )


def test_the_result_does_not_depend_on_the_batch():
    net = recurrent_net((6, 5))
    images = torch.randn(7, 4, dtype=torch.float64)
    split = torch.cat([net.score(part) for part in images.split([1, 4, 2])])
    torch.testing.assert_close(split, net.score(images), rtol=1e-13, atol=0)


def test_brightness_does_not_matter_and_uint8_is_read():
    net = recurrent_net((6, 5)).float()
    images = torch.randint(1, 256, (3, 4), dtype=torch.uint8)
    torch.testing.assert_close(net.score(images), net.score(images.float() / 255), rtol=1e-5, atol=1e-6)


def test_score_computes_nothing_after_the_window(monkeypatch):
    net = recurrent_net((6, 5))
    calls = []
    plain = RecurrentNet.judged
    monkeypatch.setattr(
        RecurrentNet,
        "judged",
        lambda self, x, iterations: calls.append(iterations) or plain(self, x, iterations),
    )
    net.score(torch.randn(2, 4, dtype=torch.float64), window=(2, 3))
    assert calls == [3]


def test_score_is_the_windows_mean_goodness_by_hand():
    net = recurrent_net((6, 5), sign=-1)
    images = torch.randn(2, 4, dtype=torch.float64)
    goodness = net.label_goodness(images, iterations=5).numpy()
    expected = [
        [-sum(goodness[t, layer, b, c] for t in (2, 3, 4) for layer in (0, 1)) / 3 for c in range(3)] for b in range(2)
    ]
    np.testing.assert_allclose(net.score(images), expected, rtol=1e-13)
    assert net.classify(images).tolist() == np.argmax(expected, axis=1).tolist()


def test_first_weights_have_unit_variance_per_stream():
    net = RecurrentNet(784, (2000, 1000), 10)
    for linear in (*net.bottom_up, *net.top_down):
        # Relative standard error of a sample standard deviation is 1 / sqrt(2 n); the bound is 6 of them.
        assert abs(linear.weight.std().item() * linear.in_features**0.5 - 1) < 6 / math.sqrt(2 * linear.weight.numel())
    assert all((linear.bias == 0).all() for linear in net.bottom_up)
    assert [tuple(linear.weight.shape) for linear in net.bottom_up] == [(2000, 784), (1000, 2000)]
    assert [tuple(linear.weight.shape) for linear in net.top_down] == [(2000, 1000), (1000, 10)]
    assert all(linear.bias is None for linear in net.top_down)


@pytest.mark.parametrize("sign", [1, -1])
def test_imagination_follows_the_top_down_weights_by_hand(sign):
    net = recurrent_net((2, 3), in_features=3, classes=2, sign=sign)
    arrays, images = oracle.arrays_of(net), []
    for label in range(2):
        row = oracle.rms(oracle.one_hot(label, 2))
        row = [max(0.0, oracle.dot(w, row) + b) for w, b in zip(arrays["top_down"][1], arrays["bias"][1], strict=True)]
        drive = np.array([oracle.dot(w, oracle.rms(row)) for w in arrays["top_down"][0]])
        images.append(sign * drive @ arrays["bottom_up"][0])
    np.testing.assert_allclose(net.imagine(), np.array(images) - np.mean(images, axis=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("widths", [(4, 3), (4, 3, 2)])
def test_expectation_follows_states_and_top_down_weights_by_hand(sign, widths):
    net = recurrent_net(widths, sign=sign)
    images, labels, arrays = torch.randn(2, 4, dtype=torch.float64), torch.tensor([2, 0]), oracle.arrays_of(net)
    for image, label, expected in zip(images, labels, net.expectation(images, labels, iterations=3), strict=True):
        of_labels = []
        for clamped in range(3):
            states = oracle.trajectory(arrays, [image.tolist()] * 3, clamped, 3)[-1]
            drive = np.array([oracle.dot(w, oracle.rms(states[1])) for w in arrays["top_down"][0]])
            of_labels.append(sign * drive @ arrays["bottom_up"][0])
        np.testing.assert_allclose(expected, of_labels[label] - np.mean(of_labels, axis=0), rtol=1e-10, atol=1e-12)


def test_expectation_of_one_layer_is_imagination_whatever_the_image():
    net = recurrent_net((5,))
    labels = torch.tensor([0, 1, 2, 1])
    found = net.expectation(torch.randn(4, 4, dtype=torch.float64), labels)
    np.testing.assert_allclose(found, net.imagine()[labels], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("widths", "iterations"), [((5, 4, 3), 1), ((5, 4, 3, 6), 2)])
def test_nothing_is_expected_before_the_label_has_reached_layer_two(widths, iterations):
    net = recurrent_net(widths)
    images, labels = torch.randn(2, 4, dtype=torch.float64), torch.tensor([1, 0])
    assert net.expectation(images, labels, iterations).abs().max() < 1e-12
    assert net.expectation(images, labels, iterations + 1).abs().max() > 1e-6


def test_expectation_of_a_video_reads_its_frames():
    net = recurrent_net((5, 4))
    video, labels = torch.randn(3, 2, 4, dtype=torch.float64), torch.tensor([1, 0])
    assert not torch.allclose(net.expectation(video, labels, 3), net.expectation(video.flip(0), labels, 3))
    still = video[:1].expand(3, -1, -1)
    torch.testing.assert_close(net.expectation(still, labels, 3), net.expectation(video[0], labels, 3))
    with pytest.raises(UserError, match=r"iterations is 4, but must be at most the video's 3 frames"):
        net.expectation(video, labels, 4)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"in_features": 0}, "in_features"),
        ({"hidden_features": []}, "hidden_features"),
        ({"hidden_features": [5, 0]}, "hidden_features"),
        ({"num_classes": 1}, "num_classes"),
        ({"damping": 1.0}, "damping"),
        ({"damping": -0.1}, "damping"),
        ({"sign": 0}, "sign"),
        ({"update_scheme": "random"}, "update_scheme"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, name):
    good = {"in_features": 4, "hidden_features": [5], "num_classes": 3}
    value = settings[name]
    with pytest.raises(ValueError, match=f"^{name} is .*, but must be") as caught:
        RecurrentNet(**{**good, **settings})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("window", [(0, 3), (4, 3), (-1, 2)])
def test_bad_windows_are_refused(window):
    with pytest.raises(ValueError, match="^window is"):
        recurrent_net((5,)).score(torch.rand(1, 4, dtype=torch.float64), window=window)


def test_images_that_do_not_fit_are_refused():
    net = recurrent_net((5,))
    with pytest.raises(ValueError, match=r"images have the shape \(2, 5\), but the net reads \(batch, 4\)"):
        net.classify(torch.rand(2, 5))
    with pytest.raises(ValueError, match="iterations is 4, but must be at most the video's 3 frames"):
        net.goodness(torch.rand(3, 2, 4), torch.tensor([0, 1]), iterations=4)
    with pytest.raises(ValueError, match="iterations is 0, but must be a whole number of at least 1"):
        net.goodness(torch.rand(2, 4), torch.tensor([0, 1]), iterations=0)


def test_damping_that_is_refused_changes_nothing():
    net = recurrent_net(damping=[0.1, 0.2])
    with pytest.raises(UserError, match="damping is"):
        net.damping = 1.5
    assert net.damping == (0.1, 0.2)
    net.settings()["damping"][0] = 0.9
    assert net.damping == (0.1, 0.2)
    with pytest.raises(TypeError):
        net.damping[0] = 5  # would not be checked


def test_damping_may_be_any_real_number():
    net = recurrent_net(damping=np.float32(0.5))
    assert net.damping == net.settings()["damping"] == 0.5
    net.damping = np.array([0.25, 0.5], np.float32)
    assert net.settings()["damping"] == [0.25, 0.5]
    with pytest.raises(UserError, match="damping is .*1.0.*, but must be at least 0 and less than 1"):
        net.damping = np.float64(1)


def test_what_is_shown_of_a_net_tells_the_settings_that_change_it():
    assert repr(RecurrentNet(2, [4], 2)).splitlines()[1].strip() == ("damping=0.3, sign=1, update_scheme='synchronous'")
    shown = repr(RecurrentNet(2, [4], 2, center_images=True, goodness=MeanSquare(blocks=2)))
    assert "center_images=True, goodness=MeanSquare(blocks=2)" in shown
