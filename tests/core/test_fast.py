"""Fast weights against a plain loop: what is written, what is recalled, and what learns."""

import torch
from torch import nn

from ffrecur.core.fast import FastWeights, unit, written

STREAMS, UNITS, FEATURES, KEYS = 3, 5, 4, 2
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def linear():
    torch.manual_seed(0)
    return nn.Linear(FEATURES, KEYS, bias=False).double()


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_memory_is_the_sum_over_all_pairs_and_fades():
    """`F_t k = rate * sum over s of decay**(t - s) * v_s (k_s . k)`: written out, for each stream alone."""
    decay, rate, steps = 0.8, 0.3, 6
    values, keys = drawn(steps, STREAMS, UNITS), unit(drawn(steps * STREAMS, KEYS, seed=1)).view(steps, STREAMS, KEYS)
    memory = torch.zeros(STREAMS, UNITS, KEYS, dtype=torch.float64)
    for value, key in zip(values, keys, strict=True):
        before = memory.clone()
        after = written(memory, value, key, decay, rate)
        assert torch.equal(memory, before), "it is not written in place"
        assert after.shape == memory.shape, "nor does it grow"
        memory = after
    asked = unit(drawn(STREAMS, KEYS, seed=2))
    expected = torch.zeros(STREAMS, UNITS, dtype=torch.float64)
    for stream in range(STREAMS):
        for step in range(steps):
            match = sum(keys[step, stream, j] * asked[stream, j] for j in range(KEYS))
            expected[stream] += rate * decay ** (steps - 1 - step) * match * values[step, stream]
    torch.testing.assert_close(FastWeights(linear(), memory).recalled(asked), expected, **EXACT)


def test_a_key_recalls_the_rate_of_what_it_has_just_written():
    """Whatever the length of the row that it is made of: decay and rate mean the same for every layer."""
    source = FastWeights(linear(), torch.zeros(STREAMS, UNITS, KEYS, dtype=torch.float64))
    rows, value = drawn(STREAMS, FEATURES), drawn(STREAMS, UNITS, seed=1)
    for scale in (1.0, 1000.0):
        after = written(source.memory_BHJ, value, source.keys(scale * rows), decay=0.9, rate=0.25)
        recalled = FastWeights(source.linear, after).drive(rows)
        torch.testing.assert_close(recalled, 0.25 * value, rtol=1e-6, atol=0)


def test_by_the_delta_rule_the_last_value_of_each_key_is_recalled_whole():
    """Keys at right angles, rate 1, no decay: the sum of all pairs recalls all values of a key, the delta rule the last."""
    keys = torch.eye(KEYS, dtype=torch.float64)[:, None].expand(-1, STREAMS, -1)
    values = drawn(3, KEYS, STREAMS, UNITS)
    added = corrected = torch.zeros(STREAMS, UNITS, KEYS, dtype=torch.float64)
    for value in values:
        for one, key in zip(value, keys, strict=True):
            added = written(added, one, key, decay=1.0, rate=1.0)
            recalled = FastWeights(linear(), corrected).recalled(key)
            corrected = written(corrected, one, key, decay=1.0, rate=1.0, recalled_BH=recalled)
    torch.testing.assert_close(corrected, values[-1].permute(1, 2, 0), **EXACT)
    torch.testing.assert_close(added, values.sum(dim=0).permute(1, 2, 0), **EXACT)


def test_by_the_delta_rule_keys_that_are_alike_do_not_disturb_each_other_for_long():
    """Independent keys that are not at right angles, shown again and again: each recalls its own value and no other's."""
    keys, values = unit(drawn(KEYS * STREAMS, KEYS, seed=3)).view(KEYS, STREAMS, KEYS), drawn(KEYS, STREAMS, UNITS)
    memory = torch.zeros(STREAMS, UNITS, KEYS, dtype=torch.float64)
    for _ in range(2000):
        for value, key in zip(values, keys, strict=True):
            memory = written(memory, value, key, 1.0, 0.5, FastWeights(linear(), memory).recalled(key))
    for value, key in zip(values, keys, strict=True):
        torch.testing.assert_close(FastWeights(linear(), memory).recalled(key), value, rtol=1e-6, atol=1e-8)


def test_a_state_of_zeros_writes_and_recalls_nothing():
    memory, rows = drawn(STREAMS, UNITS, KEYS), torch.zeros(STREAMS, FEATURES, dtype=torch.float64)
    source = FastWeights(linear(), memory)
    assert (source.drive(rows) == 0).all()
    assert torch.equal(written(memory, drawn(STREAMS, UNITS), source.keys(rows), decay=1.0, rate=0.5), memory)
    assert source.gradients(drawn(STREAMS, UNITS), rows)[0].isfinite().all()


def test_gradients_are_those_of_autograd_and_the_memory_is_a_constant():
    """For several kinds of the same streams, one under another; the plain drive is the other one."""
    memory, rows = drawn(STREAMS, UNITS, KEYS), drawn(2 * STREAMS, FEATURES, seed=1)
    source, deltas = FastWeights(linear(), memory), drawn(2 * STREAMS, UNITS, seed=2)
    plain = source.plain(rows)
    torch.testing.assert_close(source.drive(rows, deltas), plain.detach() + deltas, **EXACT)
    for stream in range(STREAMS):
        for kind in range(2):
            row = kind * STREAMS + stream
            torch.testing.assert_close(plain[row].detach(), memory[stream] @ source.keys(rows)[row], **EXACT)
    (plain * deltas).sum().backward()
    torch.testing.assert_close(source.gradients(deltas, rows)[0], source.linear.weight.grad, **EXACT)
