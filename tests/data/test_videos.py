"""Videos of the user's own: the same clips from folders, arrays and tables, and sentences for what is none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from making import drawn_net, write_idx_folder
from PIL import Image
from running import TINY, only_run, run

from ffrecur.data import DriftDataModule, ImageDataModule, Shift, VideoDataModule
from ffrecur.data.clipfolders import natural
from ffrecur.data.mapped import MappedImages
from ffrecur.data.sources import read_source
from ffrecur.errors import UserError
from ffrecur.lit import RecurrentModule
from ffrecur.lit.images import prepare

CLIPS = {"cat/b": 3, "cat/c": 11, "dog/a": 1, "dog/d": 11}  # how many frames each has
LABELS = {"cat/b": 0, "cat/c": 0, "dog/a": 1, "dog/d": 1}


def frame(clip: str, place: int, size: tuple[int, int] = (2, 2)) -> Image.Image:
    """A frame whose first pixels tell the clip and the place in it."""
    pixels = np.full(size, 100, np.uint8)
    pixels.flat[:2] = sorted(CLIPS).index(clip) if clip in CLIPS else 9, place
    return Image.fromarray(pixels)


def as_bytes(image: Image.Image) -> bytes:
    """What a file of the image holds."""
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def write(folder: Path, clips: dict[str, int]) -> Path:
    """Folders of frames, numbered from 1 without zeros in front."""
    for clip, count in clips.items():
        (folder / clip).mkdir(parents=True)
        for place in range(count):
            frame(clip, place).save(folder / clip / f"frame{place + 1}.png")
    return folder


def shown(clips: Any) -> list[tuple[int, list[int]]]:
    """The number of each clip and the places that its frames show."""
    return [(int(clip[0, 0]), clip[:, 1].tolist()) for clip in clips[:]]


def videos(source: Path | str, **settings: Any) -> Any:
    """A source read as clips."""
    return read_source(str(source), video=True, **settings)


# --- where clips come from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [10**6, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("frames", [None, 2, 13])
def test_clips_of_a_folder_stay_at_their_last_frame_or_are_cut(tmp_path: Path, frames: int | None, limit: int) -> None:
    source = videos(write(tmp_path, CLIPS), frames=frames, limit=limit)
    length = frames or max(CLIPS.values())
    files = source.files["train"]
    assert sorted(files) == sorted(CLIPS)
    expected = [[min(place, CLIPS[file] - 1) for place in range(length)] for file in files]
    assert shown(source.train.images) == [
        (sorted(CLIPS).index(file), e) for file, e in zip(files, expected, strict=True)
    ]
    assert source.train.labels.tolist() == [LABELS[file] for file in files]
    assert isinstance(source.train.images.store, MappedImages if limit == 0 else torch.Tensor)
    assert (source.frames, source.image_shape, source.class_names) == (length, (2, 2), ("cat", "dog"))
    shorter = sum(count < length for count in CLIPS.values())
    longer = sum(count > length for count in CLIPS.values())
    notes = " ".join(source.notes)
    assert f"{shorter} of 4 training clips are shorter than {length} frames (the shortest has 1)" in notes
    assert (f"{longer} of 4 training clips are longer than {length} frames (the longest has 11)" in notes) == (
        longer > 0
    )


@pytest.mark.parametrize("kind", ["Image", "bytes", "saved", "metadata"])
def test_tables_have_the_clips_of_the_folder(tmp_path: Path, kind: str) -> None:
    lists = [[as_bytes(frame(clip, place)) for place in range(count)] for clip, count in CLIPS.items()]
    rows = {"clip": lists, "label": [LABELS[clip] for clip in CLIPS]}
    typed = datasets.Features({"clip": datasets.List(datasets.Image()), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict(rows, features=None if kind == "bytes" else typed)
    if kind == "saved":
        table.save_to_disk(str(tmp_path / "set"))
    elif kind == "metadata":
        write(tmp_path / "set", {clip.replace("/", "-"): count for clip, count in CLIPS.items()})
        for clip, count in CLIPS.items():
            for place in range(count):
                frame(clip, place).save(tmp_path / "set" / clip.replace("/", "-") / f"frame{place + 1}.png")
        lines = [f"{clip.replace('/', '-')}/,{LABELS[clip]}" for clip in CLIPS]
        (tmp_path / "set" / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    else:
        (tmp_path / "set").mkdir()
        table.to_parquet(tmp_path / "set" / "train.parquet")
    found = videos(tmp_path / "set", frames=5).train
    folder = videos(write(tmp_path / "folder", CLIPS), frames=5).train
    assert shown(found.images) == shown(folder.images)
    assert found.labels.tolist() == folder.labels.tolist()


def test_arrays_are_the_videos_that_were_written(tmp_path: Path) -> None:
    """Those of digits that drift: the same batches, in the same order."""
    drift = DriftDataModule(str(write_idx_folder(tmp_path, train=40, test=10)), batch_size=16, frames=6, seed=3)
    drift.setup("fit")
    arrays: dict[str, Any] = {}
    for split in ("train", "validation", "test"):
        part = getattr(drift, f"{split}_set")
        arrays |= {f"{split}_videos": part.images.view(-1, 6, 3, 4).numpy(), f"{split}_labels": part.labels.numpy()}
    np.savez(tmp_path / "set.npz", **arrays)
    for limit in (4096, 0):
        data = VideoDataModule(str(tmp_path / "set.npz"), batch_size=16, seed=3, memory_limit=limit)
        data.setup("fit")
        assert (data.frames, data.in_features, data.num_classes) == (6, 12, 3)
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            for ours, theirs in zip(getattr(data, name)(), getattr(drift, name)(), strict=True):
                assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


COLOUR = np.arange(4 * 2 * 5 * 4 * 3, dtype=np.uint8).reshape(4, 2, 5, 4, 3)


@pytest.mark.parametrize(
    ("array", "pixels"),
    [
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 1, 4, 2, 3), COLOUR),
        (COLOUR[..., :1], COLOUR[..., 0]),
        (COLOUR[..., 0] / 255, COLOUR[..., 0]),
    ],
    ids=["colour", "channels before the height", "one channel", "from 0 to 1"],
)
def test_shapes_and_values_of_arrays(tmp_path: Path, array: np.ndarray, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", images=array, labels=[0, 1, 0, 1])
    source = videos(tmp_path / "set.npz")
    assert source.train.images[:].numpy().tolist() == pixels.reshape(4, 2, -1).tolist()
    assert source.image_shape == pixels.shape[2:]
    np.save(tmp_path / "alone.npy", array)
    assert (
        videos(tmp_path / "alone.npy", require_labels=False).train.images[1:].tolist()
        == source.train.images[1:].tolist()
    )


def test_numbers_in_names_count_as_numbers() -> None:
    names = [f"{word}{number}.png" for word in ("a", "b") for number in (0, 1, 2, 9, 10, 99, 100)]
    assert sorted(reversed(names), key=natural) == names


# --- what is no clip --------------------------------------------------------------------------------------------------


def small(folder: Path, files: Sequence[str]) -> Path:
    """Image files; other files with a few bytes; folders for names that end in /."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif path.suffix == ".gif":
            first, *others = [Image.new("L", (2, 2), shade) for shade in (0, 90, 200)]
            first.save(path, save_all=True, append_images=others)
        elif path.suffix == ".png":
            Image.new("L", (3, 2) if "wide" in name else (2, 2)).save(path)
        else:
            path.write_bytes(b"something")
    return folder


