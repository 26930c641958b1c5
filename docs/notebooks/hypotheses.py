# %% [markdown]
# # Watching hypotheses compete
#
# A recurrent net looks at one image for several iterations, once with each of the ten labels clamped on top.
# Each label is a hypothesis, and its **score** says how well the hypothesis and the image fit together.
# You see the scores develop for a clear digit, for a doubtful one, for two digits in one image, and for half of an image.

# %% [markdown]
# ## A trained net
#
# [Trained nets](../museum.md) come with the package.
# This one has two layers of 500 units, and learned from 4,000 of the digits by `ffrecur fit --config mnist/bundled`.

# %%
import matplotlib.pyplot as plt
import torch

import ffrecur
from ffrecur.data import ImageDataModule

net = ffrecur.load("museum/digits")
print(net)

# %% [markdown]
# 500 other digits test it.

# %%
data = ImageDataModule("bundled")
data.setup("fit")
images = data.train_set.images / 255  # (4000, 784)
test_images, test_labels = data.test_set.images / 255, data.test_set.labels
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
    goodness = net.label_goodness(image[None], iterations=ITERATIONS)  # (T, L, 1, 10)
    return net.sign * goodness.sum(dim=1)[:, 0]


def show_scores(axis, scores, named, title):
    """Draw the scores over the iterations; the labels in `named` have colours."""
    iterations = range(1, len(scores) + 1)
    axis.plot(iterations, scores, color="0.8", lw=1)
    for label in named:
        axis.plot(iterations, scores[:, label], lw=2, label=str(label))
    axis.axvspan(3, 5, color="0.5", alpha=0.15, lw=0)
    low, high = scores.min(), scores.max()  # with some room below for the legend
    axis.set(
        xlabel="iteration",
        title=title,
        xticks=range(2, len(scores) + 1, 2),
        ylim=(high - 1.35 * (high - low), high + 0.1),
    )
    axis.legend(frameon=False, loc="lower center", ncols=3, handlelength=1, columnspacing=1)


def show(panels):
    """Draw images with the scores of their labels: (image, named labels, title) each."""
    figure, axes = plt.subplots(
        2,
        len(panels),
        figsize=(2.4 * len(panels), 4.2),
        layout="constrained",
        height_ratios=(1, 1.5),
    )
    for (picture, axis), (image, named, title) in zip(axes.T, panels, strict=True):
        picture.imshow(image.view(28, 28), cmap="gray")
        picture.axis("off")
        show_scores(axis, scores_of(image), named, title)
    axes[1, 0].set_ylabel("score")
    plt.show()


# %% [markdown]
# The three test digits whose answer is the most certain: their best label, in colour, leads by the most.

# %% alt="Three clear digits with their scores: after two iterations the true label is far above all others"
scores = net.score(test_images)  # (500, 10)
best_two = scores.topk(2, dim=1)
lead = best_two.values[:, 0] - best_two.values[:, 1]
clear = lead.argsort(descending=True)[:3]
named = best_two.indices.tolist()
show([(test_images[i], named[i][:1], f"a {test_labels[i]}") for i in clear])

# %% [markdown]
# ## A doubtful digit
#
# The three digits with the smallest lead.
# Here the two best labels, in colour, stay close together, and one may overtake the other.

# %% alt="Three doubtful digits with their scores: the two best labels lie close together in the shaded iterations"
doubtful = lead.argsort()[:3]
show([(test_images[i], named[i], f"labelled {test_labels[i]}") for i in doubtful])

# %% [markdown]
# ## Two digits in one image
#
# An image that is partly a three and partly a five: both hypotheses have something to say for themselves.
# The share of the five grows from left to right.

# %% alt="A three that turns into a five in three steps: the score of label 3 falls and that of label 5 rises"
clearest = lead.argsort(descending=True)
three = next(test_images[i] for i in clearest if test_labels[i] == 3)
five = next(test_images[i] for i in clearest if test_labels[i] == 5)


def blend(share):
    """Return the image that is a three, and by this share a five."""
    return (1 - share) * three + share * five


show([(blend(share), [3, 5], f"{share:.0%} five") for share in (0.25, 0.5, 0.75)])

# %% [markdown]
# The scores at all shares show where the answer changes.
# In between, the leader scores lower than at either end: neither label explains the image as a whole.

