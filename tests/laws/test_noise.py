"""Noise is drawn on the CPU, by the same functions for every device: a seed means the same everywhere."""

import pytest
import torch
from families import NETS
from making import windows_of
from problems import DEVICES

from ffrecur.negatives.labels import hard_labels, uniform_labels
from ffrecur.negatives.windows import teacher_forced
from ffrecur.seeding import seeded_generator

# The device without values stands for a GPU where none is: a draw on it would leave the CPU's generator where it was.
PRESENT = [*(name for name, present in DEVICES.items() if present), "meta"]
DROPOUT = (0.3, 0.4)


def on(device, family):
    net = family.net().float() if device == "mps" else family.net()
    return net.to(device)


@pytest.mark.parametrize("family", NETS.values(), ids=NETS)
@pytest.mark.parametrize("device", PRESENT)
def test_dropout_masks(family, device):
    """Values, and where the generator stands afterwards: all that is drawn next is the same too."""
    nets, sources = (family.net(), on(device, family)), (seeded_generator(1, 2), seeded_generator(1, 2))
    expected, found = (family.masks(net, 4, DROPOUT, source) for net, source in zip(nets, sources, strict=True))
    assert torch.equal(sources[0].get_state(), sources[1].get_state())
    assert not torch.equal(sources[0].get_state(), seeded_generator(1, 2).get_state())
    for one, two in zip(expected, found, strict=True):
        assert two.device.type == device
        assert one.shape == two.shape
        if device != "meta":
            torch.testing.assert_close(two.cpu().double(), one, rtol=1e-6, atol=0)


@pytest.mark.parametrize("family", NETS.values(), ids=NETS)
def test_masks_do_not_depend_on_the_precision(family):
    nets = family.net(), family.net().float()
    one, two = (family.masks(net, 4, DROPOUT, seeded_generator(3)) for net in nets)
    for mask, other in zip(one, two, strict=True):
        assert torch.equal(mask == 0, other == 0)
        assert 0 < (mask == 0).sum() < mask.numel()


@pytest.mark.parametrize("draw", [hard_labels, uniform_labels])
@pytest.mark.parametrize("device", [device for device in PRESENT if device != "meta"])
def test_negative_labels_are_a_function_of_the_noise(draw, device):
    """The same on every device, and in every call, whatever PyTorch's global generator has been through."""
    source = seeded_generator(5)
    logits_BC, labels_B = torch.randn(40, 6, generator=source), torch.arange(40) % 6
    noise_BC = torch.rand(40, 6, generator=source)
    expected = draw(logits_BC, labels_B, noise_BC)
    torch.rand(3)
    found = draw(logits_BC.to(device), labels_B.to(device), noise_BC.to(device))
    assert torch.equal(found.cpu(), expected)
    assert not (expected == labels_B).any()
    assert not torch.equal(draw(logits_BC, labels_B, noise_BC.flip(0)), expected)


@pytest.mark.parametrize("device", [device for device in PRESENT if device != "meta"])
def test_negative_windows_are_drawn_from_the_generator_on_the_cpu(device):
    net = NETS["character"].net()
    contexts_BW, next_B = windows_of(net, 40), torch.arange(40) % 4
    logits_BV = torch.randn(40, 4, generator=seeded_generator(6))
    expected = teacher_forced(contexts_BW, next_B, logits_BV, seeded_generator(7))
    found = teacher_forced(contexts_BW.to(device), next_B.to(device), logits_BV.to(device), seeded_generator(7))
    assert torch.equal(found.cpu(), expected)
    noise_BV = torch.rand(40, 4, generator=seeded_generator(7))
    assert torch.equal(teacher_forced(contexts_BW, next_B, logits_BV, noise_BV=noise_BV), expected)
