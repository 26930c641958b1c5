"""The pages of notebooks have the code and the text of their sources; what a page cannot show is refused."""

import base64
import io
import re

import make_notebooks
import pytest
from make_notebooks import NotebookError, make, page_of, small, write
from pages import ROOT, blocks
from PIL import Image

FOLDER = ROOT / "docs" / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
LARGEST_PICTURE = 60_000  # bytes
EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def cells(source, kind):
    """Return the cells of a source in the percent format, of the kind "code" or "markdown", without jupytext."""
    found = []
    for cell in re.split(r"^# %%", source.read_text(), flags=re.MULTILINE)[1:]:
        head, _, text = cell.partition("\n")
        if (kind == "markdown") == ("[markdown]" in head):
            found.append(re.sub(r"^# ?", "", text, flags=re.MULTILINE) if kind == "markdown" else text)
    return [cell.strip() for cell in found]


# --- the pages --------------------------------------------------------------------------------------------------------


def test_there_are_notebooks_each_with_a_page():
    assert len(SOURCES) >= 5
    assert {source.stem for source in SOURCES} | {"index"} == {page.stem for page in FOLDER.glob("*.md")}


@EVERY_SOURCE
def test_a_page_has_the_code_of_its_source(source):
    shown = [block.text.strip() for block in blocks(source.with_suffix(".md")) if block.language == "python"]
    assert shown == cells(source, "code")


@EVERY_SOURCE
def test_a_page_has_the_text_of_its_source_in_order(source):
    page, place = source.with_suffix(".md").read_text(), 0
    for text in cells(source, "markdown"):
        place = page.find(text, place)
        assert place >= 0, f"make notebooks again: the page lacks, or has elsewhere, {text!r}"
        place += len(text)


@EVERY_SOURCE
def test_a_source_is_python_of_some_short_cells(source):
    code = cells(source, "code")
    compile(source.read_text(), source.name, "exec")
    assert 8 <= len(code) <= 20
    assert max(cell.count("\n") for cell in code) <= 40


@EVERY_SOURCE
def test_a_page_names_no_place_of_a_machine_and_no_time_of_a_run(source):
    text = source.with_suffix(".md").read_text()
    assert not re.search(r"/(tmp|home|root|usr|var)/|\d{8}-\d{6}|\d{4}-\d\d-\d\d", text)


def test_the_pictures_are_those_of_the_pages_and_small():
    named = {name for page in FOLDER.glob("*.md") for name in re.findall(r"\]\(images/(\S+)\)", page.read_text())}
    files = list((FOLDER / "images").iterdir())
    assert {file.name for file in files} == named
    assert {file.name: file.stat().st_size for file in files if file.stat().st_size > LARGEST_PICTURE} == {}


# --- the script -------------------------------------------------------------------------------------------------------


def picture():
    """Return a PNG with a comment in it, as a notebook keeps it."""
    kept = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(kept, "PNG", comment="made by a program")
    return kept.getvalue()


def code(source, *outputs, **metadata):
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": list(outputs)}


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def drawn():
    return {
        "output_type": "display_data",
        "data": {"image/png": base64.b64encode(picture()).decode(), "text/plain": "<Figure>"},
    }


def notebook(*of_cells):
    return {"cells": [{"cell_type": "markdown", "source": "# Title", "metadata": {}}, *of_cells]}


def test_outputs_stand_below_their_cell_in_order():
    value = {"output_type": "execute_result", "data": {"text/plain": ["3\n", "4"]}}
    cell = code("f()", printed("one\n"), printed("two"), drawn(), value, alt="A red field")
    page, pictures = page_of(notebook(cell), "red", seconds=61)
    assert page.startswith(
        "# Title\n\n*`make notebooks` made this page from `docs/notebooks/red.py`, with less than 2 minutes"
    )
    printed_first, shown_last = "```text {.output}\none\ntwo\n```", "```text {.output}\n3\n4\n```"
    picture = "![A red field](images/red_1.png)"
    assert page.endswith("\n\n".join(["```python\nf()\n```", printed_first, picture, shown_last]) + "\n")
    assert list(pictures) == ["red_1.png"]


@pytest.mark.parametrize(
    "cell",
    [
        code("draw()", drawn()),
        code("warn()", printed("UserWarning: old", name="stderr")),
        code("fail()", {"output_type": "error", "ename": "ValueError", "evalue": "no"}),
    ],
    ids=["a picture without words", "a warning", "an error"],
)
def test_what_a_page_must_not_have_is_refused(cell):
    with pytest.raises(NotebookError):
        page_of(notebook(cell), "bad", seconds=1)


def test_what_a_program_logs_is_shown():
    page, _ = page_of(notebook(code("log()", printed("4,000 images\n", name="stderr"))), "logs", seconds=1)
    assert page.endswith("```text {.output}\n4,000 images\n```\n")


def test_a_picture_keeps_its_looks_and_nothing_else():
    shrunk = small(picture())
    assert small(picture()) == shrunk
    image = Image.open(io.BytesIO(shrunk))
    assert (image.size, image.convert("RGB").getpixel((5, 5)), image.info.get("comment")) == (
        (40, 20),
        (255, 0, 0),
        None,
    )


def test_pictures_of_an_earlier_page_go(tmp_path):
    write(tmp_path, "net", "# One\n", {"net_1.png": b"1", "net_2.png": b"2"})
    write(tmp_path, "network", "# Another\n", {"network_1.png": b"3"})
    write(tmp_path, "net", "# Two\n", {"net_1.png": b"4"})
    found = {str(file.relative_to(tmp_path)): file.read_bytes() for file in tmp_path.rglob("*.*")}
    assert found == {
        "net.md": b"# Two\n",
        "network.md": b"# Another\n",
        "images/net_1.png": b"4",
        "images/network_1.png": b"3",
    }


@pytest.mark.slow
def test_a_notebook_is_executed_and_an_error_stops(tmp_path, capfd):
    pytest.importorskip("nbmake")
    pytest.importorskip("jupytext")
    source = tmp_path / "sum.py"
    source.write_text("# %% [markdown]\n# # A sum\n\n# %%\nprint(1 + 1)\n")
    assert "sum.md" in make(source, tmp_path / "build")
    assert (tmp_path / "sum.md").read_text().endswith("```python\nprint(1 + 1)\n```\n\n```text {.output}\n2\n```\n")
    source.write_text("# %% [markdown]\n# # A sum\n\n# %%\n1 / 0\n")
    with pytest.raises(NotebookError, match=r"sum\.py fails"):
        make(source, tmp_path / "build")
    assert "print(1 + 1)" in (tmp_path / "sum.md").read_text(), "the page of before stays"
    assert "ZeroDivisionError" in capfd.readouterr().out


def test_the_command_names_what_there_is(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make_notebooks.py", "third_net"])
    with pytest.raises(SystemExit) as stop:
        make_notebooks.main()
    assert stop.value.code == 2
    assert "NAME is third_net, but must be one of " in capsys.readouterr().err