# %% alt="Scores against the share of the five: label 3 leads at first, label 5 at last, and their curves cross in between"
shares = torch.linspace(0, 1, 41)
blended = net.score(torch.stack([blend(share) for share in shares]))  # (41, 10)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(shares, blended, color="0.8", lw=1)
for place, label in enumerate((3, 5)):
    axis.plot(shares, blended[:, label], color=f"C{place}", lw=2, label=f"label {label}")
axis.set(xlabel="share of the five", ylabel="score")
axis.legend(frameon=False)
plt.show()
leader = blended.argmax(dim=1)
print("answers from left to right:", leader.unique_consecutive().tolist())

# %% [markdown]
# ## What a hypothesis expects to see
#
# `expectation` follows a label's top-down drive back to the pixels of a given image.
# Red is what the label expects more than the others do, blue what it expects less.
# Pixels that never change have the random weights of the beginning, so each pixel is weighted by how much it changes.
# At the same blended image the two labels expect different strokes.

# %% alt="A blend of a three and a five; label 3 expects ink at the upper right, label 5 less there"
half = blend(0.5)
expected = net.expectation(half.expand(2, -1), torch.tensor([3, 5]))  # (2, 784)
expected = expected * images.std(dim=0)
figure, axes = plt.subplots(1, 3, figsize=(7, 2.5), layout="constrained")
axes[0].imshow(half.view(28, 28), cmap="gray")
axes[0].set_title("the image")
limit = expected.abs().quantile(0.99)
for axis, picture, label in zip(axes[1:], expected, (3, 5), strict=True):
    axis.imshow(picture.view(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(f"label {label} expects")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Half of an image
#
# The lower half of every test digit is hidden, or the upper half.
# The error says how much is lost, and the scores which hypotheses are still possible.

# %%
upper, lower = test_images.clone(), test_images.clone()
upper[:, 392:] = 0  # the lower half is hidden
lower[:, :392] = 0
for name, given in (("whole", test_images), ("upper half", upper), ("lower half", lower)):
    wrong = net.classify(given) != test_labels
    print(f"{name}: error {100 * wrong.float().mean():.1f} %")

# %% [markdown]
# The clearest of the digits whose lower half alone is taken for another digit.

# %% alt="A clear digit whole, its upper half and its lower half, with scores: for the lower half another label leads at first"
chosen = next(i for i in clearest if net.classify(lower[i][None]) != test_labels[i])
true = test_labels[chosen].item()
best = net.score(lower[chosen][None])[0].topk(3).indices.tolist()
rivals = [label for label in best if label != true]
parts = (("whole", test_images), ("upper half", upper), ("lower half", lower))
show([(given[chosen], [true, *rivals[:2]], f"a {true}: {title}") for title, given in parts])

# %% [markdown]
# ## Damping
#
# A state moves only part of its way at each iteration: `damping` is the share of the old state that stays.
# It may be set at any time, and after the training too.

# %% alt="Scores of one doubtful digit with four dampings: more damping makes the curves smoother and later"
i = doubtful[0]
usual = net.damping
figure, axes = plt.subplots(2, 2, figsize=(7, 5), layout="constrained")
errors = {}
for axis, damping in zip(axes.flat, (0.0, 0.3, 0.6, 0.9), strict=True):
    net.damping = damping
    show_scores(axis, scores_of(test_images[i]), named[i], f"damping {damping}")
    goodness = net.label_goodness(test_images, iterations=ITERATIONS)  # (T, L, 500, 10)
    answers = (net.sign * goodness.sum(dim=1)).argmax(dim=-1)  # (T, 500)
    errors[damping] = (answers != test_labels).float().mean(dim=1)
axes[0, 0].set_ylabel("score")
plt.show()
net.damping = usual

# %% [markdown]
# The error at single iterations, on all 500 test digits, with the same four dampings.
# With little damping the error grows again after some iterations; with more it does not.

# %% alt="Error against the iteration for four dampings: with damping 0 and 0.3 it grows again, with more it does not"
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for damping, of_iterations in errors.items():
    axis.plot(range(1, ITERATIONS + 1), 100 * of_iterations, label=f"damping {damping}")
axis.set(xlabel="iteration", ylabel="error, %", ylim=(0, 15))
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Try next
#
# * Blend other digits: a four and a nine, or a one and a zero, which have little in common.
# * Hide a square in the middle instead of a half, and move it.
# * Train a net with `--model.iterations 3`, load its run folder, and look at the scores after iteration 3: nothing was learned there.
#
# [Recurrent top-down net](../systems/recurrent.md) has the equations and the figures on the full MNIST.
# [Use from Python](../python.md) lists what else a net tells.
