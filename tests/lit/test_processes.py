"""Two processes do what one does: `--trainer.devices 2 --trainer.strategy ddp` on the CPU, really run.

Sums are taken in another order, so that the weights agree to rounding: 1e-9 in float64, after 2 epochs of Adam.
"""

import contextlib
import csv
import json
import re
from pathlib import Path

import pytest
import torch
from launching import ONE, check_weights, together
from making import make_digits, make_tales
from running import run

ADAM = ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.01", "--trainer.max_epochs=2"]
EXACT = ["--trainer.precision=64-true"]
COMMON = [*ADAM, "--model.hidden_features=[12,10]", *EXACT]
# 50 images train and 10 validate, 120 windows train and 60 validate: batches of 11, 7, 23 and 15 are cut unevenly, and
# the last ones are short.
IMAGES = ["--data.source=digits", "--data.batch_size=11", "--data.evaluation_batch_size=7"]
TEXT = ["--data=CorpusDataModule", "--data.source=tales.txt", "--data.document_separator=\\n\\n", "--data.window=4"]
TEXT += ["--data.batch_size=23", "--data.evaluation_batch_size=15", "--data.validation_size=2"]
DROPOUT = ["--model.state_dropout=0.2"]
SHIFT = ["--data.augment=[{class_path: Shift, init_args: {pixels: 2}}]"]
PEERS = ["--model.peer_normalization=0.05", "--model.image_dropout=0.2"]
OTHERWISE = ["--model.peer_normalization=0.1", "--model.memory=constant", "--model.update_scheme=alternating"]
OTHERWISE += ["--model.negatives=uniform", "--model.objective=paired", "--model.sign=-1"]
SEVERAL = ["--model.negatives_per_case=2", "--model.standardize_images=true"]
DREAMS = ["--model.negatives=dream", "--model.dream_every_steps=4", "--model.dream_depth=[1,3]"]
DREAMS += ["--model.negatives_per_case=2"]
# One document validates, so that the second process has none of them.
STREAM = ["--data.validation_size=1", "--data.batch_size=27", "--model.negatives=dream", "--model.negatives_per_case=2"]
SLEEP = ["--model.negatives=teacher_forcing", "--model.sleep=2", "--model.objective=logistic"]
SAMPLE = {
    "recurrent": [*COMMON, *IMAGES, *SHIFT, *DROPOUT, *PEERS],
    "backpropagation": ["--model=BackpropModule", *COMMON, *IMAGES, *DROPOUT],
    "hybrids": ["--model=FeedForwardModule", "--model.label=null", *COMMON, *IMAGES, *SHIFT, *DROPOUT, *PEERS],
    "dream": ["--model=CharModule", *COMMON, *TEXT, *DREAMS],
    "stream": ["--model=StreamModule", *COMMON, *TEXT, *DROPOUT, *STREAM],
}
REST = {
    "alternating": [*COMMON, *IMAGES, *OTHERWISE],
    "one_layer": [*COMMON, *IMAGES, "--model.hidden_features=[9]"],
    "label_beside": ["--model=FeedForwardModule", "--model.label=beside", *COMMON, *IMAGES, *DROPOUT, *PEERS],
    "label_in_pixels": ["--model=FeedForwardModule", *COMMON, *IMAGES, *SEVERAL],
    "local_fields": [
        "--model=FeedForwardModule",
        *ADAM,
        *EXACT,
        *IMAGES,
        "--model.layers=[{kernel: 3, out_channels: 2}]",
    ],
    "all_candidates": [*COMMON, *IMAGES, "--model.objective=softmax"],
    "maps": [*ADAM, *EXACT, *IMAGES, *SEVERAL, "--model.units_per_place=[2,1]", "--model.field=3"],
    "convolutions": ["--model=BackpropModule", "--model.channels=[4]", "--model.kernel=3", *COMMON, *IMAGES, *DROPOUT],
    "video": [*COMMON, "--data=DriftDataModule", *IMAGES, *DROPOUT, *PEERS],
    "accumulated": [*COMMON, *IMAGES, "--trainer.accumulate_grad_batches=2", "--trainer.gradient_clip_val=0.1"],
    "averaged": [
        *COMMON,
        *IMAGES,
        "--trainer.callbacks+=StochasticWeightAveraging",
        "--trainer.callbacks.swa_lrs=0.01",
    ],
    "teacher_forcing": ["--model=CharModule", *COMMON, *TEXT, *DROPOUT],
    "uniform": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=uniform"],
    "sleep": ["--model=CharModule", *COMMON, *TEXT, *SLEEP],
    "self_generated": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=self_generated"],
    "sleep_of_images": [*COMMON, *IMAGES, "--model.sleep=2", "--model.deprivation=[3,2]"],
    "fast_stream": ["--model=StreamModule", *COMMON, *TEXT, *DROPOUT, "--model.fast_weights=[3,0.9,0.5,delta]"],
    "none": ["--model=CharModule", *COMMON, *TEXT, "--model.negatives=none"],
    "character_backpropagation": ["--model=CharBackpropModule", *COMMON, *TEXT, *DROPOUT],
}
ON_DISK = [*SAMPLE["recurrent"], "--data.memory_limit=0"]
EVALUATED = {"recurrent": 10, "backpropagation": 10, "dream": 2 * 30, "stream": 30}  # samples that validate
CONTINUED = ("recurrent", "dream", "stream")


