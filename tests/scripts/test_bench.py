"""What the benchmark compares is what it says: the same results, and the count of products by hand."""

import bench_feedforward
import bench_maps
import bench_parts as parts
import bench_stream
import bench_text
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ffrecur.core import learning as engine
from ffrecur.core import reference
from ffrecur.core.sources import Tiled
from ffrecur.nets.maps import Maps
from ffrecur.text.sampling import roll_out


def test_necessary_multiply_adds_by_hand():
    """784-2000-2000-10: 2 * 784 * 2000 + 2000**2 * (1 + 8 * 8); three layers: both pairs count."""
    assert parts.necessary_multiply_adds([2000, 2000]) == 3_136_000 + 65 * 4_000_000
    assert parts.necessary_multiply_adds([30, 20, 10], iterations=2) == 2 * 784 * 30 + 17 * (600 + 200)


def test_the_naive_classifier_gives_the_same_labels():
    net, images, _ = parts.make([30, 20], batch=20)
    assert torch.equal(parts.naive_classify(net, images), net.classify(images, parts.WINDOW))


def test_the_timed_steps_train_the_same_net_alike():
    weights = []
    for module in (engine, reference):
        net, images, labels = parts.make([30, 20], batch=20)
        torch.manual_seed(1)
        for _ in range(2):
            parts.training_step(module.local_learning, net, images, labels)()
        weights.append(net.bottom_up[0].weight.detach())
    start = parts.make([30, 20], batch=20)[0].bottom_up[0].weight
    assert not torch.allclose(weights[0], start, atol=1e-5)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)


def test_backpropagation_through_time_has_the_same_loss_and_other_gradients():
    net, images, labels = parts.make([30, 20], batch=20)
    negatives = (labels + 1) % 10
    through = parts.through_time(net, images, labels, negatives, 4)
    local = net.local_loss(images, labels, negatives, iterations=4, temperature=0.1)
    torch.testing.assert_close(through, local, rtol=1e-5, atol=0)
    through.backward()
    gradient = net.bottom_up[0].weight.grad.clone()
    net.zero_grad()
    local.backward()
    assert not torch.allclose(gradient, net.bottom_up[0].weight.grad, rtol=1e-2, atol=1e-4)


def test_necessary_multiply_adds_of_text_by_hand():
    assert bench_text.necessary_multiply_adds([2000, 2000, 2000]) == 5 * 8_000_000 + 2 * 30 * 6000


def test_the_naive_generator_writes_the_same_text():
    net, windows, _ = bench_text.make([30, 20], batch=20)
    noise = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bench_text.naive_roll_out(net, windows, noise), roll_out(net, windows, noise))


def test_the_timed_steps_train_the_same_character_model_alike():
    weights = []
    for learn in (engine.local_learning, reference.local_learning):
        net, contexts, following = bench_text.make([30, 20], batch=20)
        torch.manual_seed(1)
        for _ in range(2):
            bench_text.training_step(learn, net, contexts, following)()
        weights.append(net.hidden[0].weight.detach())
    assert not torch.allclose(weights[0], bench_text.make([30, 20])[0].hidden[0].weight, atol=1e-5)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)


def test_what_is_printed_of_the_character_model():
    found = bench_text.measure_text(1, [6, 5])
    names = ["train_windows_per_s", "train_matmul_fraction", "train_speedup_vs_autograd", "generate_characters_per_s"]
    names += ["generate_batched_characters_per_s", "generate_speedup_vs_naive", "generate_by_score_characters_per_s"]
    assert all(found[name] > 0 for name in names)
    seconds = found["seconds"]
    batched, naive = bench_text.STREAMS / seconds["batched"], 1 / seconds["naive"]
    assert found["generate_speedup_vs_naive"] == pytest.approx(batched / naive)
    assert "generation, 256 streams" in bench_text.text_table(found)


def test_necessary_multiply_adds_of_feed_forward_nets_by_hand():
    """784-2000-2000-2000-2000: three passes up and two gradients of each upper layer; ten labels in evaluation."""
    found = bench_feedforward.necessary_multiply_adds([2000] * 4)
    assert found == (2 * 1_568_000 + 5 * 12_000_000, 1_568_000 + 10 * 12_000_000)


