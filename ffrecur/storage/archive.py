"""Reading files that `torch.save` wrote, which may be damaged or made to do harm."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def read_archive(path: Path) -> Any:
    """Return what the file holds, on the CPU. Tensors are mapped: what nobody looks at is not kept in memory.

    It loads with `weights_only=True`, so that nothing in it runs as code. `torch.load` alone would take a record with
    flipped bits for good; here every record's checksum is compared first, which adds half to the time of loading. Raises
    `ValueError` for damage, and for compressed records, which may grow to any size; anything else that unpickling raises.
    """
    size = path.stat().st_size
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError("it is not what torch.save writes, or its end is missing") from error
    with archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("it is compressed, which no checkpoint is")
        if sum(record.file_size for record in records) > size:
            raise ValueError("its records are larger than the file")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of its record {damaged} is wrong: the file is damaged")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
