"""Forward-Forward in a plain PyTorch loop: no Trainer, any optimiser, on the 5,000 digits that come with a package.

The other examples train with `train` from here, from the same seed, and change one thing each. There are 500 test digits: an
error of 8 % has a standard error of 1.2 points, so that small differences prove nothing.
"""

from functools import cache

import torch

import ffrecur
from ffrecur.data import ImageDataModule
from ffrecur.negatives import hard_labels


@cache
def digits(split):
    """Return images `(N, 784)` in [0, 1] and labels `(N,)` of "train", "validation" or "test"."""
    data = ImageDataModule("bundled")
    data.setup("fit")
    part = getattr(data, f"{split}_set")
    return part.images / 255, part.labels


def new_net(hidden_features=(200, 200), **settings):
    """Return a net with the same first weights each time."""
    torch.manual_seed(0)
    return ffrecur.RecurrentNet(784, hidden_features, 10, sign=-1, **settings)


def train(net, steps, negatives=hard_labels, between=lambda step: None, **learning):
    """Train for some steps, with the same batches and draws each time; return the error on the test digits, in percent."""
    images, labels = digits("train")
    order = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # `hard_labels` draws
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(steps):
        between(step)
        batch = torch.randint(len(labels), (50,), generator=order)
        optimizer.zero_grad()
        net.local_loss(images[batch], labels[batch], negatives, iterations=6, **learning).backward()
        optimizer.step()
    images, labels = digits("test")
    return 100 * (net.classify(images) != labels).float().mean().item()


def main(steps=300):
    """Train one net; compare it with itself before training."""
    net = new_net()
    print(f"test error before training: {train(net, 0):.1f} %")
    print(f"after {steps} steps of 50 digits: {train(net, steps):.1f} %")


if __name__ == "__main__":
    main()
