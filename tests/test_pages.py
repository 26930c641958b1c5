"""The pages are right: the Python of `extending.md` is one file, its commands train, test and continue; names and links exist."""

import ast
import contextlib
import importlib
import io
import re
import shlex
import sys
from pathlib import Path
from unittest.mock import ANY

import make_site
import pages
import pytest
import running
import torch
from pages import DOCS, OF_SITE, PAGES, ROOT, anchors, lines, links, name_of

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.core import reference
from ffrecur.core.learning import Learning, local_learning
from ffrecur.data import ImageDataModule

MADE = {DOCS / "live" / f"{name}.html" for name in make_site.LIVE}  # pages of the site that `make docs` makes


def blocks(kind):
    """Return the blocks of `extending.md` of a kind, such as "python"."""
    return [block.text for block in pages.blocks(pages.LAB) if block.info == kind]


def named(block):
    """Return what a block is about, such as "model.goodness=my_lab.TopK"."""
    return next(
        word.removeprefix("--")
        for word in block.split()
        if word.startswith(("--model", "--data", "--trainer.callbacks"))
    )


# --- extending --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder with the page's `my_lab.py`, in which commands are typed."""
    (tmp_path / "my_lab.py").write_text("\n\n".join(blocks("python")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_lab", raising=False)
    yield importlib.import_module("my_lab")
    sys.modules.pop("my_lab", None)


def test_what_the_page_does_in_python_runs(lab):
    names = dict(vars(lab))
    for block in blocks("python loop"):
        exec(block, names)  # one after another, as a reader would
    assert all(parameter.grad is not None for parameter in names["net"].parameters())


def test_the_pages_own_net_learns_by_the_gradients_of_the_reference(lab):
    torch.manual_seed(0)
    net = lab.Stack(20, (8, 6), 4, sign=-1).double()
    torch.nn.init.normal_(net.head.weight)
    images, labels = torch.rand(5, 20, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    found = []
    for learn in (local_learning, reference.local_learning):
        net.zero_grad()
        learned = learn(net, images, labels, (labels + 1) % 4, Learning(iterations=1))
        learned.loss.backward()
        found.append([learned.loss.detach(), *(parameter.grad for parameter in net.parameters())])
    for one, two in zip(*found, strict=True):
        assert one.any()
        assert torch.allclose(one, two, rtol=1e-12, atol=1e-13)


def test_the_pages_own_net_learns_the_digits(lab):
    data = ImageDataModule("bundled")
    data.setup("fit")
    train_set, test_set = data.train_set, data.test_set
    torch.manual_seed(0)
    net = lab.Stack(784, (100, 100), 10, sign=-1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for chosen in torch.randint(4000, (150, 50)):
        optimizer.zero_grad()
        given = train_set.images[chosen] / 255, train_set.labels[chosen], ffrecur.negatives.hard_labels
        local_learning(net, *given, Learning(iterations=1)).loss.backward()
        optimizer.step()
    assert (net.score(test_set.images / 255).argmax(dim=1) == test_set.labels).float().mean() > 0.8


def run(command, *words):
    """Run a command; return its exit code and what it wrote to standard error."""
    if command != "export":
        code, _, err = running.run(command, *words)
        return code, err
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = export(words)
    return code, err.getvalue()


def type_in(line, epochs):
    """Run a command of the page, on little data and with few units."""
    command, *words = shlex.split(line.split("#")[0])[1:]
    words = [str(ROOT / word) if word.startswith("tasks/") else word for word in words]
    if command == "fit":
        words += [f"--trainer.max_epochs={epochs}", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
        if "--ckpt_path" not in words and "hidden_features" not in line:
            words.append("--model.hidden_features=[12,10]")
    code, err = run(command, *words)
    assert code == 0, f"{line}: {err}"


@pytest.mark.parametrize("block", blocks("bash"), ids=named)
def test_the_pages_commands_run_in_order(block, lab):
    for number, line in enumerate(block.splitlines(), start=1):
        type_in(line, epochs=number)
    if Path("exported").is_dir():
        own = {"goodness": lab.TopK} if "TopK" in block else {}
        net = ffrecur.load("exported", **own)
        assert net.goodness_function == (lab.TopK(share=0.1) if own else ffrecur.MeanSquare())


def test_a_class_of_ones_own_must_be_named_again(lab):
    (first,) = [block for block in blocks("bash") if "TopK" in block]
    type_in(first.splitlines()[0], epochs=1)
    further = ["fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--trainer.limit_train_batches=2"]
    for command in (["test"], further):
        code, err = run(*command)
        assert code == 2
        assert "--model.goodness=my_lab.TopK" in err
    (config,) = Path("runs").glob("*/config.yaml")
    assert run(*further, f"--config={config}") == (0, ANY)


# --- the pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in links(page):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = page if not file else (page.parent / file).resolve()
        assert path.exists() or path in MADE, target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", OF_SITE, ids=name_of)
def test_pages_of_the_site_link_to_the_site_or_to_the_public(page):
    for target in links(page):
        if re.match(r"https://", target):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        if path in MADE:
            continue
        assert path.is_relative_to(DOCS), f"{target}: a file of the repository is named without a link"
        assert path.suffix in (".md", ".png", ".svg", ".gif") or path == page.parent, target


def test_the_map_has_every_page_once():
    named = re.findall(r"^ +- (?:[^:\n]+: )?([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in OF_SITE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_one_title_and_it_comes_first(page):
    headings = [line for _, line in lines(page) if re.match(r"#+ ", line)]
    assert [line for line in headings if line.startswith("# ")] == headings[:1]


def test_what_the_architecture_names_is_where_it_says():
    found_in_page = re.findall(r"`([\w/]+\.py): ([\w.]+)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(found_in_page) > 50
    for file, name in found_in_page:
        module = importlib.import_module("ffrecur." + file.removesuffix(".py").replace("/", "."))
        found = module
        for part in name.split("."):
            found = getattr(found, part)
        assert found.__module__ == module.__name__, f"{file}: {name}"


def test_the_picture_has_the_floors_that_the_imports_are_held_to():
    """Those of `tests/test_strata.py`, read as text: no test imports a test."""
    from floors import FLOORS

    held_to = re.search(
        r"^FLOORS = (\[.*?\])", (ROOT / "tests" / "test_strata.py").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    assert [set(floor) for floor in FLOORS] == [set(rooms.split()) for rooms in ast.literal_eval(held_to)]
    parts = {
        file.stem for file in (ROOT / "ffrecur").iterdir() if file.suffix == ".py" or (file / "__init__.py").is_file()
    }
    assert {room for floor in FLOORS for room in floor} == parts - {"__init__", "__main__", "main", "hub"}


def test_the_changelog_has_a_heading_for_this_version_and_none_for_a_later_one():
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings == ["Unreleased", ffrecur.__version__]
