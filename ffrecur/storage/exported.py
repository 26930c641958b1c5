"""Exported folders: `config.json`, which people read, and `model.safetensors`, which runs no code.

The weights file carries the description of its net too, and a checksum over that and all tensors. So each file is checked
against the other: an interrupted export over an older one, an edited description or a flipped bit is refused.
The libraries `safetensors` and `huggingface_hub` call these names usual.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffrecur.storage.archive import read_archive

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OLDER_CONFIG, OLDER_WEIGHTS = "net.json", "weights.pt"  # the names of version 0.1.0, which are still read
METADATA_KEY, CHECKSUM_KEY = "ffrecur", "sha256"


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported net, whole or not. Raises `OSError` for a path that cannot be looked at."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, OLDER_CONFIG))


def write_exported(description: dict[str, Any], weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write a net's description and weights to `folder`, which appears whole or not at all.

    Both files are written to a temporary folder beside it, which is then renamed. Where the folder is there already, they are
    written to a temporary one inside it, and then replace what is there one by one, the weights first; a reader in between
    finds a mixture, which `read_exported` refuses. Raises `OSError` where they cannot be written.
    """
    from safetensors import SafetensorError  # here, because whoever only trains does not need it
    from safetensors.torch import save_file

    there = folder.exists()
    folder.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
    # One entry: safetensors writes several in an order by chance, and the same net shall give the same bytes.
    metadata = {METADATA_KEY: json.dumps({**description, CHECKSUM_KEY: checksum(description, plain)})}
    with tempfile.TemporaryDirectory(dir=folder if there else folder.parent, prefix=".export-") as temporary:
        new = Path(temporary) / "new"  # a folder with the usual permissions, unlike the temporary one
        new.mkdir()
        try:
            save_file(plain, new / WEIGHTS, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        (new / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        shutil.copymode(new / CONFIG, new / WEIGHTS)
        if not there:
            new.rename(folder)
            return
        for name in (WEIGHTS, CONFIG):
            (new / name).replace(folder / name)
        for name in (OLDER_CONFIG, OLDER_WEIGHTS):
            (folder / name).unlink(missing_ok=True)


def read_exported(folder: Path) -> tuple[Any, Any]:
    """Return the description and the weights of an exported folder, of this version or of 0.1.0.

    Raises `ValueError` where the two files disagree or are damaged, and whatever else reading them raises.
    """
    # An export over one of 0.1.0 puts the weights first: until the description is there too, the older one is whole.
    if not (folder / CONFIG).is_file() and (folder / OLDER_CONFIG).is_file():
        return json.loads((folder / OLDER_CONFIG).read_bytes()), read_archive(folder / OLDER_WEIGHTS)
    from safetensors import safe_open

    description = json.loads((folder / CONFIG).read_bytes())
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata() or {}
        if METADATA_KEY not in metadata:
            raise ValueError(f"its {WEIGHTS} was not written by ffrecur")
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    own = json.loads(metadata[METADATA_KEY])
    if own.pop(CHECKSUM_KEY) != checksum(own, weights):
        raise ValueError(f"the checksum of its {WEIGHTS} is wrong: the file is damaged")
    if own != description:
        raise ValueError(
            f"its {CONFIG} and its {WEIGHTS} are not of the same net: an export was interrupted or a file was changed; "
            "export the net again"
        )
    return description, weights


def checksum(description: dict[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description and of the name, type, shape and bytes of each tensor."""
    digest = hashlib.sha256(json.dumps(description).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
