"""Calibration and the worst mistakes: what follows from the table, and what a brute search over all images finds."""

import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from ffrecur.lit.report.images import calibration_table, mistakes_table
from ffrecur.metrics import plots
from ffrecur.metrics.calibration import BINS, CalibrationBins
from ffrecur.metrics.mistakes import KEPT, WorstMistakes

SPLITS = [[60], [1, 59], [7] * 8 + [4]]


def a_batch(scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(60, 4, generator=generator), torch.randint(4, (60,), generator=generator)


@pytest.mark.parametrize("scale", [0.1, 2.0, 100.0])  # the last has confidences of exactly 1
@pytest.mark.parametrize("split", SPLITS)
def test_the_calibration_error_follows_from_the_table(split, scale):
    logits, labels = a_batch(scale)
    ours, error = CalibrationBins(), MulticlassCalibrationError(4, n_bins=BINS, norm="l1")
    for part, truth in zip(logits.split(split), labels.split(split), strict=True):
        ours.update(part.softmax(dim=1), truth)
        error.update(part.softmax(dim=1), truth)
    rows = calibration_table(ours.compute()).rows
    assert sum(images for _, _, images, _, _ in rows) == 60
    found = sum(images * abs(accuracy - confidence) for _, _, images, confidence, accuracy in rows if images) / 60
    assert found == pytest.approx(error.compute().item(), abs=1e-6)
    assert all(low <= confidence <= high for low, high, images, confidence, _ in rows if images)
    assert (len(rows) == BINS + 1) == (scale == 100.0)
    highest, predicted = logits.softmax(dim=1).max(dim=1)
    for low, high, images, _, accuracy in rows[:-1]:
        inside = (highest >= low) & (highest < high)
        assert images == inside.sum()
        assert not images or accuracy == pytest.approx((predicted == labels)[inside].double().mean().item())


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("video", [False, True])
def test_the_worst_mistakes_are_the_surest_of_all(split, video):
    logits, labels = a_batch()
    images = torch.arange(60.0)[:, None].expand(60, 6) / 60
    metric, start = WorstMistakes(), 0
    for part, truth in zip(logits.split(split), labels.split(split), strict=True):
        shown = images[start : start + len(part)]
        metric.update(part, truth, torch.stack([shown, 0 * shown]) if video else shown)
        start += len(part)
        assert sum(map(len, metric.images)) <= KEPT, "no more are kept"
    found = metric.worst()
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    wrong = [place for place in range(60) if predicted[place] != labels[place]]
    worst = sorted(wrong, key=lambda place: -confidence[place])[:KEPT]
    assert len(wrong) > KEPT
    assert found.images_ND[:, 0].tolist() == images[worst, 0].tolist()
    assert found.true_N.tolist() == labels[worst].tolist()
    assert found.predicted_N.tolist() == predicted[worst].tolist()
    torch.testing.assert_close(found.confidence_N, confidence[worst], rtol=1e-5, atol=0)


def test_mistakes_of_a_confidence_that_rounds_to_one_keep_their_order():
    logits = torch.tensor([[60.0, 0.0], [90.0, 0.0], [30.0, 0.0]])
    assert (logits.softmax(dim=1)[:, 0] == 1).all()
    metric = WorstMistakes()
    metric.update(logits, torch.ones(3, dtype=torch.long), torch.tensor([[0.0], [1.0], [2.0]]))
    assert metric.worst().images_ND[:, 0].tolist() == [1, 0, 2]


@pytest.mark.parametrize("features", [1, 3])
def test_a_single_mistake_keeps_its_shapes(features):
    metric = WorstMistakes()
    metric.update(torch.tensor([[3.0, 0.0]]), torch.tensor([1]), torch.ones(1, features))
    assert [tuple(values.shape) for values in metric.worst()] == [(1, features), (1,), (1,), (1,)]


def test_few_mistakes_and_none_can_be_shown():
    metric = WorstMistakes()
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    metric.update(logits, torch.tensor([0, 1]), torch.rand(2, 12))
    none = metric.worst()
    assert len(none.images_ND) == 0
    assert list(mistakes_table(none, "abc").rows) == []
    assert [text.get_text() for text in plots.worst_mistakes(none, (3, 4)).axes[0].texts] == ["no mistake"]
    images = torch.rand(2, 12)
    metric.update(logits, torch.tensor([2, 1]), images)
    one = metric.worst()
    ((true, predicted, confidence),) = mistakes_table(one, ("a$b", "b", "cat")).rows
    assert (true, predicted) == ("cat", "a$b")
    assert confidence == pytest.approx(torch.softmax(logits[0], dim=0)[0].item())
    figure = plots.worst_mistakes(one, (3, 4), ("a$b", "b", "cat"))
    torch.testing.assert_close(torch.tensor(figure.axes[0].get_images()[0].get_array()), images[0].reshape(3, 4))
    assert figure.axes[0].texts[0].get_text() == f"cat\nsays a$b\n{100 * confidence:.1f} %"


def test_expectations_stand_below_their_image():
    images, first, second = torch.rand(3, 12), torch.randn(3, 12), torch.randn(3, 12)
    labels = torch.tensor([2, 0, 1]), torch.tensor([0, 1, 2])
    figure = plots.expectations(images, list(zip(labels, (first, second), strict=True)), (3, 4), ("a", "b", "c"))
    columns = [each for three in zip(images, first, second, strict=True) for each in three]
    (axis,) = figure.axes
    for shown, expected in zip(axis.get_images(), columns, strict=True):
        torch.testing.assert_close(torch.tensor(shown.get_array()), expected.reshape(3, 4))
    middles = [(left + right) / 2 for left, right, _, _ in (shown.get_extent() for shown in axis.get_images())]
    assert middles == sorted(middles), "column by column"
    assert [text.get_text() for text in axis.texts] == [*"ca", *"ab", *"bc"]
