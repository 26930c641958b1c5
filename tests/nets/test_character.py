"""The character model: its equations against plain loops, its local gradients, and its score."""

import copy
import decimal
import math

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from making import character_net, windows_of
from torch.nn import functional as F

from ffrecur import CharNet, UserError
from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Logistic, objective_of
from ffrecur.functional import NOISES, noise_contrastive_logits
from ffrecur.metrics.text import NextCharacter
from ffrecur.nets import character
from ffrecur.nets import windows as windows_module
from ffrecur.nets.backprop import character_logits
from ffrecur.nets.character import LastSymbols
from ffrecur.text.sampling import goodness_logits

OBJECTIVES = [("logistic", 1), ("logistic", -1), ("paired", 1), ("paired", -1)]


@pytest.mark.parametrize("head_layers", [None, [2], [1, 3]])
def test_states_goodness_and_logits_agree_with_the_oracle(head_layers):
    net = character_net(head_layers=head_layers)
    arrays, windows = oracle.character_arrays(net), windows_of(net, 5)
    for number, window in enumerate(windows.tolist()):
        _, states = oracle.character_states(arrays, window)
        for layer, state in enumerate(states):
            np.testing.assert_allclose(net.states(windows)[layer][number].detach(), state, rtol=1e-12)
            np.testing.assert_allclose(net.goodness(windows)[layer, number].item(), oracle.goodness(state), rtol=1e-12)
        expected = oracle.character_logits(arrays, window)
        np.testing.assert_allclose(net.logits(windows)[number].detach(), expected, rtol=1e-10)


def test_a_window_worked_out_by_hand():
    """Two symbols, one position, one layer of two units: the window `b` is the row (0, sqrt 2)."""
    net = CharNet("ab", window=1, hidden_features=(2,)).double()
    with torch.no_grad():
        net.hidden[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -1.0]]))
        net.hidden[0].bias.copy_(torch.tensor([0.5, 0.0]))
    window = net.encode("b")[None]
    (state,) = net.states(window)
    torch.testing.assert_close(state, torch.tensor([[2 * math.sqrt(2) + 0.5, 0.0]]).double(), rtol=1e-7, atol=0)
    assert net.goodness(window).item() == pytest.approx((2 * math.sqrt(2) + 0.5) ** 2 / 2, rel=1e-7)


