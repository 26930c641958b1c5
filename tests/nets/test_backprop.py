"""The baseline: a perceptron whose gradients go through all layers, by the same command line as the recurrent net."""

import json
from pathlib import Path

import pytest
import torch
from running import TINY, loaded, rows, run

import ffrecur
from ffrecur import BackpropNet, CharNet, LocalLinear, UserError
from ffrecur.core import products
from ffrecur.data import ImageDataModule
from ffrecur.data.loader import epoch_order
from ffrecur.functional import rms_normalize
from ffrecur.lit import BackpropModule
from ffrecur.nets.backprop import character_logits


def test_logits_by_hand():
    """One image of two features, normalised to (3, 4) sqrt(2) / 5; one hidden layer of two units, one of which is off."""
    net = BackpropNet(2, (2,), 2).double()
    with torch.no_grad():
        net.hidden[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        net.head.weight.copy_(torch.tensor([[1.0, 5.0], [2.0, 7.0]]))
        net.head.bias.copy_(torch.tensor([0.0, 1.0]))
    hidden = 11 * 2**0.5 / 5
    expected = torch.tensor([[hidden, 2 * hidden + 1]], dtype=torch.float64)
    torch.testing.assert_close(net(torch.tensor([[3.0, 4.0]])), expected, rtol=1e-7, atol=0)
    assert net.classify(torch.tensor([[3.0, 4.0]])).item() == 1


def test_masks_take_features_and_units_away():
    torch.manual_seed(0)
    net = BackpropNet(4, (5, 3), 2)
    torch.nn.init.normal_(net.head.weight)
    images = torch.rand(2, 4)
    masks = [torch.ones(2, 4), torch.ones(2, 5), torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])]
    logits = net(images, masks)
    assert torch.equal(logits[0], net.head.bias)
    torch.testing.assert_close(logits[1], net(images)[1])
    assert [mask is None for mask in net.dropout_masks(2, 0.5, 0.0)] == [False, True, True]


def test_backpropagation_reaches_every_layer():
    """Unlike in a recurrent net, the loss of the head moves the first layer."""
    net = BackpropNet(4, (5, 3), 2)
    torch.nn.init.normal_(net.head.weight)
    torch.nn.functional.cross_entropy(net(torch.rand(6, 4)), torch.tensor([0, 1] * 3)).backward()
    assert all(linear.weight.grad.abs().sum() > 0 for linear in net.hidden)


def test_mistakes():
    with pytest.raises(
        UserError, match=r"hidden_features is \[\], but must be one or more whole numbers of at least 1"
    ):
        BackpropNet(4, (), 2)
    with pytest.raises(UserError, match=r"images have the shape \(2, 3\), but the net reads \(batch, 4\)"):
        BackpropNet(4, (3,), 2)(torch.rand(2, 3))


BASELINE = [
    "--model=BackpropModule",
    "--model.hidden_features=[20]",
    "--model.optimizer.lr=3e-3",
    "--data.batch_size=50",
]


def test_it_learns_and_is_tested_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = run("fit", *BASELINE, "--trainer.max_epochs=3", "--model.image_dropout=0.2", "--model.state_dropout=0.2")
    assert out.code == 0, out.err
    (folder,) = Path("runs").glob("*")
    assert run("test").code == 0
    results = json.loads((folder / "test_results.json").read_text())
    net = ffrecur.load(folder)
    assert isinstance(net, BackpropNet)
    assert results["net"] == net.settings() == {"in_features": 784, "hidden_features": [20], "num_classes": 10}
    assert results["error"] < 0.35
    assert results["num_examples"] == 500
    assert run("predict").code == 0
    assert (folder / "predictions.csv").is_file()
    refused = run("fit", "--model=RecurrentModule", "--ckpt_path", str(folder / "last.ckpt"))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "model is RecurrentModule, which trains a RecurrentNet, but" in refused.err
    assert "holds a BackpropNet" in refused.err


SMOOTHING = 0.3
SGD = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.5", "--trainer.precision=64-true"]


def test_label_smoothing_by_its_formula(workplace):
    """Loss `-sum(target * log p)` with the target `(1 - s) * one-hot + s / C`; its gradient by the logits is `p - target`."""
    options = ["--data.source=digits", "--data.batch_size=20", "--model.hidden_features=[5]", "--trainer.max_epochs=1"]
    out = run("fit", "--model=BackpropModule", *options, *SGD, f"--model.label_smoothing={SMOOTHING}")
    assert out.code == 0, out.err
    data = ImageDataModule("digits")
    data.setup("fit")
    net = BackpropModule([5], 30, 3).net.double()
    losses, wrong = [], []
    for chosen in epoch_order(50, 0, 0).split(20):
        images, labels = data.train_set.images[chosen].float() / 255, data.train_set.labels[chosen]
        logits = net(images)
        one_hot = torch.eye(3, dtype=torch.float64)[labels]
        target = (1 - SMOOTHING) * one_hot + SMOOTHING / 3
        chances = logits.detach().exp() / logits.detach().exp().sum(dim=1, keepdim=True)
        losses += (-(target * chances.log()).sum(dim=1)).tolist()
        wrong += (logits.argmax(dim=1) != labels).tolist()
        net.zero_grad()
        logits.backward((chances - target) / len(labels))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.5 * parameter.grad
    for name, weight in net.state_dict().items():
        torch.testing.assert_close(loaded("runs")["state_dict"][f"net.{name}"], weight, rtol=1e-10, atol=1e-12)
    (figures,) = (row for row in rows("runs") if "train/loss" in row)
    assert float(figures["train/loss"]) == pytest.approx(sum(losses) / 50, rel=1e-6)
    assert float(figures["train/error"]) == pytest.approx(sum(wrong) / 50, rel=1e-6)


