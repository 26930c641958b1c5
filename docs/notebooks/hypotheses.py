# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Watching hypotheses compete
#
# A recurrent net looks at one image for several iterations, once with each of the ten labels clamped on top.
# Each label is a hypothesis, and its **score** says how well the hypothesis and the image fit together.
# You see the scores develop for a clear digit, for a doubtful one, for two digits in one image, and for half of an image.

# %% [markdown]
# ## A trained net
#
# This trains a small one, with the loop of the first notebook.

# %%
import matplotlib.pyplot as plt
import torch

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.negatives import hard_labels

torch.manual_seed(0)
data = ImageDataModule("bundled")
data.setup("fit")
images, labels = data.train_set.images / 255, data.train_set.labels
test_images, test_labels = data.test_set.images / 255, data.test_set.labels

net = ffrecur.RecurrentNet(in_features=784, hidden_features=(200, 200), num_classes=10, sign=-1)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(10):
    for batch in torch.randperm(len(labels)).split(50):
        optimizer.zero_grad()
        net.local_loss(images[batch], labels[batch], hard_labels, iterations=8).backward()
        optimizer.step()
error = 100 * (net.classify(test_images) != test_labels).float().mean().item()
print(f"error on {len(test_labels)} digits that it has not seen: {error:.1f} %")

# %% [markdown]
# ## A clear digit
#
# `label_goodness` returns the goodness of every iteration and layer under every label.
# The score is its sum over the layers, times the net's sign: here low goodness is a high score.
# The shaded iterations, 3 to 5, decide.

# %%
ITERATIONS = 12


def scores_of(image):
    """Return the scores of the ten labels at each iteration, (T, 10)."""
    return net.sign * net.label_goodness(image[None], iterations=ITERATIONS).sum(dim=1)[:, 0]


def show_scores(axis, scores, named, title):
    """Draw the scores over the iterations; the labels in `named` have colours."""
    for label in range(10):
        colour = f"C{named.index(label)}" if label in named else "0.8"
        axis.plot(range(1, len(scores) + 1), scores[:, label], color=colour, lw=2 if label in named else 1, zorder=2)
        if label in named:
            axis.plot([], [], color=colour, lw=2, label=f"label {label}")
    axis.axvspan(3, 5, color="0.5", alpha=0.15, lw=0)
    axis.set(xlabel="iteration", title=title)
    axis.legend(frameon=False, loc="lower right", fontsize="small")


def show(panels):
    """Draw images with the scores of their labels: (image, named labels, title) each."""
    figure, axes = plt.subplots(2, len(panels), figsize=(2.7 * len(panels), 4.4), layout="constrained", height_ratios=(1, 1.5))
    for (picture, axis), (image, named, title) in zip(axes.T, panels, strict=True):
        picture.imshow(image.view(28, 28), cmap="gray")
        picture.axis("off")
        show_scores(axis, scores_of(image), named, title)
    axes[1, 0].set_ylabel("score")
    plt.show()


# %% [markdown]
# The three test digits whose answer is the most certain: their best label leads by the most.

# %% alt="Three clear digits with their scores: after two iterations the true label is far above all others"
scores = net.score(test_images)  # (500, 10)
best_two = scores.topk(2, dim=1)
lead = best_two.values[:, 0] - best_two.values[:, 1]
clear = lead.argsort(descending=True)[:3]
show([(test_images[i], best_two.indices[i][:1].tolist(), f"a {test_labels[i]}") for i in clear])
