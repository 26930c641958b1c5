"""The equations: derivatives against finite differences and autograd, symmetries, edge cases."""

import math

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ffrecur import functional as ff

values = st.floats(-30, 30)
temperatures = st.floats(0.05, 5)
signs = st.sampled_from([1, -1])


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@given(values, values, values, temperatures, signs)
def test_objectives_and_derivatives_agree_with_the_formulas(g_pos, g_neg, threshold, temperature, sign):
    pair = (double(g_pos), double(g_neg))
    for kind, loss, slopes in (
        (
            "logistic",
            ff.logistic_loss(*pair, threshold, temperature, sign),
            ff.logistic_loss_gradient(*pair, threshold, temperature, sign),
        ),
        ("paired", ff.paired_loss(*pair, temperature, sign), ff.paired_loss_gradient(*pair, temperature, sign)),
    ):
        expected = oracle.objective(kind, g_pos, g_neg, threshold, temperature, sign)
        np.testing.assert_allclose([loss, *slopes], expected, rtol=1e-12, atol=1e-300)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.3, 3), signs)
def test_derivatives_agree_with_finite_differences_and_autograd(g_pos, g_neg, temperature, sign):
    step = 1e-6
    for loss, gradient in (
        (
            lambda p, n: ff.logistic_loss(p, n, 0.5, temperature, sign),
            lambda p, n: ff.logistic_loss_gradient(p, n, 0.5, temperature, sign),
        ),
        (
            lambda p, n: ff.paired_loss(p, n, temperature, sign),
            lambda p, n: ff.paired_loss_gradient(p, n, temperature, sign),
        ),
    ):
        p, n = double(g_pos).requires_grad_(), double(g_neg).requires_grad_()
        closed = gradient(p.detach(), n.detach())
        difference = [
            (loss(p.detach() + step, n) - loss(p.detach() - step, n)).item() / (2 * step),
            (loss(p, n.detach() + step) - loss(p, n.detach() - step)).item() / (2 * step),
        ]
        np.testing.assert_allclose(closed, difference, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(closed, torch.autograd.grad(loss(p, n), (p, n)), rtol=1e-12)


def test_extreme_goodness_gives_finite_losses_and_slopes():
    far = torch.tensor([0.0, 1e4], dtype=torch.float32)
    loss = ff.logistic_loss(far, far.flip(0), 1.0, 0.01)
    slopes = ff.logistic_loss_gradient(far, far.flip(0), 1.0, 0.01)
    assert torch.isfinite(torch.stack([loss, *slopes])).all()
    assert loss.tolist() == [pytest.approx(100 + 999_900), pytest.approx(0, abs=1e-30)]


@given(st.floats(-5, 5), st.floats(-5, 5), temperatures)
def test_the_two_signs_are_each_others_mirror(g_pos, g_neg, temperature):
    """Swapping the data is the same as turning the sign."""
    one = ff.logistic_loss(double(g_pos), double(g_neg), 0.3, temperature, sign=1)
    other = ff.logistic_loss(double(g_neg), double(g_pos), 0.3, temperature, sign=-1)
    assert one.item() == pytest.approx(other.item(), rel=1e-12)
    probability = ff.probability_of_positive(double(g_pos), 0.3, temperature, 1)
    assert probability.item() == pytest.approx(
        1 - ff.probability_of_positive(double(g_pos), 0.3, temperature, -1).item()
    )


@given(st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=6), st.floats(1, 1000))
def test_normalised_rows_have_length_root_h_whatever_the_scale(row, scale):
    row = double(row) + 1.0 * (max(map(abs, row)) < 0.1)
    normalized = ff.rms_normalize(row)
    np.testing.assert_allclose(normalized, oracle.rms(row.tolist()), rtol=1e-12)
    assert normalized.norm().item() == pytest.approx(math.sqrt(len(row)), rel=1e-5)
    np.testing.assert_allclose(ff.rms_normalize(scale * row), normalized, rtol=1e-5)


def test_a_row_of_zeros_stays_zero():
    assert ff.rms_normalize(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_damping_zero_and_a_fixed_point():
    old, new = torch.rand(3), torch.rand(3)
    assert torch.equal(ff.damped_update(old, new, 0.0), new)
    torch.testing.assert_close(ff.damped_update(old, old, 0.7), old)


def test_peer_ascent_sums_to_zero_and_pulls_towards_the_mean():
    mean = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    ascent = ff.peer_ascent(mean, 0.3)
    assert ascent.sum().item() == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(ascent, [0.12, 0.0, -0.12], atol=1e-15)


def test_dropout_mask_keeps_the_mean():
    mask = ff.dropout_mask(torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)), 0.3)
    # The mean's standard error is sqrt(0.3 / 0.7) / 1000; 5 of them fail once in 1.7 million seeds.
    assert abs(mask.mean().item() - 1) < 5 * math.sqrt(0.3 / 0.7) / 1000
