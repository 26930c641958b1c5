"""scripts/study/predicting.py: exactly all of a drive is explained, exactly nothing, and by which of the controls."""

import doctest

import numpy as np
import predicting
import pytest
import torch
from making import drawn_net

import ffrecur
from ffrecur.errors import UserError

CLIPS, LABELS = torch.rand(3, 9, 4, generator=torch.Generator().manual_seed(0)).double(), torch.arange(9) % 3


def cancelling_net(scale):
    """Layers that show what they read; input from above is `scale` times that from below."""
    net = ffrecur.RecurrentNet(4, [4, 4], 3, damping=0.0).double()
    for linear in (*net.bottom_up, *net.top_down):
        torch.nn.init.zeros_(linear.weight)
    for linear in net.bottom_up:
        torch.nn.init.eye_(linear.weight)
    net.top_down[0].weight.data = scale * torch.eye(4).double()
    return net


@pytest.mark.parametrize("scale", [-0.5, -0.9, 2.0])
def test_what_stands_still_is_predicted_exactly(scale):
    still = CLIPS[:1].expand(5, -1, -1)
    found = predicting.explained_by_layer(cancelling_net(scale), still, LABELS)
    assert found["own"][0] == pytest.approx((1, 1 / scale), abs=1e-6)
    assert found["another clip's"][0].share < 0.5
    assert found["own"][1] == (0, 0), "nothing comes from a label without weights"


def test_drives_at_right_angles_explain_nothing():
    """The image varies in two units alone; what comes from above varies in the two others."""
    net, still = cancelling_net(1.0), CLIPS[:1].expand(4, -1, -1).clone()
    still[..., 2:] = 0
    net.bottom_up[1].weight.data[2:] = 0
    net.top_down[0].weight.data = torch.eye(4).double().roll(2, dims=0)
    assert predicting.explained_by_layer(net, still, LABELS)["own"][0].share == 0


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_drives_are_those_that_the_net_adds(damping):
    net, videos = drawn_net(sign=-1, damping=damping), CLIPS.float()
    images = net.image_row(videos)
    states = net.bottom_up_pass(videos)
    states = net.step(states, videos[0], LABELS)
    for frame, (below, above) in enumerate(predicting.drives(net, videos, LABELS), start=1):
        expected = net.step(states, videos[frame], LABELS)
        for layer, (b, d) in enumerate(zip(below, above, strict=True)):
            mixed = damping * states[layer] + (1 - damping) * torch.relu(b + d)
            assert torch.allclose(mixed, expected[layer], atol=1e-5)
        assert torch.allclose(below[0], net.bottom_up[0](images[frame]), atol=1e-5), "of the next frame"
        states = expected
    assert frame == 2


def test_explained_is_the_best_single_scale():
    torch.manual_seed(0)
    pairs = [(torch.randn(6, 4).double(), torch.randn(6, 4).double()) for _ in range(3)]
    share, scale = predicting.explained(iter(pairs))
    b, d = (torch.cat([each - each.mean(dim=0) for each in part]).flatten() for part in zip(*pairs, strict=True))

    def left(s):
        return float(1 - ((b - s * d) ** 2).sum() / (b**2).sum())

    assert share == pytest.approx(left(scale))
    assert share > max(left(scale - 0.01), left(scale + 0.01))
    assert scale == pytest.approx(float(torch.linalg.lstsq(d[:, None], b[:, None]).solution))


def test_what_is_the_same_for_all_clips_explains_nothing():
    b, same = torch.randn(5, 3), torch.ones(5, 3)
    assert predicting.explained(iter([(b, same)])) == predicting.explained(iter([(same, b)])) == (0, 0)


def test_the_top_layer_hears_the_label_alone():
    """Every clip hears what the other clips of its label hear."""
    found = predicting.explained_by_layer(drawn_net(), CLIPS.float(), LABELS)
    assert found["own"][1] == pytest.approx(found["the label's"][1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Shift", "scene is Shift, but must be Aperture or SweepingBar or MovingClutter or NoisyFrames"),
        ("Aperture=x", "scene is .Aperture=x., whose pixels must be a whole number"),
        ("SweepingBar=0", "SweepingBar.pixels is 0"),
    ],
)
def test_scenes_that_there_are_not(text, told):
    with pytest.raises(UserError, match=told):
        predicting.scene_of(text)


def test_labels_are_those_of_the_net(tmp_path):
    """Its classes are a, b and c; the images are of b and c alone, or of classes that it does not know."""
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 6), dtype=np.uint8)
    for name, classes in (("known", "bc"), ("unknown", "bd")):
        labels = np.array([classes[number % 2] for number in range(40)])
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    net = ffrecur.RecurrentNet(30, (4, 4), 3)
    net.class_names = ("a", "b", "c")

    def labels_of(name, net):
        return predicting.videos_of(
            str(tmp_path / f"{name}.npz"), predicting.scene_of("Aperture=3"), "validation", net=net
        ).labels

    assert set(labels_of("known", net).tolist()) == {1, 2}
    assert set(labels_of("known", None).tolist()) == {0, 1}
    with pytest.raises(UserError, match="d"):
        labels_of("unknown", net)
    with pytest.raises(UserError, match="data.source has images of 30 values, but the net reads 12"):
        labels_of("known", ffrecur.RecurrentNet(12, (4, 4), 3))
    with pytest.raises(UserError, match=r"image_shape of the net is \[6, 5\], but the data has \[5, 6\]"):
        predicting.videos_of(
            str(tmp_path / "known.npz"), predicting.scene_of("Aperture=3"), "test", net=net, image_shape=[6, 5]
        )


def test_examples():
    assert doctest.testmod(predicting).failed == 0
