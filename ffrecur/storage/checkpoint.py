"""Reading trained nets back, without a Trainer and without Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffrecur.core.goodness import Goodness
from ffrecur.errors import UserError, check_setting, one_line
from ffrecur.nets.backprop import BackpropNet
from ffrecur.nets.character import CharNet
from ffrecur.nets.feedforward import FeedForwardNet
from ffrecur.nets.recurrent import RecurrentNet
from ffrecur.nets.stream import StreamNet
from ffrecur.storage.archive import read_archive
from ffrecur.storage.classes import built_goodness
from ffrecur.storage.exported import is_exported, read_exported, write_exported
from ffrecur.storage.files import with_home
from ffrecur.storage.museum import RUN_KEY, has_card, place_of, read_card

# Entry of a checkpoint that tells which net it holds: {"kind": ..., "settings": {...}}, and the names of its classes where it has
# some: "class_names": [...].
NET_KEY = "ffrecur_net"
Net = RecurrentNet | FeedForwardNet | BackpropNet | CharNet | StreamNet
KINDS: dict[str, type[Net]] = {
    kind.__name__: kind for kind in (RecurrentNet, FeedForwardNet, BackpropNet, CharNet, StreamNet)
}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # of weights; all of a net have the same


def describe(net: Net) -> dict[str, Any]:
    """Return the entry that a checkpoint or an exported folder keeps to rebuild `net`: kind, settings, names of the classes.

    Raises `UserError` for names that are not one for each class.
    """
    names = getattr(net, "class_names", None)
    named = {} if names is None else {"class_names": list(names)}
    entry = {"kind": type(net).__name__, "settings": plain(net.settings()), **named}
    try:
        stored_names(entry)
    except ValueError:
        rule = f"{entry['settings'].get('num_classes')} different names, one for each class"
        check_setting(False, "class_names", named["class_names"], rule)
    return entry


def plain(value: Any) -> Any:
    """Return settings with NumPy's numbers as plain ones, which every file of ours can hold.

    >>> plain({"hidden_features": [np.int64(3)], "sign": 1})
    {'hidden_features': [3], 'sign': 1}
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def stored_names(entry: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes in such an entry, None without. Raises `ValueError` for what are no names."""
    names = entry.get("class_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its class_names are not a list of text")
    if len(names) != entry["settings"].get("num_classes") or len(set(names)) != len(names):
        raise ValueError("its class_names are not one for each class")
    return tuple(names)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file written by `ffrecur fit`, with `weights_only=True`; or what a net of the museum has of it.

    Raises `UserError` if the file is missing, corrupt, not one of ours, or holds a kind of net that we do not have.
    """
    path = Path(with_home(str(path)))
    place = place_of(path)
    checkpoint = _carded(place) if has_card(place) else _archived(path)
    if not isinstance(checkpoint, dict) or not {NET_KEY, "state_dict"} <= set(checkpoint):
        rule = "give a file that `ffrecur fit` wrote of one of ours; your own are tested and continued by Lightning's Trainer"
        raise UserError(f"checkpoint is '{path}', which holds no ffrecur net; {rule}")
    entry = checkpoint[NET_KEY]
    found = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(found, str) or found not in KINDS:
        allowed = " or ".join(KINDS)
        raise UserError(f"checkpoint is '{path}', which holds a {found}, but must hold a {allowed}")
    try:
        stored_names(entry)
    except Exception as error:  # a description can hold anything
        raise UserError(f"checkpoint is '{path}', which cannot be read as a checkpoint ({one_line(error)})") from error
    return checkpoint


def _archived(path: Path) -> Any:
    """Return what a file holds that `torch.save` wrote. Raises `UserError` for what is none."""
    try:
        there = path.is_file()
    except OSError as error:  # a name that no file can have, or a folder that may not be searched
        raise UserError(f"checkpoint is '{path}', which cannot be read: {error.strerror}") from error
    if not there:
        rule = "give a .ckpt file, the folder of a run or of an exported net, or one that comes with ffrecur: museum/digits"
        raise UserError(f"checkpoint is '{path}', which is not a file; {rule}")
    try:
        return read_archive(path)
    except Exception as error:  # unpickling garbage can raise anything
        reason = _first_line(error)
        raise UserError(f"checkpoint is '{path}', which cannot be read as a checkpoint ({reason})") from error


def _carded(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint holds for evaluation, of an exported folder with a card. Raises `UserError` for a damaged one."""
    entry, weights = _exported(folder)
    return {
        **read_card(folder)[RUN_KEY],
        NET_KEY: entry,
        "state_dict": {f"net.{name}": weights[name] for name in weights},
    }


def kind_of(path: str | Path) -> str | None:
    """Return the kind of net that a checkpoint holds; None for a file that is no checkpoint of ours."""
    try:
        kind: str = read_checkpoint(path)[NET_KEY]["kind"]
    except UserError:
        return None
    return kind


def load(
    path: str | Path,
    map_location: str | torch.device = "cpu",
    goodness: Goodness | type[Goodness] | None = None,
) -> Net:
    """Return the net of a checkpoint, of a run folder (its best checkpoint, else its last) or of an exported folder.

    The nets that come with ffrecur have names, such as `museum/digits`; they come back in float32. The net is in evaluation
    mode on `map_location`. Where it was trained with a goodness of your own, give its class: nothing that a file names is
    imported but classes of ffrecur. Raises `UserError` for anything that is none of these.
    """
    path = place_of(with_home(str(path)))
    try:
        exported, folder = is_exported(path), path.is_dir()
    except OSError:
        exported = folder = False  # `read_checkpoint` tells why
    if exported:
        net = _build(*_exported(path), path, "", goodness)
        return (net.float() if has_card(path) else net).to(map_location)
    if folder:
        candidates = [path / name for name in ("best.ckpt", "last.ckpt") if (path / name).is_file()]
        if not candidates:
            raise UserError(f"checkpoint is '{path}', a folder with neither best.ckpt, last.ckpt nor config.json in it")
        path = candidates[0]
    checkpoint = read_checkpoint(path)
    net = _build(checkpoint[NET_KEY], checkpoint["state_dict"], path, "net.", goodness)
    return net.to(map_location)


def save(net: Net, folder: str | Path) -> None:
    """Export a net for use elsewhere: `config.json` (kind and settings, readable) and `model.safetensors` in `folder`.

    The folder appears whole or not at all; files of an earlier export in it are replaced. Raises `UserError` for a folder
    that cannot be written to, for anything but one of our nets, and for a net with modules that its settings do not tell.
    """
    folder = Path(with_home(str(folder)))
    kind = type(net).__name__
    rule = f"a {' or '.join(KINDS)}, such as the net of a Lightning module"
    check_setting(type(net) is KINDS.get(kind), "net", f"a {kind}", rule)
    check_own_modules(net)
    try:
        write_exported(describe(net), net.state_dict(), folder)
    except OSError as error:
        raise UserError(f"output is '{folder}', which cannot be written to: {error.strerror or error}") from error


def check_own_modules(net: Net) -> None:
    """Raise `UserError` for a net that its settings do not make again: with a module of the user's own in it."""
    with torch.device("meta"):
        goodness = {"goodness": net.goodness_function} if "goodness" in net.settings() else {}
        again = dict(type(net)(**{**net.settings(), **goodness}).named_modules())
    for name, module in net.named_modules():
        if name and type(module) is not type(again.get(name)):
            raise UserError(
                f"{name} of the net is a {type(module).__name__}, which no exported folder could make again: keep the weights "
                "by torch.save(net.state_dict(), file)"
            )


def _exported(folder: Path) -> tuple[Any, Any]:
    """Return the description and the weights of an exported folder. Raises `UserError` for one that is damaged."""
    try:
        return read_exported(folder)
    except Exception as error:  # as above
        reason = _first_line(error)
        raise UserError(f"checkpoint is '{folder}', which cannot be read as an exported net ({reason})") from error


def _build(entry: Any, weights: Any, path: Path, prefix: str, goodness: Goodness | type[Goodness] | None) -> Net:
    """Return the net of a description and of those weights whose names start with `prefix`.

    What a file claims is compared with the weights that it has before anything of that size is made. Raises `UserError`.
    """
    try:
        own = {name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)}
        _check_weights(own, path)
        settings = dict(entry["settings"])
        layers = next(settings[name] for name in ("hidden_features", "layers", "units_per_place") if settings.get(name))
        if len(layers) > len(own):
            raise ValueError("it describes more layers than it has weights")
        if "goodness" in settings:
            settings["goodness"] = built_goodness(settings["goodness"], goodness)
        elif goodness is not None:
            raise UserError("a goodness was given, but it was trained with the mean square, or without any")
        with torch.device("meta"):  # a net without memory, whose shapes are compared with those of the weights
            net = KINDS[entry["kind"]](**settings)
        # Copies, since the file may be mapped; they keep their type.
        copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in own.items()}
        other = sorted(set(copies) ^ set(net.state_dict()))
        if other:
            own_module = "a net with modules of one's own comes back by load_from_checkpoint of its Lightning module"
            raise ValueError(f"its weights are not those of its settings, such as {other[0]}; {own_module}")
        net.load_state_dict(copies, assign=True)
        if not isinstance(net, CharNet | StreamNet):
            net.class_names = stored_names(entry)
    except Exception as error:  # as above: a description can hold anything
        raise UserError(f"checkpoint is '{path}', from which no net can be built ({one_line(error)})") from error
    return net.eval()


def _check_weights(weights: Mapping[str, Any], path: Path) -> None:
    """Raise `ValueError` for anything but plain tensors of one type that the file has the bytes of."""
    size = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    claimed, dtypes = 0, set()
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"its {name} is no tensor of numbers")
        claimed += tensor.numel() * tensor.element_size()
        dtypes.add(tensor.dtype)
    if claimed > size:
        raise ValueError(f"its weights would take {claimed:,} bytes, but the file has {size:,}")
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)) or "none"
        raise ValueError(f"its weights must be of one type of floating-point number, but are: {names}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":. ")