def test_the_error_that_is_reported_is_not_smoothed(workplace):
    """Nothing of an evaluation depends on the setting."""
    options = ["--data.source=digits", "--model.hidden_features=[5]", "--trainer.max_epochs=1"]
    assert run("fit", "--model=BackpropModule", *options).code == 0
    found = []
    for share in (0.0, 0.5):
        assert run("test", f"--model.label_smoothing={share}").code == 0
        found.append(json.loads(next(Path("runs").glob("*/test_results.json")).read_text()))
    assert found[0] == found[1]


@pytest.mark.parametrize("share", ["1", "-0.1", "1.5"])
def test_label_smoothing_outside_its_range(share, workplace):
    out = run("fit", "--model=BackpropModule", "--data.source=digits", f"--model.label_smoothing={share}")
    assert (out.code, out.err) == (
        2,
        f"error: label_smoothing is {float(share)}, but must be at least 0 and less than 1\n",
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_bfloat16_is_never_emulated(native, kind, monkeypatch):
    monkeypatch.setattr(products, "has_bfloat16", lambda device: native)
    torch.manual_seed(0)
    net = BackpropNet(4, (5,), 2) if kind == "image" else CharNet(window=2, hidden_features=(5,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(torch.rand(3, 4)) if kind == "image" else character_logits(net, torch.zeros(3, 2).long())
    assert logits.dtype == (torch.bfloat16 if native else torch.float32)


LOCAL = "--model.layers=[{kernel: 3, out_channels: 2}, {kernel: 2, out_channels: 3}]"


def test_local_fields_by_backpropagation():
    torch.manual_seed(0)
    first = LocalLinear((4, 5), 2, kernel=3)
    net = BackpropNet(20, None, 3, layers=[first, LocalLinear(first.out_shape, 4, kernel=2)]).double()
    assert net.hidden[0].weight is first.weight
    net.reset_parameters()
    torch.nn.init.normal_(net.head.weight)
    assert net.hidden_features == (12, 8)
    assert abs(float(net.hidden[0].weight.detach().std()) - (2 / 9) ** 0.5) < 0.1  # He et al.: 2 over the field
    images = torch.rand(6, 20, dtype=torch.float64)
    row = rms_normalize(images)
    for layer in net.hidden:
        row = torch.relu(layer(row))
    assert torch.allclose(net(images), net.head(row), rtol=0, atol=1e-12)
    assert [tuple(mask.shape) for mask in net.dropout_masks(6, 0.5, 0.5)] == [(6, 20), (6, 12), (6, 8)]


def test_local_fields_on_the_command_line(workplace):
    started = ["fit", "--model=BackpropModule", *TINY, LOCAL]
    assert run(*started).code == 0
    assert run("validate").code == run("predict").code == 0
    (folder,) = Path("runs").glob("*")
    assert [type(layer) for layer in ffrecur.load(folder).hidden] == [LocalLinear, LocalLinear]
    assert run(*started, "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    module = BackpropModule.load_from_checkpoint(folder / "last.ckpt")
    assert module.net.settings() == ffrecur.load(folder / "last.ckpt").settings()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([LOCAL, "--model.channels=[3]"], "channels is [3], but must be empty where layers are given"),
        (["--model.layers=[{kernel: 9, out_channels: 2}]"], "number 1: kernel is 9, but must be from 1 to"),
        (["--model.layers=[{kernel: 2}]"], "must be made of out_channels and kernel"),
    ],
)
def test_local_fields_that_cannot_be(options, sentence, workplace):
    outcome = run("fit", "--model=BackpropModule", *TINY, *options)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert sentence in line


def test_overlapping_fields_are_one_product_of_tiles():
    torch.manual_seed(0)
    layers = [LocalLinear((9, 6), 2, kernel=3, padding=1), LocalLinear((9, 6, 2), 3, kernel=5, padding=2)]
    net = BackpropNet(54, None, 3, layers=layers).double()
    torch.nn.init.normal_(net.head.weight)
    images, labels = torch.rand(6, 54, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    found = torch.autograd.grad(torch.nn.functional.cross_entropy(net(images), labels), list(net.parameters()))
    row = rms_normalize(images)
    for layer in net.hidden:
        row = torch.relu(layer(row))
    loss = torch.nn.functional.cross_entropy(net.head(row), labels)
    for gradient, expected in zip(found, torch.autograd.grad(loss, list(net.parameters())), strict=True):
        assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
