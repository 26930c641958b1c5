"""The examples run, and the page on extending is right: its Python is one file, and its commands train, test and continue."""

import ast
import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch

import ffrecur
from ffrecur.commands.export import main as export
from ffrecur.commands.train import main as train
from ffrecur.core import reference
from ffrecur.core.learning import Learning, local_learning

ROOT = next(folder for folder in Path(__file__).parents if (folder / "examples").is_dir())
EXAMPLES = sorted(file.stem for file in (ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "extending.md").read_text()
SETTINGS = {"iterations": 3}


@pytest.fixture(autouse=True)
def from_examples(monkeypatch):
    """Import from the folder of the examples, as Python does when one is run."""
    monkeypatch.syspath_prepend(ROOT / "examples")


def example(name):
    return importlib.import_module(name)


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


# --- the examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_an_error_for_each_of_its_nets(name, capsys):
    example(name).main(steps=2)
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 4
    errors = [float(re.search(r": .*?([\d.]+) %$", line)[1]) for line in lines]
    assert all(0 <= error <= 100 for error in errors)
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_imports_what_is_public(name):
    text = (ROOT / "examples" / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    imported = re.findall(r"^(?:from|import) ([\w.]+)", text, flags=re.MULTILINE)
    public = {"ffrecur", "ffrecur.data", "ffrecur.negatives"}
    assert {module for module in imported if module.startswith("ffrecur")} <= public


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_is_and_its_nets_learn(name, tmp_path):
    file = ROOT / "examples" / f"{name}.py"
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=tmp_path, check=True)
    errors = [float(error) for error in re.findall(r"([\d.]+) %", done.stdout)]
    assert min(errors) < 12 < 88 >= max(errors)
    assert not list(tmp_path.iterdir())


def test_the_same_training_ends_with_the_same_error():
    plain = example("plain_loop")
    first, second = plain.new_net(), plain.new_net()
    assert plain.train(first, 3) == plain.train(second, 3)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), second.parameters(), strict=True))


# --- what they show ---------------------------------------------------------------------------------------------------


def small(hidden=(8, 6), features=20, **settings):
    torch.manual_seed(3)
    net = ffrecur.RecurrentNet(features, hidden, 4, sign=-1, **settings).double()
    torch.nn.init.normal_(net.head.weight)
    return net


def batch(features=20):
    images = torch.rand(5, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    return images, labels, (labels + 1) % 4


def gradients(net, *given, **settings):
    net.zero_grad()
    loss = net.local_loss(*given, **{**SETTINGS, **settings})
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in net.parameters())]


def same(one, two):
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-13) for a, b in zip(one, two, strict=True))


def test_the_whole_share_of_the_units_is_the_mean_square():
    own = example("own_goodness").TopK
    expected = gradients(small(), *batch())
    assert same(gradients(small(goodness=own(share=1.0)), *batch()), expected)
    assert not same(gradients(small(goodness=own(share=0.5)), *batch()), expected)


def test_a_share_judges_and_teaches_the_most_active_units_alone():
    own, state = example("own_goodness").TopK(share=0.5), torch.tensor([[1.0, 3.0, 0.0, 2.0]])
    assert own.value(state).tolist() == [[(9 + 4) / 2]]
    assert own.gradient(state, torch.ones(1, 1)).tolist() == [[0, 3, 0, 2]]


def test_the_hinge_is_its_formula_and_teaches_nothing_beyond_the_margin():
    hinge = example("own_objective").Hinge(margin=1.0)
    positive, negatives = torch.tensor([3.0, 1.0]), torch.tensor([[1.0, 0.5], [2.5, 0.75]])
    assert hinge.loss(positive, negatives).tolist() == [(0 + 0.5) / 2, (0.5 + 0.75) / 2]
    by_positive, by_negatives = hinge.slopes(positive, negatives)
    assert by_positive.tolist() == [-0.5, -1.0]
    assert by_negatives.tolist() == [[0, 0.5], [0.5, 0.5]]


def test_an_objective_without_slopes_of_its_own_teaches_as_the_closed_form_does():
    class Plain(ffrecur.Objective):
        def loss(self, positive, negatives):
            return ffrecur.Paired(0.3).loss(positive, negatives)

    assert same(
        gradients(small(), *batch(), objective=Plain()), gradients(small(), *batch(), objective=ffrecur.Paired(0.3))
    )


def test_the_hardest_labels_are_the_likeliest_wrong_ones():
    own, logits = example("own_negatives").Hardest, torch.tensor([[9.0, 1.0, 3.0, 2.0], [0.0, 5.0, 4.0, 8.0]])
    assert own(1)(logits, torch.tensor([0, 1])).tolist() == [[2], [3]]
    assert own(3)(logits, torch.tensor([0, 1])).tolist() == [[2, 3, 1], [3, 2, 0]]


