"""What released versions of ffrecur wrote is still read, and means the same."""

import json

import pytest
import torch
from running import FIXTURES, run

import ffrecur

FIRST = FIXTURES / "0.1.0"
EXPECTED = json.loads((FIRST / "expected.json").read_text())


def close(found, expected):
    torch.testing.assert_close(found, torch.tensor(EXPECTED[expected]), rtol=1e-4, atol=1e-5)


def images():
    return torch.linspace(0, 1, 90).reshape(3, 30)


def test_a_checkpoint_of_a_recurrent_net():
    net = ffrecur.load(FIRST / "recurrent.ckpt")
    assert net.settings() == EXPECTED["recurrent_settings"]
    close(net.score(images()), "recurrent_score")
    close(net.one_pass_logits(images()), "recurrent_one_pass_logits")


def test_a_checkpoint_of_a_character_model():
    net = ffrecur.load(FIRST / "character.ckpt")
    windows = torch.tensor([[0, 1, 2, 3], [29, 26, 7, 4]])
    assert net.settings() == EXPECTED["character_settings"]
    close(net.score(windows), "character_score")
    close(net.logits(windows), "character_logits")
    assert net.generate("the ", 20, generator=torch.Generator().manual_seed(0)) == EXPECTED["character_text"]


def test_an_exported_folder():
    net = ffrecur.load(FIRST / "exported")
    assert net.settings() == EXPECTED["exported_settings"]
    close(net(images()), "exported_logits")


@pytest.mark.parametrize("name", ["recurrent.ckpt", "character.ckpt"])
def test_the_command_line_reads_them(workplace, name):
    assert run("test", "--ckpt_path", FIRST / name).code == 0
    options = [] if name == "character.ckpt" else ["--trainer.max_epochs=3"]
    assert run("fit", "--ckpt_path", FIRST / name, *options, "--trainer.limit_val_batches=1").code == 0
