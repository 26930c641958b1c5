"""Trained nets come back as they were, and whatever is not one is refused in one line that names the path."""

import json
from pathlib import Path

import pytest
import torch
from making import Harmful, drawn_net, write_checkpoint

import ffrecur
from ffrecur.storage.checkpoint import NET_KEY, describe, read_checkpoint

SETTINGS = [
    {"hidden_features": [5]},
    {"hidden_features": (4, 6, 5), "sign": -1, "damping": 0.0, "update_scheme": "alternating"},
    {"hidden_features": [3, 2], "sign": 1, "damping": 0.7},
]


def check_same(found, expected):
    """The same net: settings, every parameter and buffer bit by bit, ready to be evaluated."""
    assert found.settings() == expected.settings()
    weights = found.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.state_dict().items())
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert not found.training
    assert not any(module.training for module in found.modules())
    images = torch.rand(6, 4)
    assert torch.equal(found.score(images), expected.score(images))


def check_refused(path, *pieces, load=ffrecur.load):
    """`load` raises the one kind of error, whose message is one line with the path in it."""
    with pytest.raises(ffrecur.UserError) as caught:
        load(path)
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert len(message.splitlines()) == 1
    for piece in (f"checkpoint is '{path}'", *pieces):
        assert piece in message


@pytest.fixture
def weights_only(monkeypatch):
    """Note how `torch.load` is called: only `weights_only=True` runs no code of the file's author."""
    asked, plain = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: asked.append(k.get("weights_only")) or plain(*a, **k))
    yield
    assert asked
    assert all(value is True for value in asked)


@pytest.mark.parametrize("settings", SETTINGS)
def test_an_exported_net_comes_back(tmp_path, settings):
    net = drawn_net(**settings)
    ffrecur.save(net, tmp_path / "new" / "folder")
    check_same(ffrecur.load(tmp_path / "new" / "folder"), net)
    check_same(ffrecur.load(str(tmp_path / "new" / "folder")), net)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_checkpoint_file_comes_back(tmp_path, settings, weights_only):
    net = drawn_net(**settings)
    check_same(ffrecur.load(write_checkpoint(net, tmp_path / "any.ckpt")), net)


def test_the_exported_settings_can_be_read_by_eye(tmp_path):
    ffrecur.save(drawn_net(sign=-1), tmp_path)
    entry = json.loads((tmp_path / "config.json").read_text())
    assert entry == {
        "kind": "RecurrentNet",
        "settings": {
            "hidden_features": [5, 3],
            "in_features": 4,
            "num_classes": 3,
            "damping": 0.3,
            "sign": -1,
            "update_scheme": "synchronous",
        },
    }
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_exporting_again_replaces_the_net(tmp_path):
    ffrecur.save(drawn_net(), tmp_path)
    second = drawn_net(seed=1, hidden_features=[7])
    ffrecur.save(second, tmp_path)
    check_same(ffrecur.load(tmp_path), second)


def test_a_run_folder_means_its_best_checkpoint_else_its_last(tmp_path, weights_only):
    best, last = drawn_net(seed=1), drawn_net(seed=2)
    write_checkpoint(last, tmp_path / "last.ckpt")
    check_same(ffrecur.load(tmp_path), last)
    write_checkpoint(best, tmp_path / "best.ckpt")
    check_same(ffrecur.load(tmp_path), best)


def test_saving_draws_no_random_numbers_and_leaves_the_net_alone(tmp_path):
    net = drawn_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random_state = torch.get_rng_state()
    ffrecur.save(net, tmp_path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_nothing_is_there(tmp_path):
    check_refused(tmp_path / "missing.ckpt", "not a file")
    check_refused(tmp_path, "neither best.ckpt, last.ckpt nor config.json")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", bytes(range(256))])
def test_garbage(tmp_path, content):
    path = tmp_path / "garbage.ckpt"
    path.write_bytes(content)
    check_refused(path, "cannot be read as a checkpoint")


@pytest.mark.parametrize("kept", [10, -400, -1])
def test_a_file_that_was_cut_off(tmp_path, kept):
    path = write_checkpoint(drawn_net(), tmp_path / "cut.ckpt")
    path.write_bytes(path.read_bytes()[:kept])
    check_refused(path, "cannot be read as a checkpoint")


def test_a_file_that_would_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({NET_KEY: describe(drawn_net()), "state_dict": {}, "x": Harmful()}, "harmful.ckpt")
    check_refused("harmful.ckpt", "cannot be read as a checkpoint")
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.ones(3), {NET_KEY: "RecurrentNet"}])
def test_a_file_of_someone_else(tmp_path, content):
    path = tmp_path / "foreign.ckpt"
    torch.save(content, path)
    check_refused(path, "holds no ffrecur net")


