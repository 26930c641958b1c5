"""Arguments of the nets' methods: arrays of any kind give the right result, or a sentence that names the argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from ffrecur import BackpropNet, CharNet, RecurrentNet, UserError
from ffrecur.core.learning import Learning
from ffrecur.negatives.labels import hard_labels

IMAGES, LABELS = torch.rand(5, 6, generator=torch.manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])
WRONG = torch.tensor([1, 2, 0, 2, 2])


def net(seed=0):
    torch.manual_seed(seed)
    made = RecurrentNet(6, [5, 4], 3)
    torch.nn.init.normal_(made.head.weight)
    return made


def gradients(images, labels, negatives, **settings):
    made = net()
    made.local_loss(images, labels, negatives, **settings).backward()
    return torch.cat([parameter.grad.ravel() for parameter in made.parameters()])


# --- what gives the same result ---------------------------------------------------------------------------------------

SAME_IMAGES = [
    pytest.param(IMAGES.numpy(), id="NumPy"),
    pytest.param(IMAGES.double(), id="float64"),
    pytest.param(IMAGES.numpy().astype(np.float64), id="NumPy float64"),
    pytest.param(IMAGES * 7, id="another scale"),  # normalised
    pytest.param(IMAGES.tolist(), id="lists"),
    pytest.param(np.asfortranarray(IMAGES.numpy()), id="columns first"),
    pytest.param(IMAGES.numpy()[::-1][::-1], id="negative strides twice"),
    pytest.param(IMAGES.t().contiguous().t(), id="transposed"),
]
WHOLE = torch.randint(0, 256, (5, 6), generator=torch.manual_seed(2))


@pytest.mark.parametrize("images", SAME_IMAGES)
def test_images_of_any_kind(images):
    made = net()
    for method in (made.score, made.one_pass_logits, made.label_goodness, made):
        torch.testing.assert_close(method(images), method(IMAGES), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made.goodness(images, LABELS), made.goodness(IMAGES, LABELS), rtol=1e-5, atol=1e-6)
    assert torch.equal(made.classify(images), made.classify(IMAGES))
    torch.testing.assert_close(gradients(images, LABELS, WRONG), gradients(IMAGES, LABELS, WRONG), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_images_of_whole_numbers(dtype):
    made = net()
    torch.testing.assert_close(made.score(WHOLE.to(dtype)), made.score(WHOLE.float()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made.score(WHOLE.to(dtype)), made.score(WHOLE / 255), rtol=1e-5, atol=1e-5)
    made = BackpropNet(6, [5], 3)
    assert torch.equal(made.classify(WHOLE.to(dtype).numpy()), made.classify(WHOLE / 255))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, np.int16, np.uint8, list])
def test_labels_of_any_whole_numbers(kind):
    def labels_of(tensor):
        if kind is list:
            return tensor.tolist()
        return tensor.to(kind) if isinstance(kind, torch.dtype) else tensor.numpy().astype(kind)

    made = net()
    assert torch.equal(made.goodness(IMAGES, labels_of(LABELS)), made.goodness(IMAGES, LABELS))
    assert torch.equal(gradients(IMAGES, labels_of(LABELS), labels_of(WRONG)), gradients(IMAGES, LABELS, WRONG))


def test_an_empty_batch_has_empty_results():
    made, none = net(), torch.rand(0, 6)
    assert made.score(none).shape == made.one_pass_logits(none).shape == made(none).shape == (0, 3)
    assert made.classify(none).shape == (0,)
    assert made.label_goodness(none, 4).shape == (4, 2, 0, 3)
    assert made.goodness(none, torch.zeros(0, dtype=torch.long), 4).shape == (4, 2, 0)
    assert CharNet("ab ", 2, [4]).logits(torch.zeros(0, 2, dtype=torch.long)).shape == (0, 3)
    assert BackpropNet(6, [5], 3).classify(none).shape == (0,)


# --- what is refused --------------------------------------------------------------------------------------------------


def with_value(value, tensor=IMAGES):
    changed = tensor.clone()
    changed[2, 3] = value
    return changed


REFUSED_IMAGES = [
    (torch.rand(5, 7), r"images have the shape \(5, 7\), but the net reads \(batch, 6\)"),
    (torch.rand(6), r"images have the shape \(6,\), but the net reads \(batch, 6\)"),
    (torch.rand(5, 1, 2, 3), r"images have the shape \(5, 1, 2, 3\), but the net reads \(batch, 6\)"),
    (with_value(torch.nan), "images have values that are NaN or infinite"),
    (with_value(torch.inf), "images have values that are NaN or infinite"),
    (with_value(-torch.inf).numpy(), "images have values that are NaN or infinite"),
    (IMAGES.to(torch.complex64), "images are of type complex64, but must be plain real numbers"),
    (IMAGES.to_sparse(), "images are of type float32, but must be plain real numbers"),
    ("digits", "images are a str, but must be a tensor or an array"),
    (None, "images are a NoneType, but must be a tensor or an array"),
    (np.array(["a", "b"]), "images are an array of text, not of numbers"),
    ([[1.0, 2.0], [1.0]], "images are an array of objects, not of numbers"),
    (IMAGES.to("meta"), "images are on meta, but the net is on cpu"),
]


@pytest.mark.parametrize(("images", "sentence"), REFUSED_IMAGES)
def test_images_that_are_refused(images, sentence):
    made = net()
    calls = [
        lambda: made.score(images),
        lambda: made.classify(images),
        lambda: made.label_goodness(images),
        lambda: made.one_pass_logits(images),
        lambda: made.goodness(images, LABELS),
        lambda: made.local_loss(images, LABELS, WRONG),
        lambda: BackpropNet(6, [5], 3).classify(images),
    ]
    if "NaN" not in sentence:  # by which modules train: goodness tells of NaN, with epoch and batch
        calls.append(lambda: made.local_learning(images, LABELS, hard_labels, Learning()))
    for call in calls:
        with pytest.raises(UserError, match=f"^{sentence}"):
            call()


REFUSED_LABELS = [
    (torch.tensor([0, 1, 2, 0, 3]), "have the value 3, but must be from 0 to 2"),
    (torch.tensor([0, 1, 2, 0, -1]), "have the value -1, but must be from 0 to 2"),
    (np.array([0, 1, 2, 0, 255], dtype=np.uint8), "have the value 255, but must be from 0 to 2"),
    (torch.tensor([0.0, 1, 2, 0, 1]), "are of type float32, but must be whole numbers"),
    (torch.tensor([True, False, True, True, True]), "are of type bool, but must be whole numbers"),
    (torch.tensor([0, 1, 2]), r"have the shape \(3,\), but must have \(5,\), one for each case"),
    (torch.tensor([[0], [1], [2], [0], [1]]), r"have the shape \(5, 1\), but must have \(5,\), one for each case"),
    (torch.nn.functional.one_hot(LABELS, 3), r"have the shape \(5, 3\), but must have \(5,\), one for each case"),
    (torch.tensor(1), r"have the shape \(\), but must have \(5,\), one for each case"),
    (["a", "b", "c", "a", "b"], "are an array of objects, not of numbers"),
    (None, "are a NoneType, but must be a tensor or an array"),
]


@pytest.mark.parametrize(("labels", "sentence"), REFUSED_LABELS)
def test_labels_that_are_refused(labels, sentence):
    made = net()
    for call in (
        lambda: made.goodness(IMAGES, labels),
        lambda: made.local_loss(IMAGES, labels, WRONG),
        lambda: made.step(made.bottom_up_pass(IMAGES), IMAGES, labels),
    ):
        with pytest.raises(UserError, match=f"^labels {sentence}"):
            call()
    if getattr(labels, "ndim", 1) == 2:  # several negatives an image, each of which is looked at
        sentence = "have the true label in"
    with pytest.raises(UserError, match=f"^negative_labels {sentence}"):
        made.local_loss(IMAGES, LABELS, labels)


def test_negative_labels_that_are_the_true_ones():
    sentence = r"^negative_labels have the true label in 2 of 5 places \(first in 1\), but must be wrong$"
    with pytest.raises(UserError, match=sentence):
        net().local_loss(IMAGES, LABELS, torch.tensor([1, 1, 0, 2, 1]))


def test_nothing_to_learn_from():
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(UserError, match=r"^images have the shape \(0, 6\), an empty batch"):
        net().local_loss(torch.rand(0, 6), none, none)
    with pytest.raises(UserError, match=r"^windows have the shape \(0, \.\.\.\), an empty batch"):
        CharNet("ab ", 2, [4]).local_loss(none.view(0, 2), none.view(0, 2))


# --- text -------------------------------------------------------------------------------------------------------------

WINDOWS = torch.tensor([[0, 1], [2, 2], [1, 0]])


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, np.int16, np.uint8])
def test_windows_of_any_whole_numbers(kind):
    windows = WINDOWS.to(kind) if isinstance(kind, torch.dtype) else WINDOWS.numpy().astype(kind)
    made = CharNet("ab ", 2, [4, 4])
    for method in (made.logits, made.goodness, made.score, made):
        assert torch.equal(method(windows), method(WINDOWS))
    assert torch.equal(made.local_loss(windows, windows), made.local_loss(WINDOWS, WINDOWS))


REFUSED_WINDOWS = [
    (WINDOWS.float(), "are of type float32, but must be whole numbers: see CharNet.encode"),
    (WINDOWS[:, :1], r"have the shape \(3, 1\), but the net reads \(batch, 2\)"),
    (WINDOWS[0], r"have the shape \(2,\), but the net reads \(batch, 2\)"),
    (WINDOWS + 1, "have a number that is no symbol; they are 0 to 2"),
    (WINDOWS - 1, "have a number that is no symbol; they are 0 to 2"),
    ("ab", "are a str, but must be a tensor or an array"),
]


@pytest.mark.parametrize(("windows", "sentence"), REFUSED_WINDOWS)
def test_windows_that_are_refused(windows, sentence):
    made = CharNet("ab ", 2, [4, 4])
    for call in (made.logits, made.goodness, made.score, made, lambda w: made.local_loss(w, WINDOWS)):
        with pytest.raises(UserError, match=f"^windows {sentence}$"):
            call(windows)
    with pytest.raises(UserError, match=f"^negative windows {sentence}$"):
        made.local_loss(WINDOWS, windows)


# --- nets as modules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update_scheme", ["synchronous", "alternating"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_call_gives_the_scores(update_scheme, sign):
    torch.manual_seed(0)
    made = RecurrentNet(6, [5, 4, 3], 3, sign=sign, update_scheme=update_scheme)
    torch.testing.assert_close(made(IMAGES), made.score(IMAGES), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made(IMAGES, (1, 2)), made.score(IMAGES, (1, 2)), rtol=1e-5, atol=1e-6)
    video = torch.rand(6, 5, 6)
    torch.testing.assert_close(made(video), made.score(video), rtol=1e-5, atol=1e-6)
    assert torch.equal(torch.nn.Sequential(torch.nn.Identity(), made)(IMAGES), made(IMAGES))


def test_torch_func():
    made = net().double()
    parameters = {name: tensor * 1.1 for name, tensor in made.named_parameters()}
    changed = net().double()
    changed.load_state_dict({**changed.state_dict(), **parameters})
    torch.testing.assert_close(torch.func.functional_call(made, parameters, (IMAGES,)), changed(IMAGES))
    one = torch.func.vmap(lambda image: made(image[None])[0])(IMAGES)
    torch.testing.assert_close(one, made(IMAGES))
    slope = torch.func.grad(lambda images: made(images)[:, 0].sum())(IMAGES.double())
    nudge = torch.zeros_like(slope)
    nudge[1, 2] = 1e-6
    difference = (made(IMAGES + nudge)[:, 0].sum() - made(IMAGES - nudge)[:, 0].sum()) / 2e-6
    assert slope[1, 2].item() == pytest.approx(difference.item(), rel=1e-4)


def test_summaries():
    """Hooks see what goes in and out, and all parameters are counted."""
    from lightning.pytorch.utilities.model_summary import LayerSummary

    made = net()
    summary = LayerSummary(made)
    made(IMAGES)
    assert (summary.in_size, summary.out_size) == ([5, 6], [5, 3])
    assert summary.num_parameters == parameters_to_vector(made.parameters()).numel()
    text = CharNet("ab ", 2, [4, 4])
    summary = LayerSummary(text)
    assert torch.equal(text(WINDOWS), text.logits(WINDOWS))
    assert (summary.in_size, summary.out_size) == ([3, 2], [3, 3])
