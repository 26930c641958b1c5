"""Tasks that come with ffrecur are found by name, from any folder."""

from pathlib import Path

import pytest
from running import TASK_FILES, TASKS, run, task_name

from ffrecur.lit.run import tasks

SMALL = [
    "--data.source=bundled",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
]


def test_every_file_of_the_tasks_has_its_name():
    names = {file.relative_to(TASKS).with_suffix("").as_posix() for file in TASKS.glob("*/*.yaml")}
    assert names == set(tasks.shipped_tasks())
    assert {"mnist/bundled", "text/bundled"} <= names


@pytest.mark.parametrize("file", TASK_FILES, ids=task_name)
def test_the_settings_of_every_task_are_known(file):
    with pytest.raises(SystemExit) as ended:
        run("fit", "--config", file, "--print_config")
    assert ended.value.code == 0


@pytest.mark.parametrize(
    "typed", [["--config", "mnist/small"], ["--config=mnist/small.yaml"], ["--config", "tasks/mnist/small.yaml"]]
)
def test_a_task_is_found_by_name(typed, workplace):
    assert run("fit", *typed, *SMALL, "--model.hidden_features=[4]").code == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("small-")


def test_a_file_of_the_users_comes_first(workplace):
    Path("mnist").mkdir()
    Path("mnist/small.yaml").write_text("model: {init_args: {hidden_features: [3]}}\n")
    assert tasks.as_file("mnist/small.yaml") == "mnist/small.yaml"
    assert tasks.as_file("mnist/small") == str(tasks.shipped_tasks()["mnist/small"])


def test_a_name_that_no_file_can_have_is_left_alone():
    for value in ("x" * 5000, "a\0b", ""):
        assert tasks.as_file(value) == value


def test_a_wrong_name_is_told_with_the_nearest(workplace):
    outcome = run("fit", "--config=mnist/smal")
    assert (outcome.code, outcome.err) == (
        2,
        "error: config is 'mnist/smal', which is not there (nearest task: mnist/small)\n",
    )


def test_those_of_an_installation_are_found_beside_the_package(tmp_path, monkeypatch):
    folder = tmp_path / "share" / "ffrecur" / "tasks" / "own"
    folder.mkdir(parents=True)
    (folder / "one.yaml").touch()
    monkeypatch.setattr(tasks, "BESIDE", tmp_path)
    assert tasks.shipped_tasks.__wrapped__() == {"own/one": folder / "one.yaml"}
