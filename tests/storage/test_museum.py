"""The nets that come with ffrecur: whole, of this version, found by name, and as good as their cards say."""

import csv
import json
import shutil
from pathlib import Path

import make_museum
import pytest
import torch
from making import check_same_net, drawn_net
from PIL import Image
from running import ROOT, run, snapshot

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.commands.generate import main as generate
from ffrecur.storage import museum
from ffrecur.storage.exported import read_exported

NAMES = museum.names()
CARDS = {name: museum.read_card(museum.place_of(name)) for name in NAMES}
DIGITS = [name for name in NAMES if "digits" in name]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(version):
    return tuple(int(part) for part in version.split("."))


# --- what is in the package -------------------------------------------------------------------------------------------


def test_it_has_the_nets_that_the_script_makes():
    assert [f"museum/{name}" for name in sorted(make_museum.EXHIBITS)] == NAMES
    assert make_museum.size_of(museum.MUSEUM) <= make_museum.LIMIT


def test_nets_are_replaced_only_with_a_version():
    recorded = json.loads((museum.MUSEUM / make_museum.SUMS).read_text())
    newest = max(recorded, key=numbers)
    assert numbers(newest) <= numbers(ffrecur.__version__)
    changed = "a file of ffrecur/museum is not that of this version: scripts/release/make_museum.py makes them anew"
    assert make_museum.sums_of(museum.MUSEUM) == recorded[newest], changed


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_its_net_was_made(name):
    card = CARDS[name]
    assert card["name"] == name
    assert card["command"].startswith("ffrecur fit --config ")
    assert card["run"]["ffrecur_config"]["seed_everything"] == card["seed"] == 0
    assert card["run"]["ffrecur_config"]["data"]["init_args"]["source"] == "bundled"
    assert not [line for line in json.dumps(card, indent=0).splitlines() if '"/' in line or "\\\\" in line], "no paths"


@pytest.mark.parametrize("name", NAMES)
def test_a_net_comes_back_in_float32_as_it_was_rounded(name, empty):
    found, (entry, weights) = ffrecur.load(name), read_exported(museum.place_of(name))
    assert found.settings() == entry["settings"]
    assert not found.training
    for key, tensor in found.state_dict().items():
        assert (tensor.dtype, weights[key].dtype) == (torch.float32, torch.float16)
        assert torch.equal(tensor, weights[key].float())


def test_the_page_has_what_the_cards_say():
    rows = {}
    for line in (ROOT / "docs" / "museum.md").read_text().splitlines():
        if line.startswith("| `museum/"):
            name, _, command, stored, before, size = (cell.strip(" `") for cell in line.strip("|").split("|"))
            rows[name] = (command, stored, before, size)
    assert sorted(rows) == NAMES
    for name, card in CARDS.items():
        texts = [
            f"{found['error']:.1%}".replace("%", " %")
            if "error" in found
            else f"{found['bits_per_character']:.3f} bits"
            for found in (card["test"]["as_stored"], card["test"]["before_rounding"])
        ]
        size = (museum.place_of(name) / "model.safetensors").stat().st_size
        assert rows[name] == (card["command"], *texts, f"{size / 1e6:.1f} MB")


# --- names ------------------------------------------------------------------------------------------------------------


def test_what_the_user_has_wins(empty):
    own = drawn_net(seed=3).double()
    ffrecur.save(own, "museum/digits")
    check_same_net(ffrecur.load("museum/digits"), own)
    assert ffrecur.load("museum/fables").head.weight.dtype == torch.float32  # the others are found
    assert museum.standing_in("museum/digits") == museum.MUSEUM / "digits"
    assert museum.standing_in("museum/fables") == Path("museum/fables")


