"""Damaged and hostile input by the hundred, by the thousand with `-m slow`: an answer that is right, or one sentence.

Every byte of an IDX or a text file is legal, so there a slow reader says what is right. Checkpoints and exported nets have
checksums: what is read is what was written, or nothing is.
"""

import functools
import gzip
import io
import json
import math
import string
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from fuzzer import answer, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning import Trainer
from making import idx_bytes
from running import FIXTURES, run

import ffrecur
from ffrecur.commands.generate import main as generate
from ffrecur.data.bundled import read_bundled
from ffrecur.data.documents import read_documents
from ffrecur.data.idx import read_idx
from ffrecur.lit.run.config import typed_value
from ffrecur.storage.checkpoint import read_checkpoint

FIRST = FIXTURES / "0.1.0"
NORMAL, SLOW = 150, 5000


def amounts(normal=NORMAL, slow=SLOW):
    return pytest.mark.parametrize("examples", [normal, pytest.param(slow, marks=pytest.mark.slow)])


# --- images -----------------------------------------------------------------------------------------------------------


def slow_idx(raw, dimensions):
    """The array of an IDX file, number by number; None for what is none."""
    if len(raw) < 4 + 4 * dimensions or raw[0] or raw[1] or raw[2] != 8 or raw[3] != dimensions:
        return None
    sizes = []
    for axis in range(dimensions):
        size = 0
        for byte in raw[4 + 4 * axis : 8 + 4 * axis]:
            size = size * 256 + byte
        sizes.append(size)
    values = list(raw[4 + 4 * dimensions :])
    return (sizes, values) if math.prod(sizes) == len(values) > 0 else None


def check_idx(path, raw, dimensions=3):
    found, expected = answer(lambda: read_idx(path, dimensions)), slow_idx(raw, dimensions)
    mapped = answer(lambda: read_idx(path, dimensions, limit=0))
    assert str(mapped) == str(found)  # the same numbers or the same message
    if isinstance(found, ffrecur.UserError):
        assert expected is None, str(found)
        return "refused"
    assert (list(found.shape), found.reshape(-1).tolist()) == expected
    return "read"


def digits():
    return idx_bytes(np.random.default_rng(0).integers(0, 256, (5, 4, 3)))


@amounts()
def test_idx_files(tmp_path, examples):
    def check(changed):
        (tmp_path / "x").write_bytes(changed)
        return check_idx(tmp_path / "x", changed)

    counts = fuzz("IDX file", digits(), examples, check)
    assert set(counts) == {"read", "refused"}


@amounts()
def test_gzipped_idx_files(tmp_path, examples):
    packed = gzip.compress(digits(), mtime=0)

    def check(changed):
        (tmp_path / "x.gz").write_bytes(changed)
        found = answer(lambda: read_idx(tmp_path / "x.gz", 3))
        assert str(answer(lambda: read_idx(tmp_path / "x.gz", 3, limit=0))) == str(found)
        if isinstance(found, ffrecur.UserError):
            return "refused"
        assert found.tobytes() == digits()[16:]
        return "read"

    fuzz("gzipped IDX file", packed, examples, check)


@given(
    st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)), min_size=3, max_size=3), st.binary(max_size=80)
)
def test_idx_headers_that_lie(tmp_path_factory, sizes, data):
    folder = tmp_path_factory.mktemp("idx")
    raw = bytes([0, 0, 8, 3]) + struct.pack(">3I", *sizes) + data
    (folder / "x").write_bytes(raw)
    (folder / "x.gz").write_bytes(gzip.compress(raw))
    assert check_idx(folder / "x", raw) == check_idx(folder / "x.gz", raw)


# --- text -------------------------------------------------------------------------------------------------------------

TALES = "Der Fuchs saß im Wald; über ihm — ein Rabe 🐦.\n\nA hen\tand a cow,\r\nat noon.\n\n\u2028Żółw i zając.\n" * 3


