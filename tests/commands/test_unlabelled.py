"""Training on images that have no labels: nothing needs any, from `fit` to `predict`, and what cannot do without is refused."""

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from making import check_same_net, image_files, make_digits
from PIL import Image
from running import TINY, At, boom, check_same_run, fit_with, loaded, only_run, rows, run

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.commands.runs import runs_below
from ffrecur.data import ImageDataModule
from ffrecur.lit import FeedForwardModule
from ffrecur.metrics.separation import SeparationEvaluation
from ffrecur.nets.feedforward import Judged

FILES = [f"{number}.png" for number in range(24)]
UNLABELLED = [*(option for option in TINY if "source" not in option), "--data.source=plain", "--data.labels=false"]
UNSUPERVISED = ["--model=FeedForwardModule", "--model.label=null"]


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A current folder with a folder of images without sub-folders."""
    monkeypatch.chdir(tmp_path)
    image_files(tmp_path / "plain", FILES)
    return tmp_path


def fit(*options):
    return run("fit", *UNSUPERVISED, *UNLABELLED, *options)


def test_from_fit_to_predict_and_export(plain, messages):
    outcome = fit()
    assert outcome.code == 0, outcome.err
    assert "training images drawn with split_seed 0" in messages.text
    for command in ("validate", "test"):
        outcome = run(command, render=True)
        assert outcome.code == 0, outcome.err
        assert "pairs of a real and a negative image told wrongly" in outcome.out
    results = json.loads((only_run() / "test_results.json").read_text())
    assert results["separation_error"] == pytest.approx(1 - sum(results["auroc_by_layer"]) / 2)
    assert not {"error", "class_names", "calibration_error"} & results.keys()
    assert (only_run() / "test_plots" / "negatives.png").is_file()
    assert "Calibration" not in (only_run() / "report.html").read_text()
    net = ffrecur.load(only_run() / "best.ckpt")
    assert net.head is None
    assert net.num_classes is None
    assert run("predict").code == 0
    with (only_run() / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "file", "goodness_layer_1", "goodness_layer_2"]
    data = ImageDataModule("plain")
    data.setup("predict")
    goodness_LN = net.goodness(data.predict_images[:] / 255)
    assert [row["file"] for row in rows] == list(data.predict_files)
    assert [float(row["goodness_layer_2"]) for row in rows] == pytest.approx(goodness_LN[1].tolist(), rel=1e-5)
    (row,) = runs_below(Path("runs"))
    assert row.validation.startswith("separation error ")
    assert row.test.startswith("separation error ")
    assert export(["--output", "net"]) == 0
    check_same_net(ffrecur.load("net"), net)


def test_labels_that_are_there_change_nothing(workplace):
    """Whether a source has labels that are not read: the same weights as without."""
    options = [*UNSUPERVISED, *TINY, "--data.labels=false"]
    assert run("fit", *options, "--trainer.default_root_dir=with").code == 0
    for labels in Path("digits").glob("*labels*"):
        labels.unlink()
    assert run("fit", *options, "--trainer.default_root_dir=without").code == 0
    one, other = (ffrecur.load(next(Path(root).glob("*/last.ckpt"))) for root in ("with", "without"))
    check_same_net(one, other)


@pytest.mark.parametrize("kind", ["bundled", "idx", "arrays", "folder", "table"])
def test_no_source_gives_labels_that_are_not_wanted(kind, tmp_path):
    if kind == "idx":
        make_digits(tmp_path / "set")
    elif kind == "arrays":
        np.savez(tmp_path / "set.npz", images=np.zeros((9, 4, 4), np.uint8), labels=np.arange(9) % 3)
    elif kind == "folder":
        image_files(tmp_path / "train", [f"{name}/{number}.png" for name in "abc" for number in range(4)])
    elif kind == "table":
        images = [Image.fromarray(np.full((4, 4), number, np.uint8)) for number in range(9)]
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
        table = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 2] * 3}, features=features)
        table.to_parquet(str(tmp_path / "train.parquet"))
    source = {"bundled": "bundled", "arrays": str(tmp_path / "set.npz"), "idx": str(tmp_path / "set")}.get(
        kind, str(tmp_path)
    )
    data = ImageDataModule(source, labels=False)
    data.setup("fit")
    assert (data.num_classes, data.class_names) == (None, None)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert all(len(batch) == 1 for batch in loader)


def test_a_run_goes_on_as_if_it_had_not_stopped(plain, monkeypatch):
    assert fit("--trainer.default_root_dir=whole").code == 0
    fit_with(monkeypatch, At("on_train_batch_start", 4, boom), *UNSUPERVISED, *UNLABELLED)
    assert run("fit", "--ckpt_path=last").code == 0
    check_same_run((loaded("whole"), rows("whole")))


def test_a_checkpoint_loads_without_data(plain):
    assert fit().code == 0
    module = FeedForwardModule.load_from_checkpoint(only_run() / "best.ckpt")
    check_same_net(module.net.eval(), ffrecur.load(only_run() / "best.ckpt"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model=FeedForwardModule"], "data.labels is False, but must be true, for this net learns from labels"),
        (["--model=RecurrentModule"], "data.labels is False, but must be true, for this net learns from labels"),
        (
            [*UNSUPERVISED, "--model.num_classes=3"],
            "data.labels is False, but must be true, for the net has a head for 3",
        ),
        ([*UNSUPERVISED, "--data.evaluation_batch_size=1"], "data.evaluation_batch_size is 1, but must be at least 2"),
        ([*UNSUPERVISED, "--data.validation_size=1"], "data.validation_size is 1, but must be at least 2"),
        ([*UNSUPERVISED, "--data.labels=true"], "or set data.labels to false"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence, plain):
    outcome = run("fit", *UNLABELLED, *options)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert not list(Path().glob("runs/*"))


def test_a_net_and_labels_that_do_not_belong_together(workplace):
    assert run("fit", *UNSUPERVISED, *TINY, "--data.labels=false").code == 0
    outcome = run("test", "--data.labels=true")
    assert (outcome.code, "false, for the net was trained without labels" in outcome.err) == (2, True)
    assert run("fit", *UNSUPERVISED, *TINY, "--trainer.default_root_dir=with").code == 0
    outcome = run("test", "--data.labels=false", "--trainer.default_root_dir=with")
    assert (outcome.code, "true, for the net has a head for 3 classes" in outcome.err) == (2, True)


def test_the_separation_of_two_images_by_hand():
    """Goodness 1, 4, 9 of real images against 4, 4, 0 of negative ones."""

    class Squares:
        """A net whose goodness is the square of its only pixel."""

        sign, hidden_features = 1, (1,)

        def judged(self, images_BD, head=True):
            return Judged(None, images_BD.square().T[..., None], None)

    def others(images_BD, everyone, part, count, source):
        return torch.tensor([[2.0], [2.0], [0.0]])[None]

    evaluation = SeparationEvaluation(Squares(), others)
    evaluation.update(Squares(), torch.tensor([[1.0], [2.0], [3.0]]))
    found = evaluation.compute()
    # 1 beats 0 alone; 4 beats 0 and ties twice; 9 beats all: (1 + 2 + 3) / 9.
    assert found["auroc_by_layer"].tolist() == pytest.approx([6 / 9])
    assert found["separation_error"].item() == pytest.approx(3 / 9)
    assert found["num_examples"] == 3
    assert found["goodness_positive"].item() == pytest.approx(14 / 3)
    assert found["goodness_negative"].item() == pytest.approx(8 / 3)
