"""Reading trained nets back, without a Trainer and without Lightning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ffrecur.backprop import BackpropNet
from ffrecur.character import CharNet
from ffrecur.errors import UserError
from ffrecur.recurrent import RecurrentNet

NET_KEY = "ffrecur_net"  # entry of a checkpoint that tells which net it holds: {"kind": ..., "settings": {...}}
Net = RecurrentNet | BackpropNet | CharNet
KINDS: dict[str, type[Net]] = {"RecurrentNet": RecurrentNet, "BackpropNet": BackpropNet, "CharNet": CharNet}


def describe(net: Net) -> dict[str, Any]:
    """Return the entry that a checkpoint or an exported folder keeps to rebuild `net`: its kind and settings."""
    return {"kind": type(net).__name__, "settings": net.settings()}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file written by `ffrecur fit`, with `weights_only=True`.

    Raises `UserError` if the file is missing, corrupt, not one of ours, or holds a kind of net that we do not have.
    """
    path = Path(path)
    try:
        there = path.is_file()
    except OSError as error:  # a name that no file can have, or a folder that may not be searched
        raise UserError(f"checkpoint is '{path}', which cannot be read: {error.strerror}") from error
    if not there:
        raise UserError(f"checkpoint is '{path}', which is not a file; give a .ckpt file or the folder of a run")
    try:
        # Mapped, so that the optimiser's state, twice as large as the net, is not read by those who do not need it.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling garbage can raise anything
        reason = _first_line(error)
        raise UserError(f"checkpoint is '{path}', which cannot be read as a checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not {NET_KEY, "state_dict"} <= set(checkpoint):
        raise UserError(f"checkpoint is '{path}', which holds no ffrecur net; give a file that `ffrecur fit` wrote")
    entry = checkpoint[NET_KEY]
    found = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(found, str) or found not in KINDS:
        allowed = " or ".join(KINDS)
        raise UserError(f"checkpoint is '{path}', which holds a {found}, but must hold a {allowed}")
    return checkpoint


def kind_of(path: str | Path) -> str | None:
    """Return the kind of net that a checkpoint holds; None for a file that is no checkpoint of ours."""
    try:
        kind: str = read_checkpoint(path)[NET_KEY]["kind"]
    except UserError:
        return None
    return kind


def load(path: str | Path, map_location: str | torch.device = "cpu") -> Net:
    """Return the net of a checkpoint, of a run folder (its best checkpoint, else its last) or of an exported folder.

    The net is in evaluation mode on `map_location`. Raises `UserError` for anything that is none of these.
    """
    path = Path(path)
    try:
        exported = (path / "net.json").is_file()
    except OSError:
        exported = False  # `read_checkpoint` tells why
    if exported:
        return _load_exported(path).to(map_location)
    if path.is_dir():
        candidates = [path / name for name in ("best.ckpt", "last.ckpt") if (path / name).is_file()]
        if not candidates:
            raise UserError(f"checkpoint is '{path}', a folder with neither best.ckpt, last.ckpt nor net.json in it")
        path = candidates[0]
    checkpoint = read_checkpoint(path)
    return _build(checkpoint[NET_KEY], checkpoint["state_dict"], path, prefix="net.").to(map_location)


def save(net: Net, folder: str | Path) -> None:
    """Export a net for use elsewhere: `net.json` (kind and settings, readable) and `weights.pt` in `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "weights.pt")
    (folder / "net.json").write_text(json.dumps(describe(net), indent=2) + "\n")


def _load_exported(folder: Path) -> Net:
    try:
        entry = json.loads((folder / "net.json").read_text())
        weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        reason = _first_line(error)
        raise UserError(f"checkpoint is '{folder}', which cannot be read as an exported net ({reason})") from error
    return _build(entry, weights, folder)


def _build(entry: Any, weights: Any, path: Path, prefix: str = "") -> Net:
    try:
        net = KINDS[entry["kind"]](**entry["settings"])
        net.load_state_dict({name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)})
    except (AttributeError, KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"checkpoint is '{path}', from which no net can be built ({reason})") from error
    return net.eval()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":. ")
