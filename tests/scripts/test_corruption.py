"""scripts/study/corruption.py: which nets it reads, the errors and means by hand, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import classifiers
import corruption
import corruption_tables
import pytest
import torch
from attacks import ATTACKS, BUDGETS
from corruptions import APART, CORRUPTIONS, corrupted
from making import make_digits, write_checkpoint
from matplotlib.figure import Figure

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.errors import UserError

SETTINGS = {"window": (3, 5), "head_weight": 0.2, "temperature": 0.1}


def constant(label, classes=3):
    """A net that gives every image the same label."""
    net = ffrecur.BackpropNet(30, (4,), classes)
    torch.nn.init.constant_(net.head.bias[label : label + 1], 1.0)
    return net


def nets():
    """One of each kind, for images of 6x5 with three classes."""
    torch.manual_seed(0)
    made = {
        "recurrent": ffrecur.RecurrentNet(30, (6, 5), 3, sign=-1),
        "labels": ffrecur.FeedForwardNet(30, (6, 5), 3, "pixels"),
        "none": ffrecur.FeedForwardNet(30, (6, 5), 3, None),
        "backprop": constant(1),
        "convolution": ffrecur.BackpropNet(30, (4,), 3, channels=[2], kernel=3, image_shape=[6, 5]),
    }
    for net in made.values():
        if net is not made["backprop"]:
            torch.nn.init.normal_(net.head.weight)
    return made


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with data and a folder for each exported net."""
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    for name, net in nets().items():
        ffrecur.save(net, name)
    return tmp_path


def typed(monkeypatch, *arguments):
    """What the command does: its exit code."""
    monkeypatch.setattr(sys, "argv", ["corruption.py", *arguments])
    try:
        corruption.main()
    except SystemExit as stopped:
        return stopped.code
    return 0


FEW = ["--source=digits", "--limit=7", "--attacked=2"]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_by_hand(tmp_path):
    """A net that always says 1 is wrong where the label is not 1; all are shown all corruptions, videos too."""
    labels = torch.tensor([1, 1, 0, 1])
    found = [classifiers.classifier(name, net.eval(), SETTINGS) for name, net in nets().items()]
    figures = corruption.Figures(tmp_path / "corruption.json", {}, found)
    corruption.measure(found, torch.rand(4, 30), labels, (6, 5), figures)
    corruption.attack(found, torch.rand(4, 30), labels, figures)
    assert list(figures.errors) == ["clean", *CORRUPTIONS, APART, *ATTACKS]
    for name, of in figures.errors.items():
        assert list(of) == list(nets())
        assert of["backprop"] == [0.25] * (1 if name == "clean" else 5)
    assert len(corruption_tables.draw(figures.errors, list(nets())).axes) == 12


def test_a_score_is_that_of_the_net_with_the_settings_of_its_run():
    images = torch.rand(4, 30)
    for name, net in nets().items():
        each = classifiers.classifier(name, net.eval(), SETTINGS)
        assert torch.allclose(each.slopes(images), each.logits(images), atol=1e-4)
        assert torch.equal(each.classify(images), each.logits(images).argmax(dim=1))
    net = nets()["recurrent"]
    assert torch.equal(
        classifiers.classifier("", net, SETTINGS).logits(images), net.score(images, (3, 5), head_weight=0.2) / 0.1
    )


def test_contrast_and_background_change_nothing_for_centred_nets():
    """They map every value of an image by one straight line; centring and normalising take it off."""
    images = torch.rand(4, 30)
    net = nets()["recurrent"]
    logits = {}
    for net.center_images in (False, True):
        score = classifiers.classifier("", net.eval(), SETTINGS).logits
        shown = [corrupted(name, 0.3, images, 0, (6, 5)) for name in ("contrast", "background")]
        logits[net.center_images] = [torch.allclose(score(each), score(images), atol=1e-3) for each in shown]
    assert logits == {False: [False, False], True: [True, True]}


def test_a_recurrent_net_sees_videos_and_the_others_average_over_frames():
    videos = torch.rand(8, 4, 30)
    recurrent, *others = [classifiers.classifier(name, net.eval(), SETTINGS) for name, net in nets().items()]
    assert torch.equal(recurrent.classify(videos), recurrent.net.score(videos, (3, 5), 0.2).argmax(dim=1))
    for each in [recurrent, *others, classifiers.parts(recurrent)[1]]:
        mean = torch.stack([torch.log_softmax(each.logits(frame), dim=1) for frame in videos[:5]]).mean(dim=0)
        assert torch.equal(each.classify(videos, frame_by_frame=True), mean.argmax(dim=1))
        assert each is recurrent or torch.equal(each.classify(videos), mean.argmax(dim=1))


