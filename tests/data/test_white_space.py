"""`data.keep_white_space`: nothing of a text is lost, and line ends are symbols like any other."""

import contextlib
import io
import re
import sys
from pathlib import Path

import datasets
import ngram
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import only_run, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ffrecur
from ffrecur import UserError
from ffrecur.commands.generate import main as generate
from ffrecur.data import CorpusDataModule
from ffrecur.data.cutting import cut
from ffrecur.data.documents import read_documents
from ffrecur.data.textsplits import split_by_place
from ffrecur.text.alphabet import Alphabet

PLAY = "ROMEO:\nAy me!\n\nJULIET:\nO, speak\tagain.\n  Enter  NURSE\n\n"
WHITE = st.text(st.sampled_from("ab \t\n\u3000|"), max_size=40)


def play(folder, text=PLAY * 12):
    path = folder / "play.txt"
    path.write_bytes(text.encode())
    return str(path)


def kept(source, **settings):
    data = CorpusDataModule(source, alphabet="learned", keep_white_space=True, window=4, **settings)
    data.setup("fit")
    return data


def decoded(data):
    return "".join([*data.train_documents, *data.validation_documents, *data.test_documents])


@given(WHITE)
def test_what_stands_between_separators_is_kept_to_the_last_character(text):
    found = cut(text, re.compile(r"\|"), keep_white_space=True)
    assert found == [part for part in text.split("|") if part.strip()]
    assert cut(text, None, keep_white_space=True) == ([text] if text.strip() else [])


@given(WHITE, st.lists(st.integers(0, 20), max_size=3).map(sorted))
def test_the_parts_of_one_text_are_the_text(text, twentieths):
    parts = split_by_place(text, twentieths, keep_white_space=True)
    assert "".join(parts) == text
    assert [part.strip() for part in parts] == split_by_place(text, twentieths)


def test_no_character_of_a_text_is_lost(tmp_path):
    data = kept(play(tmp_path), fold_case=False)
    assert decoded(data) == PLAY * 12
    assert data.alphabet.symbols == "".join(sorted(set(PLAY)))
    whole = len(PLAY) * 12
    for document, share in ((data.train_documents[0], 0.9), (data.test_documents[0], 0.05)):
        assert len(document) == pytest.approx(share * whole, abs=10)  # to the next white space
    assert data.validation_documents[0][0].isspace()
    assert data.test_documents[0][0].isspace()


def test_white_space_is_a_space_by_default(tmp_path):
    data = CorpusDataModule(play(tmp_path), alphabet="learned", window=4)
    data.setup("fit")
    texts = (*data.train_documents, *data.validation_documents, *data.test_documents)
    assert " ".join(texts) == " ".join((PLAY.lower() * 12).split())  # the two spaces at the cuts are left out
    assert not set("\n\t") & set(data.alphabet.symbols)


@pytest.mark.parametrize("separator", [None, "\\n\\n", "\\r\\n\\r\\n"])
@pytest.mark.parametrize("end", ["\r\n", "\r", "\u2028"])
def test_line_ends_of_all_kinds_are_the_same_symbol(tmp_path, separator, end):
    source = play(tmp_path, (PLAY * 12).replace("\n", end))
    if separator == "\\r\\n\\r\\n" and end != "\r\n":
        assert len(read_documents(source, separator, keep_white_space=True).train) == 1
        return
    documents = read_documents(source, separator, keep_white_space=True).train
    between = "" if separator is None else "\n\n"
    assert between.join([*documents, ""] if separator else documents) == PLAY * 12


def test_rows_keep_theirs_too(tmp_path):
    datasets.Dataset.from_dict({"text": ["one\r\n fish ", " \n", "\ttwo"]}).to_parquet(tmp_path / "train.parquet")
    assert read_documents(str(tmp_path), keep_white_space=True).train == ["one\n fish ", "\ttwo"]


