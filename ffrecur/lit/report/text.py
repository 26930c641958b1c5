"""How what was measured of a character model is shown, and what its text is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ffrecur.errors import UserError, one_line
from ffrecur.text.places import fingerprint


def training_documents(data: Any, trained_on: str | None, symbols: str) -> tuple[Sequence[str] | None, str | None]:
    """Return the documents that the net was trained on, or None and why they are not known.

    They are those of the data, if these are what it was trained on, or are read anew as they were for the training. A
    checkpoint without a fingerprint (`trained_on`), of an earlier version, is believed to have been trained on what is there.
    `symbols` is the net's alphabet.
    """
    text = getattr(data, "train_text", None)
    if text is not None and trained_on in (None, fingerprint(text)):
        return data.train_documents, None
    settings = getattr(data, "training_settings", None)
    if settings is None:
        known = "is not known here" if text is None else "was another one than that of this data"
        return None, f"the training text {known}"
    try:
        again = type(data)(**settings)
        again.quiet, again.stored_alphabet = True, symbols
        again.setup("fit")
    except (UserError, TypeError) as error:  # TypeError: settings of another class
        return None, f"the training text can no longer be read: {one_line(error)}"
    if trained_on not in (None, fingerprint(again.train_text)):
        return None, f"the training text has changed: data.source was {again.source!r}"
    return again.train_documents, None


def text_table(results: dict[str, Any], stage: str) -> str:
    """Return the results as text, a line each; what was not measured is left out."""
    real, missing = results["real_text"], results["without_training_text"]
    alone, weight = "  of the softmax alone, without goodness", results["net"]["goodness_weight"]
    separated = zip(results["auroc_by_layer"], results["auroc_by_layer_dreams"], strict=True)
    of_samples = {  # the figure, and how it is written
        "words of the training text": ("known_word_share", ".1%"),
        "different among all runs of 4": ("distinct_4gram_ratio", ".1%"),
        "longest run copied, characters": ("longest_copied", ""),
    }
    lines = [
        f"\n{stage}: {results['num_characters']} characters, seed {results['seed']}",
        f"{'bits per character':<52}{results['bits_per_character']:>9.3f}",
        f"{'accuracy':<52}{results['accuracy']:>9.1%}",
        *([f"{alone:<52}{results['head_bits_per_character']:>9.3f}{results['head_accuracy']:>9.1%}"] if weight else []),
        *(
            f"{f'layer {layer}: AUROC of real from teacher-forced, dreamt':<52}{wrong:>9.3f}{dreamt:>9.3f}"
            for layer, (wrong, dreamt) in enumerate(separated, start=1)
        ),
        f"{'samples, and real text of the same length':<52}",
        *(
            f"  {name:<50}{results[figure]:>9{form}}{real[figure]:>9{form}}"
            for name, (figure, form) in of_samples.items()
            if results[figure] is not None and not math.isnan(results[figure] + real[figure])  # there are none
        ),
        *([] if missing is None else [f"  known words and copied runs are left out: {missing}"]),
    ]
    return "\n".join(lines)
