"""The command line from fit to predict, in process, on a little data set."""

import contextlib
import csv
import inspect
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from running import TASKS, TINY, only_run, run, snapshot

import ffrecur
import ffrecur.lit
from ffrecur.commands.train import main


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def epochs_in(folder):
    return [int(row["epoch"]) for row in read_csv(folder / "metrics.csv") if row["val/error"]]


def test_fit_leaves_one_folder_with_everything(trained):
    folder = only_run()
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "best.ckpt", "last.ckpt", "metrics.csv"} <= names
    assert sum(name.startswith("last") for name in names) == 1
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert epochs_in(folder) == [0, 1]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["hidden_features"] == [12, 10]
    assert (
        torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 2 * 3
    )  # 50 of 60 images train: 3 batches


def test_fit_says_where_things_are_and_what_comes_next(workplace, messages):
    outcome = run("fit", *TINY)
    assert f"ffrecur test --ckpt_path {only_run()}" in outcome.out
    assert str(only_run()) in outcome.out
    assert "IDX files in digits: 60 training + 20 test images of 6x5, 3 classes" in messages.text
    assert "epoch 1" in outcome.out


def test_root_dir_moves_the_runs(workplace):
    assert run("fit", *TINY, "--trainer.default_root_dir=elsewhere").code == 0
    assert not Path("runs").exists()
    assert len(list(Path("elsewhere").glob("*/last.ckpt"))) == 1
    assert run("test", "--trainer.default_root_dir=elsewhere").code == 0
    assert len(list(Path("elsewhere").glob("*/test_results.json"))) == 1


def test_test_writes_results_that_agree_with_the_net(trained):
    outcome = run("test", render=True)
    folder = only_run()
    assert outcome.code == 0, outcome.err
    assert f"Using {folder / 'best.ckpt'}, of the newest run." in outcome.out
    results = json.loads((folder / "test_results.json").read_text())
    assert results["num_examples"] == 20
    assert results["window"] == [3, 5]
    assert results["seed"] == 0
    assert len(results["error_by_iteration"]) == 8
    assert len(results["error_by_layer"]) == 2
    net = ffrecur.load(folder)
    images, labels = images_of_the_test()
    assert results["error"] == (net.classify(images) != labels).double().mean().item()
    assert results["one_pass_error"] == pytest.approx(
        (net.one_pass_logits(images).argmax(1) != labels).float().mean().item()
    )
    assert 0 <= results["calibration_error"] <= 1
    assert f"{results['error']:.2%}" in outcome.out
    rows = read_csv(folder / "test_goodness.csv")
    assert len(rows) == 8 * 2
    own = net.goodness(images, labels).mean(dim=-1)
    for row in rows:
        expected = own[int(row["iteration"]) - 1, int(row["layer"]) - 1].item()
        assert float(row["goodness_positive"]) == pytest.approx(expected, rel=1e-5)
    plots = {path.stem for path in (folder / "test_plots").iterdir()}
    assert plots == {"goodness", "error", "labels", "receptive_fields", "imagination", "expectation", "mistakes"}
    for plot in (folder / "test_plots").iterdir():
        with Image.open(plot) as picture:
            assert min(picture.size) > 100, plot


