# %% [markdown]
# # A model that dreams
#
# A character model that writes on by itself dreams: it reads what it has just written, and no real text any more.
# You see what it expects next, how temperature changes what it writes, and whether its layers know their own dreams from real text.
# Two small models are compared: one learns from text with a wrong last character, the other from its own dreams.

# %% [markdown]
# ## The text
#
# 300 short fables come with the package.
# A window has ten characters; the model predicts the one after it.

# %%
import math

import matplotlib.pyplot as plt
import torch

import ffrecur
from ffrecur.core.learning import Learning
from ffrecur.data import CorpusDataModule
from ffrecur.negatives import hard_labels

torch.manual_seed(0)
data = CorpusDataModule("bundled")
data.setup("fit")
new_net = ffrecur.CharNet(window=10, hidden_features=(300, 300))


def cut(documents, length):
    """Return every run of so many characters of each document, as numbers, (M, length)."""
    encoded = map(new_net.encode, documents)
    return torch.cat(
        [numbers.unfold(0, length, 1) for numbers in encoded if len(numbers) >= length]
    )


train, test = cut(data.train_documents, 15), cut(data.test_documents, 15)
print(len(train), "places to learn from,", len(test), "to test with")
print(repr(new_net.decode(test[0])))

# %% [markdown]
# ## A dream
#
# A dream takes four lines: predict, draw, append, and again.


# %%
@torch.no_grad()
def dream(net, windows, steps, temperature=1.0):
    """Let the net write on from each window; return the text with what was there before, (B, W + steps)."""
    text = windows
    for _ in range(steps):
        probabilities = torch.softmax(
            net.logits(text[:, -net.window :]) / temperature, dim=1
        )
        text = torch.cat([text, torch.multinomial(probabilities, 1)], dim=1)
    return text


def end_with(contexts, last):
    """Return the windows one place on, which end with the given characters."""
    return torch.cat([contexts[:, 1:], last[:, None]], dim=1)


# %% [markdown]
# ## Two ways to learn
#
# Positive data is real: ten characters as they follow one another in a fable.
# The first model's negative data is the same window with a wrong last character, drawn from its own prediction.
# The second model's negative data is **dreamt**: it has written the last one to five characters itself.

# %%
STEPS = 2000


def train_net(with_dreams):
    """Train a net for some steps of 100 windows."""
    torch.manual_seed(0)
    net = ffrecur.CharNet(window=10, hidden_features=(300, 300))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    learning = Learning(iterations=1, objective=ffrecur.Paired(temperature=0.1))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, 2 - 2 * step / STEPS)  # constant, then down to 0
        text = train[torch.randint(len(train), (100,))]  # (100, 15)
        contexts, following = text[:, 4:14], text[:, 14]
        if with_dreams:
            depth = int(torch.randint(1, 6, ()))
            negatives = dream(net, text[:, 5 - depth : 15 - depth], depth)[:, -10:]
        else:
            negatives = end_with(contexts, hard_labels(net.logits(contexts), following))
        optimizer.zero_grad()
        net.local_learning(contexts, following, negatives, learning).loss.backward()
        optimizer.step()
    return net


nets = {"wrong characters": train_net(False), "dreams": train_net(True)}

# %% [markdown]
# The softmax predicts the next character, and goodness predicts it too: real text has more of it.
# `score` puts both together, with a weight for goodness.
# 5 is what theory says for two layers and a temperature of 0.1, and `noise` says what the negative characters were drawn from.

# %%
nets["wrong characters"].noise, nets["dreams"].noise = "masked_head", "head"
for name, net in nets.items():
    for weight in (0, 5):
        net.goodness_weight = weight
        nats = torch.nn.functional.cross_entropy(
            net.score(test[:, 4:14]), test[:, 14]
        ).item()
        bits = nats / math.log(2)
        print(f"{name}, weight of goodness {weight}: {bits:.2f} bits per character")

# %% [markdown]
# ## What comes next?
#
# The probabilities of the next character after three beginnings, by the model that learned from wrong characters.
# The softmax has not learned yet that a `u` follows a `q`; goodness knows it.

# %% alt="Bars of the probabilities of the next character after three beginnings, by the softmax alone and with goodness"
net = nets["wrong characters"]
places = torch.arange(30)
symbols = ["␣" if symbol == " " else symbol for symbol in net.decode(places)]
beginnings = ("the fox and the q", "once upon a th", "the old man said to the ")
figure, axes = plt.subplots(3, 1, figsize=(7, 5.4), layout="constrained", sharey=True)
for axis, beginning in zip(axes, beginnings, strict=True):
    window = net.encode(beginning)[-10:][None]
    alone = torch.softmax(net.logits(window)[0].detach(), dim=0)
    together = torch.softmax(net.score(window)[0], dim=0)
    axis.bar(places, alone, width=0.4, label="softmax alone")
    axis.bar(places + 0.4, together, width=0.4, label="with goodness")
    axis.set(
        xticks=places + 0.2, xticklabels=symbols, title=f"after '{net.decode(window[0])}'"
    )
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Temperature
#
# The logits are divided by the temperature before a character is drawn.
# At 0.2 the model repeats the likeliest words; at 2 it spells at random.

