"""Does a recurrent net see better the longer it looks? It and its rivals on videos of which no single frame shows all.

python scripts/study/looking.py SOURCE [--scenes Aperture SweepingBar=8] [--seeds 0 1 2] [--epochs 24] [-- OPTIONS OF fit]

SOURCE is a folder of the MNIST files, or other images. The nets, all of the same widths, batches, steps, rate and dropout:

    recurrent         tasks/mnist/aperture.yaml: each layer learns by its own goodness; frame t drives iteration t
    recurrent, +1     the same with sign 1
    cut               the same, trained without top-down weights between hidden layers; the top one still hears the label
    single frames     the same net trained on single frames, each of them shown for all iterations and scored over 3 to 5
    perceptron        a perceptron by backpropagation on single frames
    through time      the recurrent net by backpropagation through time, its head read after each of the last three frames

All are shown the very same videos, and learn from those of the same seed. A net on single frames learns from `--shown` frames
of each; it gives every frame log-probabilities, which are averaged. "Frames 6 to 8" is the mean of what a net says of these
three, "all" that of all frames: the figure of the nets on single frames, which forget. "With its head" is the net on single
frames with the log-probabilities of its one-pass head added to each frame's. Writes looking.json and looking.png into
the root as it goes; a training that was stopped goes on where it was, and what is in looking.json is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from looking_nets import unrolled_logits
from matplotlib.figure import Figure
from predicting import Scene, explained_by_layer, scene_of, table, videos_of
from study import answer, make_folder, parse, read_results, resolved, split_of, trained, write_results
from torch import Tensor

import ffrecur
from ffrecur.commands.export import settings_of_run
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.lit.images import prepare
from ffrecur.storage.classes import temperature_of

TASK = Path(__file__).parents[2] / "tasks" / "mnist" / "aperture.yaml"
FRAMES, BATCH, CLIPS = 8, 250, 1000  # shown, at a time, for what is predicted
ON_FRAMES = ("single frames", "perceptron")
NETS = ("recurrent", "recurrent, +1", "cut", *ON_FRAMES, "through time")
WINDOWS = {"frames 6 to 8": (6, 8), "frames 3 to 5": (3, 5), "all": (1, FRAMES)}
HELPED = "with its head"
FIXED = {
    "--data.frames": f"all nets look at {FRAMES} frames",
    "--data.scene": "--scenes has the scenes",
    "--model.update_scheme": "what is predicted is worked out for the synchronous scheme",
}
OF_PERCEPTRON = ("hidden_features", "center_images", "state_dropout", "optimizer", "lr_scheduler")
Found = dict[str, dict[str, dict[str, Any]]]  # by scene, net and seed


# --- training ---------------------------------------------------------------------------------------------------------


def configuration(net: str, scene: Scene, own: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a training: those of the task, with what this net and this scene change."""
    config: dict[str, Any] = yaml.safe_load(TASK.read_text())
    model, data = config["model"], config["data"]
    config["trainer"] |= {"max_epochs": own.epochs, "limit_val_batches": 0, "enable_model_summary": False}
    settings = {**model["init_args"], "hidden_features": own.widths}
    settings["lr_scheduler"] = {"class_path": "FlatThenLinear", "init_args": {"epochs": own.epochs}}
    data["init_args"] |= {"source": own.source, "frames": FRAMES}
    data["init_args"]["scene"] = {"class_path": type(scene).__name__, "init_args": asdict(scene)}  # type: ignore[call-overload]
    if net in ON_FRAMES:
        data["class_path"] = "looking_nets.SingleFrames"
        data["init_args"]["shown"] = own.shown
    if net == "single frames":
        settings["window"] = [3, 5]
    elif net == "perceptron":
        model["class_path"] = "looking_nets.PerceptronModule"
        settings = {name: settings[name] for name in OF_PERCEPTRON}
    elif net == "recurrent, +1":
        settings["sign"] = 1
    elif net in ("cut", "through time"):
        model["class_path"] = f"looking_nets.{'CutModule' if net == 'cut' else 'UnrolledModule'}"
    model["init_args"] = settings
    return config


def check_options(config: dict[str, Any], options: list[str]) -> None:
    """End with exit code 2 where a net cannot have these options; raises `UserError` for what all nets must have alike."""
    for option in (each.partition("=")[0] for each in options):
        for fixed, why in FIXED.items():
            if f"{option}.".startswith(f"{fixed}."):
                raise UserError(f"{option} cannot be given after --: {why}")
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.yaml"
        task.write_text(yaml.safe_dump(config))
        resolved(str(task), options)


