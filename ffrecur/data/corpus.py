"""The data module for text: from the settings under `data.` to windows of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ffrecur.alphabet import PAPER_ALPHABET, Alphabet, Unknown, choose_symbols, count_characters, shown
from ffrecur.data.documents import compile_separator, read_documents, split_documents
from ffrecur.data.encoding import DecodedDocuments, chunks, encode_documents
from ffrecur.data.loader import TensorLoader
from ffrecur.errors import UserError, check_setting
from ffrecur.text import Places, Text, windows_at

LEARNED = "learned"  # no alphabet: it has an e twice


class WindowLoader(TensorLoader):
    """Iterates over the places of a text: batches `(windows (B, W + 1) int64, index (B,) int64)`.

    The last symbol of a window is the one to predict; `index` numbers the places.
    """

    def __init__(self, text: Text, places_M: Tensor | Places, window: int, *arguments: object) -> None:
        super().__init__([places_M], *arguments)  # type: ignore[arg-type]
        self.text, self.places_M, self.window = text, places_M, window

    def take(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the windows of some places."""
        return windows_at(self.text, self.places_M[part], self.window + 1), part


class CorpusDataModule(LightningDataModule):
    r"""Windows of text; batches are `(windows (B, W + 1) int64, index (B,) int64)`, the character to predict last.

    Splits are by document, before windows are cut: no window has characters of two documents. Without a test split the
    validation documents test too, and the log says so. After `setup` there are `description`, `alphabet`, `train_text`,
    `validation_text`, `test_text` and the documents as strings, `train_documents` and so on, decoded when asked for.

    Args:
        source: "bundled" (300 fables of our own); a text file; a folder of them, or of a data set; or a hub id.
        document_separator: regular expression that cuts a file into documents, such as "\n\n"; what it matches is left
            out. Without one each file, or each row of a data set, is a document.
        document_length: characters that are kept of each document, its first; all by default. The paper has 100.
        window: characters that the model looks back, W.
        alphabet: the symbols, or "learned" from the training text; a net that has been trained brings its own.
        minimum_count: how often a symbol must occur to be learned.
        fold_case: whether text is lower-cased.
        unknown: what becomes of characters that are no symbols: "drop", "replace" (by a space) or "error".
        batch_size: windows a training batch, of all processes together.
        evaluation_batch_size: windows a batch in validation and test.
        validation_size: the last so many training documents validate. By default the source's own validation split;
            where it has none, a tenth.
        split_seed: draw the validation documents at random with this seed instead.
        text_column: column with the text, where a data set has several.
        seed: seed of the order of the training windows; the command line sets it to `seed_everything`.

    Raises:
        UserError: a setting outside its range; in `setup`, everything wrong with the source.
    """

    description: str
    alphabet: Alphabet
    stored_alphabet: str | None = None  # of the net that is trained on or tested: it stands for "learned"
    train_text: Text | None = None
    validation_text: Text
    test_text: Text
    train_documents: DecodedDocuments
    validation_documents: DecodedDocuments
    test_documents: DecodedDocuments

    def __init__(
        self,
        source: str = "bundled",
        document_separator: str | None = None,
        document_length: int | None = None,
        window: int = 10,
        alphabet: str = PAPER_ALPHABET,
        minimum_count: int = 1,
        fold_case: bool = True,
        unknown: Unknown = "drop",
        batch_size: int = 100,
        evaluation_batch_size: int = 1000,
        validation_size: int | None = None,
        split_seed: int | None = None,
        text_column: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        source = str(source)  # a Path would make the checkpoint unreadable under weights_only
        check_setting(source.strip() != "", "data.source", source, "'bundled', a text file, a folder or a hub id")
        compile_separator(document_separator)
        at_least_1 = {"window": window, "minimum_count": minimum_count, "batch_size": batch_size}
        for name, value in {**at_least_1, "evaluation_batch_size": evaluation_batch_size}.items():
            check_setting(value >= 1, f"data.{name}", value, "a whole number of at least 1")
        check_setting(
            validation_size is None or validation_size >= 1,
            "data.validation_size",
            validation_size,
            "a whole number of at least 1",
        )
        check_setting(
            document_length is None or document_length > window,
            "data.document_length",
            document_length,
            f"more than data.window, which is {window}",
        )
        for name, number in (("split_seed", split_seed), ("seed", seed)):
            check_setting(number is None or 0 <= number < 2**32, f"data.{name}", number, "from 0 to 2**32 - 1")
        if alphabet != LEARNED:
            Alphabet(alphabet, fold_case, unknown)
        self.save_hyperparameters(logger=False)  # the alphabet and the window are logged with the net
        self.source, self.window, self.seed = source, window, seed
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size

    def setup(self, stage: str) -> None:
        """Read the source, once."""
        if self.train_text is not None:
            return
        own = self.hparams
        source = read_documents(self.source, own["document_separator"], own["text_column"])
        train, validation, test = source.train, source.validation, source.test
        if validation is None or own["validation_size"] is not None or own["split_seed"] is not None:
            train, validation = split_documents(self.source, train, own["validation_size"], own["split_seed"])
        self.alphabet = self.make_alphabet(train)
        self.description = source.description
        splits = {"training": train, "validation": validation} | ({} if test is None else {"test": test})
        encoded = {name: self.encode(name, documents) for name, documents in splits.items()}
        self.train_text, self.validation_text = encoded["training"][0], encoded["validation"][0]
        self.test_text = encoded.get("test", encoded["validation"])[0]
        self.train_documents = DecodedDocuments(self.alphabet, self.train_text)
        self.validation_documents = DecodedDocuments(self.alphabet, self.validation_text)
        self.test_documents = DecodedDocuments(self.alphabet, self.test_text)
        what = "no test split: the validation documents test too, so test figures are validation figures"
        if test is not None:
            what = f"{len(test):,} test ({len(self.test_text.symbols_N):,})"
        rank_zero_info(
            f"{source.description}; documents (characters): {len(train):,} train ({len(self.train_text.symbols_N):,}), "
            f"{len(validation):,} validate ({len(self.validation_text.symbols_N):,}), {what}"
        )
        rank_zero_info(
            f"alphabet of {len(self.alphabet)}: {shown(self.alphabet.symbols)}; "
            f"{self.what_is_unknown({name: counts for name, (_, counts) in encoded.items()})}"
        )

    def make_alphabet(self, documents: Sequence[str]) -> Alphabet:
        """Return the alphabet that was given, or the one that the training documents have."""
        symbols, fold_case = self.hparams["alphabet"], self.hparams["fold_case"]
        if symbols == LEARNED and self.stored_alphabet:
            symbols = self.stored_alphabet
        elif symbols == LEARNED:
            seen = (document[: self.hparams["document_length"]] for document in documents)
            counts = count_characters(chunks(text.lower() if fold_case else text for text in seen))
            symbols = choose_symbols(counts, self.hparams["minimum_count"])
        return Alphabet(symbols, fold_case, self.hparams["unknown"])

    def what_is_unknown(self, splits: Mapping[str, Counter[str]]) -> str:
        """Return a phrase for the log: what becomes of the characters that are no symbols, and how many there are."""
        phrases = []
        for name, counts in splits.items():
            most = ", ".join(f"{character!r} {count:,}" for character, count in counts.most_common(5))
            phrases.append(f"{counts.total():,} in the {name} documents" + (f" ({most})" if most else ""))
        policy = {"drop": "dropped", "replace": "replaced by spaces", "error": "refused"}[self.alphabet.unknown]
        return f"other characters are {policy}: {', '.join(phrases)}"

    def encode(self, name: str, documents: Sequence[str]) -> tuple[Text, Counter[str]]:
        """Return documents in numbers, cut to their length, and how often their characters are which other than symbols.

        Raises `UserError` for no document, for one without a single window, and for characters that the alphabet refuses.
        """
        if not documents:
            raise UserError(f"data.source is {self.source!r}, which has no text for {name}")
        text, unknown = encode_documents(self.alphabet, documents, self.hparams["document_length"])
        if int(text.begins.diff().min()) <= self.window or (unknown and self.alphabet.unknown == "error"):
            self.refuse_first(name, documents)
        return text, unknown

    def refuse_first(self, name: str, documents: Sequence[str]) -> NoReturn:
        """Raise `UserError` for the first document that cannot be used, of which there must be one."""
        for number, document in enumerate(documents, start=1):
            which = f"data.source is {self.source!r}, whose {name} document {number} ({document[:30]!r})"
            try:
                count = len(self.alphabet.encode(document))
            except UserError as error:
                raise UserError(f"{which}: {error}") from error
            if count <= self.window:
                raise UserError(
                    f"{which} has {count} characters of the alphabet, but must have more than the window's {self.window}"
                )
        raise AssertionError("all documents can be used")

    def train_dataloader(self) -> WindowLoader:
        """Batches of the training windows, in a new order each epoch."""
        if self.trainer is None:
            return self.loader(self.train_text, self.batch_size, shuffle=True)
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        # Lightning's overfit_batches means the same batches every epoch.
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        return self.loader(self.train_text, self.batch_size, shuffle, lambda: progress.processed)  # type: ignore[attr-defined]

    def val_dataloader(self) -> WindowLoader:
        """Batches of the validation windows, in order."""
        return self.loader(self.validation_text, self.evaluation_batch_size)

    def test_dataloader(self) -> WindowLoader:
        """Batches of the test windows, in order."""
        return self.loader(self.test_text, self.evaluation_batch_size)

    def loader(
        self,
        text: Text | None,
        batch_size: int,
        shuffle: bool = False,
        batches_done: Callable[[], int] | None = None,
    ) -> WindowLoader:
        """A loader of one split for the process that we are."""
        if text is None:
            raise RuntimeError("call setup() first")
        replicas, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        here = Places(text, self.window)
        return WindowLoader(text, here, self.window, batch_size, shuffle, self.seed, replicas, rank, batches_done)
