"""The corruptions of scripts/study/corruption.py."""

import corruption
import pytest
import torch

from ffrecur import BackpropNet, RecurrentNet


def generator():
    return torch.Generator().manual_seed(0)


def test_level_0_changes_nothing():
    images = torch.rand(3, 784)
    for corrupt in (corruption.noisy, corruption.occluded):
        assert torch.equal(corrupt(images, 0, generator()), images)
    assert torch.equal(corruption.drifting(images, 0, generator()), images.expand(5, 3, 784))


def test_noise_has_its_deviation_and_stays_in_range():
    grey = torch.full((200, 784), 0.5)
    assert (corruption.noisy(grey, 0.1, generator()) - grey).std().item() == pytest.approx(0.1, rel=0.01)
    loud = corruption.noisy(grey, 2.0, generator())
    assert (loud.min().item(), loud.max().item()) == (0.0, 1.0)


def test_an_occlusion_is_one_black_square_wholly_inside():
    shown = corruption.occluded(torch.ones(50, 784), 6, generator()).view(50, 28, 28)
    assert ((1 - shown).sum(dim=(1, 2)) == 36).all()
    for image in shown:
        rows, columns = (image == 0).nonzero().unbind(1)
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (5, 5)
    assert len({tuple(image.flatten().tolist()) for image in shown}) > 40


def test_a_drifting_digit_is_in_its_place_at_frame_4():
    images = torch.zeros(20, 28, 28)
    images[:, 14, 14] = 1
    video = corruption.drifting(images.flatten(1), 2, generator()).view(5, 20, 28, 28)
    assert torch.equal(video[3], images)
    for frame, distance in ((0, 6), (1, 4), (2, 2), (4, 2)):
        places = (video[frame] == 1).nonzero()[:, 1:] - 14
        assert (places.abs().amax(dim=1) == distance).all()


def test_errors_by_hand():
    """A perceptron that always says 1 is wrong where the label is not 1; the nets see videos too."""
    recurrent, perceptron = RecurrentNet(784, (4, 3), 2), BackpropNet(784, (3,), 2)
    torch.nn.init.normal_(recurrent.head.weight)
    torch.nn.init.constant_(perceptron.head.bias[1:], 1.0)
    nets = corruption.classifiers(recurrent, perceptron)
    labels = torch.tensor([1, 1, 0, 1])
    found = corruption.measure(nets, torch.rand(4, 784), labels)
    for name, (_, _, levels) in corruption.CORRUPTIONS.items():
        assert found[name]["backpropagation"] == [0.25] * len(levels)
        assert len(found[name]["Forward-Forward, recurrent"]) == len(levels)
    assert len(corruption.draw(found).axes) == 3
    images = torch.rand(5, 4, 784)  # of a video, the frames' log-probabilities are averaged
    mean = torch.stack([torch.log_softmax(recurrent.one_pass_logits(frame), dim=1) for frame in images]).mean(dim=0)
    assert torch.equal(nets["its one-pass head"](images), mean.argmax(dim=1))
    assert torch.equal(nets["its one-pass head"](images[0]), recurrent.one_pass_logits(images[0]).argmax(dim=1))
