"""`ffrecur fit | validate | test | generate | export` with a streaming character model, and what goes on amid a document."""

import json
import math
from pathlib import Path

import pytest
import torch
from running import TINY_STREAM, TINY_TEXT, only_run, run, slow
from torch.nn import functional as F

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.commands.generate import main as generate
from ffrecur.lit import StreamModule

LENGTH = 4 * len("The fox sat on the owl, and slept.") // 5  # characters of each stream in an epoch


def refused(args, *pieces):
    outcome = run(*args)
    assert outcome.code == 2, outcome
    (line,) = outcome.err.splitlines()
    for piece in pieces:
        assert piece in line, line


def text_of(capsys, command, *args):
    capsys.readouterr()
    code = command(list(args))
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


@pytest.mark.parametrize("kind", [TINY_STREAM, TINY_TEXT, [*TINY_TEXT, "--model=CharBackpropModule"]])
def test_a_net_reads_text_as_its_data_does(tales, kind):
    """Case that is kept, and what becomes of other characters, are the net's too."""
    file = tales / "tales.txt"
    file.write_text(file.read_text().replace("sat", "SAT"))
    options = ["--data.alphabet=learned", "--data.fold_case=false", "--data.unknown=replace"]
    outcome = run("fit", *kind, *options, "--trainer.max_epochs=1")
    assert outcome.code == 0, outcome.err
    alphabet = ffrecur.load(only_run()).alphabet
    assert (alphabet.fold_case, alphabet.unknown) == (False, "replace")
    assert {"S", "A", "T", "s"} <= set(alphabet.symbols)


def test_which_characters_are_judged_may_change(tales):
    assert run("fit", *TINY_STREAM, "--trainer.max_epochs=1").code == 0
    counts = []
    for window in (4, 7):
        assert run("validate", f"--data.window={window}").code == 0
        counts.append(json.loads((only_run() / "validation_results.json").read_text())["num_characters"])
    assert counts[0] - counts[1] == 2 * 3, "three less of each of two documents"


ALL = [
    "--model.candidate_layers=[1,2]",
    "--model.fast_weights=[3,0.9,0.5,delta]",
    "--model.goodness_weight=2",
    "--model.iterations=2",
]