def test_the_naive_step_of_a_feed_forward_net_has_the_same_gradients():
    gradients = []
    for make_step in (bench_feedforward.training_step, bench_feedforward.naive_step):
        net, images, labels = bench_feedforward.make([30, 20])
        torch.manual_seed(1)
        make_step(net, images, labels)()
        gradients.append({name: weight.grad for name, weight in net.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.count_nonzero() > 0
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_what_is_printed_of_a_feed_forward_net():
    found = bench_feedforward.measure_feedforward([6, 5], 1)
    assert found["hidden_features"] == [6, 5]
    assert found["batch_size"] == 100
    names = ["train_images_per_s", "train_matmul_fraction", "train_speedup_vs_naive", "eval_images_per_s"]
    assert all(found[name] > 0 for name in [*names, "eval_matmul_fraction"])
    assert "feed-forward net, 784-6-5-10" in bench_feedforward.feedforward_table(found)


SMALL = Maps((3, 5, 2), (2, 1), 3)


def test_necessary_multiply_adds_of_maps_by_hand():
    """On 3x3 places with fields of 3 a side has 2 + 3 + 2 pairs; on 32 with fields of 11, 32 * 11 - 2 * (1 + ... + 5)."""
    assert bench_maps.pairs_of_places(Maps((3, 3, 1), (1,), 3)) == 7 * 7
    assert bench_maps.pairs_of_places(Maps((3, 3, 1), (1,), 1)) == 9
    assert bench_maps.pairs_of_places(bench_maps.MAPS) == 322**2
    each = 9 * 322**2
    assert bench_maps.training_multiply_adds(bench_maps.MAPS) == (2 + 1 + 8 * 6) * each
    assert bench_maps.evaluation_multiply_adds(bench_maps.MAPS) == (1 + 3 + (2 * 5 - 3) * 10) * each
    three = Maps(
        (3, 3, 1), (2, 1, 3), 3
    )  # 49 * 2 and 49 * 3 between hidden layers; the label reaches layer 1 at iteration 3
    upper = 49 * 3 * (1 + 1 + (10 + 1) + (10 + 10))  # first pass; downward at 1; at 2 and at 3
    lower = 49 * 2 * (1 + 1 + (1 + 1) + (10 + 1))
    assert bench_maps.evaluation_multiply_adds(three, iterations=3) == 49 * 2 + upper + lower


def test_an_evaluation_of_maps_multiplies_what_is_counted(monkeypatch):
    """No row of a product is left out, and none is read twice."""
    rows, drive = [], Tiled.drive

    def counted(source, rows_KN, outer=None):
        rows.append(len(rows_KN) * source.local.in_shape[2] * source.local.out_shape[2])
        return drive(source, rows_KN, outer)

    monkeypatch.setattr(Tiled, "drive", counted)
    for maps in (SMALL, Maps((3, 5, 2), (2, 1, 3), 3)):
        rows.clear()
        net, images, _ = bench_maps.make(maps)
        net.classify(images, parts.WINDOW)
        counted_rows = sum(rows) * bench_maps.pairs_of_places(maps)
        assert counted_rows == bench_maps.evaluation_multiply_adds(maps) * len(images)


def test_the_dense_masked_step_has_the_same_gradients_as_maps():
    net, images, labels = bench_maps.make(SMALL)
    dense, masked = bench_maps.dense_masked(net)
    assert [int(mask.sum()) for _, mask in masked] == [bench_maps.pairs_of_places(SMALL) * units for units in (4, 2, 2)]
    negatives, settings = (labels + 1) % 10, {"iterations": 3}
    losses = [each.local_loss(images, labels, negatives, **settings) for each in (net, dense)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    for loss in losses:
        loss.backward()
    fields = [linear for linear in (*net.bottom_up, *net.top_down[:-1])]
    for (weight, mask), local in zip(masked, fields, strict=True):
        with torch.no_grad():
            local.weight.copy_(local.weight.grad)
        torch.testing.assert_close(weight.grad * mask, bench_maps.whole_matrix(local), rtol=1e-3, atol=1e-6)


def test_what_is_printed_of_maps(monkeypatch):
    monkeypatch.setattr(bench_maps, "DENSE", 64)
    found = bench_maps.measure_maps(1, SMALL)
    assert (found["in_shape"], found["units_per_place"], found["field"]) == ([3, 5, 2], [2, 1], 3)
    names = ["train_images_per_s", "train_matmul_fraction", "train_speedup_vs_dense_masked", "eval_images_per_s"]
    assert all(found[name] > 0 for name in [*names, "eval_matmul_fraction", "matmul_gflop_per_s"])
    seconds = found["seconds"]
    share = bench_maps.training_multiply_adds(SMALL) / (2 * 64**2) * seconds["dense product"] / seconds["engine"]
    assert found["train_matmul_fraction"] == pytest.approx(share)
    assert "2 maps over 3x5x2, 2x1 units a place, fields of 3" in bench_maps.maps_table(found)


def test_necessary_multiply_adds_of_a_stream_by_hand():
    """3-2 units, 5 keys, 4 symbols: S = 6, Q = 9 + 4, F = 5; the same without fast weights."""
    with_keys = bench_stream.necessary_multiply_adds([3, 2], keys=5, symbols=4)
    assert with_keys == {
        "train": 6 * 6 + 2 * 13 + 2 * 4 * 5 + 5 * 5 * 5,
        "generate": 2 * 6 + 13 + 20 + 3 * 25,
        "generate_by_score": 5 * 6 + 13 + 20 + 3 * 25,
    }
    without = bench_stream.necessary_multiply_adds([200] * 3, keys=0)
    assert without["train"] == 6 * 80_000 + 2 * 120_000 + 2 * 30 * 600


@pytest.mark.parametrize("keys", [0, 5])
def test_the_products_of_a_stream_are_as_many_as_counted(keys):
    """Counted as they are called, by the shapes that PyTorch sees: two operations a multiply-add."""
    widths, wanted = [30, 20, 10], bench_stream.necessary_multiply_adds([30, 20, 10], keys)
    for name, products in bench_stream.necessary_products(widths, keys).items():
        counter = FlopCounterMode(display=False)
        with counter:
            products()
        assert counter.get_total_flops() == 2 * bench_stream.STREAMS * wanted[name], name


@pytest.mark.parametrize("keys", [0, 3])
def test_the_timed_stretches_train_the_same_stream_alike(keys):
    text = torch.randint(30, (4, 5), generator=torch.Generator().manual_seed(0))
    weights = []
    for learn in (engine.local_learning, reference.local_learning):
        net = bench_stream.make([12, 10], keys)
        torch.manual_seed(1)
        bench_stream.training(learn, net, text)()
        weights.append(torch.cat([weight.detach().flatten() for weight in net.parameters()]))
    start = torch.cat([weight.detach().flatten() for weight in bench_stream.make([12, 10], keys).parameters()])
    assert not torch.allclose(weights[0], start, atol=1e-5)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)


def test_a_timed_stream_writes_what_the_net_generates():
    net = bench_stream.make([12, 10], 3, goodness_weight=2.5)
    noise = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    assert net.decode(bench_stream.write(net, noise)[0]) == net.generate(
        "", 6, generator=torch.Generator().manual_seed(0)
    )


def test_what_is_printed_of_a_stream(monkeypatch):
    monkeypatch.setattr(bench_stream, "DENSE", 20)
    found = bench_stream.measure_stream([6, 5], 3, 1)
    assert found["hidden_features"] == [6, 5]
    for name, count in bench_stream.necessary_multiply_adds([6, 5], 3).items():
        seconds = found["seconds"][name] / bench_stream.CHARACTERS
        assert found[f"{name}_characters_per_s"] == pytest.approx(32 / seconds)
        rate = 2 * count * 32 / seconds / 1e9
        assert found[f"{name}_share_of_dense_rate"] == pytest.approx(rate / found["dense_gflop_per_s"])
        assert found[f"{name}_matmul_fraction"] > 0
    assert "streaming character model, 6-5, fast weights of 3 keys, 32 streams" in bench_stream.stream_table(found)