def images_of_the_test():
    """The little data set's test images as the net reads them."""
    raw = np.frombuffer(Path("digits/t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(20, 30)
    return torch.tensor(raw / 255.0, dtype=torch.float32), torch.arange(20) % 3


def test_validate_reports_on_the_validation_images(trained):
    before = snapshot(Path("runs"))
    outcome = run("validate")
    assert outcome.code == 0, outcome.err
    assert json.loads((only_run() / "validation_results.json").read_text())["num_examples"] == 10
    after = snapshot(Path("runs"))
    assert {name: after[name] for name in before} == before  # nothing that was there has changed


def test_runs_are_trained_without_tensorboard_too(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    assert run("fit", *TINY, "--trainer.max_epochs=1").code == 0
    assert run("test").code == 0
    names = {file.name.partition(".")[0] for file in only_run().iterdir()}
    assert {"best", "last", "metrics", "test_results"} <= names
    assert "events" not in names


@pytest.mark.parametrize("place", ["before", "after"])
def test_what_is_typed_wins_over_a_file_wherever_it_stands(place, workplace):
    Path("mine.yaml").write_text("seed_everything: 3\nmodel:\n  threshold: 0.25\n")
    typed, file = ["--seed_everything=7", "--model.threshold=0.5"], ["--config", "mine.yaml"]
    order = [*typed, *file] if place == "before" else [*file, *typed]
    assert run("fit", *TINY, *order, "--trainer.max_epochs=1").code == 0
    settings = yaml.safe_load((only_run() / "config.yaml").read_text())
    assert (settings["seed_everything"], settings["model"]["init_args"]["threshold"]) == (7, 0.5)


def test_settings_are_remembered_by_the_checkpoint_and_what_is_typed_wins(workplace):
    assert run("fit", *TINY, "--model.window=[2,3]", "--model.evaluation_iterations=4").code == 0
    path = only_run() / "test_results.json"
    assert run("test").code == 0
    assert json.loads(path.read_text())["window"] == [2, 3]
    assert len(json.loads(path.read_text())["error_by_iteration"]) == 4
    assert run("test", "--model.window=[1,4]").code == 0
    assert json.loads(path.read_text())["window"] == [1, 4]
    Path("mine.yaml").write_text("model:\n  class_path: RecurrentModule\n  init_args:\n    window: [4, 4]\n")
    assert run("test", "--config", "mine.yaml", "--ckpt_path", only_run() / "last.ckpt").code == 0
    assert json.loads(path.read_text())["window"] == [4, 4]


def test_a_checkpoint_on_its_own_is_enough(trained, tmp_path):
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((only_run() / "best.ckpt").read_bytes())
    before = snapshot(only_run())
    assert run("test", "--ckpt_path", alone, "--trainer.default_root_dir=elsewhere").code == 0
    assert snapshot(only_run()) == before
    assert len(list(Path("elsewhere").glob("*/test_results.json"))) == 1


def test_fit_last_continues_the_newest_run_in_its_folder(trained):
    folder = only_run()
    outcome = run("fit", "--ckpt_path", "last", "--trainer.max_epochs=4")
    assert outcome.code == 0, outcome.err
    assert only_run() == folder
    assert epochs_in(folder) == [0, 1, 2, 3]
    assert sum(path.name.startswith("last") for path in folder.iterdir()) == 1
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 3
    minutes = [float(row["train/minutes"]) for row in read_csv(folder / "metrics.csv") if row["train/minutes"]]
    assert len(minutes) == 4
    assert minutes == sorted(set(minutes)), "goes on counting"
    assert 0 < minutes[0] < minutes[-1] < 10


def test_a_continued_run_ends_where_an_uninterrupted_one_does(trained):
    assert run("fit", "--ckpt_path", "last", "--trainer.max_epochs=4").code == 0
    assert run("fit", *TINY, "--trainer.max_epochs=4", "--trainer.default_root_dir=whole").code == 0
    (whole,) = Path("whole").iterdir()
    continued, uninterrupted = (
        torch.load(f / "last.ckpt", weights_only=True)["state_dict"] for f in (only_run(), whole)
    )
    assert all(torch.equal(continued[name], uninterrupted[name]) for name in uninterrupted)


def test_a_checkpoint_from_amid_an_epoch_continues_to_the_same_weights(workplace):
    """Six steps, three an epoch; continued from a checkpoint of the user's own after four."""
    dropout = ["--model.image_dropout=0.2", "--model.state_dropout=0.1"]
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=4"]
    own += ["--trainer.callbacks.dirpath=mid", "--trainer.callbacks.filename=four"]
    assert run("fit", *TINY, *dropout, *own).code == 0
    assert torch.load("mid/four.ckpt", weights_only=True)["global_step"] == 4
    options = ["--trainer.default_root_dir=rest", "--trainer.callbacks=null"]
    outcome = run("fit", "--ckpt_path=mid/four.ckpt", *options)
    assert outcome.code == 0, outcome.err
    (rest,) = Path("rest").iterdir()
    continued, whole = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (rest, only_run()))
    assert continued["global_step"] == whole["global_step"] == 6
    for name, weight in whole["state_dict"].items():
        assert torch.equal(continued["state_dict"][name], weight), name


def test_the_seed_decides_everything_and_nothing_else_does(workplace):
    torch.manual_seed(123)  # whatever was drawn before leaves no trace
    weights = []
    for root, seed in (("a", 7), ("b", 7), ("c", 8)):
        options = [f"--trainer.default_root_dir={root}", f"--seed_everything={seed}", "--model.image_dropout=0.2"]
        assert run("fit", *TINY, *options).code == 0
        torch.rand(5)
        weights.append(ffrecur.load(next(Path(root).iterdir()) / "last.ckpt").state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["bottom_up.0.weight"], weights[2]["bottom_up.0.weight"])


def test_typed_optimiser_settings_win_over_the_checkpoints(trained):
    options = ["--trainer.max_epochs=3", "--model.optimizer.lr=0.5", "--model.weight_decay=0.25"]
    assert run("fit", "--ckpt_path", "last", *options).code == 0
    groups = torch.load(only_run() / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.5] * 4
    assert [group["decoupled_weight_decay"] for group in groups] == [0.25, 0, 0.25, 0]


def test_typed_schedule_settings_win_over_the_checkpoints(workplace):
    schedule = ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.flat=0"]
    assert run("fit", *TINY, *schedule, "--model.lr_scheduler.epochs=2").code == 0
    assert run("fit", "--ckpt_path", "last", "--trainer.max_epochs=4", "--model.lr_scheduler.epochs=4").code == 0
    rates = [
        float(row["train/learning_rate"]) for row in read_csv(only_run() / "metrics.csv") if row["train/learning_rate"]
    ]
    assert rates == pytest.approx([0.01, 0.005, 0.005, 0.0025])


def test_other_data_begin_a_new_run(workplace):
    """Its best checkpoint and its figures are of these data alone; the epochs are counted on."""
    assert run("fit", *TINY).code == 0
    first = only_run()
    figures = (first / "metrics.csv").read_text()
    shutil.copytree("digits", "copies")
    outcome = run("fit", "--ckpt_path=last", "--data.source=copies", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    assert "A new run: data.source is 'copies', but was 'digits' in the training so far." in outcome.out
    (second,) = set(Path("runs").iterdir()) - {first}
    assert (first / "metrics.csv").read_text() == figures
    assert torch.load(second / "best.ckpt", weights_only=True)["epoch"] == 2
    assert run("fit", f"--ckpt_path={second / 'last.ckpt'}", "--trainer.max_epochs=4").code == 0
    assert len(list(Path("runs").iterdir())) == 2


def rates_of(run_folder):
    rows = read_csv(run_folder / "metrics.csv")
    return [float(row["train/learning_rate"]) for row in rows if row["train/learning_rate"]]


def test_a_schedule_without_a_length_is_as_long_as_the_training(workplace):
    schedule = ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.flat=0"]
    assert run("fit", *TINY, *schedule, "--model.lr_scheduler.epochs=null").code == 0
    assert rates_of(only_run()) == pytest.approx([0.01, 0.005])
    assert run("fit", "--ckpt_path", "last", "--trainer.max_epochs=4").code == 0
    assert rates_of(only_run()) == pytest.approx([0.01, 0.005, 0.005, 0.0025])


@pytest.mark.slow
def test_a_schedule_of_steps_is_as_long_as_the_training_too(workplace):
    options = ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.flat=0"]
    assert run("fit", *TINY, *options, "--model.lr_scheduler_interval=step").code == 0
    last = torch.load(only_run() / "last.ckpt", weights_only=True)
    assert last["lr_schedulers"][0]["epochs"] == last["global_step"]
    assert [group["lr"] for group in last["optimizer_states"][0]["param_groups"]] == [0.0] * 4


def test_epochs_in_which_nothing_would_be_learned_are_warned_of(workplace):
    schedule = ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.epochs=2"]
    assert run("fit", *TINY, *schedule).err == ""
    outcome = run("fit", "--ckpt_path", "last", "--trainer.max_epochs=4")
    assert outcome.code == 0
    assert (
        "lr_scheduler.epochs is 2, but trainer.max_epochs is 4: the epochs from 3 on have the learning rate 0"
        in outcome.err
    )
    assert rates_of(only_run())[2:] == [0, 0]


def test_only_files_that_are_there_are_named(workplace):
    outcome = run("fit", *TINY, "--trainer.limit_val_batches=0", "--trainer.max_epochs=1")
    assert "(config.yaml, last.ckpt, metrics.csv)" in outcome.out


def test_an_exported_net_has_no_settings_to_be_tested_with(trained):
    ffrecur.save(ffrecur.load(only_run()), "exported")
    outcome = run("test", "--ckpt_path=exported")
    assert outcome.code == 2
    assert "checkpoint is 'exported', an exported net, which keeps no settings of its run: ffrecur.load" in outcome.err


def test_fit_last_without_a_run_starts_one_and_says_so(workplace):
    outcome = run("fit", *TINY, "--ckpt_path", "last")
    assert outcome.code == 0
    assert "There is no run in 'runs' to continue: starting a new one." in outcome.out
    assert epochs_in(only_run()) == [0, 1]


def test_predict_writes_labels_scores_and_margins(trained):
    outcome = run("predict")
    assert outcome.code == 0, outcome.err
    rows = read_csv(only_run() / "predictions.csv")
    columns = ["index", "predicted_label", "predicted_class", "score_0", "score_1", "score_2", "margin"]
    assert list(rows[0]) == columns
    scores = ffrecur.load(only_run()).score(images_of_the_test()[0]).numpy()
    assert [int(row["index"]) for row in rows] == list(range(20))
    for row, expected in zip(rows, scores, strict=True):
        np.testing.assert_allclose([float(row[f"score_{c}"]) for c in range(3)], expected, rtol=1e-5)
        ordered = sorted(expected, reverse=True)
        assert int(row["predicted_label"]) == expected.argmax()
        assert float(row["margin"]) == pytest.approx(ordered[0] - ordered[1], rel=1e-3, abs=1e-6)


def test_predict_takes_unlabelled_images(trained):
    Path("mine").mkdir()
    images = images_of_the_test()[0]
    for index in range(5):
        Image.fromarray((images[index].reshape(6, 5).numpy() * 255).round().astype(np.uint8)).save(f"mine/{index}.png")
    assert run("predict", "--data.source=mine").code == 0
    rows = read_csv(only_run() / "predictions.csv")
    expected = ffrecur.load(only_run()).classify(images[:5]).tolist()
    assert [int(row["predicted_label"]) for row in rows] == expected


def test_load_needs_no_lightning(trained):
    code = (
        "import sys, torch, ffrecur; net = ffrecur.load(sys.argv[1]);"
        "print(net.classify(torch.ones(2, 30)).shape, 'lightning' in sys.modules, 'datasets' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code, only_run()], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "torch.Size([2]) False False"


@pytest.mark.parametrize("task", sorted(TASKS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.slow
def test_every_task_runs_a_few_steps_as_wide_as_it_is(task, tmp_path, monkeypatch):
    """With fewer units, see `test_compare_runs.py`: a step of the widest nets takes seconds."""
    monkeypatch.chdir(tmp_path)
    steps = [f"--trainer.limit_{part}_batches=2" for part in ("val", "test")]
    options = ["--data.source=bundled", "--data.evaluation_batch_size=20", "--data.batch_size=10", *steps]
    options += ["--data.validation_size=500"] if task.parent.name == "cifar10" else []
    outcome = run("fit", "--config", task, *options, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2")
    assert outcome.code == 0, outcome.err
    assert only_run().name.startswith(task.stem)
    assert run("test", *steps).code == 0
    results = json.loads((only_run() / "test_results.json").read_text())
    assert results["num_characters"] > 0 if task.parent.name == "text" else results["num_examples"] == 40


def test_any_number_of_layers_and_either_scheme(workplace):
    for layers in ("[9]", "[9,8,7,6]"):
        options = [f"--model.hidden_features={layers}", "--model.update_scheme=alternating", "--model.objective=paired"]
        options += ["--model.negatives=uniform", "--model.state_dropout=0.1", "--model.peer_normalization=0.01"]
        assert run("fit", *TINY, *options, f"--trainer.default_root_dir=r{len(layers)}").code == 0
        assert run("test", f"--trainer.default_root_dir=r{len(layers)}").code == 0


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_run(workplace, precision):
    assert run("fit", *TINY, f"--trainer.precision={precision}").code == 0
    assert run("test").code == 0


def test_a_training_with_nothing_to_do_leaves_the_run_as_it_was(trained):
    kept = ("config.yaml", "best.ckpt", "last.ckpt", "metrics.csv")
    before = {name: (only_run() / name).read_bytes() for name in kept}
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=1").code == 0
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=9", "--trainer.limit_train_batches=0.00001").code == 2
    assert {name: (only_run() / name).read_bytes() for name in kept} == before


def test_a_trial_run_writes_nothing(trained):
    before = snapshot(Path("runs"))
    assert run("test", "--trainer.fast_dev_run=true").code == 0
    assert snapshot(Path("runs")) == before


@pytest.mark.parametrize("name", [name for name in ffrecur.lit.__all__ if name.endswith("Module")])
def test_a_class_that_is_chosen_has_its_own_defaults(name, workplace):
    """Not those of the default class, whose settings may have the same names."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main(["fit", "--model", name, "--print_config"])
    written = yaml.safe_load(out.getvalue())["model"]["init_args"]
    own = inspect.signature(getattr(ffrecur.lit, name)).parameters
    plain = {key: each.default for key, each in own.items() if isinstance(each.default, int | float | str | list)}
    assert len(plain) > 0
    assert {key: written[key] for key in plain} == plain


def test_settings_may_stand_before_their_class(workplace):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main(["fit", "--data.frames=3", "--data=DriftDataModule", "--print_config"])
    assert yaml.safe_load(out.getvalue())["data"]["init_args"]["frames"] == 3


def test_print_config_shows_short_settings_with_comments(workplace, capsys):
    with pytest.raises(SystemExit) as stop:
        run("fit", *TINY, "--print_config=comments")
    assert stop.value.code == 0
