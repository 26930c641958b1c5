"""Classes of the user's own: given by class path, kept with the run, and imported only where they were typed."""

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from making import make_digits
from running import TINY, only_run, run

import ffrecur
from ffrecur.errors import SettingWarning
from ffrecur.lit.run.config import CONFIG_KEY
from ffrecur.lit.run.health import warn_of_chance
from ffrecur.negatives import hard_labels, uniform_labels

LAB = """
import torch
import ffrecur

class TopK(ffrecur.Goodness):
    def __init__(self, share: float = 1.0):
        self.share = share
    def value(self, state_BH):
        kept = max(1, int(self.share * state_BH.shape[-1]))
        return state_BH.square().topk(kept, dim=-1).values.mean(dim=-1, keepdim=True)

class Margin(ffrecur.Objective):
    def __init__(self, margin: float = 1.0):
        self.margin = margin
    def loss(self, positive, negatives):
        return torch.relu(self.margin - (positive - negatives)).mean(dim=0)

class Next(ffrecur.negatives.LabelNegatives):
    def __call__(self, logits_BC, labels_B, noise_BC):
        return (labels_B + 1) % logits_BC.shape[1]
"""
GOODNESS = ["--model.goodness=lab_of_mine.TopK", "--model.goodness.share=0.5"]


@pytest.fixture
def lab(workplace, monkeypatch):
    """A folder with data and with a file of classes, which no test has imported before."""
    (workplace / "lab_of_mine.py").write_text(LAB)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "lab_of_mine", raising=False)
    return workplace


@pytest.fixture
def trained_lab(staged, stage, monkeypatch):
    """A run with a goodness of the user's, in such a folder."""
    monkeypatch.syspath_prepend(stage / "here")
    monkeypatch.delitem(sys.modules, "lab_of_mine", raising=False)
    staged("trained lab", train)
    sys.modules.pop("lab_of_mine", None)
    return only_run()


def train(folder):
    make_digits(folder / "digits")
    (folder / "lab_of_mine.py").write_text(LAB)
    outcome = run("fit", *TINY, *GOODNESS)
    assert outcome.code == 0, outcome.err


def test_a_goodness_is_kept_with_the_run(trained_lab):
    assert run("test", GOODNESS[0]).code == 0
    results = json.loads((trained_lab / "test_results.json").read_text())
    assert results["net"]["goodness"] == {"class_path": "lab_of_mine.TopK", "init_args": {"share": 0.5}}
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3", GOODNESS[0]).code == 0
    assert torch.load(trained_lab / "last.ckpt", weights_only=True)["epoch"] == 2


@pytest.mark.parametrize(
    "command",
    [
        ["test"],
        pytest.param(["validate"], marks=pytest.mark.slow),
        ["fit", "--ckpt_path=last", "--trainer.max_epochs=3"],
    ],
)
def test_a_class_that_was_not_typed_is_not_imported(trained_lab, command):
    outcome = run(*command)
    name = "last.ckpt" if command[0] == "fit" else "best.ckpt"
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        f"error: model.goodness is 'lab_of_mine.TopK' in '{trained_lab / name}', a class of your own, which is imported only "
        "where it is typed: add --model.goodness=lab_of_mine.TopK"
    )
    assert "lab_of_mine" not in sys.modules


@pytest.mark.parametrize(
    "entry",
    [
        {"goodness": "lab_of_mine.TopK"},
        {"goodness.class_path": "lab_of_mine.TopK"},
        {"goodness": '{"class_path": "\\u006cab_of_mine.TopK"}'},
        {"objective": "lab_of_mine.Margin"},
        {"optimizer": "lab_of_mine.TopK"},
        {"lr_scheduler": "lab_of_mine.TopK"},
    ],
)
def test_a_class_that_a_checkpoint_names_otherwise_is_not_imported(trained_lab, entry):
    path = trained_lab / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[CONFIG_KEY]["model"]["init_args"].update({"goodness": None, **entry})
    torch.save(checkpoint, path)
    assert run("test").code == 2
    assert "lab_of_mine" not in sys.modules


@pytest.mark.parametrize("name", ["lab_of_mine.ckpt", "lab_of_mine.TopK.ckpt", "lab_of_mine.TopK"])
def test_the_name_of_a_file_types_no_class(trained_lab, name):
    checkpoint = torch.load(trained_lab / "best.ckpt", weights_only=True)
    checkpoint[CONFIG_KEY]["model"]["init_args"]["goodness"]["class_path"] = name
    torch.save(checkpoint, name)
    assert run("test", "--ckpt_path", name).code == 2
    assert "lab_of_mine" not in sys.modules


def test_a_configuration_file_that_is_given_counts_as_typed(trained_lab):
    file = trained_lab / "config.yaml"
    assert run("test", "--config", file, "--ckpt_path", trained_lab / "best.ckpt").code == 0
    outcome = run("fit", "--config", trained_lab / "config.yaml", "--trainer.max_epochs=1", "--trainer.logger=false")
    assert outcome.code == 0, outcome.err


