"""The command `ffrecur export`: a trained net as `config.json` and `model.safetensors`. It starts without Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ffrecur.commands.plain import GOODNESS_HELP, Parser, exit_code, given_goodness, newest_run
from ffrecur.errors import UserError
from ffrecur.storage.checkpoint import load, save
from ffrecur.storage.files import with_home

OF_A_RUN = ("config.yaml", "best.ckpt", "last.ckpt")


def make_parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(
        prog="ffrecur export",
        allow_abbrev=False,
        description="Write the net of a checkpoint as config.json (its kind and settings) and model.safetensors (its weights, "
        "without the optimiser's state), for ffrecur.load and ffrecur generate, or for the hub.",
    )
    parser.add_argument(
        "--checkpoint",
        type=with_home,
        help="checkpoint file, run folder or exported folder; the newest run by default",
    )
    parser.add_argument(
        "--output",
        type=with_home,
        required=True,
        help="folder for the two files; those of an earlier export are replaced",
    )
    parser.add_argument("--goodness", help=GOODNESS_HELP)
    where = "where the newest run is looked for (default: %(default)s)"
    parser.add_argument("--root", type=with_home, default="runs", help=where)
    return parser


def check_output(output: str) -> None:
    """Raise `UserError` for an output that is a file, or the folder of a run, where the export would hide the checkpoints."""
    if not output:
        raise UserError("output is '', but must be a folder")
    folder = Path(output)
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"output is '{output}', which is a file, but must be a folder")
        if any((folder / name).exists() for name in OF_A_RUN):
            raise UserError(f"output is '{output}', which is the folder of a run; give another, such as a new one")
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, UserError):
            raise
        raise UserError(f"output is {output!r}, which cannot be written to: {error}") from error


def run(arguments: Sequence[str]) -> None:
    """Export. Raises `UserError` for a user's mistake."""
    options = make_parser().parse_args(arguments)
    check_output(options.output)
    checkpoint = options.checkpoint or newest_run(options.root)
    if checkpoint is None:
        raise UserError(
            f"checkpoint is not given, and there is no run in '{options.root}' yet; train one with `ffrecur fit`"
        )
    net = load(checkpoint, goodness=given_goodness(options.goodness))
    save(net, options.output)
    print(f"Exported a {type(net).__name__} to {options.output}  (config.json, model.safetensors)")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code, see `exit_code`."""
    return exit_code(run, arguments)
