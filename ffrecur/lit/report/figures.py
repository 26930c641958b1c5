"""Where pictures go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from ffrecur.storage.files import replacing


def save_figures(folder: Path, figures: Mapping[str, Figure], trainer: Trainer) -> None:
    """Write every figure as PNG into a folder, and to TensorBoard where it is on."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with replacing(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120, format="png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure(f"{folder.name}/{name}", figure, global_step=trainer.global_step)
