"""What is read from the command line before it is parsed, which run it means, and what is said and written about it."""

import csv
import os
import re
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from running import largest_file

from ffrecur import UserError
from ffrecur.lit.run import folders as runs
from ffrecur.lit.run.config import typed_value
from ffrecur.lit.run.csv_logger import ContinuedCSVLogger
from ffrecur.lit.run.known import known_classes, known_settings
from ffrecur.lit.run.messages import explain

EVALUATIONS = ["validate", "test", "predict"]
ROOT = "trainer.default_root_dir"


@pytest.fixture(autouse=True)
def current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- typed values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], None),
        (["fit", "--ckpt_path", "last"], "last"),
        (["fit", "--ckpt_path=last"], "last"),
        (["fit", "--ckpt_path=a=b.ckpt"], "a=b.ckpt"),
        (["fit", "--ckpt_path", "one", "--ckpt_path=two"], "two"),
        (["fit", "--ckpt_path"], None),  # the parser will complain
        (["fit", "--ckpt_paths=last", "--my.ckpt_path=x"], None),
        (["fit", "ckpt_path=last"], None),
    ],
)
def test_an_option_as_typed(args, expected):
    assert typed_value(args, "ckpt_path") == expected


def write_yaml(name, text):
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize("option", [["--config", "a.yaml"], ["--config=a.yaml"], ["-c", "a.yaml"]])
def test_a_value_in_a_configuration_file(option):
    write_yaml("a.yaml", "ckpt_path: best\ntrainer:\n  default_root_dir: here\n  max_epochs: 3\n")
    args = ["fit", *option]
    assert typed_value(args, "ckpt_path") == "best"
    assert typed_value(args, ROOT) == "here"
    assert typed_value(args, "trainer.max_epochs") == 3
    assert typed_value(args, "trainer.logger") is None
    assert typed_value(args, "ckpt_path.name") is None
    assert typed_value(["fit", *option, "--ckpt_path", "last"], "ckpt_path") == "last"


def test_the_last_configuration_file_that_has_it_counts():
    write_yaml("a.yaml", "ckpt_path: first\ntrainer: {default_root_dir: r}\n")
    write_yaml("b.yaml", "ckpt_path: second\n")
    args = ["fit", "--config=a.yaml", "--config", "b.yaml"]
    assert typed_value(args, "ckpt_path") == "second"
    assert typed_value(args, ROOT) == "r"


@pytest.mark.parametrize("content", ["", "[1, 2]", "word"])
def test_a_configuration_file_without_settings_is_refused(content):
    write_yaml("none.yaml", content)
    with pytest.raises(UserError, match=r"^config is 'none\.yaml', which holds no settings"):
        typed_value(["fit", "--config=none.yaml"], "ckpt_path")


def test_a_missing_configuration_file_is_left_to_the_parser():
    assert typed_value(["fit", "--config=nowhere.yaml", "--ckpt_path=x"], "ckpt_path") == "x"
    assert typed_value(["fit", "--config", "nowhere.yaml"], "ckpt_path") is None
    assert typed_value(["fit", "--config"], "ckpt_path") is None


@pytest.mark.parametrize("content", [b"a: [unclosed\n - x", b"a: b: c", b"\xff\xfe\xfa"])
def test_a_broken_configuration_file_is_told_in_one_line(content):
    Path("broken.yaml").write_bytes(content)
    with pytest.raises(UserError, match="^config is 'broken.yaml', which is not valid YAML: ") as caught:
        typed_value(["fit", "--config", "broken.yaml"], "ckpt_path")
    assert len(str(caught.value).splitlines()) == 1


# --- runs and checkpoints ---------------------------------------------------------------------------------------------


def make_run(name, time=None, files=("last.ckpt", "best.ckpt", "config.yaml"), root="runs"):
    """A run folder whose last.ckpt was written at `time`, in seconds."""
    folder = Path(root, name)
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes(b"")
        if time is not None:
            os.utime(folder / file, (time, time if file == "last.ckpt" else 10_000 - time))
    return folder


def test_the_newest_run_is_the_one_whose_last_checkpoint_is():
    assert runs.newest_run("runs") is None
    make_run("zebra", time=1_000)
    newest = make_run("ant", time=3_000)
    make_run("bee", time=2_000)
    make_run("only-best", files=["best.ckpt"])
    make_run("deeper", root="runs/nested")
    Path("runs/last.ckpt").write_bytes(b"")
    assert runs.newest_run("runs") == newest
    os.utime("runs/bee/last.ckpt", (4_000, 4_000))
    assert runs.newest_run(Path("runs")) == Path("runs/bee")


