"""Live pages without a browser: what stands in them, what is refused, and what rounding the weights loses."""

import base64
import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from make_site import fetched_by_page
from making import character_net, drawn, feed_forward_net, one_of_each_net, recurrent_net, write_checkpoint
from PIL import Image
from running import snapshot

import ffrecur
from ffrecur.commands.export import main
from ffrecur.data.bundled import read_bundled
from ffrecur.pages.live import MARKER, Scoring, live_page, scoring_of
from ffrecur.pages.live_inputs import Stored, digits, images_of_folder, windows_to_measure
from ffrecur.pages.live_weights import loss_of_rounding, packed, rounded, tables_of

LARGEST = 4_000_000  # bytes of a page of a bundled net
HARMFUL = ["</script><script>alert(1)</script>", "<!--<script>", "a & \"b\" 'c'", "\u2028é"]


class Scripts(HTMLParser):
    """The scripts of a page, by their ids, and its text outside them."""

    def __init__(self, html):
        super().__init__()
        self.found, self.text, self.open = [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.open = tag == "script"
        if self.open:
            self.found.append([dict(attributes).get("id"), ""])

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1][1] += data
        else:
            self.text += data


def settings_in(html):
    (name, text), (other, _) = Scripts(html).found
    assert (name, other) == ("net", None)
    return json.loads(text)


def square_net(**settings):
    return recurrent_net((6, 4), in_features=9, classes=4, **settings)


def stored(count=2, shape=(3, 3)):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    return Stored(tuple(f"image {number}" for number in range(count)), pixels)


def refused(pieces, *arguments, **named):
    with pytest.raises(ffrecur.UserError) as caught:
        live_page(*arguments, **named)
    assert all(piece in str(caught.value) for piece in pieces)
    assert len(str(caught.value).splitlines()) == 1


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [square_net(), character_net()], ids=["recurrent", "characters"])
def test_weights_are_numpys_float16_one_table_after_another(net):
    shapes, text = packed(tables_of(net))
    numbers, start = np.frombuffer(base64.b64decode(text), "<f2"), 0
    state = net.state_dict()
    for name, shape in shapes:
        size = int(np.prod(shape))
        expected = state[name].numpy().astype(np.float16)
        expected = expected.T if name.endswith("weight") else expected
        assert list(expected.shape) == shape
        assert (numbers[start : start + size].reshape(shape) == expected).all()
        start += size
    assert start == len(numbers)
    assert {name for name, _ in shapes} == {name for name in state if not name.startswith("peer_mean")}


@pytest.mark.parametrize("wrong", [70000.0, float("inf"), float("nan")])
def test_numbers_that_float16_does_not_have_are_refused(wrong):
    net = square_net()
    with torch.no_grad():
        net.bottom_up[1].weight[0, 0] = wrong
    refused(["format is 'page'", "bottom_up.1.weight", "65504"], net)


def test_the_loss_is_what_rounding_changes():
    """The head prefers symbol 1 by 2^-12, which float16 does not have near 1: all answers change, and scores by 2^-12."""
    net = character_net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.head.bias[:2] = torch.tensor([1, 1 + 2**-12])
    windows, _ = windows_to_measure(net)
    assert loss_of_rounding(net, windows) == (len(windows), len(windows), 2**-12)
    page = live_page(net)
    assert f"{page.loss}" == "float16 weights: 200 of 200 answers differ, scores by at most 0.00024"
    assert f"{page.loss} ({page.measured_on})" in Scripts(page.html).text


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_that_are_float16_already_lose_nothing_but_the_precision_of_sums(dtype):
    net = rounded(square_net()).to(dtype)
    if dtype == torch.bfloat16:
        net.load_state_dict({name: tensor.bfloat16() for name, tensor in net.state_dict().items()})
    images = torch.rand(50, 9, generator=torch.Generator().manual_seed(1))
    loss = loss_of_rounding(net, images)
    assert loss.differing == 0
    assert loss.largest <= 1e-5
    assert net.weight.dtype == dtype, "the net itself is left as it is"


def test_a_page_of_a_net_as_large_as_the_bundled_ones_is_small_enough():
    net = drawn(ffrecur.RecurrentNet(784, [500, 500], 10))
    page = live_page(net, stored(20, (28, 28)))
    numbers = sum(table.numel() for table in tables_of(net).values())
    assert 2 * numbers * 4 / 3 < len(page.html.encode()) < min(LARGEST, 2 * numbers * 4 / 3 + 100_000)


