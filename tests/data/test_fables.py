"""The bundled fables keep their own rules."""

import re
from importlib import resources

from ffrecur.data.documents import read_documents
from ffrecur.text.alphabet import Alphabet
from ffrecur.text.quality import grams


def fables():
    documents = read_documents("bundled")
    return [*documents.train, *documents.validation, *documents.test]


def test_how_many_and_how_long():
    documents = read_documents("bundled")
    assert (len(documents.train), len(documents.validation), len(documents.test)) == (248, 26, 26)
    assert min(map(len, fables())) >= 110
    assert max(map(len, fables())) <= 400


def test_no_two_share_a_run_of_40_characters():
    owner = {}
    for number, fable in enumerate(fables()):
        for run in grams([fable.lower()], 40):
            assert owner.setdefault(run, number) == number, run


def test_every_character_is_one_of_the_papers_once_case_is_folded():
    assert not Alphabet().unknown_in("".join(fables()))


def test_openings_vary():
    openings = [" ".join(fable.split()[:3]) for fable in fables()]
    assert len(set(openings)) > 0.9 * len(openings)


def test_the_file_is_plain():
    text = resources.files("ffrecur.data").joinpath("fables.txt").read_text(encoding="utf-8")
    assert text.endswith(".\n")
    assert not re.search(r"  |\t|\n\n\n", text)
