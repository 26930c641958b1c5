"""The streaming character model against a plain loop, and the laws of its state."""

import gc
from functools import partial

import pytest
import torch
from making import stream_net, stream_state
from torch import nn
from torch.nn import functional as F

from ffrecur.core import reference
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired
from ffrecur.errors import UserError
from ffrecur.functional import goodness, noise_contrastive_logits, paired_loss, rms_normalize
from ffrecur.negatives.labels import hard_labels
from ffrecur.nets.stream import StreamNet

EXACT = {"rtol": 1e-10, "atol": 1e-12}
TEXT_BT = torch.tensor([[0, 3, 1, 2, 2, 0, 1], [1, 1, 0, 3, 2, 3, 0]])
NETS = {
    "plain": {"lateral": False, "top_down": False},
    "lateral": {"top_down": False, "damping": 0.5},
    "top-down": {"lateral": False, "damping": [0.5, 0.0, 0.2]},
    "candidate": {"top_down": False, "damping": 0.0, "candidate_layers": [1, 3]},
    "fast": {"keys": 2, "decay": 0.8, "rate": 0.7},
    "delta rule": {"keys": 3, "decay": 0.8, "rate": 0.7, "rule": "delta"},
    "twice": {"keys": 2, "iterations": 2},
    "one layer": {"hidden": (6,)},
}
each_net = pytest.mark.parametrize("options", NETS.values(), ids=NETS)


class Loop:
    """The equations once more, for one character of one stream at a time, by autograd with all that is carried detached."""

    def __init__(self, net):
        self.net, self.layers = net, range(len(net.hidden_features))
        self.hidden = [torch.zeros(width, dtype=torch.float64) for width in net.hidden_features]
        self.fast = [torch.zeros(width, net.keys, dtype=torch.float64) for width in net.hidden_features]

    def look(self, symbol):
        """Goodness of every iteration and layer, the states after the last, and the drives there without what is fast."""
        net, carried = self.net, [rms_normalize(state) for state in self.hidden]
        states, found = list(self.hidden), []
        for _ in range(net.iterations):
            drives = []
            for layer in self.layers:
                share = net.damping if isinstance(net.damping, float) else net.damping[layer]
                one_hot = F.one_hot(torch.tensor(symbol), len(net.alphabet)).double()
                below = rms_normalize(states[layer - 1].detach() if layer else one_hot)
                drive = net.bottom_up[layer](below)
                if layer and layer + 1 in net.candidate_layers:
                    drive = drive + net.candidate[str(layer)](rms_normalize(one_hot))
                if len(net.lateral):
                    drive = drive + net.lateral[layer](carried[layer])
                if len(net.top_down) and layer + 1 < len(self.layers):
                    drive = drive + net.top_down[layer](rms_normalize(states[layer + 1].detach()))
                drives.append(drive.detach())
                if net.keys:
                    drive = drive + self.fast[layer] @ self.key(layer)
                states[layer] = share * states[layer].detach() + (1 - share) * torch.relu(drive)
            found.append(torch.stack([goodness(state) for state in states]))
        return torch.stack(found), [state.detach() for state in states], drives

    def key(self, layer):
        return rms_normalize(self.net.fast[layer](rms_normalize(self.hidden[layer]))) / self.net.keys**0.5

    def logits(self):
        return self.net.head(torch.cat([rms_normalize(state) for state in self.hidden]))

    def go_on(self, symbol):
        _, states, drives = self.look(symbol)
        if self.net.keys:
            for layer, drive in enumerate(drives):
                faded, key = self.net.decay * self.fast[layer], self.key(layer).detach()
                new = drive - faded @ key if self.net.fast_rule == "delta" else drive
                self.fast[layer] = faded + self.net.rate * torch.outer(new, key)
        self.hidden = states


def learn(net, state, symbols_B, wrong_BK, **options):
    net.zero_grad()
    learning = Learning(objective=Paired(0.2), iterations=net.iterations)
    learned, state = net.local_learning(state, symbols_B, wrong_BK, learning, **options)
    learned.loss.backward()
    return learned, state


