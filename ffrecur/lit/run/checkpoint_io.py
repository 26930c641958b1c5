"""How checkpoints are written and read: whole, and nets that come with ffrecur as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from ffrecur.errors import UserError
from ffrecur.lit.module import OPTIMIZER_KEY
from ffrecur.storage.checkpoint import read_checkpoint
from ffrecur.storage.files import replacing
from ffrecur.storage.museum import has_card, place_of


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there; reads nets that come with ffrecur as well.

    Lightning's own goes by way of the folder for temporary files: from another file system it would be copied, and be
    there in part for a while.
    """

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load; of an exported net with a card what it has, which is enough to evaluate it."""
        if not has_card(place_of(path)):
            return super().load_checkpoint(path, *args, **kwargs)
        return {"pytorch-lightning_version": lightning.__version__, OPTIMIZER_KEY: None, **read_checkpoint(path)}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; raises `UserError` if the disk does not take it, and what was at `path` stays."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # PyTorch raises a RuntimeError of its own while it handles the disk's error.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            kept = "the one before it is untouched" if path.is_file() else "there is none before it"
            raise UserError(f"checkpoint '{path}' cannot be written ({cause.strerror}); {kept}") from error
