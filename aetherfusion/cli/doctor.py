"""What this machine has and how fast it is: `aetherfusion doctor`.

Lessons 00 and 05 use `training_speed`, and `aetherfusion train --minutes` plans by it.
"""

import contextlib
import copy
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
from torch import nn
from typer import Option, echo

from .._version import __version__
from ..checkpoint import load_model, load_pretrained
from ..data import data_root, find_cifar10, load_shapes10, make_loader
from ..generation import generate_images
from ..model import DiffusionTransformerUNet
from ..optimizer import recommended_optimizer
from ..training import training_steps
from ..utils.hardware import best_device, choose_precision, num_processes
from ..utils.runs import read_state
from .picker import Weights

EPOCHS = 24  # of `aetherfusion train`


def doctor(
    weights: Weights = None,
    quick: Annotated[bool, Option("--quick", help="Measure less exactly.")] = False,
) -> None:
    """Show what is here, how fast it is, and what to expect of it."""
    device, data = best_device(), find_cifar10()
    choice, cpu = choose_precision(device), torch.backends.cpu.get_cpu_capability()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    echo(f"Versions    aetherfusion {__version__}, {versions}")
    echo(f"Device      {device.type} ({name}), {torch.get_num_threads()} CPU threads")
    echo(f"Precision   {choice.precision}: {choice.reason}")
    fetch = f"not in {data_root()}: train downloads it (170 MB); --data shapes10 needs no files"
    echo("CIFAR-10    " + (fetch if data is None else f"found in {data}"))
    model = load_pretrained() if weights is None else load_model(weights)
    echo(f"Weights     {sum(p.numel() for p in model.parameters()):,}")
    speed = training_speed(0 if quick else 8)
    echo(f"Training    {speed:.0f} images/s")
    generate_images(model.to(device), steps=1)  # warm-up
    started = time.perf_counter()
    generate_images(model)
    echo(f"Sampling    {time.perf_counter() - started:.1f} seconds for ten images")
    echo(f"One epoch   {50_000 / speed / 60:.1f} minutes for CIFAR-10; train does {EPOCHS}")
    echo(f"25 minutes  {25 * 60 * speed / 50_000:.1f} epochs of CIFAR-10")


def training_speed(
    seconds: float = 8.0, *, model: nn.Module | None = None, loader: Any = None, **options: Any
) -> float:
    """Images per second in training: the median of the steps in so many seconds.

    A copy of the model is trained, by default a new one on drawn shapes, with the options of
    `training_steps`. The first three steps do not count: they allocate memory, or compile.
    """
    speeds: list[float] = []
    with torch.random.fork_rng([]):
        model = DiffusionTransformerUNet() if model is None else copy.deepcopy(model)
        loader = make_loader(load_shapes10(640).to(best_device())) if loader is None else loader
        optimizer, left = recommended_optimizer(model), seconds
        steps = training_steps(model, loader, nn.MSELoss(), optimizer, 10**6, **options)
        with contextlib.closing(steps):
            for step in steps:
                if step.step > 3:
                    speeds.append(step.images / step.seconds)
                    left -= step.seconds
                    if agreed(left <= 0):
                        break
    return statistics.median(speeds)


def planned_steps(folder: str | Path) -> int | None:
    """How many steps the run in a folder was planned for; None if there is no state in it."""
    state = read_state(folder)
    return None if state is None else int(json.loads(state["record"])["total_steps"])


def agreed(value: Any) -> Any:
    """The value of process 0, in all processes that train together."""
    values = [value]
    if num_processes() > 1:
        dist.broadcast_object_list(values)
    return values[0]
