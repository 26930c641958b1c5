"""The console script `ffrecur`: what was typed chooses the command, which is imported only then."""

from __future__ import annotations

import sys

from ffrecur import __version__
from ffrecur.storage.output import refused, replace_unwritable, written_out

COMMANDS = {
    "fit": "train a net, or go on with a training",
    "validate": "measure a trained net on the validation data",
    "test": "measure a trained net on the test data, and draw its pictures",
    "predict": "write the class of each image, or the next character of each text, as a table",
    "generate": "write text, character by character",
    "export": "write a net without its training, for use elsewhere",
    "runs": "list the trainings: task, date, epochs, best figure",
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
        "To begin: ffrecur fit, which trains on digits that come with the package, then ffrecur test.",
    ]
)


def entry_point() -> None:
    """Run the command that was typed, and exit with its code."""
    replace_unwritable()
    # The current folder, where classes of the user's own may lie; nothing that is installed gives way to them.
    sys.path.append("")
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
    from ffrecur.commands.train import main  # imports Lightning, which takes seconds

    return main()


if __name__ == "__main__":
    entry_point()
