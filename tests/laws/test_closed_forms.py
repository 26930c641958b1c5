"""Every component's closed form is its plain one: what a class overrides against what it would inherit, in float64, 1e-10.

A new objective or goodness is held by its line in `problems.py`, a new source by one in `SOURCES`.
"""

import pytest
import torch
from problems import DEVICES, GOODNESS, OBJECTIVES
from torch import nn

from ffrecur.core.fast import FastWeights
from ffrecur.core.goodness import Goodness, judge, mean_over_blocks
from ffrecur.core.local import LocalLinear
from ffrecur.core.objectives import Objective
from ffrecur.core.regions import RegionMeanSquare
from ffrecur.core.sources import Columns, Dense, Local, LookUp, Source, Tiled, source_of
from ffrecur.functional import rms_normalize

EXACT = {"rtol": 1e-10, "atol": 1e-14}
ROWS, UNITS, SYMBOLS = 5, 6, 4
HERE = [
    pytest.param(name, marks=pytest.mark.skipif(not present, reason=f"there is no {name} here"))
    for name, present in DEVICES.items()
    if name != "mps"  # which has no float64
]
ON_EVERY_DEVICE = pytest.mark.parametrize("device", HERE)
EVERY_GOODNESS = {**GOODNESS, "columns of a map": RegionMeanSquare((2, 3), (1, 3))}
OF_ALL = pytest.mark.parametrize("goodness", EVERY_GOODNESS.values(), ids=EVERY_GOODNESS)


def normal(*shape, device="cpu", seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)


@ON_EVERY_DEVICE
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_slopes_are_the_derivatives_of_the_loss(objective, negatives, device):
    """By autograd as `Objective` has it, and by differences; for goodness that is far apart too."""
    objective = objective.among(6)
    positive, others = normal(3, 2, device=device), normal(negatives, 3, 2, device=device, seed=1)
    for scale in (1.0, 30.0):
        found = objective.slopes(scale * positive, scale * others)
        for one, two in zip(found, Objective.slopes(objective, scale * positive, scale * others), strict=True):
            torch.testing.assert_close(one, two, **EXACT)
            assert one.isfinite().all()
    step = 1e-6
    ahead, behind = (objective.loss(positive + move, others) for move in (step, -step))
    torch.testing.assert_close(
        objective.slopes(positive, others)[0], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8
    )


@ON_EVERY_DEVICE
@OF_ALL
def test_gradient_and_factor_of_a_goodness_are_the_derivative_of_its_value(goodness, device):
    state_BH, slopes_BK = (
        normal(ROWS, UNITS, device=device).relu(),
        normal(ROWS, goodness.blocks, device=device, seed=1),
    )
    assert goodness.value(state_BH).shape == (ROWS, goodness.blocks)
    plain_BH = Goodness.gradient(goodness, state_BH, slopes_BK)
    torch.testing.assert_close(goodness.gradient(state_BH, slopes_BK), plain_BH, **EXACT)
    factor = goodness.factor(slopes_BK, UNITS)
    if factor is not None:
        torch.testing.assert_close(factor * state_BH, plain_BH, **EXACT)
    step = 1e-6 * normal(ROWS, UNITS, device=device, seed=2)
    change_B = ((goodness.value(state_BH + step) - goodness.value(state_BH - step)) * slopes_BK).sum(dim=-1) / 2
    torch.testing.assert_close((plain_BH * step).sum(dim=-1), change_B, rtol=1e-5, atol=1e-12)


@ON_EVERY_DEVICE
@OF_ALL
def test_a_state_is_judged_and_normalised_at_once(goodness, device):
    """`judge` gives the value of states of any shape and the factor of `rms_normalize`."""
    state_NBH = normal(2, ROWS, UNITS, device=device).relu()
    values_NBK, scale_NB1 = judge(goodness, state_NBH)
    for kind in range(2):
        torch.testing.assert_close(values_NBK[kind], goodness.value(state_NBH[kind]), **EXACT)
    torch.testing.assert_close(state_NBH * scale_NB1, rms_normalize(state_NBH), **EXACT)
    torch.testing.assert_close(mean_over_blocks(goodness, state_NBH), values_NBK.mean(dim=-1), **EXACT)


def linear(features, bias=True):
    torch.manual_seed(3)
    module = nn.Linear(features, UNITS, bias).double()
    if bias:
        nn.init.normal_(module.bias)
    return module


def own():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, UNITS, bias=False)).double()


def frozen():
    module = own()
    module[0].weight.requires_grad_(False)
    return module


def symbols(places, device):
    return torch.randint(SYMBOLS, (ROWS, places), generator=torch.Generator().manual_seed(5)).to(device)


def features(count, device):
    return normal(ROWS, count, device=device, seed=6)


