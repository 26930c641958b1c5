"""The museum: small trained nets that come with ffrecur, found by name from any folder, such as `museum/digits`.

Each is an exported folder in float16 with a card beside it: how it was made, what it reaches, and the settings of its run.
With these settings the command line tests it and predicts with it as with a checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ffrecur.errors import UserError, one_line
from ffrecur.storage.files import existing

MUSEUM = Path(__file__).parents[1] / "museum"
CARD = "card.json"
RUN_KEY = "run"  # entry of a card: what the checkpoint held as well, such as the configuration of its run


def names() -> list[str]:
    """Return the names of the nets that come with ffrecur."""
    return sorted(f"{MUSEUM.name}/{card.parent.name}" for card in MUSEUM.glob(f"*/{CARD}"))


def place_of(path: str | Path) -> Path:
    """Return the folder of the net that is named; any other path as it is, and one that exists, which wins.

    Raises `UserError` for the name of a net that there is not.
    """
    path = Path(path)
    if len(path.parts) != 2 or path.parts[0] != MUSEUM.name or existing(str(path)) is not None:
        return path
    if path.as_posix() not in names():
        *others, last = names()
        raise UserError(
            f"checkpoint is '{path}', which is not there; the nets that come with ffrecur are {', '.join(others)} and {last}"
        )
    return MUSEUM / path.name


def standing_in(name: str) -> Path:
    """Return a path for a net of this museum that a command takes where there is no run: its name, unless that is taken."""
    return MUSEUM.parent / name if existing(name) is not None else Path(name)


def said(name: str, command: str) -> str:
    """Return what a command says that uses such a net; `command` trains one like it."""
    return f"Using {name}, which comes with ffrecur; train your own with `{command}`."


def has_card(folder: Path) -> bool:
    """Whether a folder holds an exported net with a card."""
    try:
        return (folder / CARD).is_file()
    except OSError:  # a name that no file can have
        return False


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a net. Raises `UserError` for one that is damaged."""
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"checkpoint is '{folder}', whose {CARD} cannot be read: {one_line(error)}") from error
    if not isinstance(card, dict) or not isinstance(card.get(RUN_KEY), dict):
        raise UserError(f"checkpoint is '{folder}', whose {CARD} has no settings of a run")
    return card
