"""Recurrent nets of maps on the command line, in process, on a little data set of 6x5 grey images."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from making import check_same_net
from PIL import Image
from running import TINY, only_run, run, slow

import ffrecur
from ffrecur import LocalLinear, RegionMeanSquare
from ffrecur.commands.export import main as export
from ffrecur.data import ImageDataModule
from ffrecur.lit import BackpropModule, RecurrentModule
from ffrecur.main import run as without_lightning

MAPS = ["--model.units_per_place=[2,3]", "--model.field=3", "--model.sign=-1"]
REGIONS = ["--model.goodness=RegionMeanSquare", "--model.goodness.map_shape=[6,5]", "--model.goodness.regions=[2,5]"]


def fit(*options):
    return run("fit", *(option for option in TINY if "hidden_features" not in option), *options)


def test_from_fit_to_predict_and_export(workplace):
    outcome = fit(*MAPS, *REGIONS, "--model.standardize_images=true")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    for command in ("test", "predict"):
        outcome = run(command, render=True)
        assert outcome.code == 0, outcome.err
    pictures = {file.stem for file in (only_run() / "test_plots").iterdir()}
    assert {"receptive_fields", "goodness_maps", "imagination", "expectation"} <= pictures
    results = json.loads((only_run() / "test_results.json").read_text())
    assert results["net"]["units_per_place"] == [2, 3]
    assert export(["--output", "net"]) == 0
    net, best = ffrecur.load("net"), ffrecur.load(only_run() / "best.ckpt")
    check_same_net(net, best)
    assert [type(layer) for layer in (*net.bottom_up, net.top_down[0])] == [LocalLinear] * 3
    assert isinstance(net.goodness_function, RegionMeanSquare)
    assert without_lightning(["report"]) == 0
    report = (only_run() / "report.html").read_text()
    assert "2 maps of 2 and 3 units a place" in report
    assert "Goodness at each place of the maps" in report


def test_colour_images_from_a_table_to_pictures(workplace):
    """With columns as CIFAR-10 has them: normalised by channel, mirrored in training, drawn in colour."""
    source = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 9)):
        images = source.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
        features = datasets.Features(img=datasets.Image(), label=datasets.ClassLabel(names=["hen", "fox", "cow"]))
        rows = {"img": [Image.fromarray(image) for image in images], "label": [number % 3 for number in range(count)]}
        Path("colours").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(f"colours/{split}-00000-of-00001.parquet")
    mirrored = ["--model.standardize_images=true", "--data.augment=[{class_path: Flip}]", "--data.validation_size=10"]
    outcome = fit(*MAPS, *mirrored, "--data.source=colours", "--trainer.precision=bf16-mixed")
    assert outcome.code == 0, outcome.err
    outcome = run("test", render=True)
    assert outcome.code == 0, outcome.err
    net, data = ffrecur.load(only_run()), ImageDataModule("colours", validation_size=10)
    data.setup("fit")
    assert (net.maps.in_shape, net.class_names) == ((6, 5, 3), ("hen", "fox", "cow"))
    by_channel = data.train_set.images.double().view(-1, 3) / 255
    assert torch.allclose(net.statistics.mean.double().view(-1, 3), by_channel.mean(dim=0))
    assert torch.allclose(net.statistics.deviation.double().view(-1, 3), by_channel.std(dim=0, correction=0))
    pictures = {file.stem for file in (only_run() / "test_plots").iterdir()}
    assert {"receptive_fields", "goodness_maps", "imagination", "expectation"} <= pictures
    grey = run("test", "--data.source=digits")
    assert grey.code == 2
    assert "image_shape of the net is [6, 5, 3], but the data has [6, 5]" in grey.err


def test_the_channels_statistics_are_those_of_the_training_images(workplace):
    assert fit(*MAPS, "--model.standardize_images=true", "--trainer.max_epochs=1").code == 0
    data = ImageDataModule("digits")
    data.setup("fit")
    images = data.train_set.images.double() / 255
    net = ffrecur.load(only_run())
    assert torch.allclose(net.statistics.mean.double(), images.mean().expand(30))
    assert torch.allclose(net.statistics.deviation.double(), images.std(correction=0).expand(30))
    # A test, and training that goes on, leave them as they are, whatever the data is.
    kept = net.state_dict()["statistics.mean"]
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--data.validation_size=10").code == 0
    assert torch.equal(ffrecur.load(only_run() / "last.ckpt").statistics.mean, kept)


def test_images_on_the_disk_have_the_same_statistics_and_videos_have_some(workplace):
    found = []
    for number, options in enumerate(([], ["--data.memory_limit=0"], ["--data=DriftDataModule"])):
        root = f"--trainer.default_root_dir=r{number}"
        assert fit(*MAPS, "--model.standardize_images=true", "--trainer.max_epochs=1", *options, root).code == 0
        found.append(ffrecur.load(next(Path(f"r{number}").iterdir())).statistics.mean)
    assert torch.equal(found[0], found[1])
    assert 0 < found[2][0] < 1


@pytest.mark.parametrize("kind", ["RecurrentModule", slow("FeedForwardModule"), slow("BackpropModule")])
def test_a_dense_net_reads_no_images_of_another_shape_with_as_many_values(kind, workplace):
    assert fit(f"--model={kind}", "--model.hidden_features=[6]", "--trainer.max_epochs=1").code == 0
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 6), dtype=np.uint8)
    np.savez(
        "tall.npz",
        train_images=images,
        train_labels=np.arange(20) % 3,
        test_images=images,
        test_labels=np.arange(20) % 3,
    )
    sentence = "image_shape of the net is [6, 5], but the data has [5, 6]"
    for command in (["test"], ["predict"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=2"]):
        outcome = run(*command, "--data.source=tall.npz")
        assert outcome.code == 2
        assert sentence in outcome.err


@pytest.mark.parametrize("kind", ["FeedForwardModule", "BackpropModule"])
def test_other_nets_standardise_images_too(kind, workplace):
    options = [f"--model={kind}", "--model.hidden_features=[6]", "--model.standardize_images=true"]
    assert fit(*options, "--trainer.max_epochs=1").code == 0
    assert run("validate").code == 0
    net = ffrecur.load(only_run())
    assert 0 < net.statistics.mean[0] < 1
    plain = {**net.settings(), "standardize_images": False}
    other = type(net)(**plain)
    other.load_state_dict({name: value for name, value in net.state_dict().items() if "statistics" not in name})
    images = torch.rand(4, 30)
    assert torch.equal(net.classify(images), other.classify(net.statistics(images)))


def test_going_on_from_a_checkpoint_needs_the_same_maps(workplace):
    assert fit(*MAPS, "--trainer.max_epochs=1").code == 0
    last = next(Path("runs").glob("*/last.ckpt"))
    for changed, sentence in {
        "--model.field=5": "field is 5, but the net in",
        "--model.units_per_place=[2,2]": "units_per_place is [2, 2], but the net in",
        "--model.standardize_images=true": "standardize_images is True, but the net in",
    }.items():
        outcome = run("fit", f"--ckpt_path={last}", changed)
        assert outcome.code == 2
        assert sentence in outcome.err
    module = RecurrentModule.load_from_checkpoint(last)
    assert module.net.settings() == ffrecur.load(last).settings()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.units_per_place=[2]"], "field is None, but must be an odd whole number of at least 1"),
        (["--model.field=3"], "units_per_place is None, but must be one or more whole numbers"),
        (["--model.units_per_place=[0]", "--model.field=3"], "units_per_place is [0], but must be"),
        (["--model.units_per_place=[2]", "--model.field=4"], "field is 4, but must be an odd whole number"),
        (["--model.units_per_place=[2]", "--model.field=7"], "field is 7, but must be an odd whole number from 1 to 5"),
        ([*MAPS, *REGIONS[:2], "--model.goodness.regions=[2,2]"], "goodness regions is [2, 2], but must be divisors"),
        (
            [*MAPS, REGIONS[0], "--model.goodness.map_shape=[7,7]", "--model.goodness.regions=[1,1]"],
            "goodness map_shape is [7, 7], but must be",
        ),
        ([*MAPS, "--model.image_shape=[6,5,3]"], "image_shape of the net is [6, 5, 3], but the data has [6, 5]"),
        (
            [*MAPS, "--model.image_shape=[6,5,3]", "--model.in_features=90"],  # a net of colour images, and grey ones
            "image_shape of the net is [6, 5, 3], but the data has [6, 5]",
        ),
    ],
)
def test_maps_that_cannot_be(options, sentence, workplace):
    outcome = fit(*options)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert sentence in line


def test_widths_beside_maps_have_no_effect(workplace):
    outcome = fit(*MAPS, "--model.hidden_features=[7]", "--trainer.max_epochs=1")
    assert outcome.code == 0
    assert "hidden_features is [7], but has no effect where units_per_place is given" in outcome.err


def test_a_page_is_not_made_of_such_nets(workplace):
    for number, options in enumerate((MAPS, ["--model.hidden_features=[6]", "--model.standardize_images=true"])):
        assert fit(*options, "--trainer.max_epochs=1", f"--trainer.default_root_dir=r{number}").code == 0
        (folder,) = Path(f"r{number}").iterdir()
        assert export([str(folder), "--format", "page", "--output", f"page{number}"]) == 2


def test_a_module_without_images_to_learn_from_is_told(workplace):
    module = BackpropModule([4], 30, 10, standardize_images=True)
    assert module.net.statistics.mean.tolist() == [0.0] * 30, "until it has seen some"
