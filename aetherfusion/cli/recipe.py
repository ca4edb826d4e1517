"""A whole training run, from the data to the model file: `aetherfusion train`, as in lesson 05."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from torch import nn
from typer import Option

from .. import training
from .._version import __version__
from ..checkpoint import load_model, read_notes, save_model
from ..data import load_cifar10, load_shapes10, make_loader
from ..generation import generate_images
from ..model import DiffusionTransformerUNet
from ..optimizer import recommended_optimizer
from ..plots import save_images
from ..utils.files import atomic_write, check_writable
from ..utils.hardware import best_device, join_processes, rank
from ..utils.history import Step
from ..utils.runs import STATE_FILE
from .doctor import EPOCHS, FEW_IMAGES, agreed, planned_run, training_speed


def train(
    data: Annotated[Literal["cifar10", "shapes10"], Option()] = "cifar10",
    epochs: Annotated[int | None, Option(min=1, help=f"Passes over the data ({EPOCHS}).")] = None,
    minutes: Annotated[float | None, Option(min=0.01, help="Instead: for this long.")] = None,
    batch_size: Annotated[int | None, Option(min=1, help="Images, over all processes.")] = None,
    lr: Annotated[float | None, Option(help="The highest learning rate.")] = None,
    decay: Annotated[float | None, Option(help="The last part of the run, where lr falls.")] = None,
    output: Annotated[Path, Option("--output", "-o")] = Path("model.safetensors"),
    checkpoint_dir: Annotated[Path | None, Option(help="Where the run's state is kept.")] = None,
    checkpoint_every: Annotated[int | None, Option(min=1, help="Steps between states.")] = None,
    seed: Annotated[int, Option(min=0, max=2**32 - 1)] = 0,
    precision: Annotated[Literal["auto", "bf16", "fp16", "no"], Option()] = "auto",
    compile: Annotated[bool, Option("--compile", help="Faster steps after a slow start.")] = False,
    num_images: Annotated[int | None, Option(min=1, max=10**6, help="Use only so many.")] = None,
    embedding_dim: Annotated[int | None, Option(min=8, help="A multiple of 8.")] = None,
    num_heads: Annotated[int | None, Option(min=1, help="Attention heads per block.")] = None,
    depth: Annotated[int | None, Option(min=1, help="Transformer blocks.")] = None,
    accumulate: Annotated[int | None, Option(min=1, help="Batches per step.")] = None,
    start_from: Annotated[Path | None, Option(help="A model file to begin with.")] = None,
    preview_every: Annotated[int, Option(min=0, help="Steps between previews; 0: none.")] = 0,
) -> None:
    """Train a model. Ctrl-C stops it; the same command goes on from there.

    \b
      aetherfusion train --minutes 25, or torchrun --nproc-per-node 2 -m aetherfusion train
    """
    command = "aetherfusion train" + "".join(
        f" --{name.replace('_', '-')} {getattr(value, 'name', value)}"
        for name, value in given(**locals()).items()
        if name not in ("output", "checkpoint_dir", "checkpoint_every", "preview_every", "compile")
    )
    started, terminal = time.monotonic(), sys.stderr.isatty()
    if minutes and epochs:
        raise ValueError("--epochs and --minutes both say how long to train; use one of them")
    if output.suffix != ".safetensors":
        raise ValueError(f"{output}: the name of a model file must end in .safetensors")
    name = f"{data}-from-{start_from.stem}" if start_from else data
    folder = checkpoint_dir or Path("runs", f"{name}-{minutes:g}-minutes" if minutes else name)
    check_writable(output)
    check_writable(folder / STATE_FILE)
    join_processes()
    say, device = (typer.echo if rank() == 0 else lambda _: None), best_device()
    load = load_cifar10 if data == "cifar10" else lambda: load_shapes10(num_images or 10_000)
    first = load() if rank() == 0 else None
    images = agreed(None) or first or load()  # one process downloads, before the others read
    images.images, images.labels = images.images[:num_images], images.labels[:num_images]
    notes: dict[str, Any] = {"command": command}
    loader = make_loader(images.to(device), **given(batch_size=batch_size))
    arithmetic = None if precision == "auto" else precision
    options = given(accumulate=accumulate, precision=arithmetic, compile=compile, seed=seed)
    planned: Any = agreed(planned_run(folder)) if minutes else None
    steps = planned and planned["total_steps"]
    asked = planned["config"]["depth"] if planned else depth
    for blocks in [None, 2] if minutes and not (asked or start_from) else [asked]:
        torch.manual_seed(seed)
        model = DiffusionTransformerUNet(
            num_classes=len(images.class_names),
            class_names=images.class_names,
            **given(embedding_dim=embedding_dim, num_heads=num_heads, depth=blocks),
        )
        if start_from:
            notes["started_from"] = _start_from(model, start_from)
        if minutes and not planned:
            say(f"Measuring how fast this machine trains {blocks or 4} blocks ...")
            speed = training_speed(min(12, 5 * minutes), model=model, loader=loader, **options)
            left = 0.97 * 60 * minutes - (time.monotonic() - started)  # the rest is for saving
            steps = agreed(int(left * speed / (loader.batch_size or 1) / (accumulate or 1)))
            if agreed(left * speed) >= FEW_IMAGES:
                break
    if minutes and steps < 10:
        raise ValueError(f"--minutes {minutes:g} has time for {max(0, steps)} steps: give more")
    if minutes and not planned:
        say(f"{speed:.0f} images/s: {steps:,} steps fill {minutes:g} minutes.")
    if (folder / STATE_FILE).exists():
        say(f"Resuming the run in {folder}.")
    with_what = f"{len(model.unet.blocks)} blocks, {len(images):,} images of {data}"
    say(f"Training a model of {with_what} on {device.type}.")
    reported: list[float] = []  # when

    def report(step: Step) -> None:
        now, done = time.monotonic(), f"step {step.step} of {step.total_steps}"
        if not reported or now - reported[-1] > 30 or step.step == step.total_steps:
            reported.append(now)
            if not terminal:  # which has a bar
                say(f"{done}: loss {step.loss:.4f}, {step.images / step.seconds:.0f} images/s")
        if preview_every and step.step % preview_every == 0:
            pictures = generate_images(step.averaged_model)
            save_images(pictures, folder / f"preview-{step.step:06d}.png")

    history = training.train(
        model,
        loader,
        nn.MSELoss(),
        recommended_optimizer(model, **given(lr=lr)),
        10**6 if minutes else epochs or EPOCHS,
        callbacks=[report],
        progress=terminal,
        max_steps=steps,
        checkpoint_dir=folder,
        **options,
        **given(decay=decay, checkpoint_every=checkpoint_every),
    )
    if rank() > 0:
        return
    notes |= {"images_seen": history.images_seen(), "loss": round(history.recent_loss(), 6)}
    notes |= {"seconds": round(sum(history.seconds)), "aetherfusion": __version__}
    save_model(model, output, notes=notes | {"torch": torch.__version__})
    with atomic_write(folder / "loss.png") as partial:
        history.plot().figure.savefig(partial)
    if not reported:
        say("That run was finished already; use another --checkpoint-dir to train again.")
    say(f"{history.images_seen():,} images seen; mean loss at the end {notes['loss']:.4f}.")
    then = f"Now try\n  aetherfusion generate {images.class_names[0]} --weights {output}"
    say(f"Wrote {output}, and the losses to {folder / 'loss.png'}. {then}")


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of the library."""
    return {name: value for name, value in options.items() if value is not None}


def _start_from(model: DiffusionTransformerUNet, path: Path) -> dict[str, Any]:
    """Loads the weights of a model file, which may have fewer blocks; returns its notes."""
    found = load_model(path)
    different = {k: v for k, v in found.config.items() if v != model.config[k]}
    if len(found.unet.blocks) < len(model.unet.blocks):
        del different["depth"]  # new blocks start as the identity and change nothing
    if different:
        raise ValueError(f"{path} holds another kind of model, with {different}")
    model.load_state_dict({**model.state_dict(), **found.state_dict()})
    model.sampling = found.sampling
    return read_notes(path)
