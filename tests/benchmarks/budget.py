"""Training for so many CPU-seconds: the number of steps is chosen before, as the decay needs it."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn, optim

from aetherfusion import training_steps
from aetherfusion.data import ImageTensors, make_loader
from aetherfusion.utils.history import Step


class Batches:
    """Exactly `number` batches of a data set, in one epoch as long as it takes."""

    def __init__(self, dataset: ImageTensors, batch_size: int, number: int) -> None:
        self.loader, self.number = make_loader(dataset, batch_size), number

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[Any]:
        left = self.number
        while left:
            for _, batch in zip(range(left), self.loader, strict=False):
                yield batch
                left -= 1


def seconds_per_step(
    model: nn.Module,
    optimizer: Callable[[nn.Module], optim.Optimizer],
    dataset: ImageTensors,
    batch_size: int,
    *,
    warmup: int = 5,
    timed: int = 20,
    **options: Any,
) -> float:
    """CPU-seconds of one step, timed on a copy of the model."""
    trial = copy.deepcopy(model)
    batches = Batches(dataset, batch_size, warmup + timed)
    steps = training_steps(trial, batches, nn.MSELoss(), optimizer(trial), 1, **options)
    with contextlib.closing(steps):
        for step in steps:
            if step.step == warmup:
                started = time.process_time()
    return (time.process_time() - started) / timed


def train_for(
    cpu_seconds: float,
    model: nn.Module,
    optimizer: Callable[[nn.Module], optim.Optimizer],
    dataset: ImageTensors,
    batch_size: int = 64,
    **options: Any,
) -> tuple[int, float, list[Step]]:
    """Trains with the loop under `train`, and stops at the budget in any case.

    Returns:
        (images seen, CPU-seconds used, the steps); the model then holds the averaged weights.
        The trial before it counts in the budget.
    """
    started = time.process_time()
    cost = seconds_per_step(model, optimizer, dataset, batch_size, **options)
    model.zero_grad()  # a switch of variants.py may have lent the trial a parameter of this model
    number = max(1, int((cpu_seconds - (time.process_time() - started)) / cost))
    batches = Batches(dataset, batch_size, number)
    done: list[Step] = []
    steps = training_steps(model, batches, nn.MSELoss(), optimizer(model), 1, **options)
    with contextlib.closing(steps):
        for step in steps:
            done.append(step)
            if time.process_time() - started > 1.03 * cpu_seconds:
                break
    return batch_size * len(done), time.process_time() - started, done
