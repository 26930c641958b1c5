"""The feed-forward net: rows by hand, what is shared against what is computed label by label, gradients against autograd."""

import itertools
import re

import pytest
import torch
from making import feed_forward_net
from torch import nn
from torch.nn import functional as F

import ffrecur
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.learning import Learning
from ffrecur.nets.inputs import LabelledInputs

IMAGES = torch.rand(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1])
WRONG = torch.tensor([[1, 2], [1, 0], [0, 2], [2, 0]])


# --- the row that the first layer reads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "centered", "label", "expected"),
    [
        ("pixels", False, 1, [0.0, 2.0, 0.0, 4.0]),
        ("pixels", False, None, [2 / 3, 2 / 3, 2 / 3, 4.0]),
        ("pixels", True, 1, [-1.5, 0.5, -1.5, 2.5]),
        ("beside", True, 0, [-1.0, 0.0, -1.0, 2.0, 2.0, 0.0, 0.0]),
        ("beside", False, None, [1.0, 2.0, 1.0, 4.0, 2 / 3, 2 / 3, 2 / 3]),
        (None, True, None, [-1.0, 0.0, -1.0, 2.0]),
    ],
)
def test_the_row_by_hand(place, centered, label, expected):
    of_input = LabelledInputs(place, 3, 2.0, centered)
    image = torch.tensor([[1.0, 2.0, 1.0, 4.0]], dtype=torch.float64)
    row = of_input.row(image, None if label is None else torch.tensor([label]))
    expected = torch.tensor([expected], dtype=torch.float64)
    torch.testing.assert_close(row, expected / expected.square().mean().sqrt(), rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("place", "centered", "dropped"), list(itertools.product(("pixels", "beside"), (0, 1), (0, 1)))
)
def test_the_parts_of_a_row_make_it_up(place, centered, dropped):
    of_input = LabelledInputs(place, 3, 1.7, bool(centered))
    first, size = of_input.first(6), of_input.size(6)
    mask = 2.0 * (torch.rand(4, size, generator=torch.Generator().manual_seed(2)) > 0.5).double() if dropped else None
    parts = of_input.parts(IMAGES, mask)
    for label in range(3):
        row = parts.row_BD.clone()
        row[:, first + label] += parts.strengths_BC[:, label]
        torch.testing.assert_close(row, of_input.row(IMAGES, torch.full((4,), label), mask), rtol=1e-12, atol=1e-14)
    neutral = parts.row_BD * parts.ratio_B1
    neutral[:, first : first + 3] += parts.neutral_BC
    torch.testing.assert_close(neutral, of_input.row(IMAGES, None, mask), rtol=1e-12, atol=1e-14)


# --- what it computes -------------------------------------------------------------------------------------------------


