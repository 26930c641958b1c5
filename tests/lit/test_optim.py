"""Parameter groups, decoupled weight decay, schedules, and whose settings win when a run is continued."""

import copy
import inspect
import math

import pytest
import torch
from making import drawn_net
from torch.optim import lr_scheduler

from ffrecur import UserError
from ffrecur.lit import FlatThenLinear
from ffrecur.lit.optim import (
    DECAY_KEY,
    apply_configured,
    check_continued,
    configured_settings,
    decay_weights,
    grouped_optimizer,
)
from ffrecur.lit.run.parser import MADE_LATER, check_given

RATE, SCALE, DECAY, HEAD_DECAY = 0.1, 0.5, 0.2, 0.4


def sgd(rate=RATE, **settings):
    return lambda groups: torch.optim.SGD(groups, lr=rate, **settings)


def adam(rate=RATE, **settings):
    return lambda groups: torch.optim.Adam(groups, lr=rate, **settings)


def make(maker, net=None, decay=DECAY, head_decay=HEAD_DECAY, scale=SCALE):
    return grouped_optimizer(maker, net or drawn_net().double(), decay, head_decay, scale)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def test_every_parameter_is_in_its_one_group():
    net = drawn_net().double()
    names = {parameter: name for name, parameter in net.named_parameters()}
    groups = [sorted(names[p] for p in group["params"]) for group in make(sgd(), net).param_groups]
    assert groups == [
        ["bottom_up.0.weight", "bottom_up.1.weight", "top_down.0.weight", "top_down.1.weight"],
        ["bottom_up.0.bias", "bottom_up.1.bias"],
        ["head.weight"],
        ["head.bias"],
    ]
    assert sorted(name for group in groups for name in group) == sorted(names.values())


def test_a_parameter_of_the_net_itself_and_layers_of_any_name_learn():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(2))
            self.values, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 3)

    net = Own()
    hidden, rest, *head = (group["params"] for group in make(sgd(), net).param_groups)
    assert [id(p) for p in hidden] == [id(net.values.weight)]
    assert [id(p) for p in rest] == [id(net.gain), id(net.values.bias)]
    assert [[id(p) for p in group] for group in head] == [[id(net.head.weight)], [id(net.head.bias)]]


@pytest.mark.parametrize("maker", [sgd(), adam(), lambda groups: torch.optim.RMSprop(groups, lr=RATE)])
def test_rates_and_decays_of_the_groups(maker):
    optimizer = make(maker)
    assert rates(optimizer) == [RATE, RATE, RATE * SCALE, RATE * SCALE]
    assert [group[DECAY_KEY] for group in optimizer.param_groups] == [DECAY, 0, HEAD_DECAY, 0]


def step_with(optimizer, gradients):
    for parameter, gradient in gradients.items():
        parameter.grad = gradient.clone()
    decay_weights(optimizer)
    optimizer.step()


@pytest.mark.parametrize(
    "maker", [sgd(), sgd(momentum=0.9), sgd(momentum=0.9, dampening=0.9), adam(), adam(amsgrad=True)]
)
def test_without_gradients_one_step_is_the_decay_and_nothing_else(maker):
    net = drawn_net().double()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    step_with(make(maker, net), {p: torch.zeros_like(p) for p in net.parameters()})
    for name, parameter in net.named_parameters():
        factor = 1 - RATE * DECAY
        if name.startswith("head"):
            factor = 1 - RATE * SCALE * HEAD_DECAY
        if name.endswith("bias"):
            factor = 1
        assert torch.equal(parameter, before[name] * factor)


def settings_of(name):
    rate, decay = (RATE * SCALE, HEAD_DECAY) if name.startswith("head") else (RATE, DECAY)
    return rate, 0.0 if name.endswith("bias") else decay


def random_gradients(net, steps):
    torch.manual_seed(1)
    return [{p: torch.randn_like(p) for p in net.parameters()} for _ in range(steps)]


@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9)])
def test_sgd_by_hand(momentum, dampening):
    """The momentum smooths the gradient and knows nothing of the decay."""
    net = drawn_net().double()
    gradients = random_gradients(net, steps=3)
    expected = {}
    for name, parameter in net.named_parameters():
        rate, decay = settings_of(name)
        weight, velocity = parameter.detach().clone(), None
        for of_step in gradients:
            gradient = of_step[parameter]
            # PyTorch's first velocity is the gradient itself, without the dampening.
            velocity = gradient if velocity is None else momentum * velocity + (1 - dampening) * gradient
            weight = weight * (1 - rate * decay) - rate * velocity
        expected[name] = weight
    optimizer = make(sgd(momentum=momentum, dampening=dampening), net)
    for of_step in gradients:
        step_with(optimizer, of_step)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-13, atol=1e-14)


