"""ffrecur: train neural networks with the Forward-Forward algorithm, without backpropagation.

The names below are imported when they are first used, so that the command line answers at once. They need `torch` only;
Lightning is imported by `ffrecur.lit`, `ffrecur.data` and the command line.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffrecur import functional, negatives
    from ffrecur.core.goodness import Goodness, MeanSquare
    from ffrecur.core.local import LocalLinear
    from ffrecur.core.objectives import Logistic, Objective, Paired, SampledSoftmax, Softmax
    from ffrecur.core.regions import RegionMeanSquare
    from ffrecur.errors import UserError
    from ffrecur.nets.backprop import BackpropNet
    from ffrecur.nets.character import CharNet
    from ffrecur.nets.feedforward import FeedForwardNet
    from ffrecur.nets.recurrent import RecurrentNet
    from ffrecur.nets.stream import StreamNet
    from ffrecur.storage.checkpoint import load, save

__version__ = "0.1.0"
__all__ = [
    "BackpropNet",
    "CharNet",
    "FeedForwardNet",
    "Goodness",
    "LocalLinear",
    "Logistic",
    "MeanSquare",
    "Objective",
    "Paired",
    "RecurrentNet",
    "RegionMeanSquare",
    "SampledSoftmax",
    "Softmax",
    "StreamNet",
    "UserError",
    "functional",
    "load",
    "negatives",
    "save",
]
PLACES = {  # of the names that are no modules
    "core.goodness": ("Goodness", "MeanSquare"),
    "core.local": ("LocalLinear",),
    "core.objectives": ("Logistic", "Objective", "Paired", "SampledSoftmax", "Softmax"),
    "core.regions": ("RegionMeanSquare",),
    "errors": ("UserError",),
    "nets.backprop": ("BackpropNet",),
    "nets.character": ("CharNet",),
    "nets.feedforward": ("FeedForwardNet",),
    "nets.recurrent": ("RecurrentNet",),
    "nets.stream": ("StreamNet",),
    "storage.checkpoint": ("load", "save"),
}


def __getattr__(name: str) -> Any:
    """Import a public name, or one of the package's modules."""
    for module, names in PLACES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"ffrecur.{module}"), name)
            return found
    if not name.startswith("_") and find_spec(f"ffrecur.{name}") is not None:
        return import_module(f"ffrecur.{name}")
    raise AttributeError(f"module 'ffrecur' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
