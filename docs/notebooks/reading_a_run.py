# %% [markdown]
# # Reading a run
#
# `ffrecur fit` leaves a folder, and all that is known of a training is in its files.
# You see two short trainings from the command line, what their files say, how a checkpoint is loaded, and how the two are compared.

# %% [markdown]
# ## Two trainings
#
# They differ in the sign: with -1 positive data shall have low goodness, with 1 high goodness.
# Both are narrow and short, so that this takes little time; `tasks/mnist/bundled.yaml` as it is trains 2x500 units for 40 epochs.
# The commands are typed in a new folder, where `runs/` comes to be.

# %%
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import yaml
from IPython.display import Image

import ffrecur
from ffrecur.data import ImageDataModule

place = tempfile.TemporaryDirectory()
os.chdir(place.name)


def command(line):
    """Type a command, and return what it prints; an error shows what it says."""
    words = [sys.executable, "-m", *line.split()]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHORT = "--model.hidden_features=[100,100] --trainer.max_epochs 8"
for sign in (-1, 1):
    command(f"ffrecur fit --config mnist/bundled {SHORT} --model.sign {sign}")
    command("ffrecur test")  # the newest run
first, second = sorted(Path("runs").iterdir())

# %% [markdown]
# `ffrecur runs` lists them, the newest first.
# Two columns are cut out here, when it began and the folder, since they are others each time.

# %%
table = command("ffrecur runs").splitlines()
begun, epochs, folder = (table[0].index(title) for title in ("begun", "epochs", "folder"))
for line in table:
    print((line[:begun] + line[epochs:folder]).rstrip())

# %% [markdown]
# ## The files of a run
#
# `config.yaml` has every setting, `metrics.csv` the figures of each epoch, `best.ckpt` the weights with the lowest validation error.
# What begins with `test_` was left by `ffrecur test`, and `hparams.yaml` is for TensorBoard, where that is installed.

# %%
for file in sorted(first.rglob("*.*")):
    if "events" not in file.name:  # those of TensorBoard, with the time in their names
        print(file.relative_to(first))

# %% [markdown]
# ## The figures of each epoch
#
# A line of `metrics.csv` has what was known when it was written, and leaves the rest empty.
# So a column is read without its empty cells.


# %%
def column(run, name):
    """Return a column of a run's `metrics.csv`, one number for each epoch."""
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


with (first / "metrics.csv").open(newline="") as file:
    print("\n".join(next(csv.reader(file))))

# %% [markdown]
# On the left the validation error of both runs.
# On the right goodness in the training: the positive data's goes down with sign -1, and up with sign 1.

# %% alt="Validation error by epoch of both runs, and the goodness of layer 1: with sign -1 that of positive data is the lower one"
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for colour, run, sign in (("C0", first, -1), ("C1", second, 1)):
    errors = [100 * error for error in column(run, "val/error")]
    axes[0].plot(range(1, len(errors) + 1), errors, color=colour, label=f"sign {sign}")
    for kind, style in (("positive", "-"), ("negative", "--")):
        of_kind = column(run, f"train/goodness_{kind}_layer_1")
        epochs, name = range(1, len(of_kind) + 1), f"sign {sign}, {kind}"
        axes[1].plot(epochs, of_kind, style, color=colour, label=name)
axes[0].set(xlabel="epoch", ylabel="validation error, %", ylim=(0, None))
axes[1].set(xlabel="epoch", ylabel="goodness of layer 1")
for axis in axes:
    axis.legend(frameon=False, fontsize="small")
plt.show()

# %% [markdown]
# ## The figures of the test
#
# `test_results.json` has fractions, not percent.
# Goodness at a single iteration, or of a single layer, has an error too.

# %%
runs = (first, second)
results = {run: json.loads((run / "test_results.json").read_text()) for run in runs}
print(f"{'sign':20}{-1:>10}{1:>10}")
for name in ("error", "one_pass_error", "calibration_error", "num_examples"):
    print(f"{name:20}" + "".join(f"{found[name]:10.4g}" for found in results.values()))
