"""Drawing text from a character model, one character after another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from ffrecur.bars import bar
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.text.alphabet import Alphabet, with_line_feeds

By = Literal["score", "softmax", "goodness"]
BY = get_args(By)


class Writer(Protocol):
    """What a net must have to write text. `prepare` lays the weights out once for many characters.

    A context is what the net knows of the text so far: the window of a `CharNet`, the state of a `StreamNet`.
    """

    alphabet: Alphabet
    sign: int
    head: nn.Linear

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's symbols."""

    def decode(self, numbers_N: Any) -> str:
        """Return the text of numbers."""

    def prepare(self) -> Any:
        """Lay the weights out."""

    def begun_with(self, prepared: Any, numbers_N: Tensor) -> Any:
        """Context of a text, of one row."""

    def extended(self, prepared: Any, context: Any, symbols_B: Tensor) -> Any:
        """Context after one more symbol of each row."""

    def prepared_score(self, prepared: Any, context: Any, /) -> Tensor:
        """Logits `(B, V)` of the best prediction."""

    def prepared_logits(self, prepared: Any, context: Any, /) -> Tensor:
        """Logits `(B, V)` of the head."""

    def candidate_goodness(self, prepared: Any, context: Any, /) -> Tensor:
        """Goodness `(L, B, V)` of each symbol as the next one."""


class WindowWriter(Writer, Protocol):
    """One whose context is a window of text."""

    window: int


def draw(logits_BV: Tensor, noise_B: Tensor, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
    """Draw one symbol a row with probability `softmax(logits / temperature)`, among the `top_k` highest, `(B,)`.

    `noise_B` is uniform in [0, 1): the symbol is the first whose cumulated probability exceeds it, in float64, so that one
    of probability 0 is never drawn. Temperature 0 takes the highest logit, the first of equals.

    >>> draw(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0.49, 0.51]))
    tensor([0, 1])
    """
    if temperature == 0:
        return logits_BV.argmax(dim=1)
    # On the CPU, since not every device has float64; the highest logit first becomes 0, which no temperature overflows.
    device, noise_B, logits_BV = logits_BV.device, noise_B.cpu(), logits_BV.cpu().double()
    logits_BV = (logits_BV - logits_BV.max(dim=1, keepdim=True).values) / temperature
    if top_k is not None and top_k < logits_BV.shape[1]:
        kept_BK = logits_BV.topk(top_k, dim=1).indices
        logits_BV = torch.full_like(logits_BV, -torch.inf).scatter(1, kept_BK, logits_BV.gather(1, kept_BK))
    cumulated_BV = torch.softmax(logits_BV, dim=1).cumsum(dim=1)
    return (cumulated_BV <= noise_B[:, None].double() * cumulated_BV[:, -1:]).sum(dim=1).to(device)


def goodness_logits(net: Writer, prepared: Any, context: Any, temperature: float) -> Tensor:
    """Log-odds `(B, V)`, but for a constant, of real text for each character after each context, by all layers' goodness.

    `sign * sum over layers of goodness / temperature` of each of the V symbols as the next one.
    """
    logits_BV = net.sign * net.candidate_goodness(prepared, context).sum(dim=0)
    # The highest becomes 0, which no temperature overflows.
    return (logits_BV - logits_BV.max(dim=1, keepdim=True).values) / max(temperature, 1e-30)


@torch.no_grad()
def roll_out(
    net: WindowWriter,
    windows_BW: Tensor,
    noise_BN: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    by: Literal["score", "softmax"] = "softmax",
) -> Tensor:
    """Let the model write on from each window: N symbols each, `(B, W + N)`, the window included.

    It draws by `CharNet.score`, or by the softmax of the head alone, which takes V times less. `noise_BN` is uniform in
    [0, 1). The weights are laid out once for all steps. Nothing else can be carried from one window to the next: every
    character moves to another position there, and reads another column.
    """
    prepared = net.prepare()
    rate: Callable[[Any, Tensor], Tensor] = net.prepared_score if by == "score" else net.prepared_logits
    text = torch.cat([windows_BW, windows_BW.new_zeros(noise_BN.shape)], dim=1)
    with torch.autocast(windows_BW.device.type, enabled=False):
        steps = bar(enumerate(noise_BN.t()), f"writing {len(text):,} texts at once", "characters", noise_BN.shape[1])
        for step, noise_B in steps:
            logits_BV = rate(prepared, text[:, step : step + net.window])
            text[:, step + net.window] = draw(logits_BV, noise_B, temperature, top_k)
    return text


def stream(
    net: Writer,
    prompt: str,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    by: By = "score",
    goodness_temperature: float = 0.1,
) -> Iterator[str]:
    """Return an iterator over `length` characters that go on from the prompt, each drawn when it is asked for.

    Args:
        net: the model.
        prompt: text before; for a window, one that is shorter is filled up on the left with spaces, or with the first symbol
            where a space is none.
        length: characters to draw, at least 0.
        temperature: divides the logits; 0 always takes the likeliest character.
        top_k: draw among so many of the likeliest characters only.
        generator: of the draws, on the CPU; PyTorch's global one if none is given.
        by: "score" (see `CharNet.score`), "softmax" (the head alone) or "goodness" (alone, of the windows that end with
            each candidate).
        goodness_temperature: the goodness scale of "goodness", as of the objective in training.

    Raises:
        UserError: a setting outside its range, a prompt with characters that the alphabet refuses, or, when a character
            is drawn, predictions that are not finite.
    """
    check_whole("length", length, 0)
    check_setting(temperature >= 0, "temperature", temperature, "at least 0")
    if top_k is not None:
        check_whole("top_k", top_k)
    check_setting(by in BY, "by", by, " or ".join(BY))
    check_setting(goodness_temperature > 0, "goodness_temperature", goodness_temperature, "greater than 0")
    numbers_N = net.encode(as_read(prompt, net.alphabet))

    @torch.no_grad()
    def next_symbol(prepared: Any, context: Any) -> Tensor:
        if by == "goodness":
            logits_1V = goodness_logits(net, prepared, context, goodness_temperature)
        else:
            rate = net.prepared_score if by == "score" else net.prepared_logits
            logits_1V = rate(prepared, context)
        if not torch.isfinite(logits_1V).all():
            raise UserError("the model's predictions are not finite: its training has diverged")
        return draw(logits_1V, torch.rand(1, generator=generator), temperature, top_k)

    def characters() -> Iterator[str]:
        with torch.no_grad():
            prepared = net.prepare()
            context = net.begun_with(prepared, numbers_N)
        for _ in range(length):
            symbol = next_symbol(prepared, context)
            context = net.extended(prepared, context, symbol)
            yield net.decode(symbol)

    return characters()


def as_read(prompt: str, alphabet: Alphabet) -> str:
    r"""Return a prompt with its white space as training text has it: one space, or line ends as "\n" where they are symbols.

    >>> as_read("a \r\n b", Alphabet("ab "))
    'a b'
    """
    if any(symbol.isspace() and symbol != " " for symbol in alphabet.symbols):
        return with_line_feeds(prompt)
    return re.sub(r"\s+", " ", prompt)


def padded(net: WindowWriter, numbers_N: Tensor) -> Tensor:
    """Return the last window of a text, `(1, W)`, filled up on the left where the text is shorter."""
    filler = max(net.alphabet.symbols.find(" "), 0)
    missing = max(net.window - len(numbers_N), 0)
    window_W = torch.cat([torch.full((missing,), filler), numbers_N[max(len(numbers_N) - net.window, 0) :]])
    return window_W[None].to(net.head.weight.device)