def root(name, processes):
    return f"--trainer.default_root_dir={name}-{processes}"


def folder_of(name, processes):
    (folder,) = Path(f"{name}-{processes}").iterdir()
    return folder


def fit(name, settings, processes):
    """Two epochs of five steps or six; after seven steps the state is saved."""
    saved = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=7"]
    saved += [f"--trainer.callbacks.dirpath={name}-{processes}-saved", "--trainer.callbacks.filename=seven"]
    return ["fit", *settings, *(saved if name in CONTINUED else []), root(name, processes)]


def fits(settings, processes):
    return [fit(name, own, processes) for name, own in settings.items()]


def evaluations(processes):
    found = [["validate", "--trainer.precision=64-true", root(name, processes)] for name in EVALUATED]
    return [*found, ["predict", "--trainer.precision=64-true", root("recurrent", processes)]]


def continuations(begun, processes):
    """What goes on, with so many processes, from what so many others saved amid an epoch."""
    return [
        [
            "fit",
            f"--ckpt_path={name}-{begun}-saved/seven.ckpt",
            root(f"{name}-{begun}", processes),
            "--trainer.callbacks=null",
        ]
        for name in CONTINUED
    ]


def alone(commands):
    for command in commands:
        outcome = run(*command, *ONE)
        assert outcome.code == 0, outcome.err


def place(factory):
    folder = factory.mktemp("processes")
    make_digits(folder / "digits")
    make_tales(folder / "tales.txt")
    torch.set_num_threads(1)
    return folder


DIVERGED = ["fit", *SAMPLE["recurrent"], "--model.optimizer.lr=1e300", root("diverged", 2)]


@pytest.fixture(scope="module")
def sample_runs(tmp_path_factory):
    """A folder where one process and two did the same, and what each of the two printed."""
    folder = place(tmp_path_factory)
    with contextlib.chdir(folder):
        alone(fits(SAMPLE, 1) + evaluations(1))
        commands = [*fits(SAMPLE, 2), fit("disk", ON_DISK, 2), *evaluations(2), *continuations(1, 2), DIVERGED]
        return folder, together(commands)


@pytest.fixture(scope="module")
def rest_runs(tmp_path_factory):
    """The same for the other settings."""
    folder = place(tmp_path_factory)
    with contextlib.chdir(folder):
        alone(fits(REST, 1))
        return folder, together(fits(REST, 2))


@pytest.fixture
def sample(sample_runs, monkeypatch):
    """What the two printed; the test runs in their folder."""
    folder, printed = sample_runs
    monkeypatch.chdir(folder)
    return printed


@pytest.fixture
def rest(rest_runs, monkeypatch):
    """The same for the other settings."""
    folder, printed = rest_runs
    monkeypatch.chdir(folder)
    return printed


def weights_in(name, processes):
    return torch.load(folder_of(name, processes) / "last.ckpt", weights_only=True)["state_dict"]