def run_of(config: dict[str, Any], folder: Path, seed: int, options: list[str]) -> Path:
    """Return the folder of a run after training below another; one that was stopped goes on."""
    make_folder("--root", folder)
    task = folder / "task.yaml"
    task.write_text(yaml.safe_dump(config))
    return trained(folder, str(task), [f"--seed_everything={seed}", *options])


# --- looking ----------------------------------------------------------------------------------------------------------


def by_goodness(net: Any, videos_TBD: Tensor) -> Tensor:
    """Return a recurrent net's score of each label after each frame, `(T, B, C)`."""
    return net.sign * net.label_goodness(videos_TBD, len(videos_TBD)).sum(dim=1)


def frame_by_frame(net: Any, videos_TBD: Tensor, temperature: float, head_weight: float = 0.0) -> Tensor:
    """Return log-probabilities `(T, B, C)` of a net that sees nothing but the one frame."""
    frames = videos_TBD.flatten(0, 1)
    perceptron = isinstance(net, ffrecur.BackpropNet)
    scores = net(frames) if perceptron else net.score(frames, head_weight=head_weight) / temperature
    return torch.log_softmax(scores, dim=-1).unflatten(0, videos_TBD.shape[:2])


def through_time(net: Any, videos_TBD: Tensor) -> Tensor:
    """Return log-probabilities `(T, B, C)` of the head after each frame."""
    return torch.log_softmax(unrolled_logits(net, videos_TBD), dim=-1)


def looker(name: str, temperature: float) -> Callable[[Any, Tensor], Tensor]:
    """Return how a net of this name is asked what it sees, frame by frame."""
    if name in ON_FRAMES:
        return partial(frame_by_frame, temperature=temperature)
    return through_time if name == "through time" else by_goodness


@torch.no_grad()
def errors(net: Any, look: Callable[[Any, Tensor], Tensor], videos: Any, labels_N: Tensor) -> dict[str, Any]:
    """Return a net's errors, as fractions: over each window, `by_frame` after frame t alone, `so_far` over frames 1 to t."""
    spans = {
        **WINDOWS,
        **{f"{t}": (t, t) for t in range(1, FRAMES + 1)},
        **{f"-{t}": (1, t) for t in range(1, FRAMES + 1)},
    }
    wrong = dict.fromkeys(spans, 0)
    for start in range(0, len(labels_N), BATCH):
        scores_TBC = look(net, prepare(videos[start : min(start + BATCH, len(labels_N))]))
        for name, (first, last) in spans.items():
            guesses = scores_TBC[first - 1 : last].mean(dim=0).argmax(dim=1)
            wrong[name] += int((guesses != labels_N[start : start + BATCH]).sum())
    shares = {name: count / len(labels_N) for name, count in wrong.items()}
    by_frame, so_far = ([shares[f"{mark}{t}"] for t in range(1, FRAMES + 1)] for mark in ("", "-"))
    return {**{name: shares[name] for name in WINDOWS}, "by_frame": by_frame, "so_far": so_far}


def predicted(net: Any, videos: Any, labels_N: Tensor) -> dict[str, Any]:
    """Print and return what the layers above explain of the next frame's drive; see `predicting.py`."""
    found = explained_by_layer(net, prepare(videos[: min(CLIPS, len(labels_N))]), labels_N[:CLIPS])
    print(table(found), flush=True)
    return {kind: [list(each) for each in by_layer] for kind, by_layer in found.items()}


# --- results ----------------------------------------------------------------------------------------------------------


