"""Text takes a few bytes a character: one as a symbol, four in the order of an epoch, and passing strings."""

import json
import subprocess
import sys
from pathlib import Path

import bench_data
import pytest
from bench_data import write_text

from ffrecur.data import CorpusDataModule


def peak_of(folder, megabytes):
    """The bytes by which reading so much text, and 1,000 batches of it, raise the memory of a new process.

    One that is forked would fill what earlier tests have given back, and grow by less.
    """
    folder.mkdir()
    write_text(folder, megabytes)
    command = [sys.executable, bench_data.__file__, "--measure", "text", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])["peak_mib"] * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_grows_by_a_few_bytes_a_character(tmp_path):
    small, large = (peak_of(tmp_path / str(size), size) for size in (4, 24))
    assert 3 < (large - small) / 20e6 < 8  # less than the order of the training documents alone would be no measurement


def test_what_is_held_of_a_text(tmp_path):
    write_text(tmp_path, 1)
    data = CorpusDataModule(str(tmp_path / "text.txt"), r"\n\n", split_seed=3)
    data.setup("fit")
    loader = data.train_dataloader()
    characters = sum(len(document) for document in data.train_documents)
    assert len(loader.places_M) == characters - 10 * 900
    text = data.train_text
    assert len(text.symbols_N) * text.symbols_N.element_size() == characters
    by_document = (text.begins, loader.places_M.stops, loader.places_M.shifts)
    assert sum(tensor.untyped_storage().nbytes() for tensor in by_document) == (901 + 900 + 900) * 8
    assert text.symbols_N.untyped_storage().nbytes() == characters
    assert all(isinstance(data.train_documents[number], str) for number in (0, 899))
