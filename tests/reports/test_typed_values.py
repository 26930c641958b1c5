"""Kinds 4, 5 and 6: what was typed is what counts; paths are expanded once; a run's configuration can be run again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from running import TINY, only_run, run, slow

import ffrecur
from ffrecur.lit.run.arguments import after_subcommand, expand_home, typed_with_home
from ffrecur.lit.run.parser import NOT_WRITTEN, without_marks

FIT = ["fit", *TINY, "--trainer.max_epochs=1"]

# --- kind 4: whole numbers and fractions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "steps"),
    [("1", 1), slow("2", 2), ("1.0", 3), ("0.5", 1), slow("3", 3), slow("0.34", 1)],  # of three batches
)
@pytest.mark.parametrize("where", ["typed", "in a file"])
def test_one_batch_is_one_batch(workplace, typed, steps, where):
    Path("mine.yaml").write_text(f"trainer: {{limit_train_batches: {typed}}}")
    given = [f"--trainer.limit_train_batches={typed}"] if where == "typed" else ["--config=mine.yaml"]
    assert run(*FIT, *given).code == 0
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == steps
    limit = yaml.safe_load((only_run() / "config.yaml").read_text())["trainer"]["limit_train_batches"]
    assert (limit, type(limit)) == (yaml.safe_load(typed), type(yaml.safe_load(typed)))


@pytest.mark.parametrize(("typed", "kind"), [("1", int), ("1.0", float)])
def test_one_epoch_of_a_callback_is_one_epoch(workplace, typed, kind):
    """`swa_epoch_start` is an epoch or a share of them."""
    given = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"]
    assert run(*FIT, "--trainer.max_epochs=2", *given, f"--trainer.callbacks.swa_epoch_start={typed}").code == 0
    (callback,) = yaml.safe_load((only_run() / "config.yaml").read_text())["trainer"]["callbacks"]
    assert type(callback["init_args"]["swa_epoch_start"]) is kind


@pytest.mark.parametrize(
    ("command", "setting", "told"),
    [
        ("fit", "limit_val_batches", None),
        ("validate", "limit_val_batches", "num_examples"),
        ("test", "limit_test_batches", "num_examples"),
        ("predict", "limit_predict_batches", None),
    ],
)
def test_one_batch_of_every_command(trained, command, setting, told):
    sizes = ["--data.evaluation_batch_size=5"]
    outcome = run(command, *(FIT[1:] if command == "fit" else []), *sizes, f"--trainer.{setting}=1")
    assert outcome.code == 0, outcome.err
    if told:
        stage = "validation" if command == "validate" else command
        results = yaml.safe_load((only_run() / f"{stage}_results.json").read_text())
        assert results["num_examples"] == 5
    if command == "predict":
        assert len((only_run() / "predictions.csv").read_text().splitlines()) == 1 + 5


@pytest.mark.parametrize("typed", ["null", "#"])
def test_no_folder_for_the_runs_is_the_usual_one(workplace, typed):
    assert run(*FIT, f"--trainer.default_root_dir={typed}").code == 0
    assert only_run().parent.name == "runs"


def test_a_file_whose_trainer_is_no_group_is_named(workplace):
    Path("mine.yaml").write_text("trainer: 3")
    outcome = run(*FIT, "--config=mine.yaml")
    assert (outcome.code, outcome.err) == (
        2,
        "error: config is 'mine.yaml', whose trainer is 3, but must have settings below it\n",
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("trainr: {max_epochs: 1}", "trainr is not a setting (nearest: trainer)"),
        (
            "model: {class_path: RecurrentModule, init_args: {lr: 3}}",
            "lr is not a setting (nearest: model.optimizer.lr)",
        ),
    ],
)
def test_a_name_in_a_file_that_is_none(workplace, content, told):
    Path("mine.yaml").write_text(content)
    outcome = run(*FIT, "--config=mine.yaml")
    assert (outcome.code, outcome.err) == (2, f"error: {told}\n")


# --- kind 5: paths ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(workplace, monkeypatch):
    """The little data set is in the home folder, which is not the current one."""
    (workplace / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(workplace))
    monkeypatch.chdir(workplace / "elsewhere")
    return workplace


@pytest.mark.slow
def test_the_home_folder_in_every_path_of_every_command(home):
    from ffrecur.commands.export import main as export
    from ffrecur.commands.generate import main as generate

    (home / "mine.yaml").write_text("trainer: {default_root_dir: ~/runs}\ndata: {init_args: {source: ~/digits}}")
    options = [option for option in TINY if "data.source" not in option]
    outcome = run(
        "fit",
        *options,
        "--config=~/mine.yaml",
        "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.dirpath=~/more",
    )
    assert outcome.code == 0, outcome.err
    (folder,) = (home / "runs").iterdir()
    assert {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}
    assert list((home / "more").iterdir())
    assert run("test", "--trainer.default_root_dir=~/runs").code == 0
    assert run("test", "--ckpt_path", f"~/runs/{folder.name}/last.ckpt").code == 0
    assert run("fit", "--ckpt_path", "last", "--trainer.default_root_dir", "~/runs", "--trainer.max_epochs=3").code == 0
    assert run("predict", "--data.source=~/digits", "--trainer.default_root_dir=~/runs").code == 0
    assert export(["--root", "~/runs", "--output", "~/exported"]) == 0
    assert (home / "exported" / "config.json").is_file()
    assert generate(["--checkpoint=~/exported"]) == 2, "it is there, but no text model"
    assert not (home / "elsewhere" / "~").exists()
    assert not list((home / "elsewhere").iterdir()), "nothing lies in the current folder"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["--data.source=~/x"], ["--data.source=/home/me/x"]),
        (["--data.source", "~/x"], ["--data.source", "/home/me/x"]),
        (["--data.alphabet", "~/x"], ["--data.alphabet", "~/x"]),
        (["--data.alphabet=~abc"], ["--data.alphabet=~abc"]),
        (["--data.document_separator=~"], ["--data.document_separator=~"]),
        (["--data.source=a~b"], ["--data.source=a~b"]),
        (["--data.source=~nobody-of-that-name/x"], ["--data.source=~nobody-of-that-name/x"]),
    ],
)
def test_what_is_expanded(typed, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_with_home(typed) == expected


def test_a_configuration_is_expanded_at_every_depth(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = {"a": "~/x", "callbacks": [{"init_args": {"dirpath": "~"}}], "alphabet": "~/", "n": 1}
    assert expand_home(config) == {
        "a": "/home/me/x",
        "callbacks": [{"init_args": {"dirpath": "/home/me"}}],
        "alphabet": "~/",
        "n": 1,
    }


# --- kind 6: a configuration that comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"],  # its default device is no text
        slow(
            ["Timer", "--trainer.callbacks.duration=00:01:00:00"]
        ),  # its default interval is a member of an enumeration
        [
            "ModelPruning",
            "--trainer.callbacks.pruning_fn=l1_unstructured",
            "--trainer.callbacks.amount=0.0",
        ],  # a function or its name
    ],
    ids=lambda given: given[0],
)
def test_what_is_written_can_be_run_again(workplace, given):
    assert run(*FIT, "--trainer.callbacks+=" + given[0], *given[1:]).code == 0
    config = only_run() / "config.yaml"
    assert NOT_WRITTEN not in config.read_text()
    assert NOT_WRITTEN not in str(torch.load(only_run() / "last.ckpt", weights_only=True)["ffrecur_config"])
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=1").code == 0
    again = run("fit", "--config", config, "--trainer.default_root_dir=again")
    assert again.code == 0, again.err


def test_marks_of_earlier_versions_are_left_out():
    stored = {"callbacks": [{"init_args": {"device": NOT_WRITTEN + "cpu", "swa_lrs": 0.1}}]}
    assert without_marks(stored) == {"callbacks": [{"init_args": {"swa_lrs": 0.1}}]}


@pytest.mark.slow
def test_a_checkpoint_with_such_a_mark_can_be_continued(workplace):
    assert run(*FIT, "--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01").code == 0
    last = only_run() / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["ffrecur_config"]["trainer"]["callbacks"][0]["init_args"]["device"] = NOT_WRITTEN + "cpu"
    torch.save(checkpoint, last)
    assert run("test", "--ckpt_path=last").code == 0
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=1").code == 0


# --- habits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("--lr=0.1", "--model.optimizer.lr"),
        ("--model.lr=0.1", "model.optimizer.lr"),
        ("--learning_rate=0.1", "--model.optimizer.lr"),
        ("--batch_size=10", "--data.batch_size"),
        ("--epochs=3", "--trainer.max_epochs"),
        ("--max_epochs=3", "--trainer.max_epochs"),
        ("--seed=3", "--seed_everything"),
        ("--gpus=1", "--trainer.devices"),
        ("--damping=0.1", "--model.damping"),
        ("--data_dir=digits", "--data.source"),
        ("--resume=last", "--ckpt_path"),
        ("--trainer.damping=0.1", "--model.damping"),
        ("--model.batch_size=10", "data.batch_size"),
    ],
)
def test_the_name_that_is_meant(workplace, typed, nearest):
    outcome = run("fit", typed)
    assert outcome.code == 2
    assert outcome.err.startswith(
        f"error: {typed.split('=')[0].removeprefix('' if nearest.startswith('--') else '--')} is not "
    )
    assert outcome.err.endswith(f"(nearest: {nearest})\n")


def test_the_name_that_is_pointed_to_works_alone(workplace):
    options = [option for option in TINY if "optimizer" not in option]
    assert run("fit", *options, "--model.optimizer.lr=0.02", "--trainer.max_epochs=1").code == 0
    groups = torch.load(only_run() / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.02] * 4


def test_options_before_the_subcommand_mean_what_they_mean_after_it(workplace):
    Path("mine.yaml").write_text("trainer: {limit_train_batches: 2}")
    assert run("--config", "mine.yaml", "--seed_everything=3", *FIT).code == 0
    checkpoint = torch.load(only_run() / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert checkpoint["ffrecur_config"]["seed_everything"] == 3
    assert after_subcommand(["--help", "fit"], ["fit"]) == ["--help", "fit"]


def test_a_file_with_a_section_for_the_subcommand_is_read_as_lightning_reads_it(workplace):
    Path("mine.yaml").write_text("fit: {seed_everything: 5, trainer: {limit_train_batches: 2}}")
    assert run("--config", "mine.yaml", *FIT).code == 0
    checkpoint = torch.load(only_run() / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert checkpoint["ffrecur_config"]["seed_everything"] == 5


def test_the_home_folder_in_python(home):
    net = ffrecur.RecurrentNet(4, (3,), 2)
    ffrecur.save(net, "~/kept")
    assert (home / "kept" / "config.json").is_file()
    assert ffrecur.load("~/kept").in_features == 4
