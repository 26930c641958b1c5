"""scripts/study/looking.py: the rivals learn what they are said to learn, look at the same, and nothing is run twice."""

import contextlib
import io
import json
import signal
import sys
from pathlib import Path

import draw_scenes
import lightning
import looking
import pytest
import torch
from looking_nets import CutModule, SingleFrames, UnrolledModule, unrolled, unrolled_logits
from making import drawn_net, make_digits, recurrent_net

from ffrecur.commands import train
from ffrecur.data import Aperture, NoisyFrames, SceneDataModule
from ffrecur.lit.images import prepare

VIDEOS = torch.rand(8, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def studied(monkeypatch, *options):
    """The file of results after a study of tiny nets, and what was printed."""
    small = [
        "--widths",
        "7",
        "6",
        "--epochs",
        "1",
        "--limit",
        "30",
        "--root",
        "t",
        "--scenes",
        "Aperture=3",
        "--seeds",
        "0",
    ]
    fit = ["--trainer.limit_train_batches=2", "--trainer.precision=32-true", "--data.batch_size=10"]
    monkeypatch.setattr(sys, "argv", ["looking.py", "digits", *small, *options, "--", *fit])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        looking.main()
    return json.loads((Path("t") / "looking.json").read_text()), out.getvalue()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--limit", "0"], "--limit is 0, but must be a whole number of at least 1"),
        (["--shown", "9"], "--shown is 9, but must be at most 8, the frames of a video"),
        (["--scenes", "Aperture=3", "Aperture=x"], "scene is 'Aperture=x', whose pixels must be a whole number"),
    ],
)
def test_mistakes_are_told_before_the_first_training(options, sentence, workplace, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        studied(monkeypatch, *options)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
    assert list(Path("t").iterdir()) == []


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--data.frames=10", "--data.frames cannot be given after --: all nets look at 8 frames"),
        ("--data.scene.pixels=5", "--data.scene.pixels cannot be given after --: --scenes has the scenes"),
        ("--model.update_scheme=alternating", "--model.update_scheme cannot be given after --"),
        ("--model.damping=0.7", "damping"),  # which a perceptron does not have
    ],
)
def test_options_must_fit_all_nets_before_the_first_is_trained(option, sentence, workplace, monkeypatch, capsys):
    command = ["looking.py", "digits", "--nets", "recurrent", "perceptron", "--root=t", "--", option]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        looking.main()
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
    assert list(Path("t").iterdir()) == []


def written():
    return {path: path.stat().st_mtime_ns for path in sorted(Path("t").rglob("last.ckpt"))}


FEW = ["recurrent", "single frames", "perceptron"]


@pytest.mark.parametrize("names", [FEW, pytest.param(looking.NETS, marks=pytest.mark.slow)], ids=len)
def test_nets_are_trained_once_and_looked_at(workplace, monkeypatch, names):
    found, printed = studied(monkeypatch, "--nets", *names)
    (by_net,) = found.values()
    assert list(by_net) == list(names)
    checkpoints = written()
    assert len(checkpoints) == len(names)
    for name, by_seed in by_net.items():
        row = by_seed["0"]
        assert len(row["by_frame"]) == len(row["so_far"]) == 8
        assert row["by_frame"][0] == row["so_far"][0]
        assert row["so_far"][-1] == row["all"]
        assert ("explained" in row) == name.startswith("recurrent")
        assert f"| {name} | 1 |" in printed
    assert "| single frames, with its head | 1 |" in printed
    assert studied(monkeypatch, "--nets", *names)[0] == found
    assert written() == checkpoints, "nothing is trained twice"
    with pytest.raises(SystemExit, match="2"):
        studied(monkeypatch, "--nets", *names, "--limit", "20")
    with pytest.raises(SystemExit, match="2"):
        studied(monkeypatch, "--nets", *names, "--root=t", "--widths", "4")
    assert written() == checkpoints


def weights():
    """Those of the one net trained."""
    (last,) = written()
    return torch.load(last, weights_only=True)["state_dict"]


