"""Nets with parameters in half precision: what they judge, read and learn is that of float64, but for rounding."""

import pytest
import torch
from families import NETS
from making import stream_net
from problems import GOODNESS, OBJECTIVES, Problem
from torch import Tensor
from torch.nn import functional as F

from ffrecur.core import products
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired

HALF = {torch.bfloat16: 0.05, torch.float16: 0.01}  # with the mean error, as a share of the mean value


def in_precision(inputs, dtype):
    """The inputs of a net, of which a state is a tuple of tuples; symbols stay whole numbers."""
    if isinstance(inputs, Tensor):
        return inputs.to(dtype) if inputs.is_floating_point() else inputs
    return type(inputs)(*(tuple(each.to(dtype) for each in part) for part in inputs))


def zeros(inputs):
    if isinstance(inputs, Tensor):
        return torch.zeros_like(inputs)
    return type(inputs)(*(tuple(map(torch.zeros_like, part)) for part in inputs))


def check_near(found, exact, share):
    assert found.isfinite().all()
    assert (found.double() - exact).abs().mean() <= share * exact.abs().mean()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_half_precision_is_near(name, dtype):
    """Of any inputs, of black images and of streams that have read nothing."""
    family = NETS[name]
    net, inputs = family.net().eval(), family.inputs(3)
    for shown in (inputs, zeros(inputs)):
        exact = family.judged(net.double(), shown)
        check_near(family.judged(net.to(dtype), in_precision(shown, dtype)), exact, HALF[dtype])


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_what_is_learned_in_half_precision_points_the_same_way(name, dtype):
    """Each gradient is there, finite, and at a small angle to that of float64."""
    family = NETS[name]
    goodness = family.settings.get("goodness", GOODNESS["mean square"])
    problem = Problem(family, OBJECTIVES["logistic"], goodness, -1, "cpu")
    batch = problem.batch()
    exact = problem.learn(batch).gradients
    masks = batch.masks and [None if mask is None else mask.to(dtype) for mask in batch.masks]
    half = batch._replace(inputs=in_precision(batch.inputs, dtype), masks=masks)
    found = problem.learn(half, net=problem.net().to(dtype)).gradients
    assert found.keys() == exact.keys()
    for parameter, gradient in found.items():
        assert gradient.isfinite().all(), parameter
        cosine = F.cosine_similarity(gradient.double().flatten(), exact[parameter].flatten(), dim=0)
        assert cosine > 1 - HALF[dtype], parameter


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", [name for name in NETS if "stream" in name])
def test_a_stream_is_read_in_half_precision(name, dtype):
    """Its state is kept in float32, so that what is carried on is not rounded with each character."""
    family = NETS[name]
    net, symbols_BT = family.net(), torch.arange(12).view(2, 6) % family.answers
    ends = []
    for each in (torch.float64, dtype):
        state = net.to(each).first_state(2)
        for symbols_B in symbols_BT.t():
            state = net.step(state, symbols_B)
        ends.append(state)
    for found, exact in zip(ends[1].hidden + ends[1].memory, ends[0].hidden + ends[0].memory, strict=True):
        assert found.dtype == torch.float32
        check_near(found, exact, 2 * HALF[dtype])


@pytest.mark.parametrize("rule", ["hebbian", "delta"])
def test_what_a_stream_carries_is_in_float32_under_autocast(rule, monkeypatch):
    """Fast weights too: as `step` has them, which reads without learning."""
    monkeypatch.setattr(products, "has_bfloat16", lambda device: True)  # emulated where it is not
    net = stream_net(fast_weights=(4, 0.9, 0.3, rule)).float()
    symbols = torch.arange(30).reshape(10, 3) % len(net.alphabet)
    learned = read = net.first_state(3)
    learning = Learning(objective=Paired(0.1), iterations=1)
    for symbols_B in symbols:
        with torch.autocast("cpu", torch.bfloat16):
            _, learned = net.local_learning(learned, symbols_B, (symbols_B + 1) % len(net.alphabet), learning)
        read = net.step(read, symbols_B)
    for part, expected in zip(learned, read, strict=True):
        for found, exact in zip(part, expected, strict=True):
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