# %%
for temperature in (0.2, 0.6, 1.0, 2.0):
    written = net.generate(
        "the fox ran ", 60, temperature, generator=torch.Generator().manual_seed(1)
    )
    print(f"{temperature}: the fox ran {written}")

# %% [markdown]
# ## Does it know its dreams?
#
# Four kinds of windows from fables that the nets have not seen: real ones, those with one wrong character, those
# that are dreamt from the first character to the last, and noise.

# %% alt="Goodness of four kinds of windows, a histogram for each layer, of the net that learned from wrong characters"
torch.manual_seed(2)
some = test[torch.randperm(len(test))[:2000]]


def kinds_for(net):
    """Return windows of each kind, (2000, 10)."""
    contexts, following = some[:, 4:14], some[:, 14]
    return {
        "real": some[:, 5:],
        "one wrong": end_with(contexts, hard_labels(net.logits(contexts), following)),
        "dreamt": dream(net, some[:, :10], 10)[:, -10:],
        "noise": torch.randint(30, (2000, 10)),
    }


windows = {name: kinds_for(net) for name, net in nets.items()}
with torch.no_grad():
    goodness = {
        name: {kind: net.goodness(of_kind) for kind, of_kind in windows[name].items()}
        for name, net in nets.items()
    }


def show_goodness(name):
    """Draw the goodness of the four kinds of windows by layer."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    for layer, axis in enumerate(axes):
        highest = max(of_kind[layer].quantile(0.995) for of_kind in goodness[name].values())
        bins = torch.linspace(0, highest.item(), 50)
        for kind, of_kind in goodness[name].items():
            axis.hist(of_kind[layer], bins, histtype="step", lw=1.5, label=kind)
        axis.set(title=f"layer {layer + 1}, learned from {name}", xlabel="goodness")
        axis.set_yticks([])
    axes[0].legend(frameon=False, loc="upper left")
    plt.show()


show_goodness("wrong characters")

# %% alt="The same of the net that learned from dreams"
show_goodness("dreams")

# %% [markdown]
# ## How well: the area under the ROC curve
#
# It is the share of pairs, one real window and one other, in which the real one has the higher goodness.
# 1 is perfect, and 0.5 is chance.


# %%
def auroc(real, other):
    """Return the share of pairs in which the first is higher, equal ones counted half."""
    difference = real[:, None] - other
    return ((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()).item()


others = ("one wrong", "dreamt", "noise")
print(f"{'':28}" + "".join(f"{kind:>10}" for kind in others))
for name, of_kinds in goodness.items():
    for layer in range(2):
        values = [auroc(of_kinds["real"][layer], of_kinds[kind][layer]) for kind in others]
        row = "".join(f"{value:10.3f}" for value in values)
        print(f"{name + f', layer {layer + 1}':28}{row}")

# %% [markdown]
# In layer 2 each net is better at what it learned from: the first at single wrong characters, the second at dreams.
# Dreams are harder to tell from real text than noise, since each of their characters is a likely one.

# %% [markdown]
# ## Where a dream begins
#
# 300 texts are real for 20 characters, and then go on as a dream, or as noise.
# Goodness falls where the real text ends, and stays low.

# %% alt="Goodness of both layers together along a text, for two nets: it falls within some characters after the dream begins"
long_enough = cut(data.test_documents, 50)
real = long_enough[torch.randperm(len(long_enough))[:300]]
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained", sharey=True)
for axis, (name, net) in zip(axes, nets.items(), strict=True):
    torch.manual_seed(3)
    begun, window = real[:, :10], real[:, 10:20]
    texts = {
        "real": real,
        "dream, temperature 0.6": torch.cat([begun, dream(net, window, 30, 0.6)], dim=1),
        "dream, temperature 1": torch.cat([begun, dream(net, window, 30)], dim=1),
        "noise": torch.cat([begun, window, torch.randint(30, (300, 30))], dim=1),
    }
    for kind, text in texts.items():
        windows_along = text.unfold(
            1, 10, 1
        )  # (300, 41, 10), ending at character 10, 11, ...
        with torch.no_grad():
            along = net.goodness(windows_along.flatten(0, 1)).sum(dim=0)  # of both layers
        axis.plot(range(10, 51), along.view(300, 41).mean(dim=0), label=kind)
    axis.axvline(20, color="0.5", ls=":")
    axis.set(xlabel="character", title=f"learned from {name}")
axes[0].set_ylabel("goodness, mean of 300 texts")
axes[0].legend(frameon=False, fontsize="small")
plt.show()

# %% [markdown]
# ## Try next
#
# * Let the second model dream at temperature 1.5 while it learns: its negative data is easier then.
# * Set `net.goodness_weight = 0`, so that the softmax alone decides, and compare what `net.generate` writes.
# * Ask `ffrecur.load("museum/fables")`, a larger model that comes with the package, whether it knows its dreams.
#
# [Characters of text](../systems/characters.md) has the same comparison in full: longer trainings, more kinds of negative data, several seeds.
# [Text](../text.md) has the commands, and your own text.
