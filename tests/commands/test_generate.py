"""`ffrecur generate`: standard output has the text and nothing else, and mistakes are one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from making import character_net

import ffrecur
from ffrecur.commands.generate import main


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = ffrecur.CharNet(hidden_features=(12, 10))
    torch.nn.init.normal_(net.head.weight)
    ffrecur.save(net, tmp_path / "model")
    return tmp_path / "model"


def generate(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_prompt_and_then_the_text(model, capsys):
    code, out, err = generate(capsys, "--checkpoint", model, "--prompt", "the fox ", "--length", 30, "--seed", 1)
    assert (code, err) == (0, "")
    assert out.startswith("the fox ")
    assert out.endswith("\n")
    assert len(out) == 8 + 30 + 1
    assert generate(capsys, "--checkpoint", model, "--prompt", "the fox ", "--length", 30, "--seed", 1)[1] == out
    assert generate(capsys, "--checkpoint", model, "--prompt", "the fox ", "--length", 30, "--seed", 2)[1] != out


def test_samples_are_the_same_together_or_alone(model, capsys):
    _, two, _ = generate(capsys, "--checkpoint", model, "--length", 20, "--num_samples", 2)
    _, one, _ = generate(capsys, "--checkpoint", model, "--length", 20)
    assert two.splitlines()[0] == one.rstrip("\n")
    assert len(set(two.splitlines())) == 2


@pytest.mark.parametrize("options", [["--temperature", 0], ["--top_k", 1]])
def test_the_likeliest(model, capsys, options):
    first, second = (generate(capsys, "--checkpoint", model, "--seed", seed, *options)[1] for seed in (1, 2))
    assert first == second


def test_by_goodness(model, capsys):
    code, out, _ = generate(capsys, "--checkpoint", model, "--by", "goodness", "--length", 5)
    assert code == 0
    assert len(out) == 6


def test_a_prompt_from_standard_input(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115, PTH123
    assert generate(capsys, "--checkpoint", model, "--prompt", "-", "--length", 3)[0] == 0
    finished = run_alone("--checkpoint", model, "--prompt", "-", "--length", 3, text="the hen\n")
    assert finished.stdout.startswith("the hen")
    assert len(finished.stdout) == 7 + 3 + 1


def test_characters_that_the_model_does_not_know(model, capsys):
    _, out, err = generate(capsys, "--checkpoint", model, "--prompt", "Füße!", "--length", 3)
    assert out.startswith("Füße!")
    assert err == "warning: not in the alphabet and dropped: '!' 'ß' 'ü'\n"


def test_the_newest_text_run_is_found(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = generate(capsys, "--length", 3)
    assert (code, len(out)) == (0, 4)
    assert err.startswith("Using museum/fables, which comes with ffrecur; ")
    images = ffrecur.RecurrentNet(4, (3,), 2)
    for number, net in enumerate([character_net(), character_net(seed=1), images]):
        folder = tmp_path / "runs" / str(number)
        folder.mkdir(parents=True)
        weights = {f"net.{name}": value for name, value in net.float().state_dict().items()}
        torch.save(
            {"ffrecur_net": ffrecur.storage.checkpoint.describe(net), "state_dict": weights}, folder / "last.ckpt"
        )
        os.utime(folder / "last.ckpt", (number, number))
    code, out, err = generate(capsys, "--length", 3)
    assert (code, len(out)) == (0, 4)
    assert err == f"Using {Path('runs') / '1'}, the newest text run.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "temperature is -1.0, but must be at least 0"),
        (["--top_k", "0"], "top_k is 0, but must be a whole number of at least 1"),
        (["--length", "-1"], "length is -1, but must be a whole number of at least 0"),
        (["--num_samples", "0"], "num_samples is 0, but must be a whole number of at least 1"),
        (["--seed", "-1"], "seed is -1, but must be a whole number from 0 to 4294967295"),
        (["--length", "many"], "length is 'many', but must be a whole number"),
        (["--by", "chance"], "by is 'chance', but must be score or softmax or goodness"),
        (["--lenght", "3"], "--lenght is not an option (nearest: --length)"),
    ],
)
def test_mistakes_are_one_line(model, capsys, options, message):
    code, out, err = generate(capsys, "--checkpoint", model, *options)
    assert (code, out) == (2, "")
    assert err == f"error: {message}\n"


def test_a_net_for_images_is_refused(tmp_path, capsys):
    ffrecur.save(ffrecur.RecurrentNet(4, (3,), 2), tmp_path / "images")
    code, _, err = generate(capsys, "--checkpoint", tmp_path / "images")
    assert code == 2
    assert err.endswith("which holds a RecurrentNet, but must hold a CharNet or a StreamNet\n")


def run_alone(*arguments, text=""):
    command = [sys.executable, "-m", "ffrecur.main", "generate", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True)


def test_lightning_and_the_compiler_are_not_imported(model):
    code = (
        "import sys; from ffrecur.commands.generate import main; "
        f"assert main(['--checkpoint', {str(model)!r}, '--length', '3']) == 0; "
        "assert not {'lightning', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    wrapped = f"import sys, ffrecur.main; sys.argv = ['ffrecur', 'generate', '--checkpoint', {str(model)!r}]"
    watched = f"{wrapped}\ntry:\n  ffrecur.main.entry_point()\nexcept SystemExit as end:\n  assert end.code == 0"
    watched += "\nassert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", watched], check=True, capture_output=True)


def test_bytes_that_are_no_text(model):
    command = [sys.executable, "-m", "ffrecur.main", "generate", "--checkpoint", str(model), "--prompt"]
    finished = subprocess.run([*command, "-"], input=b"\xffa", capture_output=True)
    assert (finished.returncode, finished.stdout) == (2, b"")
    assert finished.stderr.startswith(b"error: prompt is '-', which is not UTF-8")
    assert len(finished.stderr.splitlines()) == 1
    finished = subprocess.run([*map(str.encode, command), b"a\xff"], capture_output=True)
    assert finished.returncode == 2
    assert b"which is not UTF-8" in finished.stderr
    closed = subprocess.run(f"{' '.join(command)} - <&-", shell=True, capture_output=True, text=True)
    assert (closed.returncode, closed.stderr) == (2, "error: prompt is '-', but standard input is closed\n")


def test_a_reader_that_has_seen_enough(model):
    command = f"{sys.executable} -m ffrecur.main generate --checkpoint {model} --length 20000 | head -c 10"
    finished = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert len(finished.stdout) == 10
    assert finished.stderr == ""
