"""Metrics against brute force, and the same however the data is cut into batches."""

import numpy as np
import pytest
import torch
from making import recurrent_net

from ffrecur import FeedForwardNet
from ffrecur.core import products
from ffrecur.metrics.images import GoodnessError, LogitEvaluation, MeanGoodness, RecurrentEvaluation, split_by_truth
from ffrecur.metrics.separation import SeparationEvaluation


def brute_force(net, images, labels, iterations, window, temperature, head_weight):
    """All figures with loops, from the goodness of one image at a time."""
    g = np.stack([net.label_goodness(image[None], iterations)[:, :, 0].numpy() for image in images])  # (N, T, L, C)
    n, layers, classes = len(labels), g.shape[2], g.shape[3]

    def error(iterations_used, layers_used):
        wrong = 0
        for i in range(n):
            score = [
                np.mean([sum(g[i, t, k, c] for k in layers_used) for t in iterations_used]) for c in range(classes)
            ]
            wrong += int(np.argmax(net.sign * np.array(score))) != labels[i]
        return wrong / n

    span = range(window[0] - 1, window[1])
    confidence, right = [], []
    for i in range(n):
        logits = net.one_pass_logits(images[i : i + 1])[0].detach().numpy()
        head = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        by_goodness = net.sign * np.array([np.mean([g[i, t, :, c].sum() for t in span]) for c in range(classes)])
        score = (by_goodness + head_weight * head) / temperature
        p = np.exp(score - score.max()) / np.exp(score - score.max()).sum()
        confidence.append(p.max())
        right.append(p.argmax() == labels[i])
    bins = np.minimum((np.array(confidence) * 15).astype(int), 14)
    calibration = sum(
        (bins == b).mean() * abs(np.mean(np.array(right)[bins == b]) - np.mean(np.array(confidence)[bins == b]))
        for b in set(bins)
    )
    true = np.mean(
        [[[g[i, t, k, labels[i]] for k in range(layers)] for t in range(iterations)] for i in range(n)], axis=0
    )
    wrong = [
        [
            [np.mean([g[i, t, k, c] for c in range(classes) if c != labels[i]]) for k in range(layers)]
            for t in range(iterations)
        ]
        for i in range(n)
    ]
    return {
        "error": 1 - np.mean(right),
        "goodness_error": error(span, range(layers)),
        "error_by_iteration": [error([t], range(layers)) for t in range(iterations)],
        "error_by_layer": [error(span, [k]) for k in range(layers)],
        "calibration_error": calibration,
        "goodness_positive": true,
        "goodness_negative": np.mean(wrong, axis=0),
    }


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("head_weight", [0.0, 0.7])
@pytest.mark.parametrize("split", [[40], [1, 20, 19], [7, 7, 7, 7, 7, 5]])
def test_evaluation_agrees_with_brute_force_in_any_batches(sign, split, head_weight):
    net = recurrent_net((7, 5), sign=sign, classes=4)
    torch.nn.init.normal_(net.head.weight)
    images = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(4, (40,), generator=torch.Generator().manual_seed(1))
    evaluation = RecurrentEvaluation(net, iterations=5, window=(2, 4), temperature=0.5, head_weight=head_weight)
    for part, truth in zip(images.split(split), labels.split(split), strict=True):
        evaluation.update(net, part, truth)
    found = evaluation.compute()
    for name, value in brute_force(net, images, labels.numpy(), 5, (2, 4), 0.5, head_weight).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    one_pass = (net.one_pass_logits(images).argmax(dim=1) != labels).double().mean()
    np.testing.assert_allclose(found["one_pass_error"], one_pass.item(), rtol=1e-6)
    assert found["num_examples"] == 40
    classified = (net.classify(images, (2, 4), head_weight) != labels).double().mean()
    assert found["error"] == classified
    assert (found["error"] == found["goodness_error"]) == (head_weight == 0)


def test_one_layer_and_one_iteration_keep_their_shapes():
    net = recurrent_net((6,), classes=3)
    evaluation = RecurrentEvaluation(net, iterations=1, window=(1, 1), temperature=0.5)
    evaluation.update(net, torch.randn(4, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))
    figures = {name: value for name, value in evaluation.compute().items() if isinstance(value, torch.Tensor)}
    shapes = {name: tuple(value.shape) for name, value in figures.items()}
    assert shapes["error_by_iteration"] == shapes["error_by_layer"] == (1,)
    assert shapes["goodness_positive"] == shapes["goodness_negative"] == (1, 1)
    assert shapes["error"] == ()


