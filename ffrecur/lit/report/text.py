"""What `ffrecur test` and `validate` leave of a character model: figures, samples and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from ffrecur.errors import UserError, one_line
from ffrecur.lit.character import PAPER_DREAM
from ffrecur.lit.report.figures import save_figures
from ffrecur.lit.text import TextModule
from ffrecur.metrics import plots
from ffrecur.metrics.text_probes import goodness_of_kinds, judge, separations, write_on
from ffrecur.seeding import seeded_generator
from ffrecur.storage.files import replacing
from ffrecur.text.places import fingerprint
from ffrecur.text.sampling import stream

SAMPLES = "samples.txt"
MOST, LONGEST = 256, 1000  # documents that are gone on from, and characters of each sample


def report_text(
    folder: Path, stage: str, module: TextModule, trainer: Trainer
) -> tuple[dict[str, Any], list[str], str]:
    """Return the figures, the names of the files written into the folder, and the figures as text."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    split = "test" if stage == "test" else "validation"
    text, documents = getattr(data, f"{split}_text"), getattr(data, f"{split}_documents")
    net, temperature = module.net, module.sample_temperature
    goodness = goodness_of_kinds(net, text, PAPER_DREAM, module.seed)
    documents = [document[: net.window + LONGEST] for document in documents[:MOST]]
    samples = write_on(net, documents, temperature, seeded_generator(module.seed, 2))
    beginnings, real = (
        list(parts) for parts in zip(*((d[: net.window], d[net.window :]) for d in documents), strict=True)
    )
    training, missing = training_documents(module, data)
    results = {
        **module.figures,
        **separations(net, goodness),
        "sample_temperature": temperature,
        **judge(beginnings, samples, training),
        "real_text": judge(beginnings, real, training),
        "without_training_text": missing,
        "seed": module.seed,
        "net": net.settings(),
    }
    written = "\n\n".join(f"{before}|{sample}" for before, sample in zip(beginnings, samples, strict=True))
    with replacing(folder / f"{stage}_{SAMPLES}") as temporary:
        temporary.write_text(written + "\n", encoding="utf-8")
    save_figures(folder / f"{stage}_plots", {"goodness": plots.goodness_histograms(goodness)}, trainer)
    return results, [f"{stage}_{SAMPLES}", f"{stage}_plots/"], text_table(results, stage)


def training_documents(module: TextModule, data: Any) -> tuple[Sequence[str] | None, str | None]:
    """Return the documents that the net was trained on, or None and why they are not known.

    They are those of the data, if these are what it was trained on, or are read anew as they were for the training. A
    checkpoint without a fingerprint, of an earlier version, is believed to have been trained on what is there.
    """
    text = getattr(data, "train_text", None)
    if text is not None and module.trained_on in (None, fingerprint(text)):
        return data.train_documents, None
    settings = getattr(data, "training_settings", None)
    if settings is None:
        known = "is not known here" if text is None else "was another one than that of this data"
        return None, f"the training text {known}"
    try:
        again = type(data)(**settings)
        again.quiet, again.stored_alphabet = True, module.net.alphabet.symbols
        again.setup("fit")
    except (UserError, TypeError) as error:  # TypeError: settings of another class
        return None, f"the training text can no longer be read: {one_line(error)}"
    if module.trained_on not in (None, fingerprint(again.train_text)):
        return None, f"the training text has changed: data.source was {again.source!r}"
    return again.train_documents, None


def text_table(results: dict[str, Any], stage: str) -> str:
    """Return the results as text."""
    real = results["real_text"]
    lines = [
        f"\n{stage}: {results['num_characters']} characters, seed {results['seed']}",
        f"{'bits per character':<52}{results['bits_per_character']:>9.3f}",
        f"{'accuracy':<52}{results['accuracy']:>9.1%}",
    ]
    if results["net"]["goodness_weight"]:
        alone = "  of the softmax alone, without goodness"
        lines.append(f"{alone:<52}{results['head_bits_per_character']:>9.3f}{results['head_accuracy']:>9.1%}")
    for layer, (wrong, dreamt) in enumerate(
        zip(results["auroc_by_layer"], results["auroc_by_layer_dreams"], strict=True), start=1
    ):
        name = f"layer {layer}: AUROC of real from teacher-forced, dreamt"
        lines.append(f"{name:<52}{wrong:>9.3f}{dreamt:>9.3f}")
    lines.append(f"{'samples, and real text of the same length':<52}")
    shares = {"words of the training text": "known_word_share", "different among all runs of 4": "distinct_4gram_ratio"}
    for name, figure in shares.items():
        if results[figure] is not None:
            lines.append(f"  {name:<50}{results[figure]:>9.1%}{real[figure]:>9.1%}")
    if results["longest_copied"] is not None:
        lines.append(
            f"  {'longest run copied, characters':<50}{results['longest_copied']:>9}{real['longest_copied']:>9}"
        )
    if results["without_training_text"] is not None:
        lines.append(f"  known words and copied runs are left out: {results['without_training_text']}")
    return "\n".join(lines)


class TextSamples(Callback):
    """Write a sample to TensorBoard after each epoch: what the model writes after the first validation document's window."""

    length = 200

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not isinstance(pl_module, TextModule) or not trainer.is_global_zero or not boards:
            return
        net = pl_module.net
        prompt = trainer.datamodule.validation_documents[0][: net.window]  # type: ignore[attr-defined]
        source = seeded_generator(pl_module.seed, trainer.current_epoch)
        sample = prompt + "".join(stream(net, prompt, self.length, pl_module.sample_temperature, generator=source))
        for board in boards:
            board.experiment.add_text("sample", sample, global_step=trainer.global_step)
