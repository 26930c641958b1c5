"""What tests make: nets with weights that mean nothing, windows of text, and little data sets on the disk."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import ffrecur
from ffrecur.data.imageset import ImageSet
from ffrecur.storage.checkpoint import NET_KEY, describe

# --- nets -------------------------------------------------------------------------------------------------------------


def recurrent_net(hidden=(7, 5, 6), in_features=4, classes=3, seed=0, **settings):
    """A recurrent net in float64, its biases drawn too, its head at 0; one of maps where `in_shape` is among the settings."""
    torch.manual_seed(seed)
    sizes = (None, None) if "in_shape" in settings else (in_features, hidden)
    net = ffrecur.RecurrentNet(*sizes, classes, **settings).double()
    for linear in net.bottom_up:
        nn.init.normal_(linear.bias, std=0.1)
    return net


def character_net(alphabet="abc ", window=3, hidden=(6, 5, 4), seed=0, **options):
    """A character model in float64, its biases and its head's weight drawn too."""
    torch.manual_seed(seed)
    net = ffrecur.CharNet(alphabet, window, hidden, **options).double()
    nn.init.normal_(net.head.weight)
    for linear in net.hidden:
        nn.init.normal_(linear.bias, std=0.1)
    return net


def stream_net(alphabet="abc ", hidden=(6, 5, 4), seed=0, kind=ffrecur.StreamNet, **options):
    """A streaming character model in float64, its biases and its head's weight drawn too."""
    torch.manual_seed(seed)
    fast = [
        options.pop(name, usual) for name, usual in (("keys", 0), ("decay", 0.95), ("rate", 0.5), ("rule", "hebbian"))
    ]
    options = {"fast_weights": fast, **options}
    net = kind(alphabet, hidden, **options).double()
    nn.init.normal_(net.head.weight)
    for linear in net.bottom_up:
        nn.init.normal_(linear.bias, std=0.1)
    return net


def stream_state(net, count, seed=1):
    """A state at random, as streams that have read something have one."""
    generator = torch.Generator().manual_seed(seed)

    def some(like, low):
        drawn = torch.rand(like.shape, generator=generator, dtype=like.dtype)
        return (drawn * 2 - low).clamp(min=-1 if low > 0.5 else 0)

    empty = net.first_state(count)
    return type(empty)(tuple(some(each, 0.4) for each in empty.hidden), tuple(some(each, 1) for each in empty.memory))


def feed_forward_net(hidden=None, in_features=6, classes=3, seed=0, **settings):
    """A feed-forward net in float64, every parameter drawn."""
    torch.manual_seed(seed)
    net = ffrecur.FeedForwardNet(in_features, hidden, classes, **settings).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def windows_of(net, count, seed=1):
    """Windows of symbols at random, `(count, W)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(net.alphabet), (count, net.window), generator=generator)


def drawn(net, seed=0):
    """The net with every parameter and buffer drawn, the head and the peers' means too, which do not start at random."""
    torch.manual_seed(seed)
    for tensor in net.state_dict().values():
        nn.init.normal_(tensor)
    return net


def drawn_net(seed=0, **settings):
    """A little recurrent net in float32, all of it drawn."""
    return drawn(
        ffrecur.RecurrentNet(**{"in_features": 4, "hidden_features": [5, 3], "num_classes": 3, **settings}), seed
    )


def one_of_each_net():
    """One net of each kind, with settings that are not the defaults."""
    made = [
        ffrecur.RecurrentNet(4, [5, 3], 3, sign=-1, damping=0.1, update_scheme="alternating"),
        ffrecur.FeedForwardNet(4, [5, 3], 3, sign=-1, label="beside", label_scale=2.0, score_layers=[1, 2]),
        ffrecur.FeedForwardNet(4, [5, 3], None, label=None, center_images=True),
        ffrecur.BackpropNet(4, [5], 3),
        ffrecur.BackpropNet(60, [5], 3, True, channels=[2], kernel=3, image_shape=[4, 5, 3]),
        ffrecur.CharNet("añ ☃", 3, [5, 4], head_layers=[2], goodness_weight=0.5, noise="uniform", unknown="replace"),
        ffrecur.StreamNet(
            "añ ☃",
            [5, 4],
            [0.1, 0.2],
            iterations=2,
            lateral=False,
            fast_weights=[3, 0.9, 0.5, "delta"],
            candidate_layers=[1, 2],
            unknown="replace",
        ),
    ]
    return [drawn(net) for net in made]


