"""Data sets that the library `datasets` reads, from a folder or from the hub."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import datasets
from huggingface_hub.utils import get_session

from ffrecur import bars
from ffrecur.data.splits import is_saved
from ffrecur.errors import UserError

BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}
OF_CSV = {"keep_default_na": False, "na_values": [""]}  # words such as NA and None are text; an empty field is none
Splits = dict[str, datasets.Dataset]


def load_folder(source: str, folder: Path, limit: float = math.inf) -> tuple[str, Splits]:
    """What the folder was taken for (a phrase for the log) and its splits: `save_to_disk`, or parquet etc.

    What a table of more than `limit` bytes holds stays on the disk.
    Raises `UserError` where `datasets` cannot read it.
    """
    folder = folder.resolve()
    with told(f"data.source is {source!r}, a folder that cannot be read as a data set"), quiet():
        if is_saved(folder):
            return f"save_to_disk folder {folder}", as_splits(datasets.load_from_disk(str(folder)))
        return f"folder {folder} read by datasets", load(str(folder), folder.rglob("*"), limit)


def load_files(
    source: str, folder: Path, builder: str, splits: dict[str, list[Path]], limit: float = math.inf
) -> tuple[str, Splits]:
    """The same for tables in a folder (paths relative to it), by split."""
    paths = {split: [folder.resolve() / file for file in files] for split, files in splits.items()}
    return f"folder {folder.resolve()} read by datasets", load_tables(source, "folder", builder, paths, limit)


def load_file(source: str, file: Path, limit: float = math.inf) -> tuple[str, Splits]:
    """The same for a single file with a table; `BUILDERS` has the kinds by the ending of the name."""
    splits = load_tables(source, "file", BUILDERS[file.suffix.lower()], {"train": [file]}, limit)
    return f"file {file.name} read by datasets", splits


def load_tables(source: str, what: str, builder: str, paths: dict[str, list[Path]], limit: float) -> Splits:
    """Tables that `builder` reads; they stay on the disk if they take more than `limit` bytes."""
    with told(f"data.source is {source!r}, a {what} that cannot be read as a data set"):
        return read_tables(builder, paths, limit, **(OF_CSV if builder == "csv" else {}))


def read_tables(builder: str, paths: Mapping[str, Sequence[Path]], limit: float = math.inf, **options: Any) -> Splits:
    """The same, raising whatever `datasets` does; `options` are those of the builder."""
    counted = datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    names = {split: [escape(str(path)) for path in files] for split, files in paths.items()}
    try:
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else the name of the builder is sent over the network
        return load(builder, chain(*paths.values()), limit, data_files=names, **options)
    finally:
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = counted


def load(name: str, files: Iterable[Path], limit: float, **options: Any) -> Splits:
    """What `datasets` loads, with a cache of its own, so that a file changed since the last run is read anew.

    Where the files are too large for the memory, the cache is mapped, and the system keeps it until the last one is let go.
    """
    small = sum(path.stat().st_size for path in files if path.is_file()) <= limit
    with quiet(), tempfile.TemporaryDirectory() as cache:
        return as_splits(datasets.load_dataset(name, cache_dir=cache, keep_in_memory=small, **options))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raise `UserError` for what cannot be read in the block; `datasets` raises some twenty kinds."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{what}: {first_line(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `datasets` from logging an error that is told in a sentence, and from bars; see `without_bars`."""
    logger = logging.getLogger("datasets")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with without_bars():
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep `datasets` from bars in the block, where those of `ffrecur.bars` are off: it shows its own in files too."""
    switched_off = not bars.are_on() and not datasets.are_progress_bars_disabled()
    if switched_off:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if switched_off:
            datasets.enable_progress_bars()


def load_hub(source: str) -> tuple[str, Splits]:
    """The same for a hub id. Where the hub cannot be reached, a copy that `datasets` has cached before will do.

    Raises `UserError`, within seconds where the hub cannot be reached, if there is no such copy or no such data set.
    """
    online = hub_is_reachable()
    offline_before = datasets.config.HF_HUB_OFFLINE
    try:
        # `datasets` alone would try for half a minute before it looks into its cache.
        datasets.config.HF_HUB_OFFLINE = offline_before or not online
        with without_bars():
            return f"hub data set {source}", as_splits(datasets.load_dataset(source))
    except Exception as error:
        what = f"data.source is {source!r}, which is neither a file nor a folder here"
        if not online:
            raise UserError(
                f"{what}, and the hub cannot be reached to look for a data set of that id: download it on a connected "
                f"machine, write it with `save_to_disk` and give that folder, or use 'bundled'"
            ) from error
        raise UserError(f"{what}, and as a hub id it cannot be loaded: {first_line(error)}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline_before


def hub_is_reachable(seconds: float = 5.0) -> bool:
    """Whether the hub answers one request at all, with the proxies and settings that `datasets` would use."""
    codes: list[int] = []

    def ask() -> None:
        with suppress(Exception):  # whatever it is (no name, no route, offline mode), the hub is out of reach
            codes.append(get_session().head(datasets.config.HF_ENDPOINT, timeout=seconds).status_code)

    thread = Thread(target=ask, daemon=True)  # because looking up a name knows no timeout
    thread.start()
    thread.join(seconds)
    return any(code < 500 for code in codes)  # 5xx: a proxy that cannot reach it


def as_splits(loaded: datasets.Dataset | datasets.DatasetDict) -> Splits:
    """A data set without splits is all training."""
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def first_line(error: Exception) -> str:
    """The first line of the message of what caused an error, or the name of its kind where it has none."""
    while isinstance(error.__cause__, Exception):  # `datasets` says that an error occurred, and hides which
        error = error.__cause__
    return next(iter(str(error).splitlines()), "") or type(error).__name__
