"""A report: one HTML file about one run, or about several side by side, with everything in it that a browser needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ffrecur.pages.report_parts import Grid, Picture, grid
from ffrecur.pages.report_sections import curve, curve_picture, sections_of
from ffrecur.pages.report_words import main_figures, settings, summary, task_of
from ffrecur.pages.run_files import RunFiles, read_run
from ffrecur.storage.files import replacing

NAME = "report.html"


def report_page(runs: Sequence[RunFiles]) -> str:
    """Return the page about runs that have been read."""
    names = names_of(runs)
    alone = len(runs) == 1
    environment = Environment(
        loader=PackageLoader("ffrecur", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template("report.html.jinja").render(
        title=f"Report: {task_of(runs[0])}" if alone else f"Report: {len(runs)} runs",
        style=(files("ffrecur") / "pages" / "report.css").read_text(encoding="utf-8"),
        runs=[shown(run, name) for run, name in zip(runs, names, strict=True)],
        figures=compared(runs, [""] if alone else names),
        curves=[] if alone else compared_curves(runs, names),
    )
    return page.lstrip()


def shown(run: RunFiles, name: str) -> dict[str, Any]:
    """Return what the template shows of a run."""
    found = settings(run)
    return {
        "name": name,
        "summary": summary(run),
        "sections": sections_of(run),
        "settings": grid(["setting", "value"], found) if found else None,
        "notes": [note for file, note in run.notes.items() if file == "config.yaml"],
    }


def names_of(runs: Sequence[RunFiles]) -> list[str]:
    """Return a name for each run: that of its folder, or the path where two have the same."""
    names = [run.folder.absolute().name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]


def compared(runs: Sequence[RunFiles], names: Sequence[str]) -> Grid | None:
    """Return the main figures, a column a run; None if there are none."""
    of_runs = [dict(main_figures(run)) for run in runs]
    titles = list(dict.fromkeys(title for figures in of_runs for title in figures))
    titles.sort(key=lambda title: title == "epochs")  # the last
    rows = [[title, *(figures.get(title, "-") for figures in of_runs)] for title in titles]
    return grid(["", *names], rows) if rows else None


def compared_curves(runs: Sequence[RunFiles], names: Sequence[str]) -> list[Picture]:
    """Return the validation figures of all runs by epoch, in a picture for each figure."""
    pictures = []
    for figure, axis, factor in (
        ("val/error", "validation error, %", 100.0),
        ("val/separation_error", "validation, pairs told wrongly, %", 100.0),
        ("val/bits_per_character", "validation, bits per character", 1.0),
    ):
        lines = {name: curve(run.metrics, figure, factor) for name, run in zip(names, runs, strict=True)}
        pictures += curve_picture(lines, axis)
    return pictures


def write_report(folders: Sequence[Path], output: Path) -> None:
    """Read runs and write the page about them, whole or not at all.

    Raises `UserError` for a folder that is not that of a run.
    """
    page = report_page([read_run(folder) for folder in folders])
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
