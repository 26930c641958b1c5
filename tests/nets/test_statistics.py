"""Normalisation of channels: means and deviations by hand, in which images, and where they are kept."""

import math

import numpy as np
import pytest
import torch

import ffrecur
from ffrecur import UserError
from ffrecur.core.learning import Learning
from ffrecur.data.clips import clips_of
from ffrecur.data.mapped import MappedImages
from ffrecur.nets import statistics
from ffrecur.nets.statistics import ChannelStatistics


def test_means_and_deviations_of_bytes_by_hand():
    """Two images of two pixels in two channels: 0, 51, 102, 255 and 10, 10, 10, 10 of 255."""
    images = torch.tensor([[0, 10, 51, 10], [102, 10, 255, 10]], dtype=torch.uint8)
    found = ChannelStatistics(4)
    found.learn(images, channels=2)
    mean = 408 / 4 / 255  # 0.4
    deviation = math.sqrt((102**2 + 51**2 + 0 + 153**2) / 4) / 255
    np.testing.assert_allclose(found.mean, [mean, 10 / 255, mean, 10 / 255], rtol=1e-6)
    np.testing.assert_allclose(found.deviation, [deviation, 1, deviation, 1], rtol=1e-6)
    as_numbers = found(images / 255)
    np.testing.assert_allclose(as_numbers[:, ::2].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(as_numbers[:, ::2].square().mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(as_numbers[:, 1::2], 0, atol=1e-7)


def test_numbers_in_0_to_1_are_taken_as_they_are():
    images = torch.randint(256, (5, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    one, two = ChannelStatistics(12), ChannelStatistics(12)
    one.learn(images, channels=3)
    two.learn(images.double() / 255, channels=3)
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.deviation, two.deviation)
    by_channel = images.double().reshape(-1, 3) / 255
    torch.testing.assert_close(one.mean[:3].double(), by_channel.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(one.deviation[3:6].double(), by_channel.std(0, correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("chunk", [1, 2, 5, 7])
def test_chunks_change_nothing(chunk, monkeypatch):
    images = torch.randint(256, (7, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    whole, parts = ChannelStatistics(6), ChannelStatistics(6)
    whole.learn(images, channels=3)
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    parts.learn(images, channels=3)
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-7, atol=0)
    torch.testing.assert_close(parts.deviation, whole.deviation, rtol=1e-7, atol=0)


def test_frames_of_videos_count_as_images():
    """Clips `(N, T, D)`; a net's video `(T, B, D)` is normalised frame by frame."""
    clips = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(1))
    of_clips, of_frames = ChannelStatistics(6), ChannelStatistics(6)
    of_clips.learn(clips, channels=3)
    of_frames.learn(clips.flatten(0, 1), channels=3)
    assert torch.equal(of_clips.mean, of_frames.mean)
    assert torch.equal(of_clips.deviation, of_frames.deviation)
    assert torch.equal(of_clips(clips)[2, 3], of_frames(clips[2, 3]))


def test_before_it_has_learned_images_are_left_alone():
    images = torch.rand(3, 6)
    assert torch.equal(ChannelStatistics(6)(images), images)
    net, plain = (ffrecur.RecurrentNet(6, [4], 3, standardize_images=on) for on in (True, False))
    net.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(net.score(images), plain.score(images))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_arrays_are_taken_as_tensors_are(kind):
    images = np.random.default_rng(1).integers(0, 256, (5, 6)).astype(kind)
    images = images if kind is np.uint8 else images / 255
    by_array, by_tensor = ChannelStatistics(6), ChannelStatistics(6)
    by_array.learn(images, channels=3)
    by_tensor.learn(torch.from_numpy(images), channels=3)
    assert torch.equal(by_array.mean, by_tensor.mean)
    assert torch.equal(by_array.deviation, by_tensor.deviation)


def test_channels_that_are_the_same_everywhere_keep_the_deviation_1():
    """Of every byte, though the mean of its squares may differ from the square of its mean in the last bit."""
    images = torch.arange(256).expand(999, -1).to(torch.uint8)
    found = ChannelStatistics(256)
    found.learn(images, channels=256)
    assert torch.equal(found.deviation, torch.ones(256))
    assert found(images[:1] / 255).abs().max() < 1e-6


def test_what_layer_1_reads_of_an_image():
    """`rms_normalize((image - mean) / deviation)`; centring comes after it."""
    net = ffrecur.RecurrentNet(4, [3], 3, standardize_images=True, center_images=True).double()
    net.statistics.mean.copy_(torch.tensor([0.1, 0.2, 0.1, 0.2]))
    net.statistics.deviation.copy_(torch.tensor([2.0, 4.0, 2.0, 4.0]))
    row = torch.tensor([0.5, 1.0, 2.1, -0.6], dtype=torch.float64)
    expected = np.array([0.2, 0.2, 1.0, -0.2])
    expected -= expected.mean()
    expected /= np.sqrt((expected**2).mean())
    np.testing.assert_allclose(net.image_row(row[None])[0], expected, rtol=1e-6)
    np.testing.assert_allclose(net.image_row(row.expand(2, 1, 4))[1, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(7, 6), (7, 3, 6)])
def test_images_may_lie_on_the_disk_or_be_videos_and_are_read_in_parts(shape, monkeypatch):
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    store = MappedImages(images.reshape(-1, 6).numpy())
    lazy = store if len(shape) == 2 else clips_of(store, [3] * 7)
    whole, parts = ChannelStatistics(6), ChannelStatistics(6)
    whole.learn(images, 3)
    monkeypatch.setattr(statistics, "CHUNK", 2 * images[0].numel())
    parts.learn(lazy, 3)
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-6, atol=0)
    expected = (images.double() / 255).reshape(-1, 3).mean(0).repeat(2)
    torch.testing.assert_close(parts.mean.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("images", "channels", "sentence"),
    [
        (torch.rand(2, 6), 4, "channels is 4, but must be a divisor of the 6 features"),
        (torch.rand(2, 6), 0, "channels is 0, but must be a divisor of the 6 features"),
        (torch.rand(0, 6), 3, "images is (0, 6), but must be at least one"),
        (
            torch.rand(2, 3),
            3,
            "images have the shape (2, 3), but the net reads (batch, 6) or, for video, (iterations, batch, 6)",
        ),
        (
            torch.full((2, 6), 255.0),
            3,
            "images reach 255, but must be uint8, or numbers from 0 to 1: divide them by what is white in them",
        ),
        (
            np.full((2, 6), 255),
            3,
            "images reach 255, but must be uint8, or numbers from 0 to 1: divide them by what is white in them",
        ),
        (torch.full((2, 6), math.nan), 3, "images have values that are NaN or infinite"),
        (np.array([["a"] * 6]), 3, "images are an array of text, not of numbers"),
    ],
)
def test_what_it_cannot_learn_from_is_refused_in_a_sentence(images, channels, sentence):
    with pytest.raises(UserError) as refused:
        ChannelStatistics(6).learn(images, channels)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "make",
    [
        lambda on: ffrecur.RecurrentNet(6, [4, 3], 3, standardize_images=on),
        lambda on: ffrecur.FeedForwardNet(6, [4, 3], 3, standardize_images=on),
        lambda on: ffrecur.BackpropNet(6, [4], 3, standardize_images=on),
    ],
    ids=["recurrent", "feed-forward", "backpropagation"],
)
class TestNets:
    def test_it_is_kept_with_the_weights(self, make, tmp_path):
        net, images = make(True), torch.rand(5, 6)
        net.statistics.learn(images, channels=3)
        assert set(net.state_dict()) - set(make(False).state_dict()) == {"statistics.mean", "statistics.deviation"}
        assert not any(name.startswith("statistics") for name, _ in net.named_parameters())
        ffrecur.save(net, tmp_path / "net")
        again = ffrecur.load(tmp_path / "net")
        assert again.settings()["standardize_images"] is True
        assert torch.equal(again.statistics.mean, net.statistics.mean)
        assert torch.equal(again.statistics.deviation, net.statistics.deviation)
        assert torch.equal(again(images), net.eval()(images))

    def test_without_it_nothing_is_new(self, make):
        """Neither in the state nor in the settings, so that files of earlier versions fit."""
        net = make(False)
        assert net.statistics is None
        assert not any("statistics" in name for name in net.state_dict())
        assert "standardize_images" not in net.settings()

    def test_bytes_are_read_as_what_they_stand_for(self, make):
        net = make(True)
        torch.nn.init.normal_(net.head.weight)
        images = torch.randint(256, (5, 6), dtype=torch.uint8)
        net.statistics.learn(images, channels=3)
        score = net if isinstance(net, ffrecur.BackpropNet) else net.score
        assert torch.allclose(score(images), score(images / 255), atol=1e-6)


def test_harder_images_of_bytes_are_those_of_what_they_stand_for():
    net, learning = ffrecur.RecurrentNet(6, [4, 3], 3, standardize_images=True), Learning(iterations=3)
    images, labels, wrong = torch.randint(256, (3, 6), dtype=torch.uint8), torch.arange(3), torch.tensor([1, 2, 0])
    net.statistics.learn(images, channels=3)
    moved = [net.adversarial_images(each, labels, wrong, learning, 0.1) for each in (images, images / 255)]
    assert torch.allclose(*moved, atol=1e-6)
