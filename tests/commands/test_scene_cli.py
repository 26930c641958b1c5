"""`data.scene` on the command line: what is kept, what an evaluation shows, and what a wrong one is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from running import TINY, loaded, only_run, run

import ffrecur
from ffrecur.data import Aperture, SceneDataModule
from ffrecur.lit.images import prepare
from ffrecur.lit.run.config import CONFIG_KEY

VIDEOS = ["--data=SceneDataModule", "--data.scene=Aperture", "--data.scene.pixels=3", "--model.window=[6,8]"]
KEPT = {"class_path": "ffrecur.data.Aperture", "init_args": {"pixels": 3}}


def test_the_last_three_frames_are_scored_and_every_frame_is_measured(workplace):
    assert run("fit", *TINY, *VIDEOS).code == 0
    for held in (loaded("runs")[CONFIG_KEY], yaml.safe_load((only_run() / "config.yaml").read_text())):
        assert held["data"]["init_args"]["scene"] == KEPT
    assert run("test", "--ckpt_path=last").code == 0  # without a word about the scene
    results = json.loads((only_run() / "test_results.json").read_text())
    data, net = SceneDataModule("digits", Aperture(3)), ffrecur.load(only_run() / "last.ckpt")
    data.setup("test")
    videos, labels = prepare(data.test_set.images[:]), data.test_set.labels
    of_window = (net.score(videos, (6, 8)).argmax(dim=1) != labels).double().mean()
    assert results["error"] == results["goodness_error"] == pytest.approx(float(of_window))
    for frame, error in enumerate(results["error_by_iteration"], start=1):
        alone = (net.score(videos, (frame, frame)).argmax(dim=1) != labels).double().mean()
        assert error == pytest.approx(float(alone))
    assert frame == 8
    assert run("predict").code == 0
    assert torch.equal(data.test_set.images[:2], data.test_set.images[:][:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.scene=Apperture"], "data.scene is 'Apperture', which is not the name of a class (nearest: Aperture)"),
        (["--data.scene=Shift"], "data.scene is 'Shift', which is not a subclass of Scene"),
        (
            ["--data.scene=Aperture", "--data.scene.strokes=3"],
            "data.scene.strokes is a setting of MovingClutter only; choose the class first: --data.scene=MovingClutter",
        ),
        (["--data.scene=Aperture", "--data.scene.pixels=x"], "data.scene.pixels is x, but must be a whole number"),
        (
            ["--data.scene=Aperture", "--data.scene.pixels=2"],
            "Aperture.pixels is 2, but must be at most the shorter side of the images, 6x5, and so many that 8 windows "
            "cover them",
        ),
        (
            ["--data.scene=Aperture", "--data.scene.pixels=3", "--data.frames=5"],
            "iterations is 8, but must be at most the 5 frames of the videos",
        ),
    ],
)
def test_a_wrong_scene_is_answered_in_a_sentence(workplace, options, message):
    outcome = run("fit", *TINY, "--data=SceneDataModule", *options)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == f"error: {message}"
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_a_scene_belongs_to_its_data_module(workplace):
    outcome = run("fit", *TINY, "--data.scene=Aperture")
    assert outcome.code == 2
    told = "data.scene is a setting of SceneDataModule only; choose the class first: --data=SceneDataModule"
    assert outcome.err == f"error: {told}\n"
