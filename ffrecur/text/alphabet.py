"""Characters as numbers: the alphabet of a text model, and what becomes of a character that is not in it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting, check_whole

PAPER_ALPHABET = "abcdefghijklmnopqrstuvwxyz ;,."  # the 30 symbols of the paper's fables
Unknown = Literal["drop", "replace", "error"]
UNKNOWN = ("drop", "replace", "error")
LINE_ENDS = ("\r\n", "\r", "\x85", "\u2028", "\u2029")
WHITE_SPACE = [code for code in range(0x3001) if chr(code).isspace()]  # U+3000 is the last of Unicode


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
        self._codes = code_points(symbols)
        # The number of every code point; those beyond the table share its last entry, which is no symbol's.
        self._table = np.full(max(*self._codes.tolist(), *WHITE_SPACE) + 2, -1, np.int32)
        self._table[WHITE_SPACE] = symbols.find(" ")
        self._table[self._codes] = np.arange(len(symbols))

    def __len__(self) -> int:
        return len(self.symbols)

    def fold(self, text: str) -> str:
        """Return the text as the alphabet sees it: lower-cased if so set, and white space that is no symbol as spaces."""
        text = self.lower(text)
        for character in set(text) - set(self.symbols):
            if character.isspace():
                text = text.replace(character, " ")
        return text

    def lower(self, text: str) -> str:
        """Return the text lower-cased if so set."""
        return text.lower() if self.fold_case else text

    def look_up(self, codes_N: np.ndarray) -> np.ndarray:
        """Return the numbers of code points `(N,)` int32, -1 for those that are not symbols; case is not folded."""
        return self._table.take(codes_N, mode="clip")

    def unknown_in(self, text: str) -> Counter[str]:
        """Count the characters of a text that are not symbols, after folding."""
        codes_N = code_points(self.fold(text))
        return Counter(characters(codes_N[self.look_up(codes_N) < 0]))

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's characters, `(N,)` int64; N is smaller than the text where some are dropped.

        Raises `UserError` for a character that is not a symbol, if that is the policy.
        """
        numbers_N = self.look_up(code_points(self.lower(text)))
        unknown_N = numbers_N < 0
        if self.unknown == "replace":
            numbers_N[unknown_N] = self.symbols.index(" ")
        elif self.unknown == "error" and unknown_N.any():
            place = int(unknown_N.argmax())
            character = self.fold(text)[place]
            raise UserError(
                f"the text has {character!r} at character {place + 1}, which is not in the alphabet {shown(self.symbols)}; "
                "choose another alphabet, or unknown drop or replace"
            )
        return torch.from_numpy(numbers_N[numbers_N >= 0].astype(np.int64))

    def decode(self, numbers: Tensor | Sequence[int]) -> str:
        """Return the text of numbers `(N,)`."""
        return characters(self._codes[numbers.cpu() if isinstance(numbers, Tensor) else np.asarray(numbers, np.int64)])


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text's characters, `(N,)` uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def characters(codes_N: np.ndarray) -> str:
    """Return the text of code points `(N,)` uint32, the inverse of `code_points`."""
    return codes_N.tobytes().decode("utf-32-le", "surrogatepass")


def with_line_feeds(text: str) -> str:
    r"""Return a text with `\n` for line ends of other kinds.

    >>> with_line_feeds("a\r\nb\rc\u2028d")
    'a\nb\nc\nd'
    """
    for end in LINE_ENDS:
        text = text.replace(end, "\n")  # the same object where there is none
    return text


def shown(symbols: str) -> str:
    """Return an alphabet for a message, cut where it is long.

    >>> shown("ab"), len(shown("ab" * 100))
    ("'ab'", 65)
    """
    return repr(symbols) if len(symbols) <= 60 else f"{symbols[:60]!r}..."


def learn_alphabet(text: str, minimum_count: int = 1, fold_case: bool = True, keep_white_space: bool = False) -> str:
    r"""Return the symbols that occur at least `minimum_count` times in a text, in the order of their code points.

    White space counts as a space, unless it is kept: then each kind of it is a symbol of its own. Raises `UserError` where
    fewer than two symbols are left.

    >>> learn_alphabet("Banana\nbread", minimum_count=2)
    'abn'
    >>> learn_alphabet("a\nb c", keep_white_space=True)
    '\n abc'
    """
    return choose_symbols(count_characters([text.lower() if fold_case else text], keep_white_space), minimum_count)


def count_characters(parts: Iterable[str], keep_white_space: bool = False) -> Counter[str]:
    """Count the characters of a text that comes in parts; white space counts as a space, unless it is kept."""
    count_of = np.zeros(sys.maxunicode + 1, np.int64)
    for part in parts:
        found = np.bincount(code_points(part))
        count_of[: len(found)] += found
    counts: Counter[str] = Counter()
    for code in count_of.nonzero()[0].tolist():
        counts[" " if chr(code).isspace() and not keep_white_space else chr(code)] += int(count_of[code])
    return counts


def choose_symbols(counts: Counter[str], minimum_count: int) -> str:
    """Return the symbols of `learn_alphabet` from the counts of a text's characters; raises the same errors."""
    check_whole("minimum_count", minimum_count)
    symbols = "".join(sorted(symbol for symbol, count in counts.items() if count >= minimum_count))
    if len(symbols) < 2:
        raise UserError(
            f"minimum_count is {minimum_count}, which leaves {symbols!r} of the training text's {len(counts)} symbols; "
            "at least two must be left"
        )
    return symbols
