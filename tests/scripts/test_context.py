"""scripts/study/context.py: shares by hand, the drives that the net adds, what is hidden, and the whole command."""

import doctest
import json
import sys

import context
import context_parts
import pytest
import torch
from drift import without_hidden_top_down
from making import drawn, drawn_net, make_digits

import ffrecur

IMAGES, LABELS = torch.rand(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
MAPS = {"in_shape": (6, 5), "units_per_place": (2, 1), "field": 3, "num_classes": 3}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- what is explained ------------------------------------------------------------------------------------------------


def test_all_is_explained_by_a_drive_that_takes_away_half():
    """d = -0.5 b plus what is the same for all images: b = -2 d."""
    b = normal(40, 6)
    assert context_parts.explained(b, -0.5 * b + 3) == pytest.approx((1, -2))
    assert context_parts.explained(b, torch.ones_like(b)) == context_parts.explained(torch.ones_like(b), b) == (0, 0)


def test_half_of_two_equal_parts_is_explained():
    """b has d and something at right angles to it, of the same size."""
    d = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    other = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    assert context_parts.explained(d + other, d) == pytest.approx((0.5, 1))


def test_the_drive_of_another_image_explains_nothing_where_images_are_independent():
    b = normal(500, 20)
    found = context_parts.compared(b, -b, normal(3, 20, seed=1), torch.arange(500) % 3)
    assert found["own"] == pytest.approx((1, -1))
    assert found["own, within a label"] == pytest.approx((1, -1))
    assert max(found[name].share for name in ("another image's", "the label's mean", "no image")) < 0.02


def test_what_the_label_alone_brings_about_is_not_within_a_label():
    of_label = normal(3, 20)[LABELS]
    found = context_parts.compared(of_label + 0.1 * normal(9, 20, seed=1), of_label, normal(3, 20, seed=2), LABELS)
    assert found["own"] == pytest.approx(found["the label's mean"])
    assert found["own"].share > 0.9
    assert found["own, within a label"] == (0, 0)


def test_places_share_the_scale_of_their_layer():
    """At the first place b = 2 d, at the second -2 d: the best scale is 0 and nothing is explained anywhere."""
    d = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert context_parts.explained_at_places(torch.tensor([2.0, -2.0]) * d, d, 2).tolist() == [0, 0]
    # b = (2 d, d): scale 3 / 2; left are (1/2)**2 of 2**2 and of 1.
    found = context_parts.explained_at_places(torch.tensor([2.0, 1.0]) * d, d, 2)
    assert found.tolist() == pytest.approx([1 - 1 / 16, 1 - 1 / 4])


# --- drives -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["synchronous", "alternating"])
@pytest.mark.parametrize("maps", [False, True])
def test_drives_are_those_that_the_net_adds(scheme, maps):
    net = drawn(ffrecur.RecurrentNet(**MAPS, update_scheme=scheme)) if maps else drawn_net(update_scheme=scheme)
    images = torch.rand(9, net.in_features, generator=torch.Generator().manual_seed(1))
    states = net.bottom_up_pass(images)
    states = net.step(net.step(states, images, LABELS, 1), images, LABELS, 2)
    expected = net.step(states, images, LABELS, 3)
    for layer, (b, d) in enumerate(zip(*context_parts.drives(net, images, LABELS, 3), strict=True)):
        mixed = net.damping * states[layer] + (1 - net.damping) * torch.relu(b + d)
        assert torch.allclose(mixed, expected[layer], atol=1e-5)


def test_without_images_it_is_what_labels_imagine():
    net = drawn_net(sign=-1)
    images_CD = net.sign * net.looked_for(context_parts.without_images(net)[0])
    assert torch.allclose(images_CD - images_CD.mean(dim=0), net.imagine(), atol=1e-5)


def test_the_hardest_label_is_wrong():
    scores = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert context_parts.hardest_labels(scores, torch.tensor([0, 1])).tolist() == [1, 0]


# --- what is hidden ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("means", [["center_images"], ["standardize_images"], ["center_images", "standardize_images"]])
def test_what_is_hidden_is_zero_for_the_first_layer(means):
    net = ffrecur.RecurrentNet(
        in_shape=(4, 5, 2), units_per_place=(1,), field=3, num_classes=3, **dict.fromkeys(means, True)
    )
    images, patch = torch.rand(3, 40), context_parts.in_the_middle((4, 5, 2), 2)
    if net.statistics is not None:
        net.statistics.learn(images, 2)
    row = net.image_row(context_parts.occluded(net, images, patch)).reshape(3, 4, 5, 2)
    assert torch.allclose(row[:, 1:3, 1:3], torch.zeros(3, 2, 2, 2), atol=1e-5)
    assert row[:, 0].abs().min() > 0


def test_units_inside_have_more_than_half_of_their_field_there():
    """Fields of 3x3, a square of 3x3 in 7x7 places: of the middle 9 are hidden, of its four neighbours 6, of corners 4."""
    net = ffrecur.RecurrentNet(in_shape=(7, 7), units_per_place=(2,), field=3, num_classes=3)
    inside_PK = context_parts.units_inside(net, context_parts.in_the_middle((7, 7, 1), 3)).reshape(7, 7, 2)
    assert torch.equal(inside_PK[..., 0], inside_PK[..., 1])
    assert inside_PK[..., 0].nonzero().tolist() == [[2, 3], [3, 2], [3, 3], [3, 4], [4, 3]]


# --- the command ------------------------------------------------------------------------------------------------------


def typed(monkeypatch, *arguments):
    """What the command does: its exit code."""
    monkeypatch.setattr(sys, "argv", ["context.py", *arguments])
    try:
        context.main()
    except SystemExit as stopped:
        return stopped.code
    return 0


NETS = {"maps": MAPS, "dense": {"in_features": 30, "hidden_features": (6, 5), "num_classes": 3}}


@pytest.mark.parametrize("kind", NETS)
def test_the_whole_command(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    ffrecur.save(drawn(ffrecur.RecurrentNet(**NETS[kind], sign=-1)), "net")
    ffrecur.save(without_hidden_top_down(ffrecur.load("net")), "cut")
    options = ["--data.source=digits", "--images=6", "--json=new/found.json", "--picture=found.png"]
    assert typed(monkeypatch, "net", "--cut=cut", *options) == 0
    found = json.loads((tmp_path / "new" / "found.json").read_text())
    assert (found["about"]["images"], found["about"]["sign"], len(found["explained"])) == (6, -1, 2)
    assert found["explained"][1]["own, within a label"] == {"share": 0, "scale": 0}, "the top layer hears the label"
    assert set(found["errors"]) == {"as it is", "no top-down", "its head", "trained without"}
    assert found["errors"]["trained without"] == found["errors"]["no top-down"]
    assert len(found["explained at places"]) == (2 if kind == "maps" else 0)
    assert (tmp_path / "found.png").stat().st_size > 5000
    assert "| hardest wrong, layer 2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--patch=5"], "--patch is 5, but must be from 1 to 4"),
        (["--images=1"], "--limit is 1, but must be a whole number of at least 2"),
    ],
)
def test_what_is_refused(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    ffrecur.save(ffrecur.RecurrentNet(**MAPS), "net")
    assert typed(monkeypatch, "net", "--data.source=digits", *options) == 2
    assert words in capsys.readouterr().err


def test_a_net_that_is_not_cut_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_digits(tmp_path / "digits")
    for name, widths in (("net", (6, 5)), ("narrow", (4, 5))):
        ffrecur.save(drawn(ffrecur.RecurrentNet(30, widths, 3)), name)
    ffrecur.save(without_hidden_top_down(ffrecur.load("narrow")), "cut")
    for cut, words in (
        ("net", "has top-down weights between hidden"),
        ("cut", "layers of [4, 5] units, but must have the same"),
    ):
        assert typed(monkeypatch, "net", f"--cut={cut}", "--data.source=digits", "--images=6") == 2
        assert words in capsys.readouterr().err


def test_another_kind_of_net_is_refused(tmp_path, monkeypatch, capsys):
    ffrecur.save(ffrecur.BackpropNet(30, (4,), 3), tmp_path / "net")
    assert typed(monkeypatch, str(tmp_path / "net")) == 2
    assert "must hold a RecurrentNet" in capsys.readouterr().err


def test_examples():
    assert doctest.testmod(context_parts).failed == 0
