"""Exported folders come back bit by bit, appear whole or not at all, and a mixture of two is refused."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from making import Harmful, check_same_net, drawn_net, one_of_each_net, write_checkpoint
from running import run, snapshot

import ffrecur
from ffrecur.commands.export import main
from ffrecur.lit import RecurrentModule
from ffrecur.storage.checkpoint import NET_KEY, describe

FILES = {"config.json", "model.safetensors"}


def refused(path, *pieces):
    with pytest.raises(ffrecur.UserError) as caught:
        ffrecur.load(path)
    for piece in (f"checkpoint is '{path}'", *pieces):
        assert piece in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("number", range(len(one_of_each_net())))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_kind_of_net_comes_back(tmp_path, number, dtype):
    net = one_of_each_net()[number].to(dtype)
    ffrecur.save(net, tmp_path / "net")
    check_same_net(ffrecur.load(tmp_path / "net"), net)
    check_same_net(ffrecur.load(write_checkpoint(net, tmp_path / "net.ckpt")), net)


@pytest.mark.parametrize("number", range(len(one_of_each_net())))
def test_bfloat16_comes_back(tmp_path, number):
    net = one_of_each_net()[number].bfloat16()
    ffrecur.save(net, tmp_path / "net")
    found = ffrecur.load(tmp_path / "net")
    for name, tensor in net.state_dict().items():
        assert torch.equal(found.state_dict()[name].view(torch.int16), tensor.view(torch.int16))


def test_other_programs_can_read_it(tmp_path):
    from safetensors.torch import load_file

    net = one_of_each_net()[0]
    ffrecur.save(net, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.state_dict().items())
    assert {name for name in snapshot(tmp_path)} == FILES
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask()}


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


class LowRank(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = torch.nn.Linear(30, 2, bias=False), torch.nn.Linear(2, 5)
        self.weight = self.up.weight

    def forward(self, row):
        return self.up(self.down(row))


def test_a_net_with_a_module_of_ones_own_is_not_saved(tmp_path):
    net = ffrecur.RecurrentNet(30, [5], 3)
    net.bottom_up[0] = LowRank()
    with pytest.raises(ffrecur.UserError, match=r"^bottom_up.0 of the net is a LowRank, which no exported folder"):
        ffrecur.save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()
    write_checkpoint(net, tmp_path / "net.ckpt")
    refused(
        tmp_path / "net.ckpt",
        "its weights are not those of its settings, such as bottom_up.0.bias",
        "load_from_checkpoint of its Lightning module",
    )


def test_what_is_no_net_of_ours_is_not_saved(tmp_path):
    for thing in (RecurrentModule([5], in_features=30, num_classes=3), torch.nn.Linear(2, 2), LowRank()):
        with pytest.raises(
            ffrecur.UserError, match=f"^net is 'a {type(thing).__name__}', but must be a RecurrentNet or"
        ):
            ffrecur.save(thing, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_net_does_not_hang_on_its_file(tmp_path):
    net = one_of_each_net()[0]
    for path in (write_checkpoint(net, tmp_path / "net.ckpt"), tmp_path / "exported"):
        if path.suffix != ".ckpt":
            ffrecur.save(net, path)
        found = ffrecur.load(path)
        for file in path.iterdir() if path.is_dir() else [path]:
            file.write_bytes(b"")
        check_same_net(found, net)


@pytest.mark.parametrize("stale", ["config.json", "model.safetensors"])
def test_a_mixture_of_two_exports_is_refused(tmp_path, stale):
    first, second = drawn_net(seed=1), drawn_net(seed=2, damping=0.5)
    ffrecur.save(first, tmp_path / "net")
    kept = (tmp_path / "net" / stale).read_bytes()
    ffrecur.save(second, tmp_path / "net")
    (tmp_path / "net" / stale).write_bytes(kept)
    refused(tmp_path / "net", "not of the same net", "export the net again")
    (tmp_path / "net" / stale).unlink()
    refused(tmp_path / "net", stale)


def test_weights_of_another_program_are_refused(tmp_path):
    from safetensors.torch import save_file

    net = drawn_net()
    ffrecur.save(net, tmp_path)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    refused(tmp_path, "not written by ffrecur")


def write_older(net, folder):
    folder.mkdir()
    torch.save(net.state_dict(), folder / "weights.pt")
    (folder / "net.json").write_text(json.dumps(describe(net)))


def killed_while_saving(net, folder, replacements):
    """Save in a process of its own, which dies before it replaces another file or folder."""
    child = os.fork()
    if child == 0:
        left = iter(range(replacements))

        def dying(plain):
            return lambda *arguments: plain(*arguments) if next(left, None) is not None else os._exit(9)

        Path.replace, Path.rename = dying(Path.replace), dying(Path.rename)
        ffrecur.save(net, folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_in_the_middle_of_an_export(tmp_path):
    first, second = drawn_net(seed=1), drawn_net(seed=2, damping=0.5)
    assert killed_while_saving(second, tmp_path / "new", 0) == 9
    assert not (tmp_path / "new").exists()
    assert killed_while_saving(second, tmp_path / "new", 1) == 0
    check_same_net(ffrecur.load(tmp_path / "new"), second)
    for replaced, expected in ((0, first), (1, None), (2, second)):
        folder = tmp_path / f"over{replaced}"
        ffrecur.save(first, folder)
        assert killed_while_saving(second, folder, replaced) == (0 if expected is second else 9)
        if expected is None:
            refused(folder, "not of the same net")
        else:
            check_same_net(ffrecur.load(folder), expected)
    for replaced, expected in ((0, first), (1, first), (2, second)):
        folder = tmp_path / f"older{replaced}"
        write_older(first, folder)
        killed_while_saving(second, folder, replaced)
        check_same_net(ffrecur.load(folder), expected)
    assert set(snapshot(tmp_path / "older2")) == FILES


def test_a_full_disk_leaves_the_earlier_export(tmp_path):
    first = drawn_net(seed=1)
    ffrecur.save(first, tmp_path / "net")
    before = snapshot(tmp_path)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        code = 1
        try:
            ffrecur.save(drawn_net(seed=2), tmp_path / "net")
        except ffrecur.UserError as error:
            code = 7 if "cannot be written to" in str(error) and "too large" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert snapshot(tmp_path) == before
    check_same_net(ffrecur.load(tmp_path / "net"), first)


# --- the command ----------------------------------------------------------------------------------------------------


def export(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_exports_a_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = drawn_net()
    write_checkpoint(net, tmp_path / "net.ckpt")
    code, out, err = export(capsys, "--checkpoint", "net.ckpt", "--output", "a/b")
    assert (code, err) == (0, "")
    assert out == "Exported a RecurrentNet to a/b  (config.json, model.safetensors)\n"
    check_same_net(ffrecur.load("a/b"), net)
    assert export(capsys, "--checkpoint", "a/b", "--output", "c")[0] == 0
    assert snapshot(Path("a/b")) == snapshot(Path("c"))


def test_the_newest_run_by_default(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("old", "new")):
        Path("runs", name).mkdir(parents=True)
        last = write_checkpoint(drawn_net(seed=number), tmp_path / "runs" / name / "last.ckpt")
        os.utime(last, (number, number))
    code, _, err = export(capsys, "--output", "out")
    assert (code, err) == (0, f"Using {Path('runs/new')}, the newest run.\n")
    check_same_net(ffrecur.load("out"), drawn_net(seed=1))
    assert export(capsys, "--output", "out", "--root", "elsewhere")[::2] == (
        2,
        "error: checkpoint is not given, and there is no run in 'elsewhere' yet; train one with `ffrecur fit`\n",
    )


def test_the_folder_of_a_run_and_a_file_are_no_output(tmp_path, capsys):
    path = write_checkpoint(drawn_net(), tmp_path / "last.ckpt")
    before = snapshot(tmp_path)
    for output, piece in ((tmp_path, "which is the folder of a run"), (path, "which is a file")):
        code, out, err = export(capsys, "--checkpoint", path, "--output", output)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: output is '{output}', {piece}")
    assert snapshot(tmp_path) == before


def test_neither_the_import_nor_the_command_brings_lightning(tmp_path):
    write_checkpoint(drawn_net(), tmp_path / "net.ckpt")
    code = (
        "import sys, ffrecur, ffrecur.hub\n"
        "heavy = ('lightning', 'safetensors', 'huggingface_hub')\n"
        "assert not any(name in sys.modules for name in heavy)\n"
        "import ffrecur.main\n"
        "sys.argv = ['ffrecur', 'export', '--checkpoint', 'net.ckpt', '--output', 'out']\n"
        "try:\n  ffrecur.main.entry_point()\n"
        "except SystemExit as end:\n  assert end.code == 0\n"
        "assert 'lightning' not in sys.modules and 'safetensors' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    assert set(snapshot(tmp_path / "out")) == FILES


# --- files made to do harm --------------------------------------------------------------------------------------------


@pytest.fixture
def harmless(tmp_path, monkeypatch):
    """Whatever happens, the payload does not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # a setting of the machine's does not open the door
    yield
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("place", ["optimizer_states", "hyper_parameters", "ffrecur_config", "state_dict", "callbacks"])
def test_a_payload_anywhere_in_a_checkpoint_does_not_run(harmless, place):
    torch.save({NET_KEY: describe(drawn_net()), "state_dict": {}, **{place: {"lr": [Harmful()]}}}, "harmful.ckpt")
    refused("harmful.ckpt", "cannot be read as a checkpoint")


