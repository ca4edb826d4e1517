"""What there is here and how fast it is: the facts behind `aetherfusion doctor`.

Owns: the description of device, data and weights, two short measurements, and the sums that turn
them into minutes, and minutes into epochs. Used before lesson 00, whenever something is slower than
expected, and by `aetherfusion train --minutes`.
"""

import contextlib
import inspect
import os
import platform
import statistics
import textwrap
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn

from .._version import __version__
from ..checkpoint import load_model, load_pretrained
from ..data import data_root, find_cifar10, load_shapes10, make_loader
from ..generation import generate_images
from ..model import DiffusionTransformerUNet
from ..optimizer import recommended_optimizer
from ..training import training_steps
from ..utils.hardware import Precision, choose_precision

CIFAR10_IMAGES = 50_000  # to train on
LESSON_MINUTES = 5  # that a class has for a training run on drawn shapes
CLASS_MINUTES = 25  # and for one on CIFAR-10, see lesson 05
# Of the minutes. The rest is for starting, saving and slow moments: steady work ran at nine tenths
# of the speed that was measured before it.
USABLE = 0.9
BATCH_SIZE: int = inspect.signature(make_loader).parameters["batch_size"].default
SHAPES10_IMAGES: int = inspect.signature(load_shapes10).parameters["num_images"].default

GENERATE = inspect.signature(generate_images).parameters

Facts = list[tuple[str, str]]


def examine(
    weights: Path | None, *, quick: bool, epochs: int, say: Callable[[str], None] = print
) -> None:
    """Says what is here, how fast it is, and what to expect of it.

    Args:
        weights: a model file to look at; None for the pretrained one.
        quick: measure for a second or two, less exactly.
        epochs: of the run whose length is foretold.
        say: is told all of it, part by part.
    """
    model, found = find_weights(weights)
    say(table([*describe(), ("Weights", found)]))
    say("\nMeasuring ...")
    speed = training_speed(0.0 if quick else 5.0)
    seconds = sampling_seconds(model, quick=quick)
    pictures = f"Generating {GENERATE['num_samples'].default} pictures"
    say(table([("Training", f"{speed:.0f} images a second"), (pictures, in_words(seconds))]))
    say("\nWhat to expect")
    say(table(expect(speed, epochs)))


def find_weights(weights: Path | None) -> tuple[DiffusionTransformerUNet | None, str]:
    """The model to generate with, or None, and a sentence about it.

    Args:
        weights: a file of `save_model`, which must be a good one; None for the pretrained model,
            which may be missing.
    """
    if weights is not None:
        model, place = load_model(weights), str(weights)
    else:
        try:
            model, place = load_pretrained(), "in the package"
        except (OSError, ValueError) as error:
            return None, f"not found ({error}); aetherfusion train makes some"
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    return model, f"found, {place}: {millions:.1f} million, {model.num_classes} classes"


def describe() -> Facts:
    """Versions, device, precision and data, as (name, what there is to say)."""
    device = PartialState().device
    choice = choose_precision(device)
    packages = ["torch", "torchvision", "accelerate"]
    return [
        ("aetherfusion", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()}"),
        *((name, version(name)) for name in packages),
        ("Device", f"{device.type}, {device_name(device)}"),
        ("CUDA", _cuda()),
        ("CPU threads", f"{torch.get_num_threads()} of {os.cpu_count()}"),
        ("Precision", f"{choice.mixed_precision}, as {choice.reason}"),
        ("CIFAR-10", _cifar10()),
    ]


def device_name(device: torch.device) -> str:
    """What is printed on the chip."""
    if device.type == "cuda":
        gigabytes = torch.cuda.get_device_properties(device).total_memory / 2**30
        return f"{torch.cuda.get_device_name(device)} with {gigabytes:.0f} GB"
    with contextlib.suppress(OSError):  # Linux only
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cuda() -> str:
    if torch.cuda.is_available():
        return f"version {torch.version.cuda}, {torch.cuda.device_count()} device(s)"
    if torch.version.cuda is None:
        return "none: this PyTorch was built without it; with an NVIDIA GPU, install one that has"
    return f"none: PyTorch is ready for {torch.version.cuda} but sees no GPU and driver to match"


def _cifar10() -> str:
    place = find_cifar10()
    if place is not None:
        return f"found in {place}"
    return (
        f"not found in {data_root()}; aetherfusion train fetches it (170 MB), or set "
        "AETHERFUSION_DATA to a folder that has it, or use --data shapes10, which needs no files"
    )


