"""The benchmark of waiting threads: each case has its setting and no other, and it runs."""

import pytest
from bench_threads import CASES, environment, load, main, table


def test_a_case_has_its_setting_alone(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    for threads, setting in CASES:
        found = environment(threads, setting)
        names = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(found)
        assert [f"{name}={found[name]}" for name in names] == ([setting] if setting else [])
        assert found["OMP_NUM_THREADS"] == str(threads)


def test_the_load_ends_with_the_block():
    with load(2) as busy:
        assert [process.poll() for process in busy] == [None, None], "they run"
    assert all(process.poll() is not None for process in busy)


def test_the_table_has_medians():
    lines = table({(1, ""): {0: [1.0, 5.0, 1234.4], 2: [3.0]}, (2, "A=1"): {0: [2.0], 2: [4.0]}}, [0, 2]).splitlines()
    assert lines[0] == "| threads | setting | idle | 2 busy processes |"
    assert lines[2:] == ["| 1 | none | 5 | 3 |", "| 2 | A=1 | 2 | 4 |"]


@pytest.mark.slow
def test_it_measures_and_prints_a_table(capfd):
    main(["--hidden", "8", "8", "--seconds", "0.05", "--repeats", "1", "--busy", "1"])
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 4 + len(CASES)
    assert err == ""
