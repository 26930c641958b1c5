"""The data module for text: from the settings under `data.` to windows of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from ffrecur.data.documents import DOES, Documents, read_documents
from ffrecur.data.encoding import DecodedDocuments, encode_documents, learned_symbols
from ffrecur.data.loader import BatchedDataModule, TensorLoader, WindowLoader
from ffrecur.data.streams import DocumentLoader, StreamLoader
from ffrecur.data.textmessages import (
    all_short,
    no_training_text,
    refuse_unknown,
    sizes,
    what_is_unknown,
    which_are_held_out,
    which_are_short,
)
from ffrecur.data.textsettings import LEARNED, check_text_settings
from ffrecur.data.textsplits import cut_by_place, long_enough, split_documents, without_short
from ffrecur.errors import UserError
from ffrecur.text.alphabet import PAPER_ALPHABET, Alphabet, Unknown, shown
from ffrecur.text.places import Places, Text


class CorpusDataModule(BatchedDataModule):
    r"""Windows of text; batches are `(windows (B, W + 1) int64, index (B,) int64)`, the character to predict last.

    Splits are by document, before windows are cut: no window has characters of two documents. Without a test split the
    validation documents test too, and the log says so. A source of a single document is split by place: its first nine
    tenths train, the next twentieth validates, the last one tests. Documents of no more characters than the window are left
    out; the log counts them. After `setup` there are `description`, `alphabet`, `train_text`, `validation_text`, `test_text`
    and the documents as strings, `train_documents` and so on, decoded when asked for.

    With `other_source` set, for a net that was trained on other data, `setup("test")` makes the test split alone, of the
    whole source where that has none, and `setup("validate")` the validation split; nothing trains.

    Args:
        source: "bundled" (300 fables of our own); a text file or a table; a folder of either; or a hub id. Files or folders
            that are named train, validation and test (or valid, val, dev, training, testing, eval) are splits.
        document_separator: regular expression that cuts a file, or a row of a table, into documents, such as "\n\n"; what it
            matches is left out. Without one each file or row is a document. Line ends of all kinds are "\n" to it.
        document_length: characters that are kept of each document, its first; all by default. The paper has 100.
        window: characters that the model looks back, W; of `StreamModule`, those of a document before the first that is judged.
        alphabet: the symbols, or "learned" from the training text; a net that has been trained brings its own.
        minimum_count: how often a symbol must occur to be learned.
        fold_case: whether text is lower-cased.
        unknown: what becomes of characters that are no symbols: "drop", "replace" (by a space) or "error".
        batch_size: windows a training batch, of all processes together; of `StreamModule`, parallel streams of characters.
        evaluation_batch_size: windows a batch in validation and test; of `StreamModule`, whole documents.
        validation_size: the last so many training documents validate. By default the source's own validation split;
            where it has none, a tenth. Refused for a single document, which is split by place.
        split_seed: draw the validation documents at random with this seed instead.
        text_column: column with the text, where a data set has several.
        seed: seed of the order of the training windows; the command line sets it to `seed_everything`.
        encoding: of text files, CSV and JSON, any that Python knows; a file's byte order mark decides over it.
        keep_white_space: whether line ends and other white space are symbols of a learned alphabet, and documents keep all of
            theirs; line ends of all kinds are "\n". By default white space of any kind and length is one space.

    Raises:
        UserError: a setting outside its range; in `setup`, everything wrong with the source.
    """

    description: str
    alphabet: Alphabet
    stored_alphabet: str | None = None  # of the net that is trained on or tested: it stands for "learned"
    other_source: bool = False  # whether the source is not what the net was trained on
    training_settings: dict[str, Any] | None = None  # of the data module that the net was trained with, if known
    quiet: bool = False  # whether nothing is logged
    streamed: bool = False  # whether the model carries a state, and takes characters of parallel streams for windows
    short: int = 0  # documents that were left out
    short_example: str
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
        encoding: str = "utf-8",
        keep_white_space: bool = False,
    ) -> None:
        super().__init__()
        source = str(source)  # a Path would make the checkpoint unreadable under weights_only
        self.save_hyperparameters(logger=False)  # the alphabet and the window are logged with the net
        check_text_settings(self.hparams)
        self.source, self.window, self.seed = source, window, seed
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size

    def know_net(self, entry: Mapping[str, Any]) -> None:
        """Take the alphabet of a stored net; `entry` as of `ffrecur.storage.checkpoint.describe`."""
        self.stored_alphabet = entry["settings"].get("alphabet")

    def setup(self, stage: str) -> None:
        """Read the source, once."""
        if self.other_source and stage in ("validate", "test"):
            self.read_held_out("test" if stage == "test" else "validation")
        elif self.train_text is None:
            self.read_all()

    def read_source(self) -> Documents:
        """Return the documents of the source as they are."""
        own = self.hparams
        how = own["document_separator"], own["text_column"], own["encoding"], own["keep_white_space"]
        return read_documents(self.source, *how)

    def read_all(self) -> None:
        """Make training, validation and test text."""
        own, source = self.hparams, self.read_source()
        self.short = 0
        if not source.train and (source.validation or source.test):
            raise no_training_text(self.source, source)
        given = {"training": source.train, "validation": source.validation, "test": source.test}
        splits = {name: self.usable(name, split) for name, split in given.items() if split is not None}
        description, notes, separated = source.description, list(source.notes), source.separated
        del source, given  # so that a single text can be let go
        total = self.short + sum(map(len, splits.values()))
        by_place = ""
        if len(splits["training"]) == 1 and "validation" not in splits:
            if not separated:
                raise UserError(
                    f"data.source is {self.source!r}, which has one document, since data.document_separator, "
                    f"{own['document_separator']!r}, matches nowhere in it; null leaves it one text, whose end is held out"
                )
            splits |= cut_by_place(self.source, splits["training"], self.window, own, "test" not in splits)
            by_place = "; it is one text, split by place: the end of it is held out"
        elif "validation" not in splits or own["validation_size"] is not None or own["split_seed"] is not None:
            if "validation" in splits:
                notes.append(f"left out: the validation split of the source ({len(splits['validation']):,} documents)")
            divided = split_documents(self.source, splits["training"], own["validation_size"], own["split_seed"])
            splits |= dict(zip(("training", "validation"), divided, strict=True))
        self.alphabet, self.description = self.make_alphabet(splits["training"]), description
        encoded = {name: self.encode(name, split) for name, split in splits.items()}
        texts = {name: text for name, (text, _) in encoded.items()}
        self.train_text, self.validation_text = texts["training"], texts["validation"]
        self.test_text = texts.get("test", self.validation_text)
        self.train_documents = DecodedDocuments(self.alphabet, self.train_text)
        self.validation_documents = DecodedDocuments(self.alphabet, self.validation_text)
        self.test_documents = DecodedDocuments(self.alphabet, self.test_text)
        what = "no test split: the validation documents test too, so test figures are validation figures"
        if "test" in texts:
            what = f"{sizes(self.test_text, 'test')}{by_place}"
        parts = [sizes(self.train_text, "train"), sizes(self.validation_text, "validate"), what]
        self.tell(", ".join(parts), notes, total, {name: counts for name, (_, counts) in encoded.items()})

    def read_held_out(self, name: str) -> None:
        """Make the test or the validation text of a source that nothing was trained on: its split, or else all of it."""
        if hasattr(self, f"{name}_documents"):
            return
        self.short = 0
        source = self.read_source()
        own = source.test if name == "test" else source.validation
        documents = own if own is not None else [*source.train, *(source.validation or []), *(source.test or [])]
        total = len(documents)
        documents = self.usable(name, documents)
        self.alphabet, self.description = self.make_alphabet(documents), source.description
        text, unknown = self.encode(name, documents)
        setattr(self, f"{name}_text", text)
        setattr(self, f"{name}_documents", DecodedDocuments(self.alphabet, text))
        what = f"{sizes(text, DOES[name])}: {which_are_held_out(name, source)}"
        self.tell(what, source.notes, total, {name: unknown})

    def tell(self, what: str, notes: Sequence[str], total: int, unknown: Mapping[str, Counter[str]]) -> None:
        """Log what was read, what was left out of it, and the alphabet."""
        if self.quiet:
            return
        rank_zero_info(f"{self.description}; documents (characters): {what}")
        for note in notes:
            rank_zero_info(note)
        if self.short:
            rank_zero_info(which_are_short(self.short, total, self.window, self.short_example))
        rank_zero_info(
            f"alphabet of {len(self.alphabet)}: {shown(self.alphabet.symbols)}; {what_is_unknown(self.alphabet, unknown)}"
        )

    def make_alphabet(self, documents: Sequence[str]) -> Alphabet:
        """Return the alphabet that was given, or that of the net, or the one that the training documents have."""
        symbols, fold_case = self.hparams["alphabet"], self.hparams["fold_case"]
        module = None if self.trainer is None else self.trainer.lightning_module
        stored = self.stored_alphabet or (None if module is None else module.hparams.get("alphabet"))
        if symbols == LEARNED and stored:
            symbols = stored
        elif symbols == LEARNED:
            lowered = (document.lower() if fold_case else document for document in documents)
            seen = (document[: self.hparams["document_length"]] for document in lowered)
            symbols = learned_symbols(seen, self.hparams["minimum_count"], self.hparams["keep_white_space"])
        return Alphabet(symbols, fold_case, self.hparams["unknown"])

    def usable(self, name: str, documents: list[str]) -> list[str]:
        """Return the documents with more characters than the window, and count the others; raises `UserError` for none."""
        if not documents:
            raise UserError(f"data.source is {self.source!r}, which has no text for {name}")
        kept, short = long_enough(documents, self.window, self.hparams["fold_case"])
        self.note_short(len(short), short[0] if short else "")
        if not kept:
            raise all_short(self.source, self.window, name, documents, max(map(len, documents)))
        return kept

    def encode(self, name: str, documents: Sequence[str]) -> tuple[Text, Counter[str]]:
        """Return documents in numbers, cut to their length, and how often their characters are which other than symbols.

        Those without a single window are left out and counted. Raises `UserError` where all are, and for characters that the
        alphabet refuses.
        """
        text, unknown = encode_documents(self.alphabet, documents, self.hparams["document_length"])
        if unknown and self.alphabet.unknown == "error":
            refuse_unknown(self.source, self.alphabet, name, documents, self.hparams["document_length"])
        lengths = text.begins.diff()
        if (lengths <= self.window).any():
            self.note_short(int((lengths <= self.window).sum()), documents[int(lengths.argmin())])
            if lengths.max() <= self.window:
                raise all_short(self.source, self.window, name, documents, int(lengths.max()))
            text = without_short(text, self.window)
        return text, unknown

    def note_short(self, count: int, example: str) -> None:
        """Count documents that are left out, with the first as an example."""
        if count and not self.short:
            self.short_example = f"{example[:30]}"
        self.short += count

    def make_loader(self, split: str, *arguments: Any) -> TensorLoader:
        """The loader of a split: of windows, or for a model that carries a state, of streams and of whole documents."""
        text = getattr(self, f"{split}_text", None)
        if text is None:
            raise RuntimeError("call setup() first")
        if self.streamed:
            return StreamLoader(text, *arguments) if split == "train" else DocumentLoader(text, *arguments)
        return WindowLoader(text, Places(text, self.window), self.window, *arguments)