def training_speed(
    seconds: float = 5.0,
    *,
    batch_size: int = BATCH_SIZE,
    precision: Precision | None = None,
    compile: bool = False,
    **sizes: int,
) -> float:
    """Images a second that a model of 32x32 pixels trains on, measured for about so long.

    Args:
        seconds: 0 for a single step after the warm-up.
        batch_size: images at a time.
        precision: None for what is fast here.
        compile: see `training_steps`; the compiling itself, half a minute or more, is not counted.
        **sizes: of the model, as `DiffusionTransformerUNet` takes them.
    """
    device = PartialState().device
    loader = make_loader(load_shapes10(4 * batch_size).to(device), batch_size)
    measured: list[float] = []
    with torch.random.fork_rng():
        model = DiffusionTransformerUNet(**sizes)  # type: ignore[arg-type]
        optimizer = recommended_optimizer(model)
        steps = training_steps(
            model, loader, nn.MSELoss(), optimizer, 50, precision=precision, compile=compile
        )
        with contextlib.closing(steps):
            for step in steps:
                if step.step > 3:  # the first ones allocate memory, choose kernels or compile
                    measured.append(step.seconds)
                    if sum(measured) >= seconds:
                        break
    # The median: another program may take the processor for a moment.
    return batch_size / statistics.median(measured)


def epochs_within(
    minutes: float,
    images: int,
    *,
    since: float,
    say: Callable[[str], None],
    batch_size: int = BATCH_SIZE,
    **options: Any,
) -> int:
    """How many epochs of so many images this machine does in the minutes, measured.

    Args:
        minutes: from `since` on, of `time.monotonic`.
        say: is told what was found.
        batch_size: what an epoch leaves over is not seen.
        **options: of `training_speed`.

    Raises:
        ValueError: if that is not even one.
        KeyboardInterrupt: after Ctrl-C, which says that nothing has begun.
    """
    say("Measuring how fast this machine is ...")
    try:
        speed = training_speed(batch_size=batch_size, **options)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("stopped before the training began") from stop
    seconds = USABLE * 60 * minutes - (time.monotonic() - since)
    epoch = images // batch_size * batch_size / speed
    epochs = int(seconds / epoch)
    if epochs < 1:
        fewer = int(seconds * speed) // batch_size * batch_size
        advice = f"--num-images {fewer} fits" if fewer > 0 else "give it more minutes"
        raise ValueError(
            f"one epoch takes {in_words(epoch)} here, at {speed:.1f} images a second, and "
            f"--minutes is {minutes:g}: {advice}"
        )
    say(
        f"{speed:.0f} images a second: {epochs} epoch{'s' * (epochs > 1)} of {images:,} images, "
        f"in about {in_words(epochs * epoch)}."
    )
    return epochs


def sampling_seconds(model: nn.Module | None, *, quick: bool = False) -> float:
    """Seconds that `generate_images` takes with its defaults.

    Args:
        model: None for an untrained one, which is as fast.
        quick: measure a part of the steps and multiply.
    """
    model = (model or DiffusionTransformerUNet()).to(PartialState().device)
    steps: int = GENERATE["steps"].default
    measured = min(3, steps) if quick else steps
    generate_images(model, steps=1)  # warm-up
    started = time.perf_counter()
    generate_images(model, steps=measured)
    return (time.perf_counter() - started) * steps / measured


def expect(images_per_second: float, epochs: int) -> Facts:
    """How long things will take at this speed, as (what, how long)."""
    epoch = CIFAR10_IMAGES / images_per_second
    shapes = SHAPES10_IMAGES / images_per_second
    lesson = LESSON_MINUTES * 60 / shapes
    return [
        (f"One epoch of CIFAR-10 ({CIFAR10_IMAGES:,} images)", in_words(epoch)),
        (f"aetherfusion train ({epochs} epochs of it)", in_words(epochs * epoch)),
        (f"One epoch of shapes10 ({SHAPES10_IMAGES:,} images)", in_words(shapes)),
        (f"{LESSON_MINUTES} minutes of a lesson", f"{lesson:.1f} epochs of shapes10"),
        (
            f"{CLASS_MINUTES} minutes of a lesson",
            f"{60 * CLASS_MINUTES / epoch:.1f} epochs of CIFAR-10",
        ),
    ]


def in_words(seconds: float) -> str:
    """90.0 to "1.5 minutes": one number and a unit that fits it."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def table(facts: Facts) -> str:
    """Names to the left, the rest to the right of them, in lines that fit a small window."""
    width = max(len(name) for name, _ in facts) + 3
    return "\n".join(
        textwrap.fill(value, 79, initial_indent=name.ljust(width), subsequent_indent=" " * width)
        for name, value in facts
    )
