"""The convolutional baseline: what it computes, what it refuses, and the whole way from `fit` to `predict` and export."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from making import check_same_net, drawn, write_checkpoint, write_idx_folder
from running import At, boom, check_same_run, fit_with, loaded, only_run, rows, run
from torch import nn

import ffrecur
from ffrecur import BackpropNet, UserError
from ffrecur.commands.export import main as export
from ffrecur.lit import BackpropModule
from ffrecur.nets.convolution import pooled_shape, smallest_side

SHAPES = [  # of images, channels, kernel, height and width of the last maps
    ((28, 28), [32, 64], 5, (4, 4)),
    ((32, 32, 3), [4, 5], 3, (6, 6)),
    ((13, 9), [3, 2], 2, (2, 1)),  # 12x8, 6x4; 5x3, 2x1: an odd row and an odd column are left out
    ((7, 11, 3), [4], 4, (2, 4)),
    ((5, 6), [2, 3], 1, (1, 1)),
    ((10, 10, 1), [2], 10, None),  # one place is left, too few to pool
]


@pytest.mark.parametrize(("shape", "channels", "kernel", "expected"), SHAPES)
def test_sizes_of_the_maps(shape, channels, kernel, expected):
    """As PyTorch's own layers make them."""
    features = int(np.prod(shape))
    if expected is None:
        with pytest.raises(UserError, match="channels is"):
            BackpropNet(features, [5], 3, channels=channels, kernel=kernel, image_shape=shape)
        return
    net = BackpropNet(features, [5], 3, channels=channels, kernel=kernel, image_shape=shape)
    assert pooled_shape(shape, channels, kernel) == expected
    assert net.hidden[0].in_features == channels[-1] * expected[0] * expected[1]
    assert net(torch.rand(2, features)).shape == (2, 3)
    assert net(torch.rand(0, features)).shape == (0, 3)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 5])
def test_smallest_images(layers, kernel):
    side = smallest_side(layers, kernel)
    assert pooled_shape([side, side], [1] * layers, kernel) == (1, 1)
    with pytest.raises(UserError):
        pooled_shape([side, side - 1], [1] * layers, kernel)


@pytest.mark.parametrize("shape", [(9, 12), (12, 9, 3)])
@pytest.mark.parametrize("centred", [False, True])
def test_it_is_a_sequence_of_layers_of_pytorch(shape, centred):
    """The same logits, and the same gradients, as of layers put together by hand, in float64."""
    colours, features = (shape[2] if len(shape) == 3 else 1), int(np.prod(shape))
    net = drawn(BackpropNet(features, [7, 6], 4, centred, channels=[3, 5], kernel=2, image_shape=shape)).double()
    plain = nn.Sequential(
        *(nn.Conv2d(colours, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 5, 2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.LazyLinear(7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)),
    ).double()
    images_BHWC = torch.rand(5, *shape[:2], colours, dtype=torch.float64)
    centre = images_BHWC.mean(dim=(1, 2, 3), keepdim=True) if centred else 0
    maps_BCHW = torch.stack([(images_BHWC - centre)[..., colour] for colour in range(colours)], dim=1)
    maps_BCHW = maps_BCHW / maps_BCHW.square().mean(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
    plain(maps_BCHW)  # which tells the first linear layer its size
    plain.load_state_dict(dict(zip(plain.state_dict(), net.state_dict().values(), strict=True)))
    labels = torch.tensor([0, 1, 2, 3, 0])
    logits = [net(images_BHWC.flatten(1)), plain(maps_BCHW)]
    for each in logits:
        nn.functional.cross_entropy(each, labels).backward()
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)
    for mine, its in zip(net.parameters(), plain.parameters(), strict=True):
        assert its.grad.any()
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-10, atol=1e-12)
    assert torch.equal(net.classify(images_BHWC.flatten(1)), logits[1].argmax(dim=1))


def test_first_weights():
    """`N(0, 2/fan_in)`, the fan of a convolution being all that one of its units reads; the head starts at 0."""
    torch.manual_seed(0)
    net = BackpropNet(300, [50], 10, channels=[200], kernel=5, image_shape=[10, 10, 3])
    convolution = net.convolutions[0]
    assert convolution.weight.std().item() == pytest.approx((2 / 75) ** 0.5, rel=0.03)
    assert net.hidden[0].weight.std().item() == pytest.approx((2 / (200 * 9)) ** 0.5, rel=0.03)
    assert not any(part.any() for part in (convolution.bias, net.hidden[0].bias, net.head.weight, net.head.bias))


