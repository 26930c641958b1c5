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
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser
from study import answer, parse, settings_in

from ffrecur import CharNet, StreamNet
from ffrecur.data import CorpusDataModule
from ffrecur.errors import UserError, check_setting
from ffrecur.lit.run.folders import same_source
from ffrecur.lit.run.messages import explain
from ffrecur.storage.checkpoint import describe

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
    """Return the data of a task's configuration file and of options for it, set up; raises the errors of `make_data`."""
    data = make_data(config, options)
    data.setup("test")
    return data


def make_data(config: str, options: Sequence[str]) -> CorpusDataModule:
    """Return the same before it is set up; raises `UserError` for data that is not text, and for other mistakes."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(CorpusDataModule, "data")
    own = settings_in(config).get("data", {})
    kind = str(own.get("class_path", "CorpusDataModule")).rpartition(".")[2]
    check_setting(kind.startswith("Image") is False, "config", config, f"of a task with text, but its data is {kind}")
    try:
        data: CorpusDataModule = parser.instantiate(parser.parse_args([f"--data={json.dumps(own)}", *options])).data
    except ArgumentError as error:
        raise UserError(explain(str(error), options)) from error
    return data


def data_of_run(run: Path, net: CharNet | StreamNet, options: Sequence[str]) -> CorpusDataModule:
    """Return what a net is judged by: the data of its run, or that of options, read by the net's alphabet.

    Other text than the run's is held out as a whole, or its own splits are, as by `ffrecur validate`. Raises `UserError` for
    another alphabet.
    """
    config = str(run / "config.yaml")
    data = make_data(config, options)
    data.know_net(describe(net))
    data.other_source = not same_source(settings_in(config)["data"]["init_args"].get("source"), data.source)
    for stage in ("validate", "test"):
        data.setup(stage)
    found, known = data.alphabet.symbols, net.alphabet.symbols
    check_setting(found == known, "data.alphabet", found, f"that of the net, {known!r}")
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
