"""Two layers that learn on two processes end with the weights of one process: 1e-10 apart at most, in float64."""

import pytest
import torch
from pipeline_layers import Task, optimizer_of, parameters_of, train_together

from ffrecur.core import reference
from ffrecur.core.learning import Learning


@pytest.mark.slow
def test_weights_are_those_of_the_plain_form_in_one_process():
    task = Task(features=7, hidden=(6, 5), classes=3, batch=4, iterations=5, steps=3, dtype=torch.float64)
    net, learning = task.net(), Learning(iterations=task.iterations)
    start = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = optimizer_of([*parameters_of(net, 0), *parameters_of(net, 1)])
    for images, labels, negatives in task.batches():
        optimizer.zero_grad()
        reference.local_learning(net, images, labels, negatives, learning, None).loss.backward()
        optimizer.step()
    together, _ = train_together(task)
    for layer, parameters in enumerate(together):
        for found, expected in zip(parameters, parameters_of(net, layer), strict=True):
            torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-10)
    moved = [not torch.equal(before, now) for before, now in zip(start, net.parameters(), strict=True)]
    assert sum(moved) == 6  # two matrices and a bias of each layer; the head was left out
