"""Signals to two processes that train together: both stop after the same batch, and neither stays behind."""

import os
import signal
import time
from pathlib import Path

import pytest
from launching import ONE, TESTS, TORCHRUN, TWO, members, started, starting, together
from running import DROPOUT, TINY, check_same, loaded, only_run, rows, run, some_checkpoint, wait_for

FIT = ["-m", "ffrecur.main", "fit"]
EPOCHS = 5
STEPS = EPOCHS * 13  # 50 images train
LONG = [*TINY, *DROPOUT, "--data.batch_size=4", f"--trainer.max_epochs={EPOCHS}", "--checkpoint_seconds=0.05"]
ENDLESS = [*LONG, "--trainer.max_epochs=100000"]
WHOLE = ["fit", *LONG, "--trainer.default_root_dir=whole"]


def send(process, who, *numbers):
    """Send signals to the first process, to the second, or to the group of both; all are there before either goes on."""
    first, second = members(process.pid)
    assert first == process.pid
    os.killpg(process.pid, signal.SIGSTOP)
    for number in numbers:
        if who == "both":
            os.killpg(process.pid, number)
        else:
            os.kill({"first": first, "second": second}[who], number)
    os.killpg(process.pid, signal.SIGCONT)


def stop(who, *numbers, settings=LONG):
    """Train until there is a checkpoint, send signals; return exit code, output, and what was said of mistakes."""
    with starting(*FIT, *settings, *TWO) as process:
        wait_for(lambda: some_checkpoint("runs"), process)
        send(process, who, *numbers)
        out, err = process.communicate(timeout=60)
        # The first process ends last; what a signal has killed at once may take a moment to vanish.
        left = members(process.pid) if len(numbers) == 1 else gone(process.pid)
    assert not left
    return process.returncode, out, err


def gone(group):
    until = time.monotonic() + 5
    while members(group) and time.monotonic() < until:
        time.sleep(0.01)
    return members(group)


def check_stopped(who, number, code):
    """Both processes stop after the same batch, with one checkpoint, and go on to the weights of a run that was not stopped."""
    found, out, err = stop(who, number)
    assert found == code, err
    assert err == ""
    assert out.count("Stopped. To go on: ffrecur fit --ckpt_path last") == 1
    assert out.count("finishing the batch") == (who != "second")
    check_amid()
    for _, err, code in together([WHOLE, ["fit", "--ckpt_path=last"]]):
        assert code == 0, err
    check_whole()


def check_amid():
    files = [path.name for path in only_run().iterdir()]
    assert files.count("last.ckpt") == 1
    assert not [name for name in files if name.startswith(".")], "half written"
    assert 0 < loaded("runs")["global_step"] < STEPS


def check_whole():
    check_same(loaded("runs"), loaded("whole"))
    assert loaded("runs")["global_step"] == STEPS
    assert rows("runs") == rows("whole")


@pytest.mark.slow
def test_a_signal_to_the_first_process_stops_both(workplace):
    check_stopped("first", signal.SIGTERM, 143)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "number", "code"),
    [
        ("both", signal.SIGTERM, 143),
        ("second", signal.SIGTERM, 143),
        ("first", signal.SIGINT, 130),
        ("both", signal.SIGINT, 130),
    ],
)
def test_so_does_any_signal_to_any_of_them(workplace, who, number, code):
    check_stopped(who, number, code)


@pytest.mark.slow
def test_torchrun_passes_a_signal_on(workplace):
    """Its processes are in groups of their own; it ends them all by SIGKILL if one is late."""
    launcher = [*TORCHRUN, "-m", "ffrecur.main", "fit"]
    with starting(*launcher, *LONG, *TWO) as process:
        wait_for(lambda: some_checkpoint("runs"), process)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert out.count("Stopped. To go on: ffrecur fit --ckpt_path last") == 1
    check_amid()
    for command in ([*LONG, "--trainer.default_root_dir=whole", *TWO], ["--ckpt_path=last"]):
        outcome = started(*launcher, *command)
        assert outcome.code == 0, outcome.err
    check_whole()


@pytest.mark.slow
@pytest.mark.parametrize("who", ["first", "both"])
def test_a_second_signal_ends_both_at_once(workplace, who):
    code, out, err = stop(who, signal.SIGTERM, signal.SIGINT, settings=ENDLESS)
    assert code in (143, 130)
    assert err == ""
    assert "Stopped" not in out
    assert loaded("runs")["global_step"] > 0
    assert run("validate", *ONE).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("who", ["first", "both"])
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_outside_of_training_a_signal_ends_both_although_one_waits_for_the_other(workplace, command, who):
    if command == "validate":
        assert run("fit", *TINY).code == 0
    with starting(TESTS / "waiting_process.py", command, *(LONG if command == "fit" else []), *TWO) as process:
        wait_for(lambda: all(Path(f"validating-{rank}").exists() for rank in range(2)), process)
        time.sleep(0.5)  # until the second waits
        send(process, who, signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert not members(process.pid)
    assert process.returncode == 143
    assert err == ""


@pytest.mark.slow
def test_a_row_that_was_lost_is_logged_by_the_first_of_two(workplace):
    """As after a kill between the checkpoint of the epoch's end and the row of metrics.csv, the last one."""
    assert started(*FIT, *TINY, *TWO, "--trainer.max_epochs=1").code == 0
    path = only_run() / "metrics.csv"
    *lines, _ = (whole := path.read_text()).splitlines(keepends=True)
    path.write_text("".join(lines))
    outcome = started(*FIT, "--ckpt_path=last")
    assert outcome.code == 0, outcome.err
    assert path.read_text() == whole
