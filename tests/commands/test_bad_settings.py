"""Wrong settings and what each of them is answered, word for word: exit code 2, one line, and nothing on the disk changed."""

import contextlib
import io
import shutil
import sys
from pathlib import Path

import pytest
import torch
from making import drawn_net, make_digits
from running import TINY, only_run, run, snapshot

import ffrecur
from ffrecur.main import entry_point

FIT = ["fit", *TINY]
TEXT = [
    "fit",
    "--model=CharModule",
    "--data=CorpusDataModule",
    "--data.source=tales.txt",
    "--data.document_separator=\\n\\n",
]
GENERATE = ["generate", "--checkpoint=text"]
TABLE: list[tuple[list[str], str]] = [
    ([*FIT, "--model.damping=1.5"], "damping is 1.5, but must be at least 0 and less than 1"),
    ([*FIT, "--model.sign=0"], "sign is 0, but must be 1 or -1"),
    ([*FIT, "--model.temperature=0"], "temperature is 0.0, but must be greater than 0"),
    ([*FIT, "--model.temperature=nan"], "model.temperature is nan, but must be a number"),
    ([*FIT, "--model.iterations=0"], "iterations is 0, but must be a whole number of at least 1"),
    (
        [*FIT, "--model.hidden_features=[]"],
        "hidden_features is [], but must be one or more whole numbers of at least 1, the widths of the layers",
    ),
    ([*FIT, "--model.hidden_features=null"], "model.hidden_features is null, but must have a value"),
    ([*FIT, "--model.weight_decay=null"], "model.weight_decay is null, but must have a value"),
    ([*FIT, "--model.image_dropout=null"], "model.image_dropout is null, but must have a value"),
    ([*FIT, "--model.optimizer=null"], "model.optimizer is null, but must have a value"),
    ([*FIT, "--model.hidden_features=[8,x]"], "model.hidden_features is x, but must be a whole number"),
    (
        [*FIT, "--model.window=[4,3]"],
        "window is [4, 3], but must be two iterations [first, last], counted from 1, with first <= last <= evaluation_iterations, which is 8",
    ),
    (
        [*FIT, "--model.window=[3,9]"],
        "window is [3, 9], but must be two iterations [first, last], counted from 1, with first <= last <= evaluation_iterations, which is 8",
    ),
    ([*FIT, "--model.image_dropout=1"], "image_dropout is 1.0, but must be at least 0 and less than 1"),
    ([*FIT, "--model.weight_decay=-1"], "weight_decay is -1.0, but must be at least 0"),
    ([*FIT, "--model.head_learning_rate_scale=0"], "head_learning_rate_scale is 0.0, but must be greater than 0"),
    (
        [*FIT, "--model.objective=hinge"],
        "model.objective is hinge, but must be one of 'logistic', 'paired', 'softmax', 'sampled_softmax', or the class path "
        "of a subclass of Objective",
    ),
    (
        [*FIT, "--model.negatives=easy"],
        "model.negatives is easy, but must be one of 'hard', 'uniform', or the class path of a subclass of LabelNegatives",
    ),
    ([*FIT, "--model.dict_kwargs.x=1"], "dict_kwargs.x is 1, but RecurrentModule has no setting of that name"),
    ([*FIT, "--data.dict_kwargs.x=1"], "dict_kwargs.x is 1, but ImageDataModule has no setting of that name"),
    (
        [*FIT, "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.patience=a"],
        "trainer.callbacks.patience is a, but must be a whole number",
    ),
    (
        [*FIT, "--trainer.callbacks+=Timer", "--trainer.callbacks.nope=1"],
        "trainer.callbacks.nope is not a setting of Timer",
    ),
    ([*FIT, "--trainer.callbakcs+=Timer"], "--trainer.callbakcs is not an option (nearest: --trainer.callbacks)"),
    ([*FIT, "--model.dampning=0.3"], "model.dampning is not a setting (nearest: model.damping)"),
    (
        [*FIT, "--model=RecurentModule"],
        "model is 'RecurentModule', which is not the name of a class (nearest: RecurrentModule)",
    ),
    ([*FIT, "--model.optimizer=Adamm"], "model.optimizer is 'Adamm', which is not the name of a class (nearest: Adam)"),
    ([*FIT, "--model.optimizer.lr=-1"], "model.optimizer: Invalid learning rate: -1.0"),
    (
        [*FIT, "--model.optimizer=torch.optim.LBFGS"],
        "model.optimizer: LBFGS doesn't support per-parameter options (parameter groups)",
    ),
    ([*FIT, "--model.lr_scheduler=StepLR"], "model.lr_scheduler needs its setting step_size, which is not given"),
    (
        [*FIT, "--data.memory_limit=-1"],
        "data.memory_limit is -1, but must be a whole number of at least 0",
    ),
    ([*FIT, "--data.batch_size=0"], "data.batch_size is 0, but must be a whole number of at least 1"),
    ([*FIT, "--data.batch_size=null"], "data.batch_size is null, but must have a value"),
    ([*FIT, "--data.batch_size=many"], "data.batch_size is many, but must be a whole number"),
    (
        [*FIT, "--data.validation_size=60"],
        "data.validation_size is 60, but must be at least 1 and less than the number of training images, 60",
    ),
    (
        [*FIT, "--data.source=nowhere/at/all"],
        "data.source is 'nowhere/at/all', which is not a folder; it must be 'bundled', a folder with IDX files, arrays, tables or images, a folder written by `save_to_disk`, a file (.npz, .npy, .parquet, .csv, .json, .jsonl, .arrow), or a hub id such as 'ylecun/mnist'",
    ),
    ([*FIT, "--data.source=empty"], "data.source is 'empty', which is an empty folder"),
    (
        [*FIT, "--data.source=tales.txt"],
        "data.source is 'tales.txt', which is a file, not a folder; it must be 'bundled', a folder with IDX files, arrays, tables or images, a folder written by `save_to_disk`, a file (.npz, .npy, .parquet, .csv, .json, .jsonl, .arrow), or a hub id such as 'ylecun/mnist'",
    ),
    (
        [*FIT, "--data.frames=3"],
        "data.frames is a setting of DriftDataModule, SceneDataModule and VideoDataModule only; choose the class first: "
        "--data=DriftDataModule",
    ),
    (
        [*FIT, "--model=BackpropModule", "--data=DriftDataModule"],
        "data has videos, but the net of a BackpropModule looks once: use a RecurrentModule",
    ),
    ([*FIT, "--seed_everything=-1"], "seed_everything is -1, but must be a whole number from 0 to 4294967295"),
    ([*FIT, "--seed_everything=x"], "seed_everything is x, but must be a whole number"),
    ([*FIT, "--trainer.max_epochs=few"], "trainer.max_epochs is few, but must be a whole number or null"),
    ([*FIT, "--trainer.max_epoch=3"], "--trainer.max_epoch is not an option (nearest: --trainer.max_epochs)"),
    ([*FIT, "--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches is 0, but must be at least 1"),
    ([*FIT, "--trainer.default_root_dir=tales.txt"], "trainer.default_root_dir is 'tales.txt', but must be a folder"),
    (
        [*FIT, "--trainer.precision=7"],
        "trainer.precision is 7, but must be one of 64, 32, 16 or one of 'transformer-engine', 'transformer-engine-float16', '16-true', '16-mixed', 'bf16-true', 'bf16-mixed', '32-true', '64-true' or one of '64', '32', '16', 'bf16' or null",
    ),
    (
        [*FIT, "--trainer.devices=0"],
        "--trainer.devices=0: `Trainer(devices='0')` value is not a valid input using cpu accelerator",
    ),
    ([*FIT, "--config=nowhere.yaml"], "config is 'nowhere.yaml', which is not there"),
    (
        [*FIT, "--config=list.yaml"],
        "config is 'list.yaml', which holds no settings; it must have lines such as `seed_everything: 0`",
    ),
    (
        [*FIT, "--config=broken.yaml"],
        "config is 'broken.yaml', which is not valid YAML: while parsing a flow mapping in \"<unicode string>\", line 1, column 8: model: {a: 1 ^ expected ',' or '}', but got '<stream end>' in \"<unicode string>\", line 2, column 1: ^",
    ),
    ([*FIT, "--config=misspelt.yaml"], "widths is not a setting (nearest: window)"),
    ([*FIT, "--config=digits"], "config is 'digits', which is a folder, but must be a file"),
    (
        [*FIT, "--ckpt_path=nowhere.ckpt"],
        "ckpt_path is 'nowhere.ckpt', which is not there; give best, last, a .ckpt file or the folder of a run",
    ),
    ([*FIT, "--weights_only=false"], "weights_only is False, but must be true: nothing in a checkpoint runs as code"),
    (
        ["fit", "--ckpt_path=last", "--model.optimizer=torch.optim.SGD"],
        "model.optimizer is SGD, but the run that is continued has Adam; start a new run for that",
    ),
    (
        ["fit", "--ckpt_path=last", "--data.source=larger"],
        "image_shape of the net is [6, 5], but the data has [7, 7]; convert the images, or train a net on this data first",
    ),
    ([*TEXT, "--data.window=0"], "data.window is 0, but must be a whole number of at least 1"),
    ([*TEXT, "--data.alphabet=aa"], "alphabet is 'aa', which has 'a' twice, but must be without duplicates"),
    (
        [*TEXT, "--data.document_separator=("],
        "data.document_separator is '(', which is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    ([*TEXT, "--data.document_length=5"], "data.document_length is 5, but must be more than data.window, which is 10"),
    (
        [*TEXT, "--data.window=30"],
        "data.source is 'tales.txt', whose training split has no document with more characters of the alphabet than the window's 30: the longest of 3 has 17, the first is 'The fox ran home.'",
    ),
    (
        [*TEXT, "--model.negatives=hard"],
        "model.negatives is hard, but must be one of 'teacher_forcing', 'uniform', 'self_generated', 'dream', 'none', "
        "or the class path of a subclass of WindowNegatives",
    ),
    ([*TEXT, "--model.dream_depth=[3,1]"], "dream_depth is [3, 1], but must be two whole numbers, 1 <= least <= most"),
    ([*TEXT, "--model.window=4"], "window of the net is 4, but the data has 10; set data.window to that of the net"),
    (
        [*TEXT, "--model=RecurrentModule"],
        "data is CorpusDataModule, but a RecurrentModule reads images: ImageDataModule",
    ),
    (
        ["validate", "--data.evaluation_batch_size=0"],
        "data.evaluation_batch_size is 0, but must be a whole number of at least 1",
    ),
    (
        ["test", "--ckpt_path=words.ckpt"],
        "checkpoint is 'words.ckpt', which cannot be read as a checkpoint (it is not what torch.save writes, or its end is missing)",
    ),
    (
        ["test", "--ckpt_path=foreign.ckpt"],
        "checkpoint is 'foreign.ckpt', which holds no ffrecur net; give a file that `ffrecur fit` wrote of one of ours; your own are tested and continued by Lightning's Trainer",
    ),
    (
        ["test", "--ckpt_path=cut"],
        "checkpoint is 'cut/last.ckpt', which cannot be read as a checkpoint (it is not what torch.save writes, or its end is missing)",
    ),
    (["test", "--ckpt_path=empty"], "checkpoint is 'empty', a folder with neither best.ckpt nor last.ckpt in it"),
    (
        ["test", "--model.hidden_features=[3]"],
        "hidden_features is [3], but the net in runs/first/best.ckpt has [12, 10]",
    ),
    (
        ["test", "--model=CharModule"],
        "model is CharModule, which trains a CharNet, but runs/first/best.ckpt holds a RecurrentNet",
    ),
    (
        ["test", "--model.window=[0,3]"],
        "window is [0, 3], but must be two iterations [first, last], counted from 1, with first <= last <= evaluation_iterations, which is 8",
    ),
    (
        ["test", "--data.source=larger"],
        "image_shape of the net is [6, 5], but the data has [7, 7]; convert the images, or train a net on this data first",
    ),
    (
        ["test", "--trainer.default_root_dir=elsewhere"],
        "ckpt_path is not given, but there is no run in 'elsewhere' yet; train one with `ffrecur fit`, or give the path of a checkpoint, or a net that comes with ffrecur, such as museum/digits",
    ),
    (
        ["test", "--ckpt_path=text"],
        "checkpoint is 'text', an exported net, which keeps no settings of its run: ffrecur.load opens it in Python",
    ),
    (
        ["predict", "--data.source=larger"],
        "image_shape of the net is [6, 5], but the data has [7, 7]; convert the images, or train a net on this data first",
    ),
    (
        ["predict", "--ckpt_path=best", "--trainer.default_root_dir=elsewhere"],
        "ckpt_path is best, but there is no run in 'elsewhere' yet; train one with `ffrecur fit`, or give the path of a checkpoint, or a net that comes with ffrecur, such as museum/digits",
    ),
    (["predict", "--model.windw=[2,3]"], "model.windw is not a setting (nearest: model.window)"),
    (["predict", "--data.batch_size=1.5"], "data.batch_size is 1.5, but must be a whole number"),
    (
        ["tset"],
        "subcommand is 'tset', but must be fit, validate, test, predict, generate, export, runs or report (nearest: test)",
    ),
    ([], "subcommand is missing; give fit, validate, test, predict, generate, export, runs or report"),
    ([*GENERATE, "--length=-1"], "length is -1, but must be a whole number of at least 0"),
    ([*GENERATE, "--length=long"], "length is 'long', but must be a whole number"),
    ([*GENERATE, "--temperature=hot"], "temperature is 'hot', but must be a number"),
    ([*GENERATE, "--temperature=-1"], "temperature is -1.0, but must be at least 0"),
    ([*GENERATE, "--temperature=nan"], "temperature is nan, but must be at least 0"),
    ([*GENERATE, "--top_k=0"], "top_k is 0, but must be a whole number of at least 1"),
    ([*GENERATE, "--seed=-1"], "seed is -1, but must be a whole number from 0 to 4294967295"),
    ([*GENERATE, "--num_samples=0"], "num_samples is 0, but must be a whole number of at least 1"),
    ([*GENERATE, "--by=luck"], "by is 'luck', but must be score or softmax or goodness"),
    ([*GENERATE, "--goodness_temperature=0"], "goodness_temperature is 0.0, but must be greater than 0"),
    (
        [*GENERATE, "--prompt=A fox & a hen"],
        "the text has '&' at character 7, which is not in the alphabet 'abcdefghijklmnopqrstuvwxyz ;,.'; choose another alphabet, or unknown drop or replace",
    ),
    ([*GENERATE, "--lenght=3"], "--lenght is not an option (nearest: --length)"),
    (
        ["generate", "--checkpoint=museum/tales"],
        "checkpoint is 'museum/tales', which is not there; the nets that come with ffrecur are museum/digits, museum/digits_feedforward and museum/fables",
    ),
    (
        ["generate", "--checkpoint=museum/digits"],
        "checkpoint is 'museum/digits', which holds a RecurrentNet, but must hold a CharNet or a StreamNet",
    ),
    (
        ["fit", "--ckpt_path=museum/digits"],
        "ckpt_path is 'museum/digits', an exported net without the state of its training, which `fit` cannot go on with; give a checkpoint or the folder of a run",
    ),
    (
        ["generate", "--checkpoint=images"],
        "checkpoint is 'images', which holds a RecurrentNet, but must hold a CharNet or a StreamNet",
    ),
    (
        ["generate", "--checkpoint=mixed"],
        "checkpoint is 'mixed', which cannot be read as an exported net (its config.json and its model.safetensors are not of the same net: an export was interrupted or a file was changed; export the net again)",
    ),
    (
        ["generate", "--checkpoint=damaged"],
        "checkpoint is 'damaged', which cannot be read as an exported net (the checksum of its model.safetensors is wrong: the file is damaged)",
    ),
    (
        ["generate", "--checkpoint=nowhere"],
        "checkpoint is 'nowhere', which is not a file; give a .ckpt file, the folder of a run or of an exported net, or one that comes with ffrecur: museum/digits",
    ),
    (["export"], "output is not given, but must be"),
    (
        ["export", "--output=out", "--root=elsewhere"],
        "checkpoint is not given, and there is no run in 'elsewhere' yet; train one with `ffrecur fit`",
    ),
    (["export", "--output=tales.txt"], "output is 'tales.txt', which is a file, but must be a folder"),
    (
        ["export", "--output=runs/first"],
        "output is 'runs/first', which is the folder of a run; give another, such as a new one",
    ),
    (["export", "--output=tales.txt/out"], "output is 'tales.txt/out', which cannot be written to: File exists"),
    (
        ["export", "--output=out", "--checkpoint=empty"],
        "checkpoint is 'empty', a folder with neither best.ckpt, last.ckpt nor config.json in it",
    ),
    (
        ["export", "--output=out", "--checkpoint=mixed"],
        "checkpoint is 'mixed', which cannot be read as an exported net (its config.json and its model.safetensors are not of the same net: an export was interrupted or a file was changed; export the net again)",
    ),
    (["export", "--output=out", "--format=onnx"], "format is 'onnx', but must be folder or page"),
    (["export", "--output=out", "--colour=red"], "--colour is not an option"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, a trained run, exported nets, and files that are broken in one way each."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_digits(Path("digits"))
        make_digits(Path("larger"), size=(7, 7))
        Path("empty").mkdir()
        assert run(*FIT).code == 0
        only_run().rename("runs/first")
        Path("tales.txt").write_text("The fox ran home.\n\nThe hen ran home.\n\nThe cow ran home.")
        Path("words.ckpt").write_text("all work and no play")
        torch.save({"state_dict": {}}, "foreign.ckpt")
        shutil.copytree("runs/first", "cut", ignore=shutil.ignore_patterns("best.ckpt"))
        Path("cut/last.ckpt").write_bytes(Path("cut/last.ckpt").read_bytes()[:-300])
        Path("list.yaml").write_text("- trainer\n")
        Path("broken.yaml").write_text("model: {a: 1\n")
        Path("misspelt.yaml").write_text("model: {class_path: RecurrentModule, init_args: {widths: [3]}}\n")
        torch.manual_seed(0)
        ffrecur.save(ffrecur.CharNet(hidden_features=(6,), unknown="error"), "text")
        ffrecur.save(drawn_net(), "images")
        shutil.copytree("images", "mixed")
        shutil.copy("text/config.json", "mixed/config.json")
        shutil.copytree("text", "damaged")
        weights = bytearray(Path("text/model.safetensors").read_bytes())
        weights[-5] ^= 1
        Path("damaged/model.safetensors").write_bytes(weights)
    return folder


def ffrecur_command(arguments, monkeypatch):
    """Run the console script in this process; return its exit code and what it wrote to standard error."""
    monkeypatch.setattr(sys, "argv", ["ffrecur", *arguments])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        entry_point()
    return end.value.code, err.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"), TABLE, ids=[" ".join(a for a in row[0] if a not in TINY)[-60:] for row in TABLE]
)
def test_a_wrong_setting(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    before = snapshot(Path())
    code, err = ffrecur_command(arguments, monkeypatch)
    lines = [line for line in err.splitlines() if not line.startswith("Using ")]  # which run is the newest
    assert lines == [f"error: {message}"]
    assert code == 2
    assert snapshot(Path()) == before


def test_there_are_enough_of_them():
    assert len(TABLE) >= 40
    assert {(row[0] or [""])[0] for row in TABLE} >= {"fit", "validate", "test", "predict", "generate", "export"}
    assert len({message for _, message in TABLE}) > 0.9 * len(TABLE)
