"""`ffrecur fit | validate | test` on text: from every source of negatives to results, resumption and mistakes."""

import csv
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from running import TINY_TEXT, only_run, run, slow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

import ffrecur
from ffrecur import CharNet
from ffrecur.data import CorpusDataModule
from ffrecur.lit import CharModule
from ffrecur.metrics.text_probes import variety as variety_of
from ffrecur.text.places import places, windows_at
from ffrecur.text.quality import distinct_4gram_ratio

NEGATIVES = ["teacher_forcing", "uniform", "self_generated", "dream", "none"]


def refused(args, *pieces):
    outcome = run(*args)
    assert outcome.code == 2, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for piece in pieces:
        assert piece in line, line


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_every_source_of_negatives_trains_and_is_tested(tales, negatives):
    outcome = run("fit", *TINY_TEXT, f"--model.negatives={negatives}")
    assert outcome.code == 0, outcome.err
    assert f"ffrecur generate --checkpoint {only_run()}" in outcome.out
    assert run("test", render=negatives == "dream").code == 0
    results = json.loads((only_run() / "test_results.json").read_text())
    assert 0 < results["bits_per_character"] < 5
    assert 0 <= results["accuracy"] <= 1
    assert len(results["auroc_by_layer"]) == len(results["auroc_by_layer_dreams"]) == 2
    for judged in (results, results["real_text"]):
        assert 0 <= judged["known_word_share"] <= 1
        assert 0 < judged["distinct_4gram_ratio"] <= 1
        assert judged["longest_copied"] >= 1
    assert (only_run() / "test_plots" / "goodness.png").is_file()
    assert len((only_run() / "test_samples.txt").read_text().split("\n\n")) == 2


@pytest.mark.parametrize(("trained_with", "typed"), [slow(0.0, None), (2.0, None), (0.0, 3.0)])
def test_results_agree_with_the_net_and_the_text(tales, trained_with, typed):
    assert run("fit", *TINY_TEXT, f"--model.goodness_weight={trained_with}").code == 0
    outcome = run("validate", *([] if typed is None else [f"--model.goodness_weight={typed}"]))
    results = json.loads((only_run() / "validation_results.json").read_text())
    net = ffrecur.load(only_run())
    texts = [
        net.encode(f"The {animal} sat on the {place}, and slept.") for animal, place in (("cat", "hen"), ("owl", "fox"))
    ]
    windows = torch.cat([text.unfold(0, 5, 1) for text in texts])
    assert results["num_characters"] == len(windows)
    assert net.goodness_weight == trained_with
    assert net.noise == "masked_head"  # it is teacher forcing
    net.goodness_weight = trained_with if typed is None else typed
    for prefix, logits in (("", net.score(windows[:, :4])), ("head_", net.logits(windows[:, :4]))):
        bits = F.cross_entropy(logits.double(), windows[:, 4]).item() / math.log(2)
        hits = (logits.argmax(dim=1) == windows[:, 4]).double().mean().item()
        assert results[f"{prefix}bits_per_character"] == pytest.approx(bits)
        assert results[f"{prefix}accuracy"] == pytest.approx(hits)
    assert ("softmax alone" in outcome.out) == (net.goodness_weight > 0)
    assert f"{results['bits_per_character']:.3f}" in outcome.out


