"""Kinds of mistakes that a review found told badly, and warnings: each is one line in the words of the setting."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from running import TINY, only_run, run

from ffrecur import LocalLinear
from ffrecur.commands.parsing import exit_code
from ffrecur.errors import SettingWarning, shown
from ffrecur.lit.run.known import classes_with
from ffrecur.storage.output import tell_own_warnings

FIT = ["fit", *TINY, "--trainer.max_epochs=1"]
FEEDFORWARD = [*FIT, "--model=FeedForwardModule"]
MODELS = ["FeedForwardModule", "BackpropModule"]


@pytest.fixture(autouse=True)
def shown_as_before():
    """A command sets for its whole process how warnings are shown."""
    with warnings.catch_warnings():
        yield


def refused(*args):
    """Return the sentence that a command is refused with."""
    outcome = run(*args)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "NestedArg" not in line
    assert " at 0x" not in line
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
    return line.removeprefix("error: ")


def in_file(settings):
    """Return the option for a file with these settings of a feed-forward net."""
    Path("mine.yaml").write_text(f"model: {{class_path: FeedForwardModule, init_args: {settings}}}")
    return "--config=mine.yaml"


# --- local layers -----------------------------------------------------------------------------------------------------

LAYERS = (
    "a list with out_channels and kernel, and stride and padding where they are not 1 and 0, as whole numbers, for each "
    "layer"
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("[{kernel: 2.5, out_channels: 3}]", "[{'kernel': 2.5, 'out_channels': 3}]"),
        ("[{kernel: null, out_channels: 3}]", "[{'kernel': null, 'out_channels': 3}]"),
        ("[{kernel: true, out_channels: 3}]", "[{'kernel': true, 'out_channels': 3}]"),
        ("[[2, 3]]", "[[2, 3]]"),
        ("[3]", "[3]"),
        ("3", "3"),
        ("x", "x"),
        ("{kernel: 2}", "{'kernel': 2}"),
    ],
)
def test_layers_that_are_none(workplace, model, typed, told):
    assert (
        refused(*FIT, f"--model={model}", f"--model.layers={typed}") == f"model.layers is {told}, but must be {LAYERS}"
    )


def test_layers_in_a_file_that_are_none(workplace):
    given = in_file("{layers: [{kernel: null, out_channels: 3}]}")
    assert refused(*FIT, given) == f"layers is [{{'kernel': null, 'out_channels': 3}}], but must be {LAYERS}"


def test_a_whole_number_as_text_is_that_number(workplace):
    assert run(*FEEDFORWARD, "--model.layers=[{kernel: '2', out_channels: 3}]").code == 0
    config = yaml.safe_load((only_run() / "config.yaml").read_text())
    assert config["model"]["init_args"]["layers"] == [{"kernel": 2, "out_channels": 3}]


# --- a setting of a class that was not chosen -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "adds"),
    [
        (["--model.goodness.blocks=4"], "--model.goodness=MeanSquare"),
        (["--model.goodness=null", "--model.goodness.blocks=4"], "--model.goodness=MeanSquare"),
        (["--model.goodness.blocks=4", "--model.goodness=MeanSquare"], "--model.goodness=MeanSquare"),
        (["--model=RecurrentModule", "--model.goodness.blocks=4"], "--model.goodness=MeanSquare"),
        (["--model=CharModule", "--model.goodness.blocks=4"], "--model.goodness=MeanSquare"),
        (["--model.negatives.blurs=3"], "--model.negatives=Hybrids"),
        (["--model=RecurrentModule", "--model.negatives.blurs=3"], "--model.negatives=CLASS"),
        (["--model.negatives=hard", "--model.negatives.x=3"], "--model.negatives=CLASS"),
        (["--model.objective.temperature=0.2"], "--model.objective=Logistic"),
        (["--model.objective=paired", "--model.objective.temperature=0.2"], "--model.objective=Paired"),
        (["--model.lr_scheduler.epochs=3"], "--model.lr_scheduler=FlatThenLinear"),
        (["--model.lr_scheduler.step_size=3"], "--model.lr_scheduler=StepLR"),
        (["--trainer.callbacks.patience=3"], "--trainer.callbacks+=EarlyStopping"),
        (["--trainer.logger.x=3"], "--trainer.logger=CLASS"),
        (["--trainer.strategy.x=3"], "--trainer.strategy=CLASS"),
        (["--data.augment.pixels=3"], "--data.augment+=Shift"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_setting_before_its_class(workplace, typed, adds):
    name = next(arg for arg in typed if arg.split("=")[0].count(".") > 1).split("=")[0].removeprefix("--")
    told = refused(*FEEDFORWARD, *typed)
    assert told == f"{name} is given before the class that it belongs to: {adds}"


@pytest.mark.parametrize("offered", ["goodness=MeanSquare", "objective=Logistic", "lr_scheduler=StepLR"])
def test_the_class_that_is_offered_can_be_typed(workplace, offered):
    setting = {"goodness": "blocks=1", "objective": "temperature=0.2", "lr_scheduler": "step_size=3"}
    given = f"--model.{offered.split('=')[0]}.{setting[offered.split('=')[0]]}"
    assert run(*FEEDFORWARD, f"--model.{offered}", given, "--trainer.limit_train_batches=1").code == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{goodness: {blocks: 4}}", "goodness is {'blocks': 4}, which names no class; give class_path: MeanSquare"),
        (
            "{lr_scheduler: {epochs: 3}}",
            "lr_scheduler is {'epochs': 3}, which names no class; give class_path: FlatThenLinear",
        ),
        (
            "{objective: {temperature: 3}}",
            "objective is {'temperature': 3}, which names no class; give class_path: Logistic",
        ),
    ],
)
def test_settings_in_a_file_without_their_class(workplace, settings, told):
    assert refused(*FIT, in_file(settings)) == f"{told}, and these as its init_args"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--model.goodness=MeanSquare", "--model.goodness.nope=1"], "model.goodness.nope is not a setting"),
        (
            ["--model.goodness=MeanSquare", "--model.goodness.blocks=x"],
            "model.goodness.blocks is x, but must be a whole number",
        ),
        (["--model.label.x=4"], "model.label.x is not a setting (nearest: model.label)"),
        (["--model.head_weight.x=4"], "model.head_weight.x is not a setting (nearest: model.head_weight)"),
        (["--model.goodness=[3]"], "model.goodness is [3], but must be a class of the kind Goodness or null"),
        (["--model.optimizer.lr=fast"], "model.optimizer.lr is fast, but must be a number"),
        (
            ["--model.optimizer=SGD", "--model.optimizer.momentun=0.9"],
            "model.optimizer.momentun is not a setting of SGD (nearest: model.optimizer.momentum)",
        ),
        (
            ["--model.goodness=Nowhere"],
            "model.goodness is 'Nowhere', which is not the name of a class; one of your own is named with its module, as my_lab.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_mistakes_are_told_as_what_they_are(workplace, typed, told):
    assert refused(*FEEDFORWARD, *typed).startswith(told)


def test_a_class_is_offered_by_a_name_that_can_be_typed():
    class Own(torch.optim.lr_scheduler.LRScheduler):
        def __init__(self, own_setting):
            pass

    assert classes_with("own_setting", [torch.optim.lr_scheduler.LRScheduler]) == [], "it is not known by its name"
    assert classes_with("nothing", [torch.Tensor, torch.autograd.Function]) == [], "some of these tell no settings"


# --- objects in messages ----------------------------------------------------------------------------------------------


def test_an_object_is_told_by_its_class(workplace, monkeypatch):
    Path("lab_of_messages.py").write_text(
        "from ffrecur.negatives import ImageNegatives, LabelNegatives\n"
        "class Lab(LabelNegatives):\n    def __call__(self, *given): return given[1]\n"
        "class Im(ImageNegatives):\n    def __call__(self, *given): return given[0]\n"
    )
    monkeypatch.syspath_prepend(workplace)
    told = "hybrid or an ffrecur.negatives.ImageNegatives where label is null"
    given = ["--model.label=null", "--model.negatives=lab_of_messages.Lab"]
    assert refused(*FEEDFORWARD, *given) == f"negatives is Lab, but must be {told}"
    told = "hard, uniform or an ffrecur.negatives.LabelNegatives"
    assert refused(*FEEDFORWARD, "--model.negatives=lab_of_messages.Im") == f"negatives is Im, but must be {told}"


class Thing:
    """Something that Python shows by its place in memory."""


def test_what_is_shown_of_a_value():
    class Local:
        pass

    assert shown(Thing()) == "Thing"
    assert shown([Local(), Thing(), 1.5]) == "[Local, Thing, 1.5]"
    assert shown(test_what_is_shown_of_a_value) == "test_what_is_shown_of_a_value"
    for value in ("<b>", "a at 0x1", {"a": None}, [0.1], Thing):
        assert shown(value) == repr(value)


# --- numbers that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "name",
    ["label_scale", "threshold", "temperature", "head_weight", "peer_normalization", "weight_decay", "head_dropout"],
)
def test_a_setting_is_a_finite_number(workplace, name, value):
    told = value.replace(".", "")
    assert refused(*FEEDFORWARD, f"--model.{name}={value}") == f"{name} is {told}, but must be a finite number"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--model.objective=Logistic", "--model.objective.threshold=.inf"], "threshold is inf"),
        (["--model.optimizer.lr=.inf"], "model.optimizer.lr is inf"),
        (["--model.optimizer=SGD", "--model.optimizer.lr=.nan"], "model.optimizer.lr is nan"),
        (
            ["--model.lr_scheduler=FlatThenLinear", "--model.lr_scheduler.epochs=3", "--model.lr_scheduler.flat=.nan"],
            "flat is nan",
        ),
    ],
)
def test_so_is_one_of_a_class_that_is_chosen(workplace, typed, told):
    assert refused(*FEEDFORWARD, *typed).endswith(f"{told}, but must be a finite number")


def test_endless_seconds_are_allowed(workplace):
    assert run(*FIT, "--checkpoint_seconds=.inf").code == 0


# --- warnings ---------------------------------------------------------------------------------------------------------

UNSEEN = "14 of 30 places of the map are in no field: kernel 2, stride 3 and padding 0 leave them out"


@pytest.mark.parametrize("model", ["FeedForwardModule", "BackpropModule"])
def test_widths_that_have_no_effect_are_warned_of(model, workplace):
    local = [*FIT, f"--model={model}", "--model.layers=[{kernel: 3, out_channels: 2}]"]
    warned = "warning: hidden_features is [7], but has no effect where layers is given"
    assert warned in run(*local, "--model.hidden_features=[7]").err.splitlines()
    assert "hidden_features" not in run(*local, "--model.hidden_features=[500,500]").err, (
        "as they are without being typed"
    )
    assert "hidden_features" not in run("test").err


def test_a_warning_of_ours_is_one_line(workplace):
    outcome = run(*FEEDFORWARD, "--model.layers=[{kernel: 2, out_channels: 3, stride: 3}]")
    assert outcome.code == 0
    assert [line for line in outcome.err.splitlines() if "places" in line] == [f"warning: {UNSEEN}"]
    again = run("test")
    assert [line for line in again.err.splitlines() if "places" in line] == [f"warning: {UNSEEN}"], "in each command"


def test_commands_without_lightning_tell_it_so_too(capsys):
    def make_three(arguments):
        for _ in range(3):
            LocalLinear((6, 5), 3, 2, stride=3)

    assert exit_code(make_three, []) == 0
    assert capsys.readouterr().err == f"warning: {UNSEEN}\n"


def test_warnings_of_others_are_shown_as_before(monkeypatch):
    before, told = io.StringIO(), []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *where, **more: before.write(f"{message};"))
    tell_own_warnings(told.append)
    warnings.simplefilter("always")
    warnings.warn("theirs", UserWarning, stacklevel=1)
    for text in ("ours", "ours", "another"):
        warnings.warn(text, SettingWarning, stacklevel=1)
    assert before.getvalue() == "theirs;"
    assert told == ["ours", "another"]


def test_in_python_it_is_an_ordinary_warning():
    with pytest.warns(UserWarning, match="in no field"):
        LocalLinear((6, 5), 3, 2, stride=3)
