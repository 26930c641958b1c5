"""A goodness of your own: the mean square of the most active units of a layer, in place of all.

`value` is all that is needed: its gradient follows by autograd, within the layer.
"""

from dataclasses import dataclass

import torch
from plain_loop import new_net, train

import ffrecur


@dataclass(frozen=True)
class TopK(ffrecur.Goodness):
    """Mean square of the most active units.

    Args:
        share: their share of the layer, greater than 0 and at most 1.
    """

    share: float = 0.5

    def value(self, state_BH: torch.Tensor) -> torch.Tensor:
        """Return `(B, 1)`: one value for the layer as a whole."""
        count = max(1, round(self.share * state_BH.shape[-1]))
        return state_BH.square().topk(count, dim=-1).values.mean(dim=-1, keepdim=True)


def main(steps=300):
    """Compare it with the mean square of all units, which the share 1 is too."""
    for goodness in (ffrecur.MeanSquare(), TopK(share=0.5), TopK(share=0.1)):
        error = train(new_net(goodness=goodness), steps, objective="paired")
        print(f"{goodness}: test error {error:.1f} %")


if __name__ == "__main__":
    main()