def test_adam_by_hand():
    net = drawn_net().double()
    gradients = random_gradients(net, steps=3)
    first, second, eps = 0.8, 0.95, 1e-8
    expected = {}
    for name, parameter in net.named_parameters():
        rate, decay = settings_of(name)
        weight, mean, square = parameter.detach().clone(), torch.zeros_like(parameter), torch.zeros_like(parameter)
        for step, of_step in enumerate(gradients, start=1):
            gradient = of_step[parameter]
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            direction = (mean / (1 - first**step)) / ((square / (1 - second**step)).sqrt() + eps)
            weight = weight * (1 - rate * decay) - rate * direction
        expected[name] = weight
    optimizer = make(adam(betas=(first, second), eps=eps), net)
    for of_step in gradients:
        step_with(optimizer, of_step)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name].detach(), rtol=1e-12, atol=1e-13)


def test_the_decay_follows_the_scheduled_rate():
    net = drawn_net().double()
    optimizer = make(sgd(), net)
    schedule = FlatThenLinear(optimizer, epochs=4, flat=0.5)
    before = net.top_down[1].weight.detach().clone()
    expected = before.clone()
    for share in (1, 1, 1, 0.5, 0):
        expected = expected * (1 - share * RATE * DECAY)
        step_with(optimizer, {p: torch.zeros_like(p) for p in net.parameters()})
        schedule.step()
    torch.testing.assert_close(net.top_down[1].weight.detach(), expected, rtol=1e-14, atol=0)
    assert not torch.equal(net.top_down[1].weight, before)


@pytest.mark.parametrize(("given", "shown"), [("Adam", "'Adam'"), (torch.optim.SGD([torch.ones(1)], 0.1), "'a SGD'")])
def test_an_optimiser_is_a_function_of_the_parameters(given, shown):
    with pytest.raises(UserError, match=f"^optimizer is {shown}, but must be a function of the parameters, such as"):
        make(given)


# --- FlatThenLinear ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "flat", "shares"),
    [
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4, 0, 0, 0]),
        (4, 0.5, [1, 1, 1, 1 / 2, 0, 0]),  # (E - e) / (E / 2) is 1 in epoch 2 too
        (6, 0.5, [1, 1, 1, 1, 2 / 3, 1 / 3, 0]),
        (5, 0.5, [1, 1, 1, 4 / 5, 2 / 5, 0]),
        (10, 0.9, [1] * 10 + [0]),
        (1, 0.0, [1, 0, 0]),
    ],
)
def test_flat_then_linear_epoch_by_epoch(epochs, flat, shares):
    optimizer = make(sgd())
    schedule = FlatThenLinear(optimizer, epochs, flat)
    for share in shares:
        expected = [RATE * share, RATE * share, RATE * SCALE * share, RATE * SCALE * share]
        assert rates(optimizer) == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert schedule.get_last_lr() == rates(optimizer)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "^lr_scheduler.epochs is 0, but must be a whole number of at least 1$"),
        ({"epochs": -3}, "^lr_scheduler.epochs is -3, but must be a whole number of at least 1$"),
        ({"epochs": 4, "flat": 1.0}, "^lr_scheduler.flat is 1.0, but must be at least 0 and less than 1$"),
        ({"epochs": 4, "flat": -0.1}, "^lr_scheduler.flat is -0.1, but must be at least 0 and less than 1$"),
    ],
)
def test_flat_then_linear_refuses_bad_settings(settings, message):
    with pytest.raises(UserError, match=message):
        FlatThenLinear(make(sgd()), **settings)


# --- continuing a run -------------------------------------------------------------------------------------------------


def train(optimizer, schedule, epochs):
    for _ in range(epochs):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if schedule is not None:
            schedule.step()


def start(maker, schedule=None, **settings):
    """A new optimiser and its schedule, with a note of how they were configured."""
    optimizer = make(maker, **settings)
    made = None if schedule is None else schedule(optimizer)
    optimizer.configured = configured_settings(optimizer, made)  # as a checkpoint would keep it
    return optimizer, made, optimizer.configured


def continued(old, old_schedule, maker, schedule=None, **settings):
    """What a continued run gets: newly configured, then the state of the checkpoint, then the configuration again."""
    optimizer, made, configured = start(maker, schedule, **settings)
    optimizer.load_state_dict(copy.deepcopy(old.state_dict()))
    if old_schedule is not None and made is not None:
        made.load_state_dict(copy.deepcopy(old_schedule.state_dict()))
    check_continued(configured, old.configured)
    apply_configured(optimizer, made, configured, old.configured)
    return optimizer, made


def test_a_new_run_is_left_as_it_was_configured():
    for schedule in (None, lambda o: FlatThenLinear(o, 4), lambda o: lr_scheduler.OneCycleLR(o, 0.3, 10)):
        optimizer, made, configured = start(adam(), schedule)
        before = copy.deepcopy(optimizer.state_dict())
        apply_configured(optimizer, made, configured, configured)
        assert optimizer.state_dict() == before


