"""Two processes do what one does: `--trainer.devices 2 --trainer.strategy ddp` on the CPU, really run.

Sums are taken in another order, so that the weights agree to rounding: 1e-9 in float64, after 2 epochs of Adam.
"""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_digits, make_tales, run

TOLERANCE = {"rtol": 0, "atol": 1e-9}
TESTS = Path(__file__).parent
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
ADAM = ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.01", "--trainer.max_epochs=2"]
COMMON = [*ADAM, "--model.hidden_features=[12,10]", "--trainer.precision=64-true"]
# 50 images train and 10 validate, 134 windows train and 68 validate: no batch of 11, 7, 23 or 15 has two equal parts.
IMAGES = ["--data.source=digits", "--data.batch_size=11", "--data.evaluation_batch_size=7"]
TEXT = ["--data=CorpusDataModule", "--data.source=tales.txt", "--data.document_separator=\\n\\n", "--data.window=4"]
TEXT += ["--data.batch_size=23", "--data.evaluation_batch_size=15", "--data.validation_size=2"]
DROPOUT = ["--model.state_dropout=0.2"]
PEERS = ["--model.peer_normalization=0.05", "--model.image_dropout=0.2"]
OTHERWISE = ["--model.peer_normalization=0.1", "--model.memory=constant", "--model.update_scheme=alternating"]
OTHERWISE += ["--model.negatives=uniform", "--model.objective=paired", "--model.sign=-1"]
DREAMS = ["--model.negatives=dream", "--model.dream_every_steps=4", "--model.dream_depth=[1,3]"]
SLEEP = ["--model.negatives=teacher_forcing", "--model.sleep=2", "--model.objective=logistic"]
SETTINGS = {
    "recurrent": [*COMMON, *IMAGES, *DROPOUT, *PEERS],
    "alternating, constant memory": [*COMMON, *IMAGES, *OTHERWISE],
    "one layer": [*COMMON, *IMAGES, "--model.hidden_features=[9]"],
    "backpropagation": ["--model=BackpropModule", *COMMON, *IMAGES, *DROPOUT],
    "teacher_forcing": ["--model=CharModule", *COMMON, *TEXT, *DROPOUT],
    "uniform": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=uniform"],
    "self_generated": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=self_generated"],
    "dream": ["--model=CharModule", *COMMON, *TEXT, *DREAMS],
    "none": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=none"],
    "sleep": ["--model=CharModule", *COMMON, *TEXT, *SLEEP],
    "character backpropagation": ["--model=CharBackpropModule", *COMMON, *TEXT, *DROPOUT],
}
NAMES = list(SETTINGS)
EVALUATED = ("recurrent", "backpropagation", "dream")


def as_one_of_two(script, argument, rank, port):
    """Start a process as a job scheduler would."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    command = [sys.executable, TESTS / script, argument]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **place, "NODE_RANK": "0"}, **pipes)


def run_two(script, argument):
    """Run a script as two processes; return what each printed, and its exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [as_one_of_two(script, argument, rank, port) for rank in range(2)]
    try:
        return [(*process.communicate(timeout=300), process.returncode) for process in both]
    finally:
        for process in both:
            process.kill()


def root(name, processes):
    return f"--trainer.default_root_dir={name}-{processes}"


def folder_of(name, processes):
    (folder,) = Path(f"{name}-{processes}").iterdir()
    return folder


def commands():
    """All that two processes do, the trainings first."""
    fits = [["fit", *SETTINGS[name], *TWO, root(name, 2)] for name in NAMES]
    rest = [["validate", "--trainer.precision=64-true", *TWO, root(name, 2)] for name in EVALUATED]
    rest += [["predict", "--trainer.precision=64-true", *TWO, root("recurrent", 2)]]
    return fits + rest


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A folder where one process and two did the same, and what each of the two printed."""
    folder = tmp_path_factory.mktemp("processes")
    make_digits(folder / "digits")
    make_tales(folder / "tales.txt")
    before = Path.cwd()
    os.chdir(folder)
    torch.set_num_threads(1)
    printed = run_two("two_processes.py", json.dumps(commands()))
    for command in commands():
        alone = [argument.replace("-2", "-1") if "root_dir" in argument else argument for argument in command]
        outcome = run(*(argument for argument in alone if argument not in TWO[1:]))
        assert outcome.code == 0, outcome.err
    yield printed
    os.chdir(before)


def weights_in(name, processes):
    return torch.load(folder_of(name, processes) / "last.ckpt", weights_only=True)["state_dict"]


def figures_in(name, processes):
    with (folder_of(name, processes) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [{key: float(value) for key, value in row.items() if value and key != "train/minutes"} for row in rows]
    return [row for row in found if len(row) > 2]  # epoch and step are no figures


def test_all_commands_end_well_and_one_process_speaks(both):
    for out, err, code in both:
        assert code == 0, err
        assert json.loads(out.splitlines()[-1]) == [0] * len(commands()), err
        assert not err
    spoken = [line for line in both[1][0].splitlines()[:-1] if not line.startswith("[rank: 1]")]
    assert [line for line in spoken if "GLOBAL_RANK: 1" not in line] == []


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_the_same_on_both_and_those_of_one_process(both, name):
    number = NAMES.index(name)
    first, second = (torch.load(f"{number}-{rank}.pt", weights_only=True) for rank in range(2))
    one, two = weights_in(name, 1), weights_in(name, 2)
    assert one.keys() == two.keys()
    for key, weight in one.items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(two[key], weight, **TOLERANCE)
        assert torch.equal(first[key.removeprefix("net.")], second[key.removeprefix("net.")]), key
        assert torch.equal(first[key.removeprefix("net.")], two[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_logged_figures_are_means_over_all_samples(both, name):
    one, two = figures_in(name, 1), figures_in(name, 2)
    assert len(one) == len(two) >= 2
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_one_run_folder_with_one_file_of_each_kind(both, name):
    one, two = (sorted(path.name for path in folder_of(name, n).iterdir() if "events" not in path.name) for n in (1, 2))
    assert two == one
    events = [len(list(folder_of(name, processes).glob("events*"))) for processes in (1, 2)]
    assert events[0] == events[1]


@pytest.mark.parametrize("name", EVALUATED)
def test_results_of_an_evaluation_are_those_of_one_process(both, name):
    one, two = (json.loads((folder_of(name, n) / "validation_results.json").read_text()) for n in (1, 2))
    numbers = {key: value for key, value in one.items() if isinstance(value, float | int)}
    assert numbers["num_characters" if name == "dream" else "num_examples"] == (68 if name == "dream" else 10)
    assert {key: two[key] for key in numbers} == pytest.approx(numbers, rel=1e-6)


def test_predictions_are_those_of_one_process_in_the_order_of_the_data(both):
    tables = []
    for processes in (1, 2):
        with (folder_of("recurrent", processes) / "predictions.csv").open() as file:
            tables.append([[float(value) for value in row.values()] for row in csv.DictReader(file)])
    assert [row[0] for row in tables[1]] == list(range(20))
    assert tables[1] == [pytest.approx(row, rel=1e-6, abs=1e-9) for row in tables[0]]
