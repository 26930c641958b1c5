"""What the sweep does for nets that are not ours: layers that are the same for all kinds of data, and what it overwrites."""

from dataclasses import replace

import pytest
import torch
from making import character_net, recurrent_net, windows_of
from torch import nn

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.goodness import Goodness, MeanSquare
from ffrecur.core.learning import Begun, Learning
from ffrecur.core.sources import LookUp, Stream, source_of
from ffrecur.core.sweep import Sweep, Wiring, rise
from ffrecur.functional import rms_normalize
from ffrecur.nets.base import LocalNet, draw_weights, linear_layers

LABELS, WRONG = torch.tensor([0, 2, 1]), torch.tensor([[1, 3], [0, 1], [2, 0]])


class LabelOnTop(LocalNet):
    """Layers one above the other, visited once; the last alone reads the label, so that all others never tell kinds apart."""

    def __init__(self, goodness):
        super().__init__((6, 5, 4), -1, goodness)
        self.hidden, self.label, self.head = linear_layers(4, (6, 5, 4)), nn.Linear(4, 4, bias=False), nn.Linear(15, 4)
        draw_weights([*self.hidden, self.label], 2, self.head)

    def begin(self, inputs, masks, dtype):
        masks = masks or [None] * 3
        image = Stream(source_of(self.hidden[0], dtype), rows=rms_normalize(inputs)[None])
        layers = [[image], *([Stream(source_of(m, dtype), layer)] for layer, m in enumerate(self.hidden[1:]))]
        without_label = rise(layers, self.goodness_function, masks)

        def wiring(labels, negatives, iterations):
            kinds = torch.cat([labels[None], negatives.t()])
            label = Stream(LookUp(self.label, 4), rows=kinds[..., None])
            above = [*layers[:-1], [*layers[-1], label]]
            return Wiring(above, [[0], [1], [2]], [0.0], masks, len(kinds), len(inputs))

        return Begun(torch.cat([row_1BH[0] for row_1BH in without_label.rows], dim=1), wiring)

    def plain_logits(self, inputs, masks):
        with torch.no_grad():
            features_BF = self.begin(inputs, masks, self.head.weight.dtype).features_BF
        return self.head(features_BF)


class First(Goodness):
    """The square of a unit: a value that is no new tensor but a part of the state."""

    def value(self, state_BH):
        return state_BH[:, :1]


def learn(module, net, images):
    net.zero_grad()
    result = module.local_learning(net, images, LABELS, WRONG, Learning(iterations=1))
    result.loss.backward()
    return result, {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("goodness", [MeanSquare(), First()], ids=["mean square", "first unit"])
def test_layers_that_never_tell_the_kinds_apart_learn_as_in_the_reference(goodness):
    torch.manual_seed(0)
    net, images = LabelOnTop(goodness).double(), torch.randn(3, 4, dtype=torch.float64)
    (fast, found), (plain, expected) = (learn(module, net, images) for module in (engine, reference))
    torch.testing.assert_close(fast.loss, plain.loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(fast.goodness_negative_TLB, plain.goodness_negative_TLB, rtol=1e-10, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_a_goodness_that_is_a_part_of_the_state_is_that_before_normalisation():
    net = character_net(goodness=First())
    windows_BW = windows_of(net, 5)
    of_candidates = net.candidate_goodness(net.prepare(), windows_BW)
    for symbol in range(len(net.alphabet)):
        ended = torch.cat([windows_BW[:, 1:], torch.full((5, 1), symbol)], dim=1)
        torch.testing.assert_close(of_candidates[..., symbol], net.goodness(ended).detach(), rtol=1e-12, atol=0)


def test_of_layers_that_are_visited_once_and_learn_nothing_one_tensor_is_kept():
    """As many candidates' states fill the memory: they are normalised in place."""
    net = character_net()
    kept = []

    class Watching(MeanSquare):
        def value(self, state_BH):
            kept.append(state_BH.data_ptr())
            return super().value(state_BH)

    net.goodness_function = Watching()
    wiring = net.wired(net.prepare(), [Stream(net.prepare().whole, rows=windows_of(net, 5)[None])], None, 1, 5)
    sweep = Sweep(wiring, net.goodness_function, torch.float64)
    with torch.no_grad():
        sweep.iterate(0, 0)
    assert [row.data_ptr() for row in sweep.rows] == kept


def test_of_a_layer_that_no_other_reads_no_row_is_kept_for_the_gradients():
    net, windows_BW = character_net(), windows_of(character_net(), 5)
    wiring = net.wired_windows(net.prepare(), windows_BW[:, :-1], windows_BW[:, -1], windows_BW.roll(1, 0), None)
    sweep = Sweep(wiring, net.goodness_function, torch.float64, tape=1)
    sweep.iterate(0, 0)
    assert sorted(sweep.reads) == [0, 1]
    assert sorted(sweep.kept) == [0, 1, 2]


def wiring_of(net, images):
    labels_B = torch.zeros(images.shape[-2], dtype=torch.long)
    return net.begin(images, None, torch.float64).wiring(labels_B, labels_B + 1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"first": None}, "there are 3 iterations, but without a first pass layers are visited once"),
        (lambda w: {"order": [[0]]}, r"the order of visits is \[\[0\]\], but must have each of 2 layers once"),
        (
            lambda w: {"first": replace(w.first, drives={1: w.first.drives[1]})},
            r"the first pass has drives of layers \[1\], but needs all 2",
        ),
        (
            lambda w: {"layers": [w.layers[0][::-1], w.layers[1]]},
            "layer 0 reads a video, which must be its first stream",
        ),
        (lambda w: {"first": None, "damping": [0.0]}, "layer 0 reads a video, .* with a first pass"),
    ],
)
def test_a_wiring_that_a_sweep_cannot_follow(change, message):
    net = recurrent_net((6, 5))
    wiring = wiring_of(net, torch.rand(3, 2, 4, dtype=torch.float64))
    Sweep(wiring, net.goodness_function, torch.float64)
    with pytest.raises(ValueError, match=message):
        Sweep(wiring._replace(**change(wiring)), net.goodness_function, torch.float64)