def figures_in(name, processes):
    with (folder_of(name, processes) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [{key: float(value) for key, value in row.items() if value and key != "train/minutes"} for row in rows]
    return [row for row in found if len(row) > 2]  # epoch and step are no figures


def check_same(name, number):
    """Hold what two processes left against what one did."""
    first, second = (torch.load(f"{number}-{rank}.pt", weights_only=True) for rank in range(2))
    check_weights(weights_in(name, 2), weights_in(name, 1))
    for key, weight in weights_in(name, 2).items():
        own = key.removeprefix("net.")
        assert torch.equal(weight, first[own])
        assert torch.equal(weight, second[own])
    one, two = figures_in(name, 1), figures_in(name, 2)
    assert len(one) == len(two) >= 2
    for row, expected in zip(two, one, strict=True):
        assert row == pytest.approx(expected, rel=1e-6, abs=1e-9)
    files = [sorted(path.name for path in folder_of(name, n).iterdir() if "events" not in path.name) for n in (1, 2)]
    assert files[0] == files[1]
    events = [len(list(folder_of(name, processes).glob("events*"))) for processes in (1, 2)]
    assert events[0] == events[1]


def test_the_first_process_speaks_and_tells_an_error_once(sample):
    (out, err, code), (other_out, other_err, other_code) = sample
    assert code == other_code == 0, err + other_err
    assert json.loads(out.splitlines()[-1]) == [0] * 14 + [2], err
    assert json.loads(other_out.splitlines()[-1]) == [0] * 15, other_err  # Lightning kills where a child fails
    errors = [line for line in (err + other_err).splitlines() if "error" in line.lower()]
    assert len(errors) == 1
    assert re.match(
        r"error: the goodness of layer 1, iteration 1, on positive data, is inf in epoch 0, batch 1: training has",
        errors[0],
    )
    assert "Run folder: recurrent-2" in out
    for line in other_out.splitlines()[:-1]:
        assert "[rank: 1] Seed set" in line or "GLOBAL_RANK: 1" in line


@pytest.mark.parametrize("name", SAMPLE)
def test_weights_figures_and_files_are_those_of_one_process(sample, name):
    check_same(name, list(SAMPLE).index(name))


def test_data_on_the_disk_end_at_the_weights_of_data_in_memory_bit_by_bit(sample):
    where = [Path(f"{number}-{rank}.txt").read_text() for number in (0, len(SAMPLE)) for rank in range(2)]
    assert where == ["Tensor", "Tensor", "MappedImages", "MappedImages"]
    for name, weight in weights_in("recurrent", 2).items():
        assert torch.equal(weight, weights_in("disk", 2)[name])
    assert figures_in("disk", 2) == figures_in("recurrent", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", REST)
def test_so_they_are_with_every_other_setting(rest, name):
    for _, err, code in rest:
        assert code == 0, err
    check_same(name, list(REST).index(name))


@pytest.mark.parametrize("name", CONTINUED)
@pytest.mark.parametrize(("begun", "ended"), [(1, 2), (2, 1)])
def test_another_number_of_processes_continues_to_the_same_weights(sample, name, begun, ended):
    if ended == 1:
        alone(command for command in continuations(begun, ended) if name in command[1])
    check_weights(weights_in(f"{name}-{begun}", ended), weights_in(name, 1))


@pytest.mark.parametrize("name", EVALUATED)
def test_results_of_an_evaluation_are_those_of_one_process(sample, name):
    one, two = (json.loads((folder_of(name, n) / "validation_results.json").read_text()) for n in (1, 2))
    numbers = {key: value for key, value in one.items() if isinstance(value, float | int)}
    assert numbers["num_characters" if name in ("dream", "stream") else "num_examples"] == EVALUATED[name]
    assert {key: two[key] for key in numbers} == pytest.approx(numbers, rel=1e-6)


def test_the_worst_mistakes_and_the_calibration_are_those_of_one_process(sample):
    for table in ("mistakes", "calibration"):
        with contextlib.ExitStack() as stack:
            files = [folder_of("recurrent", n) / f"validation_{table}.csv" for n in (1, 2)]
            one, two = (list(csv.reader(stack.enter_context(file.open(newline="")))) for file in files)
        assert len(one) == len(two)
        for row, expected in zip(two[1:], one[1:], strict=True):
            assert row[:2] == expected[:2]
            assert [float(cell or "nan") for cell in row[2:]] == pytest.approx(
                [float(cell or "nan") for cell in expected[2:]], rel=1e-5, nan_ok=True
            )


def test_predictions_are_those_of_one_process_in_the_order_of_the_data(sample):
    tables = []
    for processes in (1, 2):
        with (folder_of("recurrent", processes) / "predictions.csv").open() as file:
            tables.append([[float(value) for value in row.values()] for row in csv.DictReader(file)])
    assert [row[0] for row in tables[1]] == list(range(20))
    assert tables[1] == [pytest.approx(row, rel=1e-6, abs=1e-9) for row in tables[0]]
