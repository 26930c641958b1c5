"""Characters as numbers: the alphabet of a text model, and what becomes of a character that is not in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting

PAPER_ALPHABET = "abcdefghijklmnopqrstuvwxyz ;,."  # the 30 symbols of the paper's fables
Unknown = Literal["drop", "replace", "error"]
UNKNOWN = ("drop", "replace", "error")


class Alphabet:
    """The symbols of a text model, numbered from 0 in the order given, and a policy for all other characters.

    Text is lower-cased first (with `fold_case`), and white space that is not a symbol counts as a space.

    Args:
        symbols: two or more different characters.
        fold_case: whether text is lower-cased.
        unknown: what becomes of other characters: "drop" leaves them out, "replace" puts a space (which must be a
            symbol), "error" raises `UserError`.

    Raises:
        UserError: a setting outside its range.

    >>> alphabet = Alphabet("abc ")
    >>> alphabet.decode(alphabet.encode("A bad cab"))
    'a ba cab'
    """

    def __init__(self, symbols: str = PAPER_ALPHABET, fold_case: bool = True, unknown: Unknown = "drop") -> None:
        check_setting(len(symbols) >= 2, "alphabet", symbols, "at least two symbols")
        repeated = sorted(symbol for symbol, count in Counter(symbols).items() if count > 1)
        if repeated:
            raise UserError(
                f"alphabet is {symbols!r}, which has {''.join(repeated)!r} twice, but must be without duplicates"
            )
        check_setting(unknown in UNKNOWN, "unknown", unknown, " or ".join(UNKNOWN))
        check_setting(
            unknown != "replace" or " " in symbols, "unknown", unknown, "drop or error where a space is not a symbol"
        )
        folded = [symbol for symbol in symbols if symbol != symbol.lower()] if fold_case else []
        check_setting(not folded, "alphabet", symbols, "in lower case, or fold_case false")
        self.symbols, self.fold_case, self.unknown = symbols, fold_case, unknown
        self._number = {symbol: number for number, symbol in enumerate(symbols)}
        self._codes = code_points(symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def fold(self, text: str) -> str:
        """Return the text as the alphabet sees it: lower-cased if so set, and white space that is no symbol as spaces."""
        text = text.lower() if self.fold_case else text
        for character in set(text) - set(self.symbols):
            if character.isspace():
                text = text.replace(character, " ")
        return text

    def unknown_in(self, text: str) -> Counter[str]:
        """Count the characters of a text that are not symbols, after folding."""
        counts = Counter(self.fold(text))
        return Counter({character: count for character, count in counts.items() if character not in self._number})

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's characters, `(N,)` int64; N is smaller than the text where some are dropped.

        Raises `UserError` for a character that is not a symbol, if that is the policy.
        """
        folded = self.fold(text)
        different, place_N = np.unique(code_points(folded), return_inverse=True)
        replacement = self._number[" "] if self.unknown == "replace" else -1
        table = np.array([self._number.get(chr(code), replacement) for code in different], np.int64)
        numbers_N = table[place_N]
        unknown_N = numbers_N < 0
        if self.unknown == "error" and unknown_N.any():
            place = int(unknown_N.argmax())
            raise UserError(
                f"the text has {folded[place]!r} at character {place + 1}, which is not in the alphabet {shown(self.symbols)}; "
                "choose another alphabet, or unknown drop or replace"
            )
        return torch.from_numpy(numbers_N[~unknown_N])

    def decode(self, numbers: Tensor | Sequence[int]) -> str:
        """Return the text of numbers `(N,)`."""
        codes = self._codes[numbers.cpu() if isinstance(numbers, Tensor) else np.asarray(numbers, np.int64)]
        return codes.tobytes().decode("utf-32-le", "surrogatepass")


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text's characters, `(N,)` uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def shown(symbols: str) -> str:
    """Return an alphabet for a message, cut where it is long.

    >>> shown("ab"), len(shown("ab" * 100))
    ("'ab'", 65)
    """
    return repr(symbols) if len(symbols) <= 60 else f"{symbols[:60]!r}..."


def learn_alphabet(text: str, minimum_count: int = 1, fold_case: bool = True) -> str:
    r"""Return the symbols that occur at least `minimum_count` times in a text, in the order of their code points.

    White space counts as a space. Raises `UserError` where fewer than two symbols are left.

    >>> learn_alphabet("Banana\nbread", minimum_count=2)
    'abn'
    """
    check_setting(minimum_count >= 1, "minimum_count", minimum_count, "at least 1")
    text = text.lower() if fold_case else text
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        counts[" " if character.isspace() else character] += count
    symbols = "".join(sorted(symbol for symbol, count in counts.items() if count >= minimum_count))
    if len(symbols) < 2:
        raise UserError(
            f"minimum_count is {minimum_count}, which leaves {symbols!r} of the training text's {len(counts)} symbols; "
            "at least two must be left"
        )
    return symbols
