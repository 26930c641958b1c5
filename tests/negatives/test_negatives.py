"""Negative labels: never the true one, and in the right proportions."""

import pytest
import torch
from scipy.stats import chi2

from ffrecur.negatives.labels import hard_labels, uniform_labels

DRAWS = 100_000


def noise(classes, draws=DRAWS, seed=0):
    return torch.rand(draws, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("draw", [hard_labels, uniform_labels])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e30, float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_never_the_true_label(draw, scale, dtype):
    """Saturated logits too, for the true label and against it, infinite ones included."""
    labels = torch.arange(DRAWS) % 10
    logits = torch.randn(DRAWS, 10, generator=torch.Generator().manual_seed(1)) * min(scale, 1.0)
    logits[torch.arange(DRAWS), labels] = scale  # the head is sure of the truth ...
    logits[::2] *= -1  # ... or sure of anything but the truth
    drawn = draw(logits.to(dtype), labels, noise(10))
    assert not (drawn == labels).any()
    assert drawn.unique().tolist() == list(range(10))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_never_the_true_label_when_all_logits_are_useless(value):
    labels = torch.arange(DRAWS) % 3
    assert not (hard_labels(torch.full((DRAWS, 3), value), labels, noise(3)) == labels).any()


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_never_the_true_label_at_the_ends_of_the_noise(extreme):
    labels = torch.arange(4)
    drawn = hard_labels(torch.eye(4) * 50, labels, torch.full((4, 4), extreme))
    assert not (drawn == labels).any()


def chi_square(drawn, expected):
    counts = torch.bincount(drawn, minlength=len(expected)).double()
    kept = expected > 0
    assert (counts[~kept] == 0).all()
    wanted = expected[kept] * len(drawn)
    return ((counts[kept] - wanted) ** 2 / wanted).sum().item(), int(kept.sum()) - 1


def test_hard_labels_come_in_proportion_to_the_heads_wrong_guesses():
    """Chi-square at the 1e-6 quantile: with fixed noise it cannot flicker; a new seed would fail once in a million."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])
    expected = torch.softmax(logits.double().index_fill(0, torch.tensor(4), -torch.inf), 0)
    drawn = hard_labels(logits.expand(DRAWS, 5), torch.full((DRAWS,), 4), noise(5))
    statistic, freedom = chi_square(drawn, expected)
    assert statistic < chi2.isf(1e-6, freedom)


def test_uniform_labels_ignore_the_logits():
    """The same test; logits that hard labels would follow are given to show that these do not."""
    drawn = uniform_labels(torch.tensor([9.0, 0.0, 0.0, -9.0]).expand(DRAWS, 4), torch.full((DRAWS,), 1), noise(4))
    statistic, freedom = chi_square(drawn, torch.tensor([1, 0, 1, 1]).double() / 3)
    assert statistic < chi2.isf(1e-6, freedom)


def test_draws_are_a_function_of_the_noise_and_differ_without_it():
    logits, labels = torch.randn(1000, 10), torch.arange(1000) % 10
    assert torch.equal(hard_labels(logits, labels, noise(10, 1000)), hard_labels(logits, labels, noise(10, 1000)))
    assert not torch.equal(hard_labels(logits, labels), hard_labels(logits, labels))


def test_one_class_has_no_wrong_label():
    with pytest.raises(ValueError, match="num_classes is 1"):
        hard_labels(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))