def test_of_two_runs_of_the_same_moment_the_later_name_is_the_newest():
    make_run("fit-2", time=1_000)
    make_run("fit-1", time=1_000)
    assert runs.newest_run("runs") == Path("runs/fit-2")


def test_a_new_run_folder_is_never_one_that_exists():
    made = []
    for _ in range(4):  # within one second
        folder = runs.new_run_folder("runs", "mnist")
        assert not folder.exists()
        assert re.fullmatch(r"mnist-\d{8}-\d{6}(-\d+)?", folder.name)
        assert folder.parent == Path("runs")
        folder.mkdir(parents=True)
        made.append(folder)
    assert len(set(made)) == 4


def test_a_file_of_that_name_is_in_the_way_too(monkeypatch):
    first = runs.new_run_folder("runs", "mnist")
    monkeypatch.setattr(runs, "datetime", Frozen(first.name.removeprefix("mnist-")))
    first.parent.mkdir()
    first.write_bytes(b"")
    assert runs.new_run_folder("runs", "mnist") == Path(f"{first}-2")
    Path(f"{first}-2").mkdir()
    assert runs.new_run_folder("runs", "mnist") == Path(f"{first}-3")
    assert runs.new_run_folder("elsewhere", "mnist") == Path("elsewhere", first.name)


class Frozen:
    """A clock that stands still at a moment, given as the text that a folder's name has of it."""

    def __init__(self, text):
        self.text = text

    def now(self):
        return self

    def astimezone(self):
        return self

    def __format__(self, spec):
        assert spec == "%Y%m%d-%H%M%S"
        return self.text


def test_a_checkpoint_is_of_the_run_whose_configuration_lies_beside_it():
    run = make_run("one")
    assert runs.run_of(run / "best.ckpt") == run
    bare = make_run("bare", files=["last.ckpt"])
    assert runs.run_of(bare / "last.ckpt") is None


@pytest.mark.parametrize("subcommand", ["fit", *EVALUATIONS])
def test_a_checkpoint_that_is_named(subcommand, capsys):
    complete, young = make_run("complete", time=1_000), make_run("young", time=2_000, files=["last.ckpt"])
    named = {
        "runs/complete/last.ckpt": complete / "last.ckpt",
        "runs/complete": complete / "best.ckpt",
        "runs/young": young / "last.ckpt",
    }
    for given, expected in named.items():
        assert runs.checkpoint_to_use(subcommand, given, "runs") == expected
        assert runs.checkpoint_to_use(subcommand, given, "other root") == expected
    assert capsys.readouterr().out == ""  # nothing to tell: that is what was typed
    with pytest.raises(
        UserError, match="ckpt_path is 'nowhere.ckpt', which is not there; give best, last, a .ckpt file"
    ):
        runs.checkpoint_to_use(subcommand, "nowhere.ckpt", "runs")


@pytest.mark.parametrize("subcommand", ["fit", *EVALUATIONS])
def test_last_and_best_are_those_of_the_newest_run_and_it_is_said_which(subcommand, capsys):
    make_run("older", time=1_000)
    newest = make_run("newest", time=2_000)
    for given in ("last", "best"):
        checkpoint = newest / f"{given}.ckpt"
        assert runs.checkpoint_to_use(subcommand, given, "runs") == checkpoint
        assert capsys.readouterr().out == f"Using {checkpoint}, of the newest run.\n"
    (newest / "best.ckpt").unlink()
    assert runs.checkpoint_to_use(subcommand, "best", "runs") == newest / "last.ckpt"
    assert runs.checkpoint_to_use(subcommand, "last", "runs") == newest / "last.ckpt"


def test_without_a_checkpoint_fit_starts_anew_and_the_others_take_the_best(capsys):
    newest = make_run("newest")
    assert runs.checkpoint_to_use("fit", None, "runs") is None
    assert capsys.readouterr().out == ""
    for subcommand in EVALUATIONS:
        assert runs.checkpoint_to_use(subcommand, None, "runs") == newest / "best.ckpt"
        assert capsys.readouterr().out == f"Using {newest / 'best.ckpt'}, of the newest run.\n"
    (newest / "best.ckpt").unlink()
    for subcommand in EVALUATIONS:
        assert runs.checkpoint_to_use(subcommand, None, "runs") == newest / "last.ckpt"


@pytest.mark.parametrize("given", ["last", "best"])
def test_fit_without_a_run_to_continue_starts_one_and_says_so(given, capsys):
    assert runs.checkpoint_to_use("fit", given, "runs") is None
    assert capsys.readouterr().out == "There is no run in 'runs' to continue: starting a new one.\n"


