"""Each mistake that the fuzzer found once, and headers that lie about sizes, read in little memory."""

import functools
import gzip
import importlib
import inspect
import os
import resource
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from making import drawn_net, write_checkpoint
from running import TINY, run

import ffrecur
import ffrecur.data
import ffrecur.lit
from ffrecur.commands.generate import main as generate
from ffrecur.data.documents import read_documents
from ffrecur.data.idx import read_idx
from ffrecur.lit.run.known import arguments_of
from ffrecur.storage.checkpoint import NET_KEY

LONG = "x" * 5000
TEN = ", ".join
NESTED = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{TEN([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        ('trainer: "\\0"', "must be without NUL characters"),
        ("[" * 5000, "not valid YAML"),
        ("seed_everything: 2020-99-99", "not valid YAML"),
        ("seed_everything: " + "9" * 5000, "not valid YAML"),
        ("a: &a [*a]", "more than 10,000 values or 40 levels"),
        ("model: &m {class_path: RecurrentModule, init_args: *m}", "more than 10,000 values or 40 levels"),
        (NESTED, "more than 10,000 values or 40 levels"),
        ("- a", "holds no settings"),
        ("", "holds no settings"),
        (b"data: \xff", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['touch harm']", "not valid YAML"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_configuration_files(workplace, content, piece):
    Path("x.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = run("fit", "--config=x.yaml")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: config is 'x.yaml', which ")
    assert piece in line
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", f"--config={LONG}"],
        ["fit", f"--data.source={LONG}/x"],
        ["fit", f"--trainer.default_root_dir={LONG}", *TINY],
        ["fit", f"--ckpt_path={LONG}"],
        ["test", f"--trainer.default_root_dir={LONG}"],
        ["fit", "--model=CharModule", "--data=CorpusDataModule", "--model.hidden_features=null"],
        ["fit", "--model=BackpropModule", *TINY, "--model.hidden_features=null"],
    ],
    ids=lambda value: value[-1][:30],
)
def test_names_that_no_file_can_have_and_null(workplace, arguments):
    outcome = run(*arguments)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: ")


def settings_of(owner):
    """The parameters of a class, those that it hands on to its bases among them."""
    found = {}
    for name in arguments_of(owner):
        signatures = (inspect.signature(kind.__init__) for kind in owner.__mro__ if "__init__" in vars(kind))
        found[name] = next(each.parameters[name] for each in signatures if name in each.parameters)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"), [("RecurrentModule", "ImageDataModule"), ("CharModule", "CorpusDataModule")]
)
def test_null_for_every_setting(workplace, monkeypatch, model, data):
    monkeypatch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(lambda *_, **__: None))
    owners = (("model", getattr(ffrecur.lit, model)), ("data", getattr(ffrecur.data, data)))
    for group, owner in owners:
        for name, parameter in settings_of(owner).items():
            source = ["--data.source=digits"] if data == "ImageDataModule" else []
            outcome = run("fit", f"--model={model}", f"--data={data}", *source, f"--{group}.{name}=null")
            if "None" in str(parameter.annotation):
                assert "is null" not in outcome.err
            elif name != "seed":  # it is linked to seed_everything
                assert outcome.code == 2, name
                assert outcome.err.startswith("error: ")
                assert len(outcome.err.strip().splitlines()) == 1


def test_a_net_too_large_for_the_memory(workplace, monkeypatch):
    def refuse(net: ffrecur.RecurrentNet) -> None:
        if net.head.weight.device.type != "meta":
            raise RuntimeError("no\nmemory")

    monkeypatch.setattr(ffrecur.RecurrentNet, "reset_parameters", refuse)
    outcome = run("fit", *TINY)
    assert (outcome.code, outcome.err) == (
        2,
        "error: hidden_features is [12, 10], a net that cannot be made: no memory\n",
    )


HUGE = 10**13


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ([f"--model.hidden_features=[{HUGE},{HUGE}]"], f"hidden_features is [{HUGE}, {HUGE}]"),
        (
            ["--model=BackpropModule", f"--model.hidden_features=[{HUGE},{HUGE}]"],
            f"hidden_features is [{HUGE}, {HUGE}]",
        ),
        (
            ["--model=BackpropModule", "--model.channels=[3]", f"--model.kernel={HUGE}"],
            f"channels is [3] and kernel is {HUGE} and hidden_features is [12, 10]",
        ),
        (
            ["--model=FeedForwardModule", f"--model.layers=[{{kernel: 3, out_channels: {HUGE}}}]"],
            f"layers is [{{'kernel': 3, 'out_channels': {HUGE}}}]",
        ),
        (
            ["--model=CharModule", "--data=CorpusDataModule", f"--model.hidden_features=[{HUGE},{HUGE}]"],
            f"hidden_features is [{HUGE}, {HUGE}]",
        ),
    ],
)
def test_a_net_too_large_for_numbers(options, sizes, workplace):
    data = [] if "CharModule" in options[0] else TINY
    outcome = run("fit", *data, *options)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: {sizes}, a net that cannot be made: ")


