"""The benchmark of two processes: what it counts is so, and it runs."""

import pytest
import torch
from bench_processes import count_products, count_weights, main, predict
from torch.utils.flop_counter import FlopCounterMode

from ffrecur import RecurrentNet


@pytest.mark.parametrize("hidden", [[30], [40, 30], [20, 30, 40]])
def test_weights_are_counted(hidden):
    net = RecurrentNet(50, hidden, 4)
    assert count_weights(hidden, features=50, classes=4) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("hidden", [[200, 300], [200, 300, 400]])
def test_multiply_adds_are_those_of_the_engine_but_for_a_tenth(hidden):
    net, labels = RecurrentNet(50, hidden, 4).double(), torch.arange(8) % 4  # oneDNN's products would not be counted
    with FlopCounterMode(display=False) as counter:
        net.local_loss(torch.rand(8, 50), labels, (labels + 1) % 4, iterations=8)
    assert count_products(hidden, batch=8, iterations=8, features=50) == pytest.approx(
        counter.get_total_flops() / 2, rel=0.1
    )


def test_the_prediction_has_the_right_limits():
    assert predict(10**6, 10**9, 4, bytes_a_second=1e30, products_a_second=1e9) == pytest.approx(4)
    assert predict(10**6, 10**9, 2, bytes_a_second=4e6, products_a_second=1e9) == pytest.approx(1 / 1.5)


@pytest.mark.slow
def test_it_measures_and_prints_nothing_else(capfd):
    main(["--hidden", "8", "8", "--batch", "10", "--steps", "3", "--repeats", "1"])
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["net", "0.0", "1", "2", "ratio"]
    assert err == ""
