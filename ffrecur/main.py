"""The console script `ffrecur`: what was typed chooses the command, which is imported only then."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from ffrecur import __version__
from ffrecur.commands.first_screen import asks_for_help, first_screen
from ffrecur.storage.output import refused, replace_unwritable, written_out

COMMANDS = {
    "fit": "train a net, or go on with a training",
    "validate": "measure a trained net on the validation data",
    "test": "measure a trained net on the test data, and draw its pictures",
    "predict": "write the class of each image as a table",
    "generate": "write text, character by character",
    "export": "write a net without its training, for use elsewhere, or as a page to play with",
    "runs": "list the trainings: task, date, epochs, best figure",
    "report": "write an HTML page about a training, or about several side by side",
}
HELP = "\n".join(
    [
        "usage: ffrecur COMMAND [OPTIONS]",
        "",
        "Train networks with the Forward-Forward algorithm, test them, and use them.",
        "",
        *(f"  {name:<10}{what}" for name, what in COMMANDS.items()),
        "",
        "ffrecur COMMAND --help shows the options of a command, ffrecur --version the version.",
        "To begin: ffrecur generate and ffrecur predict, with nets that come with ffrecur.",
        "Then ffrecur fit, which trains on digits that come with the package, and ffrecur test.",
    ]
)
# How long a thread of libgomp, which PyTorch brings, spins where it waits for the others. On a busy machine it so keeps a core
# from the one that it waits for: `scripts/bench/bench_threads.py` measures it. What is computed does not depend on it.
WAITING = {"GOMP_SPINCOUNT": "1000"}
WAITING_CHOSEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # by the user, who then decides


def wait_briefly() -> None:
    """Set `WAITING` in the environment, for this process and those that it starts, unless the user has chosen.

    PyTorch reads it when it is imported.
    """
    if not any(name in os.environ for name in WAITING_CHOSEN):
        os.environ.update(WAITING)


def entry_point() -> None:
    """Run the command that was typed, and exit with its code."""
    wait_briefly()
    replace_unwritable()
    # The current folder, where classes of the user's own may lie; nothing that is installed gives way to them. By its whole
    # name, as jsonargparse changes the folder while it reads a file.
    with suppress(FileNotFoundError):  # of a folder that was removed
        sys.path.append(str(Path.cwd()))
    try:
        code = run(sys.argv[1:])
    except SystemExit as ended:  # after --help
        code = ended.code if isinstance(ended.code, int) else 0
    sys.exit(written_out(code))


def run(arguments: list[str]) -> int:
    """Run a command; return its exit code."""
    first = arguments[:1]
    if first in ([], ["-h"], ["--help"]):
        print(HELP)
        *others, last = COMMANDS
        return 0 if first else refused(f"subcommand is missing; give {', '.join(others)} or {last}")
    if first == ["--version"]:
        print(f"ffrecur {__version__}")
        return 0
    if first == ["generate"]:
        from ffrecur.commands.generate import main as generate

        return generate(arguments[1:])
    if first == ["export"]:
        from ffrecur.commands.export import main as export

        return export(arguments[1:])
    if first == ["runs"]:
        from ffrecur.commands.runs import main as runs

        return runs(arguments[1:])
    if first == ["report"]:
        from ffrecur.commands.report import main as report

        return report(arguments[1:])
    if asks_for_help(arguments):
        print(first_screen(arguments[0]), flush=True)  # the groups of options follow, some seconds later
    from ffrecur.commands.train import main  # imports Lightning, which takes seconds

    return main()


if __name__ == "__main__":
    entry_point()
