"""The line that says how many threads compute, and whether they have cores."""

import os

import pytest
import torch
from running import TINY, run

from ffrecur.lit.run import threads


@pytest.mark.parametrize(
    ("load", "now", "busy"),
    [
        (3.2, "3.20 2.00 1.00 4/100 77", 3.0),  # three others and this thread
        (0.1, "0.10 2.00 1.00 4/100 77", 0.1),  # they have just begun, or wait as a rule
        (2.9, "2.90 2.00 1.00 1/100 77", 0.0),  # a command that has just ended
        (2.9, "2.90 2.00 1.00 0/0 77", 0.0),
        (1.5, "", 1.5),
        (1.5, None, 1.5),
    ],
)
def test_cores_that_others_use(load, now, busy, tmp_path, monkeypatch):
    file = tmp_path / "loadavg"
    if now is not None:
        file.write_text(now)
    monkeypatch.setattr(threads, "RUNNING", file)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert threads.busy_cores() == busy


def test_a_system_that_tells_no_load_is_idle(monkeypatch):
    def refuse():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", refuse)
    assert threads.busy_cores() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (16, 16, 11.2),
            "16 threads on 16 cores, of which about 11 are idle: other programs are running, and "
            "OMP_NUM_THREADS=11 may be faster",
        ),
        (
            (2, 2, 1.2),
            "2 threads on 2 cores, of which about 1 is idle: other programs are running, and "
            "OMP_NUM_THREADS=1 may be faster",
        ),
        (
            (4, 8, 3.0, 2),
            "2 processes with 4 threads each on 8 cores, of which about 3 are idle: other programs are running, "
            "and OMP_NUM_THREADS=1 may be faster",
        ),
        (
            (2, 2, -5.0),
            "2 threads on 2 cores, of which none is idle: other programs are running, and "
            "OMP_NUM_THREADS=1 may be faster",
        ),
        ((1, 2, 0.0), "1 thread on 2 cores"),  # it cannot be fewer
        ((1, 1, 1.0), "1 thread on 1 core"),
    ],
)
def test_the_line(arguments, said):
    assert threads.line(*arguments) == said


def test_each_command_says_it_once_before_it_reads_the_data(workplace, monkeypatch):
    monkeypatch.setattr(threads, "busy_cores", lambda: 0.0)
    count, cores = torch.get_num_threads(), threads.usable_cores()
    said = threads.line(count, cores, cores)
    for command in (("fit", *TINY), ("validate",), ("test",), ("predict",)):
        outcome = run(*command)
        assert (outcome.code, outcome.err) == (0, "")
        # Lines that begin with INFO are those of other handlers.
        lines = [line for line in outcome.out.splitlines() if not line.startswith("INFO")]
        assert lines.count(said) == 1
        assert "digits" in lines[lines.index(said) + 1]