def test_all_wrong_labels_in_any_order_weigh_the_same():
    images, labels, _ = batch()
    every = torch.stack([(labels + shift) % 4 for shift in (3, 1, 2)], dim=1)
    hardest = gradients(small(), images, labels, example("own_negatives").Hardest(3))
    assert same(hardest, gradients(small(), images, labels, every))


def with_convolution(**settings):
    net = small((512, 6), 784, **settings)
    net.bottom_up[0] = example("own_layer").convolution().double()
    return net


def test_a_convolution_learns_by_the_gradients_of_the_reference():
    images, labels, wrong = batch(784)
    found = gradients(with_convolution(), images, labels, wrong)
    net = with_convolution()
    expected = reference.local_learning(net, images, labels, wrong, Learning(**SETTINGS))
    expected.loss.backward()
    assert torch.allclose(found[0], expected.loss, rtol=1e-12)
    assert same(found[1:], [parameter.grad for parameter in net.parameters()])


class OfWidth(ffrecur.Goodness):
    """The mean square of layers of one width; others are not judged: their goodness is 0, and so is its gradient."""

    def __init__(self, width):
        self.width = width

    def value(self, state_BH):
        return ffrecur.MeanSquare().value(state_BH) * (state_BH.shape[-1] == self.width)


@pytest.mark.parametrize(("judged", "left_alone"), [(512, 1), (6, 0)])
def test_no_derivative_crosses_from_one_layer_to_another(judged, left_alone):
    net = with_convolution(goodness=OfWidth(judged))
    gradients(net, *batch(784))
    for layer in (0, 1):
        moved = [bool(weight.grad.any()) for weight in (*net.bottom_up[layer].parameters(), net.top_down[layer].weight)]
        assert not any(moved) if layer == left_alone else all(moved)


def test_a_list_of_equal_dampings_is_the_number():
    assert same(gradients(small(damping=[0.3, 0.3]), *batch()), gradients(small(damping=0.3), *batch()))


def test_each_iteration_has_its_damping_and_further_ones_the_last():
    images, labels, _ = batch()
    dampings = example("own_schedule").over_iterations(0.6, 0.0, 3)
    assert dampings == pytest.approx([0.6, 0.3, 0.0])
    net, states = small(damping=dampings), small().bottom_up_pass(images)
    for iteration, damping in enumerate([*dampings, 0.0], start=1):
        undamped = small(damping=0.0).step(states, images, labels)
        expected = [damping * old + (1 - damping) * new for old, new in zip(states, undamped, strict=True)]
        states = net.step(states, images, labels, iteration)
        assert same(states, expected)


def test_a_damping_that_is_assigned_counts_from_then_on():
    net = small(damping=0.6)
    net.damping = 0.1
    assert same(gradients(net, *batch()), gradients(small(damping=0.1), *batch()))


# --- the page on extending --------------------------------------------------------------------------------------------


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
    images, labels, wrong = batch()
    found = []
    for learn in (local_learning, reference.local_learning):
        net.zero_grad()
        learned = learn(net, images, labels, wrong, Learning(iterations=1))
        learned.loss.backward()
        found.append([learned.loss.detach(), *(parameter.grad for parameter in net.parameters())])
    assert same(*found)


def test_the_pages_own_net_learns_the_digits(lab):
    plain = example("plain_loop")
    images, labels = plain.digits("train")
    torch.manual_seed(0)
    net = lab.Stack(784, (100, 100), 10, sign=-1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for chosen in torch.randint(4000, (150, 50)):
        optimizer.zero_grad()
        given = images[chosen], labels[chosen], ffrecur.negatives.hard_labels
        local_learning(net, *given, Learning(iterations=1)).loss.backward()
        optimizer.step()
    images, labels = plain.digits("test")
    assert (net.score(images).argmax(dim=1) == labels).float().mean() > 0.8


def run(command, *words):
    """Run a command; return its exit code and what it wrote to standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = export(words) if command == "export" else train([command, *words])
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


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: re.findall(r"model\.?\w*=\S+", block)[0])
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


PAGES = [ROOT / name for name in ("docs/extending.md", "docs/architecture.md", "CHANGELOG.md", "CONTRIBUTING.md")]


def anchors(file):
    """Return the targets that the headings of a page make."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        path = page if not file else page.parent / file
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_what_the_architecture_names_is_where_it_says():
    named = re.findall(r"`([\w/]+\.py): ([\w.]+)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(named) > 50
    for file, name in named:
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
    assert {room for floor in FLOORS for room in floor} == parts - {"__init__", "main", "hub"}


def test_the_changelog_has_a_heading_for_this_version_and_none_for_a_later_one():
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings == ["Unreleased", ffrecur.__version__]