@pytest.mark.parametrize("subcommand", EVALUATIONS)
@pytest.mark.parametrize(("given", "told"), [(None, "not given"), ("last", "last"), ("best", "best")])
def test_the_others_without_a_run_are_refused(subcommand, given, told):
    make_run("elsewhere", root="other")
    if (subcommand, given) == ("predict", None):  # it uses a net that comes with ffrecur
        assert runs.checkpoint_to_use(subcommand, given, "runs") == Path("museum/digits")
        return
    with pytest.raises(UserError, match=f"^ckpt_path is {told}, but there is no run in 'runs' yet; train one with"):
        runs.checkpoint_to_use(subcommand, given, "runs")


# --- metrics.csv ------------------------------------------------------------------------------------------------------


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log(folder, *rows):
    """One session of a logger, which logs and is closed."""
    logger = ContinuedCSVLogger(folder)
    for step, row in rows:
        logger.log_metrics(row, step=step)
    logger.finalize("success")


def test_metrics_are_in_the_run_folder_itself(tmp_path):
    folder = tmp_path / "runs" / "one"
    log(folder, (0, {"error": 0.5}))
    assert read_rows(folder / "metrics.csv") == [{"step": "0", "error": "0.5"}]


def test_a_continued_logger_appends(tmp_path):
    log(tmp_path / "run", (0, {"error": 0.5}), (1, {"error": 0.25}))
    log(tmp_path / "run", (2, {"error": 0.125}))
    log(tmp_path / "run")  # a session without anything to log
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert rows == [{"step": str(step), "error": value} for step, value in enumerate(["0.5", "0.25", "0.125"])]


def test_new_columns_lose_no_rows(tmp_path):
    log(tmp_path / "run", (0, {"b": 1.0}), (0, {"d": 2.0}))
    log(tmp_path / "run", (1, {"a": 3.0, "b": 4.0}), (2, {"c": 5.0}))
    log(tmp_path / "run", (3, {"d": 6.0}))
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert [{name: value for name, value in row.items() if value} for row in rows] == [
        {"step": "0", "b": "1.0"},
        {"step": "0", "d": "2.0"},
        {"step": "1", "a": "3.0", "b": "4.0"},
        {"step": "2", "c": "5.0"},
        {"step": "3", "d": "6.0"},
    ]
    assert all(row.keys() == {"a", "b", "c", "d", "step"} for row in rows)
    header, *_ = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert sorted(header.split(",")) == ["a", "b", "c", "d", "step"]


def test_nothing_is_lost_before_the_first_new_row(tmp_path):
    """Lightning's own logger would delete the file as soon as it is opened."""
    folder = tmp_path / "run"
    log(folder, (0, {"error": 0.5}))
    before = (folder / "metrics.csv").read_bytes()
    logger = ContinuedCSVLogger(folder)
    assert logger.experiment is logger.experiment
    assert (folder / "metrics.csv").read_bytes() == before
    with pytest.warns(UserWarning, match="will be deleted"):
        _ = CSVLogger(tmp_path, name="run", version="").experiment
    assert not (folder / "metrics.csv").exists()