@pytest.mark.parametrize("options", [slow([]), ALL], ids=["head alone", "all"])
def test_a_run_from_training_to_text(tales, options, capsys):
    outcome = run("fit", *TINY_STREAM, *options)
    assert outcome.code == 0, outcome.err
    assert f"ffrecur generate --checkpoint {only_run()}" in outcome.out
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == 2 * LENGTH
    for command in ("test", "validate"):
        outcome = run(command)
        assert outcome.code == 0, outcome.err
    results = json.loads((only_run() / "validation_results.json").read_text())
    net = ffrecur.load(only_run())
    assert isinstance(net, ffrecur.StreamNet)
    texts = [
        net.encode(f"The {animal} sat on the {place}, and slept.") for animal, place in (("cat", "hen"), ("owl", "fox"))
    ]
    for prefix, rate in (("", net.score), ("head_", net.logits)):
        nats, hits = [], []
        for text in texts:
            state = net.first_state(1)
            for place, symbol in enumerate(text):
                if place >= 4:
                    logits = rate(state).detach()
                    nats.append(F.cross_entropy(logits.double(), symbol[None]).item())
                    hits.append(float(logits.argmax() == symbol))
                state = net.step(state, symbol[None])
        assert results["num_characters"] == len(nats), "those that a CharModule with this window is judged by"
        assert results[f"{prefix}bits_per_character"] == pytest.approx(sum(nats) / len(nats) / math.log(2), rel=1e-5)
        assert results[f"{prefix}accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert len(results["auroc_by_layer"]) == len(results["auroc_by_layer_dreams"]) == 2
    assert (only_run() / "report.html").is_file()
    written = text_of(capsys, generate, "--prompt=the fox", "--length=8", "--seed=3")
    assert written.startswith("the fox")
    assert len(written.rstrip("\n")) == len("the fox") + 8
    text_of(capsys, export, "--output=exported")
    assert text_of(capsys, generate, "--checkpoint=exported", "--prompt=the fox", "--length=8", "--seed=3") == written
    assert export(["--format=page", "--output=page.html"]) == 2
    assert "a page is made of a RecurrentNet or a CharNet" in capsys.readouterr().err


# What saves a checkpoint after each five steps, amid the documents.
SAVED = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=5"]
SAVED += ["--trainer.callbacks.dirpath=mid", "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.filename={step}"]


@pytest.mark.parametrize(
    "options",
    [
        slow(["--model.state_dropout=0.2"]),
        ["--model.fast_weights=[2,0.9,0.5,delta]", "--trainer.accumulate_grad_batches=3"],
        ["--model.negatives=dream", "--model.dream_depth=[2,4]", "--model.negatives_per_case=2"],
    ],
    ids=["dropout", "fast weights", "dreams"],
)
def test_a_checkpoint_from_amid_a_document_continues_to_the_same_weights(tales, options):
    """And the streams know again what they had read: nothing else tells it."""
    assert run("fit", *TINY_STREAM, *options, *SAVED).code == 0
    outcome = run("fit", "--ckpt_path=mid/step=5.ckpt", "--trainer.default_root_dir=rest", "--trainer.callbacks=null")
    assert outcome.code == 0, outcome.err
    (rest,) = Path("rest").iterdir()
    continued, whole, before = (
        torch.load(file, weights_only=True)
        for file in (rest / "last.ckpt", only_run() / "last.ckpt", "mid/step=5.ckpt")
    )
    assert continued["global_step"] == whole["global_step"] > 5
    for name, weight in whole["state_dict"].items():
        assert torch.equal(continued["state_dict"][name], weight), name
    for kind, states in whole["ffrecur_stream"].items():
        assert all(torch.equal(*pair) for pair in zip(states, continued["ffrecur_stream"][kind], strict=True))
    assert len(whole["ffrecur_stream"]["dreams"]) == 2 * ("--model.negatives=dream" in options)
    assert len(before["ffrecur_stream"]["hidden"][0]) == 5
    refused(
        ["fit", "--ckpt_path=mid/step=5.ckpt", "--data.batch_size=4", "--trainer.callbacks=null"],
        "data.batch_size is 4, but must be 5 until the epoch that is continued is over",
    )


def test_on_another_text_streams_begin_anew(tales, monkeypatch):
    """What they knew when the checkpoint was written is of the text that it was trained on."""
    assert run("fit", *TINY_STREAM, *SAVED, "--trainer.max_epochs=1").code == 0
    carried_state, begun = StreamModule.carried_state, []

    def noted(module, *args):
        begun.append(carried_state(module, *args))
        return begun[-1]

    monkeypatch.setattr(StreamModule, "carried_state", noted)
    more = ["fit", "--ckpt_path=mid/step=5.ckpt", "--trainer.callbacks=null"]
    for text, fresh in ((None, False), ("other.txt", True)):
        if text is not None:
            Path(text).write_text(Path("tales.txt").read_text().replace("slept", "leapt"))
        assert run(*more, *([] if text is None else [f"--data.source={text}"])).code == 0
        assert all(bool((hidden == 0).all()) == fresh for hidden in begun[0].hidden)
        begun.clear()


def test_documents_that_are_too_short_to_be_judged_are_left_out(tales):
    """Those with no more characters than `data.window`, in training too."""
    file = tales / "tales.txt"
    file.write_text(f"a hen\n\n{file.read_text()}")
    outcome = run("fit", *TINY_STREAM, "--data.window=5", "--trainer.max_epochs=1")
    assert outcome.code == 0, outcome.err
    assert "left out: 1 of 7 documents, which have no more characters than the window's 5" in outcome.out
    assert torch.load(only_run() / "last.ckpt", weights_only=True)["global_step"] == LENGTH


@pytest.mark.slow
def test_an_exception_leaves_the_state_of_the_last_step(tales, monkeypatch):
    """What a batch has changed that broke off before its step is taken back."""
    options = [*TINY_STREAM, "--trainer.max_epochs=1"]
    assert run("fit", *options, "--trainer.default_root_dir=whole").code == 0
    finish, seen = StreamModule.finish_text_step, []

    def breaking(module, *args):
        seen.append(0)
        if len(seen) == 9:
            raise ffrecur.UserError("enough")
        return finish(module, *args)

    with monkeypatch.context() as patch:
        patch.setattr(StreamModule, "finish_text_step", breaking)
        assert run("fit", *options).code == 2
    assert run("fit", "--ckpt_path=last").code == 0
    (folder,) = Path("whole").iterdir()
    one, two = (torch.load(file / "last.ckpt", weights_only=True) for file in (folder, only_run()))
    assert all(torch.equal(weight, two["state_dict"][name]) for name, weight in one["state_dict"].items())


@pytest.mark.slow
def test_another_number_of_streams_from_the_next_epoch_on(tales):
    assert run("fit", *TINY_STREAM, "--trainer.max_epochs=1").code == 0
    outcome = run("fit", "--ckpt_path=last", "--data.batch_size=3", "--trainer.max_epochs=2")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("option", "pieces"),
    [
        ("--data.batch_size=1000", ["data.batch_size is 1000", "at most the 136 characters", "number of streams"]),
        ("--model.negatives=self_generated", ["model.negatives is self_generated", "'teacher_forcing'"]),
        (
            "--model.negatives=dream --model.objective=softmax",
            ["negatives are dreamt, but an objective of all candidates"],
        ),
        ("--model.negatives=dream --model.dream_depth=[3,2]", ["dream_depth is [3, 2], but must be two whole numbers"]),
        (
            "--model.negatives=dream --model.fast_weights=[2,0.9,0.5]",
            ["negatives is 'dream', but must be another with fast"],
        ),
        ("--model.negatives_per_case=30", ["negatives_per_case is 30", "at most 29, the wrong characters"]),
        ("--model.negatives_per_case=2 --model.objective=softmax", ["negatives_per_case is 2", "all candidates"]),
    ],
)
def test_mistakes(tales, option, pieces):
    refused(["fit", *TINY_STREAM, *option.split(" ")], *pieces)
    assert not Path("runs").exists() or not any(Path("runs").iterdir())


@pytest.mark.slow
def test_the_other_character_model_is_another_kind(tales):
    assert run("fit", *TINY_STREAM).code == 0
    checkpoint = only_run() / "last.ckpt"
    refused(
        ["fit", "--ckpt_path", checkpoint, "--model=CharModule"], "which trains a CharNet, but", "holds a StreamNet"
    )
    refused(
        ["fit", "--ckpt_path", checkpoint, "--model.fast_weights=[3,0.9,0.5]"],
        "fast_weights is [3, 0.9, 0.5], but the net in",
    )
    refused(["predict"], "subcommand is 'predict'", "ffrecur generate")
