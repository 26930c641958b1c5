"""Kind 7, names are lost: classes are kept with the net, matched by name with those of other data, and written beside numbers."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from making import idx_bytes
from matplotlib.figure import Figure
from PIL import Image
from running import only_run, run
from torch.utils.data import DataLoader, TensorDataset

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.data.classes import match, number_labels
from ffrecur.errors import UserError
from ffrecur.lit import RecurrentModule
from ffrecur.metrics import plots
from ffrecur.metrics.plots import name_of
from ffrecur.storage.checkpoint import NET_KEY, describe

# --- labels of any kind -----------------------------------------------------------------------------------------------

LABELS: dict[str, tuple[dict[str, Sequence[object]], tuple[str, ...], list[int]]] = {
    "from 0": ({"train": [0, 1, 2]}, ("0", "1", "2"), [0, 1, 2]),
    "1 to 26, as the letters of EMNIST": (
        {"train": list(range(1, 27))}, tuple(str(k) for k in range(1, 27)), list(range(26)),
    ),
    "with gaps": ({"train": [7, 300, 7]}, ("7", "300"), [0, 1, 0]),
    "text": ({"train": ["dog", "cat", "dog"]}, ("cat", "dog"), [1, 0, 1]),
    "numbers as text": ({"train": ["10", "9"]}, ("9", "10"), [1, 0]),
    "a class that no test image has": ({"train": [1, 2, 3], "test": [3, 1]}, ("1", "2", "3"), [0, 1, 2]),
    "numbers in one split, text in the other": ({"train": [1, 2], "test": ["2", "1"]}, ("1", "2"), [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("what", LABELS)
def test_labels_become_classes(what: str) -> None:
    labels, names, expected = LABELS[what]
    found, numbers = number_labels("set", labels)
    assert (found, numbers["train"].tolist()) == (names, expected)
    for split, values in labels.items():
        assert [found[number] for number in numbers[split].tolist()] == [str(value) for value in values]


def test_a_class_of_another_split_only_is_refused_with_both_lists() -> None:
    with pytest.raises(UserError) as caught:
        number_labels("set", {"train": ["a", "b"], "test": ["c", "a"]})
    assert str(caught.value) == (
        "data.source is 'set', whose test split has the class 'c', which its training split does not have; "
        "training: a, b; test: a, c"
    )


# --- the classes of one data set and those of a net -------------------------------------------------------------------

PETS = ("cat", "dog", "eel")
DIGITS = ("0", "1", "2")
# classes of the data; those of which there are images; the net's, None of an older net, and their number; the net's index for
# each class of the data, or what the refusal says
MATCHES: dict[str, tuple[Sequence[str], set[str], Sequence[str] | None, int, list[int] | str]] = {
    "the same": (PETS, set(PETS), PETS, 3, [0, 1, 2]),
    "fewer": (("cat", "eel"), {"cat", "eel"}, PETS, 3, [0, 2]),
    "one": (("dog",), {"dog"}, PETS, 3, [1]),
    "another order": (("eel", "cat", "dog"), set(PETS), PETS, 3, [2, 0, 1]),
    "numbers, by name": (("2", "0"), {"2", "0"}, DIGITS, 3, [2, 0]),
    "names for numbers, by position": (PETS, set(PETS), DIGITS, 3, [0, 1, 2]),
    "numbers for names, by position": (DIGITS, set(DIGITS), PETS, 3, [0, 1, 2]),
    "an older net with as many, by position": (("1", "2", "10"), {"1", "2", "10"}, None, 3, [0, 1, 2]),
    "an older net of EMNIST's letters, which had an output more": (("1", "2", "3"), {"1", "2", "3"}, None, 4, [1, 2, 3]),
    "declared, but of no image": ((*PETS, "ant"), {"cat"}, PETS, 3, [0, 1, 2, -1]),
    "more": ((*PETS, "ant"), {*PETS, "ant"}, PETS, 3, "the class 'ant', which the net does not know; the net's"),
    "one that differs": (("cat", "dog", "ant"), {"cat", "dog", "ant"}, PETS, 3, "cat, dog, eel; the data's: cat, dog, ant"),
    "accents apart": (("u\u0308", "a"), {"u\u0308", "a"}, ("a", "\u00fc"), 2, [1, 0]),
    "accents apart in the net": (("\u00fc", "a"), {"\u00fc", "a"}, ("a", "u\u0308"), 2, [1, 0]),
    "another letter case": (("Cat", "dog", "eel"), {"Cat"}, PETS, 3, "the class 'Cat', which the net does not know"),
    "names for numbers, of another count": (PETS, set(PETS), ("0", "1", "2", "3"), 4, "classes: 0, 1, 2, 3; the data's"),
    "numbers of which some are the net's": (("1", "2", "3"), {"1", "2", "3"}, DIGITS, 3, "classes: 0, 1, 2; the data's: 1, 2, 3"),
    "an older net of another count": (PETS, set(PETS), None, 4, "the class 'cat', which the net does not know"),
}  # fmt: skip


@pytest.mark.parametrize("what", MATCHES)
def test_classes_are_matched_or_refused(what: str) -> None:
    data, occurring, net, count, expected = MATCHES[what]
    if isinstance(expected, list):
        assert match("set", data, occurring, net, count).tolist() == expected
        return
    with pytest.raises(UserError) as caught:
        match("set", data, occurring, net, count)
    assert expected in str(caught.value)


# --- from the data to the files of a run ------------------------------------------------------------------------------


def pets(folder: Path, classes: Sequence[str], count: int = 8, split: str = "") -> Path:
    """Images of 4x4, noise with one bright column whose place tells the class, the same wherever it is written."""
    for name in classes:
        place = [*PETS, "ant"].index(name)
        random = np.random.default_rng(place)
        (folder / split / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 60, (4, 4))
            pixels[:, place] = 255
            Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


TINY = [
    "--model.hidden_features=[12,10]", "--model.sign=-1", "--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.02",
    "--data.source=pets", "--data.batch_size=8", "--trainer.max_epochs=12", "--data.validation_size=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def run_of_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, made once."""
    folder = tmp_path_factory.mktemp("pets")
    pets(folder / "pets", PETS)
    with contextlib.chdir(folder):
        outcome = run("fit", *TINY)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def trained(run_of_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it as the current folder."""
    shutil.copytree(run_of_pets, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_names_are_in_checkpoints_exported_folders_and_every_file_of_results(trained: None) -> None:
    net = ffrecur.load(only_run())
    assert isinstance(net, ffrecur.RecurrentNet)
    assert net.class_names == PETS
    assert describe(net)["class_names"] == list(PETS)
    assert torch.load(only_run() / "last.ckpt", weights_only=True)[NET_KEY]["class_names"] == list(PETS)
    ffrecur.save(net, "exported")
    assert json.loads(Path("exported/config.json").read_text())["class_names"] == list(PETS)
    assert ffrecur.load("exported").class_names == PETS

    assert run("test", "--data.source=pets", render=True).code == 0
    results = json.loads((only_run() / "test_results.json").read_text())
    assert results["class_names"] == list(PETS)
    table = rows(only_run() / "test_confusion.csv")
    assert table[0] == ["true", *PETS]
    assert [row[0] for row in table[1:]] == list(PETS)
    counts = np.array([row[1:] for row in table[1:]], int)
    assert counts.sum() == results["num_examples"] == 4
    assert 1 - np.trace(counts) / 4 == pytest.approx(results["error"])
    for true, error in enumerate(results["error_by_class"]):
        of_class = counts[true].sum()
        assert error == (None if of_class == 0 else pytest.approx(1 - counts[true, true] / of_class))

    assert run("predict", "--data.source=pets").code == 0
    header, *predictions = rows(only_run() / "predictions.csv")
    assert header == [
        "index",
        "file",
        "predicted_label",
        "predicted_class",
        *[f"score_{k}" for k in range(3)],
        "margin",
    ]
    assert [row[1] for row in predictions] == [f"{name}/{k}.png" for name in PETS for k in range(8)]
    assert all(row[3] == PETS[int(row[2])] for row in predictions)
    assert np.mean([row[1].startswith(row[3]) for row in predictions]) > 0.9


def test_a_net_is_tested_on_fewer_classes_by_name(trained: None) -> None:
    pets(Path("some"), ("dog", "eel"))  # by position they would be cat and dog
    assert run("test", "--data.source=some").code == 0
    results = json.loads((only_run() / "test_results.json").read_text())
    assert results["error"] < 0.2
    assert results["class_names"] == list(PETS)
    assert results["error_by_class"][0] is None  # no image of a cat


def test_unknown_classes_are_refused_for_testing_and_continuing(trained: None) -> None:
    pets(Path("more"), ("cat", "dog", "ant"))
    for command in (["test"], ["validate"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=14"]):
        outcome = run(*command, "--data.source=more")
        assert outcome.code == 2
        assert "images of the class 'ant', which the net does not know" in outcome.err
        assert "the net's classes: cat, dog, eel; the data's: ant, cat, dog" in outcome.err


def test_the_same_through_the_api(trained: None) -> None:
    def trainer() -> L.Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return L.Trainer(accelerator="cpu", **quiet)  # type: ignore[arg-type]

    checkpoint = str(only_run() / "last.ckpt")
    pets(Path("some"), ("dog", "eel"))
    module, data = RecurrentModule([12, 10], sign=-1), ImageDataModule("some")
    [figures] = trainer().test(module, data, ckpt_path=checkpoint, verbose=False)
    assert figures["test/error"] < 0.2
    assert (module.net.class_names, module.net.num_classes, data.class_names) == (PETS, 3, PETS)
    loaded = RecurrentModule.load_from_checkpoint(checkpoint)
    assert loaded.net.class_names == PETS
    [again] = trainer().test(loaded, ImageDataModule("some"), verbose=False)
    assert again == figures
    pets(Path("more"), ("cat", "ant"))
    with pytest.raises(UserError, match="the class 'ant', which the net does not know"):
        trainer().test(RecurrentModule([12, 10], sign=-1), ImageDataModule("more"), ckpt_path=checkpoint)


class Pets(L.LightningDataModule):
    """A data module of one's own."""

    in_features, num_classes = 16, 3

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = class_names

    def test_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(TensorDataset(torch.rand(3, 16), torch.arange(3)), batch_size=3)


def test_a_data_module_of_ones_own_must_have_the_same_classes(trained: None) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    loaded = RecurrentModule.load_from_checkpoint(str(only_run() / "last.ckpt"))
    trainer = L.Trainer(accelerator="cpu", **quiet)  # type: ignore[arg-type]
    trainer.test(loaded, Pets(PETS), verbose=False)
    with pytest.raises(
        UserError, match="Pets, whose classes are eel, dog, cat, but those of the net are cat, dog, eel"
    ):
        trainer.test(loaded, Pets(PETS[::-1]), verbose=False)


def test_letters_from_1_to_26_are_26_classes(tmp_path: Path) -> None:
    for split, count in (("train", 52), ("t10k", 26)):
        images = np.arange(count)[:, None, None] + np.array([[0, 9]])
        (tmp_path / f"emnist-letters-{split}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / f"emnist-letters-{split}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count) % 26 + 1))
    data = ImageDataModule(str(tmp_path))
    data.setup("fit")
    assert data.class_names == tuple(str(k) for k in range(1, 27))
    assert data.num_classes == 26
    assert data.train_set is not None
    assert data.train_set.labels is not None
    assert data.train_set.labels[:3].tolist() == [0, 1, 2]