def test_plain_settings_win_and_progress_is_kept():
    old, _, _ = start(adam(0.1, betas=(0.9, 0.99), eps=1e-8))
    train(old, None, epochs=3)
    new, _ = continued(old, None, adam(0.3, betas=(0.5, 0.6), eps=1e-4), decay=0.7, head_decay=0.0, scale=2.0)
    assert rates(new) == [0.3, 0.3, 0.6, 0.6]
    assert [group["betas"] for group in new.param_groups] == [(0.5, 0.6)] * 4
    assert [group["eps"] for group in new.param_groups] == [1e-4] * 4
    assert [group[DECAY_KEY] for group in new.param_groups] == [0.7, 0, 0, 0]
    for one, two in zip(old.state.values(), new.state.values(), strict=True):
        assert one["step"] == two["step"] == 3
        assert torch.equal(one["exp_avg"], two["exp_avg"])
        assert torch.equal(one["exp_avg_sq"], two["exp_avg_sq"])


def test_the_next_step_is_taken_with_the_settings_that_won():
    """After zero gradients without momentum, all that a step does is the decay of the new rate and strength."""
    old, _, _ = start(sgd(0.1))
    train(old, None, epochs=1)
    net = drawn_net().double()
    new, _, configured = start(sgd(0.25), net=net, decay=0.5)
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    apply_configured(new, None, configured, old.configured)
    before = net.bottom_up[0].weight.detach().clone()
    step_with(new, {p: torch.zeros_like(p) for p in net.parameters()})
    assert torch.equal(net.bottom_up[0].weight, before * (1 - 0.25 * 0.5))


@pytest.mark.parametrize(
    "schedule",
    [
        None,
        lambda o: FlatThenLinear(o, 7),
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
        lambda o: lr_scheduler.StepLR(o, 2),
        lambda o: lr_scheduler.ExponentialLR(o, 0.9),
        lambda o: lr_scheduler.PolynomialLR(o, 9),
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.7),
        lambda o: lr_scheduler.OneCycleLR(o, 0.3, 10),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    ],
)
def test_the_same_settings_change_nothing_to_the_last_bit(schedule):
    """A run that is continued unchanged goes on with the rates and momenta that it stopped with."""
    old, old_schedule, _ = start(adam(), schedule)
    train(old, old_schedule, epochs=5)
    new, made = continued(old, old_schedule, adam(), schedule)
    for _ in range(3):
        assert new.state_dict()["param_groups"] == old.state_dict()["param_groups"]
        train(new, made, epochs=1)
        train(old, old_schedule, epochs=1)


def test_a_plateau_schedule_keeps_its_reductions():
    def plateau(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)

    old, old_schedule, _ = start(adam(0.1), plateau)
    for _ in range(3):
        old_schedule.step(1.0)
    assert rates(old)[0] == pytest.approx(0.001)
    new, _ = continued(old, old_schedule, adam(0.1), plateau)
    assert rates(new) == rates(old)
    new, _ = continued(old, old_schedule, adam(0.2), plateau)
    assert rates(new) == pytest.approx([2 * rate for rate in rates(old)])


def test_what_cannot_be_continued_is_refused_by_name():
    old, old_schedule, _ = start(sgd(), lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10))
    with pytest.raises(ValueError, match="model.optimizer is Adam, but the run that is continued has SGD"):
        continued(old, old_schedule, adam(), lambda o: FlatThenLinear(o, 4))
    with pytest.raises(ValueError, match="model.lr_scheduler is FlatThenLinear, but .* has OneCycleLR"):
        continued(old, old_schedule, sgd(), lambda o: FlatThenLinear(o, 4))
    with pytest.raises(ValueError, match="model.lr_scheduler.total_steps is 20, but OneCycleLR cannot be changed"):
        continued(old, old_schedule, sgd(), lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=20))


def test_settings_that_the_optimiser_refuses_are_told_in_one_line():
    with pytest.raises(ValueError, match="^model.optimizer: Invalid learning rate: -1"):
        make(sgd(-1.0))


def test_flat_then_linear_is_computed_anew_for_the_epoch_reached():
    old, old_schedule, _ = start(adam(0.1), lambda o: FlatThenLinear(o, epochs=6, flat=0.5))
    train(old, old_schedule, epochs=5)
    new, made = continued(old, old_schedule, adam(0.2), lambda o: FlatThenLinear(o, epochs=8, flat=0.0))
    for left in (3, 2, 1, 0):  # epochs 5, 6, 7, 8 of 8
        expected = 0.2 * left / 8
        assert rates(new) == pytest.approx([expected, expected, expected * SCALE, expected * SCALE], abs=1e-15)
        assert made.get_last_lr() == rates(new)
        train(new, made, epochs=1)