def test_how_unknown_characters_are_read_may_change(tales):
    assert run("fit", *TINY_TEXT, "--data.alphabet=learned", "--data.unknown=error", "--trainer.max_epochs=1").code == 0
    (tales / "other.txt").write_text((tales / "tales.txt").read_text().replace("owl", "öwl"))
    refused(["test", "--data.source=other.txt"], "'ö'", "unknown drop or replace")
    for command in (["validate"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=2"]):
        assert run(*command, "--data.source=other.txt", "--data.unknown=drop").code == 0


def test_characters_that_are_cut_off_are_neither_refused_nor_counted(tales):
    (tales / "late.txt").write_text("\n\n".join(f"the fox {n} sat on the hen, and slept äöü" for n in "abcdef"))
    options = ["--data.source=late.txt", "--data.unknown=error", "--data.document_length=20", "--trainer.max_epochs=1"]
    outcome = run("fit", *TINY_TEXT, *options)
    assert outcome.code == 0, outcome.err
    assert "dropped" not in outcome.out
    refused(["fit", *TINY_TEXT, *options, "--data.document_length=null"], "document 1", "'ä' at character 37")


def test_a_depth_of_dreams_that_cannot_be_is_refused_whatever_the_negatives(tales):
    options = ["--model.negatives=self_generated", "--model.dream_depth=[5,3]"]
    refused(["fit", *TINY_TEXT, *options], "dream_depth is [5, 3]", "1 <= least <= most")


def test_what_samples_have_none_of_is_not_printed(tales):
    (tales / "digits.txt").write_text("\n\n".join(f"{n}1415926535897932384626433" for n in range(6)))
    options = ["--data.source=digits.txt", "--data.alphabet=learned", "--trainer.max_epochs=1"]
    assert run("fit", *TINY_TEXT, *options).code == 0
    outcome = run("test")
    assert "nan" not in outcome.out.lower()
    assert json.loads((only_run() / "test_results.json").read_text())["known_word_share"] is None


def test_without_negatives_the_hidden_layers_stay_as_they_are(tales):
    assert run("fit", *TINY_TEXT, "--model.negatives=none").code == 0
    states = [torch.load(only_run() / "last.ckpt", weights_only=True)["state_dict"]]
    torch.manual_seed(0)
    fresh = ffrecur.CharNet(hidden_features=(12, 10), window=4).state_dict()
    for name, weight in fresh.items():
        assert torch.equal(states[0][f"net.{name}"], weight) == name.startswith("hidden")


@pytest.mark.parametrize("negatives", ["dream", slow("self_generated"), "teacher_forcing", slow("uniform")])
def test_a_checkpoint_from_amid_an_epoch_continues_to_the_same_weights(tales, negatives):
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=11"]
    own += ["--trainer.callbacks.dirpath=mid", "--trainer.callbacks.filename=eleven"]
    options = [f"--model.negatives={negatives}", "--model.dream_every=2", "--trainer.max_epochs=3"]
    options += ["--model.sleep=4", "--model.objective=logistic"] if negatives == "teacher_forcing" else []
    if negatives == "dream":
        options += ["--model.state_dropout=0.2", "--model.dream_every_steps=4", "--model.negatives_per_case=2"]
    assert run("fit", *TINY_TEXT, *options, *own).code == 0
    outcome = run("fit", "--ckpt_path=mid/eleven.ckpt", "--trainer.default_root_dir=rest", "--trainer.callbacks=null")
    assert outcome.code == 0, outcome.err
    (rest,) = Path("rest").iterdir()
    continued, whole = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (rest, only_run()))
    assert continued["global_step"] == whole["global_step"] == 18
    for name, weight in whole["state_dict"].items():
        assert torch.equal(continued["state_dict"][name], weight), name


@pytest.mark.parametrize(
    ("options", "kinds", "noise"),
    [
        (["--model.negatives_per_case=3"], 4, "masked_head"),
        slow(["--model.negatives=uniform", "--model.negatives_per_case=29"], 30, "uniform"),
        (["--model.objective=softmax"], 30, "uniform"),
        (["--model.objective=sampled_softmax", "--model.negatives_per_case=8"], 9, "uniform"),
    ],
    ids=str,
)
def test_several_negatives_and_all_candidates(tales, options, kinds, noise, monkeypatch):
    """How many windows of a place the layers see, and what the prediction takes the negatives to be drawn from."""
    seen, wired = [], CharNet.wired
    monkeypatch.setattr(CharNet, "wired", lambda *args: seen.append(args[4]) or wired(*args))
    assert run("fit", *TINY_TEXT, "--model.goodness_weight=3", *options).code == 0
    assert kinds in seen
    net = ffrecur.load(only_run())
    assert net.noise == noise
    windows = net.encode("the cat")[None, :4]
    of_candidates = torch.stack([torch.cat([windows[0, 1:], symbol[None]]) for symbol in torch.arange(30)])
    goodness = net.goodness(of_candidates).sum(dim=0)
    q = torch.softmax(net.logits(windows), dim=1)[0]
    expected = 3 * goodness + (0 if noise == "uniform" else torch.log(q * (1 - q)))
    torch.testing.assert_close(net.score(windows)[0], expected)


def test_dreams_of_the_last_rounds(tales, monkeypatch):
    """Each window is held against what was dreamt at its place in the last rounds, of which there is one at first."""
    seen, learned = [], CharNet.local_learning

    def look(net, contexts, following, negatives, *rest):
        seen.append(negatives)
        return learned(net, contexts, following, negatives, *rest)

    monkeypatch.setattr(CharNet, "local_learning", look)
    options = ["--model.negatives=dream", "--model.dream_every_steps=2", "--model.negatives_per_case=3"]
    assert run("fit", *TINY_TEXT, *options).code == 0
    kinds = [1 if windows.ndim == 2 else windows.shape[1] for windows in seen]
    assert kinds[:7] == [1, 1, 2, 2, 3, 3, 3]
    assert set(kinds[7:]) == {3}
    assert any(not torch.equal(windows[:, 0], windows[:, 2]) for windows in seen[4:])


def test_dreams_are_watched(tales):
    assert run("fit", *TINY_TEXT, "--model.negatives=self_generated").code == 0
    with (only_run() / "metrics.csv").open(newline="") as file:
        variety = [float(row["train/dream_variety"]) for row in csv.DictReader(file) if row.get("train/dream_variety")]
    assert len(variety) == 2
    assert all(0 < value < 3 for value in variety)
    data = CorpusDataModule("tales.txt", "\\n\\n", window=4, validation_size=2)
    data.setup("fit")
    assert ffrecur.load(only_run()).noise == "head"
    net = CharNet(window=4, hidden_features=(5,))
    torch.nn.init.constant_(net.head.bias, -100.0)
    torch.nn.init.zeros_(net.head.bias[:1])  # it says "a" for ever
    real = distinct_4gram_ratio([document[4:] for document in data.train_documents])
    grams = sum(len(document) - 4 - 3 for document in data.train_documents)
    assert variety_of(net, data.train_documents, 1.0, torch.Generator()) == pytest.approx(1 / grams / real)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model.dream_every=1"], [0, 6, 12]),
        slow(["--model.dream_every=2"], [0, 12]),
        (["--model.dream_every=3", "--model.dream_every_steps=4"], [0, 4, 8, 12, 16]),
        slow(["--model.dream_every=1", "--model.dream_every_steps=4"], [0, 4, 6, 8, 12, 16]),
        (["--model.dream_every=3", "--model.dream_every_steps=3", "--trainer.accumulate_grad_batches=2"], [0, 3, 6]),
    ],
    ids=str,
)
def test_when_the_model_dreams(tales, options, expected, monkeypatch):
    """Six batches an epoch, three epochs: before which updates it dreams."""
    steps, dreams = [], []
    dream = CharModule.dream

    def watched(module, batch_index):
        steps.append(module.global_step)
        dreams.append(dream(module, batch_index))
        return dreams[-1]

    monkeypatch.setattr(CharModule, "dream", watched)
    outcome = run("fit", *TINY_TEXT, "--model.negatives=dream", "--trainer.max_epochs=3", *options)
    assert outcome.code == 0, outcome.err
    assert steps == expected
    assert all(not torch.equal(one, two) for one, two in itertools.pairwise(dreams))


