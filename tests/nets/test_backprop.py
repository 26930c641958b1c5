"""The baseline: a perceptron whose gradients go through all layers, by the same command line as the recurrent net."""

import json
from pathlib import Path

import pytest
import torch
from running import run

import ffrecur
from ffrecur import BackpropNet, UserError


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
    with pytest.raises(UserError, match=r"hidden_features is \[\], but must be one or more widths of at least 1"):
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