def test_states_and_goodness_by_hand():
    """One image of two pixels, the label in the first: the row (2, 1) over its root mean square of sqrt(5 / 2)."""
    net = ffrecur.FeedForwardNet(3, [2, 1], 2, label_scale=2.0).double()
    with torch.no_grad():
        net.hidden[0].weight.copy_(torch.tensor([[1.0, 0.0, 1.0], [0.0, -1.0, -1.0]]))
        net.hidden[1].weight.copy_(torch.tensor([[3.0, 1.0]]))
    image = torch.tensor([[9.0, 9.0, 1.0]], dtype=torch.float64)  # the label takes the first two places
    first, second = net.states(image, torch.tensor([0]))
    length = (5 / 3) ** 0.5
    torch.testing.assert_close(first, torch.tensor([[3 / length, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(second, torch.tensor([[3 * 2**0.5]], dtype=torch.float64))
    expected = torch.tensor([[9 / length**2 / 2], [18.0]], dtype=torch.float64)
    torch.testing.assert_close(net.goodness(image, torch.tensor([0])), expected)


def test_the_label_takes_the_place_of_the_first_pixels():
    net = feed_forward_net([5, 4])
    other = IMAGES.clone()
    other[:, :3] = 7.0
    assert torch.equal(net.score(IMAGES), net.score(other))
    beside = feed_forward_net([5, 4], label="beside")
    assert not torch.equal(beside.score(IMAGES), beside.score(other))


@pytest.mark.parametrize(("label", "sign"), [("pixels", 1), ("beside", -1)])
def test_scores_sum_the_signed_goodness_of_the_score_layers_and_the_head(label, sign):
    net = feed_forward_net([5, 4, 6], label=label, sign=sign, score_layers=[1, 3], head_layers=[2])
    goodness = torch.stack([net.goodness(IMAGES, torch.full((4,), c)) for c in range(3)], dim=-1)
    torch.testing.assert_close(net.label_goodness(IMAGES), goodness)
    head = torch.log_softmax(net.one_pass_logits(IMAGES), dim=1)
    torch.testing.assert_close(net.score(IMAGES, 0.3), sign * (goodness[0] + goodness[2]) + 0.3 * head)
    torch.testing.assert_close(net(IMAGES, 0.3), net.score(IMAGES, 0.3))
    assert torch.equal(net.classify(IMAGES, 0.3), net.score(IMAGES, 0.3).argmax(dim=1))


def test_without_labels_the_score_is_the_read_out():
    net = feed_forward_net([5, 4], label=None)
    states = net.states(IMAGES)
    logits = net.head(ffrecur.functional.rms_normalize(states[1]))
    torch.testing.assert_close(net.score(IMAGES), torch.log_softmax(logits, dim=1))
    torch.testing.assert_close(net(IMAGES), net.score(IMAGES))
    found = net.logits_by_layer(net.judged(IMAGES).features_BF)
    torch.testing.assert_close(found, logits[None])  # the head reads one layer
    torch.testing.assert_close(net.judged(IMAGES).goodness_LBC.squeeze(-1), net.goodness(IMAGES))


# --- what it learns ---------------------------------------------------------------------------------------------------


def plain_loss(net, kinds):
    """The logistic loss as the docstring has it: each layer by its own goodness, of the positive and its negatives."""
    positive, *negatives = kinds
    signed = [-net.sign * (positive - 1) / 0.1, *(net.sign * (goodness - 1) / 0.1 for goodness in negatives)]
    of_negatives = torch.stack([F.softplus(each) for each in signed[1:]]).mean(dim=0)
    return (F.softplus(signed[0]) + of_negatives).sum() / positive.shape[1]


@pytest.mark.parametrize("settings", [{"label": "pixels", "center_images": True}, {"label": "beside", "sign": -1}])
def test_the_gradients_are_those_of_the_plain_loss(settings):
    net = feed_forward_net([5, 4, 6], **settings)
    loss = net.local_loss(IMAGES, LABELS, WRONG)
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    plain = plain_loss(net, [net.goodness(IMAGES, LABELS), *(net.goodness(IMAGES, wrong) for wrong in WRONG.t())])
    (plain + F.cross_entropy(net.one_pass_logits(IMAGES), LABELS)).backward()
    torch.testing.assert_close(loss.detach(), plain.detach(), rtol=1e-10, atol=0)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("label", ["pixels", None])
def test_the_head_goes_to_smoothed_targets_of_what_it_is_shown(label):
    net, negatives = feed_forward_net([5, 4], label=label), WRONG if label else IMAGES.roll(1, 0)
    masks = net.dropout_masks(4, 0.0, 0.0, torch.Generator().manual_seed(3), head_dropout=0.5)
    assert [None if mask is None else tuple(mask.shape) for mask in masks] == [None, None, None, (4, 4)]
    assert 0 < masks[-1].count_nonzero() < masks[-1].numel()
    learned = net.local_learning(IMAGES, LABELS, negatives, Learning(iterations=1, label_smoothing=0.3), masks)
    learned.loss.backward()
    shown = ffrecur.functional.rms_normalize(net.states(IMAGES)[1].detach()) * masks[-1]
    log_probabilities = torch.log_softmax(net.head(shown), dim=1)
    loss = -(0.7 * log_probabilities[range(4), LABELS] + 0.1 * log_probabilities.sum(dim=1)).mean()
    expected = torch.autograd.grad(loss, list(net.head.parameters()))
    torch.testing.assert_close(learned.head_loss, loss.detach())
    for parameter, gradient in zip(net.head.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_the_gradients_from_negative_images(count):
    net, negatives = feed_forward_net([5, 4], label=None), IMAGES.roll(1, 1).expand(count, -1, -1) + 0.1
    loss = net.local_loss(IMAGES, LABELS, negatives)
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    plain = plain_loss(net, [net.goodness(IMAGES), *(net.goodness(images) for images in negatives)])
    (plain + F.cross_entropy(net.one_pass_logits(IMAGES), LABELS)).backward()
    torch.testing.assert_close(loss.detach(), plain.detach(), rtol=1e-10, atol=0)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("peers", [0.0, 0.2])
@pytest.mark.parametrize("own", [False, True])
def test_negative_images_with_dropout_and_peers_against_the_reference(own, peers):
    results = []
    for module in (engine, reference):
        layers = [nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 4)] if own else None
        net = feed_forward_net(None if own else [5, 4], label=None, layers=layers, center_images=True)
        masks = net.dropout_masks(4, 0.3, 0.3, torch.Generator().manual_seed(3))
        learning = Learning(iterations=1, peer_normalization=peers)
        learned = module.local_learning(net, IMAGES, LABELS, IMAGES.roll(1, 1)[None], learning, masks)
        learned.loss.backward()
        results.append((learned, [parameter.grad for parameter in net.parameters()], net.peer_means()))
    (one, gradients, means), (other, expected, plain_means) = results
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(one.head_loss, other.head_loss)
    for found, wanted in itertools.chain(zip(gradients, expected, strict=True), zip(means, plain_means, strict=True)):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_without_labels_nothing_reaches_the_head():
    net = feed_forward_net([5, 4], label=None)
    net.local_loss(IMAGES, None, IMAGES.roll(1, 1)).backward()
    assert net.head.weight.grad is None
    assert all(linear.weight.grad.abs().sum() > 0 for linear in net.hidden)
    headless = feed_forward_net([5, 4], label=None, classes=None)
    headless.local_loss(IMAGES, None, IMAGES.roll(1, 1)).backward()
    assert headless.head is None
    assert headless.judged(IMAGES).logits_BC is None


# --- what is refused --------------------------------------------------------------------------------------------------

UNSUPERVISED = {"label": None}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"in_features": 2}, "num_classes is 3, but must be at most 2 with label pixels"),
        ({"label": "below"}, "label is 'below', but must be pixels, beside or None"),
        ({"classes": None}, "num_classes is None, but must be a whole number of at least 2"),
        ({"label_scale": 0.0}, "label_scale is 0.0, but must be greater than 0"),
        ({"score_layers": [2, 1]}, r"score_layers is \[2, 1\], but must be different layers from 1 to 2, in order"),
        ({"head_layers": [3]}, r"head_layers is \[3\], but must be"),
        ({"layers": [nn.Linear(6, 2)]}, "hidden_features and layers are two ways to say the same"),
        ({"hidden": None, "layers": []}, r"layers is \[\], but must be one layer at least"),
        ({"hidden": None, "layers": [nn.Linear(5, 2)]}, "layers: number 1 does not take rows of 6 features"),
        ({"hidden": None, "layers": [nn.Flatten(0)]}, r"layers: number 1 makes \(6,\) of one row"),
    ],
)
def test_settings_that_cannot_be(settings, sentence):
    with pytest.raises(ffrecur.UserError, match=sentence):
        feed_forward_net(**{"hidden": [5, 4], **settings})


