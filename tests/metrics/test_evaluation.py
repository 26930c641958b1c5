"""What an evaluation returns: one object of plain figures, tables, texts and pictures, which files and TensorBoard show."""

import ast
import contextlib
import csv
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ffrecur
from ffrecur.commands.train import main
from ffrecur.data import CorpusDataModule, ImageDataModule
from ffrecur.lit import BackpropModule, CharBackpropModule, CharModule, RecurrentModule
from ffrecur.lit.module import NetModule
from ffrecur.lit.report.files import write_evaluation
from ffrecur.metrics.evaluation import Evaluation, Table
from ffrecur.metrics.images import ErrorRate
from ffrecur.metrics.text import NextCharacter, TextEvaluation
from ffrecur.nets.character import CharNet

PACKAGE = Path(ffrecur.__file__).parent
FIT = ["fit", "--model.hidden_features=[6]", "--data.source=digits", "--trainer.max_epochs=1"]
STAGES = {"test": "test", "validation": "validate"}
OF_RECURRENT = ["goodness", "error", "labels", "receptive_fields", "imagination", "expectation"]
KINDS = {
    "recurrent": lambda: RecurrentModule(hidden_features=[6, 5]),
    "one layer": lambda: RecurrentModule(hidden_features=[6], window=(2, 3), evaluation_iterations=3),
    "backprop": lambda: BackpropModule(hidden_features=[6]),
    "character": lambda: CharModule(hidden_features=[5, 4]),
    "character backprop": lambda: CharBackpropModule(hidden_features=[5]),
}


def typed(*args):
    """Run a command; return the exit code and what it printed on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(args))
    return code, out.getvalue(), err.getvalue()


def a_trainer(folder):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture(params=KINDS)
def evaluated(request, workplace):
    """A module of each kind, trained for two steps, its data, and a function that evaluates a split and returns what it found."""
    module = KINDS[request.param]()
    if "character" in request.param:
        Path("tales.txt").write_text("\n\n".join(f"the {animal} sat by the river." for animal in ("fox", "hen", "cow")))
        data = CorpusDataModule("tales.txt", r"\n\n", window=4)
    else:
        data = ImageDataModule("digits", batch_size=20)
    trainer = a_trainer(workplace)
    trainer.fit(module, datamodule=data)

    def evaluate(stage):
        getattr(a_trainer(workplace), STAGES[stage])(module, datamodule=data, verbose=False)
        return module.evaluated(data, stage)

    return SimpleNamespace(kind=request.param, module=module, data=data, evaluate=evaluate)


def without_nan(value):
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("stage", STAGES)
def test_figures_are_plain_and_texts_are_text(evaluated, stage):
    found = evaluated.evaluate(stage)
    assert json.loads(json.dumps(without_nan(found.figures))) == without_nan(found.figures), "no tensors, no tuples"
    assert found.text.startswith(f"\n{stage}: ")
    for table in found.tables.values():
        assert {len(row) for row in table.rows} == {len(table.header)}
        assert all(type(cell) in (str, int, float) for row in table.rows for cell in row)
    assert list(found.texts) == (["samples"] if "character" in evaluated.kind else [])


def test_the_confusion_and_the_errors_tell_of_the_same_images(evaluated):
    """The share off the diagonal is the error; each row's, the error of its class; each row counts the images of its class."""
    found = evaluated.evaluate("test")
    if "character" in evaluated.kind:
        assert found.tables == {}
        return
    rows = [row[1:] for row in found.tables["confusion"].rows]
    right, total = sum(row[place] for place, row in enumerate(rows)), sum(map(sum, rows))
    assert found.figures["error"] == pytest.approx(1 - right / total, abs=1e-12)
    assert total == found.figures["num_examples"] == 20
    assert found.figures["error_by_class"] == pytest.approx(
        [1 - row[place] / sum(row) for place, row in enumerate(rows)]
    )
    assert [sum(row) for row in rows] == torch.bincount(evaluated.data.test_set.labels).tolist()
    assert found.tables["confusion"].header[1:] == found.figures["class_names"]


def test_the_table_of_goodness_is_that_of_the_net(evaluated):
    """Of every iteration and layer: the mean under the true label, and under the others, computed here from the net itself."""
    found = evaluated.evaluate("test")
    assert ("goodness" in found.tables) == (evaluated.kind in ("recurrent", "one layer"))
    if "goodness" not in found.tables:
        return
    module, images, labels = evaluated.module, evaluated.data.test_set.images[:], evaluated.data.test_set.labels
    goodness_TLBC = module.net.label_goodness(images.float() / 255, module.evaluation_iterations)
    true_C = torch.nn.functional.one_hot(labels, 3).bool()
    rows = iter(found.tables["goodness"].rows)
    for iteration, goodness_LBC in enumerate(goodness_TLBC, start=1):
        for layer, goodness_BC in enumerate(goodness_LBC, start=1):
            expected = goodness_BC[true_C].mean().item(), goodness_BC[~true_C].mean().item()
            assert next(rows) == [iteration, layer, *(pytest.approx(value, rel=1e-5) for value in expected)]
    assert next(rows, None) is None