def test_an_empty_file_gets_its_header(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_bytes(b"")
    log(tmp_path / "run", (0, {"error": 0.5}))
    assert read_rows(tmp_path / "run" / "metrics.csv") == [{"error": "0.5", "step": "0"}]


def test_rows_are_added_at_the_end_and_kept_nowhere_else(tmp_path):
    logger = ContinuedCSVLogger(tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    for step in range(5):
        logger.log_metrics({"error": 0.5}, step=step)
        logger.save()
        assert logger.experiment.metrics == []
        assert len(read_rows(path)) == step + 1
        if step == 0:
            file = path.stat().st_ino
    assert path.stat().st_ino == file, "the same file, not a new one for each row"


def test_a_row_that_the_disk_takes_in_part_is_taken_back(tmp_path):
    logger = ContinuedCSVLogger(tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    logger.log_metrics({"error": 0.5}, step=0)
    logger.save()
    before = path.read_bytes()
    with largest_file(len(before) + 2), pytest.raises(OSError, match="File too large"):
        logger.log_metrics({"error": 0.25}, step=1)
    assert path.read_bytes() == before
    logger.save()  # with room again
    assert read_rows(path) == [{"error": "0.5", "step": "0"}, {"error": "0.25", "step": "1"}]


# --- messages ---------------------------------------------------------------------------------------------------------

# What jsonargparse 4.53 says of a setting within `--model`; the rest of its report is the same for each.
WITHIN_MODEL = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'lightning.pytorch.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
{report}
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='some', val='thing')"""
OWN = """    - Parser key "{key}":
        Expected a {expected}. Got value: {value}"""
OPTIONAL = """    - Parser key "head_weight_decay":
        Does not validate against any of the Union subtypes
        Subtypes: [<class 'float'>, <class 'NoneType'>]
        Errors:
          - Expected a <class 'float'>
          - Expected a <class 'NoneType'>
        Given value type: <class 'str'>
        Given value: x"""
OF_THE_TRAINER = """Parser key "trainer.max_epochs":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'int'>, <class 'NoneType'>]
  Errors:
    - Expected a <class 'int'>
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: few"""
NO_SUCH_CLASS = """    - Parser key "optimizer":

        - Expected a path but Adamm either not accessible or invalid
        - Expected a dot import path string: Adamm"""
NO_SUCH_SETTING = "    - Option 'dampning' is not accepted"


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        (
            "argument subcommand: invalid choice: 'fitt' (choose from 'fit', 'validate', 'test', 'predict')",
            ["fitt"],
            "subcommand is 'fitt', but must be fit, validate, test, predict, generate, export, runs or report (nearest: fit)",
        ),
        (
            "argument subcommand: invalid choice: 'xyzzy' (choose from 'fit', 'validate', 'test', 'predict')",
            ["xyzzy"],
            "subcommand is 'xyzzy', but must be fit, validate, test, predict, generate, export, runs or report",
        ),
        (
            'expected "subcommand" to be one of {fit,validate,test,predict}, but it was not provided.',
            [],
            "subcommand is missing; give fit, validate, test, predict, generate, export, runs or report",
        ),
        (
            "unrecognized arguments: --trainer.max_epoch=3",
            ["fit", "--trainer.max_epoch=3"],
            "--trainer.max_epoch is not an option (nearest: --trainer.max_epochs)",
        ),
        (
            "Unrecognized arguments: --data.batchsize 3",
            ["fit", "--data.batchsize", "3"],
            "--data.batchsize is not an option (nearest: --data.batch_size)",
        ),
        ("unrecognized arguments: --qqq", ["fit", "--qqq"], "--qqq is not an option"),
        (
            WITHIN_MODEL.format(report=NO_SUCH_SETTING),
            ["fit", "--data.source=digits", "--model.dampning=0.3"],
            "model.dampning is not a setting (nearest: model.damping)",
        ),
        (
            WITHIN_MODEL.format(report=NO_SUCH_CLASS),
            ["fit", "--model.optimizer=Adamm"],
            "model.optimizer is 'Adamm', which is not the name of a class (nearest: Adam)",
        ),
        (
            WITHIN_MODEL.format(report=OWN.format(key="damping", expected="<class 'float'>", value="much")),
            ["fit", "--model.damping", "much"],
            "model.damping is much, but must be a number",
        ),
        (
            WITHIN_MODEL.format(
                report=OWN.format(key="objective", expected="typing.Literal['logistic', 'paired']", value="hinge")
            ),
            ["fit", "--model.objective=hinge"],
            "model.objective is hinge, but must be one of 'logistic', 'paired'",
        ),
        (
            WITHIN_MODEL.format(report=OWN.format(key="window", expected="tuple with 2 elements", value="[3]")),
            ["fit", "--model.window=[3]"],
            "model.window is [3], but must be tuple with 2 elements",
        ),
        (
            WITHIN_MODEL.format(report=OPTIONAL),
            ["fit", "--model.head_weight_decay=x"],
            "model.head_weight_decay is x, but must be a number or null",
        ),
        (
            OF_THE_TRAINER,
            ["fit", "--trainer.max_epochs=few"],
            "trainer.max_epochs is few, but must be a whole number or null",
        ),
        (
            OF_THE_TRAINER.replace("  Given value type", "    - Expected an <class 'int'>\n  Given value type"),
            ["fit", "--trainer.max_epochs=few"],
            "trainer.max_epochs is few, but must be a whole number or null",  # each type once
        ),
        (
            # Nobody typed it: it comes from a configuration file, whose name of it is all that is known.
            WITHIN_MODEL.format(report=OWN.format(key="damping", expected="<class 'float'>", value="much")),
            ["fit", "--config", "mine.yaml"],
            "damping is much, but must be a number",
        ),
        ("damping is 1.5, but must be less\n  than 1", ["fit"], "damping is 1.5, but must be less than 1"),
    ],
)
def test_a_mistake_is_explained_in_one_line(message, args, expected):
    assert explain(message, args) == expected


def test_names_that_are_offered_are_those_of_the_classes():
    settings = known_settings()
    offered = ["model.hidden_features", "model.window", "data.source", "trainer.max_epochs", "ckpt_path", "config"]
    assert set(offered) <= set(settings)
    assert not any(name.endswith((".self", ".optim")) for name in settings)
    classes = known_classes()
    assert {"RecurrentModule", "FlatThenLinear", "ImageDataModule", "Adam", "SGD", "CosineAnnealingLR"} <= set(classes)