@pytest.mark.parametrize(
    ("settings", "call", "sentence"),
    [
        ({}, lambda net: net.local_loss(IMAGES, None, WRONG), "labels is None"),
        ({}, lambda net: net.local_loss(IMAGES, LABELS, LABELS), "negative_labels have the true label in 4 of 4"),
        ({}, lambda net: net.goodness(IMAGES, LABELS + 3), "labels have the value"),
        ({}, lambda net: net.score(IMAGES[:, :5]), r"images have the shape \(4, 5\)"),
        ({}, lambda net: net.score(IMAGES[None]), r"images have the shape \(1, 4, 6\)"),
        (UNSUPERVISED, lambda net: net.goodness(IMAGES, LABELS), "the net has no place for them: label is None"),
        (UNSUPERVISED, lambda net: net.label_goodness(IMAGES), "label_goodness needs a place for labels"),
        (UNSUPERVISED, lambda net: net.local_loss(IMAGES, None, IMAGES[:2]), "negative images have the shape"),
        (UNSUPERVISED, lambda net: net.local_loss(IMAGES, None, IMAGES, "softmax"), "objective is 'Softmax'"),
        ({"label": None, "classes": None}, lambda net: net.score(IMAGES), "score needs labels"),
        ({"label": None, "classes": None}, lambda net: net.one_pass_logits(IMAGES), "one_pass_logits needs a head"),
        ({"hidden": None, "layers": [nn.Linear(6, 2)]}, lambda net: net.settings(), "no checkpoint can build again"),
    ],
)
def test_calls_that_cannot_be(settings, call, sentence):
    net = feed_forward_net(**{"hidden": [5, 4], **settings})
    with pytest.raises(ffrecur.UserError, match=sentence):
        call(net)


