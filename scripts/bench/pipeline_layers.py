"""Two hidden layers on two processes, both at work all the time: Forward-Forward's own kind of parallelism, a prototype.

python scripts/bench/pipeline_layers.py [--hidden 500 500] [--batch 100] [--iterations 8] [--steps 20]

Under the synchronous scheme every layer reads what its neighbours were one iteration ago. So in each iteration both
processes exchange normalised states and then compute at the same time; each keeps its layer's weights, gradients and
optimiser to itself, and no backward pass is waited for. Only the bottom-up pass, once a batch, goes from the first layer to
the second. The head is left out: negative labels are drawn uniformly.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch import multiprocessing as processes

from ffrecur import RecurrentNet
from ffrecur.core.learning import Learning, local_learning
from ffrecur.core.losses import slopes_of
from ffrecur.functional import damped_update, goodness, rms_normalize
from ffrecur.lit.run.process_state import prepare_process
from ffrecur.negatives.labels import uniform_labels

FEATURES, CLASSES = 784, 10


class Task(NamedTuple):
    """What is trained, the same in every process: all of it comes from seeds."""

    features: int
    hidden: tuple[int, int]
    classes: int
    batch: int
    iterations: int
    steps: int
    dtype: torch.dtype

    def net(self) -> RecurrentNet:
        """Return the net at the start."""
        torch.manual_seed(0)
        return RecurrentNet(self.features, self.hidden, self.classes).to(self.dtype)

    def batches(self) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Yield images `(B, D)`, labels and negative labels `(B,)`."""
        source = torch.Generator().manual_seed(1)
        for _ in range(self.steps):
            images_BD = torch.rand(self.batch, self.features, generator=source, dtype=self.dtype)
            labels_B = torch.randint(self.classes, (self.batch,), generator=source)
            noise_BC = torch.rand(self.batch, self.classes, generator=source)
            yield images_BD, labels_B, uniform_labels(noise_BC, labels_B, noise_BC)


def exchange(mine: Tensor, width: int) -> Tensor:
    """Give rows to the other process and take its own at the same time, `(2B, width)`.

    Two broadcasts under way at once: with `isend` and `irecv` gloo's threads take twice the processor's time, whatever the
    size, and that is taken from the computing.
    """
    theirs = mine.new_empty(len(mine), width)
    both = [mine, theirs] if dist.get_rank() == 0 else [theirs, mine]
    for work in [dist.broadcast(rows, source, async_op=True) for source, rows in enumerate(both)]:
        assert work is not None
        work.wait()
    return theirs


def first_state(net: RecurrentNet, layer: int, image_row_BD: Tensor) -> Tensor:
    """Return the layer's state after the bottom-up pass, `(B, H)`; the first layer's goes to the second."""
    below = image_row_BD
    if layer == 1:
        below = image_row_BD.new_empty(len(image_row_BD), net.hidden_features[0])
        dist.recv(below, 0)
    state_BH = torch.relu(net.bottom_up[layer](below))
    if layer == 0:
        dist.send(rms_normalize(state_BH), 1)
    return state_BH


def learn(net: RecurrentNet, layer: int, batch: tuple[Tensor, Tensor, Tensor], learning: Learning) -> None:
    """Leave the local gradients of one layer, those of `RecurrentNet.local_learning`, in `.grad`."""
    images_BD, labels_B, negatives_B = batch
    image_row_BD, cases = net.image_row(images_BD), len(labels_B)
    # One of the two neighbours is clamped: the image, the same for both signs, or the label. The other one moves.
    outer, moving, clamped, signs = net.bottom_up[0], net.top_down[0], image_row_BD, 2
    if layer == 1:
        outer, moving, clamped = net.top_down[1], net.bottom_up[1], net.label_row(torch.cat([labels_B, negatives_B]))
        signs = 1
    bias_H = net.bottom_up[layer].bias
    outer_drive = (clamped @ outer.weight.t() + bias_H).repeat(signs, 1)
    state = first_state(net, layer, image_row_BD).repeat(2, 1)
    deltas, rows = [], []
    for iteration in range(learning.iterations or net.usual_iterations):
        damping = net.damping_at(iteration)
        rows.append(exchange(rms_normalize(state), moving.in_features))
        computed = torch.relu(outer_drive + rows[-1] @ moving.weight.t())
        state = damped_update(state, computed, damping)
        of_both = goodness(state).view(1, 1, 2, cases, 1)
        slopes_2B = slopes_of(learning.objective, of_both, net.sign).flatten()
        scale = 2 * (1 - damping) / (state.shape[1] * cases)
        deltas.append((slopes_2B * scale)[:, None] * state * (computed > 0))
    summed = torch.stack(deltas).sum(dim=0).unflatten(0, (signs, -1)).sum(dim=0)
    outer.weight.grad, bias_H.grad = summed.t() @ clamped, summed.sum(dim=0)
    moving.weight.grad = torch.cat(deltas).t() @ torch.cat(rows)


