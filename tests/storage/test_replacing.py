"""A file that is being written appears whole or not at all."""

from pathlib import Path

import pytest

from ffrecur.storage.files import replacing


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "results.json"
    if old is not None:
        path.write_text(old)

    def write() -> None:
        with replacing(str(path)) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == ({path.name: old} if old else {})


def test_nothing_written_is_an_error_and_no_file(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert not list(Path(tmp_path).iterdir())
