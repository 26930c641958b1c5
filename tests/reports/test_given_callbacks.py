"""Kind 3: what the user gives stands beside what a run has of its own, or in its place."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from running import TINY, only_run, run, slow

FIT = ["fit", *TINY]
CALLBACK = "--trainer.callbacks+="


@pytest.mark.parametrize("enabled", [[], ["--trainer.enable_progress_bar=true"]], ids=["by default", "asked for"])
def test_a_progress_bar_of_the_users_is_the_only_one(workplace, enabled):
    outcome = run(*FIT, *enabled, CALLBACK + "TQDMProgressBar", "--trainer.callbacks.refresh_rate=1")
    assert outcome.code == 0, outcome.err
    assert "Epoch 1" in outcome.err + outcome.out
    assert "epoch 1  " not in outcome.out, "no lines of ours beside it"


def test_a_progress_bar_where_none_is_wanted_is_refused_with_what_was_typed(workplace):
    outcome = run(*FIT, "--trainer.enable_progress_bar=false", CALLBACK + "TQDMProgressBar")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: --trainer.enable_progress_bar=false {CALLBACK}TQDMProgressBar: ")


@pytest.mark.parametrize("monitor", ["val/error", "train/loss"])
def test_a_checkpoint_of_the_users_stands_beside_ours(workplace, monitor):
    given = [CALLBACK + "ModelCheckpoint", f"--trainer.callbacks.monitor={monitor}", "--trainer.callbacks.save_top_k=3"]
    outcome = run(*FIT, *given)
    assert outcome.code == 0, outcome.err
    theirs = [path for path in only_run().rglob("*.ckpt") if path.name not in ("best.ckpt", "last.ckpt")]
    assert len(theirs) == 2, "one an epoch"
    states = torch.load(only_run() / "last.ckpt", weights_only=True)["callbacks"]
    assert {name.partition("{")[0] for name in states} >= {"BestCheckpoint", "ModelCheckpoint", "LastCheckpoint"}
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    assert run("test").code == 0


def test_two_checkpoints_of_the_users(workplace):
    given = [CALLBACK + "ModelCheckpoint", "--trainer.callbacks.monitor=val/error", "--trainer.callbacks.dirpath=best"]
    given += [
        CALLBACK + "ModelCheckpoint",
        "--trainer.callbacks.every_n_train_steps=2",
        "--trainer.callbacks.dirpath=steps",
    ]
    assert run(*FIT, *given, "--trainer.callbacks.save_top_k=-1").code == 0
    assert len(list(Path("steps").iterdir())) == 3, "of six steps"
    assert len(list(Path("best").iterdir())) == 1


def test_the_best_figure_of_a_run_of_an_earlier_version_is_kept(trained):
    """Its state lies under the name of Lightning's class: without it the next epoch would always be the best."""
    last = only_run() / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    own = next(name for name in checkpoint["callbacks"] if name.startswith("BestCheckpoint"))
    state = checkpoint["callbacks"].pop(own)
    state["best_model_score"] = torch.tensor(-1.0)  # lower than any error
    checkpoint["callbacks"][own.replace("BestCheckpoint", "ModelCheckpoint", 1)] = state
    torch.save(checkpoint, last)
    before = (only_run() / "best.ckpt").read_bytes()
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=4").code == 0
    assert (only_run() / "best.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    "given",
    [
        ["LearningRateMonitor"],
        slow(["ModelSummary", "--trainer.callbacks.max_depth=3"]),
        ["EarlyStopping", "--trainer.callbacks.monitor=val/error"],
        slow(["LambdaCallback"]),
        ["GradientAccumulationScheduler", "--trainer.callbacks.scheduling={1: 2}"],
        slow(["Timer", "--trainer.callbacks.duration=00:01:00:00"]),  # of the others, see test_typed_values.py
    ],
    ids=lambda given: given[0],
)
def test_callbacks_that_work(workplace, given):
    outcome = run(*FIT, CALLBACK + given[0], *given[1:])
    assert outcome.code == 0, outcome.err
    with (only_run() / "metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["train/loss"]] == ["0", "1"]
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0


@pytest.mark.parametrize("plugin", ["AsyncCheckpointIO", "lightning.fabric.plugins.TorchCheckpointIO"])
def test_a_way_to_write_checkpoints_of_the_users_is_the_only_one(workplace, plugin):
    outcome = run(*FIT, f"--trainer.plugins={plugin}")
    assert outcome.code == 0, outcome.err
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0


OWN = """
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset

class Own(lightning.LightningDataModule):
    in_features, num_classes = 4, 2
    def __init__(self, seed: int = 0):
        super().__init__()
    def loader(self):
        return DataLoader(TensorDataset(torch.rand(12, 4), torch.arange(12) % 2), 4)
    train_dataloader = val_dataloader = test_dataloader = loader
"""


def test_a_data_module_of_the_users(tmp_path, monkeypatch):
    """It has neither a source nor images to show: it is trained on, validated and tested, without pictures of examples.

    Its class is typed each time: a checkpoint alone imports none.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_data.py").write_text(OWN)
    options, longer = ["--model.hidden_features=[5]", "--trainer.max_epochs=1"], ["--trainer.max_epochs=2"]
    for command in (["fit", *options], ["fit", "--ckpt_path=last", *longer], ["validate"], ["test"]):
        outcome = run(*command, "--data=own_data.Own")
        assert outcome.code == 0, outcome.err
    assert {path.name for path in (only_run() / "test_plots").iterdir()} == {"goodness.png", "error.png"}


PLAIN = """
import lightning, torch
from torch import nn

class Plain(lightning.LightningModule):
    def __init__(self, stop_at: int = -1, seed: int = 0):
        super().__init__()
        self.stop_at, self.net = stop_at, nn.Linear(30, 3)
    def training_step(self, batch, batch_index):
        if self.global_step == self.stop_at:
            raise ValueError("here")
        loss = nn.functional.cross_entropy(self.net(batch[0] / 255), batch[1])
        self.log("train/loss", loss)
        return loss
    def validation_step(self, batch, batch_index):
        self.log("val/error", (self.net(batch[0] / 255).argmax(1) != batch[1]).float().mean())
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

class WithoutSettings(Plain):
    def __init__(self):
        super().__init__()
"""


@pytest.fixture
def plain(workplace, monkeypatch):
    """A LightningModule that knows nothing of ours."""
    (workplace / "plain_module.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(workplace)
    return ["fit", "--model=plain_module.Plain", *(option for option in TINY if not option.startswith("--model"))]


@pytest.mark.parametrize(
    "more", [[], [CALLBACK + "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"]], ids=["", "averaged"]
)
def test_a_module_of_the_users_is_trained(plain, more):
    outcome = run(*plain, *more)
    assert outcome.code == 0, outcome.err
    for name in ("best.ckpt", "last.ckpt"):
        assert "net.weight" in torch.load(only_run() / name, weights_only=True)["state_dict"]


def test_an_error_of_a_module_of_the_users_names_the_last_checkpoint(plain):
    """Three steps an epoch: it cannot be taken back to its fifth step, so that the checkpoint of the epoch's end stands."""
    outcome = run(*plain, "--model.stop_at=5")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: --model=plain_module.Plain --model.stop_at=5: ValueError: here (plain_module.py, line "
    )
    assert outcome.err.endswith(f"; the last checkpoint is in {only_run() / 'last.ckpt'}\n")
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_module_without_settings_is_trained_and_not_continued(plain):
    command = [option.replace(".Plain", ".WithoutSettings") for option in plain]
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    before = (only_run() / "last.ckpt").read_bytes()
    outcome = run(*command, "--ckpt_path=last")
    assert outcome.code == 2
    checkpoint = only_run() / "last.ckpt"
    assert f"error: checkpoint is '{checkpoint}', which holds no ffrecur net; give a file that" in outcome.err
    assert outcome.err.endswith("; your own are tested and continued by Lightning's Trainer\n")
    assert checkpoint.read_bytes() == before
