"""Training and evaluation with Lightning."""

from ffrecur.lit.backprop import BackpropModule
from ffrecur.lit.recurrent import RecurrentModule
from ffrecur.lit.schedules import FlatThenLinear
from ffrecur.lit.text import CharBackpropModule, CharModule

__all__ = ["BackpropModule", "CharBackpropModule", "CharModule", "FlatThenLinear", "RecurrentModule"]