def test_errors_by_hand():
    """Two images, two labels, two iterations, one layer; the truth is label 0 both times."""
    layer = torch.tensor([[[[2.0, 1.0], [1.0, 2.0]]], [[[2.0, 1.0], [5.0, 3.0]]]])  # (T, L, B, C)
    goodness = torch.cat(
        [layer, 0.1 * layer.flip(-1)], dim=1
    )  # a faint second layer that is always of the other opinion
    metric = GoodnessError(iterations=2, layers=2, window=(1, 2), sign=1)
    metric.update(goodness, torch.tensor([0, 0]))
    assert {name: value.tolist() for name, value in metric.compute().items()} == {
        "num_examples": 2,
        "goodness_error": 0.0,
        "error_by_iteration": [0.5, 0.0],
        "error_by_layer": [0.0, 1.0],
    }


def test_equal_scores_count_for_the_lowest_label():
    metric = GoodnessError(iterations=1, layers=1, window=(1, 1), sign=1)
    metric.update(torch.ones(1, 1, 10, 10), torch.arange(10))
    assert metric.compute()["goodness_error"] == pytest.approx(0.9)


def test_mean_goodness_weighs_every_image_alike():
    metric = MeanGoodness(iterations=1, layers=2)
    metric.update(torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]]]))
    metric.update(torch.tensor([[[10.0], [4.0]]]))
    assert metric.compute().tolist() == [[4.0, 2.0]]


def test_split_by_truth_by_hand():
    true, wrong = split_by_truth(torch.tensor([[[[1.0, 2.0, 6.0], [3.0, 5.0, 7.0]]]]), torch.tensor([1, 2]))
    assert true.tolist() == [[[2.0, 7.0]]]
    assert wrong.tolist() == [[[3.5, 4.0]]]


@pytest.mark.parametrize("split", [[5], [1, 4], [2, 2, 1]])
def test_logits_by_hand_in_any_batches(split):
    """Three of five are right, one of them by a tie that counts for the lower label."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 0, 1, 0])
    evaluation = LogitEvaluation(num_classes=2)
    for part, truth in zip(logits.split(split), labels.split(split), strict=True):
        evaluation.update(lambda images: images, part, truth)
    found = evaluation.compute()
    assert found["error"].item() == 0.4
    assert found["num_examples"] == 5
    p = 1 / (1 + np.exp([-2.0, -3.0, -1.0]))  # 0.88 twice right, 0.95 and 0.73 wrong; 0.5 right: four bins
    expected = (2 * (1 - p[0]) + p[1] + p[2] + 0.5) / 5
    np.testing.assert_allclose(found["calibration_error"], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["recurrent", "hybrids"])
def test_images_are_measured_in_whole_precision_where_there_is_no_bfloat16(kind, monkeypatch):
    """PyTorch would round to bfloat16 all the same, and the head of a loaded net would answer otherwise."""
    monkeypatch.setattr(products, "has_bfloat16", lambda device: False)
    torch.manual_seed(0)
    images, labels = torch.rand(40, 6), torch.arange(40) % 3
    if kind == "recurrent":
        net = recurrent_net(in_features=6, classes=3).float()
        torch.nn.init.normal_(net.head.weight)
        evaluations = [RecurrentEvaluation(net, 4, (2, 3), 0.1, head_weight=0.5) for _ in range(2)]
    else:
        net = FeedForwardNet(in_features=6, hidden_features=(5, 4), label=None)

        def brighter(images, everyone, part, count, source):
            return images[None] + 0.1

        evaluations = [SeparationEvaluation(net, brighter) for _ in range(2)]
    for rounded, evaluation in zip((True, False), evaluations, strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded), torch.no_grad():
            evaluation.update(net, images, labels)
    found, expected = (evaluation.compute() for evaluation in evaluations)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)


def test_a_score_is_made_of_goodness_and_of_the_head_after_one_pass():
    net = recurrent_net(in_features=6, classes=3)
    torch.nn.init.normal_(net.head.weight)
    for images in (torch.rand(5, 6, dtype=torch.float64), torch.rand(4, 5, 6, dtype=torch.float64)):
        logits_BC, goodness_TLBC = net.judged(images, 4)
        torch.testing.assert_close(logits_BC, net.one_pass_logits(images).detach())
        assert torch.equal(goodness_TLBC, net.label_goodness(images, 4))
        both_BC = net.score(images, (2, 4)) + 0.5 * torch.log_softmax(logits_BC, dim=1)
        torch.testing.assert_close(net.score(images, (2, 4), head_weight=0.5), both_BC)
