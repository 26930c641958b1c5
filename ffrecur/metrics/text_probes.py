"""Everything that is measured of a character model on held-out documents, beside bits per character and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from ffrecur.bars import bar
from ffrecur.metrics.text import Separation
from ffrecur.negatives.windows import dreamt_windows, teacher_forced
from ffrecur.nets.character import CharNet
from ffrecur.seeding import seeded_generator
from ffrecur.text.places import Text, places, windows_at
from ffrecur.text.quality import distinct_4gram_ratio, known_word_share, longest_copied, without_begun_word
from ffrecur.text.sampling import roll_out

BATCH = 1000  # windows
DREAMS, DREAM = 64, 90  # dreams whose variety is measured, and the characters of each


@torch.no_grad()
def goodness_of_all(net: CharNet, windows_MW: Tensor) -> Tensor:
    """Return the goodness of many windows, `(L, M)`, on the CPU."""
    device = net.head.weight.device
    parts = bar(windows_MW.split(BATCH), "measuring goodness", "windows", len(windows_MW), len)
    return torch.cat([net.goodness(part.long().to(device)).cpu() for part in parts], dim=1)


@torch.no_grad()
def goodness_of_kinds(net: CharNet, text: Text, depth: tuple[int, int], seed: int) -> dict[str, Tensor]:
    """Return the goodness `(L, M)` of the real windows of a text, of teacher-forced ones, and of dreams of this depth."""
    here, device = places(text, net.window), net.head.weight.device
    contexts, real = windows_at(text, here - 1, net.window), windows_at(text, here, net.window)
    parts = bar(contexts.split(BATCH), "predicting", "windows", len(contexts), len)
    logits_MV = torch.cat([net.logits(part.to(device)).cpu() for part in parts])
    wrong = teacher_forced(contexts, real[:, -1], logits_MV, seeded_generator(seed, 0))
    dreams = dreamt_windows(net, text, here, depth, generator=seeded_generator(seed, 1))
    kinds = {"real": real, "teacher-forced": wrong, "dreamt": dreams}
    return {kind: goodness_of_all(net, windows) for kind, windows in kinds.items()}


def separations(net: CharNet, goodness: dict[str, Tensor]) -> dict[str, list[float]]:
    """Return by layer how well goodness tells real windows from teacher-forced ones and from dreams (area under ROC)."""
    found = {}
    for name, kind in (("auroc_by_layer", "teacher-forced"), ("auroc_by_layer_dreams", "dreamt")):
        metric = Separation(len(net.hidden_features), net.sign)
        metric.update(goodness["real"], goodness[kind])
        found[name] = metric.compute()
    return found


def write_on(
    net: CharNet,
    documents: Sequence[str],
    temperature: float,
    generator: Generator,
    by: Literal["score", "softmax"] = "score",
) -> list[str]:
    """Return what the model writes after the first window of each document: as many characters as the document has."""
    encoded = [net.encode(document) for document in documents]
    lengths = [len(numbers) - net.window for numbers in encoded]
    starts = torch.stack([numbers[: net.window] for numbers in encoded]).to(net.head.weight.device)
    noise = torch.rand(len(starts), max(lengths), generator=generator).to(starts.device)
    written = roll_out(net, starts, noise, temperature, by=by).cpu()[:, net.window :]
    return [net.decode(numbers[:length]) for numbers, length in zip(written, lengths, strict=True)]


def variety(net: CharNet, documents: Sequence[str], temperature: float, generator: Generator) -> float:
    """Return how varied the model's dreams are: its different runs of 4 characters over those of as much real text.

    It writes on from the first window of some documents, up to the paper's 90 characters each. Far below 1, dreams have
    collapsed.
    """
    begun = [document[: net.window + DREAM] for document in documents[:DREAMS]]
    dreams = write_on(net, begun, temperature, generator, by="softmax")  # as in training
    return distinct_4gram_ratio(dreams) / distinct_4gram_ratio([document[net.window :] for document in begun])


def judge(beginnings: Sequence[str], texts: Sequence[str], training_documents: Sequence[str] | None) -> dict[str, Any]:
    """Return what texts that go on from beginnings are worth: known words, variety, the longest run that is copied.

    Without training documents, what is measured against them is None.
    """
    whole = [without_begun_word(before, text) for before, text in zip(beginnings, texts, strict=True)]
    known, copied = None, None
    if training_documents is not None:
        known = known_word_share(whole, training_documents)
        copied = len(longest_copied(texts, training_documents))
    return {"known_word_share": known, "distinct_4gram_ratio": distinct_4gram_ratio(texts), "longest_copied": copied}