def slow_utf8(raw):
    """The code points of bytes, one by one, as RFC 3629 has it; None for what is not UTF-8."""
    values, place = [], 0
    while place < len(raw):
        first = raw[place]
        length = 1 if first < 0x80 else 2 if 0xC2 <= first <= 0xDF else 3 if 0xE0 <= first <= 0xEF else 4
        rest = raw[place + 1 : place + length]
        if first in range(0x80, 0xC2) or first > 0xF4 or len(rest) < length - 1 or any(b >> 6 != 2 for b in rest):
            return None
        value = first if length == 1 else first & (0x7F >> length)
        for byte in rest:
            value = value << 6 | byte & 0x3F
        if value < (0, 0, 0x80, 0x800, 0x10000)[length] or 0xD800 <= value <= 0xDFFF or value > 0x10FFFF:
            return None
        values.append(value)
        place += length
    return values


def slow_units(raw, size, order):
    """The code points of units of 2 bytes, as RFC 2781 has UTF-16, or of 4; None where that is what they are not."""
    if len(raw) % size:
        return None
    units, values = [int.from_bytes(raw[at : at + size], order) for at in range(0, len(raw), size)], []
    while units:
        value = units.pop(0)
        if size == 2 and 0xD800 <= value < 0xDC00 and units and 0xDC00 <= units[0] < 0xE000:
            value = 0x10000 + ((value & 0x3FF) << 10 | units.pop(0) & 0x3FF)
        if 0xD800 <= value <= 0xDFFF or value > 0x10FFFF:
            return None
        values.append(value)
    return values


def slow_text(raw):
    """The documents of a file, byte by byte; None for what is not text, or white space alone."""
    marks = [(b"\xff\xfe\0\0", 4, "little"), (b"\0\0\xfe\xff", 4, "big"), (b"\xff\xfe", 2, "little")]
    for mark, size, order in [*marks, (b"\xfe\xff", 2, "big")]:
        if raw.startswith(mark):
            values = slow_units(raw[len(mark) :], size, order)
            break
    else:
        values = slow_utf8(raw.removeprefix(b"\xef\xbb\xbf"))
    if values is None or 0 in values or raw[:4] in (b"%PDF", b"PK\x03\x04"):
        return None
    characters = []
    for number, value in enumerate(values):
        if value != 10 or values[max(number - 1, 0)] != 13:  # a line feed after a carriage return is part of it
            characters.append("\n" if value in (13, 0x85, 0x2028, 0x2029) else chr(value))
    documents, words, word, index = [], [], "", 0
    while index <= len(characters):
        end = index == len(characters)
        cut = not end and characters[index : index + 2] == ["\n", "\n"]
        if end or cut or characters[index].isspace():
            words, word = words + [word] * (word != ""), ""
        else:
            word += characters[index]
        if end or cut:
            documents, words = documents + [" ".join(words)] * (words != []), []
        index += 2 if cut else 1
    return documents or None


def check_text(path, raw):
    path.write_bytes(raw)
    found, expected = answer(lambda: read_documents(str(path), "\\n\\n")), slow_text(raw)
    if isinstance(found, ffrecur.UserError):
        assert expected is None, str(found)
        return "refused"
    assert found.train == expected
    return "read"


@amounts()
def test_text_files(tmp_path, examples):
    counts = fuzz("text file", TALES.encode(), examples, lambda changed: check_text(tmp_path / "x.txt", changed))
    assert set(counts) == {"read", "refused"}


@given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))))
def test_text_files_of_anything(tmp_path_factory, raw):
    check_text(tmp_path_factory.getbasetemp() / "anything.txt", raw)


TABLES = {
    "tales.csv": b'text,number\r\n"Der Fuchs, alt",1\r\n,2\r\nA hen,\r\n' * 3,
    "tales.jsonl": b'{"text": "Der Fuchs", "number": 1}\n\n{"text": null}\n{"text": "A \\u00e9 hen"}\n' * 3,
    "tales.json": b'[{"text": "Der Fuchs"}, {"text": "A hen"}]',
    "tales.csv.gz": gzip.compress(b"text,number\nDer Fuchs,1\nA hen,2\n" * 5),
    "tales.txt.gz": gzip.compress(b"Der Fuchs\n\nA hen\n" * 5),
}


def check_table(path, raw):
    """Documents, or one sentence that names the file, or the source's columns or rows, but no message of a library alone."""
    path.write_bytes(raw)
    found = answer(lambda: read_documents(str(path), "\\n\\n"))
    if isinstance(found, ffrecur.UserError):
        assert str(found).startswith(f"data.source is '{path}', w"), str(found)
        assert "An error occurred" not in str(found)
        return "refused"
    assert all(isinstance(document, str) and "\0" not in document for document in found.train)
    return "read"


