"""The attacks of scripts/study/attacks.py: the scores that they climb, their gradient, their budget and their strength."""

from __future__ import annotations

import attacks
import pytest
import torch
from torch.nn import functional as F

import ffrecur


def nets():
    """Nets of every kind, with weights and biases of noise, in float64."""
    torch.manual_seed(0)
    made = [
        ffrecur.RecurrentNet(12, (9, 8, 7), 3, sign=-1, center_images=True),
        ffrecur.RecurrentNet(12, (10, 8), 3, [0.5, 0.0, 0.2], 1, "alternating", goodness=ffrecur.MeanSquare(2)),
        ffrecur.FeedForwardNet(12, (9, 8, 7), 3, "pixels", -1, True),
        ffrecur.FeedForwardNet(12, (9, 8), 3, "beside", label_scale=2.0, head_layers=[1, 2]),
        ffrecur.FeedForwardNet(12, (9, 8), 3, None),
        ffrecur.BackpropNet(12, (9, 8), 3, True),
        ffrecur.BackpropNet(12, (9,), 3, channels=[2], kernel=2, image_shape=[4, 3]),
        ffrecur.FeedForwardNet(12, (9, 8), 3, "pixels", standardize_images=True),
        ffrecur.FeedForwardNet(12, (9, 8), 3, None, standardize_images=True),
        ffrecur.RecurrentNet(12, (9, 8), 3, standardize_images=True),
        ffrecur.BackpropNet(12, (9, 8), 3, standardize_images=True),
    ]
    for net in made:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        if net.statistics is not None:
            net.statistics.learn(torch.rand(20, 12), channels=3)
    return [net.double().eval() for net in made]


every = pytest.mark.parametrize("net", nets(), ids=lambda net: f"{type(net).__name__}-{getattr(net, 'label', '')}")
IMAGES = torch.rand(10, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10) % 3


def scored(net, images, head_weight=0.3):
    """The scores, without a graph: what the net itself says."""
    if isinstance(net, ffrecur.BackpropNet):
        return net(images)
    return net.score(images, head_weight=head_weight)


def logits_of(net, temperature=0.1):
    return lambda images: attacks.scores_of(net, images, head_weight=0.3) / temperature


@every
@pytest.mark.parametrize("head_weight", [0.0, 0.3])
def test_the_score_that_is_attacked_is_that_of_the_net(net, head_weight):
    found = attacks.scores_of(net, IMAGES, head_weight=head_weight)
    assert found.requires_grad
    assert torch.allclose(found, scored(net, IMAGES, head_weight), rtol=1e-10, atol=1e-10)
    if not isinstance(net, ffrecur.BackpropNet):
        assert torch.allclose(attacks.head_of(net, IMAGES), net.one_pass_logits(IMAGES), rtol=1e-10, atol=1e-10)


def test_a_window_is_that_of_the_score():
    net = nets()[0]
    found = attacks.scores_of(net, IMAGES, (1, 6))
    assert torch.allclose(found, net.score(IMAGES, (1, 6)), rtol=1e-10, atol=1e-10)


@every
def test_the_direction_raises_the_cross_entropy_of_the_nets_own_score(net):
    """By differences of the score without a graph, value by value."""
    signs, right = attacks.direction(logits_of(net), IMAGES, LABELS)
    step = 1e-6

    def loss(images):
        return F.cross_entropy(scored(net, images) / 0.1, LABELS, reduction="none").detach()

    for place in range(IMAGES.shape[1]):
        move = torch.zeros_like(IMAGES)
        move[:, place] = step
        slope = (loss(IMAGES + move) - loss(IMAGES - move)) / (2 * step)
        clear = slope.abs() > 1e-4
        assert torch.equal(signs[clear, place], slope[clear].sign())
    assert torch.equal(right, scored(net, IMAGES).argmax(dim=1) == LABELS)


