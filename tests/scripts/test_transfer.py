"""scripts/study/transfer.py: which digits learn what, and that nothing is run twice."""

import contextlib
import io
import json
import sys

import pytest
import torch
import transfer

SMALL = ["--model.hidden_features=[12,10,8]", "--data.batch_size=50", "--trainer.enable_model_summary=false"]


def test_five_digits_get_labels_of_their_own():
    images, labels = torch.arange(24).view(8, 3).to(torch.uint8), torch.tensor([0, 9, 5, 4, 7, 5, 1, 6])
    low, high = (transfer.chosen({"train": (images, labels)}, first)["train"] for first in (0, 5))
    assert low[1].tolist() == [0, 4, 1]
    assert high[1].tolist() == [4, 0, 2, 0, 1]
    assert torch.equal(high[0], images[[1, 2, 4, 5, 7]])


def test_a_read_out_learns_what_the_features_tell():
    labels = torch.arange(5).repeat(60)
    sets = {
        "train": (labels[:, None].to(torch.uint8), labels),
        "validation": (labels[:50, None].to(torch.uint8), labels[:50]),
    }

    def told(images):
        return torch.nn.functional.one_hot((images[:, 0] * 255).round().long(), 5).float() * 5**0.5

    assert transfer.read_out_error(told, sets, 0) == 0
    assert transfer.read_out_error(lambda images: torch.ones(len(images), 2), sets, 0) == pytest.approx(0.8)


@pytest.mark.slow
def test_it_goes_on_where_it_was(workplace, monkeypatch):
    monkeypatch.setattr(transfer, "READ_OUT_EPOCHS", 2)

    def run_it():
        command = ["transfer.py", "bundled", "--seeds", "0", "--epochs", "1", "--root", "t", "--", *SMALL]
        monkeypatch.setattr(sys, "argv", command)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            transfer.main()
        return json.loads((workplace / "t" / "transfer.json").read_text()), out.getvalue()

    first, printed = run_it()
    assert set(first) == {"pixels", *transfer.NETS, *(f"{name}, untrained" for name in transfer.NETS)}
    assert all(0 <= by_seed["0"] < 0.8 for by_seed in first.values())
    assert "| recurrent, untrained |" in printed
    checkpoints = sorted(path.stat().st_mtime_ns for path in (workplace / "t").rglob("last.ckpt"))
    assert len(checkpoints) == 3
    second, _ = run_it()
    assert second == first
    assert sorted(path.stat().st_mtime_ns for path in (workplace / "t").rglob("last.ckpt")) == checkpoints
