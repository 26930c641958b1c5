"""scripts/study/goodness_weight.py: its figures are those of the net with that weight."""

import json
import sys

import goodness_weight
import pytest
import torch
from making import character_net
from running import TINY_STREAM, TINY_TEXT, run
from torch.nn import functional as F

from ffrecur.text.places import make_text, places, windows_at


@pytest.mark.parametrize("noise", ["head", "masked_head", "uniform"])
def test_every_weight_is_the_score_with_it(noise, monkeypatch):
    monkeypatch.setattr(goodness_weight, "BATCH", 4)
    net = character_net(noise=noise, sign=-1)
    text = make_text([torch.randint(4, (9,)), torch.randint(4, (7,))], symbols=4)
    here = places(text, net.window)
    contexts, following = windows_at(text, here - 1, net.window), text.symbols_N[here].long()
    parts = goodness_weight.of_windows(net, text)
    for weight, figures in goodness_weight.by_weight(parts, (0.0, 2.0), noise).items():
        net.goodness_weight = weight
        bits = F.cross_entropy(net.score(contexts), following) / torch.log(torch.tensor(2.0))
        assert figures["bits_per_character"] == pytest.approx(bits.item(), rel=1e-8)
        assert figures["num_characters"] == len(here) == 6 + 4


def check_table(folder, monkeypatch, capsys):
    """The weights 0 and 2 have the figures of `validate`, of a run that was trained with a weight of 2."""
    monkeypatch.setattr(sys, "argv", ["script", str(folder), "--weights", "0", "2"])
    goodness_weight.main()
    zero, two = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("    "))
    assert run("validate").code == 0
    results = json.loads((folder / "validation_results.json").read_text())
    assert zero == ["0.0", f"{results['head_bits_per_character']:.3f}", f"{results['head_accuracy']:.1%}"]
    assert two == ["2.0", f"{results['bits_per_character']:.3f}", f"{results['accuracy']:.1%}"]


@pytest.mark.slow
def test_a_stream_has_a_table_too(tales, monkeypatch, capsys):
    assert run("fit", *TINY_STREAM, "--model.goodness_weight=2").code == 0
    (folder,) = (tales / "runs").iterdir()
    check_table(folder, monkeypatch, capsys)


def test_the_table_is_of_the_runs_own_text(tales, monkeypatch, capsys):
    outcome = run("fit", *TINY_TEXT, "--model.goodness_weight=2", "--data.alphabet=learned")
    assert outcome.code == 0, outcome.err
    (folder,) = (tales / "runs").iterdir()
    check_table(folder, monkeypatch, capsys)
    (tales / "fewer.txt").write_text("\n\n".join(["the hen sat on the owl."] * 3))
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["script", str(folder), "--weights", "2", "--", "--data.source=fewer.txt"])
    goodness_weight.main()
    other = capsys.readouterr().out.splitlines()[-1].split()
    assert run("validate", "--data.source=fewer.txt").code == 0
    results = json.loads((folder / "validation_results.json").read_text())
    assert other == ["2.0", f"{results['bits_per_character']:.3f}", f"{results['accuracy']:.1%}"]
    for wrong, message in (
        (["--weights", "-1"], "--weights is -1.0, but must be finite and at least 0"),
        (["--", "--data.sourc=x"], "data.sourc is not a setting"),
        (["--", "--data.alphabet=abcde"], "data.alphabet is 'abcde', but must be that of the net"),
    ):
        monkeypatch.setattr(sys, "argv", ["script", str(folder), *wrong])
        with pytest.raises(SystemExit) as end:
            goodness_weight.main()
        assert end.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")
    for path in (tales / "nowhere", folder / "best.ckpt"):
        monkeypatch.setattr(sys, "argv", ["script", str(path)])
        with pytest.raises(SystemExit) as end:
            goodness_weight.main()
        assert end.value.code == 2
        assert capsys.readouterr().err == f"error: run is '{path}', but must be a run folder, with a config.yaml\n"