@every
def test_the_net_is_left_as_it_is(net):
    before = [parameter.detach().clone() for parameter in net.parameters()]
    for attack in attacks.ATTACKS.values():
        attack(logits_of(net), IMAGES, LABELS, 0.1)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))


def test_a_net_that_is_sure_is_attacked_alike():
    """In float32, where its probabilities are 0 and 1, and the gradient of the cross-entropy would vanish."""
    torch.manual_seed(0)
    net, images, labels = ffrecur.BackpropNet(12, (9, 8), 2), IMAGES.float(), LABELS % 2
    torch.nn.init.normal_(net.head.weight)
    sure = 1e5 * net(images)
    assert (torch.softmax(sure, dim=1).gather(1, labels[:, None]) == 1).any()
    signs = [
        attacks.direction(lambda images, scale=scale: scale * net(images), images, labels)[0] for scale in (1, 1e5)
    ]
    assert torch.equal(*signs)
    assert (signs[0] != 0).any(dim=1).all()


class Seen:
    """Logits of a net, and the images that it was asked about."""

    def __init__(self, net):
        self.logits, self.images = logits_of(net), []

    def __call__(self, images):
        self.images.append(images.detach().clone())
        return self.logits(images)


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_attacks_stay_within_their_budget_and_among_images(name):
    for net in nets():
        seen = Seen(net)
        attacks.ATTACKS[name](seen, IMAGES[:1], LABELS[:1], 0.2)
        assert len(seen.images) >= (1 if name == "PGD" else 2)
        for images in seen.images:
            assert (images - IMAGES[:1]).abs().max() <= 0.2 + 1e-12
            assert 0 <= images.min() <= images.max() <= 1


def test_fgsm_takes_the_whole_budget_where_it_is_not_cut():
    seen = Seen(nets()[0])
    attacks.fgsm(seen, IMAGES, LABELS, 0.1)
    moved = (seen.images[-1] - IMAGES).abs()
    inside = (seen.images[-1] > 0) & (seen.images[-1] < 1)
    assert torch.allclose(moved[inside], torch.tensor(0.1, dtype=torch.float64))


def test_the_start_of_pgd_depends_on_the_place_of_the_image_alone():
    starts = []
    for first, images in ((0, IMAGES), (4, IMAGES[4:]), (0, IMAGES[4:])):
        seen = Seen(nets()[5])
        labels = nets()[5](images).argmax(dim=1)  # all right, so that all are moved
        attacks.pgd(seen, images, labels, 0.2, first)
        starts.append(seen.images[1])
    assert torch.equal(starts[0][4:], starts[1])
    assert not torch.equal(starts[1], starts[2])


def trained(net, images, labels):
    """The net, after some steps on these images."""
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        if isinstance(net, ffrecur.BackpropNet):
            F.cross_entropy(net(images), labels).backward()
        else:
            net.local_loss(images, labels, (labels + torch.randint(1, 3, labels.shape)) % 3).backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("kind", [ffrecur.RecurrentNet, ffrecur.FeedForwardNet, ffrecur.BackpropNet])
def test_pgd_is_at_least_as_strong_as_fgsm_and_that_stronger_than_chance(kind):
    """On images of noise in which one of three places is brighter."""
    torch.manual_seed(0)
    labels = torch.arange(90) % 3
    images = 0.6 * torch.rand(90, 25)
    images[torch.arange(90), 20 + labels] = 0.9
    net = trained(kind(25, (20, 20), 3), images, labels)
    logits = logits_of(net)
    clean = (logits(images).argmax(dim=1) != labels).sum()
    assert clean < 10
    for budget in (0.05, 0.1, 0.15):
        chance = images + budget * (2 * torch.randint(2, images.shape) - 1)
        wrong = [attack(logits, images, labels, budget).sum() for attack in (attacks.fgsm, attacks.pgd)]
        assert wrong[0] <= wrong[1]
    assert (logits(chance.clamp(0, 1)).argmax(dim=1) != labels).sum() < wrong[0]
    assert wrong[0] > clean + 10
