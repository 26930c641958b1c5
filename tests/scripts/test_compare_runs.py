"""scripts/study/compare_runs.py tells the same from the different, and every task trains the same twice."""

import json
import sys
from pathlib import Path

import compare_runs
import pytest
import torch
from running import TASK_FILES, TESTS, TINY, every_task, run, small_net, task_name

FEW = [
    "--data.source=bundled",
    "--data.batch_size=10",
    "--data.evaluation_batch_size=20",
    "--model.hidden_features=[9,8]",
]
FEW += ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--trainer.max_epochs=2"]
FEW += ["--trainer.check_val_every_n_epoch=1", "--trainer.logger=false"]


def trained_twice(*options, other=()):
    for root, more in (("a", ()), ("b", other)):
        outcome = run("fit", *options, *more, f"--trainer.default_root_dir={root}")
        assert outcome.code == 0, outcome.err
    return [next(Path(root).iterdir()) for root in ("a", "b")]


def compared(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["compare_runs.py", *(str(arg) for arg in args)])
    return compare_runs.main(), capsys.readouterr().out


@pytest.mark.slow  # test_stopping.py trains a task of each kind twice too
@pytest.mark.parametrize("task", TASK_FILES, ids=task_name)
def test_every_task_trains_the_same_twice(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out = compared(monkeypatch, capsys, *trained_twice("--config", task, *FEW, *small_net(task)))
    assert code == 0
    assert out.strip().endswith("figures agree, 0 differences")
    assert int(out.split()[0]) >= 10


def test_another_seed_is_another_run(workplace, monkeypatch, capsys):
    runs = trained_twice(*TINY, other=["--seed_everything=1"])
    code, out = compared(monkeypatch, capsys, *runs)
    assert code == 1
    assert "row 1, val/" in out
    assert "more" in out


def test_a_change_of_the_last_bit_is_seen_but_for_a_tolerance(workplace, monkeypatch, capsys):
    one, other = trained_twice(*TINY)
    checkpoint = torch.load(other / "last.ckpt", weights_only=True)
    weight = checkpoint["state_dict"]["net.head.weight"]
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    torch.save(checkpoint, other / "last.ckpt")
    code, out = compared(monkeypatch, capsys, one, other)
    assert code == 1
    assert "last.ckpt, state_dict.net.head.weight\n" in out
    assert compared(monkeypatch, capsys, one, other, "--tolerance=1e-6")[0] == 0
    metrics = other / "metrics.csv"
    rows = compare_runs.read_figures(metrics)
    loss = next(row["train/loss"] for row in rows if "train/loss" in row)
    metrics.write_text(metrics.read_text().replace(loss, str(float(loss) * 1.01)))
    assert compared(monkeypatch, capsys, one, other, "--tolerance=1e-6")[0] == 1
    assert compared(monkeypatch, capsys, one, other, "--tolerance=0.02")[0] == 0


def test_a_row_more_is_a_difference(workplace, monkeypatch, capsys):
    one, other = trained_twice(*TINY, other=["--trainer.max_epochs=1"])
    code, out = compared(monkeypatch, capsys, one, other, "--tolerance=1")
    assert code == 1
    assert "and None" in out


CURVES = TESTS / "curves"
TOLERANCE = 1e-3


def check_tested(task):
    """The run is named as its task, and can be tested."""
    (folder,) = Path("a").iterdir()
    assert folder.name.startswith(task.stem)
    assert run("test", "--trainer.default_root_dir=a", "--trainer.limit_test_batches=2").code == 0
    results = json.loads((folder / "test_results.json").read_text())
    if "StreamModule" in task.read_text():
        assert results["num_characters"] > 40, "a batch is whole documents"
    else:
        assert results["num_characters" if task.parent.name == "text" else "num_examples"] == 40


@every_task()
def test_every_task_begins_as_in_earlier_versions(task, tmp_path, monkeypatch):
    """To store a curve anew after a change that is meant: delete its file, and copy the one that the failure names."""
    monkeypatch.chdir(tmp_path)
    exact = ["--trainer.precision=32-true", "--trainer.default_root_dir=a"]  # not every processor has bfloat16
    assert run("fit", "--config", task, *FEW, *small_net(task), *exact).code == 0
    rows = compare_runs.read_figures(next(Path("a").iterdir()) / "metrics.csv")
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    (tmp_path / "losses.csv").write_text("\n".join(["train/loss", *losses]) + "\n")
    stored = CURVES / f"{task_name(task)}.csv"
    assert stored.is_file(), f"{tmp_path / 'losses.csv'} is what it was now"
    check_tested(task)
    same, lines = compare_runs.different_figures(stored, tmp_path / "losses.csv", TOLERANCE)
    assert not lines
    assert same == 2
