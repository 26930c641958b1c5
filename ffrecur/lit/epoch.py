"""What a module adds up over an epoch and over the processes: figures, noise and dropout of a batch, and a finite loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ffrecur.lit.evaluation import EvaluatedModule
from ffrecur.lit.optim import step_plateau
from ffrecur.lit.run.health import check_figures, collapses, warn
from ffrecur.lit.run.places import epoch_is_whole
from ffrecur.processes import Part, mean_over_processes, part_of_batch

GOODNESS = ("goodness_positive", "goodness_negative")


class EpochFigures(EvaluatedModule):
    """Base of a module whose figures of training are the means over an epoch's samples, of all processes."""

    target: str  # the validation figure, low is good, that chooses the best checkpoint

    def __init__(self) -> None:
        super().__init__()
        # Of each figure: its sum over the epoch so far, and over how many samples.
        self.epoch_sums: dict[str, tuple[Tensor, int]] = {}
        self.warned: list[str] = []  # one warning of a kind is enough for a run
        self.ended: dict[str, Tensor] | None = None  # the figures of the epoch that has just ended

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer), "configure_optimizers returns one"
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Start the epoch's figures, with the hidden layers' learning rate. Not called where an epoch is continued."""
        self.epoch_sums, self.ended = {}, None
        self.add_figure("train/learning_rate", torch.tensor(self._optimizer.param_groups[0]["lr"], dtype=torch.float64))

    def add_figure(self, name: str, value: Tensor, count: int = 1) -> None:
        """Add to an epoch's figure a value that stands for `count` samples."""
        total, samples = self.epoch_sums.get(name, (torch.zeros_like(value), 0))
        self.epoch_sums[name] = (total + value * count, samples + count)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's figures; see `end_epoch`."""
        self.log_dict(self.end_epoch())

    def end_epoch(self) -> dict[str, Tensor]:
        """Return the epoch's figures, the mean goodness of each layer over the iterations among them; warn of a collapse.

        A schedule that looks at a figure is stepped. Raises `UserError` for one that looks at a figure that there is not.
        """
        means = {name: total / count for name, (total, count) in self.epoch_sums.items()}
        goodness = {name: means.pop(name) for name in GOODNESS if name in means}
        figures = dict(means)
        for name, mean_TL in goodness.items():
            layers = mean_TL.mean(dim=0)
            figures |= {f"train/{name}_layer_{layer}": mean for layer, mean in enumerate(layers, start=1)}
        if goodness and self.current_epoch > 0:
            self.warn_once(collapses(*goodness.values()))
        self.ended = figures  # before what may fail: the checkpoint of this place has them
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau) and epoch_is_whole(self.trainer):
            known = {**self.trainer.callback_metrics, **figures}
            monitor = getattr(scheduler, "monitor", self.target)
            step_plateau(scheduler, monitor, known, bool(self.trainer.enable_validation))
        return figures

    def warn_once(self, warnings: Mapping[str, str]) -> None:
        """Print the warnings whose keys are new to this run."""
        for key, message in warnings.items():
            if key not in self.warned:
                self.warned.append(key)
                warn(f"{message} (epoch {self.current_epoch})")

    def part_of_batch(self, batch_size: int) -> Part:
        """Return which part of the global batch ours is; every process must call it at the same time."""
        return part_of_batch(batch_size, self.device)

    def batch_noise(self, part: Part, columns: int, source: torch.Generator) -> Tensor:
        """Uniform noise `(B, columns)` that depends on the place in the global batch, not on the number of processes."""
        return torch.rand(part.total, columns, generator=source)[part.mine].to(self.device)

    def batch_masks(
        self, part: Part, rates: Sequence[float], source: torch.Generator, **more: float
    ) -> list[Tensor | None]:
        """Dropout masks of our part of the global batch; `rates` and `more` are what the net's `dropout_masks` takes."""
        masks = self.net.dropout_masks(part.total, *rates, source, **more)
        return [None if mask is None else mask[part.mine] for mask in masks]

    def finish_step(
        self,
        loss: Tensor,
        figures: Mapping[str, Tensor],
        part: Part,
        batch_index: int,
        goodness: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Add a step's figures to the epoch's; return the loss to be derived.

        `figures`, scalars with `train/loss` among them, and `goodness`, `(T, L)` of positive and negative data, are means
        over our part of the batch. DDP takes the plain mean of the processes' gradients; the loss is weighted so that it
        becomes the mean over samples. What is kept and checked is the same in every process. Raises `UserError` for what is
        not finite.
        """
        named = {**figures, **{f"goodness_{kind}": mean_TL for kind, mean_TL in (goodness or {}).items()}}
        flat = torch.cat([value.detach().to(loss.dtype).flatten() for value in named.values()])
        flat = mean_over_processes(flat, part.size).cpu().double()
        parts = flat.split([value.numel() for value in named.values()])
        means = {name: mean.reshape(value.shape) for (name, value), mean in zip(named.items(), parts, strict=True)}
        where = f"epoch {self.current_epoch}, batch {batch_index}"
        means_TL = {kind: means[f"goodness_{kind}"] for kind in goodness or {}}
        check_figures(means["train/loss"], means_TL, self.net.named_parameters(), where)
        for name, mean in means.items():
            self.add_figure(name, mean, part.total)
        return loss if part.weight == 1 else loss * part.weight
