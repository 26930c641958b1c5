"""The ranges of the settings of the data module for text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffrecur.data.cutting import compile_separator
from ffrecur.data.textfiles import check_encoding
from ffrecur.errors import UserError, check_seed, check_setting, check_whole
from ffrecur.text.alphabet import Alphabet, shown

LEARNED = "learned"  # no alphabet: it has an e twice


def check_text_settings(own: Mapping[str, Any]) -> None:
    """Raise `UserError` for the first setting that is outside its range."""
    check_setting(
        own["source"].strip() != "", "data.source", own["source"], "'bundled', a text file, a folder or a hub id"
    )
    compile_separator(own["document_separator"])
    check_encoding(own["encoding"])
    for name in ("window", "minimum_count", "batch_size", "evaluation_batch_size"):
        check_whole(f"data.{name}", own[name])
    for name in ("validation_size", "document_length"):
        if own[name] is not None:
            check_whole(f"data.{name}", own[name])
    length, window = own["document_length"], own["window"]
    allowed = f"more than data.window, which is {window}"
    check_setting(length is None or length > window, "data.document_length", length, allowed)
    for name in ("split_seed", "seed"):
        if own[name] is not None:
            check_seed(f"data.{name}", own[name])
    if own["alphabet"] != LEARNED:
        symbols = Alphabet(own["alphabet"], own["fold_case"], own["unknown"]).symbols
        if own["keep_white_space"] and not any(symbol.isspace() and symbol != " " for symbol in symbols):
            raise UserError(
                f"data.keep_white_space is true, but data.alphabet, {shown(symbols)}, has no white space except a space: it "
                "must be learned, or have symbols such as a line end"
            )