def test_a_drift_frame_by_frame_is_of_the_same_videos():
    images = torch.rand(4, 30)
    assert torch.equal(corrupted(APART, 2, images, 0, (6, 5)), corrupted("drift", 2, images, 0, (6, 5)))


def test_a_drift_lasts_as_long_as_a_net_looks(tmp_path):
    images, labels = torch.rand(4, 30), torch.tensor([1, 1, 0, 1])
    shorter = [classifiers.classifier(name, net.eval(), SETTINGS) for name, net in nets().items()]
    longer = classifiers.classifier("longer", nets()["recurrent"], {**SETTINGS, "window": (8, 11)})
    figures = [
        corruption.Figures(tmp_path / f"{n}.json", {}, each) for n, each in enumerate((shorter, [*shorter, longer]))
    ]
    corruption.measure(shorter, images, labels, (6, 5), figures[0])
    corruption.measure([*shorter, longer], images, labels, (6, 5), figures[1])
    for name, of in figures[0].errors.items():
        assert {**of, "longer": figures[1].errors[name]["longer"]} == figures[1].errors[name]


def test_images_of_another_shape_are_refused_for_maps():
    maps = ffrecur.RecurrentNet(in_shape=(6, 5), units_per_place=(1,), field=3, num_classes=3)
    local = ffrecur.FeedForwardNet(30, num_classes=3, layers=[{"in_shape": [6, 5], "kernel": 3, "out_channels": 1}])
    dense = nets()["recurrent"]
    for net, shape in ((maps, (6, 5, 1)), (local, (6, 5, 1)), (dense, None)):
        found = classifiers.shape_read(net)
        assert (found if found is None else tuple(found)) == shape


def test_the_parts_of_a_recurrent_net():
    images = torch.rand(4, 30)
    whole, other = (classifiers.classifier(name, nets()[name], SETTINGS) for name in ("recurrent", "labels"))
    cut, head = classifiers.parts(whole)
    assert classifiers.parts(other) == []
    assert cut.net.top_down[0].weight.abs().max() == 0
    assert torch.equal(cut.net.top_down[1].weight, whole.net.top_down[1].weight)
    assert torch.equal(head.logits(images), whole.net.one_pass_logits(images))
    assert torch.allclose(head.slopes(images), head.logits(images))
    assert len({each.identity() for each in (whole, cut, head)}) == 3


def test_means_by_hand():
    """Relative: each corruption's errors by those of the baseline, and then the mean; what else there is does not count."""
    errors = {name: {"a": [0.2, 0.4], "b": [0.1, 0.3]} for name in CORRUPTIONS}
    errors["noise"] = {"a": [0.1, 0.1], "b": [0.4, 0.4]}
    errors |= {"clean": {"a": [0.05], "b": [0.01]}, APART: {"a": [0.9], "b": [0.8]}}
    errors["PGD"] = {"a": [1.0, 1.0], "b": [0.5, 1.0]}
    means = corruption_tables.summary(errors, ["a", "b"], "b")
    assert means["a"]["mean"] == pytest.approx((9 * 0.3 + 0.1) / 10)
    assert means["a"]["relative"] == pytest.approx((9 * 0.3 / 0.2 + 0.1 / 0.4) / 10)
    assert means["b"]["relative"] == pytest.approx(1)
    assert means["b"]["PGD"] == pytest.approx(0.75)
    table = corruption_tables.printed(means, "b")
    assert means["a"]["mean, frame by frame"] == pytest.approx((8 * 0.3 + 0.1 + 0.9) / 10)
    lines = ["| relative to b | 138 | 100 |", "| drift, frame by frame | 90 | 80 |", "| the mean with it | 34 | 28 |"]
    assert "\n".join([*lines, "| PGD | 100 | 75 |"]) in table
    assert "relative" not in corruption_tables.printed(corruption_tables.summary(errors, ["a", "b"], None), None)
    errors["blur"]["b"] = [0.0, 0.0]
    assert corruption_tables.summary(errors, ["a"], "b")["a"]["relative"] is None