def test_rare_white_space_is_a_space_and_other_rare_characters_are_as_set(tmp_path):
    text = (PLAY * 12).replace("\t", " ").replace("me!", "me") + "a\tr!o"
    data = kept(play(tmp_path, text), minimum_count=2, unknown="replace", fold_case=True)
    assert "\n" in data.alphabet.symbols
    assert decoded(data) == text.lower().replace("\t", " ").replace("!", " ")
    dropped = kept(play(tmp_path, text), minimum_count=2)
    assert decoded(dropped) == text.lower().replace("\t", " ").replace("!", "")


def test_documents_with_line_ends_stay_apart(tmp_path):
    data = kept(play(tmp_path), document_separator=r"(?m)^[A-Z]+:\n", validation_size=3)
    assert len(data.train_documents) + len(data.validation_documents) == 24
    assert data.train_documents[0] == "ay me!\n\n"
    assert data.train_documents[1] == "o, speak\tagain.\n  enter  nurse\n\n"


def test_an_alphabet_without_line_ends_is_refused():
    allowed = "it must be learned, or have symbols such as a line end"
    with pytest.raises(UserError, match=f"data.keep_white_space is true, but data.alphabet, 'ab ', .* {allowed}"):
        CorpusDataModule(alphabet="ab ", keep_white_space=True)
    CorpusDataModule(alphabet="ab \n", keep_white_space=True)


TINY = ["--model=CharModule", "--model.hidden_features=[6,5]", "--data=CorpusDataModule", "--data.alphabet=learned"]
TINY += ["--data.window=4", "--data.keep_white_space=true", "--data.fold_case=false", "--trainer.max_epochs=1"]


def test_a_net_remembers_line_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    play(tmp_path)
    assert run("fit", *TINY, "--data.source=play.txt").code == 0
    assert run("test").code == 0
    run_folder, symbols = only_run(), "".join(sorted(set(PLAY)))
    ffrecur.save(ffrecur.load(run_folder), "exported")
    for where in (run_folder, "exported"):
        net = ffrecur.load(where)
        assert net.alphabet.symbols == symbols
        assert net.decode(net.encode("Ay\n\tO")) == "Ay\n\tO"
    # Samples go on from the documents as they are, and another text is read with its line ends.
    assert (
        (run_folder / "test_samples.txt")
        .read_text()
        .startswith(kept("play.txt", fold_case=False).test_documents[0][:4])
    )
    events = EventAccumulator(str(run_folder), size_guidance={"tensors": 0})
    events.Reload()
    (sample,) = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("sample/text_summary")]
    assert re.fullmatch(r"(?s)(  \n|[^\n])*", sample)
    Path("other.txt").write_text(PLAY * 3)
    outcome = run("test", "--data.source=other.txt")
    assert outcome.code == 0, outcome.err
    assert f"1 test ({len(PLAY) * 3})" in outcome.out
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=2").code == 0
    capsys.readouterr()
    assert generate(["--checkpoint", "exported", "--prompt", "ROMEO:\nAy", "--length", "40", "--temperature", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("ROMEO:\nAy")
    assert len(said.out) == len("ROMEO:\nAy") + 40 + 1
    assert not said.err
    assert "\n" in said.out[9:-1]


def test_n_grams_predict_line_ends(tmp_path, monkeypatch):
    (tmp_path / "task.yaml").write_text("data: {class_path: CorpusDataModule, init_args: {window: 4}}")
    options = ["--data.source", play(tmp_path), "--data.alphabet=learned", "--data.keep_white_space=true"]
    data = ngram.load_data(str(tmp_path / "task.yaml"), options)
    model = ngram.KneserNey(data.train_documents, 3, data.alphabet.symbols)
    assert max(model.probabilities("eo:").items(), key=lambda pair: pair[1])[0] == "\n"
    monkeypatch.setattr(sys, "argv", ["ngram.py", str(tmp_path / "task.yaml"), "--orders", "3", "--", *options])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        ngram.main()
    bits, _ = ngram.evaluate(model, data.validation_documents, 4)
    assert f"{bits:.3f}" in out.getvalue()


def test_an_alphabet_decides_alone_what_is_a_symbol():
    """A net whose alphabet has line ends reads them in any text; all other white space is a space."""
    assert Alphabet("a \n").encode("a\n\ta").tolist() == [0, 2, 1, 0]
