"""What the pages give people to type works: the Python runs, the README's loop learns, every `ffrecur` line is a command."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making import make_digits
from pages import DOCS, LAB, OF_SITE, PAGES, READMES, ROOT, blocks, name_of
from PIL import Image
from running import TASKS, only_run, run, slow, small_net

from ffrecur.main import run as without_lightning

# `make notebooks` executes the blocks of those pages; tests/scripts/test_make_notebooks.py holds them to their sources.
NOTEBOOKS = {source.with_suffix(".md") for source in (ROOT / "docs" / "notebooks").glob("*.py")}
TYPED = [*READMES, *(page for page in OF_SITE if page != LAB and page not in NOTEBOOKS)]
LANGUAGES = {
    "bash",
    "python",
    "yaml",
    "json",
    "text",
    "csv",
    "bibtex",
    "",
}  # in no other a command would be tested
INFORMING = ("--help", "--version", "--print_config")
REASON = re.compile(r"\b(needs?|because|since|cannot|takes|not run|not tested|of your own|the hub)\b")
OF_SECTION = re.compile(r"^No test runs the (commands|blocks) of this section: \w", re.MULTILINE)
SOURCES = {
    "path/to/idx": "digits",
    "ylecun/mnist": "bundled",
    "~/data/cifar10": "bundled",
    "~/data/mnist": "bundled",
    "path/to/tales.txt": "tales.txt",
}


def python(page):
    """Return the Python of a page that is tested, as one program."""
    return "\n".join(block.text for block in blocks(page) if block.language == "python" and block.tested)


def commands(pages=TYPED):
    """Return the commands of pages, each once."""
    typed = [block.text for page in pages for block in blocks(page) if block.language == "bash" and block.tested]
    lines = [line for text in typed for line in text.replace("\\\n", " ").splitlines()]
    return sorted({" ".join(re.split(r"(?:^|\s)#", line)[0].split()) for line in lines if line.startswith("ffrecur ")})


def informs(command):
    """Return whether a command only shows something."""
    return any(word in INFORMING or word.endswith(".help") for word in shlex.split(command))


# --- Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_plain_loop_learns_its_images():
    code = (
        "import torch\ntorch.manual_seed(0)\ntorch.set_num_threads(1)\n"
        + python(ROOT / "README.md")
        + "assert 'lightning' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True, check=True)
    assert float(re.search(r"tensor\((.*?)\)", done.stdout)[1]) > 0.9


@pytest.mark.parametrize("page", [page for page in TYPED if python(page)], ids=name_of)
def test_the_python_of_a_page_runs(page, workplace, capfd):
    """From its first block to its last, as a reader would type it, with one epoch of each loop."""
    code = re.sub(r"(for epoch in range\()\d+", r"\g<1>1", python(page))
    exec(compile(code, name_of(page), "exec"), {"__name__": "__main__"})
    assert capfd.readouterr().err == "", "it warns of nothing"


# --- commands ---------------------------------------------------------------------------------------------------------


def make_sources(words):
    """Make what the pages take for sources, in the current folder."""
    for folder in ("path/to/images/cat", "path/to/images/dog", "path/to/unlabelled/images"):
        Path(folder).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (5, 6), color=20 * number).save(f"{folder}/{number}.png")
    for folder in ("path/to/clips/flat", "path/to/clips/upright", "path/to/unlabelled/clips"):
        for number in range(6 if "/clips" in " ".join(words) else 0):
            (Path(folder) / str(number)).mkdir(parents=True)
            for frame in range(2):
                Image.new("L", (5, 6), color=20 * number + frame).save(f"{folder}/{number}/{frame}.png")
    Path("tales.txt").write_text("\n\n".join(f"The {animal} went home at noon." for animal in ("fox", "hen", "cow")))
    Path("path/to/folder").mkdir()
    Path("path/to/novel.txt").write_text("The fox went home at noon, and the hen too. " * 20)
    for split in ("train", "valid", "test"):
        Path(f"path/to/folder/{split}.txt").write_text(f"The fox went home at noon, to {split} the hen.")
    if "path/to/set.npz" in words:
        np.savez("path/to/set.npz", images=np.arange(240, dtype=np.uint8).reshape(12, 5, 4), labels=np.arange(12) % 2)
    if "path/to/saved" in words:
        import datasets

        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        rows = {"image": [Image.new("L", (4, 4), color=n) for n in range(12)], "label": [n % 2 for n in range(12)]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk("path/to/saved")


def train_on_text(folder):
    """Train a character model for two steps, on the text that comes with the package, beside the little images."""
    make_digits(folder / "digits")
    text_run = ["--model=CharModule", "--model.hidden_features=[6]", "--data=CorpusDataModule"]
    assert run("fit", *text_run, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2").code == 0


@pytest.fixture
def place_of(staged, request):
    """A function that makes a current folder with what a command needs: a character model, a net on images, or data."""

    def make(words):
        if words[0] in ("generate", "export"):
            staged("trained on the bundled text", train_on_text)
        else:
            request.getfixturevalue("workplace" if words[0] == "fit" and "last" not in words else "trained")

    return make


def task_of(words):
    """Return the file of the task that a command names, by its path or its name; None without one."""
    files = [Path(word) for word in words if word.endswith(".yaml")]
    files += [TASKS / f"{word}.yaml" for word in words]
    return next((file for file in files if file.is_file()), None)


def limits(words):
    """Return the options that make a command short: two steps, little data and narrow nets."""
    short = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"] if words[0] == "fit" else []
    if words[0] == "fit":
        short += ["--trainer.max_epochs=3"] if "last" in words else ["--trainer.max_epochs=1", "--data.batch_size=4"]
    if "--trainer.devices" in words:  # several processes have tests of their own
        short += ["--trainer.devices=1", "--trainer.strategy=auto"]
    if "--data.validation_size" in words:  # the pages' data sets are larger
        short += ["--data.validation_size=4"]
    task = task_of(words)
    if task and "--model.hidden_features" not in words:
        short += ["--model.hidden_features=[12,10]", *small_net(task)]  # wide nets take seconds a step
    return short


# What users type first. Of the other trainings `make test` reads the settings; test_compare_runs.py runs a task of each kind.
FIRST = commands([ROOT / "README.md", DOCS / "index.md"])
TRAININGS_LATER = [
    line for line in commands() if line not in FIRST and shlex.split(line)[1] == "fit" and not informs(line)
]


@pytest.mark.parametrize(
    "command", [slow(line) if line in TRAININGS_LATER else line for line in commands() if not informs(line)]
)
def test_every_command_runs(command, place_of):
    """On little data and for two steps, after a short training for those commands that need one."""
    words = shlex.split(command)[1:]
    words = [SOURCES.get(word, str(ROOT / word) if word.startswith("tasks/") else word) for word in words]
    place_of(words)
    make_sources(words)
    words = [str(only_run()) if word.startswith("runs/") else word for word in words]
    if words[0] in ("generate", "export", "runs", "report"):
        assert without_lightning(words) == 0
        return
    outcome = run(*words, *limits(words))
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", TRAININGS_LATER)
def test_the_settings_of_every_training_are_known(command, capsys):
    words = [str(ROOT / word) if word.startswith("tasks/") else word for word in shlex.split(command)[1:]]
    with pytest.raises(SystemExit) as stop:
        run(*words, "--print_config")
    assert stop.value.code == 0


@pytest.mark.parametrize("command", [line for line in commands() if informs(line)])
def test_what_only_informs_is_there(command, capsys):
    words = shlex.split(command)[1:]
    if words in (["--help"], ["--version"]):
        assert without_lightning(words) == 0
        return
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_where_tests_find_them(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        assert block.language == "bash" or not re.search(r"^\s*\$?\s*ffrecur (?!/)\w", block.text, re.MULTILINE), block


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_is_not_tested_has_a_reason_before_it(page):
    untested = [block for block in blocks(page) if not block.tested]
    wrong = [str(block) for block in untested if not (REASON.search(block.before) or OF_SECTION.search(block.section))]
    assert wrong == [], "the line before, or one that speaks of the section, says why tests do not run it"


def test_few_blocks_are_not_tested():
    every = [block for page in TYPED for block in blocks(page) if block.language in ("bash", "python")]
    untested = [block for block in every if not block.tested]
    assert len(untested) < len(every) / 5, ", ".join(map(str, untested))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_that_a_page_names_exists(page):
    from ffrecur.lit.run.known import known_settings

    known = set(known_settings())
    for name in set(re.findall(r"--((?:model|data|trainer)\.[a-z]\w*)", page.read_text())) - {
        "model.help",
        "data.help",
    }:
        assert name in known, name