def check_same_net(found, expected):
    """The same kind of net with the same settings, ready to be evaluated, its tensors equal bit by bit."""
    assert type(found) is type(expected)
    assert found.settings() == expected.settings()
    assert not found.training
    weights = found.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert weights[name].dtype == tensor.dtype
        assert weights[name].numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes()
    assert all(parameter.requires_grad for parameter in found.parameters())


# --- checkpoints ------------------------------------------------------------------------------------------------------


def write_checkpoint(net, path):
    """A file with what a Trainer's checkpoint has of the net, and a little else."""
    weights = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": {**weights, "other.weight": torch.ones(2)}, NET_KEY: describe(net)}, path)
    return path


class Harmful:
    """Unpickling it without `weights_only` would run code."""

    def __reduce__(self):
        return Path.touch, (Path("harm-was-done"),)


# --- images -----------------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    """What an IDX file of bytes holds."""
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def images_of(shape, count=23, seed=0):
    """Images of noise, `(count, D)` uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, math.prod(shape)), generator=generator, dtype=torch.uint8)


def write_idx_folder(folder: Path, train: int = 12, test: int = 6, size: tuple[int, int] = (3, 4)) -> Path:
    """Image k holds k, k + 1, ... row by row and has the label k % 3."""
    for name, count in (("train", train), ("t10k", test)):
        images = (np.arange(count)[:, None] + np.arange(size[0] * size[1])).reshape(count, *size)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count) % 3))
    return folder


def make_digits(folder: Path, size: tuple[int, int] = (6, 5), classes: int = 3) -> None:
    """Write IDX files: noise with one bright pixel in the first row, whose place tells the class."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count) % classes
        images = random.integers(0, 60, (count, *size))
        images[np.arange(count), 0, labels] = 255
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


def make_trees(folder: Path) -> None:
    """Write a data set of `datasets`: 60 training and 12 test images of noise, 6x5, with three named classes."""
    random = np.random.default_rng(0)
    classes = datasets.ClassLabel(names=["ash", "birch", "cedar"])
    features = datasets.Features({"image": datasets.Image(), "label": classes})

    def pictures(count: int) -> datasets.Dataset:
        images = [random.integers(0, 256, (6, 5)).astype("uint8") for _ in range(count)]
        labels = [number % 3 for number in range(count)]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    datasets.DatasetDict({"train": pictures(60), "test": pictures(12)}).save_to_disk(str(folder))


# Names of image files in folders: in one for each class, alone and below a split.
CLASSES = ["cat/0.png", "dog/1.png", "cat/2.png"]
TRAIN = [f"train/{name}" for name in CLASSES]
LABELS = {0: 0, 1: 1, 2: 0}  # of both, by the number of the image


def image_files(folder: Path, files: Sequence[str]) -> Path:
    """Image files, the first pixel of each its number; other files with a few bytes; a folder for a name that ends in /."""
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif path.suffix.lower() in (".png", ".bmp"):
            Image.fromarray(np.array([[number, 200], [100, 50]], np.uint8)).save(path)
        else:
            path.write_bytes(b"something")
    return folder


def numbers(images: ImageSet | None) -> dict[int, int] | list[int] | None:
    """The label of each image by its number; the numbers alone where there are no labels."""
    if images is None:
        return None
    found: list[int] = images.images[:, 0].tolist()
    return found if images.labels is None else dict(sorted(zip(found, images.labels.tolist(), strict=True)))


# --- text -------------------------------------------------------------------------------------------------------------


def make_tales(file: Path) -> None:
    """Write six short documents."""
    animals = ("fox", "hen", "cow", "dog", "cat", "owl")
    text = "\n\n".join(
        f"The {animal} sat on the {place}, and slept." for animal, place in zip(animals, reversed(animals), strict=True)
    )
    file.write_text(text)


def make_meetings(file: Path) -> None:
    """Write twelve documents of three sentences in turn."""
    sentences = ("the fox met a crow", "a lion and the mouse", "no frog can be an ox")
    documents = [" ".join(sentences[number % 3] for number in range(first, first + 4)) for first in range(12)]
    file.write_text("\n\n".join(documents))


def wrong_labels(labels_B: Tensor, classes: int, count: int, seed: int = 0) -> Tensor:
    """`count` different wrong labels for each case, at random, `(B, count)`."""
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.stack([torch.randperm(classes - 1, generator=generator)[:count] for _ in labels_B])
    return (labels_B[:, None] + 1 + shifts) % classes