def test_in_python_the_class_is_given(trained_lab):
    with pytest.raises(ffrecur.UserError, match=r"goodness is 'lab_of_mine.TopK', a class of your own"):
        ffrecur.load(trained_lab)
    assert "lab_of_mine" not in sys.modules
    TopK = importlib.import_module("lab_of_mine").TopK

    net = ffrecur.load(trained_lab, goodness=TopK)
    assert net.goodness_function.share == 0.5
    assert ffrecur.load(trained_lab, goodness=TopK(0.25)).goodness_function.share == 0.25
    ffrecur.save(net, "exported")
    again, images = ffrecur.load("exported", goodness=TopK), torch.rand(3, 30)
    assert torch.equal(again.score(images), net.score(images))


def test_objective_and_negatives(lab):
    options = [
        "--model.objective=lab_of_mine.Margin",
        "--model.objective.margin=2",
        "--model.negatives=lab_of_mine.Next",
    ]
    assert run("fit", *TINY, *options).code == 0
    typed = ["--model.objective=lab_of_mine.Margin", "--model.negatives=lab_of_mine.Next"]
    assert run("test", *typed).code == 0
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3", *typed).code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.goodness=lab_of_mine.Margin"], "model.goodness is 'lab_of_mine.Margin'"),
        (
            ["--model.goodness=MeanSquare", "--model.goodness.blocks=5"],
            "goodness blocks is 5, but must be a divisor of",
        ),
        (
            ["--model.goodness=MeanSquare", "--model.goodness.blocks=0"],
            "goodness blocks is 0, but must be a whole number",
        ),
        (["--model.negatives_per_case=0"], "negatives_per_case is 0, but must be a whole number of at least 1"),
        (
            ["--model.negatives_per_case=3"],
            "negatives_per_case is 3, but must be from 1 to 2, the number of wrong classes",
        ),
        (
            ["--model.negatives=lab_of_mine.Next", "--model.negatives_per_case=2"],
            "negatives_per_case is 2, but must be 1 where negatives is a class",
        ),
        (["--model.damping=[0.3,1]"], "damping is [0.3, 1.0], but must be at least 0 and less than 1"),
        (["--model.damping=[]"], "damping is [], but must be at least 0 and less than 1"),
    ],
)
def test_what_is_refused(lab, options, message):
    outcome = run("fit", *TINY, *options)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith(f"error: {message}")


@pytest.mark.parametrize("draw", [hard_labels, uniform_labels])
def test_several_negatives_are_different_and_wrong(draw):
    logits, labels = torch.randn(200, 6), torch.arange(200) % 6
    found = draw(logits, labels, torch.rand(200, 6), count=4)
    assert (found != labels[:, None]).all()
    assert all(len(set(row)) == 4 for row in found.tolist())
    noise = torch.rand(200, 6)
    assert torch.equal(draw(logits, labels, noise, count=3)[:, 0], draw(logits, labels, noise))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--model.objective=softmax"], marks=pytest.mark.slow),
        pytest.param(["--model.negatives_per_case=2"], marks=pytest.mark.slow),
        ["--model.goodness=MeanSquare", "--model.goodness.blocks=2", "--model.damping=[0.5,0.2]"],
        pytest.param(["--model.center_images=true"], marks=pytest.mark.slow),
    ],
)
def test_new_settings_are_trained_tested_and_continued(workplace, options):
    assert run("fit", *TINY, *options).code == 0
    assert run("test").code == 0
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    net = ffrecur.load(only_run())
    ffrecur.save(net, "exported")
    assert ffrecur.load("exported").settings() == net.settings()


