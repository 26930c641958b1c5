"""The console script `ffrecur`: text generation and export start at once; all else goes to the LightningCLI."""

from __future__ import annotations

import sys


def entry_point() -> None:
    """Run the command that was typed, and exit with its code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["generate"]:
        from ffrecur.generate import main as generate

        sys.exit(generate(arguments[1:]))
    if arguments[:1] == ["export"]:
        from ffrecur.export import main as export

        sys.exit(export(arguments[1:]))
    from ffrecur.cli import main  # imports Lightning, which takes seconds

    sys.exit(main())


if __name__ == "__main__":
    entry_point()