def test_dropout_masks_are_of_image_and_hidden_layers():
    net = drawn(BackpropNet(36, [5, 4], 2, channels=[3], kernel=3, image_shape=[6, 6]))
    masks = net.dropout_masks(2, 0.5, 0.5, torch.Generator().manual_seed(0))
    assert [tuple(mask.shape) for mask in masks] == [(2, 36), (2, 5), (2, 4)]
    images, lit = torch.rand(2, 36), torch.rand(2, 36).round()
    images[1] = 0
    hidden = net(images, [lit, None, None])[0], net(torch.ones(2, 36), [torch.zeros(2, 36), None, None])[1]
    torch.testing.assert_close(hidden[1], net(images)[1])  # nothing is left of an image: as a black one
    assert not torch.allclose(hidden[0], net(images)[0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"channels": [4, 0]}, "channels is [4, 0], but must be whole numbers of at least 1, one for each convolution"),
        ({"kernel": 0}, "kernel is 0, but must be a whole number of at least 1"),
        ({"image_shape": None}, "image_shape is None, but must be [height, width] or [height, width, channels]"),
        ({"image_shape": [5, 7]}, "image_shape is [5, 7], but must be [height, width]"),
        ({"image_shape": [36]}, "image_shape is [36], but must be"),
        ({"image_shape": [-6, -6]}, "image_shape is [-6, -6], but must be"),
        (
            {"channels": [4, 5], "kernel": 3},
            "channels is [4, 5], but must be at most 1 of them with kernel 3 for images of 6x6, which each of them makes",
        ),
        ({"kernel": 6}, "channels is [4], but must be at most 0 of them with kernel 6 for images of 6x6"),
    ],
)
def test_mistakes_in_python(settings, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        BackpropNet(36, [5], 2, **{"channels": [4], "kernel": 3, "image_shape": [6, 6], **settings})


def test_a_module_that_is_told_its_sizes():
    """It has a net before there is data, if that is all of them."""
    net = BackpropModule([5], 30, 3, channels=[4], kernel=3, image_shape=[6, 5]).net
    assert net.settings()["image_shape"] == [6, 5]
    assert BackpropModule([5], 30, 3, channels=[4], kernel=3).net is None


# --- on the command line ----------------------------------------------------------------------------------------------

CONVOLUTIONS = ["--model=BackpropModule", "--model.channels=[4]", "--model.kernel=3", "--model.hidden_features=[10]"]
CONVOLUTIONS += ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.01", "--data.source=digits"]
CONVOLUTIONS += ["--data.batch_size=10", "--trainer.max_epochs=2"]
DROPOUT = ["--model.image_dropout=0.1", "--model.state_dropout=0.2", "--model.weight_decay=0.01"]
SETTINGS = {"in_features": 30, "hidden_features": [10], "num_classes": 3}
OF_MAPS = {"channels": [4], "kernel": 3, "image_shape": [6, 5]}


def test_from_fit_to_predict_and_export(workplace):
    out = run("fit", *CONVOLUTIONS, "--trainer.max_epochs=40")
    assert out.code == 0, out.err
    for command in ("validate", "test", "predict"):
        out = run(command)
        assert out.code == 0, out.err
    results = json.loads((only_run() / "test_results.json").read_text())
    net = ffrecur.load(only_run())
    assert results["net"] == net.settings() == {**SETTINGS, **OF_MAPS}
    assert results["error"] < 0.2  # by chance 0.67
    with (only_run() / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == results["num_examples"] == 20
    assert export(["--output", "net"]) == 0
    check_same_net(ffrecur.load("net"), net)
    module = BackpropModule.load_from_checkpoint(only_run() / "best.ckpt")
    images = torch.rand(5, 30)
    assert torch.equal(module.net(images), net(images))


def test_resuming_is_exact(workplace, monkeypatch):
    assert run("fit", *CONVOLUTIONS, *DROPOUT, "--trainer.default_root_dir=whole").code == 0
    whole = loaded("whole"), rows("whole")
    fit_with(monkeypatch, At("on_train_batch_start", 4, boom), *CONVOLUTIONS, *DROPOUT)
    assert loaded("runs")["global_step"] == 3
    out = run("fit", "--ckpt_path=last")
    assert out.code == 0, out.err
    check_same_run(whole)


def test_images_in_colour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = random.integers(0, 100, (24, 6, 7, 3), dtype=np.uint8)
    images[..., 2] += (100 * labels)[:, None, None].astype(np.uint8)  # the second class is bluer
    np.savez("colours.npz", images=images, labels=labels)
    out = run("fit", *CONVOLUTIONS, "--data.source=colours.npz", "--data.validation_size=4", "--trainer.max_epochs=9")
    assert out.code == 0, out.err
    net = ffrecur.load(only_run())
    assert net.settings()["image_shape"] == [6, 7, 3]
    found = net.classify(torch.from_numpy(images).flatten(1).float() / 255)
    assert (found.numpy() == labels).mean() > 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--model.channels=[4,5]"],
            "channels is [4, 5], but must be at most 1 of them with kernel 3 for images of 6x5",
        ),
        (["--model.kernel=5"], "channels is [4], but must be at most 0 of them with kernel 5 for images of 6x5"),
        (["--model.kernel=0"], "kernel is 0, but must be a whole number of at least 1"),
        (["--model.kernel=x"], "model.kernel is x, but must be a whole number"),
        (
            ["--model.channels=[0]"],
            "channels is [0], but must be whole numbers of at least 1, one for each convolution",
        ),
        (["--model.channels=null"], "model.channels is null, but must have a value"),
        (["--model.image_shape=[5,6]"], "image_shape of the net is [5, 6], but the data has [6, 5]"),
        (["--model.in_features=31"], "in_features of the net is 31, but the data has 30"),
        (["--model.image_shape=[-6,-5]"], "image_shape is [-6, -5], but must be [height, width]"),
        (["--model.channels=[1000000000000]"], "channels is [1000000000000] and kernel is 3 and hidden_features"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence, workplace):
    out = run("fit", *CONVOLUTIONS, *options)
    assert out.code == 2
    (line,) = out.err.splitlines()
    assert sentence in line
    assert not Path("runs").exists()


def test_another_net_than_the_one_stored_is_refused(workplace):
    assert run("fit", *CONVOLUTIONS).code == 0
    out = run("fit", "--ckpt_path=last", "--model.kernel=2")
    assert (out.code, "kernel is 2, but the net in" in out.err) == (2, True)
    dense = [option for option in CONVOLUTIONS if "channels" not in option]
    assert run("fit", *dense, "--trainer.default_root_dir=dense").code == 0
    checkpoint = next(Path("dense").glob("*/last.ckpt"))
    out = run("fit", "--ckpt_path", checkpoint, "--model.channels=[4]")
    assert (out.code, out.err.count("\n")) == (2, 1)
    assert "channels is [4], but the net in" in out.err


def test_data_of_another_shape_is_refused(workplace):
    """As many pixels, but in other places."""
    assert run("fit", *CONVOLUTIONS).code == 0
    Path("turned").mkdir()
    write_idx_folder(Path("turned"), size=(5, 6))
    out = run("test", "--data.source=turned")
    assert (out.code, out.err.count("\n")) == (2, 1)
    assert "image_shape of the net is [6, 5], but the data has [5, 6]" in out.err


CLAIMS = ({"kernel": 2}, {"channels": [4] * 9}, {"image_shape": [30, 1]}, {"channels": 4}, {"channels": [10**12]})


@pytest.mark.parametrize("claim", [*CLAIMS, {"image_shape": None}, {"kernel": 10**30}, {"image_shape": "65"}])
def test_a_file_that_claims_other_maps_is_refused(claim, tmp_path):
    net = BackpropNet(30, [5], 3, channels=[4], kernel=3, image_shape=[6, 5])
    own = net.settings()
    net.settings = lambda: {**own, **claim}
    with pytest.raises(UserError, match="from which no net can be built"):
        ffrecur.load(write_checkpoint(net, tmp_path / "net.ckpt"))
