"""The nets that the laws hold for. A new family of nets adds a line to `NETS`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from family import Family
from making import character_net, feed_forward_net, recurrent_net, stream_net, stream_state
from torch import Tensor, nn

from ffrecur.core.local import LocalLinear
from ffrecur.core.regions import RegionMeanSquare
from ffrecur.nets.character import LastSymbols
from ffrecur.nets.stream import StreamNet
from ffrecur.nets.streaming import StreamState


class Images(Family):
    """Recurrent nets."""

    def net(self, **settings: Any) -> Any:
        """See `Family.net`."""
        settings = {"hidden": (6, 4, 8), "classes": self.answers, **self.settings, **settings}
        module = settings.pop("module", None)
        net = recurrent_net(**settings)
        if module is not None:
            net.bottom_up[1] = module().double()
        nn.init.normal_(net.head.weight)
        return net

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`."""
        return torch.randn(count, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def masks(
        self, net: Any, count: int, rates: tuple[float, float], generator: torch.Generator
    ) -> list[Tensor | None]:
        """See `Family.masks`."""
        return net.dropout_masks(count, *rates, generator, head_dropout=rates[1])

    def states(self, net: Any, inputs: Tensor) -> Sequence[Tensor]:
        """See `Family.states`."""
        return net.bottom_up_pass(inputs)

    def judged(self, net: Any, inputs: Tensor) -> Tensor:
        """See `Family.judged`."""
        return net.label_goodness(inputs, self.iterations)

    @property
    def scoring(self) -> dict[str, Any]:
        """See `Family.scoring`."""
        return {"window": (2, self.iterations)}


class Videos(Images):
    """Recurrent nets that see another frame in every iteration."""

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`; `(T, B, D)`."""
        shape = (self.iterations, count, 4)
        return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def some(self, inputs: Tensor, cases: Sequence[int]) -> Tensor:
        """See `Family.some`."""
        return inputs[:, cases]


class Maps(Images):
    """Recurrent nets whose layers are maps, of images in colour."""

    def net(self, **settings: Any) -> Any:
        """See `Family.net`; where channels are normalised, by statistics that are drawn."""
        net = super().net(**settings)
        if net.statistics is not None:
            net.statistics.learn(torch.rand(2, net.in_features), channels=3)
        return net

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`."""
        size = math.prod(self.settings["in_shape"])
        return torch.randn(count, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class VideosOfMaps(Maps):
    """The same where they see another frame in every iteration."""

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`; `(T, B, D)`."""
        return super().inputs(self.iterations * count).unflatten(0, (self.iterations, count))

    def some(self, inputs: Tensor, cases: Sequence[int]) -> Tensor:
        """See `Family.some`."""
        return inputs[:, cases]


class Text(Family):
    """Character models."""

    def net(self, **settings: Any) -> Any:
        """See `Family.net`."""
        return character_net(
            **{"alphabet": "abcdefg"[: self.answers], "hidden": (6, 4, 8), **self.settings, **settings}
        )

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`."""
        return torch.randint(self.answers, (count, 3), generator=torch.Generator().manual_seed(5))

    def negatives(self, inputs: Tensor, wrong_BK: Tensor) -> Any:
        """See `Family.negatives`."""
        return LastSymbols(wrong_BK) if self.several else inputs.roll(1, dims=1)

    def masks(
        self, net: Any, count: int, rates: tuple[float, float], generator: torch.Generator
    ) -> list[Tensor | None]:
        """See `Family.masks`."""
        return net.dropout_masks(count, rates[1], generator)

    def states(self, net: Any, inputs: Tensor) -> Sequence[Tensor]:
        """See `Family.states`."""
        return [net.states(inputs)[layer - 1] for layer in net.head_layers]

    def judged(self, net: Any, inputs: Tensor) -> Tensor:
        """See `Family.judged`."""
        return net.candidate_goodness(net.prepare(), inputs)[None]


class FlatStream(StreamNet):
    """A streaming character model whose state is one tensor `(B, F)`: the laws take cases of a tensor."""

    def state_of(self, flat_BF: Tensor) -> StreamState:
        """The state: hidden states side by side, then memories."""
        like = self.first_state(len(flat_BF))
        parts = flat_BF.split([each[0].numel() for each in (*like.hidden, *like.memory)], dim=1)
        shaped = tuple(part.reshape(each.shape) for part, each in zip(parts, (*like.hidden, *like.memory), strict=True))
        return StreamState(shaped[: len(like.hidden)], shaped[len(like.hidden) :])

    def begin(self, inputs: Any, masks: Any, dtype: torch.dtype) -> Any:
        """See `StreamNet.begin`."""
        return super().begin(self.state_of(inputs), masks, dtype)

    def plain_logits(self, inputs: Any, masks: Any = None) -> Tensor:
        """See `StreamNet.plain_logits`."""
        return super().plain_logits(self.state_of(inputs) if isinstance(inputs, Tensor) else inputs, masks)

    def score(self, state: Any) -> Tensor:
        """See `StreamNet.score`."""
        return super().score(self.state_of(state))


class Streaming(Family):
    """Streaming character models; the input of a case is the state of its stream."""

    def net(self, **settings: Any) -> Any:
        """See `Family.net`."""
        settings = {"hidden": (6, 4, 8), "iterations": self.iterations, **self.settings, **settings}
        return stream_net("abcdefg"[: self.answers], kind=FlatStream, **settings)

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`."""
        state = stream_state(self.net(), count)
        return torch.cat([each.flatten(1) for each in (*state.hidden, *state.memory)], dim=1)

    def masks(
        self, net: Any, count: int, rates: tuple[float, float], generator: torch.Generator
    ) -> list[Tensor | None]:
        """See `Family.masks`."""
        return net.dropout_masks(count, rates[1], generator)

    def states(self, net: Any, inputs: Tensor) -> Sequence[Tensor]:
        """See `Family.states`."""
        return net.state_of(inputs).hidden

    def judged(self, net: Any, inputs: Tensor) -> Tensor:
        """See `Family.judged`."""
        symbols_V1, prepared = torch.arange(self.answers, device=inputs.device)[:, None], net.prepare()
        wiring = net.wired(prepared, net.state_of(inputs), symbols_V1)
        return net.goodness_of_kinds(wiring, prepared.dtype).transpose(-1, -2)


class InTheInput(Family):
    """Feed-forward nets with the label in the input."""

    def net(self, **settings: Any) -> Any:
        """See `Family.net`."""
        settings = {"hidden": (6, 4, 8), "classes": self.answers, **self.settings, **settings}
        if "layers" in settings:
            del settings["hidden"]
            settings["layers"] = settings["layers"]()
        return feed_forward_net(**settings)

    def inputs(self, count: int) -> Tensor:
        """See `Family.inputs`."""
        return torch.randn(count, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def masks(
        self, net: Any, count: int, rates: tuple[float, float], generator: torch.Generator
    ) -> list[Tensor | None]:
        """See `Family.masks`."""
        return net.dropout_masks(count, *rates, generator, head_dropout=rates[1])

    def states(self, net: Any, inputs: Tensor) -> Sequence[Tensor]:
        """See `Family.states`."""
        return [net.states(inputs)[layer - 1] for layer in net.head_layers]

    def judged(self, net: Any, inputs: Tensor) -> Tensor:
        """See `Family.judged`."""
        return net.label_goodness(inputs)[None]


def own_module() -> nn.Module:
    """What a user may put in the place of a linear layer."""
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))


def local_layers() -> list[nn.Module]:
    """Local fields: 2x2 of 2x3 pixels, then each of the two places alone."""
    return [LocalLinear((2, 3), 2, kernel=2), LocalLinear((1, 2, 2), 4, kernel=1)]


NETS: dict[str, Family] = {
    "recurrent": Images(iterations=4),
    "alternating": Images({"update_scheme": "alternating", "damping": 0.0}, iterations=3),
    "one layer": Images({"hidden": (6,)}, iterations=3),
    "damping as a list": Images({"damping": [0.0, 0.5, 0.8], "center_images": True}, iterations=5),
    "recurrent with dropout": Images(iterations=3, dropout=(0.3, 0.4)),
    "video": Videos({"update_scheme": "alternating"}, iterations=3),
    "maps": Maps(  # of two tiles, of which one hangs over the border
        {
            "in_shape": (5, 3, 3),
            "units_per_place": (2, 4, 2),
            "field": 3,
            "update_scheme": "alternating",
            "standardize_images": True,
        },
        iterations=3,
    ),
    "video of maps, judged by regions": VideosOfMaps(
        {
            "in_shape": (3, 4, 3),
            "units_per_place": (2, 1, 3),
            "field": 3,
            "goodness": RegionMeanSquare((3, 4), (1, 2)),
        },
        iterations=3,
        dropout=(0.3, 0.4),
    ),
    "module of one's own": Images({"module": own_module}, iterations=3),
    "label in the pixels": InTheInput({"label_scale": 2.0}),
    "label beside": InTheInput({"label": "beside", "center_images": True, "head_layers": [1, 3]}),
    "feed-forward with dropout": InTheInput({"center_images": True}, dropout=(0.3, 0.4)),
    "feed-forward module of one's own": InTheInput({"layers": lambda: [own_module(), nn.Linear(4, 8)]}),
    "local fields": InTheInput({"layers": local_layers}, dropout=(0.0, 0.4)),
    "character": Text(),
    "character with whole windows": Text(several=False),
    "character with dropout": Text({"head_layers": [1, 3]}, dropout=(0.0, 0.4)),
    "stream": Streaming({"damping": [0.3, 0.0, 0.6], "top_down": False}),
    "stream with fast weights": Streaming({"keys": 3}),
    "stream of several iterations": Streaming(
        {"keys": 2, "damping": 0.4, "candidate_layers": [1, 3]}, iterations=2, dropout=(0.0, 0.4)
    ),
}


def nets_that(hold):
    """Return the names of the families for which something holds."""
    return [name for name, family in NETS.items() if hold(family)]
