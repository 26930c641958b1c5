"""The console script `ffrecur`: text generation and export start at once; all else goes to the LightningCLI."""

from __future__ import annotations

import sys

from ffrecur.commands.plain import replace_unwritable, written_out


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
    if arguments[:1] == ["generate"]:
        from ffrecur.commands.generate import main as generate

        return generate(arguments[1:])
    if arguments[:1] == ["export"]:
        from ffrecur.commands.export import main as export

        return export(arguments[1:])
    from ffrecur.commands.train import main  # imports Lightning, which takes seconds

    return main()


if __name__ == "__main__":
    entry_point()