def test_cosine_annealing_is_computed_anew_for_the_epoch_reached():
    old, old_schedule, _ = start(adam(0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=10))
    train(old, old_schedule, epochs=4)
    new, made = continued(
        old, old_schedule, adam(0.2), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.01)
    )
    for epoch in range(4, 20):
        share = (1 + math.cos(math.pi * epoch / 20)) / 2
        hidden, head = (0.01 + (rate - 0.01) * share for rate in (0.2, 0.2 * SCALE))
        assert rates(new) == pytest.approx([hidden, hidden, head, head], rel=1e-10)
        train(new, made, epochs=1)


def test_a_schedule_without_a_closed_form_is_scaled():
    old, old_schedule, _ = start(adam(0.1), lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch))
    train(old, old_schedule, epochs=3)
    new, made = continued(
        old, old_schedule, adam(0.4), lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch), scale=1.0
    )
    for epoch in (3, 4, 5):
        assert rates(new) == pytest.approx([0.4 * 0.5**epoch] * 4, rel=1e-12)
        assert made.get_last_lr() == rates(new)
        train(new, made, epochs=1)


def test_a_multiplying_schedule_without_a_closed_form_stays_scaled():
    """Each of its rates is made from the one before, so that a wrong first one would never be put right."""

    def falling(optimizer):
        return lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)

    old, old_schedule, _ = start(sgd(0.1), falling)
    train(old, old_schedule, epochs=2)
    new, made = continued(old, old_schedule, sgd(0.3), falling)
    train(new, made, epochs=2)
    assert rates(new) == pytest.approx([0.3 / 16] * 2 + [SCALE * 0.3 / 16] * 2, rel=1e-12)


def test_a_one_cycle_schedule_is_scaled_with_its_highest_rate():
    old, old_schedule, _ = start(sgd(momentum=0.9), lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10))
    train(old, old_schedule, epochs=4)
    new, made = continued(
        old, old_schedule, sgd(momentum=0.9), lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=10)
    )
    for _ in range(5):
        assert rates(new) == pytest.approx([3 * rate for rate in rates(old)], rel=1e-12)
        train(new, made, epochs=1)
        train(old, old_schedule, epochs=1)


def test_a_schedule_that_is_new_starts_from_the_configured_rate():
    old, _, _ = start(adam(0.1))
    train(old, None, epochs=3)
    new, made = continued(old, None, adam(0.4), lambda o: FlatThenLinear(o, epochs=4, flat=0.0))
    assert rates(new) == [0.4, 0.4, 0.4 * SCALE, 0.4 * SCALE]
    train(new, made, epochs=1)
    assert rates(new) == pytest.approx([0.3, 0.3, 0.3 * SCALE, 0.3 * SCALE])


def test_a_new_schedule_that_warms_up_starts_low():
    old, _, _ = start(adam(0.1))
    train(old, None, epochs=3)
    new, made = continued(old, None, adam(0.4), lambda o: lr_scheduler.LambdaLR(o, lambda epoch: (epoch + 1) / 4))
    found = []
    for _ in range(4):
        found.append(rates(new)[0])
        train(new, made, epochs=1)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_without_the_schedule_the_configured_rate_comes_back():
    old, old_schedule, _ = start(adam(0.1), lambda o: FlatThenLinear(o, epochs=4, flat=0.0))
    train(old, old_schedule, epochs=3)
    assert rates(old)[0] == pytest.approx(0.025)
    new, _ = continued(old, old_schedule, adam(0.1))
    assert rates(new) == [0.1, 0.1, 0.1 * SCALE, 0.1 * SCALE]
    train(new, None, epochs=2)
    assert rates(new) == [0.1, 0.1, 0.1 * SCALE, 0.1 * SCALE]


def test_null_is_told_from_what_every_optimiser_and_schedule_takes_by_default():
    """Their hints are text, some of names that are not there."""
    kinds = [kind for place in (torch.optim, torch.optim.lr_scheduler) for kind in vars(place).values()]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, MADE_LATER)]
    assert len(kinds) > 25
    for kind in kinds:
        parameters = inspect.signature(kind).parameters.values()
        check_given(kind, {each.name: each.default for each in parameters if each.default is not each.empty})
    for name in ("lr", "eps"):
        with pytest.raises(UserError, match=f"model.optimizer.{name} is null, but must have a value"):
            check_given(torch.optim.Adam, {name: None})
    check_given(torch.optim.Adam, {"foreach": None})
    with pytest.raises(UserError, match="model.lr_scheduler.milestones is null, but must have a value"):
        check_given(torch.optim.lr_scheduler.MultiStepLR, {"milestones": None})
