"""Negative labels of your own: a function of the head's logits and the true labels, with one or more for each image.

A loop takes any function; as a `LabelNegatives` the command line takes it too, by its class path.
"""

import torch
from plain_loop import new_net, train

from ffrecur.negatives import LabelNegatives, hard_labels, uniform_labels


class Hardest(LabelNegatives):
    """The wrong labels that the head finds most likely, without chance; `hard_labels` draws them instead.

    Args:
        count: number of negatives an image, from 1 to C - 1; each weighs `1 / count`.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def __call__(
        self, logits_BC: torch.Tensor, labels_B: torch.Tensor, noise_BC: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return wrong labels `(B, count)`."""
        wrong_BC = logits_BC.scatter(1, labels_B[:, None], -torch.inf)
        return wrong_BC.topk(self.count, dim=1).indices


def main(steps=300):
    """Compare the sources of negative labels: drawn in two ways, and chosen."""
    sources = {"uniform": uniform_labels, "hard": hard_labels, "the hardest": Hardest(1), "the 3 hardest": Hardest(3)}
    for name, negatives in sources.items():
        print(f"{name}: test error {train(new_net(), steps, negatives):.1f} %")


if __name__ == "__main__":
    main()