def test_pictures_are_drawn_when_asked_each_time_anew(evaluated, monkeypatch):
    made = []
    begin = Figure.__init__

    def counted(self, *args, **kwargs):
        made.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "__init__", counted)
    found = evaluated.evaluate("test")
    assert made == []
    drawn = found.pictures()
    assert list(drawn) == {
        "recurrent": [*OF_RECURRENT, "mistakes"],
        "one layer": [*OF_RECURRENT, "mistakes"],
        "backprop": ["mistakes"],
    }.get(evaluated.kind, ["goodness"])
    assert made == list(drawn.values())
    assert not set(map(id, found.pictures().values())) & set(map(id, drawn.values()))


def test_what_was_found_stays_when_another_split_is_evaluated(evaluated):
    """The object does not look at the module's metrics any more."""
    first = evaluated.evaluate("test")
    tables = {name: list(table.rows) for name, table in first.tables.items()}
    curves = [line.get_ydata().tolist() for picture in first.pictures().values() for line in picture.axes[0].lines]
    second = evaluated.evaluate("validation")
    assert second.text != first.text
    assert {name: list(table.rows) for name, table in first.tables.items()} == tables
    again = [line.get_ydata().tolist() for picture in first.pictures().values() for line in picture.axes[0].lines]
    assert again == curves


# --- how it is written -----------------------------------------------------------------------------------------------


class Board:
    """What a TensorBoardLogger is to `write_evaluation`."""

    def __init__(self):
        self.shown = []
        self.experiment = self

    def add_figure(self, name, figure, global_step):
        self.shown.append((name, figure, global_step))


def by_hand(**more):
    figures = {"error": 0.25, "error_by_class": [0.5, math.nan], "nested": {"share": math.nan}, "none": None}
    return Evaluation(figures, "a text", **more)


