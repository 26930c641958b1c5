"""The options of a command in groups, below its first screen (`ffrecur.commands.first_screen`)."""

from __future__ import annotations

import argparse

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

GROUPS = {"Configuration": (), "Model": ("model",), "Data": ("data",), "Runs": (), "Trainer": ("trainer",)}
TEXTS = {
    "config": "A task that comes with ffrecur, such as mnist/small, or a YAML file. Several are read in order; the last wins.",
    "print_config": "Print all settings as YAML, and do nothing else. =comments adds what each means (it needs ruamel.yaml), "
    "=skip_default leaves out those that have their defaults.",
    "model": "The model: RecurrentModule, FeedForwardModule, BackpropModule for images, CharModule, StreamModule, "
    "CharBackpropModule for text, or the class path of your own. --model.NAME sets a setting of it.",
    "data": "The data: ImageDataModule, CorpusDataModule for text, VideoDataModule, DriftDataModule and SceneDataModule for "
    "videos, or the class path of your own. --data.NAME sets a setting of it.",
    "trainer.default_root_dir": "Folder of the runs.",
    "weights_only": "Nothing but true is allowed: nothing in a checkpoint runs as code.",
}
CHECKPOINT = {
    "fit": "The training to go on with: last, the newest run; or a checkpoint file. A run folder means its best.ckpt, "
    "from which a new run starts.",
    "others": "The trained net: last or best, of the newest run; a run folder; a checkpoint file; or one that comes with "
    "ffrecur, such as museum/digits.",
}


def arrange(parser: LightningArgumentParser, command: str) -> None:
    """Put the options of a command into the groups of `GROUPS`, with our words for those that have a meaning of their own here.

    Linked settings are left out: the seed says so itself. The usage and what the command is for stand on the first screen.
    """
    parser.usage, parser.description = argparse.SUPPRESS, None
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    for action in parser._actions:
        groups[_group_of(action)]._group_actions.append(action)
        text = TEXTS.get(action.dest)
        if action.dest == "ckpt_path":
            text = CHECKPOINT.get(command, CHECKPOINT["others"])
        action.help = text or action.help
    parser._action_groups = list(groups.values())


def _group_of(action: argparse.Action) -> str:
    """Return the title of the group of an option."""
    first = action.dest.partition(".")[0]
    if isinstance(action, ActionConfigFile) or action.dest in ("help", "print_config"):
        return "Configuration"
    return next((title for title, names in GROUPS.items() if first in names), "Runs")
