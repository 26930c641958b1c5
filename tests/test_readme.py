"""What the READMEs tell people to type works: the Python loop learns, and every `ffrecur` line is a command that runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running import TASKS, TINY, run, with_two_layers

from ffrecur.main import run as without_lightning

ROOT = TASKS.parent
TEXTS = [ROOT / "README.md", *sorted(TASKS.glob("*/README.md"))]


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.DOTALL)


def commands():
    lines = [line for path in TEXTS for block in blocks(path, "bash") for line in block.splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("ffrecur ")})


@pytest.mark.slow
def test_the_plain_loop_learns_its_images():
    (loop,) = blocks(ROOT / "README.md", "python")
    code = (
        "import torch\ntorch.manual_seed(0)\ntorch.set_num_threads(1)\n"
        + loop
        + "assert 'lightning' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True, check=True)
    assert float(re.search(r"tensor\((.*?)\)", done.stdout)[1]) > 0.9


@pytest.mark.parametrize("command", [line for line in commands() if "--help" not in line and ".help" not in line])
def test_every_command_runs(command, workplace):
    """On little data and for two steps, after a short training for those commands that need one."""
    words = shlex.split(command)[1:]
    sources = {"path/to/idx": "digits", "ylecun/mnist": "bundled", "~/data/mnist": "bundled"}
    sources |= {"path/to/tales.txt": "tales.txt"}
    Path("tales.txt").write_text("\n\n".join(f"The {animal} went home at noon." for animal in ("fox", "hen", "cow")))
    words = [sources.get(word, str(ROOT / word) if word.startswith("tasks/") else word) for word in words]
    for folder in ("path/to/images/cat", "path/to/images/dog", "path/to/unlabelled/images"):
        Path(folder).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (5, 6), color=20 * number).save(f"{folder}/{number}.png")
    if "path/to/set.npz" in words:
        np.savez("path/to/set.npz", images=np.arange(240, dtype=np.uint8).reshape(12, 5, 4), labels=np.arange(12) % 2)
    Path("path/to/folder").mkdir()
    Path("path/to/novel.txt").write_text("The fox went home at noon, and the hen too. " * 20)
    for split in ("train", "valid", "test"):
        Path(f"path/to/folder/{split}.txt").write_text(f"The fox went home at noon, to {split} the hen.")
    if "path/to/saved" in words:
        import datasets

        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        rows = {"image": [Image.new("L", (4, 4), color=n) for n in range(12)], "label": [n % 2 for n in range(12)]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk("path/to/saved")
    if words[0] in ("generate", "export"):
        text_run = ["--model=CharModule", "--model.hidden_features=[6]", "--data=CorpusDataModule"]
        assert run("fit", *text_run, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2").code == 0
        assert without_lightning(words) == 0
        return
    if words[0] != "fit" or "last" in words:
        assert run("fit", *TINY).code == 0
    if words[0] == "runs":
        assert without_lightning(words) == 0
        return
    limits = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"] if words[0] == "fit" else []
    if words[0] == "fit" and "last" not in words:
        limits += ["--trainer.max_epochs=1", "--data.batch_size=4"]
    elif words[0] == "fit":
        limits += ["--trainer.max_epochs=3"]
    if (
        task := next((Path(word) for word in words if word.endswith(".yaml")), None)
    ) and "--model.hidden_features" not in words:
        limits += ["--model.hidden_features=[12,10]", *with_two_layers(task)]  # wide nets take seconds a step
    outcome = run(*words, *limits)
    assert outcome.code == 0, outcome.err


def test_help_is_there(capsys):
    for line in (line for line in commands() if "help" in line):
        words = shlex.split(line.partition("#")[0])[1:]
        if words == ["--help"]:
            assert without_lightning(words) == 0
            continue
        with pytest.raises(SystemExit) as stop:
            run(*words)
        assert stop.value.code == 0


def test_every_setting_in_the_readme_exists():
    from ffrecur.lit.run.known import known_settings

    text = (ROOT / "README.md").read_text()
    known = set(known_settings()) | {"model.optimizer.lr", "model.help"}
    for name in set(re.findall(r"--((?:model|data|trainer)\.[\w.]+)", text)):
        assert name in known, name


@pytest.mark.parametrize("path", [*TEXTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", path.read_text())
    assert all((path.parent / target).exists() for target in targets), targets