@each_net
def test_the_net_is_the_plain_loop(options):
    """State, loss, gradients, scores: character by character, stream by stream."""
    net = stream_net(goodness_weight=2.0, **options)
    state, loops = net.first_state(2), [Loop(net), Loop(net)]
    for symbols_B in TEXT_BT[:, :4].t():
        wrong_BK = torch.stack([(symbols_B + 1) % 4, (symbols_B + 2) % 4], dim=1)
        scores_BV = net.score(state)
        learned, after = learn(net, state, symbols_B, wrong_BK)
        found = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
        net.zero_grad()
        loss = 0
        for stream, (loop, symbol, wrong_K) in enumerate(zip(loops, symbols_B.tolist(), wrong_BK, strict=True)):
            seen = [loop.look(candidate)[0] for candidate in range(4)]
            summed_V = torch.stack([goodness_TL[-1].sum() for goodness_TL in seen])
            expected_V = noise_contrastive_logits(loop.logits(), summed_V, 2.0, "masked_head")
            torch.testing.assert_close(scores_BV[stream], expected_V.detach(), **EXACT)
            for wrong in wrong_K.tolist():
                loss = loss + paired_loss(seen[symbol], seen[wrong], 0.2).sum() / 2 / 2
            torch.testing.assert_close(learned.goodness_positive_TLB[..., stream], seen[symbol].detach(), **EXACT)
            logits_V = loop.logits()
            torch.testing.assert_close(net.logits(state)[stream], logits_V, **EXACT)
            (F.cross_entropy(logits_V, torch.tensor(symbol)) / 2).backward()
        torch.testing.assert_close(learned.loss, loss, **EXACT)
        loss.backward()
        for name, parameter in net.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found[name], expected, **EXACT, msg=lambda m, n=name: f"{n}: {m}")
        for stream, loop in enumerate(loops):
            loop.go_on(int(symbols_B[stream]))
            for layer in loop.layers:
                torch.testing.assert_close(after.hidden[layer][stream], loop.hidden[layer], **EXACT)
                if net.keys:
                    torch.testing.assert_close(after.memory[layer][stream], loop.fast[layer], **EXACT)
        state = after


def flat(state):
    return torch.cat([each.flatten(1) for each in (*state.hidden, *state.memory)], dim=1)


@each_net
def test_the_carried_state_is_that_of_the_true_stream(options):
    """Whichever candidates were drawn, and however many: it is what `step` gives. The state that came in is left as it was."""
    net = stream_net(**options)
    before = stream_state(net, 2)
    kept, symbols_B = flat(before).clone(), TEXT_BT[:, 0]
    expected = flat(net.step(before, symbols_B))
    for wrong in ([[1], [0]], [[2], [3]], [[1, 2, 3], [0, 2, 3]]):
        learned, after = learn(net, before, symbols_B, torch.tensor(wrong))
        torch.testing.assert_close(flat(after), expected, **EXACT)
        assert not any(each.requires_grad for each in (*after.hidden, *after.memory))
        assert learned.goodness_negative_TLB.shape == (net.iterations, len(net.hidden_features), 2)
    assert torch.equal(flat(before), kept)
    masks = net.dropout_masks(2, 0.4, torch.Generator().manual_seed(0))
    dropped = [
        flat(learn(net, before, symbols_B, torch.tensor(wrong), masks=masks)[1])
        for wrong in ([[1], [0]], [[1, 2], [0, 3]])
    ]
    torch.testing.assert_close(*dropped, **EXACT)
    assert not torch.allclose(dropped[0], expected), "the masks are put on"
    assert not torch.allclose(expected, flat(net.step(before, (symbols_B + 1) % 4))), "it depends on the true character"


WITHOUT_KEYS = [*(NETS[name] for name in ("plain", "lateral", "top-down", "candidate", "one layer")), {"iterations": 2}]