# --- what stands in a page --------------------------------------------------------------------------------------------


def test_no_class_name_or_file_name_ends_the_script():
    net = square_net()
    net.class_names = tuple(HARMFUL)
    images = Stored(tuple(HARMFUL[:2]), stored().pixels)
    settings = settings_in(live_page(net, images).html)
    assert settings["classes"] == HARMFUL
    assert [image["name"] for image in settings["images"]] == HARMFUL[:2]


def test_no_alphabet_ends_the_script():
    settings = settings_in(live_page(character_net("</script>! &\u2028\"'".replace("r", ""))).html)
    assert "".join(settings["symbols"]) == "</script>! &\u2028\"'".replace("r", "")


@pytest.mark.parametrize("net", [square_net(), character_net()], ids=["recurrent", "characters"])
def test_a_page_fetches_nothing(net):
    html = live_page(net).html
    assert fetched_by_page(html) == []
    assert "default-src 'none'" in html, "browsers keep it from fetching anything"
    assert MARKER in html[:1000]


def test_the_page_says_how_labels_are_scored():
    net = square_net(sign=-1)
    page = live_page(net, stored(), scoring_of({"window": [2, 4], "head_weight": 0.5, "temperature": 0.2}))
    text, settings = Scripts(page.html).text, settings_in(page.html)
    assert (settings["window"], settings["headWeight"], settings["temperature"]) == ([2, 4], 0.5, 0.2)
    for piece in (
        "iterations 2 to 4",
        "0.5 times",
        "softmax(score / 0.2)",
        "sign -1",
        "learned low",
        "those of the run",
    ):
        assert piece in text
    objective = {"class_path": "ffrecur.Logistic", "init_args": {"temperature": 0.03}}
    scoring = scoring_of({"window": [2, 4], "head_weight": 0.5, "temperature": 0.2, "objective": objective})
    assert scoring is not None
    assert scoring.temperature == 0.03
    assert scoring_of({}) is None
    assert "the defaults" in Scripts(live_page(net).html).text


@pytest.mark.parametrize("wrong", [{"window": 3}, {"window": [5, 3]}, {"head_weight": None}, {"temperature": 0.0}])
def test_settings_of_a_run_that_are_none_are_refused(wrong):
    with pytest.raises(ffrecur.UserError, match=next(iter(wrong))):
        live_page(square_net(), None, scoring_of({"window": [3, 5], "head_weight": 0.0, **wrong}))


@pytest.mark.slow  # reads all digits twice
def test_the_digits_are_the_first_that_test():
    images, all_images = digits()
    test_set = read_bundled().test
    assert (images.pixels.reshape(20, -1) == test_set.images[:20].numpy()).all()
    assert [int(name.rpartition(" ")[2]) for name in images.names] == test_set.labels[:20].tolist()
    assert torch.equal(all_images * 255, test_set.images.float())


# --- what is refused --------------------------------------------------------------------------------------------------


class Mean(ffrecur.Goodness):
    def value(self, state_BH):
        return state_BH.mean(dim=-1, keepdim=True)


class Twice(torch.nn.Linear):
    def forward(self, row):
        return 2 * super().forward(row)


def test_nets_that_a_page_does_not_compute_are_refused():
    refused(["format is 'page'", "FeedForwardNet"], feed_forward_net((4,)))
    refused(["BackpropNet"], next(net for net in one_of_each_net() if type(net) is ffrecur.BackpropNet))
    refused(["Mean"], square_net(goodness=Mean()))
    net = square_net()
    net.top_down[0] = Twice(4, 6, bias=False)
    refused(["top_down.0", "Twice"], net)
    refused(["images", "8 pixels"], recurrent_net((4,), in_features=8))
    refused(["images", "2 by 3", "9 pixels"], square_net(), stored(2, (2, 3)))
    refused(["images"], character_net(), stored())


def test_images_that_are_no_squares_are_shown_as_they_are():
    settings = settings_in(live_page(recurrent_net((4,), in_features=8), stored(2, (2, 4))).html)
    assert settings["shape"] == [2, 4]
    assert base64.b64decode(settings["images"][1]["pixels"]) == stored(2, (2, 4)).pixels[1].tobytes()


def test_images_of_a_folder(tmp_path):
    Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)).save(tmp_path / "b.png")
    Image.new("RGB", (3, 3), "white").save(tmp_path / "a.png")
    images = images_of_folder(str(tmp_path))
    assert images.names == ("a", "b")
    assert images.pixels.tolist() == [[[255] * 3] * 3, np.arange(9).reshape(3, 3).tolist()]


