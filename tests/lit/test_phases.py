"""Phases apart: which updates have which data, for every kind of net, and what half of the loss they learn from."""

import csv

import pytest
import torch
from making import recurrent_net
from running import TINY, TINY_TEXT, run, slow

from ffrecur import CharNet, FeedForwardNet, RecurrentNet, UserError
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Logistic
from ffrecur.lit import CharModule, FeedForwardModule, RecurrentModule
from ffrecur.lit.phases import learning_at, weights_at

PHASES = {(1.0, 0.0): "awake", (0.0, 1.0): "asleep", (1.0, 1.0): "both"}
KINDS = {
    "recurrent": (RecurrentNet, TINY),
    "supervised": (FeedForwardNet, [*TINY, "--model=FeedForwardModule"]),
    "unsupervised": (FeedForwardNet, [*TINY, "--model=FeedForwardModule", "--model.label=null"]),
    "text": (CharNet, [*TINY_TEXT, "--model.objective=logistic"]),
}


def watched(monkeypatch, net):
    """The phases of the updates to come, and the strengths of peer normalisation."""
    phases, peers, learn = [], [], net.local_learning

    def watching(self, inputs, true, negatives, learning, *others):
        phases.append(PHASES[learning.objective.positive_weight, learning.objective.negative_weight])
        peers.append(learning.peer_normalization)
        return learn(self, inputs, true, negatives, learning, *others)

    monkeypatch.setattr(net, "local_learning", watching)
    return phases, peers


@pytest.mark.parametrize("kind", ["recurrent", "unsupervised", "text", slow("supervised")])
def test_every_net_takes_turns_and_can_be_deprived_of_sleep(kind, tales, workplace, monkeypatch):
    net, options = KINDS[kind]
    peer = [] if kind == "text" else ["--model.peer_normalization=0.1"]
    phases, peers = watched(monkeypatch, net)
    outcome = run("fit", *options, *peer, "--model.sleep=1", "--model.deprivation=[3,2]")
    assert outcome.code == 0, outcome.err
    assert len(phases) >= 6
    turns = ["awake", "asleep"] * len(phases)
    assert phases == [*turns[:3], "awake", "awake", *turns[5 : len(phases)]]
    assert not peer or peers == [0.0 if phase == "asleep" else 0.1 for phase in phases]


def test_an_update_is_counted_over_the_whole_training(workplace, monkeypatch):
    """Continued amid the deprivation."""
    phases, _ = watched(monkeypatch, RecurrentNet)
    options = ["--model.deprivation=[2,3]", "--trainer.max_epochs=1"]
    assert run("fit", *TINY, *options).code == 0
    first = len(phases)
    assert 2 < first < 5
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=2").code == 0
    assert phases == ["both"] * 2 + ["awake"] * 3 + ["both"] * (2 * first - 5)


def test_awake_and_asleep_are_the_halves_of_an_update():
    """With the same negatives: their losses and gradients add up to those of both kinds in one update."""
    net, source = recurrent_net(), torch.Generator().manual_seed(0)
    images = torch.rand(5, 4, generator=source).double()
    labels, wrong = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 2, 0, 2, 0])
    learning = Learning(objective=Logistic(0.9, 0.3), iterations=3)
    found = {}
    for phase in ("awake", "asleep", "both"):
        update, sleep = ("awake", "asleep").index(phase) if phase != "both" else 0, int(phase != "both")
        net.zero_grad()
        loss = net.local_learning(images, labels, wrong, learning_at(update, learning, sleep)).loss
        loss.backward()
        found[phase] = [loss.detach(), *(p.grad.clone() for name, p in net.named_parameters() if "head" not in name)]
    for awake, asleep, both in zip(found["awake"], found["asleep"], found["both"], strict=True):
        assert awake.abs().max() > 0
        torch.testing.assert_close(awake + asleep, both, rtol=1e-10, atol=1e-12)


def goodness_at_the_end(root):
    (folder,) = root.iterdir()
    with (folder / "metrics.csv").open(newline="") as file:
        last = [row for row in csv.DictReader(file) if row.get("train/goodness_negative_layer_1")][-1]
    return [
        float(last[f"train/goodness_{kind}_layer_{layer}"]) for kind in ("positive", "negative") for layer in (1, 2)
    ]


def test_without_negative_data_goodness_rises_everywhere(tales):
    """Of real text, as it is asked for, and of wrong text, which nothing holds down."""
    for name, deprivation in (("rested", "[0,0]"), ("deprived", "[0,12]")):
        own = [f"--trainer.default_root_dir={name}", f"--model.deprivation={deprivation}", "--trainer.max_epochs=1"]
        assert run("fit", *TINY_TEXT, "--model.objective=logistic", *own).code == 0
    pairs = zip(goodness_at_the_end(tales / "deprived"), goodness_at_the_end(tales / "rested"), strict=True)
    assert all(deprived > rested for deprived, rested in pairs)


@pytest.mark.parametrize("module", [RecurrentModule, FeedForwardModule, CharModule])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sleep": -1}, "sleep is -1, but must be a whole number of at least 0"),
        ({"deprivation": (-1, 2)}, r"deprivation is \[-1, 2\], but must be two whole numbers of at least 0"),
        ({"deprivation": (1, 2, 3)}, r"deprivation is \[1, 2, 3\], but must be two whole numbers of at least 0"),
        ({"deprivation": 3}, "deprivation is 3, but must be two whole numbers of at least 0"),
        ({"sleep": 1, "objective": "paired"}, "objective is 'paired', but must be logistic with phases apart"),
        (
            {"deprivation": (0, 9), "objective": "softmax"},
            "objective is 'softmax', but must be logistic with deprivation",
        ),
    ],
)
def test_mistakes(module, settings, message):
    with pytest.raises(UserError, match=message):
        module(**{"objective": "logistic", **settings})


@pytest.mark.parametrize("kind", ["images", "text"])
def test_a_deprivation_that_never_comes_is_warned_of(kind, tales, workplace):
    tiny = TINY if kind == "images" else TINY_TEXT
    options = ["--model.objective=logistic", "--model.deprivation=[5,2]", "--trainer.max_steps=5"]
    outcome = run("fit", *tiny, *options)
    assert outcome.code == 0, outcome.err
    late = "deprivation is [5, 2], but training ends after 5 updates: none is without negative data"
    assert late in outcome.err
    assert late not in run("fit", *tiny, *options[:-1], "--trainer.max_steps=6").err


def test_the_whole_training_is_in_both_kinds_of_data_by_default():
    assert {weights_at(update, 0) for update in range(20)} == {(1.0, 1.0)}
