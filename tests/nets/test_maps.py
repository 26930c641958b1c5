"""Nets of maps: the loop-only oracle on odd sizes, what settings are refused, and that they are saved and loaded."""

import numpy as np
import oracle
import pytest
import torch
from making import check_same_net, drawn, recurrent_net

import ffrecur
from ffrecur import LocalLinear, RecurrentNet, RegionMeanSquare, UserError
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Logistic
from ffrecur.nets.maps import Maps

GREY = {"in_shape": (28, 28), "units_per_place": (1, 2), "field": 5}
COLOUR = {"in_shape": (17, 23, 3), "units_per_place": (2, 1, 1), "field": 3}
WIDE = {"in_shape": (17, 23, 3), "units_per_place": (1, 1), "field": 11}
SMALL = {"in_shape": (4, 3, 3), "units_per_place": (2, 1), "field": 3}
LABELS, EXACT = torch.tensor([2, 0]), {"rtol": 1e-11, "atol": 1e-13}


def net_of(settings, **more):
    return recurrent_net(**settings, **more)


def images_for(net, *leading, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, net.in_features, generator=generator, dtype=torch.float64)


def lists(states, case):
    return [state[case].tolist() for state in states]


# --- against loops ----------------------------------------------------------------------------------------------------


def test_what_a_corner_reads_by_hand():
    """On a map of 2x3 the place at the top left reads four places of nine, the middle of the lower row all six."""
    assert oracle.in_field(0, 9, 6, (2, 3)) == [(4, 0), (5, 1), (7, 3), (8, 4)]
    assert oracle.in_field(4, 9, 6, (2, 3)) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    net = RecurrentNet(in_shape=(2, 3), units_per_place=[1], field=1)
    assert [linear.weight.shape for linear in net.bottom_up] == [(6, 1, 1)]


@pytest.mark.parametrize("settings", [GREY, COLOUR, WIDE], ids=["28x28 grey", "17x23 colour", "fields of 11"])
@pytest.mark.parametrize("scheme", ["synchronous", "alternating"])
def test_drives_and_a_damped_step_agree_with_the_oracle(settings, scheme):
    """From below and from above, at the borders too; one step from states at random, not from the first ones."""
    net = net_of(settings, update_scheme=scheme, damping=0.4)
    arrays, images = oracle.arrays_of(net), images_for(net, 2)
    states = [torch.rand(2, width, dtype=torch.float64) for width in net.hidden_features]
    with torch.no_grad():
        found, first = net.step(states, images, LABELS), net.bottom_up_pass(images)
        up, down = net.bottom_up[1](states[0]), net.top_down[0](states[1])
    case = 1
    expected = oracle.iteration(arrays, lists(states, case), images[case].tolist(), int(LABELS[case]))[1]
    rose = oracle.bottom_up_pass(arrays, images[case].tolist())
    for layer in range(len(net.hidden_features)):
        np.testing.assert_allclose(found[layer][case], expected[layer], **EXACT)
        np.testing.assert_allclose(first[layer][case], rose[layer], **EXACT)
    biases = arrays["bias"][1]
    below = oracle.drives(arrays["bottom_up"][1], states[0][case].tolist(), settings["in_shape"][:2])
    above = oracle.drives(arrays["top_down"][0], states[1][case].tolist(), settings["in_shape"][:2])
    np.testing.assert_allclose(up[case], np.array(below) + biases, **EXACT)
    np.testing.assert_allclose(down[case], above, **EXACT)


@pytest.mark.parametrize("settings", [GREY, COLOUR, WIDE], ids=["28x28 grey", "17x23 colour", "fields of 11"])
def test_every_label_of_the_engine_agrees_with_the_oracle(settings):
    """Of the products of tiles, which only the engine uses, through three iterations."""
    net = net_of(settings)
    images = images_for(net, 1)
    found = net.label_goodness(images, iterations=3)
    for label in (0, 2):
        rolled = oracle.trajectory(oracle.arrays_of(net), [images[0].tolist()] * 3, label, 3)
        expected = [[oracle.goodness(state) for state in states] for states in rolled]
        np.testing.assert_allclose(found[:, :, 0, label], expected, **EXACT)


def test_goodness_at_each_place_by_hand():
    """Units lie together place by place, row by row; the mean over the places is the layer's goodness."""
    maps, state = Maps((2, 3), (2,), 3), torch.arange(24.0).view(2, 12)
    expected = [
        [[sum(state[b, 2 * (3 * i + j) + u] ** 2 for u in (0, 1)) / 2 for j in range(3)] for i in (0, 1)]
        for b in (0, 1)
    ]
    assert maps.goodness(state).tolist() == [[[float(value) for value in row] for row in case] for case in expected]
    torch.testing.assert_close(maps.goodness(state).mean(dim=(1, 2)), state.square().mean(dim=1))


