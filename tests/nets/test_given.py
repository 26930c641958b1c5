"""What a user gives the nets in Python: any type of number, modules of their own, and mistakes, each told in a sentence."""

import json
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from making import drawn
from torch import nn
from torch.nn.utils import prune

import ffrecur
from ffrecur import BackpropNet, CharNet, FeedForwardNet, Logistic, Objective, RecurrentNet, UserError
from ffrecur.core.learning import Learning
from ffrecur.errors import SettingWarning
from ffrecur.metrics.images import GoodnessError

IMAGES = torch.arange(0, 240, 10, dtype=torch.uint8).reshape(6, 4)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
WRONG = (LABELS + 1) % 3
TYPES = {
    "bytes": IMAGES,
    "NumPy's bytes": IMAGES.numpy(),
    "float64": IMAGES.double() / 255,
    "big-endian": (IMAGES.numpy() / 255).astype(">f4"),
}


@pytest.mark.parametrize("given", TYPES)
@pytest.mark.parametrize("settings", [{}, {"standardize_images": True}], ids=["plain", "standardised"])
@pytest.mark.parametrize("kind", [RecurrentNet, FeedForwardNet, partial(FeedForwardNet, label="beside")])
def test_a_call_is_the_score_of_images_of_any_type(kind, settings, given):
    net = drawn(kind(4, [5, 3], 3, **settings))
    if net.statistics is not None:
        net.statistics.learn(IMAGES)
    expected = net.score(IMAGES.float() / 255)
    for found in (net(TYPES[given]), net.score(TYPES[given])):
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "given", [IMAGES.long(), IMAGES.double(), IMAGES.numpy().astype("int16")], ids=["int64", "float64", "int16"]
)
@pytest.mark.parametrize(
    "net",
    [
        FeedForwardNet(4, [5], 3),
        FeedForwardNet(4, [5], 3, label="beside"),
        FeedForwardNet(4, [5], 3, label=None, standardize_images=True),
        RecurrentNet(4, [5], 3, standardize_images=True),
        BackpropNet(4, [5], 3, standardize_images=True),
    ],
    ids=["pixels", "beside", "unlabelled", "recurrent", "backpropagation"],
)
def test_images_that_were_not_divided_are_refused_where_white_must_be_one(net, given):
    with pytest.raises(
        ffrecur.UserError, match="^images reach 230, but must be uint8, or numbers from 0 to 1: divide them"
    ):
        net.classify(given)
    if isinstance(net, FeedForwardNet) and net.label is not None:
        with pytest.raises(ffrecur.UserError, match="^images reach 230"):
            net.local_learning(torch.as_tensor(given), LABELS, WRONG, Learning(iterations=1))
    net.classify(IMAGES)
    net.classify(IMAGES / 255 + 3 * torch.randn(6, 4).clamp(-2, 2))  # noise is none of these


@pytest.mark.parametrize(
    "net", [RecurrentNet(4, [5], 3), BackpropNet(4, [5], 3), FeedForwardNet(4, [5], 3, label=None)]
)
def test_nets_that_only_normalise_take_any_scale(net):
    assert torch.equal(net.classify(IMAGES.long()), net.classify(IMAGES))


class Focal(Objective):
    def loss(self, positive, negatives):
        return Logistic(2.0, 0.3).loss(positive, negatives)


@pytest.mark.parametrize(
    ("objective", "given", "unused"),
    [
        (Focal(), {"temperature": 0.3, "threshold": 2.0}, ["threshold", "temperature"]),
        (Logistic(2.0, 0.3), {"temperature": 0.4}, ["temperature"]),
        (Logistic(2.0, 0.3), {"temperature": 0.3, "threshold": 2.0}, []),
        (Focal(), {}, []),
        ("paired", {"temperature": 0.3, "threshold": 2.0}, ["threshold"]),
    ],
)
def test_settings_that_an_objective_of_ones_own_does_not_read_are_warned_of(objective, given, unused):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        RecurrentNet(4, [5], 3).local_loss(IMAGES, LABELS, WRONG, objective=objective, **given)
    said = [str(each.message) for each in found if issubclass(each.category, SettingWarning)]
    assert [line.split(" is ")[0] for line in said] == unused
    assert all("has no effect " in line for line in said)


def test_numbers_of_numpy_are_plain_in_files(tmp_path):
    count = np.array([5, 3])
    net = RecurrentNet(np.int64(4), [*count], np.int64(3), damping=np.float64(0.2))
    ffrecur.save(net, tmp_path / "net")
    assert ffrecur.load(tmp_path / "net").settings() == net.settings()
    assert json.loads((tmp_path / "net" / "config.json").read_text())["settings"]["hidden_features"] == [5, 3]


@pytest.mark.parametrize(
    "net_of",
    [lambda layers: FeedForwardNet(4, None, 3, layers=layers), lambda layers: BackpropNet(4, None, 3, layers=layers)],
)
def test_modules_of_ones_own_keep_their_weights(net_of):
    own = nn.Linear(4, 5)
    before = own.weight.detach().clone()
    net = net_of([own, nn.Linear(5, 3)])
    assert torch.equal(own.weight, before)
    assert not net.head.weight.any()
    net.reset_parameters()
    assert not torch.equal(own.weight, before)


def test_layers_of_ones_own_in_a_recurrent_net_keep_their_weights_and_need_no_bias():
    net = RecurrentNet(4, [5, 3], 3)
    own, plain = nn.Sequential(nn.Linear(4, 5)), nn.Linear(5, 3, bias=False)
    net.bottom_up[0], net.bottom_up[1] = own, plain
    before, drawn_before = own[0].weight.detach().clone(), plain.weight.detach().clone()
    net.reset_parameters()
    assert torch.equal(own[0].weight, before)
    assert not torch.equal(plain.weight, drawn_before)
    net.bottom_up[0] = nn.Linear(4, 5)
    assert net.imagine().shape == (3, 4)