def test_centred_images_do_not_know_their_background():
    for kind in (ffrecur.RecurrentNet, ffrecur.BackpropNet):
        net = kind(6, (5,), 3, center_images=True).double()
        torch.nn.init.normal_(net.head.weight)
        images = torch.rand(4, 6, dtype=torch.float64)
        torch.testing.assert_close(net(images + 0.3), net(images), rtol=1e-6, atol=1e-9)
        assert not torch.allclose(kind(6, (5,), 3).double()(images), net(images))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def value(self, state_BH): return state_BH.square().mean(dim=-1)",
            "goodness Wrong gives values of the shape (10,), but must give (10, 1): cases, blocks",
        ),
        ("blocks = 1", "model.goodness is 'wrong_lab.Wrong', which is not a subclass of Goodness"),
        (
            "def __init__(self, share: float = 0.5): self.kept = share\n    def value(self, state_BH): ...",
            "goodness is Wrong, whose attributes must be the arguments of its constructor, numbers or text: got an "
            "unexpected keyword argument 'kept'",
        ),
        (
            "def __init__(self, share: float = 0.5): self.share = torch.tensor(share)\n    def value(self, state_BH): ...",
            "goodness is Wrong, whose attributes must be the arguments of its constructor, numbers or text: share is a Tensor",
        ),
    ],
)
def test_a_goodness_that_is_none(lab, code, message, monkeypatch):
    (lab / "wrong_lab.py").write_text(f"import ffrecur, torch\n\nclass Wrong(ffrecur.Goodness):\n    {code}\n")
    monkeypatch.delitem(sys.modules, "wrong_lab", raising=False)
    outcome = run("fit", *TINY, "--model.goodness=wrong_lab.Wrong")
    assert outcome.code == 2, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_callback_of_ones_own_is_continued_with_the_settings_that_it_had(workplace, monkeypatch):
    """The sentence tells what to type so that the callback is there once, with its own settings and beside the others."""
    code = (
        "from lightning.pytorch.callbacks import Callback\n\nclass Told(Callback):\n"
        "    def __init__(self, word: str = 'none'): self.word = word\n"
        "    def on_train_start(self, trainer, module): print('told', self.word)\n"
    )
    (workplace / "told_lab.py").write_text(code)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "told_lab", raising=False)
    typed = ["--trainer.callbacks+=told_lab.Told", "--trainer.callbacks.word=mine", "--trainer.callbacks+=Timer"]
    assert run("fit", *TINY, *typed).code == 0
    last = only_run() / "last.ckpt"
    outcome = run("fit", "--ckpt_path=last", "--trainer.max_epochs=3")
    sentence, advice = outcome.err.splitlines()[-1].split(": add ")
    assert sentence == (
        f"error: trainer.callbacks is 'told_lab.Told' in '{last}', a class of your own, which is imported only where it is typed"
    )
    outcome = run("fit", "--ckpt_path=last", *advice.split(), "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.out.splitlines() if line.startswith("told")] == ["told mine"]


MODULES = """
import torch
from lightning import LightningDataModule
from ffrecur.data import ImageDataModule
from ffrecur.lit import RecurrentModule


class Hidden(RecurrentModule):
    def on_before_optimizer_step(self, optimizer):
        self.log("norm", self.net.head.weight.norm())


class Shown(RecurrentModule):
    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        self.log("norm", self.net.head.weight.norm())


class Plain(RecurrentModule):
    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=0.01)


class Prepared(ImageDataModule):
    def prepare_data(self):
        open("prepared", "w").close()

    def setup(self, stage):
        open("prepared").close()
        super().setup(stage)
"""


@pytest.fixture
def modules(workplace, monkeypatch):
    (workplace / "modules_lab.py").write_text(MODULES)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "modules_lab", raising=False)


def test_hooks_and_optimizers_of_ones_own(modules):
    outcome = run("fit", *TINY, "--model=modules_lab.Hidden")
    assert (outcome.code, outcome.err) == (
        2,
        "error: Hidden.on_before_optimizer_step must call super().on_before_optimizer_step(...), where RecurrentModule does its "
        "own work\n",
    )
    assert run("fit", *TINY, "--model=modules_lab.Shown", "--trainer.max_epochs=1").code == 0
    own = ["--model=modules_lab.Plain", "--data=modules_lab.Prepared"]
    assert run("fit", *TINY, *own, "--trainer.max_epochs=1").code == 0
    outcome = run("fit", "--ckpt_path=last", *own, "--trainer.max_epochs=2")
    assert outcome.code == 0, outcome.err


def test_a_file_in_another_folder_names_a_class_of_the_current_one(tmp_path):
    """In a process of its own, as the script starts: reading a file changes the folder for a while."""
    (tmp_path / "lab_of_mine.py").write_text(LAB)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("model: {init_args: {goodness: {class_path: lab_of_mine.TopK}}}")
    code = "import sys; sys.path.remove(''); from ffrecur.main import entry_point; entry_point()"
    command = ["fit", "--config", "mnist/bundled", "--config", "conf/mine.yaml", "--print_config"]
    environment = {**os.environ, "PYTHONPATH": str(Path(ffrecur.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "class_path: lab_of_mine.TopK" in done.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--model.goodness=nowhere_at_all.TopK",
            "model.goodness is 'nowhere_at_all.TopK', which cannot be imported: Module",
        ),
        ("--model.goodness=lab_of_mine.Top", "model.goodness is 'lab_of_mine.Top', but lab_of_mine has no 'Top'"),
        ("--model.negatives=lab_of_mine.TopK", "which is not a subclass of LabelNegatives"),
    ],
)
def test_why_a_class_cannot_be_used(lab, option, message):
    outcome = run("fit", *TINY, option)
    assert outcome.code == 2
    assert message in outcome.err


def test_layers_that_answer_by_chance_are_warned_of(lab):
    """Local gradients ask a layer twice; backpropagation does not."""
    net = ffrecur.RecurrentNet(6, (5, 4), num_classes=3)
    net.bottom_up[0] = torch.nn.Sequential(net.bottom_up[0], torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(5))
    with pytest.warns(SettingWarning, match=r"bottom_up\.0\.[12] is a (Dropout|BatchNorm1d), but") as said:
        warn_of_chance(net)
    assert len(said) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_chance(ffrecur.RecurrentNet(6, (5, 4), num_classes=3))
        warn_of_chance(torch.nn.Sequential(torch.nn.Dropout()))