def test_a_goodness_that_the_net_was_not_trained_with(tmp_path):
    ffrecur.save(ffrecur.BackpropNet(6, (5,), 3), tmp_path / "backprop")
    ffrecur.save(ffrecur.RecurrentNet(6, (5,), 3), tmp_path / "recurrent")
    for name in ("backprop", "recurrent"):
        with pytest.raises(ffrecur.UserError, match="a goodness was given, but it was trained with the mean square"):
            ffrecur.load(tmp_path / name, goodness=ffrecur.MeanSquare(blocks=5))


def test_another_kind_of_net(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({NET_KEY: {"kind": "OtherNet", "settings": {}}, "state_dict": {}}, path)
    check_refused(path, "holds a OtherNet, but must hold a RecurrentNet")
    net = write_checkpoint(drawn_net(), tmp_path / "net.ckpt")
    assert read_checkpoint(net)["epoch"] == 3


def test_weights_that_do_not_fit_the_settings(tmp_path):
    net = drawn_net()
    weights = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    entry = describe(net)
    larger = {**entry, "settings": {**entry["settings"], "hidden_features": [5, 4]}}
    unknown = {**entry, "settings": {**entry["settings"], "colour": "blue"}}
    lacking = {**weights}
    del lacking["net.head.bias"]
    for number, content in enumerate(
        [
            {NET_KEY: larger, "state_dict": weights},
            {NET_KEY: unknown, "state_dict": weights},
            {NET_KEY: {"kind": "RecurrentNet"}, "state_dict": weights},
            {NET_KEY: entry, "state_dict": lacking},
            {NET_KEY: entry, "state_dict": {}},
        ]
    ):
        path = tmp_path / f"{number}.ckpt"
        torch.save(content, path)
        check_refused(path, "no net can be built")


def exported(tmp_path):
    """An exported folder as version 0.1.0 wrote it: its description can be changed alone."""
    net = drawn_net()
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "net.json").write_text(json.dumps(describe(net)))
    return tmp_path, describe(net)


@pytest.mark.parametrize("text", ["", "{", "\x00", "kind: RecurrentNet"])
def test_a_broken_description_in_an_exported_folder(tmp_path, text):
    folder, _ = exported(tmp_path)
    (folder / "net.json").write_text(text)
    check_refused(folder, "cannot be read as an exported net")


def test_an_exported_folder_of_another_kind_of_net(tmp_path):
    folder, entry = exported(tmp_path)
    (folder / "net.json").write_text(json.dumps({**entry, "kind": "OtherNet"}))
    check_refused(folder, "OtherNet")


@pytest.mark.parametrize("change", [{"hidden_features": [5, 4]}, {"in_features": 5}, {"depth": 2}])
def test_an_exported_folder_whose_weights_do_not_fit(tmp_path, change):
    folder, entry = exported(tmp_path)
    (folder / "net.json").write_text(json.dumps({**entry, "settings": {**entry["settings"], **change}}))
    check_refused(folder, "no net can be built")


@pytest.mark.parametrize("content", ["[1]", "3", "null", "{}"])
def test_an_exported_folder_that_describes_no_net(tmp_path, content):
    folder, _ = exported(tmp_path)
    (folder / "net.json").write_text(content)
    check_refused(folder)


def test_an_exported_folder_with_broken_weights(tmp_path):
    folder, _ = exported(tmp_path)
    weights = folder / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    check_refused(folder, "cannot be read as an exported net")
    torch.save(torch.ones(3), weights)
    check_refused(folder, "no net can be built")
    weights.unlink()
    check_refused(folder, "cannot be read as an exported net", "weights.pt")
