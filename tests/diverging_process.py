"""Run by test_processes_ending.py: `ffrecur`, but in the second process the loss of the fifth step is not finite."""

import os
import sys

from ffrecur import RecurrentNet
from ffrecur.commands.train import main

steps = 0
learn = RecurrentNet.local_learning


def local_learning(*args):
    global steps
    steps += 1
    learned = learn(*args)
    second = os.environ.get("LOCAL_RANK") == "1"
    return learned._replace(loss=learned.loss * float("nan")) if second and steps == 5 else learned


if __name__ == "__main__":
    RecurrentNet.local_learning = local_learning  # type: ignore[method-assign]
    sys.exit(main())