def test_seeds_of_one_net_by_hand():
    """A group's error is the mean over its seeds, strength by strength; the deviation is that of their means."""
    errors = {name: {"a#0": [0.2, 0.4], "b": [0.1, 0.3], "a#1": [0.4, 0.4]} for name in CORRUPTIONS}
    errors["clean"] = {"a#0": [0.05], "b": [0.01], "a#1": [0.07]}
    names = ["a#0", "b", "a#1"]
    together = corruption_tables.over_seeds(errors, names)
    assert together["blur"]["a"] == pytest.approx([0.3, 0.4])
    assert together["clean"] == {"a": [pytest.approx(0.06)], "b": [0.01]}
    spread = corruption_tables.deviations(errors, names)
    assert set(spread) == {"a"}
    assert spread["a"]["mean"] == pytest.approx(0.1 / 2**0.5)
    means = corruption_tables.summary(together, ["a", "b"], "b")
    assert means["a"]["relative"] == pytest.approx(0.35 / 0.2)
    table = corruption_tables.printed(means, "b", spread)
    assert "| clean | 6 ± 1.4 | 1 |" in table
    assert "| mean over corruptions | 35 ± 7.1 | 20 |" in table


# --- the command ------------------------------------------------------------------------------------------------------


def test_every_kind_of_net_in_one_command(place, monkeypatch, capsys):
    runs = ["recurrent", "labels", "none", "mine=backprop", "convolution"]
    assert typed(monkeypatch, *runs, *FEW, "--parts", "--baseline=labels", "--output=made") == 0
    names = ["recurrent", "recurrent, no top-down", "recurrent, its head", "labels", "none", "mine", "convolution"]
    report = json.loads(Path("made/corruption.json").read_text())
    assert report["about"] == {"source": "digits", "split": "validation", "images": 7, "attacked": 2}
    assert report["strengths"]["PGD"] == list(BUDGETS)
    assert list(report["means"]) == names
    assert report["means"]["labels"]["relative"] in (None, pytest.approx(1))
    out = capsys.readouterr().out
    assert "| error, % | " + " | ".join(names) + " |" in out
    assert Path("made/corruption.png").stat().st_size > 10_000


def test_seeds_share_a_column(place, monkeypatch, capsys):
    monkeypatch.setattr(corruption, "draw", lambda errors, nets: Figure())
    runs = ["none", "two#0=backprop", "two#1=labels"]
    assert typed(monkeypatch, *runs, *FEW, "--attacked=0", "--baseline=two") == 0
    report = json.loads(Path("corruption.json").read_text())
    assert list(report["means"]) == ["none", "two"]
    assert list(report["nets"]) == ["none", "two#0", "two#1"]
    assert set(report["standard_deviations"]) == {"two"}
    assert "| error, % | none | two |" in capsys.readouterr().out


def test_what_is_there_is_not_measured_again(place, monkeypatch, capsys):
    measured = []
    monkeypatch.setattr(corruption, "draw", lambda errors, nets: Figure())
    monkeypatch.setattr(classifiers.Classifier, "classify", counted(classifiers.Classifier.classify, measured))
    options = [*FEW, "--attacked=0"]
    assert typed(monkeypatch, "backprop", *options) == 0
    assert set(measured) == {"backprop"}
    first = json.loads(Path("corruption.json").read_text())["errors"]
    measured.clear()
    assert typed(monkeypatch, "none", "backprop", *options) == 0
    assert set(measured) == {"none"}
    report = json.loads(Path("corruption.json").read_text())
    assert {name: of["backprop"] for name, of in report["errors"].items()} == {
        name: of["backprop"] for name, of in first.items()
    }
    report["strengths"]["blur"][0] += 1  # an older version, with other strengths
    Path("corruption.json").write_text(json.dumps(report))
    measured.clear()
    assert typed(monkeypatch, "backprop", *options) == 0
    assert measured == ["backprop"] * 5
    ffrecur.save(constant(0), "backprop")  # another net of that name
    measured.clear()
    assert typed(monkeypatch, "none", "backprop", *options) == 0
    assert measured.count("none") == 5  # the blur, left out before
    assert measured.count("backprop") == 56
    capsys.readouterr()
    assert typed(monkeypatch, "none", "--source=digits", "--limit=5") == 2
    assert "give another folder" in capsys.readouterr().err