@pytest.mark.parametrize(("objective", "sign"), OBJECTIVES)
def test_loss_and_gradients_agree_with_the_oracle(objective, sign):
    net = character_net(sign=sign)
    positives, negatives = windows_of(net, 4, seed=1), windows_of(net, 4, seed=2)
    loss = net.local_loss(positives, negatives, objective=objective, threshold=0.9, temperature=0.3)
    loss.backward()
    value, grads = oracle.character_gradients(
        oracle.character_arrays(net), positives.tolist(), negatives.tolist(), objective, 0.9, 0.3
    )
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    for linear, (by_weight, by_bias) in zip(net.hidden, grads, strict=True):
        np.testing.assert_allclose(linear.weight.grad, by_weight, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(linear.bias.grad, by_bias, rtol=1e-10, atol=1e-14)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_engine_is_the_reference(data):
    alphabet = "abcdefg"[: data.draw(st.integers(2, 7))]
    window, batch = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    hidden = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    objective, sign = data.draw(st.sampled_from(OBJECTIVES))
    threshold, temperature = data.draw(st.floats(0.1, 2)), data.draw(st.floats(0.05, 2))
    chosen = objective_of(data.draw(st.sampled_from([objective, "softmax"])), threshold, temperature)
    if objective == "logistic" and data.draw(st.booleans()):
        chosen = Logistic(threshold, temperature, *data.draw(st.sampled_from([(1.0, 0.0), (0.0, 1.0)])))
    learning = Learning(objective=chosen, iterations=1)
    several = data.draw(st.booleans())
    dropout = data.draw(st.sampled_from([0.0, 0.4]))
    results = []
    for module in (engine, reference):
        net = character_net(alphabet, window, hidden, sign=sign)
        contexts, negatives = windows_of(net, batch, seed=1), windows_of(net, batch, seed=2)
        masks = net.dropout_masks(batch, dropout, torch.Generator().manual_seed(3))
        if several:
            negatives = character.LastSymbols((negatives[:, :1] + torch.arange(1, len(alphabet))) % len(alphabet))
        following = windows_of(net, batch, seed=2)[:, 0]
        learned = module.local_learning(net, contexts, following, lambda *_, n=negatives: n, learning, masks)
        (0.7 * learned.loss).backward()
        tensors = [part.detach() for part in learned if isinstance(part, torch.Tensor)]
        results.append([*tensors, *(p.grad for p in net.parameters())])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_dropped_units_are_as_good_as_absent():
    """A net whose layer 1 has lost a unit to dropout, for every window, learns above as one without that unit would.

    Kept units count 1 / (1 - rate) times as much, for what is above them.
    """
    net, learning = character_net(hidden=(6, 5)), Learning(objective=Logistic(temperature=0.3))
    contexts, negatives, following = windows_of(net, 4, seed=1), windows_of(net, 4, seed=2), torch.tensor([0, 3, 1, 2])
    mask = torch.full((4, 6), 1.25).double()
    mask[:, 2] = 0
    net.local_learning(contexts, following, negatives, learning, [mask, None]).loss.backward()
    smaller = copy.deepcopy(net)
    with torch.no_grad():  # the unit speaks to nobody, and the others louder
        smaller.hidden[1].weight.mul_(mask[0])
        smaller.head.weight[:, :6].mul_(mask[0])
    for parameter in smaller.parameters():
        parameter.grad = None
    smaller.local_learning(contexts, following, negatives, learning).loss.backward()
    assert torch.equal(
        net.hidden[0].weight.grad, smaller.hidden[0].weight.grad
    )  # its own goodness is that of all its units
    torch.testing.assert_close(
        net.hidden[1].weight.grad, smaller.hidden[1].weight.grad * mask[0], rtol=1e-12, atol=1e-15
    )
    expected = smaller.head.weight.grad * torch.cat([mask[0], torch.ones(5).double()])
    torch.testing.assert_close(net.head.weight.grad, expected, rtol=1e-12, atol=1e-15)


def test_the_baseline_drops_units_for_everything_above_them():
    net, contexts = character_net(hidden=(6, 5)), windows_of(character_net(), 4)
    kept = torch.ones(4, 6).double()
    kept[:, 2] = 0
    dropped = character_logits(net, contexts, [kept, None])
    with torch.no_grad():
        net.hidden[1].weight[:, 2] = net.head.weight[:, 2] = 0
    torch.testing.assert_close(dropped, character_logits(net, contexts), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("phase", "kind"), [("awake", 1), ("asleep", -1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_phase_is_its_own_half_of_the_logistic_loss(phase, kind, sign):
    """Awake, every layer raises sign * goodness of real windows; asleep, it lowers that of negative ones."""
    net = character_net(sign=sign)
    contexts, negatives, following = windows_of(net, 4, seed=1), windows_of(net, 4, seed=2), torch.tensor([0, 3, 1, 2])
    weights = (1.0, 0.0) if phase == "awake" else (0.0, 1.0)
    learning = Learning(objective=Logistic(0.9, 0.3, *weights))
    learned = net.local_learning(contexts, following, negatives, learning)
    seen = torch.cat([contexts[:, 1:], following[:, None]], dim=1) if phase == "awake" else negatives
    expected = F.softplus(-kind * sign * (net.goodness(seen) - 0.9) / 0.3).sum() / 4
    torch.testing.assert_close(learned.loss.detach(), expected.detach(), rtol=1e-12, atol=0)
    learned.loss.backward()
    net.hidden.requires_grad_(True)
    gradients = torch.autograd.grad(expected, list(net.hidden.parameters()))
    for parameter, gradient in zip(net.hidden.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def test_a_new_net_is_the_uniform_model():
    """Its head is zero, so that it needs log2(V) bits a character, exactly; a batch cut in two gives the same."""
    net = CharNet(alphabet="abcdefg", window=3, hidden_features=(5,))
    windows, following = windows_of(net, 6), torch.tensor([0, 1, 2, 3, 4, 6])
    whole, parts = NextCharacter(), NextCharacter()
    whole.update(net.logits(windows), following)
    for window, symbol in zip(windows.split(4), following.split(4), strict=True):
        parts.update(net.logits(window), symbol)
    assert whole.compute()["bits_per_character"] == pytest.approx(math.log2(7), abs=1e-8)
    assert whole.compute()["accuracy"] == 1 / 6  # of equals the first
    assert whole.compute()["num_characters"] == 6
    assert parts.compute() == pytest.approx(whole.compute(), abs=1e-8)
    whole.update(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([1]))
    assert whole.compute()["bits_per_character"] == pytest.approx((6 * math.log2(7) + math.log2(4 / 3)) / 7, abs=1e-8)


def test_predictions_that_are_not_finite_are_refused():
    metric = NextCharacter()
    metric.update(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
    metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    with pytest.raises(UserError, match="not finite"):
        metric.compute()


def test_bits_that_do_not_fit_into_a_word_are_added_exactly():
    """Nats go beyond 2**31, where units of 2**-32 would wrap round in 64 bits."""
    metric = NextCharacter()
    for _ in range(2):
        metric.update(torch.tensor([[0.0, 1.5e6]]).expand(1000, 2), torch.zeros(1000, dtype=torch.int64))
    metric.update(torch.tensor([[0.0, 1.25]]).double(), torch.tensor([0]))
    nats = (2000 * 1.5e6 + math.log1p(math.exp(1.25))) / 2001
    assert metric.compute()["bits_per_character"] == pytest.approx(nats / math.log(2), rel=1e-15)
    metric.update(torch.tensor([[0.0, 1e30]]), torch.tensor([0]))
    with pytest.raises(UserError, match="has diverged"):
        metric.compute()


def test_the_local_loss_leaves_the_head_alone():
    net = character_net()
    net.local_loss(windows_of(net, 4, seed=1), windows_of(net, 4, seed=2)).backward()
    assert net.head.weight.grad is None
    assert all(p.grad is not None for p in net.hidden.parameters())


def test_without_gradients_only_the_value_is_computed():
    net = character_net()
    arguments = windows_of(net, 4, seed=1), windows_of(net, 4, seed=2)
    with torch.no_grad():
        loss = net.local_loss(*arguments)
    assert not loss.requires_grad
    assert loss.item() == net.local_loss(*arguments).item()


def test_goodness_of_candidates_is_that_of_the_windows_that_end_with_them():
    net = character_net(sign=-1)
    windows = windows_of(net, 5)
    found = goodness_logits(net, net.prepare(), windows, temperature=0.2)
    expected = torch.empty(5, 4).double()
    for symbol in range(4):
        moved = torch.cat([windows[:, 1:], torch.full((5, 1), symbol)], dim=1)
        expected[:, symbol] = -net.goodness(moved).sum(dim=0).detach() / 0.2
    torch.testing.assert_close(found.detach(), expected - expected.max(dim=1, keepdim=True).values)


def test_no_temperature_makes_goodness_overflow():
    net = character_net().float()
    windows = windows_of(net, 5)
    with torch.no_grad():
        coldest, cold = (goodness_logits(net, net.prepare(), windows, temperature=t) for t in (1e-300, 1e-3))
    assert coldest.isfinite().all()
    assert torch.equal(coldest.argmax(dim=1), cold.argmax(dim=1))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("candidates", [None, 1, 9])
def test_the_score_is_head_and_goodness_together(candidates, noise, monkeypatch):
    """By its formula, from explicit windows; also where the candidates come in several parts."""
    if candidates is not None:
        monkeypatch.setattr(windows_module, "CANDIDATES", candidates)
    net = character_net(sign=-1, goodness_weight=1.7, noise=noise)
    windows = windows_of(net, 5)
    probabilities = torch.softmax(net.logits(windows), dim=1)
    drawn_from = {"head": probabilities, "masked_head": probabilities * (1 - probabilities)}
    expected = torch.log(drawn_from.get(noise, torch.ones(5, 4).double()))
    for symbol in range(4):
        moved = torch.cat([windows[:, 1:], torch.full((5, 1), symbol)], dim=1)
        expected[:, symbol] -= 1.7 * net.goodness(moved).sum(dim=0)
    found = net.score(windows)
    assert not found.requires_grad
    torch.testing.assert_close(torch.log_softmax(found, dim=1), torch.log_softmax(expected, dim=1).detach())
    alone = character_net(goodness_weight=0).score(windows)
    torch.testing.assert_close(alone, net.logits(windows).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_the_score_recovers_the_true_probabilities(temperature, noise):
    """Goodness that is best at telling true symbols from negative ones, in the paired objective.

    Whatever the head believes: its score with that goodness is the truth. The expected loss is minimised over the
    goodness of each symbol by itself.
    """
    true, head = torch.tensor([0.5, 0.3, 0.15, 0.05]).double(), torch.tensor([0.2, 0.05, 0.7, 0.05]).double()
    other = 1 - torch.eye(4).double()  # the probabilities of what is drawn beside each true symbol, a row
    drawn = {"head": head.expand(4, 4), "masked_head": head / (1 - head[:, None]) * other, "uniform": other / 3}[noise]
    goodness = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    tolerances = {"tolerance_grad": 1e-12, "tolerance_change": 0.0, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS([goodness], max_iter=500, **tolerances)

    def loss():
        optimizer.zero_grad()
        value = (true[:, None] * drawn * F.softplus((goodness - goodness[:, None]) / temperature)).sum()
        value.backward()
        return value

    optimizer.step(loss)
    score = noise_contrastive_logits(torch.log(head), goodness.detach(), 1 / temperature, noise)
    torch.testing.assert_close(torch.softmax(score, dim=0), true, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_head_that_is_sure_is_believed(dtype):
    """The rest 1 - q of a probability that rounds to 1 is that of the others: log q (1 - q) as 60 digits have it."""
    for gap in (5, 15, 17, 20, 40, 80):
        logits = torch.tensor([float(gap), 0.0, 0.0], dtype=dtype)
        found = noise_contrastive_logits(logits, torch.zeros(3, dtype=dtype), 2.5, "masked_head")
        with decimal.localcontext(prec=60):
            weights = [decimal.Decimal(gap).exp(), decimal.Decimal(1), decimal.Decimal(1)]
            shares = [weight / sum(weights) for weight in weights]
            others = [sum(shares[:n] + shares[n + 1 :]) for n in range(3)]
            exact = [float((q * rest).ln()) for q, rest in zip(shares, others, strict=True)]
        torch.testing.assert_close(found, torch.tensor(exact, dtype=dtype), rtol=1e-6, atol=0)


def test_first_goodness_is_about_the_default_threshold():
    torch.manual_seed(0)
    net = CharNet(hidden_features=(400, 400))
    mean_L = net.goodness(windows_of(net, 200)).mean(dim=1)
    torch.testing.assert_close(mean_L, torch.ones(2), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphabet": "a"}, "alphabet is 'a', but must be at least two symbols"),
        ({"alphabet": "abca"}, "alphabet is 'abca', which has 'a' twice, but must be without duplicates"),
        ({"alphabet": "aB"}, "alphabet is 'aB', but must be in lower case, or fold_case false"),
        ({"unknown": "ignore"}, "unknown is 'ignore', but must be drop or replace or error"),
        ({"alphabet": "ab", "unknown": "replace"}, "unknown is 'replace', but must be drop or error where"),
        ({"window": 0}, "window is 0, but must be a whole number of at least 1"),
        ({"hidden_features": ()}, "hidden_features is [], but must be one or more whole numbers of at least 1"),
        ({"hidden_features": (3, 0)}, "hidden_features is [3, 0], but must be"),
        ({"noise": "chance"}, "noise is 'chance', but must be head or masked_head or uniform"),
        ({"goodness_weight": -1.0}, "goodness_weight is -1.0, but must be at least 0"),
        ({"sign": 0}, "sign is 0, but must be 1 or -1"),
        (
            {"hidden_features": (3, 3), "head_layers": [3]},
            "head_layers is [3], but must be different layers from 1 to 2",
        ),
        ({"hidden_features": (3, 3), "head_layers": [2, 1]}, "head_layers is [2, 1], but must be"),
        ({"hidden_features": (3, 3), "head_layers": []}, "head_layers is [], but must be"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError) as error:
        CharNet(**options)
    assert str(error.value).startswith(message)


def test_windows_of_another_length():
    net = character_net()
    with pytest.raises(UserError, match=r"windows have the shape \(2, 4\), but the net reads \(batch, 3\)"):
        net.logits(torch.zeros(2, 4, dtype=torch.long))


def test_windows_that_do_not_fit():
    net = character_net()
    windows, learning = windows_of(net, 4), Learning()
    with pytest.raises(UserError, match="there are 4 real windows, but 3 negative ones"):
        net.local_loss(windows, windows[:3])
    with pytest.raises(UserError, match="there are 4 real windows, but 2 negative ones"):
        net.local_learning(windows, windows[:, 0], windows[:2], learning)
    with pytest.raises(UserError, match=r"windows have the shape \(4, 1\)"):
        net.local_learning(windows[:, :1], windows[:, 0], windows, learning)
    for wrong in (-1, 4):
        with pytest.raises(UserError, match="no symbol; they are 0 to 3"):
            net.logits(torch.full((2, 3), wrong))


def test_settings_build_the_same_net():
    net = character_net(alphabet="ßéa日 ", head_layers=[1, 3], sign=-1, unknown="replace", fold_case=False)
    again = CharNet(**net.settings())
    assert again.settings() == net.settings()
    assert [p.shape for p in again.parameters()] == [p.shape for p in net.parameters()]


def test_the_local_loss_compares_all_candidates_where_the_objective_does():
    """As `local_learning` does, whatever negative windows are given."""
    net = character_net()
    contexts_BW, next_B = windows_of(net, 5), torch.arange(5) % 4
    real_BW = torch.cat([contexts_BW[:, 1:], next_B[:, None]], dim=1)
    expected = net.local_learning(contexts_BW, next_B, real_BW, Learning(objective=objective_of("softmax"))).loss
    found = net.local_loss(real_BW, windows_of(net, 5, seed=2), objective="softmax")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found.backward()
    gradients = [parameter.grad.clone() for parameter in net.hidden.parameters()]
    net.zero_grad()
    expected.backward()
    for one, two in zip(gradients, net.hidden.parameters(), strict=True):
        torch.testing.assert_close(one, two.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (LastSymbols(torch.tensor([0, 1, 4])), "negative symbols have the value 4, but must be from 0 to 3"),
        (LastSymbols(torch.tensor([0, 1, 2])), "negative symbols have the true label in 1 of 3 places"),
        (lambda logits, following: LastSymbols(torch.zeros(2, 3)), "negatives are of type float32"),
        (
            lambda logits, following: torch.zeros(3, 2),
            r"negative windows have the shape \(3, 2\), but must have \(3, 3\)",
        ),
        (
            lambda logits, following: torch.full((3, 3), 4),
            "negative windows have a number that is no symbol; they are 0 to 3",
        ),
        (lambda logits, following: LastSymbols(following), "negative symbols have the true label in 3 of 3 places"),
        (
            lambda logits, following: LastSymbols(following + 7),
            "negative symbols have the value 8, but must be from 0 to 3",
        ),
        (None, "negatives are None, but an objective that does not compare all answers needs some"),
    ],
)
def test_negatives_that_do_not_fit(negatives, message):
    net = character_net()
    with pytest.raises(UserError, match=message):
        net.local_learning(windows_of(net, 3), torch.tensor([1, 2, 2]), negatives, Learning())


def test_one_wrong_symbol_a_window_needs_no_second_dimension():
    net, next_B, wrong_B = character_net(), torch.tensor([1, 2, 3]), torch.tensor([0, 0, 0])
    one, two = (
        net.local_learning(windows_of(net, 3), next_B, LastSymbols(symbols), Learning()).loss
        for symbols in (wrong_B, wrong_B[:, None])
    )
    assert torch.equal(one, two)


def test_several_windows_of_a_place_are_as_their_last_symbols_where_they_differ_in_no_other():
    """The one is looked up whole, the other as what is common and the last symbol: the same loss, the same gradients."""
    net = character_net("abcd", 3, (6, 5))
    contexts, following = (
        net.encode("abcdabca")[torch.arange(5)[:, None] + torch.arange(3)],
        torch.tensor([3, 0, 1, 2, 0]),
    )
    wrong = (following[:, None] + torch.arange(1, 4)) % 4
    windows = torch.stack([torch.cat([contexts[:, 1:], symbol[:, None]], dim=1) for symbol in wrong.unbind(1)], dim=1)
    learning, found = Learning(objective=Logistic(1.0, 0.1), iterations=1), []
    for negatives in (windows, LastSymbols(wrong)):
        net.zero_grad()
        learned = net.local_learning(contexts, following, negatives, learning)
        learned.loss.backward()
        found.append([learned.loss, *(parameter.grad for parameter in net.hidden.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    positive = torch.cat([contexts[:, 1:], following[:, None]], dim=1)
    torch.testing.assert_close(net.local_loss(positive, windows, threshold=1.0, temperature=0.1), found[0][0])


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((5, 2, 4), r"negative windows have the shape \(10, 4\), but the net reads \(batch, 3\)"),
        ((4, 2, 3), "there are 5 real windows, but 4 negative ones"),
        ((5, 0, 3), r"negative windows have the shape \(5, 0, 3\), but must have \(5, 3\), or \(B, K, W\)"),
    ],
)
def test_several_windows_that_do_not_fit(shape, told):
    net, contexts = character_net("abcd", 3, (6, 5)), torch.zeros(5, 3, dtype=torch.long)
    with pytest.raises(UserError, match=told):
        net.local_learning(contexts, contexts[:, 0], torch.ones(shape, dtype=torch.long), Learning(iterations=1))
