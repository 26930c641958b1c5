"""The command `ffrecur generate`: a trained character model writes on. It starts without Lightning."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from ffrecur.commands.parsing import Parser, exit_code
from ffrecur.commands.plain import GOODNESS_HELP, TEXT_NETS, given_goodness, newest_or_museum
from ffrecur.errors import UserError, check_seed, check_whole
from ffrecur.nets.character import CharNet
from ffrecur.nets.stream import StreamNet
from ffrecur.seeding import seeded_generator
from ffrecur.storage.checkpoint import load
from ffrecur.storage.files import with_home
from ffrecur.storage.output import replace_unwritable
from ffrecur.text.sampling import stream

WITHOUT_A_RUN = ("museum/fables", "ffrecur fit --config text/bundled")  # the net, and what trains one like it


def make_parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(
        prog="ffrecur generate",
        allow_abbrev=False,
        description="Let a trained character model write on from a prompt. Standard output gets the text and nothing else.",
    )
    parser.add_argument(
        "--checkpoint",
        type=with_home,
        help="checkpoint file, run folder, exported folder or museum/fables; the newest text run by default, and without one "
        "museum/fables, which comes with ffrecur",
    )
    where = "where the newest text run is looked for (default: %(default)s)"
    parser.add_argument("--goodness", help=GOODNESS_HELP)
    parser.add_argument("--root", type=with_home, default="runs", help=where)
    parser.add_argument("--prompt", default="", help="text before; - reads it from standard input (default: none)")
    parser.add_argument("--length", type=int, default=300, help="characters to draw (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest (default: %(default)s)")
    parser.add_argument("--top_k", type=int, help="draw among so many of the likeliest characters only")
    parser.add_argument("--num_samples", type=int, default=1, help="texts, one after the other (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default: %(default)s)")
    parser.add_argument(
        "--by",
        default="score",
        help="what rates the candidates: score (the head's softmax and goodness, as the model was set to weigh them), "
        "softmax or goodness alone (default: %(default)s)",
    )
    parser.add_argument(
        "--goodness_temperature", type=float, default=0.1, help="goodness scale of --by goodness (default: %(default)s)"
    )
    return parser


def read_prompt(prompt: str) -> str:
    """Return the prompt, from standard input if it is `-`, without the line's end there.

    Raises `UserError` for a closed standard input, and for text that is not UTF-8.
    """
    try:
        if prompt == "-":
            if sys.stdin is None:
                raise UserError("prompt is '-', but standard input is closed")
            data = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
            return data.decode("utf-8").removesuffix("\n")
        prompt.encode("utf-8")  # what the shell gave as other bytes stands as lone surrogates
    except UnicodeError as error:
        raise UserError(f"prompt is {prompt!r}, which is not UTF-8: {error.reason}") from error  # type: ignore[attr-defined]
    return prompt


def warn_of_unknown(net: CharNet | StreamNet, prompt: str) -> None:
    """Say on standard error which characters of the prompt the model does not know, and what becomes of them."""
    unknown = net.alphabet.unknown_in(prompt)
    if unknown and net.alphabet.unknown != "error":
        what = {"drop": "dropped", "replace": "replaced by spaces"}[net.alphabet.unknown]
        characters = " ".join(repr(character) for character in sorted(unknown))
        print(f"warning: not in the alphabet and {what}: {characters}", file=sys.stderr)


def run(arguments: Sequence[str]) -> None:
    """Generate. Raises `UserError` for a user's mistake."""
    options = make_parser().parse_args(arguments)
    check_whole("num_samples", options.num_samples)
    check_seed("seed", options.seed)
    checkpoint = options.checkpoint or newest_or_museum(options.root, TEXT_NETS, *WITHOUT_A_RUN)
    net = load(checkpoint, goodness=given_goodness(options.goodness))
    if not isinstance(net, CharNet | StreamNet):
        raise UserError(
            f"checkpoint is '{options.checkpoint}', which holds a {type(net).__name__}, but must hold a CharNet or a StreamNet"
        )
    prompt = read_prompt(options.prompt)

    def sample(number: int) -> Iterator[str]:
        source = seeded_generator(options.seed, number)
        by, goodness_temperature = options.by, options.goodness_temperature
        return stream(net, prompt, options.length, options.temperature, options.top_k, source, by, goodness_temperature)

    sample(0)  # a mistake is told before anything is written
    warn_of_unknown(net, prompt)
    replace_unwritable()
    for number in range(options.num_samples):
        print(prompt, end="", flush=True)
        for character in sample(number):
            print(character, end="", flush=True)
        print(flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code, see `exit_code`."""
    return exit_code(run, arguments)
