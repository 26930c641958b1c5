"""The engine's products, by whichever routine: the same figures as plain ones, and bfloat16 where autocast asks for it."""

import pytest
import torch
from making import recurrent_net

from ffrecur import CharNet, RecurrentNet, StreamNet
from ffrecur.core import learning as engine
from ffrecur.core import products
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Paired
from ffrecur.text.sampling import roll_out

WIDE = products.SMALLEST_BLOCKED_GRADIENT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(3, 5), (130, 150), (WIDE, WIDE + 1)])
@pytest.mark.parametrize("batch", [1, 7])
def test_products_are_what_plain_ones_are(dtype, widths, batch):
    torch.manual_seed(0)
    below, above = widths
    rows, outer = torch.randn(batch, below, dtype=dtype), torch.randn(batch, above, dtype=dtype)
    matrix = torch.randn(above, below, dtype=dtype)
    weight = products.prepare(matrix)
    tolerance = {"rtol": 0, "atol": 1e-3 if dtype == torch.float32 else 1e-11}
    plain = rows.double() @ matrix.double().t()
    for added in (None, outer[0], outer):
        expected = plain if added is None else plain + added
        torch.testing.assert_close(products.product(rows, weight, added), expected.to(dtype), **tolerance)
    gradient = products.weight_gradient(outer, rows)
    assert gradient.is_contiguous()
    torch.testing.assert_close(gradient, (outer.double().t() @ rows.double()).to(dtype), **tolerance)


def test_the_blocked_layout_is_for_float32_on_the_processor_only(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert products.blocks_pay(128, 128, torch.rand(1)) == torch.backends.mkldnn.is_available()
    assert not products.blocks_pay(127, 128, torch.rand(1))
    assert not products.blocks_pay(128, 128, torch.rand(1, dtype=torch.float64))
    assert not products.blocks_pay(128, 128, torch.rand(1, device="meta"))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not products.blocks_pay(128, 128, torch.rand(1))
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not products.blocks_pay(128, 128, torch.rand(1))


@pytest.mark.parametrize("width", [5, WIDE])
def test_a_gradient_takes_the_precision_of_the_rows(width):
    torch.manual_seed(0)
    deltas, rows = torch.rand(3, width), torch.rand(3, width).bfloat16()
    gradient = products.weight_gradient(deltas, rows)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, deltas.t() @ rows.float(), rtol=0.01, atol=0.01)


def learn(precision=None, images=None, memory="full"):
    """Return loss, goodness and the gradients of one batch under autocast to this precision, or without."""
    torch.manual_seed(0)
    net = recurrent_net((140, 130, 135), in_features=150, classes=4).float()
    images, labels = torch.rand(12, 150) if images is None else images, torch.arange(12) % 4
    with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
        learned = net.local_learning(images, labels, (labels + 1) % 4, Learning(iterations=4, memory=memory))
        scores = net.score(images)
    learned.loss.backward()
    return learned, scores, {name: parameter.grad for name, parameter in net.named_parameters()}