for name in ("error_by_iteration", "error_by_layer"):
    for sign, found in zip((-1, 1), results.values(), strict=True):
        print(f"{name}, sign {sign:2}:", " ".join(f"{error:.3f}" for error in found[name]))

# %% [markdown]
# `test_confusion.csv` has the true class in a row and the predicted one in a column: these are the most frequent mistakes.

# %%
with (first / "test_confusion.csv").open(newline="") as file:
    rows = [[int(count) for count in row[1:]] for row in list(csv.reader(file))[1:]]
pairs = [(true, found) for true in range(10) for found in range(10) if true != found]
for true, found in sorted(pairs, key=lambda pair: -rows[pair[0]][pair[1]])[:4]:
    count, all_of_them = rows[true][found], sum(rows[true])
    print(f"a {true} is taken for a {found}: {count} of {all_of_them}")

# %% [markdown]
# ## The pictures
#
# `test_plots/` has five: the error by iteration, goodness, the scores of single digits, what the labels expect, and weights.

# %% alt="Goodness by iteration of both layers, as the test has drawn it: of positive data low, of negative data high"
Image(filename=str(first / "test_plots" / "goodness.png"))

# %% alt="Six digits with the scores of the ten labels over eight iterations, as the test has drawn them"
Image(filename=str(first / "test_plots" / "labels.png"))

# %% [markdown]
# ## The checkpoint
#
# `ffrecur.load` takes a run folder, and loads its best checkpoint.
# Nothing in the file can run as code.
# The net gives the same error as the file says.

# %%
data = ImageDataModule("bundled")
data.setup("test")
images, labels = data.test_set.images / 255, data.test_set.labels
nets = [ffrecur.load(run) for run in runs]
wrong = [net.classify(images) != labels for net in nets]
for run, of_net in zip(runs, wrong, strict=True):
    print(f"here {of_net.float().mean():.3f}, in the file {results[run]['error']:.3f}")

# %% [markdown]
# ## Which settings differ?
#
# The two `config.yaml` say it.


# %%
def flat(settings, name=""):
    """Yield the name and the value of each setting."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{name}{key}.")
        else:
            yield name + key, value


configs = [dict(flat(yaml.safe_load((run / "config.yaml").read_text()))) for run in runs]
for name in sorted(configs[0].keys() | configs[1].keys()):
    values = [config.get(name) for config in configs]
    if values[0] != values[1]:
        print(name, *values)

# %% [markdown]
# ## Is the one better?
#
# Both nets saw the same 500 digits, so only those count that one of them gets wrong and the other right.
# If both were equally good, such a digit would be a fair coin, and the difference of the two counts has their sum as its variance.

# %%
only_first = (wrong[0] & ~wrong[1]).sum().item()
only_second = (wrong[1] & ~wrong[0]).sum().item()
difference = 100 * (only_second - only_first) / len(labels)
standard_error = 100 * (only_first + only_second) ** 0.5 / len(labels)
print(f"wrong with sign -1 only: {only_first}, with sign 1 only: {only_second}")
print(f"sign 1 minus sign -1: {difference:+.1f} points")
print(f"standard error: {standard_error:.1f} points")

# %% [markdown]
# That is the chance of the test digits alone.
# The chance of the training, of its first weights and its order, needs several seeds: `--seed_everything 1` and so on.

# %% [markdown]
# ## Try next
#
# * Continue a run with `ffrecur fit --ckpt_path last --trainer.max_epochs 20`, and read its `metrics.csv` again.
# * Type `ffrecur fit --config text/bundled`, and look at `test_samples.txt` after `ffrecur test`.
# * `ffrecur report` makes one page of a run's figures and pictures.
#
# [Command line](../command_line.md) has all files, commands and settings of runs.
# [Reliability](../reliability.md) says what a continued run promises.
