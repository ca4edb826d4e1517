"""The command line, `aetherfusion`; options that are not given keep the library's defaults."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from torch import Tensor, nn
from typer import Argument, Option

from .._version import __version__
from ..checkpoint import load_model, load_pretrained
from ..generation import generate_images, label_numbers
from ..plots import check_picture_name, save_images
from ..utils.files import atomic_write, check_writable, file_stem
from ..utils.hardware import best_device
from .doctor import doctor
from .picker import Weights, picker
from .recipe import given, train

Output = Annotated[Path | None, Option("--output", "-o", help="The file to write.")]
Seed = Annotated[int, Option(min=0, max=2**32 - 1, help="The same seed gives the same images.")]
Steps = Annotated[int | None, Option(min=1, max=1000, help="Sampling steps: more is slower.")]
Guidance = Annotated[float | None, Option(min=0, help="1 is none; higher is clearer, less varied.")]
Interval = Annotated[tuple[float, float] | None, Option(help="Guide between these times.")]
Sampler = Annotated[Literal["dpmpp_2m", "heun", "ddim"] | None, Option()]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 2 after an error (which is one line), or 130 after Ctrl-C."""
    command = typer.main.get_command(app)  # its own main() would drop the message of Ctrl-C
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a code page of Windows may lack some letters
            stream.reconfigure(errors="replace")
    try:
        with command.make_context("aetherfusion", words, help_option_names=["-h", "--help"]) as ctx:
            command.invoke(ctx)
    except typer.Exit as done:
        return done.exit_code
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        return 130
    except BrokenPipeError:  # `aetherfusion doctor | head -1`
        os._exit(1)
    except (TypeError, AttributeError, LookupError, AssertionError):
        raise  # a bug keeps its traceback
    except Exception as error:
        text = getattr(error, "format_message", error.__str__)()  # of usage errors, else of all
        text = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(text.split()))
        if isinstance(error, torch.OutOfMemoryError) or "to allocate" in text:
            text = "the memory is full; use a smaller --batch-size, -n or model"
        if isinstance(error, ModuleNotFoundError):
            text += "; python -m pip install 'aetherfusion[notebooks,eval]' installs it"
        typer.echo(f"Error: {text}", err=True)
        return 2
    return 0


@app.callback(invoke_without_command=True)
def _aetherfusion(version: Annotated[bool, Option("--version")] = False) -> None:
    """Generates small images out of noise, and learns how to.

    \b
      aetherfusion doctor                      what is here, and how fast is it?
      aetherfusion generate horse              ten horses, in horse.png
      aetherfusion train --data shapes10       train on drawn shapes, without a network
      aetherfusion evaluate                    how good are the images?
      aetherfusion picker                      pick classes on a web page
    """
    if version:
        typer.echo(f"aetherfusion {__version__}")


app.command()(train)
app.command()(picker)
app.command()(doctor)


def _images(model: nn.Module, number: int, labels: list[str] | None, *sampling: Any) -> Tensor:
    names = ("seed", "steps", "guidance_scale", "guidance_interval", "sampler")
    options = given(progress=sys.stderr.isatty(), **dict(zip(names, sampling, strict=True)))
    return generate_images(model.to(best_device()), number, labels=labels or None, **options)


@app.command()
def generate(
    labels: Annotated[list[str] | None, Argument(help="Names or numbers of classes.")] = None,
    num_samples: Annotated[int | None, Option("--num-samples", "-n", min=1, max=10_000)] = None,
    output: Output = None,
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    interval: Interval = None,
    sampler: Sampler = None,
    weights: Weights = None,
    cols: Annotated[int | None, Option(min=1, help="Images in a row.")] = None,
    zoom: Annotated[int | None, Option(min=1, max=32, help="Enlargement of the pixels.")] = None,
) -> None:
    """Generate images, ten unless -n says otherwise, and write them to one file.

    \b
      aetherfusion generate cat dog -n 20 -o pets.png
      aetherfusion generate ship --seed 7 --weights model.safetensors
    """
    model = load_pretrained() if weights is None else load_model(weights)
    names = labels or []
    number = num_samples or max(10, len(names))
    if output is None:
        output = Path(file_stem(" ".join(names).lower() if len(names) <= 3 else "") + ".png")
    check_picture_name(output)
    check_writable(output)
    images = _images(model, number, labels, seed, steps, guidance, interval, sampler)
    save_images(images, output, **given(cols=cols, zoom=zoom))
    typer.echo(f"Wrote {output}: {len(images)} images.")


@app.command()
def evaluate(
    num_samples: Annotated[int, Option("--num-samples", "-n", min=10, max=50_000)] = 2000,
    output: Output = None,
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    interval: Interval = None,
    sampler: Sampler = None,
    weights: Weights = None,
) -> None:
    """Evaluate a model of CIFAR-10's classes: how close are its images to real ones?"""
    from .. import evaluation  # slow to import, and only needed here
    from ..data import load_cifar10

    model = load_pretrained() if weights is None else load_model(weights)
    evaluation.check_model(model)
    if output is not None:
        check_writable(output)
    reference, training = load_cifar10(train=False), load_cifar10()
    typer.echo(f"Generating {num_samples} images, the classes in turn, to compare with real ones.")
    images = _images(model, num_samples, None, seed, steps, guidance, interval, sampler)
    labels = label_numbers(model, None, num_samples)
    found = evaluation.evaluate(images, labels, evaluation.RealPictures(reference, training))
    typer.echo(str(found))
    if output is not None:
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
