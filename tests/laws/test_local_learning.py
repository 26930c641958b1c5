"""Laws of local learning, for every net, objective and goodness: what is learned, by whom, and what is left alone."""

import pytest
import torch
from families import NETS, Streaming, nets_that
from problems import Some, problems
from torch.nn import functional as F

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.reference import drive_of

BOTH = pytest.mark.parametrize("module", [engine, reference], ids=["engine", "reference"])
# All nets with all objectives and goodness functions are held against the reference; where a law is about something else,
# one closed form and one of a user's own will do.
SOME = {
    "objectives": ("logistic", "softmax", "own objective"),
    "goodness": ("mean square", "own goodness of two values"),
}
ONE = {"objectives": ("logistic",), "goodness": ("mean square",)}
MEANS = ("logistic", "paired", "own objective")  # over the negatives of a case
ITERATED = nets_that(lambda family: family.iterations > 1)
PEERS = nets_that(lambda family: family.iterations > 1 and not isinstance(family, Streaming))
SEVERAL = nets_that(lambda family: family.several)
NOT_MASKED = nets_that(lambda family: family.dropout is None)


def assert_same(problem, one, two, scale=1.0):
    """Loss and gradients of `two` are those of `one` times the scale, but for rounding."""
    torch.testing.assert_close(two.result.loss, one.result.loss, **problem.exact)
    assert_same_gradients(problem, one.gradients, two.gradients, scale)


def assert_same_gradients(problem, one, two, scale=1.0):
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], scale * gradient, **problem.exact, msg=lambda m, n=name: f"{n}: {m}")


@problems()
def test_the_sweep_is_the_reference(problem):
    """Loss, goodness, logits and gradients, with one negative a case and with two."""
    for count in (1, 2) if problem.family.several else (1,):
        fast, plain = (problem.learn(problem.batch(count), module, scale=0.7) for module in (engine, reference))
        assert fast.gradients.keys() == dict(fast.net.named_parameters()).keys()
        assert_same(problem, plain, fast)
        for field in ("head_loss", "logits_BC", "goodness_positive_TLB", "goodness_negative_TLB"):
            torch.testing.assert_close(
                getattr(fast.result, field), getattr(plain.result, field).detach(), **problem.exact
            )


@problems(**SOME)
@BOTH
def test_no_layer_moves_another_ones_weights(problem, module):
    """Where one layer alone has an objective, the gradients of all others' parameters are 0, to the last bit."""
    batch = problem.batch()
    whole = problem.learn(batch, module)
    for layer in range(len(whole.net.hidden_features)):
        alone = problem.learn(batch, module, objective=Some(problem.objective, layer=layer))
        for name, gradient in alone.gradients.items():
            if problem.owner(name) == layer:
                torch.testing.assert_close(gradient, whole.gradients[name], **problem.exact)
                assert gradient.abs().sum() > 0, name
            elif problem.owner(name) is None:
                torch.testing.assert_close(
                    gradient, whole.gradients[name], **problem.repeated
                )  # the head learns by itself
            else:
                assert (gradient == 0).all(), name


@problems(**ONE)
def test_a_drive_depends_on_the_layers_own_weights_alone(problem):
    """Nor on the states of neighbours, nor on those before: no derivative crosses a layer or a time step."""
    net, batch = problem.net(), problem.batch()
    with torch.no_grad():
        begun = net.begin(batch.inputs, None, net.head.weight.dtype)
        wiring = begun.wiring(batch.true_B, batch.negatives, problem.iterations)
    like = net.head.weight
    states = [
        torch.rand(wiring.kinds, wiring.cases, width, device=like.device, dtype=like.dtype).requires_grad_()
        for width in net.hidden_features
    ]
    names, parameters = zip(*net.named_parameters(), strict=True)
    for layer in range(len(states)):
        drive = torch.relu(drive_of(wiring, states, layer, 0)).square().sum()
        gradients = torch.autograd.grad(drive, [*parameters, *states], materialize_grads=True)
        for name, gradient in zip(names, gradients, strict=False):
            assert (gradient.abs().sum() > 0) if problem.owner(name) == layer else (gradient == 0).all(), name
        assert all((gradient == 0).all() for gradient in gradients[len(names) :])


