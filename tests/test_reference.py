"""The pages of reference are whole: every setting of our classes is on one, and every public name on the other."""

import importlib
import inspect
import re

import pytest
import yaml
from docstring_parser import parse
from pages import DOCS, FOREIGN, LAB, ROOT, blocks, without_code
from torchmetrics import Metric

import ffrecur
import ffrecur.data
import ffrecur.hub
import ffrecur.lit
import ffrecur.metrics.images
import ffrecur.metrics.text
from ffrecur.lit.run.known import OWN, settings_by_class

SETTINGS, API = DOCS / "settings.md", DOCS / "api.md"
OFFERED = [getattr(home, name) for home in (ffrecur.lit, ffrecur.data) for name in home.__all__]
OWNERS = [kind for kind in OFFERED if not inspect.isabstract(kind)]  # those with settings
GROUPS = {"shared", "training", "settings"}  # arguments that stand for those of a base


def found(path):
    """Return the object with this path, such as "ffrecur.lit.RecurrentModule"."""
    home, name = path.rpartition(".")[::2]
    try:
        return getattr(importlib.import_module(home), name)
    except ImportError:  # of a class, or a module that is not imported by itself
        return getattr(found(home), name)


def documented(page):
    """Return what a page documents: the objects by their paths."""
    return {path: found(path) for path in re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)}


def arguments(owner):
    """Return the names of the arguments that a docstring explains."""
    return {entry.arg_name for entry in parse(inspect.getdoc(owner)).params}


@pytest.mark.parametrize("path", sorted({*documented(SETTINGS), *documented(API)}))
def test_docstrings_on_the_pages_have_plain_words(path):
    text = re.sub(r'"\w+"', "", without_code(inspect.getdoc(found(path)) or ""))  # "beside" is a value of a setting
    assert FOREIGN.findall(text) == []


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_every_setting_of_a_class_is_explained_on_the_page(owner):
    on_page = documented(SETTINGS).values()
    assert owner in on_page
    explained = set().union(*(arguments(base) for base in owner.__mro__ if base in on_page))
    assert {setting.rpartition(".")[2] for setting in settings_by_class()[owner.__name__]} <= explained


def test_the_settings_of_the_program_are_on_the_page():
    for name in OWN:
        assert f"`--{name}`" in SETTINGS.read_text()


@pytest.mark.parametrize("path", documented(SETTINGS))
def test_nothing_is_explained_that_a_class_does_not_take(path):
    owner = documented(SETTINGS)[path]
    assert arguments(owner) - GROUPS <= set(inspect.signature(owner).parameters)


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_a_class_links_to_the_bases_whose_settings_it_takes(owner):
    names = {thing: path for path, thing in documented(SETTINGS).items()}
    after = SETTINGS.read_text().partition(f"\n::: {names[owner]}\n")[2].partition("\n:::")[0]
    for base in owner.__mro__[1:]:
        assert base not in names or f"](#{names[base]})" in after, f"{owner.__name__}: {base.__name__}"


# --- Python -----------------------------------------------------------------------------------------------------------


def public():
    """Return all that is public, by its path."""
    modules = [ffrecur, ffrecur.negatives, ffrecur.lit, ffrecur.data]
    names = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    names += ["ffrecur.hub.from_pretrained", "ffrecur.hub.push_to_hub", "ffrecur.hub.save_pretrained"]
    for module in (ffrecur.metrics.images, ffrecur.metrics.text):
        kinds = [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, Metric)]
        names += [f"{module.__name__}.{kind.__name__}" for kind in kinds if kind.__module__ == module.__name__]
    return {name: found(name) for name in names}


def test_every_public_name_is_on_the_page():
    on_page, text = documented(API), API.read_text()
    missing = [name for name, thing in public().items() if thing not in on_page.values()]
    assert missing == ["ffrecur.negatives"]  # whose names are there one by one
    assert "ffrecur.hub.save_pretrained" in text


def test_what_pages_and_examples_import_is_on_the_page():
    sources = [block.text for block in blocks(LAB) if block.language == "python"]
    sources += [file.read_text() for file in (ROOT / "examples").glob("*.py")]
    imports = [
        line for source in sources for line in re.findall(r"^from (ffrecur\S*) import (.*)$", source, re.MULTILINE)
    ]
    assert len(imports) > 10
    on_page = documented(API)
    members = [vars(thing) for thing in on_page.values() if inspect.ismodule(thing)]
    known = [*on_page.values(), *(member for names in members for member in names.values() if callable(member))]
    for module, names in imports:
        for name in names.split(", "):
            assert found(f"{module}.{name}") in known, f"{module}.{name}"


def test_the_members_that_the_page_lists_exist():
    for path, options in re.findall(r"^::: (\S+)\n    options: (.*)$", API.read_text(), flags=re.MULTILINE):
        for key, names in yaml.safe_load(options).items():
            for name in names if key in ("members", "inherited_members") and names else ():
                assert hasattr(found(path), name), f"{path}.{name}"


def test_the_names_that_nets_promise_are_on_the_page():
    """Those of the plain loop and of an evaluation, of every net that has them."""
    for path, options in re.findall(r"^::: (ffrecur\.\w+Net)\n    options: (.*)$", API.read_text(), flags=re.MULTILINE):
        promised = ("goodness", "label_goodness", "score", "classify", "local_loss", "local_learning", "generate")
        listed = yaml.safe_load(options)["members"]
        assert [name for name in promised if hasattr(found(path), name) and name not in listed] == []
