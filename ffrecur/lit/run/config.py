"""The configuration of a run: in config.yaml, and in each of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from ffrecur.errors import UserError, one_line
from ffrecur.lit.run.parser import without_marks
from ffrecur.storage.files import existing, replacing

CONFIG_KEY = "ffrecur_config"  # entry of a checkpoint: the configuration of its run, as plain dicts
NOT_OF_THE_RUN = ("config", "ckpt_path", "weights_only", "return_predictions", "verbose")  # of one command only
OF_TRAINING = ("trainer", "checkpoint_seconds")  # groups that say nothing about a net

MOST_VALUES, DEEPEST = 10_000, 40  # of a configuration file; a complete one has some 150 values on 8 levels


class RunConfig(SaveConfigCallback):
    """Save config.yaml when training starts, and the same content in every checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save nothing yet: a training that is refused, or has nothing left to do, leaves config.yaml as it is."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save config.yaml."""
        folder = trainer.log_dir  # which all processes must ask for
        if trainer.is_global_zero and folder is not None:
            with replacing(Path(folder) / self.config_filename) as temporary:
                temporary.write_text(self.text, encoding="utf-8")

    @cached_property
    def text(self) -> str:
        """The configuration as YAML; made once, because it takes longer than a short epoch."""
        config = self.config.clone()
        config.ckpt_path = None  # who trains with config.yaml again starts from the beginning
        text: str = self.parser.dump(config, skip_none=False)
        return text

    @cached_property
    def content(self) -> dict[str, Any]:
        """The same as plain dicts."""
        content: dict[str, Any] = yaml.safe_load(self.text)
        return content

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the configuration, so that a checkpoint on its own is enough to test it or to continue."""
        content = deepcopy(self.content)
        settings = content["model"].get("init_args", {})  # a class of the user's own may have no settings
        learned = {name: pl_module.hparams.get(name) for name, value in settings.items() if value is None}
        settings.update(learned)  # what the data told, such as the number of classes
        checkpoint[CONFIG_KEY] = {key: value for key, value in content.items() if key not in NOT_OF_THE_RUN}


def stored_settings(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the configuration that a checkpoint holds. Raises `UserError` for one that has no groups of settings."""
    stored = without_marks(checkpoint.get(CONFIG_KEY, {}))
    groups = [stored.get(name, {}) for name in ("model", "data", "trainer")] if isinstance(stored, dict) else [None]
    if not all(isinstance(group, dict) for group in groups):
        raise UserError(f"checkpoint is '{path}', whose settings are not those of a run")
    return dict(stored)


def without_training(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings without those of training alone: of the trainer, and how our data change training images.

    So a net is tested without the class of one's own that changed its images.

    >>> without_training({"trainer": {}, "data": {"class_path": "ffrecur.data.ImageDataModule", "init_args": {"augment": []}}})
    {'data': {'class_path': 'ffrecur.data.ImageDataModule', 'init_args': {}}}
    """
    kept = {name: value for name, value in stored.items() if name not in OF_TRAINING}
    data = kept.get("data", {})
    if str(data.get("class_path")).startswith("ffrecur.") and isinstance(data.get("init_args"), dict):
        settings = {name: value for name, value in data["init_args"].items() if name != "augment"}
        kept["data"] = {**data, "init_args": settings}
    return kept


def check_written(parser: LightningArgumentParser, config: Namespace) -> None:
    """Raise `UserError` for a configuration that could not be read again, neither from config.yaml nor from a checkpoint."""
    content = config.clone()
    content.config, content.ckpt_path = None, None
    what = "the settings cannot be written so that a run can be continued"
    text = parser.dump(content, skip_none=False)
    try:
        text.encode()
        again = parser.dump(parser.parse_string(text), skip_none=False)
    except (UserError, UnicodeError) as error:
        raise UserError(f"{what}: {one_line(error)}") from error
    for line, other in zip_longest(text.splitlines(), again.splitlines()):
        if line != other:
            raise UserError(f"{what}: {(line or '').strip()} would be read as {(other or 'nothing').strip()}")


def typed_value(args: Sequence[str], name: str) -> Any:
    """Return the value of an option as typed, on the command line or in a configuration file; None if it is in neither.

    Needed before the arguments can be parsed: which checkpoint is read decides which settings there are.
    Raises `UserError` for a configuration file that is not YAML; one that is missing is left to the parser.
    """
    value = next(reversed(values_of(args, f"--{name}")), None)
    for file in reversed(config_files(args)):
        in_file: Any = settings_in(file)
        for key in name.split("."):
            in_file = in_file.get(key) if isinstance(in_file, dict) else None
        value = in_file if value is None else value
    return value


def values_of(args: Sequence[str], *options: str) -> list[str | None]:
    """Return what was typed for options, in their order; None for one at the end without a value."""
    split = [(index, *arg.partition("=")) for index, arg in enumerate(args)]
    return [
        attached if equals else next(iter(args[index + 1 :]), None)
        for index, option, equals, attached in split
        if option in options
    ]


def config_files(args: Sequence[str]) -> list[Path]:
    """Return the configuration files that were typed and are there."""
    there = (existing(given) for given in values_of(args, "--config", "-c") if given is not None)
    return [file for file in there if file is not None and file.is_file()]


def settings_in(file: Path) -> dict[str, Any]:
    """Return what a configuration file holds; raises `UserError` for one that is no YAML, or holds no settings."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: no UTF-8; a 13th month; ...
        raise UserError(f"config is '{file}', which is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"config is '{file}', which holds no settings; it must have lines such as `seed_everything: 0`")
    _check_content(file, content)
    trainer = content.get("trainer", {})
    if not isinstance(trainer, dict):
        raise UserError(f"config is '{file}', whose trainer is {trainer!r}, but must have settings below it")
    return content


def _check_content(file: Path, content: Any) -> None:
    """Raise `UserError` for what the parser would choke on: aliases that make a few lines large, or endless; NUL."""
    stack, count = [(content, 0)], 0
    while stack:
        value, depth = stack.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise UserError(f"config is '{file}', which has more than {MOST_VALUES:,} values or {DEEPEST} levels")
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"config is '{file}', which has the value {value!r}, but must be without NUL characters")
        inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        stack += [(part, depth + 1) for part in inner]
