"""What `ffrecur fit --help` begins with, and the help of its sisters: the options that matter, and examples, at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 31  # of the column of options


class Screen(NamedTuple):
    """What one command says of itself."""

    what: str
    usage: tuple[str, ...]
    options: dict[str, str]
    examples: dict[str, str]


CONFIG = "a task that comes with ffrecur, such as mnist/small, or a YAML file"
SOURCE = "bundled, a file or folder, or a hub id"
ROOT = "folder of the runs (default: runs)"
OF_TRAINED = ("[--ckpt_path PATH] [--data.source SOURCE] [--OPTION VALUE ...]",)
TRAINED = "run folder, checkpoint file or museum/digits (default: newest run)"

SCREENS = {
    "fit": Screen(
        "Train a net, or go on with a training. All settings have defaults.",
        ("[--config NAME] [--OPTION VALUE ...]", "--ckpt_path last [--OPTION VALUE ...]"),
        {
            "--config NAME": CONFIG,
            "--data.source SOURCE": SOURCE,
            "--model.hidden_features LIST": "units of each hidden layer, such as [500,500]",
            "--trainer.max_epochs N": "epochs of the whole training (default: 40)",
            "--ckpt_path last": "go on with the newest run",
            "--trainer.default_root_dir DIR": ROOT,
        },
        {
            "ffrecur fit": "digits that come with the package",
            "ffrecur fit --config text/bundled": "text that comes with the package",
            "ffrecur fit --ckpt_path last --trainer.max_epochs 80": "40 epochs more",
        },
    ),
    "validate": Screen(
        "Measure a trained net on the validation data; the checkpoint has its settings.",
        OF_TRAINED,
        {"--ckpt_path PATH": TRAINED, "--data.source SOURCE": SOURCE, "--trainer.default_root_dir DIR": ROOT},
        {
            "ffrecur validate": "the newest run",
            "ffrecur validate --ckpt_path runs/NAME": "another run",
            "ffrecur validate --data.source FOLDER": "other data",
        },
    ),
    "test": Screen(
        "Measure a trained net on the test data, and draw its pictures; the checkpoint has its settings.",
        OF_TRAINED,
        {"--ckpt_path PATH": TRAINED, "--data.source SOURCE": SOURCE, "--trainer.default_root_dir DIR": ROOT},
        {
            "ffrecur test": "the newest run",
            "ffrecur test --ckpt_path runs/NAME": "another run",
            "ffrecur test --data.source FOLDER": "other data",
        },
    ),
    "predict": Screen(
        "Write the class of each image as a table; the checkpoint has the settings. Text: ffrecur generate.",
        OF_TRAINED,
        {"--ckpt_path PATH": TRAINED, "--data.source SOURCE": SOURCE, "--trainer.default_root_dir DIR": ROOT},
        {
            "ffrecur predict": "the newest run's test images; or by museum/digits",
            "ffrecur predict --data.source FOLDER": "images without labels",
            "ffrecur predict --ckpt_path runs/NAME": "another run",
        },
    ),
}


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether the arguments are a command that has a first screen, and ask for its help."""
    return arguments[0] in SCREENS and any(argument in ("-h", "--help") for argument in arguments[1:])


def first_screen(command: str) -> str:
    """Return what the help of a command begins with."""
    screen = SCREENS[command]
    settings = {
        "--model.help RecurrentModule": "the settings of a model; or FeedForwardModule, CharModule, ...",
        "--data.help ImageDataModule": "those of the data; for text CorpusDataModule",
        "--print_config": "all settings of this command as YAML; nothing is run",
    }
    width = max(map(len, screen.examples)) + 2
    return "\n".join(
        [
            *(
                f"{'usage:' if line == 0 else '':<6} ffrecur {command} {usage}"
                for line, usage in enumerate(screen.usage)
            ),
            "",
            screen.what,
            "",
            "The options that matter most:",
            *(f"  {option:<{WIDTH}}{what}" for option, what in screen.options.items()),
            "",
            "To see settings:",
            *(f"  {option:<{WIDTH}}{what}" for option, what in settings.items()),
            "",
            "Examples:",
            *(f"  {example:<{width}}{what}" for example, what in screen.examples.items()),
            "",
            "All options, in groups:",
        ]
    )
