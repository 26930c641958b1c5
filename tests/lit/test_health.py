"""Numbers gone wrong: a training ends before the step that would spoil the weights; a collapse is told once."""

import math

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from running import TINY, only_run, run

from ffrecur.commands import train as cli
from ffrecur.errors import UserError
from ffrecur.lit.run.health import check_figures, check_tensors, collapses

FINITE = torch.ones(3, 2)
BAD = [math.nan, math.inf, -math.inf]


def spoiled(value, *place):
    tensor = FINITE.clone()
    tensor[place] = value
    return tensor


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_goodness_is_told_with_its_layer_and_iteration(value, kind):
    goodness = {"positive": FINITE, "negative": FINITE, kind: spoiled(value, 2, 1)}
    with pytest.raises(
        UserError, match=rf"^the goodness of layer 2, iteration 3, on {kind} data, is {value} in epoch 1, batch 4: "
    ):
        check_figures(torch.tensor(1.0), goodness, [], "epoch 1, batch 4")


def test_a_net_without_iterations_has_layers_only():
    with pytest.raises(UserError, match="^the goodness of layer 1, on positive data, is nan in here: "):
        check_figures(torch.tensor(1.0), {"positive": torch.tensor([[math.nan, 1.0]])}, [], "here")


@pytest.mark.parametrize("value", BAD)
def test_the_loss(value):
    with pytest.raises(UserError, match=f"^the loss is {value} in here: training has diverged; a lower learning rate"):
        check_figures(torch.tensor(value), {"positive": FINITE}, [("head.bias", FINITE)], "here")


@pytest.mark.parametrize("value", BAD)
def test_gradients_and_weights_are_told_by_name(value):
    named = [("bottom_up.0.weight", FINITE), ("bottom_up.1.weight", spoiled(value, 0, 0)), ("head.bias", FINITE)]
    with pytest.raises(UserError, match=r"^the gradient of bottom_up\.1\.weight \(layer 2\) is not finite in here"):
        check_tensors("gradient", named, "here")


def test_what_is_finite_passes_however_large():
    """The largest float32 too: its square would not be finite."""
    check_figures(torch.tensor(3e38), {"positive": torch.full((1, 1), 3e38)}, [], "here")
    check_tensors("weight", [("a", torch.full((2, 2), -3e38)), ("b", torch.zeros(0))], "here")
    check_tensors("weight", [], "here")


class Spoil(Callback):
    """Puts a number into the gradients or weights of layer 2 after some batch."""

    def __init__(self, what, batch):
        self.what, self.batch = what, batch

    def on_after_backward(self, trainer, pl_module):
        if self.what == "gradient" and trainer.global_step == self.batch:
            pl_module.net.bottom_up[1].weight.grad[0, 0] = math.inf

    def on_train_batch_end(self, trainer, pl_module, *_):
        if self.what == "weight" and trainer.global_step == self.batch:
            pl_module.net.bottom_up[1].bias.data[0] = math.nan


@pytest.mark.parametrize(
    ("what", "batch", "message"),
    [
        ("gradient", 4, "the gradient of bottom_up.1.weight (layer 2) is not finite in epoch 1, batch 1"),
        ("weight", 4, "the weight of bottom_up.1.bias (layer 2) is not finite in epoch 1, batch 1"),
        ("weight", 6, "the weight of bottom_up.1.bias (layer 2) is not finite in epoch 1"),  # after the last step
    ],
)
def test_no_checkpoint_holds_what_is_not_finite(workplace, monkeypatch, what, batch, message):
    monkeypatch.setattr(cli, "Minutes", lambda: Spoil(what, batch))
    outcome = run("fit", *TINY, "--trainer.limit_val_batches=0")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {message}: training has diverged")
    checkpoint = torch.load(only_run() / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3, "that of the first epoch's end stands"
    assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values())


def test_a_collapse_is_told_apart_from_health():
    positive, negative = torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0019, 1.0021, 1.0]])
    assert set(collapses(positive, negative)) == {"dead 1", "same 2"}
    assert set(collapses(negative, positive)) == {"dead 1", "same 2"}


def test_dead_units_are_told_once_a_run(workplace, monkeypatch):
    class Kill(Callback):
        def on_train_start(self, trainer, pl_module):
            pl_module.net.bottom_up[1].bias.data.fill_(-1000)

    monkeypatch.setattr(cli, "Minutes", Kill)
    outcome = run("fit", *TINY, "--trainer.max_epochs=4")
    assert outcome.code == 0
    same, dead = outcome.err.splitlines()
    assert same.startswith("warning: layer 1 does not tell positive from negative data: "), "no label reaches it"
    assert dead == "warning: all units of layer 2 are dead: its goodness is 0 on all data (epoch 1)"
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=6").err == "", "a run that is continued has been told"


def test_dreams_that_repeat_themselves(tales, monkeypatch):
    from ffrecur.lit import character

    text = ["--model=CharModule", "--model.hidden_features=[8]", "--data=CorpusDataModule", "--data.source=tales.txt"]
    text += ["--data.document_separator=\\n\\n", "--data.window=4", "--model.negatives=dream", "--trainer.max_epochs=3"]
    monkeypatch.setattr(character, "variety", lambda *_: 0.25)
    outcome = run("fit", *text)
    assert outcome.code == 0
    repeated = [line for line in outcome.err.splitlines() if "repeat" in line]
    what = "they have 0.25 of the different runs of 4 characters of as much real text (epoch 0)"
    assert repeated == [f"warning: the dreams repeat themselves: {what}"]
    monkeypatch.undo()
