"""Laws of layers with several values of goodness: each block of units learns alone, and all of them are judged together."""

import pytest
import torch
from families import nets_that
from problems import Some, problems
from torch.nn import functional as F

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.goodness import MeanSquare


@problems(objectives=("logistic", "softmax", "own objective"), goodness=("two blocks", "own goodness of two values"))
@pytest.mark.parametrize("module", [engine, reference], ids=["engine", "reference"])
def test_every_block_learns_alone(problem, module):
    """Where one block alone has an objective, the gradients of all other units are 0, to the last bit."""
    batch = problem.batch()
    whole = problem.learn(batch, module)
    for block in range(problem.goodness.blocks):
        alone = problem.learn(batch, module, objective=Some(problem.objective, block=block))
        for name, gradient in alone.gradients.items():
            layer = problem.owner(name)
            units = None if layer is None else whole.net.hidden_features[layer]
            by_unit, expected = (unit_by_unit(each) for each in (gradient, whole.gradients[name]))
            if len(by_unit) != units:
                continue  # a module of one's own has parameters that belong to no unit
            inside = units_of(problem, block, units)
            torch.testing.assert_close(by_unit[inside], expected[inside], **problem.exact)
            assert 0 < inside.sum() < units
            assert (by_unit[~inside] == 0).all(), name


def unit_by_unit(gradient):
    """A row for each unit; local fields have their units place by place."""
    return gradient.flatten(0, 1) if gradient.ndim == 3 else gradient


def units_of(problem, block, units):
    """Which units of a layer a block judges: those on whose states it depends."""
    slopes = F.one_hot(torch.tensor([block]), problem.goodness.blocks).double()
    moved = problem.goodness.gradient(torch.ones(1, units, dtype=torch.float64), slopes)
    return moved[0].to(problem.device) != 0


@problems(nets=nets_that(lambda family: family.dropout is None), objectives=("logistic",), goodness=("two blocks",))
def test_the_goodness_of_blocks_is_their_mean(problem):
    """Which is that of the whole layer, as the blocks are of one size."""
    inputs, net = problem.batch().inputs, problem.net()
    whole = problem.put(problem.family.net(goodness=MeanSquare(), sign=problem.sign))
    found, expected = problem.family.judged(net, inputs), problem.family.judged(whole, inputs)
    torch.testing.assert_close(found, expected, **problem.exact)
