"""scripts/study/study.py: trainings that go on and are not mixed up, results that last, and which images validated in a run."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import classifiers
import overfitting
import pytest
import seeds
import study
import torch
from making import drawn, make_digits
from running import ROOT, run

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.errors import UserError


class Trainer:
    """Stands for the command line: makes the files that a run leaves; `codes` are those of the next trainings."""

    def __init__(self, *codes):
        self.codes, self.commands = list(codes), []

    def __call__(self, arguments):
        self.commands.append(arguments)
        root = Path(next(arg for arg in arguments if arg.startswith("--trainer.default_root_dir")).partition("=")[2])
        begun = [arg for arg in arguments if arg.startswith("--ckpt_path=")]
        run = Path(begun[0].partition("=")[2]).parent if begun and arguments[0] == "fit" else root / "task-1"
        run.mkdir(parents=True, exist_ok=True)
        (run / "last.ckpt").touch()
        (run / "metrics.csv").write_text("epoch,train/minutes\n0,1.5\n1,\n1,3.0\n")
        for part in ("validation", "test"):
            (run / f"{part}_results.json").write_text(json.dumps({"error": 0.02, "one_pass_error": 0.03}))
        return self.codes.pop(0) if arguments[0] == "fit" and self.codes else 0

    @property
    def fits(self):
        return [command for command in self.commands if command[0] == "fit"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text("trainer: {max_epochs: 2}\n")
    return tmp_path


def trainer(monkeypatch, *codes):
    made = Trainer(*codes)
    monkeypatch.setattr(study, "ffrecur", made)
    return made


# --- trainings --------------------------------------------------------------------------------------------------------


def test_a_training_that_has_ended_is_left_alone_and_one_that_was_stopped_goes_on(place, monkeypatch):
    command = trainer(monkeypatch, 143)
    with pytest.raises(SystemExit, match="143"):
        study.trained(Path("t"), "task.yaml", ["--seed_everything=0"])
    assert not any(arg.startswith("--ckpt_path") for arg in command.fits[0])
    assert study.trained(Path("t"), "task.yaml", ["--seed_everything=0"]) == Path("t/task-1")
    assert "--ckpt_path=t/task-1/last.ckpt" in command.fits[1]
    study.trained(Path("t"), "task.yaml", ["--seed_everything=0"])
    assert len(command.fits) == 2


def test_a_training_is_not_taken_for_another(place, monkeypatch):
    command = trainer(monkeypatch)
    study.trained(Path("t"), "task.yaml", ["--model.damping=0"])
    with pytest.raises(UserError, match="'t' has a training with other settings"):
        study.trained(Path("t"), "task.yaml", ["--model.damping=0.9"])
    Path("task.yaml").write_text("trainer: {max_epochs: 3}\n")
    with pytest.raises(UserError, match="'t' has a training with other settings"):
        study.trained(Path("t"), "task.yaml", ["--model.damping=0"])
    Path("t/asked.json").unlink()
    with pytest.raises(UserError, match="'t' has a training with other settings"):  # nobody knows what it was asked
        study.trained(Path("t"), "task.yaml", ["--model.damping=0"])
    assert len(command.fits) == 1


KNOWN = {"plain": ("task.yaml", []), "changed": ("task.yaml", ["--model.sign=1"])}


def studied(names, file, options=(), found=KNOWN):
    return study.study(found, names, [0], Path(file), options, ("error", "minutes"), "last")


def test_results_are_those_of_the_same_options(place, monkeypatch):
    trainer(monkeypatch)
    row = {"error": 0.02, "minutes": 3.0}
    asked = [study.settings_in("task.yaml")]
    assert studied(["plain"], "s/study.json") == {"plain": {"0": {**row, "options": asked}}}
    both = studied(["changed"], "s/study.json")
    assert list(both) == ["plain", "changed"]
    with pytest.raises(UserError, match="plain, seed 0, was run with another task or other options below 's'"):
        studied(["plain"], "s/study.json", ["--data.batch_size=20"])
    before = Path("task.yaml").read_text()
    Path("task.yaml").write_text(before + "seed_everything: 3\n")
    with pytest.raises(UserError, match="plain, seed 0, was run with another task or other options below 's'"):
        studied(["plain"], "s/study.json")
    Path("task.yaml").write_text(before)
    Path("other.yaml").write_text("trainer: {max_epochs: 3}\n")
    others = {"plain": ("other.yaml", []), "new": ("other.yaml", ["--model.sign=1"])}
    assert list(studied(["new"], "s/study.json", found=others)) == ["new"], "the other task's rows are of another task"
    assert set(json.loads(Path("s/study.json").read_text())) == {"plain", "changed", "new"}


def test_results_that_are_damaged_are_not_written_over(place, monkeypatch):
    command = trainer(monkeypatch)
    Path("study.json").write_text("{")
    with pytest.raises(UserError, match=r"'study\.json' cannot be read"):
        studied(["plain"], "study.json")
    assert Path("study.json").read_text() == "{"
    assert not command.commands


def test_a_task_may_be_named_and_what_is_none_is_told(place):
    assert study.settings_in("mnist/small")["trainer"]["max_epochs"] > 1
    with pytest.raises(UserError, match=r"config is 'mnist/smal', which cannot be read \(nearest task: mnist/small\)"):
        study.settings_in("mnist/smal")
    Path("text.yaml").write_text("a word")
    with pytest.raises(UserError, match="but must be a configuration file"):
        study.settings_in("text.yaml")


def test_seeds_go_on_where_they_were_stopped(place, monkeypatch, capsys):
    command = trainer(monkeypatch, 0, 143)
    monkeypatch.setattr(sys, "argv", ["seeds.py", "task.yaml", "--seeds", "0", "1", "--root=s"])
    with pytest.raises(SystemExit, match="143"):
        seeds.main()
    seeds.main()
    assert len(command.fits) == 3
    assert "--ckpt_path=s/task-1/task-1/last.ckpt" in command.fits[2]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-3:-1]] == [[seed, "2.00%", "2.00%", "3.00%", "3.0"] for seed in "01"]
    assert lines[-1] == "mean test error 2.00%, standard deviation 0.00%"
    monkeypatch.setattr(sys, "argv", ["seeds.py", "nosuch.yaml"])
    with pytest.raises(SystemExit, match="2"):
        seeds.main()
    assert capsys.readouterr().err == "error: config is 'nosuch.yaml', which cannot be read\n"


# --- which images validated -------------------------------------------------------------------------------------------


def classifier(name, split):
    settings = {"window": (3, 5), "head_weight": 0.0, "temperature": 1.0}
    return classifiers.classifier(name, ffrecur.RecurrentNet(784, (4,), 10), settings, split)


class Options:
    """What a command line says of the images."""

    source, validation_size, split_seed = "bundled", None, None


def test_images_that_validate_are_those_of_the_runs(place):
    data = classifiers.images_for([classifier("a", {"validation_size": 30}), classifier("b", None)], Options, ["train"])
    assert len(data.validation_set.labels) == 30
    assert len(data.train_set.labels) == 3970
    assert classifiers.split_in(data) == {"validation_size": 30}, "what the results are kept with"
    usual = classifiers.images_for([classifier("a", {})], Options, ["validation"])
    assert len(usual.validation_set.labels) == 500


def from_run(name, **what):
    return dataclasses.replace(classifier(name, None), **what)


def test_images_are_those_of_the_runs_unless_others_are_asked_for(monkeypatch):
    kept, other = from_run("a", source="digits"), from_run("b", source="more digits")
    assert classifiers.source_of([from_run("c"), kept]) == "digits"
    assert classifiers.source_of([from_run("c")]) == "bundled", "an exported net keeps none"
    with pytest.raises(
        UserError, match="data.source must be given, since the runs have 'digits' of 'a', 'more digits' of"
    ):
        classifiers.source_of([kept, other])
    monkeypatch.setattr(Options, "source", None)
    assert classifiers.images_for([from_run("a", source="bundled")], Options, ["test"]).source == "bundled"


def test_images_that_are_not_those_of_a_training_are_refused():
    videos = [from_run("still"), from_run("moving", on_videos=True)]
    with pytest.raises(
        UserError, match="run is 'moving', which was trained on videos, but must be one trained on still"
    ):
        classifiers.refuse_videos(videos)
    classifiers.refuse_videos(videos[:1])
    turned = from_run("turned", shape=[14, 56])  # as many values as 28x28
    with pytest.raises(
        UserError, match="run is 'turned', whose net reads images of 14x56, but those of data.source have 28x28"
    ):
        classifiers.images_for([turned], Options, ["test"])
    classifiers.images_for([from_run("upright", shape=[28, 28])], Options, ["test"])


def test_a_run_tells_what_it_was_trained_on(workplace):
    tiny = ["--data.source=digits", "--model.hidden_features=[4,4]", "--trainer.max_epochs=1", "--trainer.logger=false"]
    for name, data in (("still", []), ("moving", ["--data=DriftDataModule"])):
        assert run("fit", "--model=RecurrentModule", *data, *tiny, f"--trainer.default_root_dir={name}").code == 0
        found = classifiers.read(str(next((workplace / name).rglob("*.ckpt"))))
        assert (found.source, list(found.shape), found.on_videos) == ("digits", [6, 5], name == "moving")


def test_nets_of_other_validation_images_are_refused_unless_one_says_which(place, monkeypatch):
    two = [classifier("a", {"validation_size": 30}), classifier("b", {})]
    for splits in (["validation"], ["train", "validation"]):
        with pytest.raises(UserError, match="run is 'b', in which other images validated than in 'a'"):
            classifiers.images_for(two, Options, splits)
    classifiers.images_for(two, Options, ["test"])
    monkeypatch.setattr(Options, "validation_size", 20)
    assert len(classifiers.images_for(two, Options, ["validation"]).validation_set.labels) == 20


def test_errors_on_images_that_were_trained_on_and_on_others(place, monkeypatch, capsys):
    make_digits(place / "digits")
    torch.manual_seed(0)
    for name, net in (
        ("ours", drawn(ffrecur.RecurrentNet(30, (6, 5), 3))),
        ("blind", ffrecur.FeedForwardNet(30, (4,), 3, None)),
        ("theirs", ffrecur.BackpropNet(30, (4,), 3)),
    ):
        ffrecur.save(net, name)
    monkeypatch.setattr(sys, "argv", ["overfitting.py", "ours", "blind", "theirs", "--data.source=digits", "--limit=9"])
    overfitting.main()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["net", "by", "train, 9 images", "validation, 9 images"]
    assert [line[:2] for line in lines[2:]] == [
        *(["ours", way] for way in ("score", "goodness alone", "head")),
        ["blind", "score"],
        ["theirs", "score"],
    ]
    data = ImageDataModule("digits")
    data.setup("fit")
    images, labels = data.train_set.images[:9].float() / 255, data.train_set.labels[:9]
    guesses = ffrecur.load("ours").classify(images)
    assert lines[2][2] == f"{(guesses != labels).double().mean():.2%}"


# --- what the pages say of the scripts --------------------------------------------------------------------------------

CALLED = re.compile(r"python scripts/study/(\w+\.py)([^`\n]*)")
KEEPS_RESULTS = {"ablation.py", "compare_text.py", "corruption.py", "looking.py", "sleep.py", "transfer.py"}


def called():
    """Every call of a study script on a page: page, script and options."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "log.md"]
    return [(page, *found.groups()) for page in pages for found in CALLED.finditer(page.read_text(encoding="utf-8"))]


def test_every_script_has_a_row_in_the_tables():
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    for folder in ("study", "bench"):
        for script in sorted((ROOT / "scripts" / folder).glob("*.py")):
            if 'if __name__ == "__main__":' in script.read_text(encoding="utf-8"):
                assert f"| `{script.name}` |" in page, f"{folder}/{script.name} is not in the tables"


def test_calls_on_the_pages_do_not_share_a_folder_of_results():
    seen = {}
    for page, script, options in called():
        assert (ROOT / "scripts" / "study" / script).is_file(), f"{page.name} names {script}"
        if script in KEEPS_RESULTS:
            place = re.search(r"--(?:root|output) (\S+)", options)
            key = (script, place.group(1) if place else "")
            assert seen.setdefault(key, options) == options, f"{page.name}: {script}{options} would be refused"
    assert len(seen) > 8