@amounts(15, 150)
@pytest.mark.parametrize("name", TABLES)
def test_tables_and_packed_text(tmp_path, name, examples):
    assert check_table(tmp_path / name, TABLES[name]) == "read"
    counts = fuzz(name, TABLES[name], examples, lambda changed: check_table(tmp_path / name, changed))
    assert counts["refused"]


# --- nets -------------------------------------------------------------------------------------------------------------


def same(found, expected):
    """Whether two nested structures hold the same, tensors bit by bit."""
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and found.numpy().tobytes() == expected.numpy().tobytes()
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and (found == expected or found != found)


def check_net(path, expected):
    """A net that is read is the one that was written."""
    found = answer(lambda: ffrecur.load(path))
    if isinstance(found, ffrecur.UserError):
        return "refused"
    assert found.settings() == expected.settings()
    assert same(dict(found.state_dict()), dict(expected.state_dict()))
    return "read"


@pytest.mark.parametrize("name", ["recurrent.ckpt", "character.ckpt"])
@amounts(100)
def test_checkpoints(tmp_path, name, examples):
    net, content, path = ffrecur.load(FIRST / name), read_checkpoint(FIRST / name), tmp_path / "x.ckpt"

    def check(changed):
        path.write_bytes(changed)
        found = answer(lambda: read_checkpoint(path))
        if isinstance(found, ffrecur.UserError):
            return check_net(path, net)
        assert same(found, content)
        return check_net(path, net)

    fuzz(name, (FIRST / name).read_bytes(), examples, check)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@amounts()
def test_exported_folders(tmp_path, name, examples):
    net = ffrecur.load(FIRST / "recurrent.ckpt")
    ffrecur.save(net, tmp_path / "net")

    def check(changed):
        (tmp_path / "net" / name).write_bytes(changed)
        return check_net(tmp_path / "net", net)

    fuzz(f"exported {name}", (tmp_path / "net" / name).read_bytes(), examples, check)


@pytest.mark.parametrize("name", ["net.json", "weights.pt"])
@amounts()
def test_exported_folders_of_the_first_version(tmp_path, name, examples):
    """Its description has no checksum: a net that is read is the one described."""
    for file in (FIRST / "exported").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    net = ffrecur.load(tmp_path)

    def check(changed):
        (tmp_path / name).write_bytes(changed)
        if name == "weights.pt":
            return check_net(tmp_path, net)
        found = answer(lambda: ffrecur.load(tmp_path))
        if isinstance(found, ffrecur.UserError):
            return "refused"
        described = json.loads(changed)
        assert type(found).__name__ == described["kind"]
        assert found.settings() == described["settings"]
        assert same(dict(found.state_dict()), dict(net.state_dict()))
        return "read"

    fuzz(f"0.1.0's {name}", (FIRST / "exported" / name).read_bytes(), examples, check)


# --- configurations ---------------------------------------------------------------------------------------------------

CONFIG = """\
seed_everything: 3
trainer:
  max_epochs: 2
  gradient_clip_val: null
model:
  class_path: RecurrentModule
  init_args:
    hidden_features: [12, 10]
    sign: -1
    temperature: 0.1
    window: [3, 5]
    optimizer:
      class_path: torch.optim.Adam
      init_args: {lr: 0.001}
data:
  class_path: ImageDataModule
  init_args:
    source: digits
    batch_size: 50
"""


@pytest.fixture
def no_training(workplace, monkeypatch):
    """A command does everything but train, and asks no network for data sets of odd names."""
    monkeypatch.setattr("ffrecur.data.huggingface.hub_is_reachable", lambda: False)
    monkeypatch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(lambda *_, **__: None))  # with its options
    return workplace


def check_config(raw):
    Path("x.yaml").write_bytes(raw)
    outcome = answer(lambda: run("fit", "--config=x.yaml", "--trainer.default_root_dir=runs"))
    torch.set_flush_denormal(False)  # Hypothesis works with denormal numbers
    assert not isinstance(outcome, ffrecur.UserError), "the command line tells it"
    if outcome.code == 0:
        return "taken"
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("error: ")
    return "refused"