def test_dreams_of_a_run_that_had_none_or_others(tales):
    """Continued in an epoch in which no dreams are due: with another source of negatives, and with other text."""
    assert run("fit", *TINY_TEXT, "--trainer.max_epochs=1").code == 0
    options = ["--model.negatives=dream", "--model.dream_every=5"]
    outcome = run("fit", "--ckpt_path=last", *options, "--trainer.max_epochs=2")
    assert outcome.code == 0, outcome.err
    for epochs, other in ((3, "--data.document_length=20"), (4, "--data.split_seed=1")):  # the last is as long
        before = dreams_of_last()
        outcome = run("fit", "--ckpt_path=last", other, f"--trainer.max_epochs={epochs}")
        assert outcome.code == 0, outcome.err
        assert dreams_of_last()["dreamt_at"] > before["dreamt_at"]
    before = dreams_of_last()
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=5").code == 0
    assert dreams_of_last()["dreamt_at"] == before["dreamt_at"], "the same text: none are due"


def dreams_of_last():
    return torch.load(only_run() / "last.ckpt", weights_only=True)["ffrecur_dreams"]


def test_a_split_that_is_not_the_trainings_is_warned_of(tales):
    """What validates may have been trained on then; these documents test too, as the source has no test split."""
    assert run("fit", *TINY_TEXT).code == 0
    warned = "data.split_seed is 3, but was null in the training: some of what is judged may have been trained on"
    for command in (["validate"], ["test"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=3"]):
        assert warned not in run(*command).err
        outcome = run(*command, "--data.split_seed=3")
        assert outcome.code == 0, outcome.err
        assert warned in outcome.err
    (tales / "more.txt").write_text((tales / "tales.txt").read_text())
    assert warned not in run("validate", "--data.source=more.txt", "--data.split_seed=3").err


def test_samples_are_in_tensorboard(tales):
    assert run("fit", *TINY_TEXT).code == 0
    events = EventAccumulator(str(only_run()), size_guidance={"tensors": 0})
    events.Reload()
    samples = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("sample/text_summary")]
    assert len(samples) == 2
    assert all(len(sample) == 4 + 200 for sample in samples)
    assert len(set(samples)) == 2


@pytest.mark.parametrize(
    "options",
    [["--model.negatives=teacher_forcing"], slow(["--model.negatives=none"]), ["--model=CharBackpropModule"]],
    ids=lambda options: options[0],
)
def test_dropout_is_of_training_alone(tales, options, monkeypatch):
    """A share of 0.9 leaves next to nothing to train with, and evaluation sees the whole net."""
    drawn = []
    draw = CharNet.dropout_masks
    monkeypatch.setattr(CharNet, "dropout_masks", lambda *args: drawn.append(args[1:3]) or draw(*args))
    found = {}
    for rate in (0.0, 0.9):
        root = [f"--trainer.default_root_dir=dropout{rate}"]
        assert run("fit", *TINY_TEXT, *options, f"--model.state_dropout={rate}", *root).code == 0
        assert set(drawn) == {(20, rate)}
        drawn.clear()
        assert run("validate", *root).code == 0
        assert not drawn
        found[rate] = json.loads(next(Path(f"dropout{rate}").glob("*/validation_results.json")).read_text())
    assert found[0.0]["bits_per_character"] != found[0.9]["bits_per_character"]


def test_sleep_takes_turns(tales, monkeypatch):
    """Six steps an epoch, so that the second epoch begins asleep, where the first ended: phases of four updates."""
    phases = []
    learn = CharNet.local_learning

    def watched(net, contexts, following, negatives, learning, masks):
        phases.append("awake" if learning.objective.positive_weight else "asleep")
        return learn(net, contexts, following, negatives, learning, masks)

    monkeypatch.setattr(CharNet, "local_learning", watched)
    outcome = run("fit", *TINY_TEXT, "--model.sleep=4", "--model.objective=logistic")
    assert outcome.code == 0, outcome.err
    assert phases == ["awake"] * 4 + ["asleep"] * 4 + ["awake"] * 4
    refused(
        ["fit", *TINY_TEXT, "--model.sleep=3", "--model.objective=paired"],
        "objective is 'paired'",
        "logistic with phases apart",
    )


def test_the_baseline_is_backpropagation(tales):
    assert run("fit", *TINY_TEXT, "--model=CharBackpropModule").code == 0
    assert isinstance(ffrecur.load(only_run()), ffrecur.CharNet)
    assert run("test").code == 0
    assert run("fit", *TINY_TEXT, "--trainer.default_root_dir=random", "--model.negatives=none").code == 0


def test_the_seed_decides_everything(tales):
    weights = []
    for root, seed in (("a", 7), ("b", 7), ("c", 8)):
        options = [f"--trainer.default_root_dir={root}", f"--seed_everything={seed}", "--model.negatives=dream"]
        assert run("fit", *TINY_TEXT, *options).code == 0
        torch.rand(5)
        weights.append(ffrecur.load(next(Path(root).iterdir()) / "last.ckpt").state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["head.weight"], weights[2]["head.weight"])


def test_any_script(tales):
    (tales / "tales.txt").write_text(
        "\n\n".join(["狐狸和葡萄的故事很有名。", "Лиса и виноград — басня.", "狐狸吃葡萄。狐狸吃葡萄。"] * 3), "utf-8"
    )
    assert run("fit", *TINY_TEXT, "--data.alphabet=learned").code == 0
    net = ffrecur.load(only_run())
    assert "狐" in net.alphabet.symbols
    assert "л" in net.alphabet.symbols
    assert len(net.generate("狐狸", 5)) == 5
    assert run("test").code == 0
    # The net's alphabet is in its checkpoint: other text is read by it, not learned anew.
    (tales / "other.txt").write_text("Лиса и виноград.\n\nЛиса и лес: новое!")  # noqa: RUF001
    outcome = run("test", "--data.source=other.txt", "--data.validation_size=1")
    assert outcome.code == 0, outcome.err
    assert f"alphabet of {len(net.alphabet)}: " in outcome.out
    assert "documents ('е' 2, " in outcome.out  # noqa: RUF001


@pytest.mark.parametrize(
    ("option", "pieces"),
    [
        ("--data.source=empty.txt", ["data.source is 'empty.txt'", "is empty"]),
        ("--data.source=latin.txt", ["data.source is 'latin.txt'", "not UTF-8: byte 1 is 0xfc"]),
        ("--data.source=nowhere.txt", ["data.source is 'nowhere.txt'", "neither a file nor a folder here"]),
        ("--data.source=numbers", ["data.source is 'numbers'", "no text column"]),
        ("--data.document_separator=(", ["data.document_separator is '('", "no regular expression"]),
        ("--data.document_separator=CHAPTER", ["which has one document", "'CHAPTER', matches nowhere"]),
        ("--data.window=60", ["training split has no document with more characters", "than the window's 60"]),
        ("--data.encoding=klingon", ["data.encoding is 'klingon'", "an encoding that Python knows"]),
        ("--data.window=0", ["data.window is 0", "at least 1"]),
        ("--data.alphabet=a", ["alphabet is 'a'", "at least two symbols"]),
        ("--data.alphabet=aba", ["alphabet is 'aba'", "without duplicates"]),
        ("--data.validation_size=6", ["data.validation_size is 6", "less than the 6 documents"]),
        ("--data.document_length=4", ["data.document_length is 4", "more than data.window, which is 4"]),
        (
            "--data.unknown=error --data.alphabet=the",
            ["training document 1 ('The fox", "' ' at character 4", "alphabet 'the'"],
        ),
        ("--model.negatives=easy", ["model.negatives is easy", "'teacher_forcing'"]),
        ("--model.dream_depth=[0,3]", ["dream_depth is [0, 3]", "1 <= least <= most"]),
        ("--model.dream_temperature=-1", ["dream_temperature is -1", "at least 0"]),
        ("--model.dream_every=0", ["dream_every is 0", "at least 1"]),
        ("--model.goodness_weight=-1", ["goodness_weight is -1", "at least 0"]),
        ("--model.dream_every_steps=-1", ["dream_every_steps is -1", "at least 0"]),
        ("--model.negatives_per_case=30", ["negatives_per_case is 30", "at most 29", "an alphabet of 30"]),
        ("--model.negatives_per_case=0", ["negatives_per_case is 0", "at least 1"]),
        ("--model.sleep=-1", ["sleep is -1", "at least 0"]),
        ("--model.state_dropout=1", ["state_dropout is 1", "at least 0 and less than 1"]),
        ("--model.sample_temperature=-1", ["sample_temperature is -1", "at least 0"]),
        ("--model.head_layers=[3]", ["head_layers is [3]", "different layers from 1 to 2"]),
        ("--model.temperature=0", ["temperature is 0", "greater than 0"]),
        ("--model.alphabet=xyz", ["alphabet of the net is 'xyz'", "set data.alphabet"]),
    ],
)
def test_mistakes(tales, option, pieces):
    (tales / "empty.txt").write_text("")
    (tales / "latin.txt").write_bytes("Füchse".encode("latin-1"))
    (tales / "numbers").mkdir()
    (tales / "numbers" / "train.csv").write_text("number\n1\n2\n")
    refused(["fit", *TINY_TEXT, *option.split(" ")], *pieces)


def test_nets_and_data_of_the_other_kind(tales):
    assert run("fit", *TINY_TEXT).code == 0
    text = only_run() / "last.ckpt"
    image_data = ["--data=ImageDataModule", "--data.source=bundled"]
    refused(["test", "--ckpt_path", text, *image_data], "data is ImageDataModule, but a CharModule reads text")
    refused(["fit", "--model=CharModule", *image_data], "data is ImageDataModule, but a CharModule reads text")
    refused(
        ["fit", "--model=RecurrentModule", *image_data, "--ckpt_path", text],
        "which trains a RecurrentNet, but",
        "holds a CharNet",
    )
    refused(["predict", "--ckpt_path", text], "subcommand is 'predict'", "ffrecur generate")
    text_data = [option for option in TINY_TEXT if option.startswith("--data")]
    refused(["fit", "--model=RecurrentModule", *text_data], "data is CorpusDataModule")


def test_the_data_module_alone(tales):
    data = CorpusDataModule("tales.txt", "\n\n", document_length=20, window=4, validation_size=1, batch_size=7)
    data.setup("fit")
    assert [len(document) for document in data.train_documents] == [20] * 5
    assert data.train_documents[0] == "the fox sat on the o"
    seen = torch.cat([index for _, index in data.train_dataloader()])
    assert sorted(seen.tolist()) == list(range(5 * 16))
    here = places(data.train_text, 4)
    for windows, index in data.train_dataloader():
        assert torch.equal(windows, windows_at(data.train_text, here[index], 5))
    assert not set(data.train_documents) & set(data.validation_documents)
