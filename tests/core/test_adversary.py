"""Images moved uphill of layer 1's own loss, against autograd on the reference and against plain loops."""

from __future__ import annotations

import pytest
import torch
from making import recurrent_net

from ffrecur.core import reference
from ffrecur.core.adversary import first_layer_slopes, moved_uphill, visits_behind
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired, Softmax
from ffrecur.errors import UserError
from ffrecur.negatives.labels import hard_labels

IMAGES = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
LABELS, WRONG = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([1, 2, 0, 0, 2])
CASES = {
    "as it is": ({}, Learning(iterations=3)),
    "centred, sign -1, alternating": (
        {"center_images": True, "sign": -1, "update_scheme": "alternating"},
        Learning(iterations=4),
    ),
    "no damping, paired": ({"damping": 0.0}, Learning(iterations=5, objective=Paired(0.3))),
    "damping by iteration, softmax": ({"damping": [0.0, 0.5]}, Learning(iterations=3, objective=Softmax(0.2))),
    "one layer": ({"hidden": (6,)}, Learning(iterations=2)),
}


def by_autograd(net, negatives, learning, masks=None):
    """The gradient of B times layer 1's own loss by the images: the plain local loss, the image's row a leaf."""
    images = IMAGES.clone().requires_grad_()
    row = net.image_row(images, masks)
    with torch.no_grad():
        wiring = net.begin(IMAGES, masks, torch.float64).wiring(LABELS, negatives, learning.iterations)
    wiring.layers[0][0].rows = row[None]  # all other layers read the detached states of their neighbours
    loss, *_ = reference.visit_all(net, wiring, learning)
    return torch.autograd.grad(len(IMAGES) * loss, images)[0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_ascent_is_that_of_the_plain_local_loss(name, dropout):
    settings, learning = CASES[name]
    net = recurrent_net(**settings)
    masks = net.dropout_masks(5, dropout, dropout, torch.Generator().manual_seed(1))
    negatives = net.candidates(LABELS) if learning.objective.all_candidates else WRONG
    expected = by_autograd(net, negatives, learning, masks)
    slopes = first_layer_slopes(net, IMAGES, LABELS, negatives, learning, masks)
    moved = moved_uphill(IMAGES, lambda images: net.bottom_up[0](net.image_row(images, masks)), slopes, 0.5)
    length = IMAGES.norm(dim=1, keepdim=True)
    unit = expected / expected.norm(dim=1, keepdim=True).clamp(min=1e-300)  # all of an image may be dropped
    torch.testing.assert_close(moved, IMAGES + 0.5 * length * unit, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "behind"),
    [
        ({}, [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1}, {0}]),
        ({"damping": 0.0}, [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1}, {0}]),
        ({"update_scheme": "alternating"}, [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1}]),  # layer 2 comes first
        ({"hidden": (4,)}, [{0}] * 5),
    ],
)
def test_only_visits_are_made_that_layer_1_reads(settings, behind):
    wiring = recurrent_net(**settings).begin(IMAGES, None, torch.float64).wiring(LABELS, WRONG, 5)
    assert visits_behind(wiring, 0) == behind


def test_the_move_raises_the_loss_of_layer_1_and_lowers_it_the_other_way():
    net, learning = recurrent_net(sign=-1, damping=0.0), Learning(iterations=1)  # one iteration: nothing else changes
    slopes = first_layer_slopes(net, IMAGES, LABELS, WRONG, learning)
    losses = []
    for length in (-1e-4, 0.0, 1e-4):
        images = moved_uphill(IMAGES, lambda each: net.bottom_up[0](net.image_row(each)), slopes, length)
        before = net.bottom_up_pass(IMAGES)[1]  # what layer 1 reads of layer 2 is held fast
        drive = net.bottom_up[0](net.image_row(images)) + net.top_down[0](net.read(before, 1))
        signed = 1.0 - torch.relu(drive).square().mean(dim=-1)  # of both kinds alike, for no label has come so far yet
        losses.append(learning.objective.loss(signed, signed[None]))
    assert losses[0].shape == (5,)
    assert (losses[0] < losses[1]).all()
    assert (losses[1] < losses[2]).all()


def test_each_image_is_moved_by_the_same_share_of_its_length_and_alone():
    net, learning = recurrent_net(center_images=True), Learning(iterations=4)
    moved = net.adversarial_images(IMAGES, LABELS, WRONG, learning, 0.2)
    shares = (moved - IMAGES).norm(dim=1) / IMAGES.norm(dim=1)
    torch.testing.assert_close(shares, torch.full_like(shares, 0.2))
    alone = net.adversarial_images(IMAGES[1:3], LABELS[1:3], WRONG[1:3], learning, 0.2)
    torch.testing.assert_close(alone, moved[1:3])
    # A change of brightness changes nothing that a centred net sees, so none is made.
    torch.testing.assert_close((moved - IMAGES).mean(dim=1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_no_layer_but_the_first_has_a_say_and_no_weight_gets_a_gradient():
    one, other = recurrent_net((6, 5, 4), damping=0.0), recurrent_net((6, 5, 4), damping=0.0)
    with torch.no_grad():
        for net in (one, other):
            net.top_down[0].weight.zero_()  # layer 1 reads the image alone now
        other.bottom_up[1].weight.mul_(3.0)
        other.top_down[1].weight.add_(1.0)
    first, second = (net.adversarial_images(IMAGES, LABELS, WRONG, Learning(iterations=6), 0.1) for net in (one, other))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in one.parameters())


def test_nothing_moves_without_a_length_or_a_slope():
    net = recurrent_net()
    torch.testing.assert_close(net.adversarial_images(IMAGES, LABELS, WRONG, Learning(), 0.0), IMAGES, rtol=0, atol=0)
    with torch.no_grad():
        net.bottom_up[0].weight.zero_()
    torch.testing.assert_close(net.adversarial_images(IMAGES, LABELS, WRONG, Learning(), 0.3), IMAGES, rtol=0, atol=0)


def test_negatives_may_be_drawn_from_the_head():
    net, noise = recurrent_net(), torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    drawn = hard_labels(torch.zeros(5, 3), LABELS, noise)  # the head starts at 0

    def by_head(logits, labels):
        return hard_labels(logits, labels, noise)

    by_function = net.adversarial_images(IMAGES, LABELS, by_head, Learning(), 0.1)
    torch.testing.assert_close(by_function, net.adversarial_images(IMAGES, LABELS, drawn, Learning(), 0.1))


def test_what_does_not_fit_is_refused():
    net = recurrent_net()
    with pytest.raises(UserError, match="length is -1, but must be at least 0"):
        net.adversarial_images(IMAGES, LABELS, WRONG, Learning(), -1)
    with pytest.raises(UserError, match=r"images is \(8, 5, 4\), but must be still ones"):
        net.adversarial_images(IMAGES.expand(8, 5, 4), LABELS, WRONG, Learning(), 0.1)
