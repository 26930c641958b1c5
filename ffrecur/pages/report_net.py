"""The sections of a report that look into the net: goodness, what layers look for and labels expect, and what it writes."""

from __future__ import annotations

from functools import partial
from typing import Any

from ffrecur.pages import report_drawing as drawing
from ffrecur.pages.report_parts import ADDS, Picture, Section, grid, percent
from ffrecur.pages.report_words import class_of, part
from ffrecur.pages.run_files import RunFiles, Stage

LONGEST_SAMPLES = 2000  # characters
# Pictures of an evaluation that have a place of their own.
PLACED = ("error", "mistakes", "goodness")
# The others that we know: what they show, how to read them, and whether they are wide.
PICTURES = {
    "labels": (
        "Test images, each with the score of every label over the iterations",
        "The labels compete: the score of each over the iterations. Blue is the true label, orange the best wrong one.",
        True,
    ),
    "receptive_fields": (
        "Weights of first-layer units as images",
        "What units of the first layer look for: red for, blue against; of colour images in colour. "
        "Blobs and strokes are features; noise is not.",
        False,
    ),
    "imagination": (
        "What each label expects to see, as an image",
        "What each label expects to see, without an image: red where it expects ink, blue where none; "
        "of colour images in colour.",
        False,
    ),
    "expectation": (
        "Images, and below each what its best and its second label expect to see there",
        "The same at given images: what the best label expects there, and below it the second.",
        True,
    ),
    "goodness_maps": (
        "Images, and the goodness at each of their places, by layer and iteration",
        "Goodness at each place of the maps, with the true label: bright is high, each layer of an image on its own scale.",
        True,
    ),
    "negatives": (
        "Images, others, masks and the negative images mixed from them",
        "Negative images: a mask takes some of an image, and the rest of another.",
        True,
    ),
}


def goodness(run: RunFiles, stage: Stage) -> Section:
    """Goodness of positive and of negative data, by layer and iteration."""
    name = stage.stage
    notes = [
        note for file, note in run.notes.items() if file.startswith((f"{name}_goodness", f"{name}_plots/goodness"))
    ]
    table: list[list[Any]] | None = stage.tables.get("goodness")
    pictures, how = [], "The layer tells positive from negative data where the two lie apart."
    sign = part(run.config, "model", "init_args", "sign")
    if sign in (1, -1):
        how += f" This net was to have {'high' if sign == 1 else 'low'} goodness on positive data."
    if "goodness" in stage.pictures:
        layers = "by layer" if table is None else f"of {table[-1][1]} layers over {table[-1][0]} iterations"
        pictures = [
            Picture(drawing.as_png(stage.pictures["goodness"]), f"Goodness of both kinds of data, {layers}", "", True)
        ]
    elif table:
        last = [row for row in table if row[0] == table[-1][0]]
        positive, negative = ([row[column] for row in last] for column in (2, 3))
        told = "; ".join(f"layer {row[1]} {written(row[2])} and {written(row[3])}" for row in last)
        alt = f"Goodness of positive and negative data: {told}"
        pictures = [Picture(drawing.as_svg(drawing.goodness_by_layer(positive, negative)), alt)]
    return Section("Goodness of positive and negative data", how if pictures else "", notes, pictures)


def written(value: float | None) -> str:
    """Return a figure, or a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def looks(run: RunFiles, stage: Stage) -> Section:
    """What the net looks for and expects, and any other picture of the evaluation."""
    placed = [f"{stage.stage}_plots/{name}.png" for name in PLACED]
    notes = [note for file, note in run.notes.items() if file.startswith(f"{stage.stage}_plots") and file not in placed]
    pictures = []
    for name in sorted(stage.pictures, key=lambda name: [*PICTURES, name].index(name)):
        if name not in PLACED:
            alt, caption, wide = PICTURES.get(name, (f"Picture {name}", name.replace("_", " "), False))
            pictures.append(Picture(drawing.as_png(stage.pictures[name]), alt, caption, wide))
    recurrent = class_of(run, "model") == "RecurrentModule" and "imagination" in stage.pictures
    missing = ""
    if recurrent and "expectation" not in stage.pictures and not notes:
        missing = f"There is no picture of what labels expect at an image: {ADDS}"
    how = "Pictures of the net itself, drawn from its weights and from images of the split that was measured."
    return Section("What the net looks for", how if pictures else "", notes, pictures, missing=missing)


def separation(run: RunFiles, stage: Stage) -> Section:
    """How well each layer's goodness tells real text from what is none, and what the samples are worth."""
    results, tables = stage.results, []
    by_layer, by_dreams = (results.get(f"auroc_by_layer{kind}", []) for kind in ("", "_dreams"))
    if by_layer and len(by_layer) == len(by_dreams):
        rows = [
            [layer, written(wrong), written(dream)]
            for layer, (wrong, dream) in enumerate(zip(by_layer, by_dreams, strict=True), start=1)
        ]
        tables.append(grid(["layer", "last character wrong", "dreamt"], rows, "separation from real text, AUROC"))
    real = results.get("real_text", {})
    of_samples = (
        ("words of the training text", "known_word_share", partial(percent, digits=1)),
        ("different among all runs of 4 characters", "distinct_4gram_ratio", partial(percent, digits=1)),
        ("longest run copied, characters", "longest_copied", "{:g}".format),
    )
    rows = [
        [
            title,
            *(form(of[figure]) if isinstance(of.get(figure), int | float) else "-" for of in (results, real)),
        ]
        for title, figure, form in of_samples
        if isinstance(results.get(figure), int | float)
    ]
    if rows:
        tables.append(grid(["", "samples", "real text"], rows, "what it writes, beside real text of the same length"))
    how = "The separation is 1 where goodness tells every real window of text from the others, and 0.5 by chance."
    notes = [note for file, note in run.notes.items() if file.startswith(f"{stage.stage}_results")]
    missing = results.get("without_training_text")
    if missing:
        notes.append(f"Known words and copied runs are left out: {missing}.")
    return Section("Real text and what is none", how if tables else "", notes, tables=tables)


def samples(run: RunFiles, stage: Stage) -> Section:
    """What the net writes."""
    notes = [note for file, note in run.notes.items() if file.startswith(f"{stage.stage}_samples")]
    text = (stage.samples or "").rstrip("\n")
    how = "Each sample goes on, after the bar, from the first window of a document that it has not seen."
    if len(text) > LONGEST_SAMPLES:
        text = (text[:LONGEST_SAMPLES].rpartition("\n\n")[0] or text[:LONGEST_SAMPLES]) + "\n\n…"
        how += f" More of them are in {stage.stage}_samples.txt."
    temperature = stage.results.get("sample_temperature")
    if isinstance(temperature, int | float):
        how += f" The temperature is {temperature:g}."
    return Section("Samples", how if text else "", notes, text=text)