@problems(**SOME)
def test_a_batch_is_the_mean_of_its_cases(problem):
    batch = problem.batch()
    whole, cases = problem.learn(batch), len(batch.true_B)
    parts = [problem.learn(problem.some(batch, [case])) for case in range(cases)]
    loss = torch.stack([part.result.loss for part in parts]).mean()
    torch.testing.assert_close(loss, whole.result.loss, **problem.exact)
    means = {name: torch.stack([part.gradients[name] for part in parts]).mean(dim=0) for name in whole.gradients}
    assert_same_gradients(problem, whole.gradients, means)


@problems(**SOME)
def test_scaling_the_loss_scales_the_gradients(problem):
    batch = problem.batch()
    assert_same(problem, problem.learn(batch), problem.learn(batch, scale=-3.0), scale=-3.0)


@problems(nets=NOT_MASKED, **SOME)
def test_the_head_learns_by_the_delta_rule_and_alone(problem):
    batch = problem.batch()
    learned = problem.learn(batch)
    net, gradients = learned.net, learned.gradients
    features_BF, answers = problem.features(net, batch), problem.family.answers
    error_BC = torch.softmax(features_BF @ net.head.weight.t() + net.head.bias, dim=1) - F.one_hot(
        batch.true_B, answers
    )
    torch.testing.assert_close(gradients["head.weight"], error_BC.t() @ features_BF / len(error_BC), **problem.exact)
    torch.testing.assert_close(gradients["head.bias"], error_BC.mean(dim=0), **problem.exact)
    torch.testing.assert_close(learned.result.logits_BC, net.plain_logits(batch.inputs, None).detach(), **problem.exact)
    hidden = [parameter for name, parameter in net.named_parameters() if problem.owner(name) is not None]
    of_logits = torch.autograd.grad(net.plain_logits(batch.inputs, None).sum(), hidden, allow_unused=True)
    assert all(gradient is None for gradient in of_logits), "it sends no gradient to a hidden layer"
    with torch.no_grad():
        net.head.weight.mul_(-2)
    before = {name: gradient.clone() for name, gradient in gradients.items() if problem.owner(name) is not None}
    again = problem.learn(batch, net=net)
    torch.testing.assert_close(
        again.result.loss, learned.result.loss, **problem.repeated
    )  # its own is no part of the value
    for name, gradient in before.items():
        torch.testing.assert_close(again.gradients[name], gradient, **problem.repeated)


@problems(**SOME)
def test_without_gradients_only_the_value_is_computed(problem):
    batch = problem.batch()
    learned = problem.learn(batch)
    with torch.no_grad():
        quiet = problem.learn(batch)
    assert not quiet.gradients
    torch.testing.assert_close(quiet.result.loss, learned.result.loss, **problem.exact)
    torch.testing.assert_close(
        quiet.result.goodness_negative_TLB, learned.result.goodness_negative_TLB, **problem.exact
    )


@problems(**SOME)
def test_inputs_and_weights_are_left_as_they_were(problem):
    """The engine works in place, on tensors of its own only."""
    net, batch = problem.net(), problem.batch()
    negatives = getattr(batch.negatives, "symbols_BK", batch.negatives)
    masks = [mask for mask in batch.masks or [] if mask is not None]
    given = [batch.inputs, batch.true_B, negatives, *masks, *net.state_dict().values()]
    before = [tensor.clone() for tensor in given]
    first = problem.learn(batch, net=net)
    gradients = {name: gradient.clone() for name, gradient in first.gradients.items()}
    assert all(torch.equal(one, two) for one, two in zip(before, given, strict=True))
    again = problem.learn(batch, net=net)
    torch.testing.assert_close(again.result.loss, first.result.loss, **problem.repeated)
    for name, gradient in gradients.items():
        torch.testing.assert_close(again.gradients[name], gradient, **problem.repeated)


