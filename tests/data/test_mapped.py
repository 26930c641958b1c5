"""Images on the disk give the batches and weights that images in memory give, bit by bit, in little memory."""

import gc
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from making import idx_bytes, write_idx_folder
from PIL import Image
from running import TINY, check_same, largest_file, only_run, run

from ffrecur.data import DriftDataModule, ImageDataModule
from ffrecur.data.loader import TensorLoader
from ffrecur.data.mapped import MappedImages
from ffrecur.errors import UserError

RANDOM = np.random.default_rng(0)
FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "eel"])})


def pictures(count, mode="L", start=0):
    colours = (RANDOM.integers(0, 256, (5, 4, 3), dtype=np.uint8) for _ in range(count))
    columns = {"image": [Image.fromarray(array).convert(mode) for array in colours]}
    columns["label"] = [(start + k) % 3 for k in range(count)]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def plain_idx(folder):
    write_idx_folder(folder, train=30, test=7)


def gzipped_idx(folder):
    plain_idx(folder)
    for path in sorted(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def sorted_idx(folder):
    plain_idx(folder)
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.arange(30) // 10))


def grey_then_colour(folder):
    mixed = datasets.concatenate_datasets([pictures(11), pictures(3, "RGB"), pictures(4)])
    datasets.DatasetDict(train=mixed, test=pictures(5)).save_to_disk(str(folder))


def own_validation(folder):
    datasets.DatasetDict(train=pictures(12), validation=pictures(6, "RGB")).save_to_disk(str(folder))


def parquet(folder):
    pictures(24).to_parquet(str(folder / "train-0.parquet"))
    pictures(9, start=1).to_parquet(str(folder / "test-0.parquet"))


def image_folder(folder):
    for number, row in enumerate(pictures(12)):
        name = folder / "cde"[number % 3] / f"{number}.png"
        name.parent.mkdir(exist_ok=True)
        row["image"].save(name)


SOURCES = [plain_idx, gzipped_idx, sorted_idx, grey_then_colour, own_validation, parquet, image_folder]


def both(source, kind=ImageDataModule, **settings):
    return [kind(str(source), batch_size=4, evaluation_batch_size=5, **settings, memory_limit=m) for m in (4096, 0)]


def check_same_batches(one, other):
    for first, second in zip(one, other, strict=True):
        for tensor, same in zip(first, second, strict=True):
            assert tensor.dtype == same.dtype
            assert torch.equal(tensor, same)


@pytest.mark.parametrize("settings", [{}, {"split_seed": 3, "validation_size": 5}], ids=["last", "drawn"])
@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_the_batches_are_those_of_images_in_memory(tmp_path, make, settings):
    source = tmp_path / "source"
    source.mkdir()
    make(source)
    memory, disk = both(source, **settings)
    for data in (memory, disk):
        data.setup("fit")
        data.setup("predict")
    for name in ("train_set", "validation_set", "test_set", "predict_set"):
        assert isinstance(getattr(memory, name).images, torch.Tensor)
        assert isinstance(getattr(disk, name).images, MappedImages)
    assert memory.image_shape == disk.image_shape
    assert memory.description == disk.description
    for name in ("train", "val", "test", "predict"):
        one, other = (getattr(data, f"{name}_dataloader")() for data in (memory, disk))
        for epoch in range(2):
            one.set_epoch(epoch)
            other.set_epoch(epoch)
            check_same_batches(one, other)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_the_order_is_cut_over_ranks_and_resumed_amid_an_epoch_as_in_memory(replicas):
    images = torch.from_numpy(RANDOM.integers(0, 256, (23, 6), dtype=np.uint8))
    mapped, labels = MappedImages(images.numpy()), torch.arange(23)
    for rank in range(replicas):
        for done in range(5):
            loaders = [TensorLoader([x, labels], 5, True, 7, replicas, rank) for x in (images, mapped)]
            for loader in loaders:
                loader.set_epoch(2)
                loader.load_state_dict({"epoch": 2, "batches": done})
            check_same_batches(*loaders)


def test_choosing_rows_reads_nothing():
    images = torch.from_numpy(RANDOM.integers(0, 256, (9, 2, 3), dtype=np.uint8))
    mapped, flat = MappedImages(images.numpy()), images.flatten(1)
    order = torch.tensor([5, 0, 7, 7])
    assert torch.equal(mapped.take(order).take(slice(1, None))[torch.tensor([2, 0])], flat[order][1:][[2, 0]])
    assert len(mapped.take(slice(-2, None))) == 2
    assert mapped.take(order).pixels.base is mapped.pixels.base
    assert mapped[[1]].numpy().flags.writeable  # a copy, and so no harm to the file


def weights_of(root, *args):
    outcome = run("fit", *TINY, f"--trainer.default_root_dir={root}", *args)
    assert outcome.code == 0, outcome.err
    (folder,) = Path(root).iterdir()
    return torch.load(folder / "last.ckpt", weights_only=True)


def test_training_is_bit_equal_and_may_go_on_with_another_limit(workplace):
    whole = weights_of("memory")
    check_same(whole, weights_of("disk", "--data.memory_limit=0"))
    weights_of("part", "--trainer.max_epochs=1")
    check_same(whole, weights_of("part", "--ckpt_path=last", "--data.memory_limit=0"))


def test_prediction_reads_from_the_disk(trained):
    found = []
    for limit in ("4096", "0"):
        outcome = run("predict", f"--data.memory_limit={limit}")
        assert outcome.code == 0, outcome.err
        found.append((only_run() / "predictions.csv").read_bytes())
    assert found[0] == found[1]


def test_no_file_is_left_and_none_stays_open(tmp_path, monkeypatch):
    source, temporary = tmp_path / "source", tmp_path / "tmp"
    source.mkdir()
    temporary.mkdir()
    parquet(source)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    opened = []
    for _ in range(4):
        data = ImageDataModule(str(source), memory_limit=0)
        data.setup("fit")
        assert not list(temporary.iterdir())
        del data
        gc.collect()
        opened.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    assert opened[3] <= opened[0], opened


def test_a_full_disk_is_told_with_the_folder(tmp_path):
    gzipped_idx(tmp_path)
    data = ImageDataModule(str(tmp_path), memory_limit=0)
    with largest_file(100), pytest.raises(UserError) as caught:
        data.setup("fit")
    text = str(caught.value)
    assert text.startswith(
        f"data.memory_limit keeps the images on the disk, but they cannot be written to {tempfile.gettempdir()}"
    )
    assert "(File too large, " in text
    assert text.endswith("set TMPDIR to a folder with more room")


def test_videos_need_memory(tmp_path):
    plain_idx(tmp_path)
    with pytest.raises(UserError, match=r"data\.memory_limit is 0, but must be at least 1, the MiB of a split of"):
        DriftDataModule(str(tmp_path), memory_limit=0).setup("fit")


LIMITED = """
import resource, sys, torch
from pathlib import Path
from ffrecur.data import ImageDataModule
from ffrecur.data.idx import read_idx
torch.set_num_threads(1)
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
limit = (used << 10) + (32 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
source = Path(sys.argv[1])
try:
    read_idx(source / "train-images-idx3-ubyte", 3)
    sys.exit("the limit is none")
except MemoryError:
    pass
data = ImageDataModule(str(source), batch_size=500, memory_limit=16)
data.setup("fit")
seen = torch.zeros(80_000, dtype=torch.long)
for images, labels in data.train_dataloader():
    number = images[:, :3].long() @ torch.tensor([1, 256, 65536])
    assert torch.equal(number % 10, labels)
    seen[number] += 1
assert seen[:70_000].eq(1).all() and seen[70_000:].eq(0).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_data_set_larger_than_the_memory_that_the_process_may_have(tmp_path):
    images = np.zeros((80_000, 28, 28), np.uint8)  # 60 MiB
    for byte in range(3):
        images[:, 0, byte] = np.arange(80_000) >> 8 * byte
    labels = np.arange(80_000) % 10
    for name, count in (("train", 80_000), ("t10k", 100)):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images[:count]))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels[:count]))
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True)
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stderr
