"""What goodness predicts: at its optimum the true probabilities, for any number of negatives and however poor the head is."""

import math
from functools import partial

import pytest
import torch

from ffrecur import CharNet, StreamNet
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import objective_of
from ffrecur.lit import stream
from ffrecur.lit.character import LAST_CHARACTER, NOISE, drawn, drawn_by, draws_of, noise_of

COUNTS = torch.tensor([[8, 4, 3, 1], [1, 9, 2, 4], [5, 5, 1, 5], [2, 1, 12, 1]])  # of what follows each symbol, of 16
TRUE = COUNTS.double() / 16
HEAD = torch.tensor([2.0, 0.5, -1.0, 0.0])  # it never learns
TEMPERATURE = 0.5
UPDATES = 100


def bits_lost(logits):
    """Kullback-Leibler divergence of the true probabilities from those predicted, in bits a symbol."""
    return (TRUE * (TRUE.log() - torch.log_softmax(logits.detach(), dim=1))).sum(dim=1).mean().item() / math.log(2)


@pytest.mark.parametrize(
    ("negatives", "count", "objective", "most"),
    [
        ("teacher_forcing", 1, "paired", 0.01),
        ("teacher_forcing", 3, "paired", 0.01),
        ("uniform", 1, "paired", 0.01),
        ("uniform", 2, "paired", 0.01),
        ("teacher_forcing", 1, "softmax", 0.01),
        ("teacher_forcing", 3, "sampled_softmax", 0.01),
        ("teacher_forcing", 2, "sampled_softmax", 0.02),  # one of two stands for both: the logarithm of a sum is biased
    ],
)
def test_goodness_at_its_optimum_gives_the_true_probabilities(negatives, count, objective, most):
    """A wide layer is shown what follows what in exactly these proportions; noise is left in the negatives alone."""
    torch.manual_seed(0)
    chosen = objective_of(objective, temperature=TEMPERATURE)
    draw, draws = drawn_by(negatives, count, chosen), draws_of(negatives, count, chosen)
    net = CharNet("abcd", 2, (24,), goodness_weight=1 / TEMPERATURE, noise=noise_of(negatives, chosen)).double()
    net.head.bias.data.copy_(HEAD)
    optimizer = torch.optim.Adam(net.hidden.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, UPDATES)
    pairs = torch.arange(16).repeat_interleave(COUNTS.flatten()).repeat(4)
    last, following = pairs // 4, pairs % 4
    learning, source = Learning(objective=chosen, iterations=1), torch.Generator().manual_seed(0)
    for _ in range(UPDATES):
        contexts = torch.stack([torch.randint(4, last.shape, generator=source), last], dim=1)
        noise = torch.rand(len(last), 4 * draws, generator=source)
        optimizer.zero_grad()
        net.local_learning(contexts, following, partial(drawn, draw, contexts, noise), learning).loss.backward()
        optimizer.step()
        schedule.step()
    windows = torch.stack([torch.zeros(4, dtype=torch.long), torch.arange(4)], dim=1)
    assert bits_lost(net.logits(windows)) > 0.5
    assert bits_lost(net.score(windows)) < most


@pytest.mark.parametrize("count", [1, 3])
def test_so_does_that_of_a_stream(count):
    """The same, after one character of each stream, which the carried state holds."""
    torch.manual_seed(0)
    net = StreamNet("abcd", (24,), 0.0, goodness_weight=1 / TEMPERATURE, noise=NOISE["teacher_forcing"]).double()
    net.head.bias.data.copy_(HEAD)
    optimizer = torch.optim.Adam([*net.bottom_up.parameters(), *net.lateral.parameters()], lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, UPDATES)
    pairs = torch.arange(16).repeat_interleave(COUNTS.flatten()).repeat(4)
    last, following = pairs // 4, pairs % 4
    learning = Learning(objective=objective_of("paired", temperature=TEMPERATURE), iterations=1)
    draw, source = partial(LAST_CHARACTER["teacher_forcing"], count=count), torch.Generator().manual_seed(0)
    for _ in range(UPDATES):
        noise = torch.rand(len(last), 4 * count, generator=source)
        optimizer.zero_grad()
        state = net.step(net.first_state(len(last)), last)
        learned, _ = net.local_learning(state, following, partial(stream.drawn, draw, noise), learning)
        assert learned.negatives.shape == (len(last), count)
        learned.loss.backward()
        net.head.zero_grad()
        optimizer.step()
        schedule.step()
    state = net.step(net.first_state(4), torch.arange(4))
    assert bits_lost(net.logits(state)) > 0.5
    assert bits_lost(net.score(state)) < 0.01
