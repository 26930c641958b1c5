"""ffrecur: train recurrent networks with the Forward-Forward algorithm, without backpropagation.

Importing it brings the nets and the equations, and needs `torch` only; Lightning is imported by `ffrecur.lit`,
`ffrecur.data` and the command line.
"""

from ffrecur import functional, negatives
from ffrecur.backprop import BackpropNet
from ffrecur.character import CharNet
from ffrecur.checkpoint import load, save
from ffrecur.errors import UserError
from ffrecur.recurrent import RecurrentNet

__version__ = "0.1.0"
__all__ = ["BackpropNet", "CharNet", "RecurrentNet", "UserError", "functional", "load", "negatives", "save"]