GOOD = ["cat/a/1.png", "dog/b/1.png"]
REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "images": (["cat/1.png", "dog/1.png"], ["whose folder cat holds images, but lies in no folder of a class"]),
    "images of one class": ([*GOOD, "hen/1.png"], ["folder hen holds images, but no folder of a clip; a clip is"]),
    "images alone": (["1.png"], ["image 1.png lies in no folder of a clip", "images are read by --data ImageDataModule"]),
    "an empty clip": ([*GOOD, "cat/c/"], ["whose folder cat/c is empty; a clip has one image file"]),
    "a clip of text": ([*GOOD, "cat/c/1.txt"], ["whose folder cat/c holds cat/c/1.txt, but no frames"]),
    "a video beside clips": ([*GOOD, "cat/c/v.mp4"], ["the video file cat/c/v.mp4", "ffmpeg -i cat/c/v.mp4 cat/c/v/%04d.png"]),
    "a class of videos": ([*GOOD, "hen/v.mov"], ["has the video file hen/v.mov"]),
    "videos alone": (["cat/v.mp4"], ["has the video file cat/v.mp4"]),
    "frames of two sizes": ([*GOOD, "dog/b/wide.png"], ["in size", "2x2, then 2x3 (train frame 1 of clip 1, dog/b/wide.png)"]),
    "clips of two sizes": ([*GOOD, "dog/c/wide.png"], ["differ in size", "(train frame 0 of clip 2, dog/c/wide.png)"]),
    "frames of frames": ([*GOOD, "dog/b/2.gif"], ["train frame dog/b/2.gif has several frames itself", "ffmpeg"]),
    "no image": (["cat/a/1.bin"], ["must hold folders of frames (.png, .jpg, ...), arrays (.npz) or tables"]),
    "one class": (["cat/a/1.png", "cat/b/1.png"], ["has one class only, 'cat'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_hold_no_clips_are_told_in_a_sentence(tmp_path: Path, case: str) -> None:
    files, pieces = REFUSED[case]
    with pytest.raises(UserError) as caught:
        videos(small(tmp_path, files))
    for piece in pieces:
        assert piece in str(caught.value)


FOUR = np.array([0, 1, 0, 1])
REFUSED_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "images": ({"images": COLOUR[:, 0, ..., 0], "labels": FOUR}, "must have (N, frames, height, width), grey,"),
    "images in colour": ({"images": COLOUR[:, 0], "labels": FOUR}, "images are read by --data ImageDataModule"),
    "no frames": ({"images": COLOUR[:, :0], "labels": FOUR}, "has the shape (4, 0, 5, 4, 3), but must have"),
    "two channels": ({"images": COLOUR[..., :2], "labels": FOUR}, "has the shape (4, 2, 5, 4, 2), but must have"),
    "too few labels": ({"images": COLOUR, "labels": FOUR[:3]}, "labels has the shape (3,), but must have one label for each"),
    "objects": ({"images": COLOUR.astype(object), "labels": FOUR}, "holds Python objects, which could run code"),
    "two names": ({"images": COLOUR, "videos": COLOUR, "labels": FOUR}, "has two arrays of train images, images and videos"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_arrays_that_are_no_videos_are_told_in_a_sentence(tmp_path: Path, case: str) -> None:
    arrays, piece = REFUSED_ARRAYS[case]
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError) as caught:
        videos(tmp_path / "set.npz")
    assert piece in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00", None], ids=["empty", "cut", "lying"])
def test_hostile_arrays(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "set.npy"
    if content is None:
        np.save(file, COLOUR)
        content = file.read_bytes().replace(b"(4, 2, 5, 4, 3)", b"(4, 9**9, 5, 4)").replace(b"9**9", b"9999")
    file.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        videos(file, require_labels=False)


@pytest.mark.parametrize("frames", [[], None, [None], [b"no image"]], ids=str)
def test_hostile_lists(tmp_path: Path, frames: Any) -> None:
    good = [as_bytes(frame("cat/b", 0))]
    rows = datasets.Dataset.from_dict({"clip": [good, frames], "label": [0, 1]})
    rows.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        UserError, match=r"train clip 1 has no frames|train frame 0 of clip 1 \(no file name\) cannot be decoded"
    ):
        videos(tmp_path)


def test_the_other_kind_of_data_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "videos.npz", images=COLOUR, labels=FOUR)
    np.savez(tmp_path / "named.npz", videos=COLOUR, labels=FOUR)
    lists = datasets.Dataset.from_dict({"clip": [[as_bytes(frame("cat/b", 0))]], "label": [0]})
    lists.to_parquet(tmp_path / "lists.parquet")
    for name in ("videos.npz", "named.npz", "lists.parquet"):
        with pytest.raises(UserError, match="; videos are read by --data VideoDataModule"):
            read_source(str(tmp_path / name))
    notes = read_source(str(write(tmp_path / "clips", CLIPS))).notes
    assert any("26 images lie deeper" in note and "videos are read by --data VideoDataModule" in note for note in notes)
    typed = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    images = datasets.Dataset.from_dict({"image": [as_bytes(frame("cat/b", 0))], "label": [0]}, features=typed)
    images.to_parquet(tmp_path / "images.parquet")
    for source in ("bundled", tmp_path / "images.parquet"):
        with pytest.raises(UserError, match="; images are read by --data ImageDataModule"):
            videos(source)
    for name in ("clip.mp4", "clip.gif"):
        file = small(tmp_path, [name]) / name
        with pytest.raises(UserError, match=r"a single file, but a clip is a folder of frames.*ffmpeg -i"):
            videos(file)


# --- the data module --------------------------------------------------------------------------------------------------


def test_clips_that_stand_still_are_images(tmp_path: Path) -> None:
    """Their scores are those of the images, and so they are when the last frame stays for as long as the net looks."""
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 2), np.uint8)
    labels = np.arange(6) % 3
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    np.savez(tmp_path / "videos.npz", videos=images[:, None].repeat(2, 1), labels=labels)
    still, moving = ImageDataModule(str(tmp_path / "images.npz")), VideoDataModule(str(tmp_path / "videos.npz"))
    for data in (still, moving):
        data.setup("predict")
    module = RecurrentModule([5, 3], in_features=4, num_classes=3, iterations=7)
    module.match_data(moving)
    assert moving.frames == 8  # evaluation_iterations
    ((images_BD,),), ((videos_BTD,),) = list(still.predict_dataloader()), list(moving.predict_dataloader())
    assert videos_BTD.shape == (6, 8, 4)
    net = drawn_net()
    torch.testing.assert_close(net.score(prepare(videos_BTD)), net.score(prepare(images_BD)))


