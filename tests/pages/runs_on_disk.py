"""Folders of runs as a training and a test leave them, written by hand: nothing is trained."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

CLASSES = ("cat", "dog", "owl")
CONFUSION = [[5, 1, 0], [0, 6, 0], [2, 0, 4]]
EPOCHS = 3


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def png(color: int = 100) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("L", (40, 30), color=color).save(file, "PNG")
    return file.getvalue()


def write_config(folder: Path, model: str, data: str, epochs: int = EPOCHS, **settings: Any) -> None:
    """Write config.yaml."""
    content = {
        "seed_everything": 7,
        "trainer": {"max_epochs": epochs},
        "model": {"class_path": f"ffrecur.lit.{model}", "init_args": {"hidden_features": [30, 20], **settings}},
        "data": {"class_path": f"ffrecur.data.{data}", "init_args": {"source": "some/source", "batch_size": 50}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def image_run(folder: Path, names: Sequence[str] = CLASSES, made: int = EPOCHS, model: str = "RecurrentModule") -> Path:
    """A run on images with its test: three classes, three iterations, two layers."""
    folder.mkdir(parents=True)
    write_config(folder, model, "ImageDataModule", sign=-1)
    lines = []
    for epoch in range(made):
        step = 10 * epoch + 9
        lines.append([epoch, step, "", "", "", "", 0.5 / (epoch + 1)])
        lines.append([epoch, step, 3.0 - epoch, 1.5, 0.25, 0.125 * (epoch + 1), ""])
    header = ["epoch", "step", "train/loss", "train/goodness_negative_layer_1", "train/goodness_positive_layer_1"]
    write_csv(folder / "metrics.csv", [*header, "train/minutes", "val/error"], lines)
    results = {
        "error": 3 / 18,
        "error_by_iteration": [0.5, 0.25, 0.125],
        "error_by_layer": [0.1875, 0.0625],
        "one_pass_error": 0.3125,
        "calibration_error": 0.046875,
        "num_examples": 18,
        "error_by_class": [1 / 6, 0, 1 / 3],
        "window": [2, 3],
        "class_names": list(names),
        "seed": 7,
        "net": {"hidden_features": [30, 20]},
        "source": "eighteen pictures of animals",
    }
    (folder / "test_results.json").write_text(json.dumps(results), encoding="utf-8")
    rows = [[name, *counts] for name, counts in zip(names, CONFUSION, strict=True)]
    write_csv(folder / "test_confusion.csv", ["true", *names], rows)
    goodness = [[t, layer, 0.5 * t, 0.25 * layer] for t in (1, 2, 3) for layer in (1, 2)]
    write_csv(folder / "test_goodness.csv", ["iteration", "layer", "goodness_positive", "goodness_negative"], goodness)
    edges = [number / 15 for number in range(16)]
    bins = [[low, high, 0, "", ""] for low, high in pairwise(edges)]
    bins[10][2:], bins[14][2:] = [6, 0.7, 0.5], [12, 0.95, 0.75]
    write_csv(folder / "test_calibration.csv", ["from", "to", "images", "confidence", "accuracy"], bins)
    mistakes = [[names[2], names[0], 0.9375], [names[0], names[1], 0.6875]]
    write_csv(folder / "test_mistakes.csv", ["true", "predicted", "confidence"], mistakes)
    (folder / "test_plots").mkdir()
    for number, name in enumerate(("error", "goodness", "labels", "mistakes", "imagination", "expectation")):
        (folder / "test_plots" / f"{name}.png").write_bytes(png(40 * number))
    return folder


def text_run(folder: Path, samples: str = "the fo|x met a hen.") -> Path:
    """A run on text with its test."""
    folder.mkdir(parents=True)
    write_config(folder, "CharModule", "CorpusDataModule", sign=1)
    lines = [[epoch, 10 * epoch + 9, 3.5 - epoch / 4, 2.0] for epoch in range(EPOCHS)]
    write_csv(folder / "metrics.csv", ["epoch", "step", "val/bits_per_character", "train/loss"], lines)
    results = {
        "bits_per_character": 2.375,
        "accuracy": 0.40625,
        "num_characters": 1234,
        "auroc_by_layer": [0.625, 0.75],
        "auroc_by_layer_dreams": [0.5625, 0.875],
        "sample_temperature": 0.7,
        "known_word_share": 0.5,
        "distinct_4gram_ratio": 0.46875,
        "longest_copied": 15,
        "real_text": {"known_word_share": 0.9375, "distinct_4gram_ratio": 0.484375, "longest_copied": 25},
        "without_training_text": None,
        "source": "some tales",
    }
    (folder / "test_results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "test_samples.txt").write_text(samples + "\n", encoding="utf-8")
    (folder / "test_plots").mkdir()
    (folder / "test_plots" / "goodness.png").write_bytes(png())
    return folder


# --- what a page says -------------------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """The text of a page, its headings, the rows of its tables, its pictures, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends what was begun last."""
        assert self.open.pop() == tag, f"{tag} ends amid another"

    def handle_data(self, data: str) -> None:
        """Note text."""
        inside = self.open[-1] if self.open else ""
        self.texts.append((inside, data))
        if inside in ("th", "td"):
            self.rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")

    @property
    def text(self) -> str:
        """All that is read, but for the style."""
        said = " ".join(text for tag, text in self.texts if tag != "style")
        return " ".join(said.replace("\N{NO-BREAK SPACE}", " ").split())

    @property
    def headings(self) -> list[str]:
        """The headings of sections."""
        return [text for tag, text in self.texts if tag in ("h2", "h3")]

    @property
    def pictures(self) -> list[dict[str, str | None]]:
        """The attributes of the pictures."""
        return [attributes for tag, attributes in self.tags if tag == "img"]
