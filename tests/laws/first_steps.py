"""The first steps of a training, in numbers: losses, and gradients in short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

STEPS, EVERY = 50, 5  # every fifth step's gradients are kept


def settings_of(task: Path) -> list[str]:
    """Options with which a task trains for so many steps on bundled data, small, and so that rounding does not grow.

    A step of plain descent is a tenth of a thousandth: what two versions round differently stays as small as it was.
    """
    text = task.name.startswith("text")
    return [
        f"--config={task}",
        "--data.source=bundled",
        "--data.batch_size=12",
        f"--model.hidden_features={[12, 10, 9] if text else [12, 10]}",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.0001",
        "--model.lr_scheduler=null",
        *(["--data.document_length=14"] if text else []),
        "--trainer.precision=64-true",
        f"--trainer.max_steps={STEPS}",
        f"--trainer.limit_train_batches={STEPS // 2}",  # two epochs
        "--trainer.max_epochs=2",
        "--trainer.limit_val_batches=0",
        "--trainer.logger=false",
        "--trainer.enable_checkpointing=false",
        "--trainer.enable_model_summary=false",
    ]


def projection(gradient: Tensor) -> tuple[float, float]:
    """The sum of a gradient's entries with signs at random, always the same, and the largest entry."""
    signs = torch.randint(2, gradient.shape, generator=torch.Generator().manual_seed(gradient.numel())) * 2 - 1
    return (signs * gradient).sum().item(), gradient.abs().max().item()


class FirstSteps(Callback):
    """Writes down the loss of every step, and every fifth step's gradients as `projection` gives them."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: dict[str, list[tuple[float, float]]] = {}

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """Take the gradients."""
        for name, parameter in module.net.named_parameters():
            if trainer.global_step % EVERY == 0 and parameter.grad is not None:
                self.gradients.setdefault(name, []).append(projection(parameter.grad))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        """Take the loss."""
        self.losses.append(outputs["loss"].item())

    def numbers(self) -> dict[str, Any]:
        """Return what was written down, as JSON holds it."""
        return {
            "losses": self.losses,
            "gradients": {name: [list(pair) for pair in all_] for name, all_ in self.gradients.items()},
        }
