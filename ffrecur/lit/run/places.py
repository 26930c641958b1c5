"""Where a training is: what comes next, and how a checkpoint says so to Lightning's loops.

A training can be continued after any optimiser step. Lightning knows such a place from its own hooks only; here the loops'
part of a checkpoint (`checkpoint["loops"]["fit_loop"]`) is put right for the others.
"""

from __future__ import annotations

from typing import Any

from lightning import Trainer

BATCHES, EPOCHS, VALIDATION = "epoch_loop.batch_progress", "epoch_progress", "epoch_loop.val_loop.batch_progress"


def progress(trainer: Trainer) -> tuple[Any, Any]:
    """Return Lightning's counts of epochs and of batches: each has `total` and `current`, with `ready` ... `completed`."""
    return trainer.fit_loop.epoch_progress, trainer.fit_loop.epoch_loop.batch_progress


def step_taken(trainer: Trainer) -> bool:
    """Whether the batch that has just been trained on ended with an optimiser step, so that no gradients are waiting."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()


def epoch_is_whole(trainer: Trainer) -> bool:
    """Whether the last batch trained on is the last one of its epoch."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def about_to_stop(trainer: Trainer) -> bool:
    """Whether Lightning will end the training after this batch: `max_steps`, `max_time`, early stopping, `should_stop`."""
    steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    return steps or (trainer.should_stop and trainer.fit_loop._can_stop_early)


def validation_due(trainer: Trainer) -> bool:
    """Whether a validation follows this batch, one that would follow it in a training that goes on, too."""
    loop = trainer.fit_loop
    stopping, trainer.should_stop = trainer.should_stop, False
    due = loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    trainer.should_stop = stopping
    return bool(due)


def goes_on_after(loops: dict[str, Any], total: int, current: int, steps: int) -> None:
    """Let the loops go on after a batch amid an epoch: `total` of the training, `current` of the epoch, after `steps` steps.

    As in Lightning's hook `on_train_batch_end`: all is counted but the batch's completion.
    """
    batches, epochs = loops[BATCHES], loops[EPOCHS]
    for part, count in (("total", total), ("current", current)):
        batches[part].update(ready=count, started=count, processed=count, completed=count - 1)
        epochs[part]["processed"] = epochs[part]["completed"] = epochs[part]["ready"] - 1
        epochs[part]["started"] = epochs[part]["ready"]
    batches["is_last_batch"] = False
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = steps - 1


def goes_on_with_validation(loops: dict[str, Any]) -> None:
    """Let the loops go on with the whole validation that follows a batch, one that was broken off or had not begun."""
    batches, validation = loops[BATCHES], loops[VALIDATION]
    for part in ("total", "current"):
        batches[part]["completed"] = batches[part]["processed"]
    validation["total"].update(ready=1, started=1, processed=0, completed=0)
    validation["current"].update(ready=0, started=0, processed=0, completed=0)


def goes_on_with_next_epoch(loops: dict[str, Any]) -> None:
    """Let the loops go on after an epoch, as in Lightning's hook `on_train_epoch_end`."""
    batches, epochs = loops[BATCHES], loops[EPOCHS]
    for part in ("total", "current"):
        batches[part]["completed"] = batches[part]["processed"]
        epochs[part]["processed"] = epochs[part]["ready"]
        epochs[part]["completed"] = epochs[part]["ready"] - 1


def broken_off(trainer: Trainer) -> bool:
    """Whether Lightning counts an epoch as over that was left amid its batches."""
    epochs, batches = progress(trainer)
    over = epochs.current.ready > 0 and epochs.current.processed == epochs.current.ready
    return over and batches.current.ready > 0 and not epoch_is_whole(trainer)
