"""The examples run, and what they show holds: own components are exact, and no derivative crosses a layer."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ffrecur
from ffrecur.core import reference
from ffrecur.core.learning import Learning

ROOT = next(folder for folder in Path(__file__).parents if (folder / "examples").is_dir())
EXAMPLES = sorted(file.stem for file in (ROOT / "examples").glob("*.py"))
SETTINGS = {"iterations": 3}


@pytest.fixture(autouse=True)
def from_examples(monkeypatch):
    """Import from the folder of the examples, as Python does when one is run."""
    monkeypatch.syspath_prepend(ROOT / "examples")


def example(name):
    return importlib.import_module(name)


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


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ((0.0, 0.0), [[0, 0, 3], [0, 0, 6], [7, 8, 9]]),
        ((0.5, 0.0), [[1, 2, 3], [0, 0, 6], [0, 0, 9]]),  # two places in each direction, each with half of the numbers
        ((0.4, 0.9), [[1, 0, 0], [4, 0, 0], [7, 8, 9]]),
    ],
)
def test_a_square_is_erased_where_the_numbers_say(noise, expected):
    images = torch.arange(1, 10, dtype=torch.uint8)[None]
    made = example("own_augmentation").Erase(2)(images, torch.tensor([noise]), (3, 3))
    assert made.dtype == torch.uint8
    assert made.view(3, 3).tolist() == expected
    colour = example("own_augmentation").Erase(2)(images.repeat_interleave(3, dim=1), torch.tensor([noise]), (3, 3, 3))
    assert torch.equal(colour, made.repeat_interleave(3, dim=1))


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
