"""Every mistake gets one line on standard error, exit code 2, and leaves existing runs as they were."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from making import idx_bytes, make_digits
from PIL import Image
from running import TINY, only_run, run, snapshot

from ffrecur import UserError
from ffrecur.lit.images import images_of


def check_refused(args, *pieces):
    """Run, and check the one line and that no file below `runs` has changed, come or gone."""
    before = snapshot(Path("runs"))
    outcome = run(*args)
    assert outcome.code == 2, outcome
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    for piece in pieces:
        assert piece in lines[0]
    assert snapshot(Path("runs")) == before
    return lines[0]


@pytest.mark.parametrize(
    ("option", "pieces"),
    [
        ("--model.damping=1.0", ["damping is 1.0", "at least 0 and less than 1"]),
        ("--model.damping=-0.1", ["damping is -0.1", "at least 0 and less than 1"]),
        ("--data.batch_size=x", ["data.batch_size is x", "a whole number"]),
        ("--model.head_weight_decay=x", ["model.head_weight_decay is x", "a number or null"]),
        ("--model.damping=much", ["model.damping is much", "a number"]),
        ("--model.sign=2", ["sign is 2", "1 or -1"]),
        ("--model.temperature=0", ["temperature is 0", "greater than 0"]),
        ("--model.temperature=-1", ["temperature is -1", "greater than 0"]),
        ("--model.iterations=0", ["iterations is 0", "at least 1"]),
        ("--model.evaluation_iterations=-2", ["evaluation_iterations is -2", "at least 1"]),
        ("--model.hidden_features=[12,0]", ["hidden_features is [12, 0]", "at least 1"]),
        ("--model.hidden_features=[]", ["hidden_features is []", "at least 1"]),
        ("--model.window=[4,3]", ["window is [4, 3]", "first <= last"]),
        ("--model.window=[0,3]", ["window is [0, 3]", "counted from 1"]),
        ("--model.window=[3,9]", ["window is [3, 9]", "evaluation_iterations, which is 8"]),
        ("--model.window=[3]", ["model.window is [3]", "2 elements"]),
        ("--model.image_dropout=1", ["image_dropout is 1", "less than 1"]),
        ("--model.state_dropout=-1", ["state_dropout is -1", "at least 0"]),
        ("--model.weight_decay=-1", ["weight_decay is -1", "at least 0"]),
        ("--model.peer_normalization=-1", ["peer_normalization is -1", "at least 0"]),
        ("--model.adversarial_length=-0.1", ["adversarial_length is -0.1", "at least 0"]),
        ("--model.head_learning_rate_scale=0", ["head_learning_rate_scale is 0", "greater than 0"]),
        ("--model.objective=hinge", ["model.objective is hinge", "'logistic', 'paired'"]),
        ("--model.negatives=easy", ["model.negatives is easy", "'hard', 'uniform'"]),
        ("--model.update_scheme=random", ["model.update_scheme is random", "'synchronous', 'alternating'"]),
        ("--data.batch_size=0", ["data.batch_size is 0", "at least 1"]),
        ("--data.evaluation_batch_size=-5", ["data.evaluation_batch_size is -5", "at least 1"]),
        ("--data.validation_size=60", ["data.validation_size is 60", "less than the number of training images, 60"]),
        ("--seed_everything=-1", ["seed_everything is -1", "from 0 to"]),
        ("--trainer.max_epochs=few", ["trainer.max_epochs is few", "a whole number or null"]),
        ("--model.dampning=0.3", ["model.dampning is not a setting", "(nearest: model.damping)"]),
        ("--data.sorce=x", ["data.sorce is not a setting", "(nearest: data.source)"]),
        ("--trainer.max_epoch=3", ["--trainer.max_epoch is not an option", "(nearest: --trainer.max_epochs)"]),
        ("--modl.damping=0.3", ["--modl.damping is not an option", "(nearest: --model.damping)"]),
        ("--model=RecurentModule", ["model is 'RecurentModule'", "(nearest: RecurrentModule)"]),
        ("--data=ImageDatamodul", ["data is 'ImageDatamodul'", "(nearest: ImageDataModule)"]),
        ("--model.optimizer=Adamm", ["model.optimizer is 'Adamm'", "(nearest: Adam)"]),
        ("--config=nowhere.yaml", ["nowhere.yaml"]),
        ("--data.source=nowhere/at/all", ["data.source is 'nowhere/at/all'", "'bundled'"]),
        ("--ckpt_path=nowhere.ckpt", ["nowhere.ckpt", "not there"]),
    ],
)
def test_settings(workplace, option, pieces):
    check_refused(["fit", *TINY, option], *pieces)


def test_subcommands(workplace):
    check_refused(
        ["fitt"],
        "subcommand is 'fitt'",
        "fit, validate, test, predict, generate, export, runs or report",
        "(nearest: fit)",
    )
    check_refused([], "subcommand is missing")


def test_a_broken_configuration_file(workplace):
    Path("broken.yaml").write_text("model: [unclosed\n  - x: {")
    check_refused(["fit", "--config", "broken.yaml"], "broken.yaml")
    Path("unknown.yaml").write_text("model:\n  class_path: RecurrentModule\n  init_args:\n    widths: [3]\n")
    check_refused(["fit", "--config", "unknown.yaml"], "widths")


def test_an_unknown_device_or_trainer_setting(workplace):
    check_refused(["fit", *TINY, "--trainer.accelerator=abacus"], "abacus")


@pytest.mark.parametrize(
    ("spoil", "pieces"),
    [
        (lambda raw: raw[:-7], ["1,800", "1,793", "truncated"]),
        (lambda raw: raw + b"x", ["1,800", "1,801"]),
        (lambda raw: b"\x00\x00\x0d" + raw[3:], ["00 00 0d"]),
        (lambda raw: raw[:4] + (10**9).to_bytes(4, "big") + raw[8:], ["1000000000"]),
        (lambda raw: b"", ["nothing"]),
    ],
)
def test_idx_files(trained, spoil, pieces):
    path = Path("digits/train-images-idx3-ubyte")
    path.write_bytes(spoil(path.read_bytes()))
    check_refused(["fit", *TINY], "data.source", "train-images-idx3-ubyte", *pieces)
    check_refused(["fit", "--ckpt_path", "last", "--trainer.max_epochs=3"], "data.source", *pieces)


def test_a_truncated_gzip_file(workplace):
    path = Path("digits/train-images-idx3-ubyte")
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    check_refused(["fit", *TINY], "data.source", "train-images-idx3-ubyte.gz", "truncated")


def test_counts_that_differ_and_labels_out_of_range(workplace):
    path = Path("digits/t10k-labels-idx1-ubyte")
    path.write_bytes(idx_bytes(np.zeros(19)))
    check_refused(["fit", *TINY], "data.source", "20 test images", "19 labels")
    path.write_bytes(idx_bytes(np.full(20, 3)))
    check_refused(["fit", *TINY], "data.source", "class '3'", "training: 0, 1, 2; test: 3")


def test_images_of_different_sizes_and_folders_without_labels(workplace):
    for label, size in (("cat", (4, 4)), ("dog", (5, 4))):
        Path("pets", label).mkdir(parents=True)
        Image.new("L", size).save(f"pets/{label}/1.png")
    check_refused(["fit", *TINY, "--data.source=pets"], "data.source is 'pets'", "4x4", "4x5")
    Image.new("L", (4, 4)).save("pets/dog/1.png")
    Path("pets/dog/1.png").rename("pets/1.png")
    Path("pets/cat/1.png").rename("pets/2.png")
    check_refused(["fit", *TINY, "--data.source=pets"], "data.source is 'pets'", "no label column")
    Path("empty").mkdir()
    check_refused(["fit", *TINY, "--data.source=empty"], "data.source is 'empty'", "empty folder")


def test_a_hub_id_offline_says_what_to_do(workplace, monkeypatch):
    monkeypatch.setattr("ffrecur.data.huggingface.hub_is_reachable", lambda: False)
    check_refused(["fit", *TINY, "--data.source=nobody/nothing"], "nobody/nothing", "save_to_disk", "bundled")


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_there_is_no_run_yet(workplace, command):
    if command != "predict":  # which uses a net that comes with ffrecur
        check_refused([command], "ckpt_path is not given", "no run in 'runs'", "ffrecur fit", "museum/digits")
    check_refused([command, "--ckpt_path", "last"], "ckpt_path is last", "no run in 'runs'")


@pytest.mark.parametrize("command", ["test", "fit"])
def test_checkpoints_that_cannot_be_used(trained, command):
    good = torch.load(only_run() / "last.ckpt", weights_only=True)
    Path("garbage.ckpt").write_bytes(b"not a checkpoint at all")
    Path("cut.ckpt").write_bytes((only_run() / "last.ckpt").read_bytes()[:-500])
    torch.save({"state_dict": {}}, "foreign.ckpt")
    torch.save({"state_dict": {}, "ffrecur_net": {}}, "hollow.ckpt")
    Path("words.ckpt").write_text("all work and no play")
    torch.save({**good, "ffrecur_net": {"kind": "CharNet", "settings": {}}}, "text.ckpt")
    check_refused([command, "--ckpt_path", "garbage.ckpt"], "garbage.ckpt", "cannot be read")
    check_refused([command, "--ckpt_path", "cut.ckpt"], "cut.ckpt", "cannot be read")
    check_refused([command, "--ckpt_path", "foreign.ckpt"], "foreign.ckpt", "no ffrecur net")
    check_refused([command, "--ckpt_path", "hollow.ckpt"], "hollow.ckpt", "RecurrentNet")
    check_refused([command, "--ckpt_path", "words.ckpt"], "words.ckpt", "cannot be read")
    Path("number.yaml").write_text("ckpt_path: 5")
    check_refused([command, "--config", "number.yaml"], "ckpt_path is 5")
    check_refused([command, "--ckpt_path", "text.ckpt"], "text.ckpt", "CharNet", "RecurrentNet")
    check_refused([command, "--ckpt_path", "missing.ckpt"], "missing.ckpt", "not there")
    check_refused([command, "--ckpt_path", "digits"], "digits", "neither best.ckpt nor last.ckpt")


def test_data_that_does_not_fit_the_net(trained):
    make_digits(Path("larger"), size=(7, 7))
    make_digits(Path("richer"), classes=4)
    check_refused(["test", "--data.source=larger"], "image_shape", "[6, 5]", "[7, 7]")
    unknown = ("images of the class '3', which the net does not know", "classes: 0, 1, 2; the data's: 0, 1, 2, 3")
    check_refused(["test", "--data.source=richer"], *unknown)
    check_refused(["fit", "--ckpt_path=last", "--data.source=richer"], *unknown)
    check_refused(["predict", "--data.source=larger"], "image_shape", "[6, 5]", "[7, 7]")
    check_refused(["fit", "--ckpt_path=last", "--data.source=larger"], "image_shape", "[6, 5]", "[7, 7]")


def test_a_net_that_does_not_fit_the_checkpoint(trained):
    check_refused(["test", "--model.hidden_features=[12,11]"], "hidden_features", "[12, 11]", "[12, 10]")


def test_a_video_with_too_few_frames(workplace):
    options = ["--data=DriftDataModule", "--data.source=digits", "--data.frames=4"]
    check_refused(["fit", *TINY, *options], "iterations is 8", "4 frames")


def test_what_cannot_be_changed_in_a_run_that_is_continued(trained):
    options = ["fit", "--ckpt_path=last", "--trainer.max_epochs=3"]
    check_refused(
        [*options, "--model.optimizer=torch.optim.SGD"],
        "model.optimizer is SGD, but the run that is continued has Adam",
    )
    check_refused([*options, "--model.optimizer.lr=-1"], "model.optimizer", "Invalid learning rate: -1")
    check_refused(
        [*options, "--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches is 0", "at least 1"
    )


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        (["--model.optimizer.lr=-1"], ["model.optimizer", "Invalid learning rate: -1"]),
        (["--model.optimizer.lr=null"], ["model.optimizer.lr is null, but must have a value"]),
        (["--model.optimizer.eps", "null"], ["model.optimizer.eps is null, but must have a value"]),
        (
            ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.flat=null"],
            ["model.lr_scheduler.flat is null, but must have a value"],
        ),
        (["--model.optimizer=torch.optim.LBFGS"], ["model.optimizer", "LBFGS"]),
        (["--model.lr_scheduler=StepLR"], ["model.lr_scheduler", "step_size"]),
        (
            ["--model.lr_scheduler=FlatThenLinear", "--trainer.max_epochs=-1"],
            ["lr_scheduler.epochs is None", "given where trainer.max_epochs is -1"],
        ),
        (
            ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.epochs=0"],
            ["lr_scheduler.epochs is 0", "at least 1"],
        ),
    ],
)
def test_optimisers_and_schedules(workplace, options, pieces):
    check_refused(["fit", *TINY, *options], *pieces)


@pytest.mark.parametrize(
    ("option", "piece"),
    [
        ("--model.window=3,5", "model.window is 3,5, but must be a list in brackets, such as [3, 5]"),
        ("--model.hidden_features=20", "model.hidden_features is 20, but must be a list in brackets, such as [20, 20]"),
    ],
)
def test_lists_without_brackets(workplace, option, piece):
    check_refused(["fit", *TINY, option], piece)


def test_a_schedule_of_no_epochs(workplace):
    options = ["--model.lr_scheduler=FlatThenLinear", "--trainer.max_epochs=0"]
    check_refused(
        ["fit", *TINY, *options], "trainer.max_epochs is 0, but must be at least 1, or -1 with lr_scheduler.epochs"
    )


def test_labels_that_are_python_objects(workplace):
    labels = np.array([str(number % 3) for number in range(30)], dtype=object)
    np.savez("objects.npz", images=np.zeros((30, 6, 5), np.uint8), labels=labels)
    what = "whose labels are Python objects: save them with .astype(int) or .astype(str)"
    check_refused(["fit", *TINY, "--data.source=objects.npz"], what)


def test_a_table_with_a_column_a_pixel(workplace):
    columns = ["label", *(f"pixel{number}" for number in range(60))]
    Path("pixels.csv").write_text("\n".join([",".join(columns), *[",".join(["1"] * 61)] * 9]))
    line = check_refused(["fit", *TINY, "--data.source=pixels.csv"], "no image column", "a column a pixel is not read")
    assert len(line) < 500


def test_values_that_stay_dark_are_warned_of(workplace):
    for highest, warned in ((16, True), (200, False), (1, False)):
        images = np.arange(30 * 30).reshape(30, 6, 5) % (highest + 1)
        for kind in (np.uint8, np.float32):
            np.savez("dark.npz", images=images.astype(kind), labels=np.arange(30) % 3)
            outcome = run("fit", *TINY, "--data.source=dark.npz", "--trainer.max_epochs=1")
            assert outcome.code == 0, outcome.err
            assert ("values reach 16, where 255 is white: if 16 is white, divide by it" in outcome.err) == warned


def test_batches_that_are_no_tuples():
    with pytest.raises(UserError, match=r"is a dict with 'image', 'label', but must be a tuple \(images, labels\)"):
        images_of({"image": 1, "label": 2})
    with pytest.raises(UserError, match="is a Tensor, but must be a tuple"):
        images_of(torch.zeros(2, 3))


def test_a_root_folder_that_is_a_file(workplace):
    Path("afile").write_text("")
    check_refused(["fit", *TINY, "--trainer.default_root_dir=afile"], "trainer.default_root_dir is 'afile'", "a folder")


def test_a_diverging_training_stops_before_it_spoils_the_weights(trained):
    before = torch.load(only_run() / "last.ckpt", weights_only=True)["state_dict"]
    outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=9", "--model.optimizer.lr=1e30")
    assert outcome.code == 2
    assert "error: the goodness of layer 1, iteration 1, on positive data, is inf in epoch 2, batch 1" in outcome.err
    assert "learning rate" in outcome.err
    after = torch.load(only_run() / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)
