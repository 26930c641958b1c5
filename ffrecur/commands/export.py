"""The command `ffrecur export`: a trained net as `config.json` and `model.safetensors`, or as a page to play with.

It starts without Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ffrecur.commands.parsing import Parser, exit_code
from ffrecur.commands.plain import GOODNESS_HELP, given_goodness, newest_or_museum, newest_run
from ffrecur.errors import UserError, check_setting
from ffrecur.storage.checkpoint import Net, load, read_checkpoint, save
from ffrecur.storage.files import replacing, with_home
from ffrecur.storage.museum import RUN_KEY, has_card, place_of, read_card

FORMATS = ("folder", "page")
WITHOUT_A_RUN = ("museum/digits", "ffrecur fit")  # the net of a page, and what trains one like it
OF_A_RUN = ("config.yaml", "best.ckpt", "last.ckpt")
KEPT_BY_LIGHTNING = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}  # entries of a checkpoint


def make_parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(
        prog="ffrecur export",
        allow_abbrev=False,
        description="Write the net of a checkpoint as config.json (its kind and settings) and model.safetensors (its weights, "
        "without the optimiser's state), for ffrecur.load and ffrecur generate, or for the hub; or as one HTML file that "
        "computes in a browser, to draw or to type into (--format page).",
    )
    parser.add_argument(
        "--checkpoint",
        type=with_home,
        help="checkpoint file, run folder, exported folder or a net that comes with ffrecur, such as museum/digits; the newest "
        "run by default",
    )
    parser.add_argument(
        "--output",
        type=with_home,
        required=True,
        help="folder for the two files, or the page's file; those of an earlier export are replaced",
    )
    parser.add_argument(
        "--format",
        default="folder",
        help="folder, or page: of a recurrent net or a character model (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=with_home,
        help="folder of up to 20 grey images to choose from on a page; by default 20 test digits for a net of MNIST's sizes",
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


def check_page(output: str, marker: str) -> None:
    """Raise `UserError` for an output that is a folder, or a file that is no page of an earlier export."""
    if not output:
        raise UserError("output is '', but must be a file")
    path = Path(output)
    try:
        if path.is_dir():
            raise UserError(f"output is '{output}', which is a folder, but must be a file, such as page.html")
        if path.exists():
            with path.open("rb") as file:
                ours = marker.encode() in file.read(1000)
            if not ours:
                raise UserError(f"output is '{output}', a file that is no page of an earlier export; give another name")
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, UserError):
            raise
        raise UserError(f"output is {output!r}, which cannot be written to: {error}") from error


def settings_of_run(checkpoint: Path, of: Literal["model", "data"] = "model") -> Mapping[str, Any]:
    """Return the settings of a net's training, or of its data, that a checkpoint, a run folder or a card keeps.

    None of an exported folder. Raises `UserError` for a card that is damaged.
    """
    checkpoint = place_of(checkpoint)
    if has_card(checkpoint):
        found = in_configuration(read_card(checkpoint)[RUN_KEY], of)
    else:
        files = [checkpoint, checkpoint / "best.ckpt", checkpoint / "last.ckpt"]
        stored = next((read_checkpoint(file) for file in files if file.is_file()), {})
        found = {**stored.get(KEPT_BY_LIGHTNING[of], {}), **in_configuration(stored, of)}
    return found if isinstance(found, Mapping) else {}


def in_configuration(stored: Mapping[str, Any], of: str) -> Mapping[str, Any]:
    """Return the settings of model or data in what a checkpoint keeps of the configuration; none where it keeps none."""
    part: Any = stored
    for name in ("ffrecur_config", of, "init_args"):
        part = part.get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def write_page(net: Net, output: str, images: str | None, settings: Mapping[str, Any]) -> None:
    """Write a page, whole or not at all, and print what its rounded weights lose. Raises `UserError`."""
    from ffrecur.pages.live import live_page, scoring_of
    from ffrecur.pages.live_inputs import images_of_folder

    page = live_page(net, None if images is None else images_of_folder(images), scoring_of(settings))
    path = Path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(page.html, encoding="utf-8")
    except OSError as error:
        raise UserError(f"output is '{output}', which cannot be written to: {error.strerror or error}") from error
    print(f"{page.loss}  ({page.measured_on})")
    print(f"Exported a {type(net).__name__} to {output}  ({path.stat().st_size / 1e6:.1f} MB; open it in a browser)")


def run(arguments: Sequence[str]) -> None:
    """Export. Raises `UserError` for a user's mistake."""
    options = make_parser().parse_args(arguments)
    check_setting(options.format in FORMATS, "format", options.format, " or ".join(FORMATS))
    as_page = options.format == "page"
    check_setting(as_page or options.images is None, "images", options.images, "left out, or format page")
    if as_page:
        from ffrecur.pages.live import MARKER

        check_page(options.output, MARKER)
        checkpoint = options.checkpoint or newest_or_museum(options.root, None, *WITHOUT_A_RUN)
    else:
        check_output(options.output)
        checkpoint = options.checkpoint or newest_run(options.root)
    if checkpoint is None:
        raise UserError(
            f"checkpoint is not given, and there is no run in '{options.root}' yet; train one with `ffrecur fit`"
        )
    net = load(checkpoint, goodness=given_goodness(options.goodness))
    if as_page:
        write_page(net, options.output, options.images, settings_of_run(Path(checkpoint)))
        return
    save(net, options.output)
    print(f"Exported a {type(net).__name__} to {options.output}  (config.json, model.safetensors)")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code, see `exit_code`."""
    return exit_code(run, arguments)
