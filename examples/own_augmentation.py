"""A change of the training images of your own: anew each epoch, by random numbers that each image is given.

The command line takes it by its class path, as one of the list `data.augment`; a loop gets its batches from the data module.
"""

import torch
from plain_loop import digits, new_net

from ffrecur.data import Augmentation, ImageDataModule, Shift
from ffrecur.negatives import hard_labels


class Erase(Augmentation):
    """A square of each image, at a place of its own, is black.

    Args:
        size: pixels of a side, at most those of the images.
    """

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def numbers(self, image_shape):
        """Return how many random numbers an image takes: where the square begins, down and to the right."""
        return 2

    def __call__(self, images_BD, noise_B2, image_shape):
        """Return the changed images `(B, D)`."""
        height, width = image_shape[:2]
        top_B1, left_B1 = (noise_B2 * (torch.tensor([height, width]) - self.size + 1)).long().split(1, dim=1)
        down_BH, right_BW = torch.arange(height) - top_B1, torch.arange(width) - left_B1
        in_rows_BH, in_columns_BW = (down_BH >= 0) & (down_BH < self.size), (right_BW >= 0) & (right_BW < self.size)
        erased_BHW1 = (in_rows_BH[:, :, None] & in_columns_BW[:, None, :])[..., None]
        return images_BD.unflatten(1, (height, width, -1)).masked_fill(erased_BHW1, 0).flatten(1)


def train(augment, steps):
    """Train a new net for some steps; return the error on the test digits, which are as they are, in percent."""
    data = ImageDataModule("bundled", batch_size=50, augment=augment)
    data.setup("fit")
    net, loader = new_net(), data.train_dataloader()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(-(-steps // len(loader))):
        loader.set_epoch(epoch)
        for _, (images, labels) in zip(range(steps - epoch * len(loader)), loader, strict=False):
            optimizer.zero_grad()
            net.local_loss(images / 255, labels, hard_labels, iterations=6).backward()
            optimizer.step()
    images, labels = digits("test")
    return 100 * (net.classify(images) != labels).float().mean().item()


def main(steps=300):
    """Compare changes of the training images; they pay where training is long."""
    for name, augment in {"none": [], "shifted": [Shift(2)], "a square erased": [Erase(8)]}.items():
        print(f"{name}: test error {train(augment, steps):.1f} %")


if __name__ == "__main__":
    main()
