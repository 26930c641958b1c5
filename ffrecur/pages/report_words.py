"""A run in words: what was trained on what, how far it got, its main figures and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffrecur.pages.report_parts import percent
from ffrecur.pages.run_files import RESULTS, RunFiles, epochs_of, planned_epochs
from ffrecur.storage.files import name_and_time

MOST_SETTINGS = 500
LONGEST_VALUE = 200  # characters of a setting
NETS = {
    "RecurrentModule": "recurrent net with top-down connections",
    "FeedForwardModule": "feed-forward net",
    "BackpropModule": "net trained by backpropagation",
    "CharModule": "character model",
    "StreamModule": "streaming character model",
    "CharBackpropModule": "character model trained by backpropagation",
}
# The main figures: their title, and how they are written. Errors are fractions.
PERCENT, PLAIN, COUNT = percent, "{:.3f}".format, "{:,.0f}".format
FIGURES = {
    "error": ("error", PERCENT),
    "goodness_error": ("error of goodness alone", PERCENT),
    "one_pass_error": ("error of the one-pass head", PERCENT),
    "calibration_error": ("expected calibration error", PERCENT),
    "separation_error": ("pairs of a real and a negative image told wrongly", PERCENT),
    "num_examples": ("images", COUNT),
    "bits_per_character": ("bits per character", PLAIN),
    "head_bits_per_character": ("bits per character, head alone", PLAIN),
    "accuracy": ("next characters that are right", PERCENT),
    "num_characters": ("characters", COUNT),
}


def part(group: Any, *names: str) -> Any:
    """Return what stands at a path in nested settings; None where it is not there."""
    for name in names:
        group = group.get(name) if isinstance(group, dict) else None
    return group


def class_of(run: RunFiles, group: str) -> str:
    """Return the name of the class of the model or the data, without its module."""
    return str(part(run.config, group, "class_path") or "").rpartition(".")[2]


def is_text(run: RunFiles) -> bool:
    """Whether the net reads text."""
    measured = any("bits_per_character" in stage.results for stage in run.stages.values())
    return measured or class_of(run, "model").startswith("Char") or any("val/bits" in name for name in names_of(run))


def is_video(run: RunFiles) -> bool:
    """Whether each iteration sees a frame of its own."""
    return (
        class_of(run, "data") in ("DriftDataModule", "VideoDataModule")
        or part(run.config, "data", "init_args", "frames") is not None
    )


def names_of(run: RunFiles) -> set[str]:
    """Return the names of all logged figures."""
    return {name for row in run.metrics for name in row}


def net_in_words(run: RunFiles) -> str:
    """Return what kind of net it is, and how wide."""
    kind, settings = class_of(run, "model"), part(run.config, "model", "init_args")
    settings = settings if isinstance(settings, dict) else {}
    words = NETS.get(kind, f"net of the class {kind}" if kind else "net")
    stored: dict[str, Any] = next((stage.results["net"] for stage in run.stages.values() if "net" in stage.results), {})
    layers, widths = settings.get("layers"), stored.get("hidden_features") or settings.get("hidden_features")
    if kind == "FeedForwardModule" and "label" in settings and settings["label"] is None:
        words += " without labels"
    if isinstance(settings.get("channels"), list) and settings["channels"]:
        words = words.replace("net", "convolutional net", 1)
    if isinstance(layers, list) and layers:
        return f"{words}, with {len(layers)} layers of local receptive fields"
    if isinstance(units := settings.get("units_per_place"), list) and units:
        maps = "one map" if len(units) == 1 else f"{len(units)} maps"
        return f"{words}, with {maps} of {listed(units)} units a place and fields of {settings.get('field')} places each way"
    if isinstance(widths, list) and widths:
        layers = "one hidden layer" if len(widths) == 1 else f"{len(widths)} hidden layers"
        each = (
            f"{widths[0]} units each"
            if len(widths) > 1 and len(set(map(str, widths))) == 1
            else f"{listed(widths)} units"
        )
        return f"{words}, with {layers} of {each}"
    return words


def listed(values: Sequence[Any]) -> str:
    """Return values as a list in words.

    >>> listed([500]), listed([500, 400]), listed(["a", "b", "c"])
    ('500', '500 and 400', 'a, b and c')
    """
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def data_in_words(run: RunFiles) -> str | None:
    """Return what the data is: as the evaluation says, or else the source among the settings."""
    told = next((stage.results["source"] for stage in run.stages.values() if stage.results.get("source")), None)
    source = part(run.config, "data", "init_args", "source")
    return str(told or source) if told or source else None


def begun(run: RunFiles) -> str | None:
    """Return when the run began, from the name of its folder."""
    when = name_and_time(run.folder.absolute().name)[1]
    return f"{when:%Y-%m-%d %H:%M}" if when else None


def task_of(run: RunFiles) -> str:
    """Return the name of the task, from that of the folder."""
    return name_and_time(run.folder.absolute().name)[0]


def progress(run: RunFiles) -> tuple[str, bool]:
    """Return how far the training got, in words, and whether that was to its last epoch."""
    planned, made = planned_epochs(run.config), epochs_of(run.metrics)
    minutes = max((row.get("train/minutes", 0.0) for row in run.metrics), default=0.0)
    time = f" in {minutes:.1f} minutes" if minutes else ""
    if planned is None or made >= planned:
        done = "one epoch" if made == 1 else f"{made} epochs" if made else "no whole epoch"
        return f"{done}{time}", True
    return f"{made} of {planned} epochs{time}", False


def summary(run: RunFiles) -> list[str]:
    """Return a few sentences: the net, its data, how long it was trained, and its error."""
    words, data, (trained, whole) = net_in_words(run), data_in_words(run), progress(run)
    article = "An" if words[0] in "aeiou" else "A"
    sentences = [f"{article} {words}."]
    if data:
        sentences.append(f"Its data: {data.rstrip('.')}.")
    if is_video(run):
        frames = part(run.config, "data", "init_args", "frames")
        sentences.append(f"Each of them is a video{f' of {frames} frames' if isinstance(frames, int) else ''}.")
    seed = part(run.config, "seed_everything")
    when = begun(run)
    told = [
        f"trained for {trained}",
        *([] if seed is None else [f"with seed {seed}"]),
        *([f"begun {when}"] if when else []),
    ]
    if run.metrics or run.config:
        sentences.append(f"{', '.join(told)}.".capitalize())
    if not whole and (run.metrics or run.config):
        sentences.append(stopped(run))
    sentences += [
        reached(name, run.stages[name].results) for name in run.stages if reached(name, run.stages[name].results)
    ]
    return sentences


def stopped(run: RunFiles) -> str:
    """Return how a run that has not come to its end goes on."""
    if run.reached is None:
        where = "" if (run.folder / "last.ckpt").is_file() else " There is no checkpoint to go on from."
        return f"It is still at work, or was stopped.{where}"
    _, steps, written = run.reached
    return (
        f"It is still at work, or was stopped: last.ckpt has {steps:,} steps and is of {written:%Y-%m-%d %H:%M}. "
        f"The command ffrecur fit --ckpt_path {run.folder / 'last.ckpt'} goes on with it."
    )


def reached(stage: str, results: dict[str, Any]) -> str:
    """Return what an evaluation found, in a sentence; nothing where it has no main figure."""
    split = "test" if stage == "test" else "validation"
    if isinstance(results.get("bits_per_character"), int | float):
        return f"It needs {results['bits_per_character']:.3f} bits per character of the {split} text."
    if isinstance(results.get("error"), int | float):
        count = results.get("num_examples")
        images = f"{count:,} {split} images" if isinstance(count, int) else f"the {split} images"
        return f"Its error on {images} is {percent(results['error'])}."
    if isinstance(results.get("separation_error"), int | float):
        wrong = percent(results["separation_error"])
        return f"Of all pairs of a real and a negative {split} image, the goodness of its layers tells {wrong} wrongly."
    return ""


def main_figures(run: RunFiles) -> list[tuple[str, str]]:
    """Return the main figures: what it is, with the split that it was measured on, and the figure."""
    found = []
    for name, stage in run.stages.items():
        own = [name for name in stage.results if is_own_number(name, stage.results[name])]
        for figure in (*FIGURES, *own):
            title, form = FIGURES.get(figure, (figure, "{:g}".format))
            value = stage.results.get(figure)
            if isinstance(value, int | float):
                found.append((f"{title} ({name})", form(value)))
    for figure in ("val/error", "val/separation_error", "val/bits_per_character"):
        values = [row[figure] for row in run.metrics if figure in row]
        if values:
            title, form = FIGURES[figure.removeprefix("val/")]
            found.append((f"lowest {title} while training (validation)", form(min(values))))
    if run.metrics or run.config:
        found.append(("epochs", progress(run)[0]))
    return found


def is_own_number(name: str, value: Any) -> bool:
    """Whether a figure is a number that only a module of the user's own has."""
    return name not in RESULTS and isinstance(value, int | float)


def settings(run: RunFiles) -> list[tuple[str, str]]:
    """Return the settings as they are typed: dotted names and values; at most `MOST_SETTINGS`."""
    found: list[tuple[str, str]] = []
    stack: list[tuple[str, Any, int]] = [("", run.config, 0)]
    while stack and len(found) < MOST_SETTINGS:
        name, value, depth = stack.pop()
        if isinstance(value, dict) and value and depth < 10:
            inner = [(key if key not in ("class_path", "init_args") else "", item) for key, item in value.items()]
            stack += [(".".join(filter(None, (name, str(key)))), item, depth + 1) for key, item in reversed(inner)]
        elif value is not None and name:
            found.append((name, shortened(value)))
    return found


def shortened(value: Any) -> str:
    """Return a value as text that is not too long."""
    text = str(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"
