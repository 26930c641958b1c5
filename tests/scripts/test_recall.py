"""scripts/study/recall.py: its documents, what it counts, and that it goes on where it was stopped."""

import sys

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


def test_a_row_that_is_there_is_not_trained_again(tmp_path, monkeypatch, capsys):
    output = tmp_path / "rows.jsonl"
    small = ["--steps=4", "--streams=6", "--pairs=12", "--hidden=8", "--keys=4", f"--output={output}"]
    for memories, trained in ((["fast"], ["fast"]), (["hidden", "fast"], ["hidden"]), (["fast", "hidden"], [])):
        monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", *memories])
        recall.main()
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line in recall.MEMORIES] == trained
    assert len(output.read_text().splitlines()) == 2
    assert [line.split()[0] for line in lines] == ["memory", "fast", "hidden"]
    monkeypatch.setattr(sys, "argv", ["recall.py", *small, "--memories", "fast", "--seed=1"])
    recall.main()
    assert "fast" in capsys.readouterr().out.splitlines(), "with other settings it is another row"