def parameters_of(net: RecurrentNet, layer: int) -> list[nn.Parameter]:
    """Return weights and bias of one hidden layer."""
    return [*net.bottom_up[layer].parameters(), *net.top_down[layer].parameters()]


def optimizer_of(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of one process or of both."""
    return torch.optim.Adam(parameters, lr=1e-3)


def median_step(times: Sequence[float]) -> float:
    """Return the median seconds of a step: the first one, which makes the connections, hardly counts."""
    return statistics.median(after - before for before, after in pairwise(times))


@torch.no_grad()
def train_layer(layer: int, task: Task, folder: str) -> None:
    """Train one layer beside the other process; leave its parameters and the seconds of a step in the folder."""
    torch.set_num_threads(1)
    prepare_process()
    dist.init_process_group("gloo", init_method=(Path(folder) / "meeting").as_uri(), rank=layer, world_size=2)
    net, learning = task.net(), Learning(iterations=task.iterations)
    optimizer = optimizer_of(parameters_of(net, layer))
    times = [time.perf_counter()]
    for batch in task.batches():
        learn(net, layer, batch, learning)
        optimizer.step()
        times.append(time.perf_counter())
    torch.save((parameters_of(net, layer), median_step(times)), Path(folder) / f"{layer}.pt")
    dist.destroy_process_group()


def train_together(task: Task) -> tuple[list[list[Tensor]], float]:
    """Return the parameters of both layers after training on two processes, and the seconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(train_layer, (task, folder), nprocs=2)
        found = [torch.load(Path(folder) / f"{layer}.pt", weights_only=True) for layer in range(2)]
    return [[p.detach() for p in parameters] for parameters, _ in found], max(seconds for _, seconds in found)


def train_alone(task: Task) -> tuple[list[list[Tensor]], float]:
    """The same by one process, with the engine."""
    net, learning = task.net(), Learning(iterations=task.iterations)
    layers = [parameters_of(net, layer) for layer in range(2)]
    optimizer = optimizer_of([*layers[0], *layers[1]])
    times = [time.perf_counter()]
    for images_BD, labels_B, negatives_B in task.batches():
        optimizer.zero_grad()
        local_learning(net, images_BD, labels_B, negatives_B, learning, None).loss.backward()
        optimizer.step()
        times.append(time.perf_counter())
    return [[p.detach() for p in layer] for layer in layers], median_step(times)


def main(arguments: Sequence[str]) -> None:
    """Train both ways; print how far the weights are apart, the seconds, and what was sent."""
    parser = argparse.ArgumentParser(description="One process against two, one hidden layer each.")
    parser.add_argument("--hidden", type=int, nargs=2, default=[500, 500], help="widths (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="images a batch (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=8, help="iterations a batch (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="batches (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    prepare_process()
    task = Task(
        FEATURES, tuple(options.hidden), CLASSES, options.batch, options.iterations, options.steps, torch.float32
    )
    alone, one = train_alone(task)
    together, two = train_together(task)
    apart = max(
        (a - b).abs().max().item() for x, y in zip(alone, together, strict=True) for a, b in zip(x, y, strict=True)
    )
    sent = 4 * 2 * task.batch * task.iterations * max(task.hidden)
    print(f"largest difference of a weight after {task.steps} steps: {apart:.1e}")
    print(f"1 process   {1e3 * one:8.1f} ms a step (engine)")
    print(f"2 processes {1e3 * two:8.1f} ms a step; each sends up to {sent / 1e6:.1f} MB")
    print(f"ratio       {one / two:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