def test_a_payload_in_an_older_export_does_not_run(harmless, tmp_path):
    write_older(drawn_net(), tmp_path / "older")
    torch.save({"head.weight": Harmful()}, tmp_path / "older" / "weights.pt")
    refused(tmp_path / "older", "cannot be read as an exported net")


def test_a_payload_does_not_run_when_a_training_goes_on(harmless, trained):
    (last,) = Path("runs").glob("*/last.ckpt")
    good = torch.load(last, weights_only=True)
    for place in ("optimizer_states", "hyper_parameters", "loops"):
        torch.save({**good, place: [Harmful()]}, last)
        for command in ("fit", "test"):
            outcome = run(command, "--ckpt_path", last, "--trainer.max_epochs=3")
            assert outcome.code == 2
            assert "cannot be read as a checkpoint" in outcome.err


def test_everything_that_lightning_loads_is_weights_only(trained, monkeypatch):
    asked, plain = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: asked.append(k.get("weights_only")) or plain(*a, **k))
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    assert run("test").code == 0
    assert len(asked) >= 4  # ours, and then Lightning's
    assert all(value is True for value in asked)
    outcome = run("fit", "--ckpt_path=last", "--weights_only=false")
    assert outcome.code == 2
    assert outcome.err == "error: weights_only is False, but must be true: nothing in a checkpoint runs as code\n"


