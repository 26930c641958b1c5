"""What stays off the screen."""

from __future__ import annotations

import io
import logging
import sys
import warnings

from lightning.fabric.utilities.warnings import PossibleUserWarning

from ffrecur.lit.run.health import warn
from ffrecur.storage.output import tell_own_warnings

LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric")


def silence_all() -> None:
    """Keep all that Lightning says but errors, and all warnings, off the screen: for scripts that print figures."""
    warnings.simplefilter("ignore")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def raise_of_disk(record: logging.LogRecord) -> None:
    """Raise the error of a closed pipe or a full disk, which ends the command; `logging` would print it and go on."""
    error = sys.exc_info()[1]
    if error is not None:
        raise error


def silence_noise() -> None:
    """Keep what a user cannot act on off the screen: advertisements, and warnings about Lightning's own internals.

    Warnings of our own are told in a line each, by the first of several processes.
    """
    tell_own_warnings(warn)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip:" not in record.getMessage()
    )
    for name in LOGGERS:  # standard error is for mistakes and warnings
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setStream(sys.stdout or io.StringIO())  # one that is closed
                handler.handleError = raise_of_disk  # type: ignore[method-assign]
    warnings.simplefilter("ignore", PossibleUserWarning)
    for message in (
        ".*instantiate_classes.*deprecated",
        ".*LeafSpec.*deprecated",
        "Checkpoint directory .* exists and is not empty",  # the loggers have just made it
        "The dirpath has changed from",  # a new run has a folder of its own
        "Be aware that when using `ckpt_path`, callbacks",  # an evaluation writes no checkpoints
        "Couldn't infer the batch indices",  # predictions come in the order of the data
        "You're using the WeightAveraging callback with a model that overrides",  # it is about sharded models
        "Precision .* is not supported by the model summary",  # it is about the size on the screen only
    ):
        warnings.filterwarnings("ignore", message=f"(?s)\\s*{message}")