def test_frames_that_were_chosen_must_do_for_the_net(tmp_path: Path) -> None:
    data = VideoDataModule(str(write(tmp_path, CLIPS)), frames=6)
    data.setup("fit")
    with pytest.raises(UserError, match="iterations is 8, but must be at most the 6 frames of the videos"):
        RecurrentModule([5, 3]).match_data(data)
    RecurrentModule([5, 3], iterations=6, evaluation_iterations=5).match_data(data)
    assert data.frames == 6
    with pytest.raises(UserError, match="data.frames is 0, but must be a whole number from 1"):
        VideoDataModule("somewhere", frames=0)


def test_all_frames_are_changed_alike(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(1, 256, (24, 5, 5), np.uint8)
    np.savez(tmp_path / "set.npz", videos=images[:, None].repeat(3, 1), labels=np.arange(24) % 2)
    data = VideoDataModule(str(tmp_path / "set.npz"), augment=[Shift(1)])
    data.setup("fit")
    ((changed_BTD, _),) = list(data.train_dataloader())
    assert torch.equal(changed_BTD, changed_BTD[:, :1].expand_as(changed_BTD))
    assert (changed_BTD == 0).any()  # what came in at a border


def test_labels_are_matched_by_the_names_of_the_folders(tmp_path: Path) -> None:
    data: Any = VideoDataModule(str(write(tmp_path, CLIPS)), validation_size=1)
    data.setup("fit")
    before = data.train_set.labels
    data.match_classes(("dog", "cat", "hen"), 3)
    assert data.train_set.labels.tolist() == (1 - before).tolist()


def test_parts_and_places_of_an_epoch(tmp_path: Path) -> None:
    """Two processes have the halves of each batch, and an epoch goes on where it was left."""
    data = VideoDataModule(str(write(tmp_path, {f"{name}/{n}": 2 for name in ("cat", "dog") for n in range(6)})))
    data.setup("fit")
    whole = list(data.make_loader("train", 4, True, 0))
    halves = [list(data.make_loader("train", 4, True, 0, 2, rank)) for rank in (0, 1)]
    for both, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(both[0], torch.cat([part[0] for part in parts]))
    loader = data.make_loader("train", 4, True, 0)
    next(iter(loader))
    again = data.make_loader("train", 4, True, 0)
    again.load_state_dict(loader.state_dict())
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(again, whole[1:], strict=True))


def test_commands(workplace: None, caplog: pytest.LogCaptureFixture) -> None:
    """A run on clips of different lengths has an error for each frame, and the predictions name the clips."""
    splits = {"train": range(6), "test": range(3)}
    clips = {f"{split}/{name}/{n}": 2 + n for split, part in splits.items() for name in ("cat", "dog") for n in part}
    write(Path("clips"), clips)
    options = ["--data=VideoDataModule", "--data.source=clips", "--model.iterations=4", "--trainer.max_epochs=1"]
    outcome = run("fit", *TINY, *options)
    assert outcome.code == 0
    assert "10 train, 2 validate" in caplog.text
    assert "the videos have 8 frames, of which training reads 4 (model.iterations)" in caplog.text
    assert run("test").code == 0
    results = json.loads((only_run() / "test_results.json").read_text())
    assert (results["num_examples"], len(results["error_by_iteration"])) == (6, 8)
    assert "Errors by frame and layer" in (only_run() / "report.html").read_text()
    write(Path("unlabelled"), {"two": 2, "ten": 10})
    assert run("predict", "--data.source=unlabelled").code == 0
    with (only_run() / "predictions.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["ten", "two"]