@pytest.mark.parametrize(("scheme", "sign"), [("synchronous", -1), ("alternating", 1)])
def test_loss_and_gradients_agree_with_the_oracle(scheme, sign):
    """On maps of 5x9 in colour, which are cut into tiles that hang over two borders."""
    settings = {"in_shape": (5, 9, 3), "units_per_place": (2, 1, 2), "field": 3}
    net = net_of(settings, update_scheme=scheme, sign=sign)
    images, negatives = images_for(net, 2), torch.tensor([1, 1])
    frames = [[image] * 3 for image in images.tolist()]
    arguments = (LABELS.tolist(), negatives.tolist(), 3, "logistic", 0.9, 0.3)
    value, bottom_up, bias, top_down = oracle.local_gradients(oracle.arrays_of(net), frames, *arguments)
    loss = net.local_loss(images, LABELS, negatives, iterations=3, threshold=0.9, temperature=0.3)
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-11)
    for layer in range(3):
        np.testing.assert_allclose(net.bottom_up[layer].weight.grad, bottom_up[layer], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(net.bottom_up[layer].bias.grad, bias[layer], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(net.top_down[layer].weight.grad, top_down[layer], rtol=1e-10, atol=1e-12)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_layers_of_a_net_of_maps():
    net = RecurrentNet(in_shape=(4, 5, 3), units_per_place=[2, 3], field=3, num_classes=7)
    assert (net.in_features, net.hidden_features) == (60, (40, 60))
    assert net.maps == Maps((4, 5, 3), (2, 3), 3)
    weights = [linear.weight.shape for linear in (*net.bottom_up, *net.top_down)]
    assert weights == [(20, 2, 27), (20, 3, 18), (20, 2, 27), (60, 7)]
    assert [linear.bias is not None for linear in (*net.bottom_up, *net.top_down)] == [True, True, False, False]
    assert all(type(linear) is LocalLinear for linear in (*net.bottom_up, net.top_down[0]))
    assert RecurrentNet(in_features=60, in_shape=[4, 5, 3], units_per_place=(2,), field=3).in_features == 60
    assert RecurrentNet(in_shape=[4, 5], units_per_place=(2,), field=3).settings()["in_shape"] == [4, 5, 1]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"field": 5}, "field is 5, but must be an odd whole number from 1 to 3, the shorter side of the map"),
        ({"field": 2}, "field is 2, but must be an odd whole number from 1 to 3, the shorter side of the map"),
        ({"field": 0}, "field is 0, but must be an odd whole number from 1 to 3"),
        ({"field": -1}, "field is -1, but must be an odd whole number from 1 to 3"),
        ({"field": 3.0}, "field is 3.0, but must be an odd whole number from 1 to 3"),
        ({"field": "3"}, "field is '3', but must be an odd whole number from 1 to 3"),
        ({"field": None}, "field is None, but must be an odd whole number from 1 to 3"),
        ({"units_per_place": None}, "units_per_place is None, but must be one or more whole numbers of at least 1"),
        ({"units_per_place": []}, "units_per_place is [], but must be one or more whole numbers of at least 1"),
        ({"units_per_place": [2, 0]}, "units_per_place is [2, 0], but must be one or more whole numbers"),
        ({"units_per_place": [2, 1.5]}, "units_per_place is [2, 1.5], but must be one or more whole numbers"),
        ({"units_per_place": 3}, "units_per_place is 3, but must be one or more whole numbers"),
        ({"in_shape": None}, "in_shape is None, but must be (rows, columns) or (rows, columns, channels)"),
        ({"in_shape": (36,)}, "in_shape is (36,), but must be (rows, columns) or (rows, columns, channels)"),
        ({"in_shape": (4, 0, 3)}, "in_shape is (4, 0, 3), but must be (rows, columns) or (rows, columns, channels)"),
        ({"in_shape": (4, 3.0)}, "in_shape is (4, 3.0), but must be (rows, columns) or (rows, columns, channels)"),
        ({"in_shape": "433"}, "in_shape is '433', but must be (rows, columns) or (rows, columns, channels)"),
        (
            {"hidden_features": [24, 12]},
            "hidden_features and units_per_place are two ways to say what the layers are: give one of them",
        ),
        ({"in_features": 12}, "in_features is 12, but must be 36, as in_shape [4, 3, 3] has them"),
        (
            {"goodness": RegionMeanSquare((3, 4), (1, 2))},
            "goodness map_shape is [3, 4], but must be [4, 3], the rows and columns of in_shape",
        ),
    ],
)
def test_settings_that_describe_no_maps_are_refused_in_a_sentence(settings, sentence):
    with pytest.raises(UserError) as refused:
        RecurrentNet(**{**SMALL, "num_classes": 3, **settings})
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("only", [("in_shape",), ("units_per_place",), ("field",)])
def test_two_of_three_settings_missing_are_told_of(only):
    """The first that is missing is named, and what it must be."""
    missing = next(name for name in SMALL if name not in only)
    with pytest.raises(UserError, match=f"^{missing} is None, but must be "):
        RecurrentNet(**{name: SMALL[name] for name in only})


