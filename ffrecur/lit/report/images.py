"""What `ffrecur test`, `validate` and `predict` leave behind: figures, tables and pictures in the run's folder."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from torch import Tensor

from ffrecur.data.classes import plain_names
from ffrecur.lit.images import ClassifierModule, prepare
from ffrecur.lit.module import NetModule
from ffrecur.lit.recurrent import RecurrentModule
from ffrecur.lit.report.figures import save_figures
from ffrecur.lit.report.text import report_text
from ffrecur.lit.text import TextModule
from ffrecur.metrics import plots
from ffrecur.processes import gather_first
from ffrecur.storage.files import replacing


class EpochLines(Callback):
    """Print the logged figures after each epoch, one line."""

    epoch: int | None = None  # the last one that has ended

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch has ended; its figures are logged after this."""
        self.epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before."""
        if self.epoch is None:
            return
        figures = {name: value.item() for name, value in trainer.callback_metrics.items() if "goodness" not in name}
        text = "  ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))
        if trainer.is_global_zero:
            print(f"epoch {self.epoch}  {text}", flush=True)

    on_train_end = on_train_epoch_start


class Minutes(Callback):
    """Log the minutes of training so far, validation included; a run that is continued goes on counting."""

    seconds, begun = 0.0, 0.0  # of the commands before; when this one began

    def elapsed(self) -> float:
        """Return the seconds of training so far."""
        return self.seconds + (time.monotonic() - self.begun if self.begun else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self.begun = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log them."""
        pl_module.log("train/minutes", self.elapsed() / 60)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds, as Lightning's `Timer` has them, which this callback once was."""
        return {"time_elapsed": {"train": self.elapsed()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds = float(state_dict["time_elapsed"].get("train", 0.0))


class Report(Callback):
    """Print the results of an evaluation; write `<stage>_results.json`, tables and plots."""

    def __init__(self, folder: Path, checkpoint: Path | None) -> None:
        self.folder, self.checkpoint = folder, checkpoint

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the test images."""
        self._report(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the validation images, where validation is the command and not a part of training."""
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module, "validation")

    def _report(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, NetModule)
        computed = module.evaluation.compute() if isinstance(module, ClassifierModule) else {}  # by all processes
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(module, TextModule):
            results, written, shown = report_text(self.folder, stage, module, trainer)
        else:
            assert isinstance(module, ClassifierModule)
            results, written = summarize(module, computed), [f"{stage}_confusion.csv"]
            write_confusion(self.folder / written[0], computed["confusion"], names_of(module.net))
            shown = table(results, stage)
            if isinstance(module, RecurrentModule):
                write_goodness(self.folder / f"{stage}_goodness.csv", computed)
                write_plots(self.folder / f"{stage}_plots", module, computed, trainer)
                written += [f"{stage}_goodness.csv", f"{stage}_plots/"]
        results["source"] = getattr(trainer.datamodule, "description", None)  # type: ignore[attr-defined]
        results["checkpoint"] = None if self.checkpoint is None else self.checkpoint.name
        with replacing(self.folder / f"{stage}_results.json") as temporary:
            temporary.write_text(json.dumps(without_nan(results), indent=2) + "\n", encoding="utf-8")
        print(shown)
        print(f"\nWritten to {self.folder}: {', '.join([f'{stage}_results.json', *written])}")


FIGURES = (
    "error",
    "goodness_error",
    "error_by_iteration",
    "error_by_layer",
    "one_pass_error",
    "calibration_error",
    "num_examples",
    "error_by_class",
)


def without_nan(value: Any) -> Any:
    """Return nested results with None in place of NaN, which JSON does not have.

    >>> without_nan({"share": float("nan"), "errors": [0.5, float("nan")]})
    {'share': None, 'errors': [0.5, None]}
    """
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def summarize(module: ClassifierModule, computed: dict[str, Tensor]) -> dict[str, Any]:
    """Return the figures of an evaluation as plain numbers (fractions, not percent), and the settings behind them."""
    figures: dict[str, Any] = {name: computed[name].tolist() for name in FIGURES if name in computed}
    if isinstance(module, RecurrentModule):
        figures |= {"window": list(module.window), "head_weight": module.head_weight}
    names = list(names_of(module.net))
    return {**figures, "class_names": names, "seed": module.seed, "net": module.net.settings()}


def names_of(net: Any) -> tuple[str, ...]:
    """Return the names of a net's classes, their numbers where it has none."""
    return plain_names(net.num_classes) if net.class_names is None else net.class_names


def write_confusion(path: Path, confusion_CC: Tensor, names: Sequence[str]) -> None:
    """Write how many images of each class, a row, were taken for which, a column."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true", *names])
        writer.writerows([name, *row] for name, row in zip(names, confusion_CC.tolist(), strict=True))


def table(results: dict[str, Any], stage: str) -> str:
    """Return the results as text, errors in percent."""
    rows = [("error", results["error"])]
    if "window" in results:
        first, last = results["window"]
        rows += [
            (f"goodness over iterations {first} to {last} alone", results["goodness_error"]),
            *((f"  iteration {t} alone", error) for t, error in enumerate(results["error_by_iteration"], start=1)),
            *((f"  layer {layer} alone", error) for layer, error in enumerate(results["error_by_layer"], start=1)),
            ("one-pass softmax error", results["one_pass_error"]),
        ]
    rows.append(("expected calibration error", results["calibration_error"]))
    lines = [f"{name:<40}{value:>9.2%}" for name, value in rows]
    return "\n".join([f"\n{stage}: {results['num_examples']} images, seed {results['seed']}", *lines])


def write_goodness(path: Path, computed: dict[str, Tensor]) -> None:
    """Write mean goodness under the true label (positive) and the wrong labels (negative) by iteration and layer."""
    positive_TL, negative_TL = computed["goodness_positive"], computed["goodness_negative"]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["iteration", "layer", "goodness_positive", "goodness_negative"])
        for t, (positive_L, negative_L) in enumerate(zip(positive_TL, negative_TL, strict=True), start=1):
            for layer, values in enumerate(zip(positive_L.tolist(), negative_L.tolist(), strict=True), start=1):
                writer.writerow([t, layer, *values])


def write_plots(folder: Path, module: RecurrentModule, computed: dict[str, Tensor], trainer: Trainer) -> None:
    """Write every plot as PNG, and to TensorBoard where it is on."""
    net, data = module.net, trainer.datamodule  # type: ignore[attr-defined]
    figures = {
        "goodness": plots.goodness_curves(computed["goodness_positive"], computed["goodness_negative"]),
        "error": plots.error_curve(computed["error_by_iteration"], module.window, computed["error"].item()),
    }
    examples = getattr(data, "test_set" if trainer.state.fn == "test" else "validation_set", None)
    if examples is not None and hasattr(data, "image_shape"):  # a data module of the user's own may have neither
        shape = data.image_shape
        shown = first_of_each_class(examples.labels, limit=6)
        images = prepare(examples.images[shown].to(module.device))
        figures["labels"] = plots.label_competition(
            (images if images.ndim == 2 else images[0]).cpu(),
            shape,
            net.label_goodness(images, module.evaluation_iterations).cpu(),
            examples.labels[shown],
            module.window,
            net.sign,
            net.class_names,
        )
        figures["receptive_fields"] = plots.receptive_fields(net.bottom_up[0].weight.detach().cpu(), shape)
        figures["imagination"] = plots.imagination(net.imagine().cpu(), shape, net.class_names)
    save_figures(folder, figures, trainer)


def first_of_each_class(labels_N: Tensor, limit: int) -> list[int]:
    """Return the index of the first example of each of the `limit` lowest classes.

    >>> first_of_each_class(torch.tensor([2, 0, 0, 1]), limit=2)
    [1, 3]
    """
    return [int((labels_N == label).nonzero()[0]) for label in labels_N.unique()[:limit]]


class PredictionWriter(BasePredictionWriter):
    """Write `predictions.csv`: index, file (where the source knows it), predicted label and the name of that class, score of each
    label, and margin over the second-best label.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="epoch")
        self.folder = folder

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Any, batch_indices: Any
    ) -> None:
        """Write the file when all images are scored."""
        # Each process scored its part of every batch; the parts follow one another in the order of the ranks.
        of_ranks = gather_first([scores_BC.cpu() for scores_BC in predictions])
        if not trainer.is_global_zero:
            return
        scores_NC = torch.cat([scores_BC for parts in zip(*of_ranks, strict=True) for scores_BC in parts])
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "predictions.csv"
        files = getattr(trainer.datamodule, "predict_files", None)  # type: ignore[attr-defined]
        write_predictions(path, scores_NC, names_of(pl_module.net), files)
        print(f"{len(scores_NC)} predictions written to {path}")


def write_predictions(path: Path, scores_NC: Tensor, names: Sequence[str], files: Sequence[str] | None = None) -> None:
    """Write one row an image, in the order of the data; margin is the best score minus the second best.

    `files` may be longer than there are scores: where only some batches were predicted.
    """
    best_N2 = scores_NC.topk(2, dim=1).values
    labels, margins = scores_NC.argmax(dim=1).tolist(), (best_N2[:, 0] - best_N2[:, 1]).tolist()
    scores = [f"score_{label}" for label in range(scores_NC.shape[1])]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["index", *(["file"] if files else []), "predicted_label", "predicted_class", *scores, "margin"]
        )
        for index, (label, margin) in enumerate(zip(labels, margins, strict=True)):
            known = [files[index]] if files else []
            writer.writerow([index, *known, label, names[label], *scores_NC[index].tolist(), margin])
