"""The configuration of a run: in config.yaml, and in each of its checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
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
        settings = content["model"]["init_args"]
        learned = {name: pl_module.hparams.get(name) for name, value in settings.items() if value is None}
        settings.update(learned)  # what the data told, such as the number of classes
        checkpoint[CONFIG_KEY] = {key: value for key, value in content.items() if key not in NOT_OF_THE_RUN}


def typed_value(args: Sequence[str], name: str) -> Any:
    """Return the value of an option as typed, on the command line or in a configuration file; None if it is in neither.

    Needed before the arguments can be parsed: which checkpoint is read decides which settings there are. A file that
    cannot be read is left to the parser to complain about.
    """
    value, config_files = None, []
    for index, arg in enumerate(args):
        option, equals, attached = arg.partition("=")
        if option in (f"--{name}", "--config", "-c"):
            given = attached if equals else next(iter(args[index + 1 :]), None)
            if option == f"--{name}":
                value = given
            elif given is not None:
                config_files.append(given)
    for file in reversed(config_files):
        if value is None and Path(file).is_file():
            with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
                value = yaml.safe_load(Path(file).read_text())
            for key in name.split("."):
                value = value.get(key) if isinstance(value, dict) else None
    return value