def test_weights_that_claim_more_than_their_file_has(tmp_path):
    net = drawn_net(in_features=10**6, hidden_features=[10])
    thin = {f"net.{name}": torch.zeros(1).expand(tensor.shape) for name, tensor in net.state_dict().items()}
    torch.save({NET_KEY: describe(net), "state_dict": thin}, tmp_path / "thin.ckpt")
    refused(tmp_path / "thin.ckpt", "weights would take", "but the file has")
    entry = describe(drawn_net())
    for change in ({"in_features": 10**12}, {"hidden_features": [10**9, 10**9]}, {"hidden_features": [1] * 10**6}):
        lie = {**entry, "settings": {**entry["settings"], **change}}
        weights = {f"net.{name}": tensor for name, tensor in drawn_net().state_dict().items()}
        torch.save({NET_KEY: lie, "state_dict": weights}, tmp_path / "lie.ckpt")
        refused(tmp_path / "lie.ckpt", "no net can be built")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.zeros(3, dtype=torch.float64),
        [0.0, 0.0, 0.0],
        None,
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_weight_that_is_none(tmp_path, tensor):
    net = drawn_net()
    weights = {f"net.{name}": value for name, value in net.state_dict().items()} | {"net.head.bias": tensor}
    torch.save({NET_KEY: describe(net), "state_dict": weights}, tmp_path / "odd.ckpt")
    refused(tmp_path / "odd.ckpt", "no net can be built")
