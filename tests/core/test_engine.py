"""The closed-form engine against the plain reference, in float64, over shapes and settings; laws/ has more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from making import recurrent_net

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.goodness import Goodness, MeanSquare
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import objective_of
from ffrecur.core.sweep import Sweep


class Quartic(Goodness):
    """A goodness without a factor."""

    def value(self, state_BH):
        return state_BH.pow(4).mean(dim=-1, keepdim=True)


class RootMeanSquare(Goodness):
    """Another, whose derivative is not finite where no unit is active."""

    def value(self, state_BH):
        return state_BH.square().mean(dim=-1, keepdim=True).sqrt()


@st.composite
def problems(draw):
    """A net, a batch and how to learn from it."""
    classes, features = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    net_settings = {
        "goodness": draw(st.sampled_from([MeanSquare(), MeanSquare(), Quartic(), RootMeanSquare()])),
        "hidden": tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))),
        "in_features": features,
        "classes": classes,
        "damping": draw(st.sampled_from([0.0, 0.3, 0.9])),
        "sign": draw(st.sampled_from([1, -1])),
        "update_scheme": draw(st.sampled_from(["synchronous", "alternating"])),
    }
    objective = draw(st.sampled_from(["logistic", "paired", "softmax"]))
    learning = Learning(
        iterations=draw(st.integers(1, 6)),
        objective=objective_of(objective, draw(st.floats(0.1, 2)), draw(st.floats(0.05, 2))),
        peer_normalization=draw(st.sampled_from([0.0, 0.1])),
        memory=draw(st.sampled_from(["full", "constant"])),
        label_smoothing=draw(st.sampled_from([0.0, 0.2])),
    )
    average = draw(st.sampled_from([None, lambda mean: 0.5 * mean + 0.1]))  # as if other processes had other means
    batch, video = draw(st.integers(1, 4)), draw(st.booleans())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    shape = (learning.iterations + draw(st.integers(0, 2)), batch, features) if video else (batch, features)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=generator)
    negatives = (labels + torch.randint(1, classes, (batch,), generator=generator)) % classes
    dropout = draw(st.sampled_from([None, (0.3, 0.0, 0.0), (0.2, 0.4, 0.5)]))
    if draw(st.booleans()):  # several negatives a case
        negatives = (labels[:, None] + torch.randint(1, classes, (batch, 3), generator=generator)) % classes
    return net_settings, learning, images, labels, negatives, dropout, average


def learn(module, net_settings, learning, images, labels, negatives, dropout, average):
    net = recurrent_net(**net_settings)
    torch.nn.init.normal_(net.head.weight)
    masks = dropout and net.dropout_masks(
        len(labels), *dropout[:2], torch.Generator().manual_seed(0), head_dropout=dropout[2]
    )
    learned = module.local_learning(net, images, labels, negatives, learning, masks, average)
    (0.7 * learned.loss).backward()
    return net, learned


@settings(deadline=None, max_examples=150)
@given(problems())
def test_the_engine_is_the_reference(problem):
    fast_net, fast = learn(engine, *problem)
    plain_net, plain = learn(reference, *problem)
    assert fast.carried is plain.carried is None, "no state is brought along"
    for name, one, two in zip(fast._fields[:-1], fast[:-1], plain[:-1], strict=True):
        torch.testing.assert_close(
            one.detach(), two.detach(), rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )
    for one, two in zip(fast_net.peer_means(), plain_net.peer_means(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=0)
    # Gradients that cancel exactly in theory differ from 0 by rounding, relative to the slope 1 / temperature and to the
    # largest gradient: that of a goodness of fourth powers may be in the thousands.
    largest = max(1.0, *(float(parameter.grad.abs().max()) for parameter in plain_net.parameters()))
    scale = largest / problem[1].objective.temperature
    for (name, one), two in zip(fast_net.named_parameters(), plain_net.parameters(), strict=True):
        torch.testing.assert_close(
            one.grad, two.grad, rtol=1e-10, atol=1e-12 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("scheme", ["synchronous", "alternating"])
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_where_the_label_reaches_when(layers, scheme):
    """The engine computes one kind of data for both until then; found by running both kinds and comparing."""
    net = recurrent_net((5,) * layers, update_scheme=scheme)
    spread = net.label_goodness(torch.randn(3, 4, dtype=torch.float64), iterations=layers).std(dim=-1).amax(dim=-1)
    first = [(spread[:, layer] > 0).nonzero()[0].item() for layer in range(layers)]
    wiring = net.begin(torch.randn(3, 4, dtype=torch.float64), None, torch.float64).wiring
    sweep = Sweep(wiring(torch.arange(3)[:, None], None, layers), net.goodness_function, torch.float64)
    found: dict[int, int] = {}
    for iteration in range(layers):
        sweep.iterate(iteration, 0)
        found |= {layer: iteration for layer in range(layers) if not sweep.agree[layer] and layer not in found}
    assert [found[layer] for layer in range(layers)] == first
    if scheme == "synchronous":
        assert first == [layers - layer - 1 for layer in range(layers)]  # L - l + 1, counted from 1


def test_float32_is_close():
    torch.manual_seed(0)
    found = []
    for module in (engine, reference):
        net = recurrent_net((50, 40), in_features=30).float()
        images, labels = torch.linspace(0, 1, 600).view(20, 30), torch.arange(20) % 3
        module.local_learning(net, images, labels, (labels + 1) % 3, Learning(), None).loss.backward()
        found.append([p.grad for p in net.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_the_gradients_are_handed_out_once():
    net = recurrent_net((5,))
    loss = net.local_loss(torch.rand(2, 4, dtype=torch.float64), torch.tensor([0, 1]), torch.tensor([1, 2]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="handed out already"):
        loss.backward()


@pytest.mark.parametrize("module", [engine, reference])
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_what_is_not_active_learns_nothing_by_any_goodness(module, damping):
    """Layer 2 is silent on all data, so that the derivative of its goodness is not a number."""
    net = recurrent_net(hidden=(5, 4), damping=damping, goodness=RootMeanSquare())
    with torch.no_grad():
        net.bottom_up[1].bias.fill_(-100)
    images, labels = torch.rand(3, net.in_features, dtype=torch.float64), torch.tensor([0, 1, 2])
    module.local_learning(net, images, labels, (labels + 1) % net.num_classes, Learning(iterations=3)).loss.backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    for name in ("bottom_up.1.weight", "bottom_up.1.bias", "top_down.1.weight"):
        assert (gradients[name] == 0).all()
    assert (gradients["bottom_up.0.weight"] != 0).any()


def test_frozen_parameters_get_no_gradient():
    net = recurrent_net((5, 4))
    net.top_down[0].weight.requires_grad_(False)
    net.local_loss(torch.rand(2, 4, dtype=torch.float64), torch.tensor([0, 1]), torch.tensor([1, 2])).backward()
    assert net.top_down[0].weight.grad is None
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
