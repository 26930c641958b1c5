"""Local learning of the recurrent net: gradients against hand-written formulas, and what is and is not in the loss."""

import itertools

import numpy as np
import oracle
import pytest
import torch
from making import character_net, recurrent_net, stream_net, stream_state, windows_of

from ffrecur.core.learning import Learning
from ffrecur.errors import UserError
from ffrecur.functional import peer_ascent

LABELS, NEGATIVES = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2])


def images_for(video, iterations=4):
    torch.manual_seed(5)
    return torch.randn(iterations, 3, 4, dtype=torch.float64) if video else torch.randn(3, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("hidden", "scheme", "objective", "sign", "video"),
    [
        *itertools.product([(6,), (4, 5, 3)], ["synchronous", "alternating"], ["logistic", "paired"], [1, -1], [False]),
        ((4, 5), "synchronous", "logistic", 1, True),
        ((4, 5), "alternating", "paired", -1, True),
    ],
)
def test_loss_and_gradients_agree_with_the_oracle(hidden, scheme, objective, sign, video):
    net = recurrent_net(hidden, update_scheme=scheme, sign=sign)
    images = images_for(video)
    loss = net.local_loss(images, LABELS, NEGATIVES, iterations=4, objective=objective, threshold=0.9, temperature=0.3)
    loss.backward()
    frames = [[(images[t, b] if video else images[b]).tolist() for t in range(4)] for b in range(3)]
    value, bottom_up, bias, top_down = oracle.local_gradients(
        oracle.arrays_of(net), frames, LABELS.tolist(), NEGATIVES.tolist(), 4, objective, 0.9, 0.3
    )
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    for layer in range(len(hidden)):
        np.testing.assert_allclose(net.bottom_up[layer].weight.grad, bottom_up[layer], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(net.bottom_up[layer].bias.grad, bias[layer], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(net.top_down[layer].weight.grad, top_down[layer], rtol=1e-10, atol=1e-14)


def test_changing_another_layers_weights_leaves_a_gradient_bit_equal():
    """With the top layer's weights changed only where they meet nothing of layer 1's past, layer 1's gradient is the same."""
    net = recurrent_net((6, 5), damping=0.3)
    images = images_for(video=False)

    def first_layer_gradient(iterations):
        net.zero_grad()
        net.local_loss(images, LABELS, NEGATIVES, iterations=iterations).backward()
        return net.bottom_up[0].weight.grad.clone()

    before = first_layer_gradient(1)
    with torch.no_grad():
        net.top_down[1].weight.mul_(3.0)  # changes the goodness, and so the loss, of layer 2 in iteration 1
    assert torch.equal(first_layer_gradient(1), before)
    assert not torch.equal(first_layer_gradient(2), first_layer_gradient(1))


def test_negatives_may_be_a_function_of_the_heads_logits():
    net = recurrent_net((6, 5))
    torch.nn.init.normal_(net.head.weight)
    images, seen = images_for(video=False), []

    def negatives(logits_BC, labels_B):
        seen.append((logits_BC, labels_B))
        return NEGATIVES

    learned = net.local_learning(images, LABELS, negatives, Learning(iterations=3))
    assert torch.equal(learned.loss, net.local_loss(images, LABELS, NEGATIVES, iterations=3))
    assert torch.equal(learned.negatives, NEGATIVES)
    torch.testing.assert_close(seen[0][0], net.one_pass_logits(images).detach())
    assert not seen[0][0].requires_grad
    torch.testing.assert_close(
        learned.goodness_positive_TLB, net.goodness(images, LABELS, 3).detach(), rtol=1e-13, atol=0
    )
    torch.testing.assert_close(
        learned.goodness_negative_TLB, net.goodness(images, NEGATIVES, 3).detach(), rtol=1e-13, atol=0
    )


def test_peer_normalisation_adds_its_ascent_to_every_positive_case():
    """By hand for one iteration: the extra descent gradient of the bias is -(mean(m) - m) * strength, dead units included."""
    net = recurrent_net((6,))
    with torch.no_grad():
        net.bottom_up[0].bias[0] = -100.0  # a dead unit
    images = images_for(video=False)
    net.local_loss(images, LABELS, NEGATIVES, iterations=1).backward()
    plain, plain_weight = net.bottom_up[0].bias.grad.clone(), net.bottom_up[0].weight.grad.clone()
    assert torch.equal(net.peer_means()[0], torch.full((6,), 0.5).double())  # off leaves them alone
    net.zero_grad()
    value = net.local_loss(images, LABELS, NEGATIVES, iterations=1)
    peered = net.local_loss(images, LABELS, NEGATIVES, iterations=1, peer_normalization=0.2)
    assert peered.item() == pytest.approx(value.item(), rel=1e-14)
    peered.backward()
    arrays = oracle.arrays_of(net)
    rows = [oracle.computed_state(arrays, 0, [None], x.tolist(), int(y)) for x, y in zip(images, LABELS, strict=True)]
    mean = 0.9 * 0.5 + 0.1 * np.mean(rows, axis=0)
    np.testing.assert_allclose(net.peer_means()[0], mean, rtol=1e-12)
    extra = -0.2 * (mean.mean() - mean)
    assert extra[0] < 0  # descent raises the dead unit's bias
    np.testing.assert_allclose(net.bottom_up[0].bias.grad - plain, extra, rtol=1e-9, atol=1e-14)
    row = net.image_row(images).mean(0).numpy()
    np.testing.assert_allclose(net.bottom_up[0].weight.grad - plain_weight, np.outer(extra, row), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(peer_ascent(net.peer_means()[0], 0.2), -extra, rtol=1e-12)


def test_without_grad_the_value_is_the_same_and_nothing_moves():
    net = recurrent_net((6, 5))
    images = images_for(video=False)
    value = net.local_loss(images, LABELS, NEGATIVES, peer_normalization=0.1).item()
    means = [mean.clone() for mean in net.peer_means()]
    with torch.no_grad():
        quiet = net.local_loss(images, LABELS, NEGATIVES, peer_normalization=0.1)
    assert quiet.item() == value
    assert not quiet.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(means, net.peer_means(), strict=True))


def test_dropout_masks_hide_features_and_states_exactly():
    """What a mask hides may be anything: neither loss nor gradients change with it."""
    net = recurrent_net((6, 5))
    masks = net.dropout_masks(3, 0.5, 0.4, torch.Generator().manual_seed(0))
    assert [tuple(mask.shape) for mask in masks] == [(3, 4), (3, 6), (3, 5)]
    assert set(masks[0].unique().tolist()) == {0.0, 2.0}
    assert masks[1].unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    images = images_for(video=False)
    net.local_loss(images, LABELS, NEGATIVES, masks=masks).backward()
    grad = net.bottom_up[0].weight.grad
    hidden_everywhere = (masks[0] == 0).all(dim=0)
    assert (grad[:, hidden_everywhere] == 0).all()
    assert (grad[:, ~hidden_everywhere].abs().sum(dim=0) > 0).all()
    ones = [torch.ones_like(mask) for mask in masks]
    torch.testing.assert_close(
        net.local_loss(images, LABELS, NEGATIVES, masks=ones), net.local_loss(images, LABELS, NEGATIVES), rtol=0, atol=0
    )
    assert net.dropout_masks(3, 0.0, 0.0) == [None, None, None]


def test_state_masks_stop_what_neighbours_read():
    """With layer 2 masked away, layer 1 gets no top-down input, and its top-down weights no gradient."""
    net = recurrent_net((6, 5))
    masks = [None, None, torch.zeros(3, 5).double()]
    net.local_loss(images_for(video=False), LABELS, NEGATIVES, masks=masks).backward()
    assert (net.top_down[0].weight.grad == 0).all()
    assert net.bottom_up[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0),
        ("objective", "hinge"),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("peer_normalization", -0.1),
    ],
)
def test_bad_learning_settings_are_refused_by_name(name, value):
    net = recurrent_net((6, 5))
    with pytest.raises(ValueError, match=f"^{name} is {value!r}, but must be"):
        net.local_loss(images_for(video=False), LABELS, NEGATIVES, **{name: value})


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (
            lambda logits, labels: torch.stack([NEGATIVES, NEGATIVES]),
            r"negatives have the shape \(2, 3\), but must have",
        ),
        (lambda logits, labels: NEGATIVES[:2], r"negatives have the shape \(2,\), but must have \(3,\), or \(3, M\)"),
        (lambda logits, labels: NEGATIVES.double(), "negatives are of type float64, but must be whole numbers"),
        (torch.zeros(3, 0, dtype=torch.long), r"negatives have the shape \(3, 0\)"),
        (lambda logits, labels: labels + 9, "negative_labels have the value 9, but must be from 0 to 2"),
        (lambda logits, labels: labels, "negative_labels have the true label in 3 of 3 places"),
        (None, "negative_labels are a NoneType, but must be a tensor or an array"),
    ],
)
def test_negatives_of_another_shape_are_refused(negatives, message):
    """The negatives of a case are a row; as columns they would be other cases' negatives, true labels among them."""
    with pytest.raises(UserError, match=message):
        recurrent_net((6, 5)).local_loss(images_for(video=False), LABELS, negatives)


