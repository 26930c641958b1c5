"""Run by test_stopping_together.py: `ffrecur`, but the first process validates for long, and the second one waits for it.

Each process makes a file, validating-0 or validating-1, when it has begun with its first batch.
"""

import os
import sys
import time
from pathlib import Path

from ffrecur.commands.train import main
from ffrecur.lit.images import ClassifierModule

validate = ClassifierModule.validation_step


def validation_step(self, batch, batch_index):
    rank = os.environ.get("LOCAL_RANK", "0")
    validate(self, batch, batch_index)
    Path(f"validating-{rank}").touch()
    until = time.monotonic() + (60 if rank == "0" else 0)
    while time.monotonic() < until:
        time.sleep(0.01)  # as in computing, Python often gets to look whether a signal has come


if __name__ == "__main__":
    ClassifierModule.validation_step = validation_step  # type: ignore[method-assign]
    sys.exit(main())