class Stop(lightning.Callback):
    """Ends the training as a signal would, in its second epoch."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow  # test_stopping.py stops a training of each kind
def test_a_training_that_was_stopped_goes_on(workplace, monkeypatch):
    own = ["--nets", "cut", "--epochs", "3"]
    whole, _ = studied(monkeypatch, *own)
    trained = weights()
    Path("t").rename("whole")
    with monkeypatch.context() as patch:
        patch.setattr(train, "Minutes", Stop)  # in its place among the callbacks
        with pytest.raises(SystemExit, match="143"):
            studied(patch, *own)
    (last,) = written()
    assert torch.load(last, weights_only=True)["epoch"] < 2
    assert not Path("t/looking.json").exists()
    assert studied(monkeypatch, *own)[0] == whole
    assert all(torch.equal(weight, trained[name]) for name, weight in weights().items())


# --- rivals -----------------------------------------------------------------------------------------------------------


def step(module):
    """Make two steps of a module on the digits' videos, as a trainer would."""
    data = SceneDataModule("digits", Aperture(3), batch_size=10)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=2, limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return module.net


CUT = {
    "dense": {"hidden_features": [6, 5, 4]},
    "maps": {"units_per_place": [2, 1, 1], "field": 3, "image_shape": [6, 5]},
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", CUT)
def test_the_cut_net_stays_cut_while_all_else_learns(workplace, kind, weight_decay):
    net = step(CutModule(**CUT[kind], sign=-1, weight_decay=weight_decay))
    first = CutModule(**CUT[kind], sign=-1, in_features=30, num_classes=net.num_classes).net
    moved = {name for name, weight in net.named_parameters() if not torch.equal(weight, first.get_parameter(name))}
    assert moved == {name for name, _ in first.named_parameters()} - {"top_down.0.weight", "top_down.1.weight"}
    for linear in net.top_down[:-1]:
        assert torch.equal(linear.weight, torch.zeros_like(linear.weight))


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_unrolled_states_are_those_of_the_net_without_a_label(damping):
    net = recurrent_net(damping=damping)
    by_net = net.rollout(VIDEOS, torch.zeros(6, dtype=torch.double), 8)
    for ours, theirs in zip(unrolled(net, VIDEOS), by_net, strict=True):
        for mine, its in zip(ours, theirs, strict=True):
            assert torch.allclose(mine, its, atol=1e-12, rtol=0)


def test_backpropagation_reaches_earlier_frames_and_forward_forward_does_not():
    net, labels = recurrent_net(damping=0.3, sign=-1), torch.tensor([0, 1, 2, 0, 1])
    torch.nn.init.normal_(net.head.weight)
    videos = VIDEOS.clone().requires_grad_()
    unrolled_logits(net, videos)[-1].logsumexp(dim=1).sum().backward()
    assert (videos.grad.abs().amax(dim=(1, 2)) > 0).all()
    later = videos.grad[:, 0].abs().sum(dim=1)
    assert later[-1] > later[0], "less and less of what was long ago"
    videos = VIDEOS.clone().requires_grad_()
    net.local_loss(videos, labels, (labels + 1) % 3, iterations=8).backward()
    assert videos.grad is None


def test_backpropagation_through_time_learns(workplace):
    net = step(UnrolledModule([6, 5], window=(6, 8)))
    first = UnrolledModule([6, 5], in_features=30, num_classes=net.num_classes).net
    moved = {name for name, weight in net.named_parameters() if not torch.equal(weight, first.get_parameter(name))}
    # The label's weights have no part in it; below a head of zeros, nothing learns in the first step.
    assert moved == {name for name, _ in first.named_parameters()} - {"top_down.1.weight"}


def test_masks_drop_what_neighbours_and_head_read():
    net = drawn_net()
    masks = [torch.ones(5, 4), torch.zeros(5, 5), torch.zeros(5, 3)]
    logits = unrolled_logits(net, VIDEOS.float(), masks)
    assert torch.equal(logits, net.head.bias.expand(8, 5, 3))


@pytest.mark.parametrize("shown", [1, 3, 8])
def test_single_frames_are_those_of_the_videos(tmp_path, shown):
    make_digits(tmp_path / "digits")
    settings = {"scene": NoisyFrames(0.5), "batch_size": 7}
    videos = SceneDataModule(str(tmp_path / "digits"), **settings)
    single = SingleFrames(str(tmp_path / "digits"), shown=shown, **settings)
    for data in (videos, single):
        data.setup("fit")
    for (videos_BTD, labels_B), (frames, labels) in zip(
        videos.train_dataloader(), single.train_dataloader(), strict=True
    ):
        frames_BND, labels_BN = frames.unflatten(0, (-1, shown)), labels.unflatten(0, (-1, shown))
        assert (labels_BN == labels_B[:, None]).all()
        matches_BNT = (frames_BND[:, :, None] == videos_BTD[:, None]).all(dim=-1)
        assert (matches_BNT.sum(dim=2) == 1).all()
        assert (matches_BNT.sum(dim=1) <= 1).all(), "no frame twice"


# --- looking ----------------------------------------------------------------------------------------------------------


def test_errors_of_every_window_by_hand():
    """Four clips of label 0; clip n is seen as label 1 in its first n frames, and three times as surely as 0 later."""
    seen_NT = torch.tensor([[t < n for t in range(8)] for n in (0, 1, 4, 7)])

    def look(net, clips_TBD):
        wrong_TB = seen_NT[clips_TBD[0, :, 0].long()].T
        return torch.stack([torch.where(wrong_TB, 0.0, 1.0), torch.where(wrong_TB, 3.0, 0.0)], dim=-1)

    clips = torch.arange(4.0)[:, None, None].expand(4, 8, 1)
    found = looking.errors(None, look, clips, torch.zeros(4, dtype=torch.long))
    assert found["by_frame"] == [3 / 4, 2 / 4, 2 / 4, 2 / 4, 1 / 4, 1 / 4, 1 / 4, 0]
    assert found["so_far"] == [3 / 4, 3 / 4, 3 / 4, 2 / 4, 2 / 4, 2 / 4, 2 / 4, 2 / 4]
    # Two wrong frames of three outweigh one right one.
    assert (found["frames 6 to 8"], found["frames 3 to 5"], found["all"]) == (1 / 4, 2 / 4, 2 / 4)


def test_a_net_on_single_frames_sees_each_alone():
    net = drawn_net(sign=-1)
    whole = looking.frame_by_frame(net, VIDEOS.float(), 0.1)
    for frame in range(8):
        alone = looking.frame_by_frame(net, VIDEOS[frame : frame + 1].float(), 0.1)
        assert torch.allclose(whole[frame], alone[0], atol=1e-5)
    assert torch.allclose(whole.exp().sum(dim=-1), torch.ones(8, 5))


def test_what_goodness_says_after_each_frame_is_what_the_net_scores():
    net = drawn_net(sign=-1)
    scores = looking.by_goodness(net, VIDEOS.float())
    assert torch.allclose(scores[5:8].mean(dim=0), net.score(VIDEOS.float(), (6, 8)), atol=1e-6)


def test_every_seed_is_shown_the_same_videos(tmp_path):
    make_digits(tmp_path / "digits")
    data = SceneDataModule(str(tmp_path / "digits"), Aperture(3), seed=5)
    data.setup("test")
    videos, labels = looking.videos_of(str(tmp_path / "digits"), Aperture(3), "test")
    assert torch.equal(videos[:3], data.test_set.images[:3])
    assert prepare(videos[:3]).shape == (8, 3, 30)
    assert len(labels) == len(videos)


def test_the_picture_has_a_row_a_scene_and_a_column_a_frame():
    figure = draw_scenes.draw(torch.zeros(len(draw_scenes.SCENES), 8, 3, 3))
    assert [axis.get_title() for axis in figure.axes[:8]] == [f"frame {t}" for t in range(1, 9)]
    assert [axis.get_ylabel() for axis in figure.axes[::8]] == list(draw_scenes.SCENES)
    assert (draw_scenes.DOCS / "images" / "scenes.png").stat().st_size < 150_000
