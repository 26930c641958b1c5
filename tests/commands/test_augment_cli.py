"""Augmentation on the command line: what a run keeps, that a run goes on bit by bit, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from making import make_digits
from running import TINY, At, boom, check_same_run, fit_with, kill, loaded, only_run, rows, run, slow

from ffrecur.data import ImageDataModule, Shift
from ffrecur.data.augment import augmented
from ffrecur.lit.run.config import CONFIG_KEY

SHIFT = "--data.augment=[{class_path: Shift, init_args: {pixels: 2}}]"
KEPT = [{"class_path": "ffrecur.data.Shift", "init_args": {"pixels": 2}}]
RUN = [*TINY, "--trainer.logger=false", "--trainer.enable_model_summary=false", "--data.batch_size=15"]
LAB = """
import ffrecur.data

class Mirror(ffrecur.data.Augmentation):
    def __init__(self, share: float = 0.5):
        self.share = share
    def numbers(self, image_shape):
        return 1
    def __call__(self, images_BD, noise_B1, image_shape):
        height, width = image_shape
        mirrored_BD = images_BD.view(-1, height, width).flip(2).flatten(1)
        return (noise_B1 < self.share) * mirrored_BD + (noise_B1 >= self.share) * images_BD
"""


class Seen(Callback):
    """The images and labels of every batch that was trained on."""

    def __init__(self):
        self.images, self.labels = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.images.append(batch[0].clone())
        self.labels.append(batch[1].clone())


MODELS = {
    "recurrent": [],
    "supervised": ["--model=FeedForwardModule"],
    "unsupervised": ["--model=FeedForwardModule", "--model.label=null"],
    "backpropagation": ["--model=BackpropModule"],
}


@pytest.mark.parametrize("name", MODELS)
def test_every_net_learns_from_the_changed_images_of_the_right_epoch(workplace, monkeypatch, name):
    seen = Seen()
    outcome = fit_with(monkeypatch, seen, *MODELS[name], *RUN, SHIFT)
    assert outcome.code == 0, outcome.err
    data = ImageDataModule("digits", batch_size=50)
    data.setup("fit")
    loader = data.train_dataloader()
    for epoch in range(2):
        loader.set_epoch(epoch)
        ((images, labels),) = list(loader)
        assert torch.equal(
            torch.cat(seen.images[4 * epoch : 4 * epoch + 4]), augmented(images, [Shift(2)], (6, 5), 0, 0, epoch)
        )
        assert torch.equal(torch.cat(seen.labels[4 * epoch : 4 * epoch + 4]), labels)


def test_a_run_keeps_the_setting_in_plain_types(workplace):
    assert run("fit", *RUN, SHIFT).code == 0
    assert yaml.safe_load((only_run() / "config.yaml").read_text())["data"]["init_args"]["augment"] == KEPT
    checkpoint = loaded("runs")
    assert checkpoint[CONFIG_KEY]["data"]["init_args"]["augment"] == KEPT
    assert checkpoint["datamodule_hyper_parameters"]["augment"] == KEPT
    data = ImageDataModule.load_from_checkpoint(only_run() / "last.ckpt", weights_only=True)
    assert data.augment == [Shift(2)]


@pytest.mark.parametrize("typed", [["--data.augment+=Shift"], ["--data.augment+=Shift", "--data.augment.pixels=2"]])
def test_it_is_typed_as_a_callback_is(workplace, typed):
    assert run("fit", *RUN, *typed, "--trainer.max_epochs=1").code == 0
    assert loaded("runs")[CONFIG_KEY]["data"]["init_args"]["augment"] == KEPT


def test_corruptions_are_typed_by_their_names(workplace):
    typed = ["+=PixelNoise", ".deviation=0.2", "+=Contrast", "+=Background", ".brightest=1", "+=Cutout", ".side=3"]
    assert run("fit", *RUN, *(f"--data.augment{each}" for each in typed), "--trainer.max_epochs=1").code == 0
    kept = loaded("runs")[CONFIG_KEY]["data"]["init_args"]["augment"]
    settings = [("PixelNoise", "deviation", 0.2), ("Contrast", "lowest", 0.3), ("Background", "brightest", 1.0)]
    assert kept == [
        {"class_path": f"ffrecur.data.{name}", "init_args": {setting: value}}
        for name, setting, value in [*settings, ("Cutout", "side", 3)]
    ]


@pytest.mark.parametrize(
    ("callback", "options"),
    [
        (("on_train_batch_start", 2, kill), ()),
        slow(("on_train_batch_end", 6, boom), ()),
        (("on_train_batch_start", 3, kill), ("--data.memory_limit=0",)),
        slow(("on_train_batch_start", 2, kill), ("--model=FeedForwardModule", "--model.label=null")),
    ],
)
def test_a_run_goes_on_amid_an_epoch_bit_by_bit(workplace, monkeypatch, callback, options):
    assert run("fit", *options, *RUN, SHIFT, "--trainer.default_root_dir=whole").code == 0
    fit_with(monkeypatch, At(*callback), *options, *RUN, SHIFT)
    assert 0 < loaded("runs")["global_step"] < 8
    assert run("fit", "--ckpt_path=last").code == 0
    check_same_run((loaded("whole"), rows("whole")))


def test_a_run_that_goes_on_with_other_batches_sees_the_same_images(workplace, monkeypatch):
    before, after, whole = Seen(), Seen(), Seen()
    fit_with(monkeypatch, whole, *RUN, SHIFT, "--trainer.default_root_dir=whole")
    fit_with(monkeypatch, At("on_train_batch_start", 2, kill), *RUN, SHIFT)
    fit_with(monkeypatch, before, *RUN, SHIFT, "--trainer.max_steps=2", "--trainer.default_root_dir=before")
    fit_with(monkeypatch, after, "--ckpt_path=last", "--data.batch_size=7")
    images = [torch.cat(each.images) for each in (before, after, whole)]
    assert len(images[0]) == 30
    assert [len(batch) for batch in after.images][:2] == [5, 7]
    assert torch.equal(torch.cat(images[:2]), images[2])


def test_it_can_be_taken_back_by_a_run_that_goes_on(workplace, monkeypatch):
    seen = Seen()
    assert run("fit", *RUN, SHIFT, "--trainer.max_epochs=1").code == 0
    fit_with(monkeypatch, seen, "--ckpt_path=last", "--trainer.max_epochs=2", "--data.augment=null")
    data = ImageDataModule("digits")
    data.setup("fit")
    known = {tuple(image.tolist()) for image in data.train_set.images}
    assert {tuple(image.tolist()) for images in seen.images for image in images} == known


def train_on_shifted_images(folder):
    make_digits(folder / "digits")
    assert run("fit", *RUN, SHIFT).code == 0


@pytest.mark.parametrize("command", [slow("validate"), "test", "predict"])
def test_an_evaluation_sees_the_images_as_they_are(staged, command):
    staged("trained on shifted images", train_on_shifted_images)
    found = []
    for typed in ([], ["--data.augment=null"], [SHIFT]):
        assert run(command, *typed).code == 0
        files = [*only_run().glob("*_results.json"), *only_run().glob("predictions.csv")]
        found.append([file.read_bytes() for file in files])
    assert found[0]
    assert found[0] == found[1] == found[2]


# --- a class of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture
def lab(workplace, monkeypatch):
    """A folder with data and with a file of classes, which no test has imported before."""
    (workplace / "augment_lab.py").write_text(LAB)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "augment_lab", raising=False)
    yield workplace
    sys.modules.pop("augment_lab", None)


OWN = "--data.augment=[{class_path: augment_lab.Mirror, init_args: {share: 0.25}}, {class_path: Shift}]"


def test_a_class_of_ones_own_is_needed_for_training_alone(lab):
    assert run("fit", *RUN, OWN).code == 0
    sys.modules.pop("augment_lab")
    for command in ("test", "validate", "predict"):
        outcome = run(command)
        assert outcome.code == 0, outcome.err
    assert "augment_lab" not in sys.modules
    outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=3")
    assert outcome.code == 2
    assert "augment_lab" not in sys.modules
    sentence, advice = outcome.err.splitlines()[-1].split(": add ")
    assert sentence.startswith(
        f"error: data.augment is 'augment_lab.Mirror' in '{only_run() / 'last.ckpt'}', a class of your"
    )
    for typed in (advice.split(), [OWN]):
        assert run("fit", "--ckpt_path=last", *typed, f"--trainer.max_epochs={3 + (typed == [OWN])}").code == 0
        kept = loaded("runs")[CONFIG_KEY]["data"]["init_args"]["augment"]
        assert kept[0] == {"class_path": "augment_lab.Mirror", "init_args": {"share": 0.25}}
        assert kept[1:] == KEPT
    assert loaded("runs")["epoch"] == 3


def test_an_error_of_a_class_of_ones_own_is_told_with_its_name(lab):
    Path("augment_lab.py").write_text(LAB.replace("height, width = image_shape\n", "height = image_shape[7]\n"))
    outcome = run("fit", *RUN, OWN)
    assert outcome.code == 2
    told = "error: data.augment Mirror: IndexError: tuple index out of range (augment_lab.py, line 10)"
    assert outcome.err.splitlines()[-1] == told


# --- what is refused --------------------------------------------------------------------------------------------------

A_LIST = "but must be null or a list of classes of the kind Augmentation: --data.augment+=CLASS adds one"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "=[{class_path: Shift, init_args: {pixels: -1}}]",
            "Shift.pixels is -1, but must be a whole number of at least 0",
        ),
        (
            "=[{class_path: Shift, init_args: {pixels: 5}}]",
            "Shift.pixels is 5, but must be less than the height and the width of the images, which are 6x5",
        ),
        (
            "=[{class_path: PixelNoise, init_args: {deviation: .nan}}]",
            "deviation is nan, but must be a finite number",
        ),
        (
            "=[{class_path: PixelNoise, init_args: {deviation: -1}}]",
            "PixelNoise.deviation is -1.0, but must be a finite number of at least 0",
        ),
        (
            "=[{class_path: Cutout, init_args: {side: 5}}]",
            "Cutout.side is 5, but must be less than the height and the width of the images, which are 6x5",
        ),
        ("=[{class_path: Shift, init_args: {pixels: 1.5}}]", "pixels is 1.5, but must be a whole number"),
        ("=[{class_path: Shift, init_args: {pixel: 1}}]", "pixel is not a setting (nearest: pixels)"),
        ("=[{class_path: Shiftt}]", "data.augment is 'Shiftt', which is not the name of a class (nearest: Shift)"),
        ("=Shift", f"data.augment is Shift, {A_LIST}"),
        ("=3", f"data.augment is 3, {A_LIST}"),
        ("+=torch.optim.Adam", f"data.augment is torch.optim.Adam, {A_LIST}"),
        ("=[{class_path: json.Shift}]", "data.augment is 'json.Shift', but json has no 'Shift'"),
        (
            "+=nowhere.Shift",
            "data.augment is 'nowhere.Shift', which cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            ".pixels=3",
            "data.augment.pixels is given before the class that it belongs to: --data.augment+=Shift",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence_and_leaves_nothing(workplace, typed, message):
    outcome = run("fit", *RUN, f"--data.augment{typed}")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == f"error: {message}"
    assert "Traceback" not in outcome.err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_text_has_no_such_setting(workplace):
    outcome = run("fit", "--model=CharModule", "--data=CorpusDataModule", SHIFT)
    assert outcome.code == 2
    owners = "DriftDataModule, ImageDataModule, SceneDataModule and VideoDataModule"
    assert outcome.err.startswith(f"error: data.augment is a setting of {owners} only;")