@problems(nets=SEVERAL, objectives=MEANS, goodness=SOME["goodness"])
def test_each_of_several_negatives_weighs_its_share(problem):
    """Of two, a half: the loss is the mean of those with one of them; two that are equal are as good as one."""
    two = problem.batch(2)
    each = [two._replace(negatives=of_answers(two.negatives, [place])) for place in (0, 1)]
    both, alone = problem.learn(two), [problem.learn(batch) for batch in each]
    loss = (alone[0].result.loss + alone[1].result.loss) / 2
    torch.testing.assert_close(both.result.loss, loss, **problem.exact)
    means = {name: (gradient + alone[1].gradients[name]) / 2 for name, gradient in alone[0].gradients.items()}
    assert_same_gradients(problem, means, both.gradients)
    equal = two._replace(negatives=of_answers(two.negatives, [0, 0]))
    assert_same(problem, alone[0], problem.learn(equal))


def of_answers(negatives, places):
    """Some of the negatives of each case."""
    return type(negatives)(negatives[0][:, places]) if isinstance(negatives, tuple) else negatives[:, places]


@problems(nets=NOT_MASKED, objectives=("softmax",), goodness=("mean square", "own goodness"))
def test_softmax_is_the_cross_entropy_of_all_candidates(problem):
    batch = problem.batch()
    learned = problem.learn(batch)
    logits_TLBC = problem.sign * problem.family.judged(learned.net, batch.inputs) / problem.objective.temperature
    true_TLB = batch.true_B.expand(logits_TLBC.shape[:3])
    expected = F.cross_entropy(logits_TLBC.flatten(0, 2), true_TLB.flatten(), reduction="sum") / len(batch.true_B)
    torch.testing.assert_close(learned.result.loss, expected, **problem.exact)


@problems(nets=ITERATED, **SOME)
def test_constant_memory_gives_the_same(problem):
    batch = problem.batch(2)
    assert_same(problem, problem.learn(batch), problem.learn(batch, memory="constant"))


@problems(nets=[name for name in PEERS if "damping" not in NETS[name].settings], **SOME)
def test_a_list_of_equal_dampings_is_the_number(problem):
    """One for each iteration, or the last for all further."""
    batch = problem.batch()
    number = problem.learn(batch, net=problem.net(damping=0.3))
    for dampings in ([0.3] * problem.iterations, [0.3]):
        listed = problem.learn(batch, net=problem.net(damping=dampings))
        torch.testing.assert_close(listed.result.loss, number.result.loss, **problem.repeated)
        for name, gradient in number.gradients.items():
            torch.testing.assert_close(listed.gradients[name], gradient, **problem.repeated)


@problems(nets=PEERS, **SOME)
def test_peer_normalisation_is_the_references(problem):
    """Running means and gradients; it has no part in the value."""
    batch, strength = problem.batch(), {"peer_normalization": 0.2}
    without = problem.learn(batch)
    for memory in ("full", "constant"):
        fast = problem.learn(batch, memory=memory, **strength)
        plain = problem.learn(batch, reference, **strength)
        assert_same(problem, plain, fast)
        for one, two in zip(fast.net.peer_means(), plain.net.peer_means(), strict=True):
            torch.testing.assert_close(one, two, **problem.exact)
            assert not torch.equal(one, torch.full_like(one, 0.5))
    torch.testing.assert_close(fast.result.loss, without.result.loss, **problem.exact)
    assert all(torch.equal(mean, torch.full_like(mean, 0.5)) for mean in without.net.peer_means()), "off, they stay"


@problems(objectives=("logistic",))
def test_how_a_batch_is_split_changes_nothing_in_evaluation(problem):
    net, inputs, some = problem.net(), problem.batch().inputs, problem.family.some
    whole = problem.family.judged(net, inputs)
    parts = [problem.family.judged(net, some(inputs, cases)) for cases in ([0], [1, 2])]
    torch.testing.assert_close(torch.cat(parts, dim=2), whole, **problem.exact)
    scores = [net.score(some(inputs, cases), **problem.family.scoring) for cases in ([0], [1, 2])]
    torch.testing.assert_close(torch.cat(scores), net.score(inputs, **problem.family.scoring), **problem.exact)
    logits = [net.plain_logits(some(inputs, cases), None) for cases in ([0], [1, 2])]
    torch.testing.assert_close(torch.cat(logits), net.plain_logits(inputs, None), **problem.exact)
