"""`from_pretrained` and `push_to_hub` by way of `huggingface_hub`, whose server is a folder here."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from making import check_same_net, drawn_net, one_of_each_net

import ffrecur
from ffrecur.hub import from_pretrained, push_to_hub, save_pretrained


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that stands for the hub, and the calls that reached it."""
    root, calls = tmp_path / "hub", []

    class LocalApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            calls.append(("create", repo_id, private))
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            calls.append(("upload", repo_id, commit_message))
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
            return SimpleNamespace(commit_url=f"local/{repo_id}/commit/1")

        def snapshot_download(self, repo_id, *, revision, allow_patterns):
            calls.append(("download", repo_id, revision))
            if not (root / repo_id).is_dir():
                raise huggingface_hub.errors.LocalEntryNotFoundError("Cannot find it.\nCheck your connection.")
            fetched = tmp_path / "cache" / repo_id
            fetched.mkdir(parents=True, exist_ok=True)
            for name in allow_patterns:
                shutil.copy(root / repo_id / name, fetched)
            return str(fetched)

    monkeypatch.setattr(huggingface_hub, "HfApi", LocalApi)
    return SimpleNamespace(root=root, calls=calls)


@pytest.mark.parametrize("number", range(len(one_of_each_net())))
def test_up_and_down_again(hub, number):
    net = one_of_each_net()[number]
    assert push_to_hub(net, "me/net", private=True) == "local/me/net/commit/1"
    (hub.root / "me/net/code.py").write_text("never fetched")
    check_same_net(from_pretrained("me/net", revision="main"), net)
    assert hub.calls == [
        ("create", "me/net", True),
        ("upload", "me/net", f"A {type(net).__name__} exported by ffrecur"),
        ("download", "me/net", "main"),
    ]
    assert {path.name for path in (hub.root.parent / "cache/me/net").iterdir()} == {"config.json", "model.safetensors"}


def test_a_folder_needs_no_hub(hub, tmp_path):
    save_pretrained(drawn_net(), tmp_path / "net")
    check_same_net(from_pretrained(tmp_path / "net"), drawn_net())
    assert hub.calls == []


def test_what_is_not_there_is_one_sentence(hub):
    with pytest.raises(ffrecur.UserError) as caught:
        from_pretrained("me/nothing")
    assert str(caught.value) == (
        "model is 'me/nothing', which is not a folder here and cannot be fetched from the hub "
        "(Cannot find it. Check your connection)"
    )
    with pytest.raises(ffrecur.UserError, match="cannot be read: File name too long"):
        from_pretrained("x" * 5000)


def test_offline_is_one_sentence(tmp_path):
    """With the library itself, in a process of its own, since it reads its settings once."""
    code = (
        "import ffrecur, ffrecur.hub\n"
        "for call in (lambda: ffrecur.hub.from_pretrained('nobody/nothing'),\n"
        "             lambda: ffrecur.hub.push_to_hub(ffrecur.BackpropNet(2, [2], 2), 'nobody/nothing')):\n"
        "    try:\n        call()\n    except ffrecur.UserError as error:\n        print(error)"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    fetched, put = done.stdout.splitlines()
    assert fetched.startswith(
        "model is 'nobody/nothing', which is not a folder here and cannot be fetched from the hub ("
    )
    assert put.startswith("model is 'nobody/nothing', which cannot be put on the hub (")


def test_a_damaged_download_is_refused(hub):
    push_to_hub(drawn_net(), "me/net")
    path = Path(hub.root / "me/net/model.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(raw)
    with pytest.raises(ffrecur.UserError, match="checksum"):
        from_pretrained("me/net")
