"""Documents from files, folders and data sets, and everything that can be wrong with them."""

import re

import datasets
import pytest

from ffrecur import UserError
from ffrecur.data import CorpusDataModule
from ffrecur.data.cutting import compile_separator, cut
from ffrecur.data.documents import read_documents
from ffrecur.data.textsplits import split_documents
from ffrecur.text.places import places, windows_at

TITLES = r"^[^a-z\n]+\n\n"
BOOK = "THE FOX\n\nA fox ran\noff.\n\nIt came back.\n\nTHE HEN, AND I\n\nA hen\tsat.\n"


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(BOOK)
    return path


def refused(message, *arguments, **options):
    with pytest.raises(UserError) as error:
        read_documents(*arguments, **options)
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), str(error.value)


def test_a_file_is_cut_where_the_separator_matches(book):
    documents = read_documents(str(book), TITLES)
    assert documents.train == ["A fox ran off. It came back.", "A hen sat."]
    assert documents.validation is None
    assert documents.test is None
    assert "book.txt" in documents.description


def test_groups_in_a_separator_are_left_out_too():
    assert cut("one1two2three", re.compile("([0-9])")) == ["one", "two", "three"]


def test_a_folder_has_a_document_a_file(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("zwei\n")
    (tmp_path / "a.txt").write_text("\ufeffeins", encoding="utf-8")
    (tmp_path / "c.txt").write_text("three -- four")
    assert read_documents(str(tmp_path)).train == ["eins", "zwei", "three -- four"]
    assert read_documents(str(tmp_path), "--").train == ["eins", "zwei", "three", "four"]


@pytest.mark.parametrize("form", ["parquet", "json", "csv", "saved"])
def test_data_sets(tmp_path, form):
    made = datasets.Dataset.from_dict({"text": ["one fish", "two fish"], "source": ["x", "y"], "number": [1, 2]})
    if form == "saved":
        datasets.DatasetDict({"train": made, "valid": made.select([1])}).save_to_disk(str(tmp_path / "data"))
    else:
        (tmp_path / "data").mkdir()
        getattr(made, f"to_{form}")(tmp_path / "data" / f"train.{form}")
    documents = read_documents(str(tmp_path / "data"))
    assert documents.train == ["one fish", "two fish"]
    assert documents.validation == (["two fish"] if form == "saved" else None)
    assert read_documents(str(tmp_path / "data"), text_column="source").train == ["x", "y"]
    refused(
        "data.text_column is 'number', but must be a column of text: text, source",
        str(tmp_path / "data"),
        text_column="number",
    )


def test_data_sets_without_a_text_column(tmp_path):
    datasets.Dataset.from_dict({"number": [1, 2]}).to_parquet(tmp_path / "train.parquet")
    refused("which has no text column; its columns are number", str(tmp_path))


def test_data_sets_with_several(tmp_path):
    datasets.Dataset.from_dict({"a": ["x"], "b": ["y"]}).to_parquet(tmp_path / "train.parquet")
    refused("which has several text columns, a, b: set data.text_column; its columns are a, b", str(tmp_path))


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    refused("whose file empty.txt is empty", str(tmp_path / "empty.txt"))


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "latin.txt").write_bytes("ein Füchslein".encode("latin-1"))
    refused(r"whose file latin.txt is not UTF-8: byte 5 is 0xfc", str(tmp_path / "latin.txt"))


@pytest.mark.parametrize(
    ("separator", "message"),
    [
        ("CHAPTER", "data.document_separator, 'CHAPTER', matches nowhere"),
        (None, "62 .*: split by place, .* has 0, but"),
    ],
)
def test_a_separator_that_finds_one_document(book, separator, message):
    data = CorpusDataModule(str(book), separator)
    with pytest.raises(UserError, match=f"book.txt', which has one document, .*{message}"):
        data.setup("fit")


def test_the_byte_of_a_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfab\xff")
    refused("is not UTF-8: byte 5 is 0xff", str(tmp_path / "marked.txt"))


@pytest.mark.parametrize("form", ["parquet", "json", "jsonl", "csv"])
def test_a_single_file_of_a_data_set(tmp_path, form):
    made = datasets.Dataset.from_dict({"text": ["one fish", "two fish"]})
    getattr(made, f"to_{form}".replace("jsonl", "json"))(tmp_path / f"tales.{form}")
    documents = read_documents(str(tmp_path / f"tales.{form}"))
    assert documents.train == ["one fish", "two fish"]
    assert f"tales.{form}" in documents.description


def test_a_broken_file_of_a_data_set(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    refused("whose file broken.parquet cannot be read as a table: ", str(tmp_path / "broken.parquet"))


def test_a_licence_beside_a_data_set_is_no_text(tmp_path):
    datasets.Dataset.from_dict({"text": ["one fish", "two fish"]}).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "LICENSE.txt").write_text("Do as you please.")
    assert read_documents(str(tmp_path)).train == ["one fish", "two fish"]