@pytest.mark.parametrize("kind", ["missing", "empty", "many", "no image", "sizes"])
def test_folders_of_no_images_are_refused(tmp_path, kind):
    for number in range({"many": 21, "sizes": 2}.get(kind, 0)):
        Image.new("L", (3, 3 + (kind == "sizes") * number)).save(tmp_path / f"{number}.png")
    if kind == "no image":
        (tmp_path / "notes.txt").write_text("these are notes")
    with pytest.raises(ffrecur.UserError, match="^images is '"):
        images_of_folder(str(tmp_path / "none" if kind == "missing" else tmp_path))


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    return str(write_checkpoint(square_net(), tmp_path / "net.ckpt"))


def export(checkpoint, output, *words):
    return main(["--format", "page", "--checkpoint", checkpoint, "--output", str(output), *words])


def test_an_earlier_page_is_replaced_and_nothing_else(checkpoint, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    assert [export(checkpoint, page), export(checkpoint, page)] == [0, 0]
    assert settings_in(page.read_text())["inFeatures"] == 9
    assert "float16 weights: 0 of 200 answers differ" in capsys.readouterr().out
    own = tmp_path / "own.html"
    own.write_text("<h1>mine</h1>")
    before = snapshot(tmp_path)
    for output in (own, tmp_path / "new", "", tmp_path / "own.html" / "below.html", tmp_path / ("x" * 300)):
        assert export(checkpoint, output) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: output is ")
        assert len(error.splitlines()) == 1
    assert snapshot(tmp_path) == before


def test_without_a_run_the_page_is_that_of_a_net_that_comes_with_ffrecur(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--format", "page", "--output", "page.html"]) == 0
    assert "Using museum/digits, which comes with ffrecur" in capsys.readouterr().err
    assert settings_in((tmp_path / "page.html").read_text())["inFeatures"] == 784


def test_a_refused_net_leaves_the_earlier_page(checkpoint, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert export(checkpoint, page) == 0
    before = page.read_bytes()
    other = str(write_checkpoint(feed_forward_net((4,)), tmp_path / "other.ckpt"))
    assert export(other, page) == 2
    assert "FeedForwardNet" in capsys.readouterr().err
    assert page.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (["--format", "pdf"], ["format is 'pdf'", "folder or page"]),
        (["--images", "somewhere"], ["images is 'somewhere'", "format page"]),
        (["--format", "page", "--images", "nowhere"], ["images is 'nowhere'"]),
    ],
)
def test_options_that_do_not_fit(words, pieces, checkpoint, tmp_path, capsys):
    assert main(["--checkpoint", checkpoint, "--output", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert all(piece in error for piece in pieces)
    assert not (tmp_path / "out").exists()


def test_the_window_of_a_run_is_used(tmp_path):
    path = write_checkpoint(square_net(), tmp_path / "best.ckpt")
    entry = torch.load(path, weights_only=True)
    torch.save({**entry, "hyper_parameters": {"window": [1, 2], "head_weight": 0.0, "temperature": 0.3}}, path)
    assert export(str(tmp_path), tmp_path / "page.html") == 0
    assert settings_in((tmp_path / "page.html").read_text())["window"] == [1, 2]
    ffrecur.save(square_net(), tmp_path / "exported")
    assert export(str(tmp_path / "exported"), tmp_path / "page.html") == 0
    assert settings_in((tmp_path / "page.html").read_text())["window"] == list(Scoring().window)


def test_the_window_of_a_net_with_a_card_is_that_of_its_run(tmp_path):
    ffrecur.save(square_net(), tmp_path / "net")
    model = {"init_args": {"window": [2, 6], "head_weight": 0.25, "temperature": 0.2}}
    (tmp_path / "net" / "card.json").write_text(json.dumps({"run": {"ffrecur_config": {"model": model}}}))
    assert export(str(tmp_path / "net"), tmp_path / "page.html") == 0
    settings = settings_in((tmp_path / "page.html").read_text())
    assert (settings["window"], settings["headWeight"]) == ([2, 6], 0.25)


def test_it_does_without_lightning(checkpoint, tmp_path):
    code = "import sys; from ffrecur.commands.export import main; code = main(sys.argv[1:]); print('lightning' in sys.modules)"
    words = ["--format", "page", "--checkpoint", checkpoint, "--output", str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
