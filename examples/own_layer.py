"""A layer of your own: any `torch.nn.Module` in place of a linear one, here a convolution that reads the image.

It maps `(B, N)` to the drives `(B, H)` of its layer; its gradient is that of its own layer's loss, by autograd within the layer.
"""

from plain_loop import new_net, train
from torch import nn

CHANNELS, PLACES = 8, 8 * 8  # maps, and the places in each: (28 - 7) / 3 + 1 = 8 a side


def convolution() -> nn.Module:
    """Return a module from 784 pixels to 512 drives; weights from N(0, 1/fan_in), biases 0, as in linear layers."""
    layer = nn.Conv2d(1, CHANNELS, kernel_size=7, stride=3)
    nn.init.normal_(layer.weight, std=1 / 7)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), layer, nn.Flatten())


def main(steps=300):
    """Compare the convolution with a linear layer of as many units."""
    widths = (CHANNELS * PLACES, 200)
    linear, local = new_net(hidden_features=widths), new_net(hidden_features=widths)
    local.bottom_up[0] = convolution()
    for name, net in (("linear", linear), ("convolution", local)):
        count = sum(parameter.numel() for parameter in net.bottom_up[0].parameters())
        print(f"{name}: {count:,} parameters read the image, test error {train(net, steps):.1f} %")


if __name__ == "__main__":
    main()