def test_a_baseline_may_be_one_of_the_runs_or_another(place):
    for runs, baseline, names, name in (
        (["none", "mine=backprop"], "mine", ["none", "mine"], "mine"),
        (["none", "mine=backprop"], "mine=backprop", ["none", "mine"], "mine"),
        (["none"], "backprop", ["none", "backprop"], "backprop"),
        (["none"], None, ["none"], None),
        (["none", "two#0=backprop", "two#1=labels"], "two", ["none", "two#0", "two#1"], "two"),
        (["none", "two#0=backprop"], "two#0", ["none", "two#0"], "two"),
    ):
        nets, found = corruption.chosen(runs, baseline, False)
        assert ([net.name for net in nets], found) == (names, name)


def counted(classify, measured):
    def classify_and_count(self, *shown):
        measured.append(self.name)
        return classify(self, *shown)

    return classify_and_count


def test_a_checkpoint_tells_how_it_scored(tmp_path):
    file = write_checkpoint(nets()["recurrent"], tmp_path / "best.ckpt")
    stored = torch.load(file, weights_only=True)
    settings = {"window": [2, 4], "head_weight": 0.3, "temperature": 0.7}
    torch.save({**stored, "hyper_parameters": settings}, file)
    for run in (tmp_path, file):
        found = classifiers.read(str(run))
        assert found.settings == {"window": (2, 4), "head_weight": 0.3, "temperature": 0.7}
        assert found.name == tmp_path.name
    torch.save(
        {**stored, "hyper_parameters": settings, "ffrecur_config": {"model": {"init_args": {"window": [1, 2]}}}}, file
    )
    assert classifiers.read(str(file)).settings["window"] == (1, 2)


def test_a_net_of_the_museum_keeps_its_name_and_settings():
    found = classifiers.read("museum/digits_feedforward")
    assert found.name == "museum/digits_feedforward"
    assert found.settings == {"window": (3, 5), "head_weight": 0.1, "temperature": 0.1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "checkpoint is 'nowhere'"),
        (["text"], "run is 'text', which holds a CharNet, but must hold a net that classifies images"),
        (
            ["headless"],
            "run is 'headless', whose net was trained without labels and has no head, so it gives no scores",
        ),
        (["backprop", "none", "a=none", "a=labels"], "run is 'a' twice: give names, such as first=RUN second=RUN"),
        (["=backprop"], "run is '=backprop', but must be RUN or name=RUN"),
        (["backprop", "four"], "run is 'four', whose classes are not those of 'backprop'"),
        (
            ["wide"],
            "run is 'wide', whose net reads images of 31 values, but those of data.source have 6x5, 30 values",
        ),
        (
            ["turned"],
            "run is 'turned', whose net reads images of 5x6, but those of data.source have 6x5, 30 values",
        ),
        (["backprop", "--limit=0"], "--limit is 0, but must be a whole number of at least 1"),
        (["backprop", "--output=digits/t10k-labels-idx1-ubyte"], "--output is 'digits/t10k-labels-idx1-ubyte', which"),
        (["backprop", "--source=elsewhere"], "data.source is 'elsewhere'"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(place, monkeypatch, capsys, arguments, message):
    ffrecur.save(ffrecur.CharNet("abc", 3, [4]), "text")
    ffrecur.save(ffrecur.FeedForwardNet(30, (4,), None, None), "headless")
    ffrecur.save(constant(1, classes=4), "four")
    ffrecur.save(ffrecur.BackpropNet(31, (4,), 3), "wide")
    ffrecur.save(ffrecur.BackpropNet(30, (4,), 3, channels=[2], kernel=3, image_shape=[5, 6]), "turned")
    code = typed(monkeypatch, *arguments, *([] if "--source=elsewhere" in arguments else ["--source=digits"]))
    assert code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")
    assert not Path("corruption.json").exists()


def test_a_file_that_is_damaged_is_not_written_over(place, monkeypatch, capsys):
    Path("corruption.json").write_text("{")
    assert typed(monkeypatch, "backprop", *FEW) == 2
    assert "corruption.json that cannot be read" in capsys.readouterr().err
    assert Path("corruption.json").read_text() == "{"


def test_two_nets_of_other_names_for_their_classes(place):
    found = [classifiers.classifier(name, constant(1), SETTINGS) for name in "ab"]
    for each, classes in zip(found, ("xyz", "zyx"), strict=True):
        each.net.class_names = tuple(classes)
    data = ImageDataModule("digits")
    data.setup("test")
    with pytest.raises(UserError, match="'b', whose classes are not those of 'a'"):
        classifiers.match(found, data)
