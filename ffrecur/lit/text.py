"""What the modules that train a `CharNet` share: alphabet and window from the data, evaluation, figures of training."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffrecur.errors import UserError, check_setting, check_widths
from ffrecur.lit.module import NetModule
from ffrecur.lit.report.text import text_table, training_documents
from ffrecur.lit.run.health import making
from ffrecur.metrics import plots
from ffrecur.metrics.evaluation import Evaluation
from ffrecur.metrics.text import TextEvaluation
from ffrecur.metrics.text_probes import goodness_of_kinds, judge, separations, write_on
from ffrecur.negatives.windows import PAPER_DREAM
from ffrecur.nets.character import CharNet
from ffrecur.processes import Part
from ffrecur.seeding import seeded_generator
from ffrecur.storage.checkpoint import describe
from ffrecur.text.places import fingerprint
from ffrecur.text.sampling import stream

TEXT_KEY = "ffrecur_training_text"  # entry of a checkpoint: the fingerprint of the text that the net was trained on
OF_THE_ALPHABET = ("fold_case", "unknown")  # arguments of every net of text, which may hand them on
DREAMT = ("dream", "self_generated")  # values of `negatives`: what the model writes on itself
MOST, LONGEST = 256, 1000  # documents that an evaluation writes on from, and characters of each sample
SAMPLE = 200  # characters of the sample of an epoch


class TextModule(NetModule):
    """Base of the modules for text. The alphabet and the window come from the data.

    Args:
        window: characters that the model looks back; learned from the data.
        alphabet: its symbols; learned from the data.
        fold_case: whether text is lower-cased; learned from the data.
        unknown: what becomes of characters that are no symbols; learned from the data.
        sample_temperature: of the samples in TensorBoard and in evaluations.
        state_dropout: share of the normalised states that are dropped in training, in [0, 1); the same units for the
            context, the positive and the negative window.
        training: see `NetModule`.
    """

    kind = "CharNet"
    target = "val/bits_per_character"
    logged = ("bits_per_character", "head_bits_per_character", "accuracy", "head_accuracy")
    structure: ClassVar[tuple[str, ...]] = ("alphabet", "window", "hidden_features", "head_layers")
    refused: ClassVar = {"predict": "which labels images; a character model writes: ffrecur generate"}
    next_commands = ("ffrecur generate --checkpoint",)
    net_class: ClassVar[type] = CharNet
    net: Any
    trained_on: str | None = (
        None  # the fingerprint of the training text; None before training, and in older checkpoints
    )

    has_window = True  # of which weights depend on the length

    def __init__(
        self,
        window: int | None = None,
        alphabet: str | None = None,
        fold_case: bool | None = None,
        unknown: str | None = None,
        sample_temperature: float = 0.7,
        state_dropout: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)
        check_setting(sample_temperature >= 0, "sample_temperature", sample_temperature, "at least 0")
        check_setting(0 <= state_dropout < 1, "state_dropout", state_dropout, "at least 0 and less than 1")
        self.sample_temperature, self.state_dropout = sample_temperature, state_dropout

    def match_data(self, data: Any) -> None:
        """Take alphabet and window from a data module that has been set up, unless they are known already.

        Raises `UserError` for data with others, for data without an alphabet, and for more wrong characters than there are.
        """
        if data is None:
            return
        if not hasattr(data, "alphabet"):
            raise UserError(f"data is {type(data).__name__}, but a {type(self).__name__} reads text: CorpusDataModule")
        alphabet = data.alphabet
        found = {"window": data.window, "alphabet": alphabet.symbols, "fold_case": alphabet.fold_case}
        for name, value in {**found, "unknown": alphabet.unknown}.items():
            known = self.hparams[name]
            if known is None or (name == "window" and not self.has_window):
                self.hparams[name] = value
            elif known != value and name != "unknown":  # which says how a text is read, not what the net knows
                raise UserError(
                    f"{name} of the net is {known!r}, but the data has {value!r}; set data.{name} to that of the net"
                )
        dreams = self.hparams.get("negatives") in DREAMT  # of which any number of rounds may be kept
        count, symbols = 1 if dreams else self.hparams.get("negatives_per_case", 1), len(alphabet)
        allowed = f"at most {symbols - 1}, the wrong characters of an alphabet of {symbols}"
        check_setting(count < symbols, "negatives_per_case", count, allowed)

    def net_settings(self) -> dict[str, Any]:
        """Return the settings of the net, those that are known."""
        names = [*inspect.signature(self.net_class).parameters, *OF_THE_ALPHABET]
        return {name: self.hparams[name] for name in names if self.hparams.get(name) is not None}

    def build(self) -> Any:
        """Return a new net."""
        return self.net_class(**self.net_settings())

    def check_net_settings(self) -> None:
        """Refuse bad settings before any data is read, by a net without memory; build it if the alphabet is known."""
        check_widths(self.hparams["hidden_features"])  # null would mean the net's own default
        with torch.device("meta"), making(self.hparams, self.widths):
            describe(self.build())  # which no checkpoint might build again
        if self.hparams["alphabet"] is not None:
            self.configure_model()

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def new_evaluation(self) -> TextEvaluation:
        """Return the metrics."""
        return TextEvaluation()

    def inputs_and_targets(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the contexts `(B, W)`, and the character after each."""
        return batch[0][:, :-1], batch[0][:, -1]

    def evaluated(self, data: Any, stage: str) -> Evaluation:
        """Return how well it predicts, what its goodness tells apart, and samples beside real text of the same length."""
        net, window, documents = self.net, data.window, getattr(data, f"{stage}_documents")
        documents = [document[: window + LONGEST] for document in documents[:MOST]]
        goodness, samples = self.goodness_and_samples(data, stage, documents)
        beginnings = [document[:window] for document in documents]
        training, missing = training_documents(data, self.trained_on, net.alphabet.symbols)
        figures = {
            **self.measured,
            **separations(net, goodness),
            "sample_temperature": self.sample_temperature,
            **judge(beginnings, samples, training),
            "real_text": judge(beginnings, [document[window:] for document in documents], training),
            "without_training_text": missing,
            "seed": self.seed,
            "net": net.settings(),
        }
        written = "\n\n".join(f"{before}|{sample}" for before, sample in zip(beginnings, samples, strict=True))
        return Evaluation(
            figures,
            text_table(figures, stage),
            texts={"samples": written},
            pictures=lambda: {"goodness": plots.goodness_histograms(goodness)},
        )

    def goodness_and_samples(
        self, data: Any, stage: str, documents: Sequence[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Return the goodness `(L, M)` of real text and of other kinds, and what the net writes after the documents' begins."""
        goodness = goodness_of_kinds(self.net, getattr(data, f"{stage}_text"), PAPER_DREAM, self.seed)
        return goodness, write_on(self.net, documents, self.sample_temperature, seeded_generator(self.seed, 2))

    def sample_of_epoch(self, data: Any) -> str:
        """Return the window that the first validation document begins with, and what the net writes after it."""
        prompt = data.validation_documents[0][: data.window]
        source = seeded_generator(self.seed, self.current_epoch)
        return prompt + "".join(stream(self.net, prompt, SAMPLE, self.sample_temperature, generator=source))

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the fingerprint of the training text, so that a report knows it again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[TEXT_KEY] = self.trained_on

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        super().on_load_checkpoint(checkpoint)
        self.trained_on = checkpoint.get(TEXT_KEY)

    # --- training -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Note which text the net is trained on."""
        super().on_train_start()
        text = getattr(self.trainer.datamodule, "train_text", None)  # type: ignore[attr-defined]
        self.trained_on = None if text is None else fingerprint(text)

    def batch_source(self, batch_index: int) -> torch.Generator:
        """Return the generator of a batch's noise, which depends on (seed, epoch, batch) alone."""
        return seeded_generator(self.seed, self.current_epoch, batch_index)

    @abstractmethod
    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of one batch."""

    def finish_text_step(
        self,
        loss: Tensor,
        head_loss: Tensor,
        logits_BV: Tensor,
        next_B: Tensor,
        part: Part,
        batch_index: int,
        goodness: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """`finish_step` with the training figures of a batch of text."""
        figures = {
            "train/loss": loss.detach(),
            "train/bits_per_character": head_loss.detach() / torch.log(torch.tensor(2.0)),
            "train/accuracy": (logits_BV.argmax(dim=1) == next_B).float().mean(),
        }
        return self.finish_step(loss, figures, part, batch_index, goodness)