def test_an_evaluation_by_hand_is_written_as_it_is(tmp_path):
    figure, board = Figure(), Board()
    found = by_hand(
        tables={"pairs": Table(["name", "value"], [["a, b", 0.1], ["é", 3]])},
        texts={"samples": "one\n\ntwo"},
        pictures=lambda: {"curve": figure},
    )
    folder = tmp_path / "new" / "run"
    names = write_evaluation(folder, "test", found, [board], step=7)
    assert names == ["test_results.json", "test_pairs.csv", "test_samples.txt", "test_plots/"]
    results = json.loads((folder / "test_results.json").read_text())
    assert results == {"error": 0.25, "error_by_class": [0.5, None], "nested": {"share": None}, "none": None}
    assert list(results) == list(found.figures), "in order"
    with (folder / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["a, b", "0.1"], ["é", "3"]]
    assert (folder / "test_samples.txt").read_text() == "one\n\ntwo\n"
    assert (folder / "test_plots" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert board.shown == [("test_plots/curve", figure, 7)]
    assert len(list(folder.iterdir())) == len(names)


def test_figures_alone_leave_one_file(tmp_path):
    assert write_evaluation(tmp_path, "validation", by_hand()) == ["validation_results.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["validation_results.json"]


# --- modules of a researcher's own -----------------------------------------------------------------------------------

OWN = """
from typing import ClassVar
import lightning, torch
from matplotlib.figure import Figure
from torch import nn
from ffrecur.lit import BackpropModule
from ffrecur.metrics.evaluation import Table

class Own(BackpropModule):
    target = "val/loudness"
    logged = ("error", "loudness")
    refused: ClassVar = {"predict": "which is too much to ask"}
    next_commands = ("my_lab listen",)
    def new_evaluation(self):
        found = super().new_evaluation()
        compute = found.compute
        found.compute = lambda: {**compute(), "loudness": torch.tensor(0.125)}
        return found
    def evaluated(self, data, stage):
        found = super().evaluated(data, stage)
        units = Table(["unit"], [[unit] for unit in range(6)])
        return found._replace(tables={**found.tables, "units": units}, pictures=lambda: {"empty": Figure()})
    def sample_of_epoch(self, data):
        return f"epoch {self.current_epoch} of {data.num_classes} classes"

class Foreign(lightning.LightningModule):
    '''It knows nothing of ours, and has attributes of the same names.'''
    target, refused, next_commands, structure, kind = 3, ["fit"], 5, None, None
    def __init__(self, seed: int = 0):
        super().__init__()
        self.net = nn.Linear(30, 3)
    def evaluated(self):
        raise AssertionError
    adopt = sample_of_epoch = check_optimizer = match_data = evaluated
    def training_step(self, batch, batch_index):
        return nn.functional.cross_entropy(self.net(batch[0] / 255), batch[1])
    def validation_step(self, batch, batch_index):
        self.log("val/error", (self.net(batch[0] / 255).argmax(1) != batch[1]).float().mean())
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
"""


@pytest.fixture
def lab(workplace, monkeypatch):
    """An empty current folder with digits and classes of a researcher's own in `my_lab`."""
    (workplace / "my_lab.py").write_text(OWN)
    monkeypatch.syspath_prepend(workplace)


def test_the_command_line_asks_a_module_of_ones_own(lab):
    """For its target, for what is refused, for what may follow, for samples, and for what its evaluation found."""
    own = "--model=my_lab.Own"
    code, out, err = typed("fit", own, *FIT[1:])
    assert code == 0, err
    (folder,) = Path("runs").iterdir()
    assert out.endswith(f"\nNext: ffrecur test --ckpt_path {folder}\n      my_lab listen {folder}\n")
    best = torch.load(folder / "best.ckpt", weights_only=True)
    (state,) = (state for name, state in best["callbacks"].items() if name.startswith("BestCheckpoint"))
    assert (state["monitor"], float(state["best_model_score"])) == ("val/loudness", 0.125)
    (sample,) = EventAccumulator(str(folder)).Reload().Tensors("sample/text_summary")
    assert sample.tensor_proto.string_val == [b"epoch 0 of 3 classes"]
    code, _, err = typed("predict", own)
    assert (code, err) == (2, "error: subcommand is 'predict', which is too much to ask\n")
    code, out, err = typed("test", own)
    assert code == 0, err
    written = ", ".join(
        f"test_{name}"
        for name in ("results.json", "confusion.csv", "calibration.csv", "mistakes.csv", "units.csv", "plots/")
    )
    assert out.endswith(f"\nWritten to {folder}: {written}, report.html\n")
    assert (folder / "test_units.csv").read_text().split() == ["unit", *"012345"]
    assert [path.name for path in (folder / "test_plots").iterdir()] == ["empty.png"]


def test_a_module_that_is_not_ours_is_asked_nothing(lab):
    code, out, err = typed("fit", "--model=my_lab.Foreign", *FIT[2:])
    assert code == 0, err
    (folder,) = Path("runs").iterdir()
    assert "Next:" not in out, "no command reads its net"
    assert (folder / "best.ckpt").is_file()


def families(base=NetModule):
    """The names of all classes of ours below `NetModule`, and of our data modules."""
    below = {name for kind in base.__subclasses__() for name in families(kind)}
    return {base.__name__, *below}


def test_neither_the_report_nor_the_command_line_asks_of_what_family_a_module_is():
    """`NetModule` alone is told from a module that is not ours."""
    known = families() | {"ImageDataModule", "CorpusDataModule"}
    assert {"NetModule", "ClassifierModule", "TextModule", "RecurrentModule", "CharModule"} <= known
    for file in (*sorted((PACKAGE / "lit" / "report").glob("*.py")), PACKAGE / "commands" / "train.py"):
        tree = ast.parse(file.read_text())
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert named & known <= {"NetModule"}, file.name


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [[12], [5, 7], [1] * 12])
def test_errors_of_several_scores_are_those_of_each(split):
    scores = torch.randn(2, 3, 12, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(4, (12,), generator=torch.Generator().manual_seed(1))
    together = ErrorRate(2, 3)
    for part, truth in zip(scores.split(split, dim=2), labels.split(split), strict=True):
        together.update(part, truth)
    found = together.compute()
    assert found["num_examples"] == 12
    for i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        wrong = sum(int(row.argmax()) != label for row, label in zip(scores[i, j], labels.tolist(), strict=True))
        assert found["error"][i, j].item() == wrong / 12


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_text_is_measured_by_score_and_by_head_in_whole_precision(weight, dtype):
    net = CharNet("abc ", window=3, hidden_features=(6, 5), goodness_weight=weight)
    torch.nn.init.normal_(net.head.weight)
    contexts = torch.randint(4, (30, 3), generator=torch.Generator().manual_seed(0))
    truth = torch.randint(4, (30,), generator=torch.Generator().manual_seed(1))
    found = TextEvaluation()
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        for part, symbols in zip(contexts.split(7), truth.split(7), strict=True):
            found.update(net, part, symbols)
    with torch.no_grad():
        for prefix, logits in (("", net.score(contexts)), ("head_", net.logits(contexts))):
            alone = NextCharacter()
            alone.update(logits, truth)
            for name, value in alone.compute().items():
                if prefix + name != "head_num_characters":
                    assert found.compute()[prefix + name] == pytest.approx(value, rel=1e-6)
    figures = found.compute()
    assert (figures["bits_per_character"] == figures["head_bits_per_character"]) == (weight == 0)