def test_how_a_feed_forward_net_reads_its_images_does_not_change():
    net = FeedForwardNet(4, [5, 3], 3, label="beside", label_scale=2.0, center_images=True)
    assert (net.label, net.label_scale, net.center_images) == ("beside", 2.0, True)
    for name in ("label", "label_scale", "center_images"):
        with pytest.raises(AttributeError, match=name):
            setattr(net, name, getattr(net, name))


def test_hooks_of_a_layer_run():
    net, calls = drawn(FeedForwardNet(4, [5, 3], 3)), []
    expected = net.score(IMAGES)
    net.hidden[1].register_forward_hook(lambda *given: calls.append(len(given)))
    assert torch.allclose(net.score(IMAGES), expected, rtol=0, atol=1e-6)
    assert calls
    prune.l1_unstructured(net.hidden[0], "weight", amount=0.5)
    net.local_loss(IMAGES, LABELS, WRONG).backward()
    assert not net.hidden[0].weight_orig.grad[net.hidden[0].weight_mask == 0].any()
    assert net.hidden[0].weight_orig.grad.any()


class MeanLoss(ffrecur.Logistic):
    def loss(self, positive, negatives):
        return super().loss(positive, negatives).mean()


def feed_forward(**settings):
    return drawn(FeedForwardNet(4, [5, 3], 3, **settings))


def recurrent():
    return drawn(RecurrentNet(4, [5, 3], 3))


def named(names):
    net = recurrent()
    net.class_names = names
    ffrecur.save(net, "named")


WITHOUT = torch.full((6, 4), torch.nan)
TENSOR: Any = torch.tensor([5, 3])
FRACTIONS: Any = [1.0, 2.0]
MISTAKES: dict[str, tuple[Any, str]] = {
    "the loss of an objective is one number": (
        lambda: recurrent().local_loss(IMAGES, LABELS, WRONG, objective=MeanLoss()),
        r"MeanLoss\.loss makes values of the shape \(\) of goodness \(8, 2, 6, 1\), but must make one for each",
    ),
    "negatives that a function forgot": (
        lambda: recurrent().local_loss(IMAGES, LABELS, lambda logits, labels: None), "negatives are None, but an objective"
    ),
    "no negatives for harder images": (
        lambda: recurrent().adversarial_images(IMAGES, LABELS, None, Learning(), 0.1), "negatives are None, but an objective"
    ),
    "negative images that are no numbers": (
        lambda: FeedForwardNet(4, [5], None, label=None).local_loss(IMAGES, None, WITHOUT), "negative images have values that"
    ),
    "a goodness that is not made": (
        lambda: feed_forward(goodness=ffrecur.MeanSquare), "goodness is .*MeanSquare.*, but must be an ffrecur.Goodness"
    ),
    "a window of one number": (lambda: recurrent().score(IMAGES, 5), "window is 5, but must be two iterations"),
    "a window of three": (lambda: recurrent().score(IMAGES, (1, 2, 3)), r"window is \[1, 2, 3\], but must be two"),
    "a window of fractions": (lambda: recurrent()(IMAGES, (1.5, 3)), r"window is \[1\.5, 3\], but must be two"),
    "a window after the last iteration": (lambda: GoodnessError(4, 2, (3, 5), 1), "<= evaluation_iterations, which is 4"),
    "widths in a tensor": (partial(RecurrentNet, 4, TENSOR, 3), "hidden_features is tensor.*, but must be one or"),
    "a dropout of 1": (lambda: recurrent().dropout_masks(6, 0.0, 1.0), "dropout is 1.0, but must be at least 0 and less than"),
    "iteration 0": (
        lambda: recurrent().step([torch.zeros(6, 5), torch.zeros(6, 3)], IMAGES, LABELS, 0), "iteration is 0, but must be"
    ),
    "a step of a video": (
        lambda: recurrent().step([torch.zeros(6, 5), torch.zeros(6, 3)], IMAGES.expand(6, 6, 4), LABELS),
        r"images have the shape \(6, 6, 4\), but the net reads \(batch, 4\)$",
    ),
    "names for too few classes": (lambda: named(("cat", "dog")), r"class_names is \['cat', 'dog'\], but must be 3 different"),
    "layers of the head that are no whole numbers": (
        partial(ffrecur.CharNet, "ab ", 3, [5, 4], head_layers=FRACTIONS), r"head_layers is \[1\.0, 2\.0\], but must be"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_a_sentence(mistake, workplace):
    call, message = MISTAKES[mistake]
    with pytest.raises(ffrecur.UserError, match=message):
        call()


@pytest.mark.parametrize("net", [RecurrentNet(6, (5,), 3), FeedForwardNet(6, (5,), 3), CharNet("ab", 2, (5,))])
def test_the_sign_may_be_set_and_is_checked(net):
    net.sign = -1
    assert net.settings()["sign"] == -1
    with pytest.raises(UserError, match="sign is 5, but must be 1 or -1"):
        net.sign = 5


def test_images_as_loaders_of_other_libraries_have_them_are_told_how_to_fit():
    net = RecurrentNet(6, (5,), 3)
    with pytest.raises(UserError, match=r"the shape \(4, 1, 2, 3\), .*; images.flatten\(1\) has it"):
        net.score(torch.rand(4, 1, 2, 3))
    with pytest.raises(UserError, match=r"the shape \(4, 1, 2, 2\), [^;]*$"):
        net.score(torch.rand(4, 1, 2, 2))
