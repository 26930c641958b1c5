"""scripts/study/ablation.py: every change is an option that exists, and what has been run is not run again."""

import contextlib
import doctest
import functools
import io
import json
import sys

import ablation
import pytest
from running import TASKS, slow

from ffrecur.commands.train import main
from ffrecur.errors import UserError

SMALL = ["--data.source=digits", "--data.batch_size=20", "--model.hidden_features=[6,5]", "--trainer.max_epochs=1"]
TASK = str(TASKS / "mnist" / "small.yaml")


TASKS_WITH_CHANGES = {"small": "mnist", "supervised_small": "mnist", "unsupervised": "mnist", "recurrent": "cifar10"}
SEEN = {
    "small": (),
    **dict.fromkeys(list(TASKS_WITH_CHANGES)[1:], tuple(ablation.COMMON)),
}  # what one task tries will do


def of_task(task):
    return str(TASKS / TASKS_WITH_CHANGES[task] / f"{task}.yaml")


CHANGES = [(task, name) for task in TASKS_WITH_CHANGES for name in ablation.changes_of(of_task(task))]


@functools.cache
def configuration(task, *options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        main(["fit", "--config", of_task(task), *options, "--print_config"])
    assert end.value.code == 0
    return out.getvalue()


def test_each_kind_of_net_has_changes_of_its_own():
    assert {"damping 0", "label scale 2", "3 blurs", "16 regions"} <= {name for _, name in CHANGES}
    for task, name in (
        ("small", "label scale 2"),
        ("unsupervised", "uniform negatives"),
        ("recurrent", "three hidden layers"),
    ):
        assert (task, name) not in CHANGES


def test_changes_that_cannot_fit_are_left_out(tmp_path):
    videos = ablation.changes_of(str(TASKS / "mnist" / "aperture.yaml"))
    assert "harder images" not in videos
    assert "a rate that falls from the start" in videos
    plain = tmp_path / "plain.yaml"
    plain.write_text("model: {class_path: RecurrentModule, init_args: {hidden_features: [4]}}\n")
    found = ablation.changes_of(str(plain))
    assert "harder images" in found
    assert not {"a rate that falls from the start", "a constant rate"} & set(found)


def test_what_a_task_has_already_is_no_change():
    harder = ablation.changes_of(str(TASKS / "mnist" / "recurrent.yaml"))
    assert not {"damping 0", "8 iterations", "harder images", "batch 100"} & set(harder)
    assert {"no harder images", "images not centred"} <= set(harder)
    assert "no harder images" not in ablation.changes_of(of_task("small"))
    assert harder["half the rate"] == ["--model.optimizer.lr=0.00035"], "half of what the task has"


def test_options_for_all_rows_are_part_of_the_task():
    typed = ["--model.optimizer.lr", "0.002", "--model.sign=1", "--data.source=digits"]
    found = ablation.changes_of(of_task("small"), typed)
    assert found["half the rate"] == ["--model.optimizer.lr=0.001"]
    assert found["twice the rate"] == ["--model.optimizer.lr=0.004"]
    assert "sign 1" not in found, "what all rows have is no change"
    assert "sign 1" in ablation.changes_of(of_task("small"))
    with pytest.raises(SystemExit, match="2"):
        ablation.changes_of(of_task("small"), ["--model", "lab.Own"])
    assert "threshold 0.5" not in ablation.changes_of(of_task("small"), ["--model.objective=paired", "--data.source=*"])
    swapped = ablation.changes_of(of_task("small"), ["--model.optimizer=SGD"])
    assert swapped["half the rate"] == ["--model.optimizer.lr=0.0005"]


def test_a_row_changes_one_setting_and_does_something():
    wide = ablation.changes_of(str(TASKS / "mnist" / "recurrent.yaml"))
    assert wide["one hidden layer"] == ["--model.hidden_features=[1000]"]
    assert wide["three hidden layers"] == ["--model.hidden_features=[1000, 1000, 1000]"]
    labels = ablation.changes_of(str(TASKS / "mnist" / "supervised.yaml"))
    assert labels["temperature 1/N"] == ["--model.temperature=0.001"], "its layers have 1000 units"
    assert {"threshold 0.5", "threshold 2"} <= set(labels)
    for task in ("shifts", "unsupervised"):
        paired = ablation.changes_of(str(TASKS / "mnist" / f"{task}.yaml"))
        assert not {name for name in paired if name.startswith("threshold")}, "the paired objective has none"


@pytest.mark.parametrize(
    ("options", "has", "has_not"),
    [
        (["--model.objective=softmax"], "3 negatives that stand for all", "softmax objective"),
        (
            ["--model.objective=sampled_softmax", "--model.negatives_per_case=3"],
            "softmax objective",
            "3 negatives that stand for all",
        ),
    ],
)
def test_objectives_that_choose_their_wrong_labels_have_no_rows_of_other_negatives(options, has, has_not):
    found = ablation.changes_of(of_task("small"), options)
    assert has in found
    assert not {has_not, "threshold 0.5", "uniform negatives", "3 negatives an image"} & set(found)
    settings = [option.partition("=")[0] for option in found[has]]
    assert settings == ["--model.objective", "--model.negatives_per_case"], "one refuses the number of the other"


def test_tasks_of_other_modules_are_refused():
    for task in ("mnist/backprop", "text/bundled"):
        with pytest.raises(UserError, match="but must be of a RecurrentModule or FeedForwardModule"):
            ablation.changes_of(task)


@pytest.mark.parametrize(
    ("task", "name"),
    [(task, name) if task == "small" else slow(task, name) for task, name in CHANGES if name not in SEEN[task]],
)
def test_every_change_is_accepted_and_changes_the_configuration(workplace, task, name):
    as_it_is, changed = configuration(task), configuration(task, *ablation.changes_of(of_task(task))[name])
    assert "class_path" in changed
    assert (changed == as_it_is) == (name == "as it is")


def test_examples():
    assert doctest.testmod(ablation).failed == 0


@pytest.mark.slow
def test_it_goes_on_where_it_was(workplace, monkeypatch):
    def ablate(*names, seeds="0"):
        out = io.StringIO()
        command = ["ablation.py", TASK, "--root=a", "--seeds", *seeds, "--only", *names, "--", *SMALL]
        monkeypatch.setattr(sys, "argv", command)
        with contextlib.redirect_stdout(out):
            ablation.main()
        return json.loads((workplace / "a" / "ablation.json").read_text()), out.getvalue()

    first, _ = ablate("as it is")
    assert {name: set(by_seed) for name, by_seed in first.items()} == {"as it is": {"0"}}
    assert set(first["as it is"]["0"]) == {"error", "goodness_error", "one_pass_error", "minutes", "options"}
    second, printed = ablate("as it is", "damping 0", seeds="01")
    assert {name: set(by_seed) for name, by_seed in second.items()} == {"as it is": {"0", "1"}, "damping 0": {"0", "1"}}
    assert second["as it is"]["0"] == first["as it is"]["0"]
    assert second["as it is"]["1"] != first["as it is"]["0"]
    assert "| damping 0 |" in printed
    assert not list(workplace.rglob("test_results.json"))


def test_the_table_has_means_and_differences():
    def row(error):
        return dict.fromkeys((*ablation.ERRORS, "minutes"), error)

    found = {"as it is": {"0": row(0.02), "1": row(0.04)}, "sign 1": {"0": row(0.03), "1": row(0.06)}}
    found["8 iterations"] = {"0": row(0.01)}
    lines = ablation.table(found).splitlines()[3:]
    assert lines[0] == "| as it is | 3.00% | +0.00 | 3.00% | 3.00% | 0.0 | 2 |"
    assert lines[1] == "| sign 1 | 4.50% | +1.50 | 4.50% | 4.50% | 0.0 | 2 |"
    assert lines[2] == "| 8 iterations | 1.00% | -1.00 | 1.00% | 1.00% | 0.0 | 1 |"
    assert len(lines) == 3
    assert ablation.table({"sign 1": {"0": row(0.01)}}).endswith("| sign 1 | 1.00% |  | 1.00% | 1.00% | 0.0 | 1 |")


def test_a_read_out_has_one_figure():
    lines = ablation.table({"3 blurs": {"0": {"error": 0.02, "minutes": 1.0}}}).splitlines()
    assert lines[-1] == "| 3 blurs | 2.00% |  |  |  | 1.0 | 1 |"