def fields():
    """Two places of three units, each of which reads a square of a map of 2x4."""
    local = LocalLinear((2, 4), 3, kernel=2, stride=2).double()
    nn.init.normal_(local.bias)
    return local


def overlapping():
    """Six places of one unit, each of which reads the nine around its own, beyond the border too."""
    local = LocalLinear((2, 3), 1, kernel=3, padding=1).double()
    nn.init.normal_(local.bias)
    return local


def columns(device):
    """Labels at inputs 1 to 4 of 6, each with a strength of its own."""
    return Columns(linear(6, bias=False).to(device), 1, normal(ROWS, SYMBOLS, device=device, seed=3))


def fast(device):
    """A memory of four keys for each row."""
    torch.manual_seed(0)
    keys = nn.Linear(3, SYMBOLS, bias=False).double().to(device)
    return FastWeights(keys, normal(ROWS, UNITS, SYMBOLS, device=device, seed=4))


# the source on a device, what it reads
SOURCES = {
    "dense": (lambda device: Dense(linear(3).to(device), torch.float64), lambda d: features(3, d)),
    "dense, read once": (lambda device: Dense(linear(3).to(device), torch.float64, again=False), lambda d: features(3, d)),
    "dense without a bias": (lambda device: Dense(linear(3, bias=False).to(device), torch.float64), lambda d: features(3, d)),
    "module": (lambda device: Source(own().to(device)), lambda d: features(3, d)),
    "module, a part of it frozen": (lambda device: Source(frozen().to(device)), lambda d: features(3, d)),
    "local fields": (lambda device: Local(fields().to(device), torch.float64), lambda d: features(8, d)),
    "tiles of fields": (lambda device: Tiled(overlapping().to(device), torch.float64), lambda d: features(6, d)),
    "fast weights": (fast, lambda d: features(3, d)),
    "label in the input": (lambda device: columns(device), lambda d: symbols(1, d)),
    "label": (lambda device: LookUp(linear(SYMBOLS, bias=False).to(device), SYMBOLS), lambda d: symbols(1, d)),
    "window": (lambda device: LookUp(linear(3 * SYMBOLS).to(device), SYMBOLS), lambda d: symbols(3, d)),
    "beginning of a window": (lambda device: LookUp(linear(3 * SYMBOLS).to(device), SYMBOLS), lambda d: symbols(2, d)),
    "end of a window": (lambda device: LookUp(linear(3 * SYMBOLS).to(device), SYMBOLS, first=2), lambda d: symbols(1, d)),
}  # fmt: skip


@ON_EVERY_DEVICE
@pytest.mark.parametrize(("make", "reads"), SOURCES.values(), ids=SOURCES)
class TestSources:
    def test_the_drive_is_the_plain_one(self, make, reads, device):
        """`drive` leaves the bias out where the source has it apart, adds what is given, and changes nothing."""
        source, rows = make(device), reads(device)
        before, plain_KH = rows.clone(), source.plain(rows).detach()
        for outer in (None, normal(UNITS, device=device, seed=7), normal(ROWS, UNITS, device=device, seed=8)):
            kept = None if outer is None else outer.clone()
            drive_KH = source.drive(rows, outer)
            expected = plain_KH if source.bias is None else plain_KH - source.bias
            torch.testing.assert_close(drive_KH, expected if outer is None else expected + outer, **EXACT)
            assert not drive_KH.requires_grad
            drive_KH.fill_(0)  # a new tensor: nothing else changes
            assert outer is None or torch.equal(outer, kept)
        assert torch.equal(rows, before)
        torch.testing.assert_close(source.plain(rows).detach(), plain_KH, rtol=0, atol=0)

    def test_the_gradients_are_those_of_the_plain_drive(self, make, reads, device):
        source, rows = make(device), reads(device)
        deltas_KH = normal(ROWS, UNITS, device=device, seed=9)
        found = source.gradients(deltas_KH, rows)
        if source.bias is not None:
            found = [*found, deltas_KH.sum(dim=0)]  # the last, which is taken once for all iterations
        parameters = source.parameters()
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        plain = iter(torch.autograd.grad(source.plain(rows), learning, deltas_KH, materialize_grads=True))
        for parameter, gradient in zip(parameters, found, strict=True):
            if parameter.requires_grad:
                torch.testing.assert_close(gradient, next(plain), **EXACT)
            else:
                assert gradient is None


@pytest.mark.parametrize(
    ("module", "kind"),
    [(linear(3), Dense), (own(), Source), (nn.Identity(), Source), (fields(), Local), (overlapping(), Tiled)],
)
def test_the_fastest_source_for_a_module(module, kind):
    """A subclass of a linear layer may compute something else: it is taken for any module."""

    class Other(nn.Linear):
        pass

    assert type(source_of(module, torch.float64)) is kind
    assert type(source_of(Other(3, 2), torch.float64)) is Source
