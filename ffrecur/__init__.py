"""ffrecur: train recurrent networks with the Forward-Forward algorithm, without backpropagation.

Importing it brings the nets and the equations, and needs `torch` only; Lightning is imported by `ffrecur.lit`,
`ffrecur.data` and the command line.
"""

from ffrecur import functional, negatives
from ffrecur.core.goodness import Goodness, MeanSquare
from ffrecur.core.local import LocalLinear
from ffrecur.core.objectives import Logistic, Objective, Paired, Softmax
from ffrecur.errors import UserError
from ffrecur.nets.backprop import BackpropNet
from ffrecur.nets.character import CharNet
from ffrecur.nets.feedforward import FeedForwardNet
from ffrecur.nets.recurrent import RecurrentNet
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
    "Softmax",
    "UserError",
    "functional",
    "load",
    "negatives",
    "save",
]