def test_a_name_that_there_is_not(empty):
    with pytest.raises(ffrecur.UserError) as caught:
        ffrecur.load("museum/digit")
    listed = f"{', '.join(NAMES[:-1])} and {NAMES[-1]}"
    assert (
        str(caught.value)
        == f"checkpoint is 'museum/digit', which is not there; the nets that come with ffrecur are {listed}"
    )
    assert run("test", "--ckpt_path=museum/digit").err == f"error: {caught.value}\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "cannot be read"), ("[]", "has no settings of a run"), ('{"run": 3}', "has no settings")],
)
def test_a_damaged_card(empty, content, told):
    shutil.copytree(museum.MUSEUM / "digits", "copy")
    check_same_net(ffrecur.load("copy"), ffrecur.load("museum/digits"))  # a copy is as good
    Path("copy/card.json").write_text(content)
    outcome = run("test", "--ckpt_path=copy")
    assert outcome.code == 2
    assert outcome.err.startswith("error: checkpoint is 'copy', whose card.json ")
    assert told in outcome.err


# --- commands before any training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIGITS)
def test_predictions_are_as_good_as_the_card_says(empty, name):
    """So the net is used with the window, and all other settings, that it was trained and tested with."""
    options = [] if name == "museum/digits" else ["--ckpt_path", name]
    outcome = run("predict", *options)
    assert outcome.code == 0, outcome.err
    said = "Using museum/digits, which comes with ffrecur; train your own with `ffrecur fit`.\n"
    assert outcome.out.startswith(said) == (not options)
    (table,) = Path("runs").glob("*/predictions.csv")
    with table.open(newline="") as file:
        predicted = [int(row["predicted_label"]) for row in csv.DictReader(file)]
    wrong = sum(label != number % 10 for number, label in enumerate(predicted))  # the classes take turns
    assert wrong / len(predicted) == pytest.approx(CARDS[name]["test"]["as_stored"]["error"])


def test_predictions_of_images_of_ones_own(empty):
    Path("scans").mkdir()
    for number in range(3):
        Image.new("L", (28, 28), 40 * number).save(f"scans/{number}.png")
    assert run("predict", "--data.source=scans").code == 0
    (table,) = Path("runs").glob("*/predictions.csv")
    with table.open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["0.png", "1.png", "2.png"]


def test_a_net_of_another_kind_is_told_by_its_name(empty):
    told = "model is FeedForwardModule, which trains a FeedForwardNet, but museum/digits holds a RecurrentNet"
    assert run("predict", "--model=FeedForwardModule").err == f"error: {told}\n"


def test_generate_says_which_net_it_uses(empty, capsys):
    assert generate(["--prompt", "the fox ", "--length", "12"]) == 0
    written = capsys.readouterr()
    assert written.out.startswith("the fox ")
    assert len(written.out) == 8 + 12 + 1
    assert written.err == (
        "Using museum/fables, which comes with ffrecur; train your own with `ffrecur fit --config text/bundled`.\n"
    )
    assert generate(["--prompt", "the fox ", "--length", "12", "--checkpoint", "museum/fables"]) == 0
    assert capsys.readouterr() == (written.out, "")


def test_a_net_can_be_exported(empty):
    assert export(["--checkpoint", "museum/digits", "--output", "mine"]) == 0
    check_same_net(ffrecur.load("mine"), ffrecur.load("museum/digits"))


@pytest.mark.parametrize("given", ["museum/digits", str(museum.MUSEUM / "digits")])
def test_no_training_goes_on_from_one(empty, given):
    outcome = run("fit", f"--ckpt_path={given}")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: ckpt_path is '{given}', an exported net without the state of its training, which `fit` cannot go on with; "
        "give a checkpoint or the folder of a run\n"
    )
    assert snapshot(Path()) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_test_finds_what_the_card_says(empty, name):
    assert run("test", "--ckpt_path", name).code == 0
    (results,) = Path("runs").glob("*/test_results.json")
    found = json.loads(results.read_text())
    for figure, value in CARDS[name]["test"]["as_stored"].items():
        assert found[figure] == pytest.approx(value, abs=1e-4)
    assert found["checkpoint"] == name.removeprefix("museum/")