def test_a_net_that_is_described_in_neither_way():
    with pytest.raises(UserError) as refused:
        RecurrentNet()
    sentence = "in_features is None, but must be given, or in_shape, units_per_place and field in its place"
    assert str(refused.value) == sentence


def test_grey_images_are_no_images_for_a_net_in_colour():
    net = RecurrentNet(**SMALL, num_classes=3)
    for call in (
        net.classify,
        net.one_pass_logits,
        net.image_row,
        lambda x: net.local_loss(x, LABELS, 1 - LABELS // 2),
    ):
        with pytest.raises(UserError) as refused:
            call(torch.rand(2, 12))
        sentence = str(refused.value)
        assert sentence.startswith("images have the shape (2, 12), but the net reads (batch, 36)")


def test_an_empty_batch_is_evaluated():
    net = RecurrentNet(**SMALL, num_classes=3)
    none = torch.zeros(0, 36)
    assert net.label_goodness(none, iterations=2).shape == (2, 2, 0, 3)
    assert net.goodness(none, torch.zeros(0, dtype=torch.long), iterations=2).shape == (2, 2, 0)
    assert net.one_pass_logits(none).shape == (0, 3)


# --- kept -------------------------------------------------------------------------------------------------------------


def test_a_net_of_maps_is_saved_and_loaded(tmp_path):
    """With regions, statistics and all settings; what it says of an image is the same bit by bit."""
    settings = {"sign": -1, "update_scheme": "alternating", "damping": [0.0, 0.4], "standardize_images": True}
    net = drawn(RecurrentNet(**SMALL, num_classes=3, goodness=RegionMeanSquare((4, 3), (2, 3)), **settings))
    images = torch.rand(4, 36)
    net.statistics.learn(images, channels=3)
    ffrecur.save(net, tmp_path / "net")
    again = ffrecur.load(tmp_path / "net")
    check_same_net(again, net.eval())
    assert again.maps == net.maps
    assert again.goodness_function.settings() == {"map_shape": [4, 3], "regions": [2, 3]}
    assert torch.equal(again.score(images), net.score(images))


def test_state_dicts_of_other_nets_have_no_new_entries():
    """Files of earlier versions fit."""
    net = RecurrentNet(4, [3, 2], 2)
    names = [f"{side}.{layer}.weight" for side in ("bottom_up", "top_down") for layer in (0, 1)]
    names += ["bottom_up.0.bias", "bottom_up.1.bias", "head.weight", "head.bias"]
    assert {name for name in net.state_dict() if "peer" not in name} == set(names)
    settings = ["hidden_features", "in_features", "num_classes", "damping", "sign", "update_scheme"]
    assert list(net.settings()) == settings
    added = set(RecurrentNet(4, [3, 2], 2, standardize_images=True).state_dict()) - set(net.state_dict())
    assert added == {"statistics.mean", "statistics.deviation"}


# --- the same net with dense layers -----------------------------------------------------------------------------------


def dense_like(net):
    """The net whose layers are the whole matrices, with their zeros."""
    settings = {name: value for name, value in net.settings().items() if name not in SMALL}
    dense = RecurrentNet(net.in_features, net.hidden_features, **settings).double()
    state = net.state_dict()
    for side in ("bottom_up", "top_down"):
        for number, layer in enumerate(getattr(net, side)):
            if isinstance(layer, LocalLinear):
                state[f"{side}.{number}.weight"] = layer.transposed(torch.eye(layer.out_features, dtype=torch.float64))
    dense.load_state_dict(state)
    return dense


@pytest.mark.parametrize("sign", [1, -1])
def test_a_net_of_maps_says_what_the_dense_net_of_its_matrices_says(sign):
    """Of classes, of what labels expect, and of where images are harder."""
    net = net_of({"in_shape": (5, 6, 3), "units_per_place": (2, 1, 2), "field": 5}, sign=sign, standardize_images=True)
    net.statistics.learn(torch.rand(4, 90), channels=3)
    dense, images = dense_like(net), images_for(net, 2)
    learning = Learning(objective=Logistic(0.9, 0.3), iterations=4)
    with torch.no_grad():
        for one, two in (
            (net.score(images), dense.score(images)),
            (net(images), dense(images)),
            (net.imagine(), dense.imagine()),
            (net.expectation(images, LABELS), dense.expectation(images, LABELS)),
        ):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
    moved = [each.adversarial_images(images, LABELS, (LABELS + 1) % 3, learning, 0.1) for each in (net, dense)]
    torch.testing.assert_close(*moved, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(moved[0], images)
