"""Negative labels: never the true one, and in the right proportions."""

from itertools import combinations

import pytest
import torch
from scipy.stats import chi2

from ffrecur.core.objectives import SampledSoftmax, Softmax
from ffrecur.errors import UserError
from ffrecur.negatives.labels import hard_labels, likely_labels, uniform_labels

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


# --- a few candidates that stand for all: `likely_labels` and `SampledSoftmax` ---


def test_likely_labels_are_the_likeliest_wrong_ones_and_others_with_equal_chances():
    """Of nine wrong labels six: the five likeliest, and one of the other four (chi-square at the 1e-6 quantile)."""
    logits = torch.tensor([9.0, 3.0, 8.0, 1.0, 7.0, 0.0, 6.0, 2.0, 5.0, 4.0])
    drawn = likely_labels(logits.expand(DRAWS, 10), torch.full((DRAWS,), 2), noise(10), count=6)
    assert drawn.shape == (DRAWS, 6)
    assert (drawn[:, :5] == torch.tensor([0, 4, 6, 8, 9])).all()
    expected = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 0], dtype=torch.float64) / 4
    statistic, freedom = chi_square(drawn[:, 5], expected)
    assert statistic < chi2.isf(1e-6, freedom)


@pytest.mark.parametrize("count", [2, 3, 8, 9])
@pytest.mark.parametrize("value", [0.0, float("inf"), float("-inf"), float("nan")])
def test_likely_labels_are_wrong_and_different(count, value):
    logits = torch.randn(1000, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(1000) % 10
    logits[torch.arange(1000), labels] = value
    drawn = likely_labels(logits, labels, torch.zeros(1000, 10), count)
    assert not (drawn == labels[:, None]).any()
    assert all(len(row.unique()) == count for row in drawn)


@pytest.mark.parametrize("count", [1, 10])
def test_likely_labels_are_two_at_least_and_no_more_than_there_are(count):
    with pytest.raises(UserError, match=f"negatives_per_case is {count}, but must be from 2 to 9"):
        likely_labels(torch.zeros(1, 10), torch.zeros(1, dtype=torch.long), count=count)


def candidates(classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, 5, dtype=torch.float64, generator=generator)


def test_all_wrong_candidates_are_the_softmax():
    """Where none is left out, none stands for another."""
    goodness = candidates(9)
    exact, sampled = Softmax(0.3), SampledSoftmax(0.3).among(9)
    torch.testing.assert_close(
        sampled.loss(goodness[0], goodness[1:]), exact.loss(goodness[0], goodness[1:]), rtol=1e-12, atol=0
    )
    for found, expected in zip(
        sampled.slopes(goodness[0], goodness[1:]), exact.slopes(goodness[0], goodness[1:]), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_the_sum_over_candidates_has_the_right_mean(count):
    """Over all ways to draw the others, the mean of the sum that the softmax divides by is the sum over all candidates."""
    goodness, temperature, classes = candidates(11), 0.7, 11
    drawn, kept = max(1, count // 4), count - max(1, count // 4)
    objective = SampledSoftmax(temperature, classes)
    sums = []
    for others in combinations(range(1 + kept, classes), drawn):
        negatives = goodness[[*range(1, 1 + kept), *others]]
        sums.append((objective.loss(goodness[0], negatives) + goodness[0] / temperature).exp())
    expected = (goodness / temperature).exp().sum(dim=0)
    torch.testing.assert_close(torch.stack(sums).mean(dim=0), expected, rtol=1e-12, atol=0)


def test_a_sampled_softmax_must_know_how_many_candidates_there_are():
    goodness = candidates(4)
    with pytest.raises(UserError, match="answers of SampledSoftmax is None, but must be the number of all candidates"):
        SampledSoftmax().loss(goodness[0], goodness[1:])
    with pytest.raises(UserError, match="negatives_per_case is 3, but must be from 2 to 2"):
        SampledSoftmax(answers=3).loss(goodness[0], goodness[1:])