@pytest.mark.parametrize("options", WITHOUT_KEYS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_dreams_go_on_from_states_of_their_own(options, dropout):
    """Each negative from its own; the true character's state, and what it learns, are those without dreams."""
    net = stream_net(**options)
    true, first, second = (stream_state(net, 2, seed) for seed in range(3))
    dreams = tuple(torch.stack(pair, dim=1) for pair in zip(first.hidden, second.hidden, strict=True))
    state, symbols_B, own_BK = true._replace(dreams=dreams), TEXT_BT[:, 0], torch.tensor([[0, 2], [1, 3]])
    masks = net.dropout_masks(2, dropout, torch.Generator().manual_seed(0))
    learned, after = learn(net, state, symbols_B, own_BK, masks=masks)
    gradients = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    learning = Learning(objective=Paired(0.2), iterations=net.iterations)
    plain = reference.local_learning(net, state, symbols_B, own_BK, learning, masks)
    plain.loss.backward()
    torch.testing.assert_close(learned.loss, plain.loss, **EXACT)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, **EXACT)
    without = learn(net, true, symbols_B, (symbols_B + 1) % 4, masks=masks)
    torch.testing.assert_close(learned.goodness_positive_TLB, without[0].goodness_positive_TLB, **EXACT)
    torch.testing.assert_close(flat(after), flat(without[1]), **EXACT)
    for given in (state, after):  # reading and judging do not look at dreams
        plain_state = given._replace(dreams=())
        assert torch.equal(net.score(given), net.score(plain_state))
        assert torch.equal(net.goodness(given, symbols_B), net.goodness(plain_state, symbols_B))
        assert net.step(given, symbols_B).dreams == ()
        assert torch.equal(flat(net.step(given, symbols_B)), flat(net.step(plain_state, symbols_B)))
    if dropout == 0:
        each = [net.goodness(dream, own_B) for dream, own_B in zip((first, second), own_BK.t(), strict=True)]
        torch.testing.assert_close(learned.goodness_negative_TLB, (each[0] + each[1]) / 2, **EXACT)
        for k, dream in enumerate((first, second)):
            expected = net.step(dream, own_BK[:, k]).hidden
            for found, wanted in zip(after.dreams, expected, strict=True):
                torch.testing.assert_close(found[:, k], wanted, **EXACT)


def test_dreams_that_do_not_fit_are_refused():
    net, symbols_B = stream_net(), TEXT_BT[:, 0]
    state, learning = stream_state(net, 2), Learning(objective=Paired(0.2), iterations=1)
    dreams = tuple(each[:, None].expand(-1, 2, -1) for each in state.hidden)
    with pytest.raises(UserError, match="negatives is 1, but must be 2, one for each dream"):
        net.local_learning(state._replace(dreams=dreams), symbols_B, symbols_B, learning)
    with pytest.raises(UserError, match="state has tensors of the shapes"):
        net.step(state._replace(dreams=dreams[:1]), symbols_B)
    fast = stream_net(keys=2)
    with pytest.raises(UserError, match="dreams is .*, but must be none of a net with fast weights"):
        fast.step(stream_state(fast, 2)._replace(dreams=dreams), symbols_B)


@each_net
def test_streams_go_on_by_themselves_in_chunks_of_any_length(options):
    net = stream_net(**options)
    prepared = net.prepare()
    whole = net.read(prepared, TEXT_BT)
    first, rest = TEXT_BT[:, :3], TEXT_BT[:, 3:]
    in_chunks = net.read(prepared, rest, net.read(prepared, first))
    assert torch.equal(flat(in_chunks), flat(whole))
    for stream in range(2):
        alone = net.read(prepared, TEXT_BT[stream][None])
        torch.testing.assert_close(flat(alone), flat(whole.streams(slice(stream, stream + 1))), **EXACT)


@each_net
def test_a_stream_that_begins_anew_is_a_fresh_one(options):
    net = stream_net(**options)
    read = net.read(net.prepare(), TEXT_BT)
    reset = net.fresh_where(read, torch.tensor([False, True]))
    assert torch.equal(flat(reset)[0], flat(read)[0])
    assert torch.equal(flat(reset)[1], flat(net.first_state(1))[0])
    assert torch.equal(flat(net.fresh_where(read, torch.tensor([False, False]))), flat(read))


def test_memory_does_not_grow_with_the_length():
    """After a hundred characters there are as many tensors, of the same sizes, as after twenty."""
    net, learning = stream_net(keys=2), Learning(objective=Paired(0.2), iterations=1)
    state, held = net.first_state(2), []
    gc.collect()
    gc.freeze()  # what is there already is not looked at
    for step in range(100):
        learned, state = net.local_learning(state, TEXT_BT[:, step % 7], hard_labels, learning)
        learned.loss.backward()
        if step in (20, 99):
            held.append(tensors_held())
    gc.unfreeze()
    assert held[0] == held[1]
    assert all(each.untyped_storage().nbytes() == each.nbytes for each in (*state.hidden, *state.memory))


