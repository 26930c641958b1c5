"""The sections of a report: learning curves, errors, calibration, classes and mistakes, each from the files of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ffrecur.pages import report_drawing as drawing
from ffrecur.pages.report_net import goodness, looks, samples, separation
from ffrecur.pages.report_parts import ADDS, Cell, Grid, Picture, Section, grid, percent
from ffrecur.pages.report_words import is_text, is_video
from ffrecur.pages.run_files import RunFiles, Stage
from ffrecur.pages.run_tables import Confusion

MOST_CLASSES = 20  # whose confusion is a table of numbers
# Panels of the learning curves: axis, factor, and the figures with what they are called.
CURVES: tuple[tuple[str, float, dict[str, str]], ...] = (
    (
        "error, %",
        100.0,
        {
            "val/error": "validation",
            "val/one_pass_error": "validation, one-pass head",
            "train/error": "training",
            "train/one_pass_error": "training, one-pass head",
        },
    ),
    ("pairs told wrongly, %", 100.0, {"val/separation_error": "validation"}),
    (
        "bits per character",
        1.0,
        {
            "val/bits_per_character": "validation",
            "val/head_bits_per_character": "validation, head alone",
            "train/bits_per_character": "training",
        },
    ),
    ("loss", 1.0, {"train/loss": "training loss"}),
)


def sections_of(run: RunFiles) -> list[Section]:
    """Return the sections of a run that have anything to show or to say."""
    stage = next(iter(run.stages.values()), None)
    sections = [learning_curves(run)]
    if stage is None:
        command = f"ffrecur test --ckpt_path {run.folder}"
        sections.append(Section("Test", "", damaged(run, "test"), missing=f"It has not been tested yet: {command}"))
    else:
        labelled: tuple[Callable[[RunFiles, Stage], Section], ...] = (calibration, classes, mistakes)
        of_images = (errors, *(() if "separation_error" in stage.results else labelled), goodness, looks)
        kinds = (separation, goodness, samples) if is_text(run) else of_images
        sections += [make(run, stage) for make in kinds]
    told = {note for section in sections for note in section.notes}
    others = [note for name, note in run.notes.items() if note not in told and name != "config.yaml"]
    sections.append(Section("Other files", "", others))
    return [section for section in sections if any(section[2:])]


def damaged(run: RunFiles, *beginnings: str) -> list[str]:
    """Return the notes on files whose names begin so."""
    return [note for name, note in run.notes.items() if name.startswith(beginnings)]


def learning_curves(run: RunFiles) -> Section:
    """Errors or bits, loss, and goodness of both kinds of data, by epoch."""
    pictures = []
    for axis, factor, figures in CURVES:
        lines = {title: curve(run.metrics, name, factor) for name, title in figures.items()}
        pictures += curve_picture(lines, axis)
    layers = sorted({name for row in run.metrics for name in row if re.match(r"train/goodness_.*_layer_\d+$", name)})
    by_kind = {"positive": "positive data", "negative": "negative data"}
    lines = {}
    for name in sorted(layers, key=lambda name: (int(name.rpartition("_")[2]), "negative" in name)):
        _, kind, _, layer = name.removeprefix("train/").rsplit("_", 3)
        lines[f"layer {layer}, {by_kind.get(kind, kind)}"] = curve(run.metrics, name, 1.0)
    pictures += curve_picture(lines, "goodness in training", pairs=True)
    how = ""
    if any(name.startswith("val/") for row in run.metrics for name in row):
        how = "Where validation still falls at the right end, more epochs would help; where it rises, the net overfits."
    return Section("Learning curves", how, damaged(run, "metrics.csv", "last.ckpt"), pictures)


def curve(metrics: Sequence[dict[str, float]], name: str, factor: float) -> drawing.Curve:
    """Return epochs, counted from 1, and values of a figure."""
    rows = [row for row in metrics if name in row]
    return [row["epoch"] + 1 for row in rows], [factor * row[name] for row in rows]


def curve_picture(lines: dict[str, drawing.Curve], axis: str, pairs: bool = False) -> list[Picture]:
    """Return a picture of the lines that have a point; none if there is no such line. See `drawing.curves`."""
    lines = {title: points for title, points in lines.items() if points[0]}
    if not lines:
        return []
    told = "; ".join(
        f"{title} {points[1][0]:.3g} at first, {points[1][-1]:.3g} at last" for title, points in lines.items()
    )
    figure = drawing.curves(lines, "epoch", axis, from_zero="bits" not in axis, pairs=pairs)
    return [Picture(drawing.as_svg(figure), f"{axis} by epoch: {told}")]


def picture_of(stage: Stage, name: str, alt: str, caption: str = "", wide: bool = False) -> list[Picture]:
    """Return a picture that the evaluation has drawn; none where there is none."""
    content = stage.pictures.get(name)
    return [] if content is None else [Picture(drawing.as_png(content), alt, caption, wide)]


def errors(run: RunFiles, stage: Stage) -> Section:
    """Errors by iteration, or frame, and by layer."""
    results, video = stage.results, is_video(run)
    by_iteration, by_layer = results.get("error_by_iteration", []), results.get("error_by_layer", [])
    each = "frame" if video else "iteration"
    alt = f"Error of each {each}: {', '.join(percent(value) for value in by_iteration)}"
    pictures = picture_of(stage, "error", alt) if by_iteration else []
    if by_iteration and not pictures:
        numbers = range(1, len(by_iteration) + 1)
        known = [(n, 100 * value) for n, value in zip(numbers, by_iteration, strict=True) if value is not None]
        if known:
            lines = {"goodness of one alone": tuple(map(list, zip(*known, strict=True)))}
            pictures = [Picture(drawing.as_svg(drawing.curves(lines, each, "error, %")), alt)]  # type: ignore[arg-type]
    tables = []
    if by_iteration:
        tables.append(grid([each, "error"], [[n, percent(value)] for n, value in enumerate(by_iteration, start=1)]))
    read = results.get("head_layers") or ()
    of_head = "auroc_by_layer" in results and len(read) == len(by_layer)
    layers = read if of_head else range(1, len(by_layer) + 1)
    if by_layer:
        tables.append(grid(["layer", "error"], [[n, percent(v)] for n, v in zip(layers, by_layer, strict=True)]))
    if areas := results.get("auroc_by_layer"):
        rows = [[n, "-" if area is None else f"{area:.3f}"] for n, area in enumerate(areas, start=1)]
        tables.append(grid(["layer", "AUROC"], rows, "real against negative images; 1 is perfect, 0.5 is chance"))
    how = f"Each row is the error of the goodness of one {each if by_iteration else 'layer'} alone, without the others."
    if "auroc_by_layer" in results:
        how = (
            "The errors are of what the head reads of one layer alone."
            if by_layer
            else "The goodness of one layer alone."
        )
    if video and by_iteration:
        how += " Each iteration sees the next frame of the video."
    title = f"Errors by {each} and layer" if by_iteration else "Errors by layer"
    title = title if by_layer or by_iteration else "Real images against negative ones"
    notes = damaged(run, f"{stage.stage}_results", f"{stage.stage}_plots/error")
    return Section(title, how if tables else "", notes, pictures, tables)


def calibration(run: RunFiles, stage: Stage) -> Section:
    """Accuracy against confidence."""
    rows, notes = stage.tables.get("calibration"), damaged(run, f"{stage.stage}_calibration")
    full = [(row[3], row[4], row[2]) for row in rows or () if row[2] > 0 and None not in row]
    if not full:
        missing = f"There is no table of the calibration: {ADDS}" if rows is None and not notes else ""
        return Section("Calibration", "", notes, missing=missing)
    error, surest = stage.results.get("calibration_error"), max(full, key=lambda each: each[2])
    alt = f"Share that is right against confidence, {len(full)} bins; most images, {surest[2]}, have a confidence of "
    alt += f"{surest[0]:.3f} and are right in {percent(surest[1], 1)}"
    how = "Points below the dashed line are surer than they are right, points above it less sure."
    if error is not None:
        how += f" The mean distance from it, the expected calibration error, is {percent(error)}."
    return Section("Calibration", how, notes, [Picture(drawing.as_svg(drawing.reliability(full)), alt)])


def classes(run: RunFiles, stage: Stage) -> Section:
    """The confusion of the classes."""
    table: Confusion | None = stage.tables.get("confusion")
    notes = damaged(run, f"{stage.stage}_confusion")
    if table is None:
        return Section("Classes", "", notes)
    names, counts = table
    wrong = [
        (counts[i][j], names[i], names[j])
        for i in range(len(names))
        for j in range(len(names))
        if i != j and counts[i][j]
    ]
    often = grid(
        ["true", "taken for", "images"],
        [[true, other, count] for count, true, other in sorted(wrong, key=lambda each: -each[0])[:10]],
        "the most frequent mistakes",
    )
    tables, pictures = [often] if wrong else [], []
    if len(names) <= MOST_CLASSES:
        tables.insert(0, confusion_grid(table))
    else:
        alt = f"Map of the confusion of {len(names)} classes; the table below has the most frequent mistakes"
        pictures = [Picture(drawing.as_svg(drawing.confusion_map(counts)), alt)]
    how = (
        "A row has the images of one class, a column those that were taken for one: mistakes stand beside the diagonal."
    )
    return Section("Classes", how, notes, pictures, tables)


def confusion_grid(table: Confusion) -> Grid:
    """Return the confusion as a table, with the error of each class; the more mistakes, the darker."""
    largest = max((n for i, row in enumerate(table.counts) for j, n in enumerate(row) if i != j), default=0)
    rows = []
    for i, (name, counts) in enumerate(zip(table.names, table.counts, strict=True)):
        total = sum(counts)
        shares = [0.0 if i == j or not largest else n / largest for j, n in enumerate(counts)]
        cells = [Cell(str(n) if n else "·", share) for n, share in zip(counts, shares, strict=True)]
        rows.append([Cell(name), *cells, Cell(percent((total - counts[i]) / total if total else None))])
    return Grid(["true", *table.names, "error"], rows)


def mistakes(run: RunFiles, stage: Stage) -> Section:
    """The worst mistakes as images."""
    rows: list[list[Any]] | None = stage.tables.get("mistakes")
    notes = damaged(run, f"{stage.stage}_mistakes", f"{stage.stage}_plots/mistakes")
    if rows == []:
        return Section("Worst mistakes", "It made none.", notes)
    told = "; ".join(f"{true} taken for {other} with {percent(sure, 1)}" for true, other, sure in rows or ())
    pictures = picture_of(stage, "mistakes", f"The worst mistakes: {told or 'see the words in the picture'}", wide=True)
    missing = f"There is no picture of the worst mistakes: {ADDS}" if not (pictures or notes or rows) else ""
    how = "The images whose wrong class it is surest of: the true class, the one that it says, and how sure it is."
    tables = []
    if rows and not pictures:
        tables = [
            grid(["true", "taken for", "confidence"], [[true, other, percent(sure, 1)] for true, other, sure in rows])
        ]
    return Section("Worst mistakes", how if rows or pictures else "", notes, pictures, tables, missing=missing)