def test_a_single_callback_of_the_users(workplace):
    Path("one.yaml").write_text("trainer: {callbacks: {class_path: LearningRateMonitor}}\n")
    assert run("fit", *TINY, "--config=one.yaml").code == 0


def test_many_samples_are_not_made_all_at_once(tmp_path, capsys):
    ffrecur.save(ffrecur.CharNet(hidden_features=(3,)), tmp_path)
    assert generate(["--checkpoint", str(tmp_path), "--length=0", "--num_samples=1000", "--prompt=a"]) == 0
    assert capsys.readouterr().out == "a\n" * 1000

    lines = iter(range(100))

    def interrupted(*_: object, **__: object) -> None:
        if next(lines) == 50:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", interrupted)
        assert generate(["--checkpoint", str(tmp_path), "--length=0", f"--num_samples={10**12}"]) == 130


# --- headers that lie -----------------------------------------------------------------------------------------------


def memory_for(read):
    """Call `read` in a process of its own that may take 200 MB more; return those that it took, in megabytes."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 200 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read()
            answer = "it was read"
        except ffrecur.UserError:
            answer = str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        except BaseException as error:
            answer = repr(error)
        os.write(send, answer.encode()[:1000])
        os._exit(0)
    os.close(send)
    os.waitpid(child, 0)
    with os.fdopen(receive) as answers:
        return float(answers.read())


def idx_header(*sizes):
    return bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_lying_headers_take_little_memory(tmp_path):
    largest = 2**32 - 1
    plain, zipped, bomb = tmp_path / "plain", tmp_path / "zipped.gz", tmp_path / "bomb.gz"
    plain.write_bytes(idx_header(largest, largest, largest) + bytes(100))
    zipped.write_bytes(gzip.compress(idx_header(largest, largest, largest) + bytes(100)))
    bomb.write_bytes(gzip.compress(idx_header(10, 10, 10) + bytes(10**9), compresslevel=1))
    for path in (plain, zipped, bomb):
        assert memory_for(lambda path=path: read_idx(path, 3)) < 20

    net = drawn_net()
    ffrecur.save(net, tmp_path / "exported")
    weights = tmp_path / "exported" / "model.safetensors"
    raw = weights.read_bytes()
    for length in (2**63, 2**40, 10**8):
        weights.write_bytes(struct.pack("<Q", length) + raw[8:])
        assert memory_for(lambda: ffrecur.load(tmp_path / "exported")) < 20

    squeezed, path = tmp_path / "squeezed.ckpt", write_checkpoint(net, tmp_path / "net.ckpt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
        target.writestr("net/data/99", bytes(3 * 10**8))
    assert memory_for(lambda: ffrecur.load(squeezed)) < 20

    for claim in ({"hidden_features": [10**9, 10**9]}, {"in_features": 10**12}, {"hidden_features": [1] * 10**5}):
        settings = {**net.settings(), **claim}
        named = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
        torch.save({NET_KEY: {"kind": "RecurrentNet", "settings": settings}, "state_dict": named}, path)
        assert memory_for(lambda: ffrecur.load(path)) < 40


def test_resuming_asks_for_weights_only(trained, monkeypatch):
    asked = []

    def noted(*_: object, weights_only: object = None, **__: object) -> None:
        asked.append(weights_only)

    noted.__wrapped__ = Trainer.fit  # with its options
    monkeypatch.setattr(Trainer, "fit", noted)
    assert run("fit", "--ckpt_path=last", "--trainer.max_epochs=3").code == 0
    assert asked == [True]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_text_that_unpacks_to_more_than_it_should(tmp_path):
    """Zeros are no text, which the first part tells; letters are, and as much as there is memory for."""
    zeros, letters = tmp_path / "zeros.txt.gz", tmp_path / "letters.txt.gz"
    zeros.write_bytes(gzip.compress(bytes(10**9), compresslevel=1))
    letters.write_bytes(gzip.compress(b"a b " * 10**8, compresslevel=1))
    importlib.import_module("ffrecur.data.texttables")  # and with it `datasets`, which takes 80 MB
    for name in ("zeros.txt.gz", "zeros.csv.gz", "zeros.jsonl.gz"):
        zeros.rename(tmp_path / name)
        zeros = tmp_path / name
        assert memory_for(lambda path=zeros: read_documents(str(path))) < 20
    assert memory_for(lambda: read_documents(str(letters))) < 400  # where it would take 800
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert memory_for(lambda: read_documents(str(tmp_path / "zero"))) < 20