def test_a_split_without_text(tmp_path):
    train, empty = (
        datasets.Dataset.from_dict({"text": ["a fish swam by"] * 3}),
        datasets.Dataset.from_dict({"text": [" "]}),
    )
    datasets.DatasetDict({"train": train, "test": empty}).save_to_disk(str(tmp_path / "data"))
    with pytest.raises(UserError, match="data', which has no text for test"):
        CorpusDataModule(str(tmp_path / "data")).setup("test")


def test_names_that_no_file_can_have():
    refused("which is not there", "~nobody_of_that_name/tales.txt")
    refused("which is not there", "x/" * 20 + "y" * 300)


@pytest.mark.parametrize(
    ("separator", "message"),
    [
        ("(", r"data.document_separator is '\(', which is no regular expression"),
        ("x*", "does not match an empty text"),
        ("a{99999999999}", "which is no regular expression"),
    ],
)
def test_bad_separators(book, separator, message):
    refused(message, str(book), separator)


def test_a_separator_may_look_ahead_and_leave_nothing_out(tmp_path):
    (tmp_path / "book.txt").write_text("CHAPTER I\nonce\nCHAPTER II\ntwice\n")
    pattern = compile_separator("(?=^CHAPTER)")
    assert cut((tmp_path / "book.txt").read_text(), pattern) == ["CHAPTER I once", "CHAPTER II twice"]


def test_a_letter_that_depends_on_the_next_one_is_read_as_in_its_document(tmp_path):
    """A sigma is another letter at the end of a word; where a document is cut is no end of a word."""
    words = "ABCDEFGHIJKL\N{GREEK CAPITAL LETTER SIGMA}MNOPQRST"
    (tmp_path / "greek.txt").write_text("\n\n".join([words] * 12), encoding="utf-8")
    settings = {"document_separator": "\n\n", "alphabet": "learned", "unknown": "error", "window": 4}
    data = CorpusDataModule(str(tmp_path / "greek.txt"), document_length=13, **settings)
    data.setup("fit")
    assert data.train_documents[0] == "abcdefghijkl\N{GREEK SMALL LETTER SIGMA}"
    assert data.alphabet.symbols == "abcdefghijkl\N{GREEK SMALL LETTER SIGMA}"
    (tmp_path / "greek.txt").write_text("\n\n".join([*[words] * 11, "ABCDE!" + words]), encoding="utf-8")
    data = CorpusDataModule(str(tmp_path / "greek.txt"), document_length=13, **settings)
    with pytest.raises(UserError, match="has '!' at character 6"):
        data.setup("fit")


def test_documents_without_spaces_have_none_in_their_alphabet(tmp_path):
    (tmp_path / "dna.txt").write_text("\n\n".join(["acgtacgt"] * 12))
    data = CorpusDataModule(str(tmp_path / "dna.txt"), document_separator="\n\n", alphabet="learned", window=4)
    data.setup("fit")
    assert data.alphabet.symbols == "acgt"


def test_a_source_that_is_not_there():
    refused("data.source is './nowhere.txt', which is not there", "./nowhere.txt")


def test_splits_by_document_have_no_document_in_common():
    documents = [f"document {number}" for number in range(30)]
    train, validation = split_documents("tales", documents, None, None)
    assert (train, validation) == (documents[:27], documents[27:])
    for seed in (0, 1):
        train, validation = split_documents("tales", documents, 7, seed)
        assert sorted(train + validation) == sorted(documents)
        assert len(validation) == 7
    assert split_documents("tales", documents, 7, 0) != split_documents("tales", documents, 7, 1)
    with pytest.raises(UserError, match="data.validation_size is 30, but must be less than the 30 documents"):
        split_documents("tales", documents, 30, None)


def test_no_window_has_characters_of_two_documents(tmp_path):
    """Every window of every split stands in a document of that split, and in none of another."""
    stories = [f"{chr(97 + number) * 3} and then {chr(97 + number) * 4} went." for number in range(9)]
    (tmp_path / "tales.txt").write_text("\n\n".join(stories))
    data = CorpusDataModule(str(tmp_path / "tales.txt"), "\n\n", window=4, split_seed=3, validation_size=3)
    data.setup("fit")
    assert set(data.train_documents).isdisjoint(data.validation_documents)
    for text, documents in ((data.train_text, data.train_documents), (data.validation_text, data.validation_documents)):
        assert text is not None
        windows = [data.alphabet.decode(window) for window in windows_at(text, places(text, 4), 5)]
        assert len(windows) == sum(len(document) - 4 for document in documents)
        assert all(any(window in document for document in documents) for window in windows)


def test_a_table_is_not_counted_over_the_network(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("text\none\n")
    monkeypatch.setattr("datasets.config.HF_UPDATE_DOWNLOAD_COUNTS", True)
    counted, load = [], datasets.load_dataset

    def watched(*args, **kwargs):
        counted.append(datasets.config.HF_UPDATE_DOWNLOAD_COUNTS)
        return load(*args, **kwargs)

    monkeypatch.setattr("datasets.load_dataset", watched)
    assert read_documents(str(tmp_path / "a.csv")).train == ["one"]
    assert counted == [False]
    assert datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