# --- what a review found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["pixels", "beside", None])
@pytest.mark.parametrize("layers", [None, "local"])
def test_weights_in_bfloat16_and_no_images_at_all(label, layers):
    if layers and label == "beside":
        return
    made = layers and [ffrecur.LocalLinear((2, 3), 4, kernel=2), nn.Linear(8, 4)]
    net = feed_forward_net(None if made else [8, 4], label=label, layers=made)
    exact = net.score(IMAGES)
    assert net.score(IMAGES[:0], head_weight=0.1).shape == (0, 3)
    assert net.classify(IMAGES[:0]).shape == (0,)
    halved = net.bfloat16()
    torch.testing.assert_close(halved.score(IMAGES.bfloat16(), 0.0).double(), exact, rtol=0.1, atol=0.1)
    assert halved.classify(IMAGES.bfloat16()).shape == (4,)


@pytest.mark.parametrize("label", ["pixels", "beside", None])
def test_the_scores_can_be_exported(label):
    net = feed_forward_net([5, 4], label=label, center_images=True)
    exported = torch.export.export(net, (IMAGES,))
    torch.testing.assert_close(exported.module()(IMAGES), net.score(IMAGES))


def test_image_dropout_leaves_the_label_alone():
    for label, first, size in (("pixels", 0, 6), ("beside", 6, 9)):
        net = feed_forward_net([5], label=label)
        mask = net.dropout_masks(200, 0.5, 0.0, torch.Generator().manual_seed(0))[0]
        assert mask.shape == (200, size)
        assert (mask[:, first : first + 3] == 1).all()
        others = torch.cat([mask[:, :first], mask[:, first + 3 :]], dim=1)
        assert set(others.unique().tolist()) == {0, 2}
    unlabelled = feed_forward_net([5], label=None).dropout_masks(200, 0.5, 0.0, torch.Generator().manual_seed(0))[0]
    assert set(unlabelled.unique().tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_classes": 0, "label": None, "hidden_features": [3]}, "num_classes is 0"),
        ({"head_layers": [1.5], "hidden_features": [3, 3]}, "head_layers is [1.5]"),
        ({"head_layers": [], "hidden_features": [3, 3]}, "head_layers is []"),
        ({"score_layers": [], "hidden_features": [3, 3]}, "score_layers is []"),
        ({"layers": nn.Linear(6, 4)}, "layers is Linear("),
        (
            {"layers": [ffrecur.LocalLinear((2, 3), 4, kernel=2)], "label": "beside"},
            "label is 'beside', but must be pixels or",
        ),
        (
            {"layers": [{"in_shape": [2, 3], "out_channels": 2, "kernel": 2.0}]},
            "kernel is 2.0, but must be a whole number",
        ),
        (
            {"layers": [{"in_shape": [2, 3], "out_channels": 2, "kernel": "2"}]},
            "kernel is '2', but must be a whole number",
        ),
    ],
)
def test_more_settings_that_cannot_be(settings, sentence):
    with pytest.raises(ffrecur.UserError, match=re.escape(sentence)):
        ffrecur.FeedForwardNet(6, **{"num_classes": 3, **settings})


def test_a_net_without_labels_gives_no_scores():
    net = ffrecur.FeedForwardNet(6, [4], num_classes=None, label=None)
    for call in (net, net.score):
        with pytest.raises(ffrecur.UserError, match="num_classes is None"):
            call(IMAGES.float())
