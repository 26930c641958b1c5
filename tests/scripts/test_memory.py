"""scripts/study/memory.py: a cut memory is that of a stream that began later, and an uncut one gives the run's figures."""

import json
import sys
from math import log2

import memory
import pytest
import torch
from making import stream_net
from running import TINY_STREAM, only_run, run

TEXTS = ["abcabca cab", "ab", "cabbacab"]
NETS = ({"goodness_weight": 1.0}, {"keys": 2, "goodness_weight": 1.0, "sign": -1}, {"lateral": False, "damping": 0.5})


@pytest.mark.parametrize("options", NETS)
def test_a_cut_memory_is_that_of_a_stream_that_began_so_many_characters_ago(options, monkeypatch):
    """Against one character after another, each from an empty state; the parts that run at once are of no consequence."""
    monkeypatch.setattr(memory, "BATCH", 3)
    net = stream_net(**options)
    documents = memory.longest_first(net, TEXTS)
    assert documents.lengths_S.tolist() == [11, 8, 2]
    whole = memory.uncut(net, documents)
    for count in (1, 3, 50):
        found = memory.cut(net, documents, whole, count)
        for stream, text in enumerate(sorted(TEXTS, key=len, reverse=True)):
            for place in range(len(text)):
                state, numbers = net.first_state(1), net.encode(text)
                for symbol in numbers[max(0, place - count) : place]:
                    state = net.step(state, symbol[None])
                rated = (net.score(state), net.logits(state).detach())
                bits = [
                    -torch.log_softmax(each[0], dim=0)[numbers[place]] / torch.log(torch.tensor(2.0)) for each in rated
                ]
                torch.testing.assert_close(found[stream, place], torch.stack(bits), rtol=1e-7, atol=1e-9)
    assert not torch.allclose(memory.cut(net, documents, whole, 1), whole)


def test_a_cut_beyond_the_longest_document_is_none():
    net = stream_net(keys=2)
    documents = memory.longest_first(net, TEXTS)
    whole = memory.uncut(net, documents)
    assert torch.equal(memory.cut(net, documents, whole, 11), whole)
    assert torch.equal(memory.cut(net, documents, whole, 10), whole), "the last character has ten before it"
    assert not torch.equal(memory.cut(net, documents, whole, 9), whole)


def test_a_net_that_carries_nothing_but_the_last_character_loses_nothing():
    """Without damping, lateral and top-down weights, the state after a character is a function of that character."""
    net = stream_net(lateral=False, top_down=False, damping=0.0)
    documents = memory.longest_first(net, TEXTS)
    whole = memory.uncut(net, documents)
    torch.testing.assert_close(memory.cut(net, documents, whole, 1), whole, rtol=1e-12, atol=1e-12)


def test_places_and_cuts_are_means_over_the_right_characters():
    net = stream_net()
    documents = memory.longest_first(net, TEXTS)
    bits = torch.arange(33, dtype=torch.float64).view(3, 11, 1).repeat(1, 1, 2)
    bits[1, 8:], bits[2, 2:] = 1e6, 1e6  # where there is no character
    rows = memory.by_place(documents, bits)
    assert [(row["place"], row["characters"]) for row in rows] == [
        ("1", 3),
        ("2 to 5", 4 + 4 + 1),
        ("6 to 10", 5 + 3),
        ("11 to 20", 1),
    ]
    assert rows[0]["bits"] == pytest.approx((0 + 11 + 22) / 3)
    assert rows[1]["softmax_bits"] == pytest.approx((1 + 2 + 3 + 4 + 12 + 13 + 14 + 15 + 23) / 9)
    one, last = memory.by_cut(net, documents, bits, [20], window=9)
    assert (one["cut"], last["cut"], last["characters"]) == ("20", "uncut", 2)
    assert one["bits"] == last["bits"] == pytest.approx((9 + 10) / 2)


def test_uncut_bits_are_those_of_the_run(tales, monkeypatch, capsys):
    assert run("fit", *TINY_STREAM, "--model.goodness_weight=2").code == 0
    assert run("validate").code == 0
    folder = only_run()
    results = json.loads((folder / "validation_results.json").read_text())
    output = tales / "memory.json"
    monkeypatch.setattr(sys, "argv", ["memory.py", str(folder), "--cuts", "1", "99", f"--output={output}"])
    memory.main()
    found = json.loads(output.read_text())
    assert [row["cut"] for row in found["cuts"]] == ["1", "99", "uncut"]
    for row in found["cuts"][1:]:
        assert row["bits"] == pytest.approx(results["bits_per_character"], rel=1e-5)
        assert row["softmax_bits"] == pytest.approx(results["head_bits_per_character"], rel=1e-5)
    assert found["cuts"][0]["bits"] != found["cuts"][1]["bits"]
    assert found["window"] == 4
    assert found["places"][0]["softmax_bits"] < log2(30), "the head's bias knows how often a character comes"
    printed = capsys.readouterr().out
    assert f"{results['bits_per_character']:.3f}" in printed
    for arguments, message in (
        (["nowhere"], "error: run is 'nowhere', but must be a run folder"),
        ([str(folder), "--cuts", "0"], "error: cuts is [0], but must be at least 1 each"),
    ):
        monkeypatch.setattr(sys, "argv", ["memory.py", *arguments])
        with pytest.raises(SystemExit) as end:
            memory.main()
        assert end.value.code == 2
        assert capsys.readouterr().err == message + "\n"
