"""The configuration of a run: in config.yaml, and in each of its checkpoints."""

from __future__ import annotations

from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

CONFIG_KEY = "ffrecur_config"  # entry of a checkpoint: the configuration of its run, as plain dicts
NOT_OF_THE_RUN = ("config", "ckpt_path", "weights_only", "return_predictions", "verbose")  # of one command only


class RunConfig(SaveConfigCallback):
    """Save config.yaml when training starts, and the same content in every checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save config.yaml; only a training owns its run folder."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the configuration, so that a checkpoint on its own is enough to test it or to continue."""
        content = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        checkpoint[CONFIG_KEY] = {key: value for key, value in content.items() if key not in NOT_OF_THE_RUN}
