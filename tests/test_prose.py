"""The pages are readable: a short README, one sentence a line, short lines and cells, plain words."""

import re

import pytest
import yaml
from pages import DOCS, FOREIGN, OF_SITE, PAGES, ROOT, is_table, lines, name_of, shown, without_code

LONGEST_README = 140  # lines
LONGEST_LINE = 300  # characters of the source, outside tables and code
LONGEST_CELL = 200  # characters as they are shown
ABBREVIATIONS = r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bcf)(?<!\b[A-Z])(?<!\bFig)"
SENTENCE_END = re.compile(
    rf"(?<=[\w)'\"%]){ABBREVIATIONS}[.!?][)\"]* +(?=[A-Z*\[])"
)  # a label such as **Result.** ends none
TEX = re.compile(r"\$\$|\\\(|\\\[|\$[^$\s][^$]*[\\^_{][^$]*\$")
ABSOLUTE = re.compile(r"(?<![\w.~/:)>*<\]-])/(?!bin/|proc/)[a-z]+/[\w.]+")  # from the root, save those of every Linux
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


def prose(page):
    """Yield the number and the text of each line that is no code, without the mark of an item of a list."""
    for number, line in lines(page):
        yield number, re.sub(r"^ *([-*]|\d+\.) +", "", without_code(shown(line)))


def cells(row):
    """Return the cells of a row of a table, as they are shown.

    >>> cells("| a | `b | c` | [d](e.md) |")
    ['a', '`b | c`', 'd']
    """
    kept = re.sub(r"(`+)(.+?)\1", lambda code: code[0].replace("|", "\0"), row.replace("\\|", "\0"))
    return [cell.strip().replace("\0", "|") for cell in shown(kept).strip().strip("|").split("|")]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


@EVERY_PAGE
def test_lines_are_short(page):
    wrong = {number: len(line) for number, line in lines(page) if not is_table(line) and len(line) > LONGEST_LINE}
    assert wrong == {}, "number of the line: its length"


@EVERY_PAGE
def test_cells_are_short(page):
    rows = [(number, line) for number, line in lines(page) if is_table(line)]
    wrong = [(number, len(cell)) for number, row in rows for cell in cells(row) if len(cell) > LONGEST_CELL]
    assert wrong == [], "number of the line, length of the cell"


@EVERY_PAGE
def test_a_line_has_one_sentence(page):
    """Save for rows of tables, and what is said of a picture to those who cannot see it."""
    others = {number for number, line in lines(page) if is_table(line) or line.startswith("![")}
    wrong = [number for number, line in prose(page) if number not in others and SENTENCE_END.search(line)]
    assert wrong == [], "numbers of the lines"


@EVERY_PAGE
def test_words_are_plain(page):
    wrong = [(number, found.lower()) for number, line in prose(page) for found in FOREIGN.findall(line)]
    assert wrong == [], "number of the line, word"


@EVERY_PAGE
def test_formulas_are_in_code_font(page):
    """Without a script that would have to be fetched, and readable in a terminal."""
    assert [number for number, line in prose(page) if TEX.search(line)] == []


@EVERY_PAGE
def test_no_path_of_a_machine_is_named(page):
    assert ABSOLUTE.findall(page.read_text()) == [], "paths of a machine"


@pytest.mark.parametrize("page", OF_SITE, ids=name_of)
def test_a_page_begins_with_its_subject(page):
    shown_lines = [line for _, line in lines(page) if line.strip()]
    assert len(shown_lines) > 1, "an empty page"
    assert not shown_lines[1].startswith(("#", "|")), "a title is followed by what the page is about"


def test_titles_in_the_map_are_plain_too():
    def titles(entry):
        if isinstance(entry, dict):
            return [*entry, *(title for below in entry.values() for title in titles(below))]
        return [title for below in entry for title in titles(below)] if isinstance(entry, list) else []

    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    for title in titles(yaml.safe_load(text)["nav"]):
        assert len(title) <= 40, title
        assert not FOREIGN.search(title), title
    assert (DOCS / "index.md").is_file()