def test_matching_twice_is_matching_once(tmp_path: Path) -> None:
    data = ImageDataModule(str(pets(tmp_path, ("dog", "eel"))), validation_size=4)
    data.setup("fit")
    for _ in range(2):
        data.match_classes(PETS, 3)
        assert data.train_set is not None
        assert data.train_set.labels is not None
        assert set(data.train_set.labels.tolist()) == {1, 2}
        assert (data.class_names, data.num_classes) == (PETS, 3)


def drawn(figure: Figure) -> Figure:
    """The figure, after it was drawn."""
    figure.savefig(io.BytesIO())
    return figure


SPOILT = {
    "no list": "cat, dog, eel",
    "too few": ["cat", "dog"],
    "twice the same": ["cat", "cat", "dog"],
    "no text": [0, 1, 2],
}


@pytest.mark.parametrize("names", SPOILT)
def test_a_checkpoint_with_other_names_than_classes_is_refused(trained: None, names: str) -> None:
    checkpoint = torch.load(only_run() / "last.ckpt", weights_only=True)
    checkpoint[NET_KEY]["class_names"] = SPOILT[names]
    torch.save(checkpoint, "spoilt.ckpt")
    with pytest.raises(UserError, match="class_names are not"):
        ffrecur.load("spoilt.ckpt")
    assert run("test", "--ckpt_path=spoilt.ckpt").code == 2


def test_names_in_pictures() -> None:
    names = ("a $x_{ b", "dog", "eel")  # no formula
    (axis,) = drawn(plots.imagination(torch.randn(3, 4), (2, 2), names)).axes
    assert [text.get_text() for text in axis.texts] == list(names)
    goodness_TLBC = torch.zeros(2, 1, 1, 3).index_fill_(-1, torch.tensor([1]), 1.0)
    figure = plots.label_competition(
        torch.rand(1, 4), (2, 2), goodness_TLBC, torch.tensor([0]), (1, 2), 1, class_names=names
    )
    assert [text.get_text() for text in drawn(figure).axes[1].texts] == [" a $x_{ b", " dog"]
    assert [name_of(1, names) for names in (None, PETS, ("a", "an_endless_name"))] == ["1", "dog", "an_endless_n…"]
