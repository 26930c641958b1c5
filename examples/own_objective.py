"""An objective of your own: the positive's goodness shall exceed each negative's by a margin, and then it is enough.

`loss` is all that is needed: its slopes follow by autograd. It is given signed goodness, which shall be high on positive data
whatever the sign of the net is.
"""

from dataclasses import dataclass

import torch
from plain_loop import new_net, train

import ffrecur


@dataclass(frozen=True)
class Hinge(ffrecur.Objective):
    """`mean over negatives of max(0, margin - (positive - negative))`.

    Args:
        margin: difference of goodness that is enough, greater than 0.
    """

    margin: float = 0.3

    def loss(self, positive: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """Return `(...)` of `(...)` and `(M, ...)`: the M negatives of a case come first."""
        return torch.relu(self.margin - (positive - negatives)).mean(dim=0)


def main(steps=300):
    """Compare it with the objectives of the package."""
    for objective in (ffrecur.Logistic(), ffrecur.Paired(), ffrecur.Softmax(), Hinge()):
        error = train(new_net(), steps, objective=objective)
        print(f"{type(objective).__name__}: test error {error:.1f} %")


if __name__ == "__main__":
    main()
