"""Training and evaluation with Lightning."""

from ffrecur.lit.backprop import BackpropModule, CharBackpropModule
from ffrecur.lit.character import CharModule
from ffrecur.lit.feedforward import FeedForwardModule
from ffrecur.lit.recurrent import RecurrentModule
from ffrecur.lit.schedules import FlatThenLinear
from ffrecur.lit.stream import StreamModule

__all__ = [
    "BackpropModule",
    "CharBackpropModule",
    "CharModule",
    "FeedForwardModule",
    "FlatThenLinear",
    "RecurrentModule",
    "StreamModule",
]