def test_an_objective_of_all_candidates_needs_no_negatives():
    net, images = recurrent_net((6, 5)), images_for(video=False)
    without = net.local_loss(images, LABELS, None, objective="softmax")
    assert torch.equal(without, net.local_loss(images, LABELS, NEGATIVES, objective="softmax"))
    text = character_net()
    windows_BW = windows_of(text, 3)
    without = text.local_loss(windows_BW, None, objective="softmax")
    assert torch.equal(without, text.local_loss(windows_BW, windows_BW, objective="softmax"))
    with pytest.raises(UserError, match="negative windows are a NoneType, but must be"):
        text.local_loss(windows_BW, None)


def test_negatives_need_not_lie_in_memory_case_by_case():
    net, images = recurrent_net((6, 5), classes=4), images_for(video=False)
    columns = torch.stack([(LABELS + 1) % 4, (LABELS + 2) % 4])
    expected = net.local_loss(images, LABELS, columns.t().contiguous())
    assert torch.equal(net.local_loss(images, LABELS, columns.t()), expected)


def test_what_learning_cannot_be_told():
    with pytest.raises(UserError, match=r"objective is 'paired', but must be an ffrecur\.Objective"):
        Learning(objective="paired")
    net, learning = character_net(), Learning(peer_normalization=0.1)
    windows_BW = windows_of(net, 3)
    with pytest.raises(UserError, match=r"peer_normalization is 0\.1, but must be 0 for a net that keeps no means"):
        net.local_learning(windows_BW, windows_BW[:, 0], windows_BW, learning)


def test_by_default_a_net_learns_from_as_many_iterations_as_is_usual_for_it():
    images, labels, wrong = torch.rand(3, 4, dtype=torch.float64), torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    net = recurrent_net()
    losses = [net.local_learning(images, labels, wrong, each).loss for each in (Learning(), Learning(iterations=8))]
    assert torch.equal(*losses)
    assert net.local_learning(images, labels, wrong, Learning()).goodness_positive_TLB.shape[0] == 8
    stream = stream_net(iterations=2)
    symbols_B = torch.tensor([0, 1])
    learned, _ = stream.local_learning(stream_state(stream, 2), symbols_B, symbols_B + 1, Learning())
    assert learned.goodness_positive_TLB.shape[0] == 2
