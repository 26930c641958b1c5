"""`ffrecur` without a command, its help and version, and `ffrecur runs`: at once, without PyTorch."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import only_run, run

import ffrecur
from ffrecur import main
from ffrecur.commands import runs
from ffrecur.commands.first_screen import SCREENS
from ffrecur.lit.run.messages import SUBCOMMANDS


def imported(arguments):
    """The modules that a command imports, of those that take long."""
    code = "import sys; from ffrecur import main; code = main.run(sys.argv[1:]); "
    code += "print(sorted({'torch', 'lightning', 'numpy', 'jsonargparse'} & set(sys.modules)), code)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["runs"]])
def test_nothing_heavy_is_imported(arguments):
    assert imported(arguments) == "[] 0"


def test_the_package_imports_nothing_heavy_and_has_every_name():
    code = "import sys, ffrecur; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    for name in ffrecur.__all__:
        assert getattr(ffrecur, name) is not None
        assert name in dir(ffrecur)
    assert ffrecur.errors.UserError is ffrecur.UserError  # modules are found too
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ffrecur.nothing


def test_help_names_every_command_in_a_line(capsys):
    assert main.run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, what in main.COMMANDS.items():
        assert f"  {name:<10}{what}\n" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("command", SCREENS)
def test_the_help_of_a_command_begins_with_what_matters(command, workplace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ffrecur", command, "--help"])
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit, match="^0$"):
        main.run([command, "--help"])
    lines = out.getvalue().splitlines()
    first = lines[: lines.index("All options, in groups:")]
    assert first[0].startswith(f"usage: ffrecur {command} [")
    assert lines.index("") <= 2  # lines of usage
    assert len(first) <= 24  # a terminal has as many
    assert max(map(len, first)) <= 100
    for option in ("--ckpt_path", "--data.source", "--trainer.default_root_dir", "--model.help", "--print_config"):
        assert any(line.strip().startswith(option) for line in first), option
    assert sum(line.startswith(f"  ffrecur {command}") for line in first) == 3
    titles = [line for line in lines[len(first) + 1 :] if line and not line.startswith(" ")]
    assert titles == ["Configuration:", "Model:", "Data:", "Runs:", "Trainer:"]
    assert sum(line.startswith("usage:") for line in lines) == 1


def test_the_first_screen_of_fit_has_its_options():
    screen = SCREENS["fit"]
    names = [option.split()[0] for option in screen.options]
    assert names[:4] == ["--config", "--data.source", "--model.hidden_features", "--trainer.max_epochs"]
    assert set(SCREENS) == set(main.COMMANDS) - {"generate", "export", "runs", "report"}


def test_the_first_screen_comes_before_anything_heavy():
    code = "import sys; from ffrecur.commands.first_screen import first_screen; print(first_screen('fit')); "
    code += "print({'torch', 'lightning', 'jsonargparse'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ffrecur fit ")
    assert done.stdout.endswith("set()\n")


CHILD = "import os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_wait_briefly_in_this_process_and_in_those_it_starts(given, seen):
    code = f"""
import os, subprocess, sys
from ffrecur import main
def run(arguments):
    print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), flush=True)
    assert "torch" not in sys.modules  # which reads it when it is imported
    return subprocess.call([sys.executable, "-c", {CHILD!r}])
main.run = run
main.entry_point()
"""
    environment = {name: value for name, value in os.environ.items() if name not in main.WAITING_CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [seen, seen]


def test_no_command_is_a_mistake(capsys):
    assert set(main.COMMANDS) == set(SUBCOMMANDS)
    assert main.run([]) == 2
    assert capsys.readouterr().err.startswith("error: subcommand is missing; give fit, validate")


def test_version_and_module():
    done = subprocess.run([sys.executable, "-m", "ffrecur", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ffrecur {ffrecur.__version__}\n"


def test_runs_are_listed(trained, capsys):
    assert run("test").code == 0
    first = only_run()
    other = Path("runs") / "tales-20200102-030405"
    other.mkdir()
    (other / "config.yaml").touch()
    (other / "metrics.csv").write_text("epoch,val/bits_per_character\n0,2.5\n1,2.25\n2,2.375\n3,\n")
    (Path("runs") / "notes").mkdir()
    assert runs.main([]) == 0
    header, newest, oldest = capsys.readouterr().out.splitlines()
    assert header.split() == ["task", "begun", "epochs", "best", "validation", "test", "folder"]
    error = json.loads((first / "test_results.json").read_text())["error"]
    assert newest.split()[3:4] == ["2"]
    assert f"error {error:.2%}" in newest
    assert newest.endswith(str(first))
    assert oldest.split() == ["tales", "2020-01-02", "03:04", "4", "bits", "2.250", "-", str(other)]


def test_runs_by_other_names_and_mistakes(workplace, capsys):
    for name in ("small-20260101-000061", "notes"):
        (Path("runs") / name).mkdir(parents=True)
        (Path("runs") / name / "config.yaml").touch()
    assert runs.main([]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["small-20260101-000061", "-"],
        ["notes", "-"],
    ]
    assert runs.main(["--rot=elsewhere"]) == 2
    assert capsys.readouterr().err == "error: --rot is not an option (nearest: --root)\n"


@pytest.mark.parametrize("content", ["", "epoch\n", "epoch,val/error\nx,y\n", '"', "\0\0"])
def test_damaged_files_of_a_run_say_nothing(content, workplace, capsys):
    folder = Path("runs") / "a"
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "metrics.csv").write_text(content)
    (folder / "test_results.json").write_text(content)
    assert runs.main([]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["a", "-", "-", "-", "-", str(folder)]


def test_no_runs(workplace, capsys):
    assert runs.main(["--root", "elsewhere"]) == 0
    assert capsys.readouterr().out == "There is no run in 'elsewhere' yet: ffrecur fit trains one.\n"
