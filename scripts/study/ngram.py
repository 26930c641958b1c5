"""Bits per character and accuracy of interpolated Kneser-Ney n-gram models on a text task's held-out documents.

python scripts/study/ngram.py tasks/text/bundled.yaml [--orders 1 2 3 4 5 6] [--split validation] [-- OPTIONS OF data]

Options of data are those of `ffrecur fit`, such as --data.source FILE. Order 1 is the unigram. Source: Kneser and Ney
1995; Chen and Goodman 1999, with one discount an order, n1 / (n1 + 2 n2). NLTK has the model too, but goes through all
longer contexts for each probability.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from jsonargparse import ArgumentParser
from study import answer, parse, settings_in

from ffrecur.data import CorpusDataModule
from ffrecur.errors import check_setting

Counts = dict[str, Counter[str]]  # of what comes after each context


class KneserNey:
    """A character model: the probability of a character after a context, mixed from all orders up to the highest."""

    def __init__(self, documents: Iterable[str], order: int, symbols: str) -> None:
        self.order, self.symbols = order, symbols
        highest: Counter[str] = Counter(
            document[start : start + order] for document in documents for start in range(len(document) - order + 1)
        )
        runs = [highest]
        for _ in range(order - 1):  # a shorter run counts once for each different character before it
            runs.insert(0, Counter(run[1:] for run in runs[0]))
        self.counts = [by_context(of_length) for of_length in runs]
        self.discounts = [discount(of_length.values()) for of_length in runs]

    def probabilities(self, context: str) -> dict[str, float]:
        """Return the probability of each symbol after a context; they sum to 1."""
        mixed = dict.fromkeys(self.symbols, 1 / len(self.symbols))
        for length, (counts, cut) in enumerate(zip(self.counts, self.discounts, strict=True)):
            found = counts.get(context[len(context) - length :])
            if found is None:
                break
            total, left = found.total(), cut * len(found) / found.total()
            mixed = {s: max(found[s] - cut, 0) / total + left * p for s, p in mixed.items()}
        return mixed


def by_context(runs: Counter[str]) -> Counts:
    """Sort runs by all but their last character."""
    counts: Counts = defaultdict(Counter)
    for run, count in runs.items():
        counts[run[:-1]][run[-1]] += count
    return dict(counts)


def discount(counts: Iterable[int]) -> float:
    """Return what is taken off every count: n1 / (n1 + 2 n2), where n1 runs occur once and n2 twice."""
    of_counts = Counter(counts)
    return of_counts[1] / (of_counts[1] + 2 * of_counts[2]) if of_counts[1] else 0.5


def evaluate(model: KneserNey, documents: Sequence[str], window: int) -> tuple[float, float]:
    """Return bits per character and accuracy on every character that has `window` characters before it."""
    bits, hits, count = 0.0, 0, 0
    for document in documents:
        for place in range(window, len(document)):
            predicted = model.probabilities(document[place - window : place])
            bits -= math.log2(predicted[document[place]])
            hits += max(predicted, key=predicted.__getitem__) == document[place]
            count += 1
    return bits / count, hits / count


def load_data(config: str, options: Sequence[str]) -> CorpusDataModule:
    """Return the data of a task's configuration file and of options for it, set up."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(CorpusDataModule, "data")
    section = json.dumps(settings_in(config).get("data", {}))
    data: CorpusDataModule = parser.instantiate(parser.parse_args([f"--data={section}", *options])).data
    data.setup("test")
    return data


def run() -> None:
    """Print a table, a row an order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configuration file of the task, of which the data is read")
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    own, options = parse(parser)
    data = load_data(own.config, options)
    for order in own.orders:
        allowed = f"from 1 to {data.window + 1}, one more than data.window"
        check_setting(1 <= order <= data.window + 1, "--orders", order, allowed)
    documents = data.validation_documents if own.split == "validation" else data.test_documents
    print(f"{'order':>6}{'bits per character':>20}{'accuracy':>10}")
    for order in own.orders:
        model = KneserNey(data.train_documents, order, data.alphabet.symbols)
        bits, accuracy = evaluate(model, documents, data.window)
        print(f"{order:>6}{bits:>20.3f}{accuracy:>10.1%}")


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
