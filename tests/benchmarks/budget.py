"""Training for a given CPU time: the number of steps is chosen first, as the decay needs it."""

import contextlib
import copy
import time
from collections.abc import Callable
from typing import Any

from torch import nn, optim

from aetherfusion import training_steps
from aetherfusion.data import ImageTensors, make_loader
from aetherfusion.utils.history import Step

EPOCHS = 10**6  # more than any run here has: `max_steps` ends it


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
    trial, loader = copy.deepcopy(model), make_loader(dataset, batch_size)
    options |= {"max_steps": warmup + timed}
    steps = training_steps(trial, loader, nn.MSELoss(), optimizer(trial), EPOCHS, **options)
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
    *,
    warmup: int = 5,
    timed: int = 20,
    overrun: float = 1.03,
    **options: Any,
) -> tuple[float, list[Step]]:
    """Trains with the loop under `train`, and stops at `overrun` times the budget in any case.

    Returns:
        (CPU-seconds used, the steps); the model then holds the averaged weights. The trial before
        it, of `warmup` and `timed` steps, counts in the budget.
    """
    started = time.process_time()
    trial = {"warmup": warmup, "timed": timed}
    cost = seconds_per_step(model, optimizer, dataset, batch_size, **trial, **options)
    model.zero_grad()  # a switch of variants.py may have lent the trial a parameter of this model
    number = max(1, int((cpu_seconds - (time.process_time() - started)) / cost))
    loader, done = make_loader(dataset, batch_size), []
    options |= {"max_steps": number}
    steps = training_steps(model, loader, nn.MSELoss(), optimizer(model), EPOCHS, **options)
    with contextlib.closing(steps):
        for step in steps:
            done.append(step)
            if time.process_time() - started >= overrun * cpu_seconds:
                break
    return time.process_time() - started, done