def tensors_held():
    """How many tensors there are, and their bytes."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    return len(tensors), sum(each.untyped_storage().nbytes() for each in tensors)


def test_what_each_source_is_worth_can_be_told():
    """Without a source there are no weights of it, and what it would read is of no consequence."""
    net = stream_net(lateral=False, top_down=False, damping=0.0)
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"bottom_up", "head"}
    states = [net.step(stream_state(net, 2, seed), TEXT_BT[:, 0]) for seed in (1, 2)]
    assert torch.equal(flat(states[0]), flat(states[1])), "nothing is carried"
    # What the top layer was is read by itself where there are lateral weights, by the one below where there are top-down ones.
    for options, unchanged in (({"top_down": False}, [True, True, False]), ({"lateral": False}, [True, False, False])):
        net = stream_net(damping=0.0, **options)
        before = stream_state(net, 2)
        changed = before._replace(hidden=(*before.hidden[:2], before.hidden[2] + torch.arange(4)))
        one, two = (net.step(state, TEXT_BT[:, 0]) for state in (before, changed))
        assert [torch.equal(*pair) for pair in zip(one.hidden, two.hidden, strict=True)] == unchanged


def test_dampings_of_each_layer_may_be_equal():
    one, three = stream_net(damping=0.4), stream_net(damping=[0.4, 0.4, 0.4])
    assert torch.equal(flat(one.read(one.prepare(), TEXT_BT)), flat(three.read(three.prepare(), TEXT_BT)))


def test_the_head_learns_what_comes_next_and_draws_the_negatives():
    net, learning = stream_net(), Learning(objective=Paired(0.2), iterations=1)
    state, noise_BV = stream_state(net, 2), torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    learned, _ = net.local_learning(state, TEXT_BT[:, 0], partial(hard_labels, noise_BC=noise_BV), learning)
    assert torch.equal(learned.negatives, hard_labels(net.logits(state), TEXT_BT[:, 0], noise_BV))
    torch.testing.assert_close(learned.head_loss, F.cross_entropy(net.logits(state), TEXT_BT[:, 0]).detach(), **EXACT)


def test_writing_goes_on_from_the_state(monkeypatch):
    """As if all of it had been read from the beginning; each further character costs one step."""
    net, steps, step = stream_net(goodness_weight=1.0, keys=2), [], StreamNet.prepared_step
    with monkeypatch.context() as patch:
        patch.setattr(StreamNet, "prepared_step", lambda *given: steps.append(given[3].shape) or step(*given))
        written = net.generate("abc", 5, generator=torch.Generator().manual_seed(3))
    assert steps == [(1,)] * len("abc" + written), "one character at a time, each of them once"
    noise = torch.rand(5, generator=torch.Generator().manual_seed(3))
    text = "abc"
    for uniform in noise:
        probabilities = torch.softmax(net.score(net.read(net.prepare(), net.encode(text)[None]))[0], dim=0)
        text += net.alphabet.symbols[int((probabilities.cumsum(0) <= uniform).sum())]
    assert text == "abc" + written


def test_goodness_of_a_character():
    net = stream_net(iterations=2)
    state = stream_state(net, 2)
    of_all_LBV = net.candidate_goodness(net.prepare(), state)
    for symbol in range(4):
        goodness_TLB = net.goodness(state, torch.full((2,), symbol))
        torch.testing.assert_close(goodness_TLB[-1], of_all_LBV[..., symbol], **EXACT)


def test_first_weights():
    """A drive has a variance of about 2 whatever drives it, so that goodness is about 1."""
    torch.manual_seed(0)
    for options in ({}, {"lateral": False}, {"lateral": False, "top_down": False}):
        net = stream_net("abcdefghijklmnop", (400, 400, 400), damping=0.0, **options)
        for linear in net.bottom_up:
            nn.init.zeros_(linear.bias)
        state = net.read(net.prepare(), torch.arange(16).repeat(8, 1))
        found = net.goodness(state, torch.arange(8))[0]
        assert ((found > 0.6) & (found < 1.6)).all(), found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"damping": [0.1, 0.2]}, r"damping is \[0.1, 0.2\], but must be .* one number or 3, one a layer"),
        ({"damping": 1.0}, "damping is 1.0, but must be at least 0 and less than 1"),
        ({"iterations": 0}, "iterations is 0, but must be a whole number of at least 1"),
        (
            {"fast_weights": [-1, 0.9, 0.5]},
            r"fast_weights is \[-1, 0.9, 0.5\], but must be keys .a whole number",
        ),
        ({"fast_weights": [2.5, 0.9, 0.5]}, r"fast_weights is \[2.5, "),
        ({"fast_weights": [2, 1.5, 0.5]}, "decay .from 0 to 1"),
        ({"fast_weights": [2, 0.9, -1.0]}, "rate .at least 0"),
        ({"fast_weights": [2, 0.9]}, "fast_weights is "),
        ({"fast_weights": [2, 0.9, 0.5, "oja"]}, "and hebbian or delta"),
        ({"fast_weights": [2, 0.9, 0.5, "delta", 1]}, "fast_weights is "),
        ({"fast_weights": ["delta", 0.9, 0.5]}, "fast_weights is "),
        ({"fast_weights": [2, 0.9, 1.5, "delta"]}, "at most 1 by the delta rule"),
        ({"hidden": ()}, "hidden_features"),
        ({"candidate_layers": [2, 3]}, r"candidate_layers is \[2, 3\], but must be layers of which the first is one"),
        (
            {"candidate_layers": [1, 4]},
            r"candidate_layers is \[1, 4\], but must be different layers from 1 to 3, in order",
        ),
        ({"candidate_layers": [True]}, r"candidate_layers is \[True\]"),
        ({"candidate_layers": [1, 3, 3]}, "candidate_layers is "),
        ({"candidate_layers": [1, 2.5]}, r"candidate_layers is \[1, 2.5\]"),
        ({"candidate_layers": []}, "candidate_layers is "),
    ],
)
def test_settings_outside_their_range(change, message):
    with pytest.raises(UserError, match=message):
        stream_net(**change)


def test_what_does_not_fit_is_refused_in_a_sentence():
    net, other, learning = stream_net(), stream_net(hidden=(6, 5, 7)), Learning(iterations=1)
    state, symbols_B = net.first_state(2), TEXT_BT[:, 0]
    for refused, message in (
        (
            lambda: net.step(other.first_state(2), symbols_B),
            r"state has tensors of the shapes \[\(2, 6\), \(2, 5\), \(2, 7\)\]",
        ),
        (lambda: net.step(symbols_B, symbols_B), "state is a Tensor, but must be a StreamState"),
        (lambda: net.step(state, symbols_B[:1]), r"symbols have the shape \(1,\), but must have \(2,\)"),
        (lambda: net.step(state, symbols_B + 4), "symbols have the value 4, but must be from 0 to 3"),
        (lambda: net.local_learning(state, symbols_B, symbols_B, learning), "negative symbols have the true label"),
        (
            lambda: net.local_learning(state, symbols_B, hard_labels, Learning(iterations=8)),
            "iterations is 8, but must be those of",
        ),
        (
            lambda: net.local_learning(state, symbols_B, partial(hard_labels, count=4), learning),
            "negatives_per_case is 4, but must be from 1 to 3",
        ),
        (
            lambda: net.local_learning(net.first_state(0), symbols_B[:0], hard_labels, learning),
            "an empty batch, but something must be learned from",
        ),
    ):
        with pytest.raises(UserError, match=message):
            refused()


def test_every_layer_learns_to_tell_what_comes_next():
    """On a text that one character before decides half the time: mean goodness differs on text that it has not seen."""
    torch.manual_seed(0)
    net = StreamNet("abcd", (24, 24))
    optimizer, learning = torch.optim.Adam(net.parameters(), lr=0.002), Learning(objective=Paired(0.1), iterations=1)
    generator = torch.Generator().manual_seed(1)
    keep_TB, other_TB = torch.rand(250, 16, generator=generator) < 0.5, torch.randint(4, (250, 16), generator=generator)
    state, symbols_B, gaps = net.first_state(16), other_TB[0], []
    for step in range(1, 250):
        symbols_B = torch.where(keep_TB[step], (symbols_B + 1) % 4, other_TB[step])
        noise_BV = torch.rand(16, 4, generator=generator)
        learned, state = net.local_learning(state, symbols_B, partial(hard_labels, noise_BC=noise_BV), learning)
        gaps.append((learned.goodness_positive_TLB - learned.goodness_negative_TLB)[0].mean(dim=1))
        optimizer.zero_grad()
        learned.loss.backward()
        optimizer.step()
    last_ML = torch.stack(gaps[-100:])
    error_L = last_ML.std(dim=0) / 10
    assert (last_ML.mean(dim=0) > 3 * error_L).all(), (last_ML.mean(dim=0), error_L)
