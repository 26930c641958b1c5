"""Feed-forward nets on the command line, in process, on a little data set."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from making import check_same_net
from running import TINY, only_run, run, slow

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.data import ImageDataModule
from ffrecur.lit import FeedForwardModule
from ffrecur.lit.feedforward import mixed
from ffrecur.metrics.feedforward import UnsupervisedEvaluation
from ffrecur.negatives import ImageNegatives
from ffrecur.processes import Part

MODES = {
    "pixels": [],
    "beside": ["--model.label=beside", "--model.objective=softmax", "--model.score_layers=[1,2]"],
    "unsupervised": ["--model.label=null"],
    "local": [
        "--model.layers=[{kernel: 3, out_channels: 2}, {kernel: 2, out_channels: 3}]",
        "--model.head_dropout=0.3",
    ],
    "unsupervised, 3 hybrids each": ["--model.label=null", "--model.negatives_per_case=3", "--model.objective=paired"],
    "unsupervised and local": [
        "--model.layers=[{kernel: 3, out_channels: 2, stride: 1, padding: 1}]",
        "--model.label=null",
        "--model.label_smoothing=0.1",
    ],
}


def fit(*options):
    return run("fit", "--model=FeedForwardModule", *TINY, *options)


@pytest.mark.parametrize(
    "mode", [mode if mode in ("pixels", "unsupervised", "local") else slow(mode) for mode in MODES]
)
def test_from_fit_to_predict_and_export(mode, workplace):
    assert fit(*MODES[mode]).code == 0
    for command in ("validate", "test", "predict"):
        outcome = run(command, render=mode in ("local", "unsupervised"))
        assert outcome.code == 0, outcome.err
    results = json.loads((only_run() / "test_results.json").read_text())
    names = {"error", "error_by_layer", "calibration_error", "num_examples"}
    unsupervised = mode.startswith("unsupervised")
    others = {"auroc_by_layer", "head_layers"} if unsupervised else {"goodness_error", "one_pass_error"}
    assert names | others <= results.keys()
    pictures = {file.name for file in (only_run() / "test_plots").iterdir()}
    assert pictures == {"receptive_fields.png", "mistakes.png", *(["negatives.png"] if unsupervised else [])}
    with (only_run() / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == results["num_examples"] == 20
    assert export(["--output", "net"]) == 0
    check_same_net(ffrecur.load("net"), ffrecur.load(only_run() / "best.ckpt"))


def test_errors_of_a_read_out_are_numbered_as_its_layers(workplace):
    assert fit("--model.label=null", "--model.hidden_features=[5,6,7]", "--model.head_layers=[1,3]").code == 0
    out = run("test").out
    assert "layer 1 alone" in out
    assert "layer 3 alone" in out
    assert "layer 2 alone" not in out
    areas = json.loads((only_run() / "test_results.json").read_text())["auroc_by_layer"]
    lines = [line.split() for line in out.splitlines() if "AUROC" in line]
    assert [(line[5], line[-1]) for line in lines] == [
        (f"{n},", f"{area:.3f}") for n, area in enumerate(areas, start=1)
    ]


def test_the_picture_of_negatives_shows_the_hybrids_of_a_mask(workplace):
    assert fit("--model.label=null").code == 0
    module = FeedForwardModule.load_from_checkpoint(only_run() / "last.ckpt")
    data = ImageDataModule("digits")
    data.setup("fit")
    module.match_data(data)
    shown = module.ten_negatives(data.validation_set)
    mask = shown["mask"]
    assert set(mask.unique().tolist()) == {0, 1}
    torch.testing.assert_close(shown["negative"], mask * shown["image"] + (1 - mask) * shown["other"])
    assert not (shown["image"] == shown["other"]).all(dim=1).any()


def test_hybrids_are_a_function_of_seed_epoch_and_batch(workplace):
    for root in ("one", "other"):
        assert fit("--model.label=null", f"--trainer.default_root_dir={root}").code == 0
    weights = [
        torch.load(next(Path(root).glob("*/last.ckpt")), weights_only=True)["state_dict"] for root in ("one", "other")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.label=below"], "model.label is below"),
        (["--model.label=null", "--model.negatives=hard"], "negatives is 'hard', but must be hybrid or"),
        (
            ["--model.negatives=hybrid"],
            "negatives is 'hybrid', but must be hard, uniform or an ffrecur.negatives.LabelNegatives",
        ),
        (
            ["--model.label=null", "--data.batch_size=7"],
            "data.batch_size is 7, but must be one that leaves more than 1 of",
        ),
        (["--model.label=null", "--model.objective=softmax"], "objective is"),
        (["--model.num_classes=40"], "num_classes"),
        (["--data=DriftDataModule"], "data has videos"),
        (["--model.head_layers=[4]"], "head_layers is [4]"),
        (["--model.head_dropout=1"], "head_dropout is 1.0, but must be at least 0 and less than 1"),
        (["--model.label_smoothing=-0.1"], "label_smoothing is -0.1, but must be at least 0 and less than 1"),
        (["--model.layers=[{kernel: 99, out_channels: 2}]"], "number 1: kernel is 99, but must be from 1 to"),
        (["--model.layers=[{kernel: 3, outputs: 2}]"], "but must be made of out_channels and kernel, and of stride"),
        (["--model.layers=[]"], "layers is [], but must be one layer at least"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence, workplace):
    outcome = fit(*options)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert sentence in line
    assert not Path("runs").exists()


# --- what a review found ----------------------------------------------------------------------------------------------


def test_the_area_does_not_saturate():
    """Goodness far above 1: torchmetrics would take it for logits, and every image would tie."""
    net = ffrecur.FeedForwardNet(6, [5], 3, label=None)
    with torch.no_grad():
        for parameter in net.hidden.parameters():
            parameter.mul_(30)
    images, labels = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)), torch.arange(40) % 3

    def brighter(images_BD, everyone, part, count, source):
        return (images_BD * torch.tensor([1.0, 0.2, 1, 1, 0.1, 1]))[None]

    evaluation = UnsupervisedEvaluation(net, brighter)
    for part in (slice(0, 15), slice(15, 40)):
        evaluation.update(net, images[part], labels[part])
    positive, negative = (net.goodness(each)[0] for each in (images, brighter(images, images, None, 1, None)[0]))
    assert positive.median() > 20
    before = (positive[:, None] > negative).double() + 0.5 * (positive[:, None] == negative).double()
    assert 0.01 < before.mean() < 0.99
    assert evaluation.compute()["auroc_by_layer"].item() == pytest.approx(before.mean().item(), abs=1e-6)


@pytest.mark.parametrize("option", ["--data.evaluation_batch_size=1", "--data.validation_size=1"])
def test_an_image_alone_has_no_hybrid_in_evaluation(option, workplace):
    outcome = fit("--model.label=null", option)
    assert outcome.code == 0, outcome.err
    assert run("test", option.replace("validation_size=1", "evaluation_batch_size=1")).code == 0
    assert "auroc_by_layer" not in json.loads((only_run() / "test_results.json").read_text())


LOCAL = "--model.layers=[{kernel: 2, out_channels: 4}, {kernel: 2, out_channels: 3}]"


@pytest.mark.parametrize(
    ("trained", "typed", "sentence"),
    [
        (["--model.label=null"], ["--model.label=pixels"], "label is pixels, but the net in"),
        slow(["--model.label=beside"], ["--model.label=null"], "label is None, but the net in"),
        slow(["--model.label=null"], ["--model.head_layers=[1]"], "head_layers is [1], but the net in"),
        ([LOCAL], ["--model.layers=[{kernel: 3, out_channels: 4}]"], "layers is [{'out_channels': 4, 'kernel': 3,"),
        slow([LOCAL], ["--model.layers=null"], "layers is None, but the net in"),
        slow([], [LOCAL], "layers is [{'out_channels': 4, 'kernel': 2,"),
    ],
)
def test_a_stored_net_is_not_taken_for_another(trained, typed, sentence, workplace):
    assert fit(*trained).code == 0
    for command in (["test"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=3"]):
        outcome = run(*command, *typed)
        assert outcome.code == 2
        (line,) = outcome.err.splitlines()[-1:]
        assert sentence in line
    assert run("test").code == 0


class Broken(ImageNegatives):
    """Negative images of a user's own, that are none."""

    def __init__(self, how: str = "shape") -> None:
        self.how = how

    def __call__(self, images_BD, others_BD, noise_BP, image_shape):
        images_BD.mul_(0)  # which must not change the positive images
        made = {"nothing": None, "shape": others_BD[:, :3], "nan": others_BD / 0, "fine": others_BD}
        return made[self.how]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [("nothing", "makes NoneType, but"), ("shape", "makes (5, 3), but must make (5, 6)"), ("nan", "no finite numbers")],
)
def test_negative_images_that_are_none(how, sentence):
    images = torch.rand(5, 6)
    before, part = images.clone(), Part(5, slice(0, 5))
    with pytest.raises(ffrecur.UserError, match=re.escape(sentence)):
        mixed(Broken(how), images, images, part, (2, 3), 1, torch.Generator())
    (made,) = mixed(Broken("fine"), images, before, part, (2, 3), 1, torch.Generator())
    torch.testing.assert_close(made.sum(), before.sum())
    assert torch.equal(images, before)