def over_seeds(rows: list[dict[str, Any]], figure: str) -> str:
    """Return mean and standard deviation in percent; of one seed the figure alone."""
    values = [100 * row[figure] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def mean_by_frame(rows: list[dict[str, Any]], figure: str) -> list[float]:
    """Return the mean over the seeds for each frame, in percent."""
    return [100 * statistics.mean(values) for values in zip(*(row[figure] for row in rows), strict=True)]


def rows_of(found: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all seeds by net, the nets with their heads among them."""
    rows = {}
    for net, by_seed in found.items():
        rows[net] = list(by_seed.values())
        helped = [row[HELPED] for row in rows[net] if HELPED in row]
        rows |= {f"{net}, {HELPED}": helped} if helped else {}
    return rows


def results(found: Found) -> str:
    """Return a Markdown table for each scene: errors in percent, the mean over the seeds and their standard deviation."""
    lines = []
    for scene, by_net in found.items():
        header = ["net", "seeds", *WINDOWS, *(f"frame {t}" for t in range(1, FRAMES + 1))]
        lines += ["", scene, "", "| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        for net, rows in rows_of(by_net).items():
            cells = [net, str(len(rows)), *(over_seeds(rows, window) for window in WINDOWS)]
            cells += [f"{error:.1f}" for error in mean_by_frame(rows, "by_frame")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: Found) -> Figure:
    """Return a panel a scene: the error after each frame, of nets on single frames that of the mean so far."""
    figure = Figure(figsize=(4.2 * len(found), 3.6), layout="constrained")
    styles = dict(zip(NETS, ("o-", "d-", "^:", "v-.", "s--", "x--"), strict=True))
    for axis, (scene, by_net) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        for net, by_seed in by_net.items():
            curve = mean_by_frame(list(by_seed.values()), "so_far" if net in ON_FRAMES else "by_frame")
            axis.plot(range(1, FRAMES + 1), curve, styles[net], label=net)
        axis.set(title=scene, xlabel="frames seen", ylabel="error, %", ylim=(0, None))
    figure.axes[0].legend(frameon=False, fontsize="small")
    return figure


def looked(
    name: str, scene: Scene, config: dict[str, Any], folder: Path, own: argparse.Namespace, *training: Any
) -> dict[str, Any]:
    """Train a net, print and return what it reaches."""
    last = run_of(config, folder, *training) / "last.ckpt"
    net, temperature = ffrecur.load(last).eval(), temperature_of(settings_of_run(last), 1.0)
    videos, labels = videos_of(own.source, scene, own.split, FRAMES, net, **(split_of(last) or {}))
    labels_N = labels[: own.limit]  # type: ignore[index]
    row = errors(net, looker(name, temperature), videos, labels_N)
    print({window: f"{row[window]:.2%}" for window in WINDOWS}, flush=True)
    if name == "single frames":
        helped = partial(frame_by_frame, temperature=temperature, head_weight=temperature)
        row[HELPED] = errors(net, helped, videos, labels_N)
    if name.startswith("recurrent"):
        row["explained"] = predicted(net, videos, labels_N)
    return row


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Return the options of the study, and those of `ffrecur fit`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of the MNIST files, or another source of images")
    parser.add_argument("--scenes", nargs="+", default=["Aperture"], help="such as Aperture, or SweepingBar=8")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--widths", type=int, nargs="+", default=[500, 500])
    parser.add_argument(
        "--shown", type=int, default=FRAMES, help="frames of a video that nets on single frames learn from"
    )
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=10_000, help="videos shown, the first of the split")
    parser.add_argument("--root", type=Path, default=Path("runs") / "looking")
    return parse(parser)


def run() -> None:
    """Train and look at what has not been looked at, then print the tables."""
    own, options = arguments()
    sys.path.append(str(Path(__file__).parent))  # for the class paths of looking_nets.py
    make_folder("--root", own.root)
    file = own.root / "looking.json"
    found: Found = read_results(file)
    check_whole("--limit", own.limit)
    check_whole("--shown", own.shown)
    check_setting(own.shown <= FRAMES, "--shown", own.shown, f"at most {FRAMES}, the frames of a video")
    scenes = [scene_of(text) for text in own.scenes]
    for name in own.nets:
        check_options(configuration(name, scenes[0], own), options)
    for seed, text, name in itertools.product(own.seeds, own.scenes, own.nets):
        scene = scene_of(text)
        config, by_seed = configuration(name, scene, own), found.setdefault(str(scene), {}).setdefault(name, {})
        asked = [config, *options, own.split, own.limit]
        if str(seed) in by_seed:
            if by_seed[str(seed)]["asked"] != asked:
                raise UserError(
                    f"{name}, seed {seed}, was run with other options below '{own.root}': give another --root"
                )
            continue
        print(f"--- {scene}, {name}, seed {seed}", flush=True)
        folder = own.root / f"{text.replace('=', '')}-{name.replace(', ', '').replace(' ', '_')}-{seed}"
        by_seed[str(seed)] = {**looked(name, scene, config, folder, own, seed, options), "asked": asked}
        write_results(file, found)
        draw(found).savefig(own.root / "looking.png", dpi=120)
    print(results(found))


def main() -> None:
    """Run; see `study.answer`."""
    answer(run)


if __name__ == "__main__":
    main()
