"""What this machine has and how fast it is: `aetherfusion doctor`. Lessons 00 and 05 use it."""

import contextlib
import copy
import json
import statistics
import time
from pathlib import Path
from platform import python_version
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
FEW_IMAGES = 120_000  # if there is no time for more, two blocks instead of four learn more


def doctor(
    weights: Weights = None,
    quick: Annotated[bool, Option("--quick", help="Measure less exactly.")] = False,
) -> None:
    """Show what is here, how fast it is, and what to expect of it."""
    device, data = best_device(), find_cifar10()
    choice, cpu = choose_precision(device), torch.backends.cpu.get_cpu_capability()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    echo(f"Versions    {__version__}, torch {torch.__version__}, Python {python_version()}")
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
    blocks = "two blocks, which see half as many again" if 1500 * speed < FEW_IMAGES else "four"
    echo(f"25 minutes  {1500 * speed:,.0f} images; train --minutes 25 uses {blocks}")


def training_speed(
    seconds: float = 8.0, *, model: nn.Module | None = None, loader: Any = None, **options: Any
) -> float:
    """Images per second in training: the median of the steps in so many seconds.

    A copy of the model is trained, by default a new one on drawn shapes. The first three steps do
    not count: they allocate memory, or compile. The options are those of `training_steps`.
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


def planned_run(folder: str | Path) -> Any:
    """The record of the run in a folder; None if there is no state in it."""
    state = read_state(folder)
    return None if state is None else json.loads(state["record"])


def agreed(value: Any) -> Any:
    """The value of process 0, in all processes that train together."""
    values = [value]
    if num_processes() > 1:
        dist.broadcast_object_list(values)
    return values[0]
