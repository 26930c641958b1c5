"""scripts/study/recall.py: its documents, what it counts, and that it goes on where it was stopped."""

import sys

import pytest
import recall
import torch


def test_a_value_is_known_from_where_its_key_was_shown_last():
    documents = recall.make_documents(3, 30, 1, 2)
    assert documents.symbols_BT.shape == (3, 60)
    for symbols, distances in zip(documents.symbols_BT.tolist(), documents.distance_BT.tolist(), strict=True):
        last, value_of = {}, {}
        for place in range(0, 60, 2):
            key, value = symbols[place : place + 2]
            assert value_of.setdefault(key, value) == value
            assert distances[place] == 0
            assert distances[place + 1] == (place - last[key] if key in last else 0)
            last[key] = place
    assert not torch.equal(documents.symbols_BT, recall.make_documents(3, 30, 1, 3).symbols_BT)


def test_values_of_their_own_are_the_same_in_other_symbols():
    same, own = (recall.make_documents(3, 30, 1, values=values) for values in ("same", "own"))
    assert torch.equal(own.symbols_BT[:, ::2], same.symbols_BT[:, ::2])
    assert torch.equal(own.symbols_BT[:, 1::2], same.symbols_BT[:, 1::2] + 20)
    assert torch.equal(own.distance_BT, same.distance_BT)


def test_counting_what_followed_a_symbol():
    """By hand: a b, b c, a b, b c, a b. Where values are keys, b was followed by c and by a; one document, decay 1."""
    symbols = torch.tensor([[0, 1, 1, 2, 0, 1, 1, 2, 0, 1]])
    distance = torch.tensor([[0, 0, 0, 0, 0, 4, 0, 4, 0, 4]])
    found = recall.counted(recall.Documents(symbols, distance), 1.0)
    # The second a finds b; then b was followed by b, c and b: wrong; the third a finds b.
    assert found["2 to 9"] == 2 / 3
    assert found["first"] == 0


def test_with_values_of_their_own_counting_knows_all_that_was_shown():
    documents = recall.make_documents(4, 100, 1, values="own")
    found = recall.counted(documents, 0.99)
    assert {found[f"{low} to {high}"] for low, high in recall.BINS} == {1.0}
    found = recall.counted(recall.make_documents(64, 100, 1), 0.99)
    assert 0.5 < found["50 to 74"] < 0.9, "the same symbols in both places are mistaken for each other"


def test_a_window_learns_what_lies_in_it_and_has_nothing_of_what_is_further_back(monkeypatch, capsys):
    small = ["--steps=600", "--streams=64", "--pairs=30", "--hidden=100", "--rate_of_learning=0.003", "--values=own"]
    monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", "window"])
    recall.main()
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("      window")]
    near, far = (float(share.rstrip("%")) for share in (row[2], row[4]))
    assert near > 10
    assert far < 8  # chance is 5 %


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs=0"], "--pairs is 0, but must be a whole number of at least 1"),
        (["--temperature=0"], "--temperature is 0.0, but must be finite and greater than 0"),
        (["--output=notes.txt"], "--output is 'notes.txt', which is no file of rows"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("milk, eggs\n")
    monkeypatch.setattr(sys, "argv", ["recall.py", *options])
    with pytest.raises(SystemExit) as end:
        recall.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_row_that_is_there_is_not_trained_again(tmp_path, monkeypatch, capsys):
    output = tmp_path / "rows.jsonl"
    small = ["--steps=4", "--streams=6", "--pairs=12", "--hidden=8", "--keys=4", f"--output={output}"]
    for memories, trained in ((["fast"], ["fast"]), (["window", "fast"], ["window"]), (["fast", "window"], [])):
        monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", *memories])
        recall.main()
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line in recall.MEMORIES] == trained
    assert len(output.read_text().splitlines()) == 2
    assert [line.split()[0] for line in lines] == ["memory", "fast", "window", "counting"]
    monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", "fast", "--seed=1"])
    recall.main()
    assert "fast" in capsys.readouterr().out.splitlines(), "with other settings it is another row"
    monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", "fast", "--values=own"])
    recall.main()
    lines = capsys.readouterr().out.splitlines()
    assert "fast" in lines
    assert lines[-1].split()[2:-1] == ["100.0%", "100.0%", "nan%", "nan%", "nan%"], "documents are 24 characters long"
