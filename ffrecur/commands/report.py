"""The command `ffrecur report`: one HTML file about a run, or about several side by side. It starts without Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ffrecur.commands.parsing import Parser, exit_code
from ffrecur.commands.plain import newest_run
from ffrecur.errors import UserError, check_setting
from ffrecur.storage.files import with_home

ENDINGS = (".html", ".htm")


def make_parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(
        prog="ffrecur report",
        allow_abbrev=False,
        description="Write one HTML file about a run, or about several side by side: what was trained on what, learning curves, "
        "errors, mistakes, and pictures. It needs nothing but a browser, on a computer, on a phone and in print.",
    )
    parser.add_argument("runs", nargs="*", type=with_home, metavar="RUN", help="run folder; the newest run by default")
    parser.add_argument(
        "--output",
        type=with_home,
        help="file to write, which ends in .html (default: report.html in the run's folder; of several runs it must be given)",
    )
    where = "where the newest run is looked for (default: %(default)s)"
    parser.add_argument("--root", type=with_home, default="runs", help=where)
    return parser


def check_output(output: str) -> Path:
    """Return the file to write; raises `UserError` for one that is no page, or cannot be one."""
    path = Path(output)
    check_setting(path.suffix.lower() in ENDINGS, "output", output, "a file that ends in .html")
    try:
        check_setting(not path.is_dir(), "output", output, "a file, but is a folder")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, UserError):
            raise
        raise UserError(f"output is {output!r}, which cannot be written to: {error}") from error
    check_setting(above.is_dir(), "output", output, f"a file in a folder, which '{above}' is not")
    return path


def run(arguments: Sequence[str]) -> None:
    """Write the report. Raises `UserError` for a user's mistake."""
    options = make_parser().parse_args(arguments)
    if len(options.runs) > 1 and options.output is None:
        raise UserError("output is not given, but must be where there are several runs: a file that ends in .html")
    output = None if options.output is None else check_output(options.output)
    folders = [Path(folder) for folder in options.runs]
    if not folders:
        newest = newest_run(options.root)
        if newest is None:
            raise UserError(
                f"run is not given, and there is no run in '{options.root}' yet; train one with `ffrecur fit`"
            )
        folders = [newest]
    from ffrecur.pages.report import NAME, write_report  # matplotlib takes a second, a mistake needs none

    written = folders[0] / NAME if output is None else output
    write_report(folders, written)
    print(f"Written: {written}")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code, see `exit_code`."""
    return exit_code(run, arguments)