@amounts(25, 150)
def test_configuration_files(no_training, examples):
    assert check_config(CONFIG.encode()) == "taken"
    read_bundled()  # the default, which some mutations fall back to; it takes 270 MB once
    fuzz("configuration file", CONFIG.encode(), examples, check_config)


@amounts(500, 5000)
def test_what_is_looked_up_in_configuration_files(tmp_path, examples):
    path = tmp_path / "x.yaml"

    def check(changed):
        path.write_bytes(changed)
        found = answer(lambda: typed_value(["fit", "--config", str(path)], "trainer.max_epochs"))
        if isinstance(found, ffrecur.UserError):
            return "refused"
        assert (
            found == yaml.safe_load(changed.decode()).get("trainer", {}).get("max_epochs")
            if found is not None
            else True
        )
        return "read"

    fuzz("configuration file's setting", CONFIG.encode(), examples, check)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.just(""),
        st.dates(),
        st.binary(max_size=3),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=2)),
    max_leaves=4,
)
PLACES = [
    "seed_everything",
    "ckpt_path",
    "trainer",
    "trainer.default_root_dir",
    "trainer.max_epochs",
    "trainer.callbacks",
    "trainer.accumulate_grad_batches",
    "trainer.precision",
    "model",
    "model.class_path",
    "model.init_args",
    "model.init_args.hidden_features",
    "model.init_args.damping",
    "model.init_args.window",
    "model.init_args.optimizer",
    "model.init_args.optimizer.init_args",
    "model.init_args.optimizer.init_args.lr",
    "data",
    "data.class_path",
    "data.init_args.source",
    "data.init_args.batch_size",
    "data.init_args.validation_size",
]


@settings(max_examples=settings().max_examples // 8)
@given(st.sampled_from(PLACES), VALUES)
def test_configuration_values(no_training, place, value):
    config = yaml.safe_load(CONFIG)
    inside, (*groups, last) = config, place.split(".")
    for group in groups:
        inside = inside[group]
    inside[last] = value
    check_config(yaml.safe_dump(config, allow_unicode=True).encode("utf-8", "surrogatepass"))


# --- generate ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    ffrecur.save(ffrecur.load(FIRST / "character.ckpt"), folder)
    return folder


def generated(capsys, *arguments):
    code = answer(lambda: generate([str(argument) for argument in arguments]))
    out, err = capsys.readouterr()
    assert code in (0, 2)
    if code == 2:
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
    return code, out


PROMPTS = st.text(
    st.one_of(st.sampled_from(string.ascii_letters + " ;,.\n-"), st.characters(exclude_categories=[])), max_size=30
)


@given(prompt=PROMPTS)
def test_prompts(model, capsys, prompt):
    code, out = generated(capsys, "--checkpoint", model, f"--prompt={prompt}", "--length=3")
    if prompt != "-":
        assert code == (2 if any(0xD800 <= ord(character) <= 0xDFFF for character in prompt) else 0)
    if code == 0:
        assert out.startswith(prompt.removesuffix("-") if prompt == "-" else prompt)
        assert len(out) == (0 if prompt == "-" else len(prompt)) + 3 + 1


@given(raw=st.one_of(st.binary(max_size=40), PROMPTS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_prompts_from_standard_input(model, capsys, raw):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
        code, out = generated(capsys, "--checkpoint", model, "--prompt=-", "--length=3")
    try:
        expected = raw.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        assert code == 2
        return
    assert code == 0
    assert out[:-4] == expected


NUMBERS = st.one_of(st.integers(-3, 40), st.integers(), st.floats(), st.text(max_size=5))


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "top_k", "seed", "goodness_temperature", "by"]),
        st.one_of(NUMBERS, st.sampled_from(["score", "softmax", "goodness"])),
        max_size=3,
    ),
    st.one_of(st.integers(-2, 3), st.text(max_size=2)),
)
def test_options_of_generate(model, capsys, options, length):
    typed = [f"--{name}={value}" for name, value in options.items()]
    code, out = generated(capsys, "--checkpoint", model, f"--length={length}", *typed)
    if code == 0:
        assert len(out) == int(length) + 1


@given(st.one_of(st.text(max_size=300), st.just("x" * 5000)))
def test_names_of_checkpoints(model, capsys, name):
    assert generated(capsys, f"--checkpoint={model}/x{name}")[0] == 2
