"""What released versions of ffrecur wrote is still read, and means the same."""

import json
from pathlib import Path

import pytest
import torch
from making import make_meetings, make_trees
from running import FIXTURES, run

import ffrecur

FIRST = FIXTURES / "0.1.0"
EXPECTED = json.loads((FIRST / "expected.json").read_text())


def close(found, expected):
    torch.testing.assert_close(found, torch.tensor(EXPECTED[expected]), rtol=1e-4, atol=1e-5)


def images():
    return torch.linspace(0, 1, 90).reshape(3, 30)


def test_a_checkpoint_of_a_recurrent_net():
    net = ffrecur.load(FIRST / "recurrent.ckpt")
    assert net.settings() == EXPECTED["recurrent_settings"]
    close(net.score(images()), "recurrent_score")
    close(net.one_pass_logits(images()), "recurrent_one_pass_logits")


def test_a_checkpoint_of_a_character_model():
    net = ffrecur.load(FIRST / "character.ckpt")
    windows = torch.tensor([[0, 1, 2, 3], [29, 26, 7, 4]])
    assert net.settings() == EXPECTED["character_settings"]
    close(net.score(windows), "character_score")
    close(net.logits(windows), "character_logits")
    assert net.generate("the ", 20, generator=torch.Generator().manual_seed(0)) == EXPECTED["character_text"]


def test_an_exported_folder():
    net = ffrecur.load(FIRST / "exported")
    assert net.settings() == EXPECTED["exported_settings"]
    close(net(images()), "exported_logits")


@pytest.mark.parametrize("name", ["recurrent.ckpt", "character.ckpt"])
def test_the_command_line_reads_them(workplace, name):
    few = [f"--trainer.limit_{part}_batches=2" for part in ("train", "val", "test")]
    assert run("test", "--ckpt_path", FIRST / name, *few).code == 0
    options = [] if name == "character.ckpt" else ["--trainer.max_epochs=3"]
    assert run("fit", "--ckpt_path", FIRST / name, *options, *few).code == 0


# --- the version before the core of local learning --------------------------------------------------------------------

BEFORE = FIXTURES / "before-core"
THEN = json.loads((BEFORE / "expected.json").read_text())
KINDS = ["recurrent", "character", "backprop"]


@pytest.fixture
def their_data(tmp_path, monkeypatch):
    """An empty current folder with the data that those runs were trained on."""
    monkeypatch.chdir(tmp_path)
    make_trees(tmp_path / "trees")
    make_meetings(tmp_path / "tales.txt")


def last_weights(root):
    """Parameters and buffers in the last checkpoint of the one run below a folder."""
    (folder,) = Path(root).iterdir()
    weights = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return {name.removeprefix("net."): weight for name, weight in weights.items()}


def check_sums(weights, sums, tolerance):
    """Of each tensor the sum and that of the absolute values, to a share of the latter."""
    assert weights.keys() == sums.keys()
    for name, (total, absolute) in sums.items():
        found = weights[name].double()
        assert found.sum().item() == pytest.approx(total, rel=0, abs=tolerance * absolute), name
        assert found.abs().sum().item() == pytest.approx(absolute, rel=tolerance), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["{}.ckpt", "{}_exported"])
def test_nets_of_before_the_core(kind, file):
    """Settings, scores, and the classes' names."""
    net = ffrecur.load(BEFORE / file.format(kind))
    assert net.settings() == THEN[f"{kind}_settings"]
    asked = torch.tensor([[0, 1, 2, 3, 4], [5, 7, 1, 0, 2]]) if kind == "character" else images()
    found = net(asked) if kind == "backprop" else net.score(asked)
    torch.testing.assert_close(found.detach(), torch.tensor(THEN[f"{kind}_score"]), rtol=1e-4, atol=1e-5)
    if kind != "character":
        assert list(net.class_names) == THEN[f"{kind}_names"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_tests_nets_of_before_the_core(their_data, kind):
    outcome = run("test", "--ckpt_path", BEFORE / f"{kind}.ckpt")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("kind", ["recurrent", "character"])
def test_trainings_of_before_the_core_go_on(their_data, kind):
    """To the weights that a third epoch gave then: of each tensor the sum, and that of the absolute values."""
    outcome = run(
        "fit", "--ckpt_path", BEFORE / f"{kind}.ckpt", "--trainer.max_epochs=3", "--trainer.default_root_dir=on"
    )
    assert outcome.code == 0, outcome.err
    weights, before = last_weights("on"), ffrecur.load(BEFORE / f"{kind}.ckpt").state_dict()
    check_sums(weights, THEN[f"{kind}_after"], 1e-5)
    assert not any(torch.equal(weight, before[name]) for name, weight in weights.items())


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_of_before_the_core_train(their_data, kind):
    """To the weights that they gave then, in float64: there rounding stays small, however Adam makes it grow."""
    outcome = run(
        "fit", "--config", BEFORE / f"{kind}.yaml", "--trainer.precision=64-true", "--trainer.default_root_dir=anew"
    )
    assert outcome.code == 0, outcome.err
    check_sums(last_weights("anew"), THEN[f"{kind}_in_float64"], 1e-8)
