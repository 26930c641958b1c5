"""Training and evaluation with Lightning."""

from ffrecur.lit.backprop import BackpropModule
from ffrecur.lit.recurrent import RecurrentModule
from ffrecur.lit.schedules import FlatThenLinear

__all__ = ["BackpropModule", "FlatThenLinear", "RecurrentModule"]