def test_with_and_without_the_blocked_layout_it_learns_the_same(monkeypatch):
    """In float32; where there is no blocked layout, both are the plain products."""
    one, one_scores, one_gradients = learn()
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    two, two_scores, two_gradients = learn()
    torch.testing.assert_close(one.loss, two.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(one_scores, two_scores, rtol=1e-5, atol=1e-5)
    for name, gradient in one_gradients.items():
        torch.testing.assert_close(gradient, two_gradients[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("memory", ["full", "constant"])
@pytest.mark.parametrize("video", [False, True])
def test_autocast_to_bfloat16_is_close_and_leaves_float32(video, memory, monkeypatch):
    """bfloat16 has 8 bits: a part in 256 for one rounding. All else stays float32, the gradients too."""
    monkeypatch.setattr(products, "has_bfloat16", lambda device: True)  # emulated where it is not
    images = torch.rand(5, 12, 150) if video else None
    plain, plain_scores, plain_gradients = learn(images=images)
    half, half_scores, half_gradients = learn(torch.bfloat16, images, memory)
    torch.testing.assert_close(half.loss, plain.loss, rtol=1e-2, atol=0)
    torch.testing.assert_close(half_scores, plain_scores, rtol=2e-2, atol=2e-2)
    assert half.goodness_positive_TLB.dtype == torch.float32
    check_half_gradients(half_gradients, plain_gradients, "bottom_up.1.weight")


def check_half_gradients(half, plain, layer):
    """They are float32 and close to those of whole precision, but not the same: the layer's products were rounded."""
    for name, gradient in half.items():
        assert gradient.dtype == torch.float32, name
        assert (gradient - plain[name]).norm() < 0.05 * plain[name].norm(), name
    assert not torch.allclose(half[layer], plain[layer], rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["maps", "stream"])
def test_maps_and_streams_in_bfloat16_are_close_and_leave_float32(kind, monkeypatch):
    monkeypatch.setattr(products, "has_bfloat16", lambda device: True)  # emulated where it is not
    torch.manual_seed(0)
    if kind == "maps":
        net = RecurrentNet(in_shape=(8, 9, 3), units_per_place=(3, 3), field=5, num_classes=4)
        labels, layer = torch.arange(12) % 4, "bottom_up.1.weight"
        batch, learning = (torch.rand(12, 216), labels, (labels + 1) % 4), Learning(iterations=4)
    else:
        net = StreamNet("abcdef ", hidden_features=(140, 130), candidate_layers=(1, 2), lateral=False)
        state, symbols, layer = net.first_state(12), torch.arange(36).view(3, 12) % 7, "bottom_up.1.weight"
        for symbols_B in symbols[:2]:
            state = net.step(state, symbols_B)
        batch = state, symbols[2], (symbols[2] + 1) % 7
        learning = Learning(objective=Paired(), iterations=1)
    torch.nn.init.normal_(net.head.weight, std=0.1)
    losses, gradients = [], []
    for enabled in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            learned = net.local_learning(*batch, learning)
        loss = (learned[0] if kind == "stream" else learned).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    torch.testing.assert_close(losses[1], losses[0], rtol=2e-2, atol=0)
    check_half_gradients(gradients[1], gradients[0], layer)


def learn_text(precision=None):
    """Return what one batch of text leaves, and a roll-out, under autocast to this precision, or without."""
    torch.manual_seed(0)
    net = CharNet("abcdef ", window=5, hidden_features=(140, 130, 135))
    torch.nn.init.normal_(net.head.weight, std=0.1)
    windows, following = torch.randint(7, (2, 12, 5)), torch.arange(12) % 7
    with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
        learned = net.local_learning(windows[0], following, windows[1], Learning(objective=Paired()))
        text = roll_out(net, windows[0], torch.rand(12, 200, generator=torch.Generator().manual_seed(0)))
    learned.loss.backward()
    return learned, text, {name: parameter.grad for name, parameter in net.named_parameters()}


def test_text_in_bfloat16_is_close_and_leaves_float32(monkeypatch):
    monkeypatch.setattr(products, "has_bfloat16", lambda device: True)  # emulated where it is not
    plain, _, plain_gradients = learn_text()
    half, text, half_gradients = learn_text(torch.bfloat16)
    torch.testing.assert_close(half.loss, plain.loss, rtol=2e-2, atol=0)
    assert half.goodness_positive_TLB.dtype == half.logits_BC.dtype == torch.float32
    check_half_gradients(half_gradients, plain_gradients, "hidden.1.weight")
    assert text.max() < 7


def test_text_in_float16_or_float64_is_not_changed():
    plain, half = learn_text(), learn_text(torch.float16)
    assert torch.equal(plain[0].loss, half[0].loss)
    assert torch.equal(plain[1], half[1])
    assert all(torch.equal(gradient, half[2][name]) for name, gradient in plain[2].items())


def test_a_processor_without_bfloat16_keeps_to_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    products.has_bfloat16.cache_clear()
    plain, mixed = learn(), learn(torch.bfloat16)
    monkeypatch.undo()
    products.has_bfloat16.cache_clear()
    assert torch.equal(plain[0].loss, mixed[0].loss)
    assert all(torch.equal(gradient, mixed[2][name]) for name, gradient in plain[2].items())


def test_autocast_to_float16_is_not_followed():
    """Local derivatives are too small for its range."""
    plain, half = learn(), learn(torch.float16)
    assert torch.equal(plain[0].loss, half[0].loss)
    assert all(torch.equal(gradient, half[2][name]) for name, gradient in plain[2].items())


def test_a_float64_net_keeps_its_precision_under_autocast():
    net = recurrent_net((20, 20))
    images, labels = torch.rand(3, 4, dtype=torch.float64), torch.tensor([0, 1, 2])
    plain = engine.local_learning(net, images, labels, (labels + 1) % 3, Learning(), None).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(engine.local_learning(net, images, labels, (labels + 1) % 3, Learning(), None).loss, plain)
