"""The command line: `aetherfusion generate`, `train`, `evaluate`, `picker` and `doctor`.

Owns: the options, the order of work, and what is said when something is wrong. What is done is
done by the other rooms, and their signatures hold the defaults. Used in lesson 00 and after 07.
"""

import inspect
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import PartialState
from tqdm import tqdm

from .._version import __version__
from ..checkpoint import load_model, load_pretrained
from ..data import load_cifar10, make_loader
from ..generation import generate_images, label_numbers
from ..model import DiffusionTransformerUNet
from ..optimizer import recommended_optimizer
from ..plots import check_sheet, save_images
from ..sampling import ddim, dpmpp_2m, heun
from ..training import training_steps
from ..utils.files import check_writable, file_stem, atomic_write
from . import doctor as facts
from .picker import serve
from .recipe import Recipe, follow


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


# Defaults are written once, in these functions' signatures.
SAMPLING, PICTURE = _defaults(generate_images), _defaults(save_images)
TRAINING, MODEL = _defaults(training_steps), _defaults(DiffusionTransformerUNet)
LOADER, OPTIMIZER = _defaults(make_loader), _defaults(recommended_optimizer)
PAGE, EPOCHS = _defaults(serve), 24


class _Sampler(str, Enum):
    dpmpp = "dpmpp"
    heun = "heun"
    ddim = "ddim"


class _Data(str, Enum):
    cifar10 = "cifar10"
    shapes10 = "shapes10"


class _Precision(str, Enum):
    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    no = "no"


SAMPLERS = {_Sampler.dpmpp: dpmpp_2m, _Sampler.heun: heun, _Sampler.ddim: ddim}
DEFAULT_SAMPLER = next(name for name, made in SAMPLERS.items() if made is SAMPLING["sampler"])

Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed, the same result.")]
Weights = Annotated[
    Path | None, typer.Option(help="A model file of aetherfusion train; else the pretrained one.")
]
Steps = Annotated[int, typer.Option(min=1, max=1000, help="More of them is slower and finer.")]
Guidance = Annotated[
    float, typer.Option(min=0, help="1 for none; higher is plainer to see, less varied.")
]
Interval = Annotated[
    tuple[float, float],
    typer.Option(metavar="LOW HIGH", help="Times between which to guide; 0 data, 1 noise."),
]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; the only place where errors become one line and an exit code.

    Args:
        args: what follows `aetherfusion` on the command line; None to ask the system.

    Returns:
        0 if all went well, 2 if something was wrong with what was asked for or with the machine,
        130 after Ctrl-C. Any other exception is a mistake of ours and keeps its traceback.
    """
    command = typer.main.get_command(app)  # its main() would swallow a KeyboardInterrupt's message
    usage_error: type[Exception] = typer.BadParameter.__bases__[0]  # Click's, or Typer's copy
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a code page without an é shall cost no result
            stream.reconfigure(errors="replace")
    try:
        with command.make_context("aetherfusion", words) as ctx:
            command.invoke(ctx)
    except typer.Exit as done:
        return done.exit_code
    except KeyboardInterrupt as stop:
        text = _in_one_line(stop) or "stopped"
        typer.echo(text[0].upper() + text[1:], err=True)
        return 130
    except BrokenPipeError:  # `aetherfusion doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (usage_error, ValueError, OSError, FloatingPointError, torch.OutOfMemoryError) as error:
        typer.echo(f"Error: {_in_one_line(error)}", err=True)
        return 2
    return 0


def _in_one_line(error: BaseException) -> str:
    text = str(error)
    if hasattr(error, "format_message"):  # a usage error, which then names the option
        text = f"{error.format_message()} (--help tells more)"
    elif isinstance(error, torch.OutOfMemoryError):
        text = "the memory of the GPU is full; lower --batch-size or -n"
    elif isinstance(error, OSError) and error.strerror:  # without its "[Errno 28]"
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    return " ".join(text.split())


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aetherfusion {__version__}")
        raise typer.Exit


@app.callback()
def _aetherfusion(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say it and stop."),
    ] = False,
) -> None:
    """Makes small pictures out of noise, and learns how to.

    \b
      aetherfusion doctor                      what is here, and how fast is it?
      aetherfusion generate horse              ten horses, in horse.png
      aetherfusion train --data shapes10       teach a model ten shapes, without a network
      aetherfusion evaluate                    how good are its pictures?
      aetherfusion picker                      pick classes on a web page, for a projector
      aetherfusion generate --help             more about one command
    """


@app.command()
def generate(
    labels: Annotated[
        list[str] | None,
        typer.Argument(help="Names or numbers of classes, used in turn; none for all of them."),
    ] = None,
    num_samples: Annotated[
        int, typer.Option("--num-samples", "-n", min=1, max=10_000, help="How many pictures.")
    ] = SAMPLING["num_samples"],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Picture file; by default named after the labels."),
    ] = None,
    seed: Seed = SAMPLING["seed"],
    steps: Steps = SAMPLING["steps"],
    guidance: Guidance = SAMPLING["guidance_scale"],
    interval: Interval = SAMPLING["guidance_interval"],
    sampler: Annotated[_Sampler, typer.Option(help="How the steps are taken.")] = DEFAULT_SAMPLER,
    weights: Weights = None,
    cols: Annotated[int, typer.Option(min=1, help="Pictures in a row.")] = PICTURE["cols"],
    zoom: Annotated[int, typer.Option(min=1, max=32, help="Enlargement of pixels.")] = PICTURE[
        "zoom"
    ],
) -> None:
    """Make pictures and write them to one file.

    \b
      aetherfusion generate horse
      aetherfusion generate cat dog -n 20 -o pets.png
      aetherfusion generate ship --seed 7 --weights model.safetensors
    """
    model = load_pretrained() if weights is None else load_model(weights)
    label_numbers(model, labels or None, num_samples)  # a misspelt one is told before it begins
    if output is None:
        names = [label.lower() for label in labels or []]
        output = Path(f"{file_stem(' '.join(names) if len(names) <= 3 else '')}.png")
    check_sheet(output, num_samples, model.image_size, model.image_size, cols=cols, zoom=zoom)
    check_writable(output)
    model = model.to(PartialState().device)
    total = steps * math.ceil(num_samples / SAMPLING["batch_size"])
    started = time.perf_counter()
    with tqdm(total=total, unit="step", disable=None) as bar:  # None: only in a terminal
        images = generate_images(
            model,
            num_samples,
            labels=labels or None,
            seed=seed,
            steps=steps,
            guidance_scale=guidance,
            guidance_interval=interval,
            sampler=SAMPLERS[sampler],
            callback=lambda _: bar.update(),
        )
    seconds = time.perf_counter() - started
    save_images(images, output, cols=cols, zoom=zoom)
    typer.echo(f"Wrote {output}: {len(images)} made in {facts.in_words(seconds)}.")


@app.command()
def train(
    data: Annotated[_Data, typer.Option(help="What to learn.")] = _Data.cifar10,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data.", show_default=str(EPOCHS)),
    ] = None,
    minutes: Annotated[
        int | None, typer.Option(min=1, help="Instead: the epochs done here in so long.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = LOADER[
        "batch_size"
    ],
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = OPTIMIZER["lr"],
    decay: Annotated[
        float, typer.Option(min=0, max=1, help="The last part of the run, where that falls to 0.")
    ] = TRAINING["decay"],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")] = Path(
        "model.safetensors"
    ),
    checkpoint_dir: Annotated[
        Path | None,
        typer.Option(help="State and losses go here; by default into a folder in runs/."),
    ] = None,
    seed: Seed = TRAINING["seed"],
    precision: Annotated[
        _Precision, typer.Option(help="Arithmetic; auto is what is fast here.")
    ] = _Precision.auto,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the model first: worth it for long runs.")
    ] = TRAINING["compile"],
    num_images: Annotated[
        int | None,
        typer.Option(min=1, max=10**6, help="Images to draw (shapes10) or use at most (cifar10)."),
    ] = None,
    embedding_dim: Annotated[int, typer.Option(help="Size of the model, a multiple of 8.")] = MODEL[
        "embedding_dim"
    ],
    num_heads: Annotated[int, typer.Option(help="Attention heads of each block.")] = MODEL[
        "num_heads"
    ],
    depth: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = MODEL["depth"],
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches to one step: large batches in little memory.")
    ] = TRAINING["accumulate"],
    start_from: Annotated[
        Path | None, typer.Option(help="A model file to go on from; it may have fewer blocks.")
    ] = None,
    preview_every: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Draw a preview so often; 0 for never.")
    ] = 0,
) -> None:
    """Train a model. Ctrl-C stops it; the same command again goes on from there.

    \b
      aetherfusion train --minutes 25
      aetherfusion train --data shapes10 --epochs 5
      aetherfusion train --epochs 200 --compile -o cifar10.safetensors
    """
    if minutes and epochs:
        raise ValueError("--epochs and --minutes both say how long to train; give one of them")
    recipe = Recipe(
        data=data.value,
        num_images=num_images,
        epochs=epochs or EPOCHS,
        batch_size=batch_size,
        accumulate=accumulate,
        lr=lr,
        seed=seed,
        embedding_dim=embedding_dim,
        num_heads=num_heads,
        depth=depth,
        decay=decay,
        precision=None if precision is _Precision.auto else precision.value,
        start_from=None if start_from is None else str(start_from),
    )
    if output.suffix != ".safetensors":
        raise ValueError(f"{output}: end the name of the model in .safetensors")
    name = f"{data.value}-{minutes}-minutes" if minutes else data.value
    folder, say = checkpoint_dir or Path("runs", name), typer.echo
    follow(recipe, output, folder, minutes, compile=compile, preview_every=preview_every, say=say)


@app.command()
def evaluate(
    num_samples: Annotated[
        int, typer.Option("--num-samples", "-n", min=10, max=50_000, help="Pictures to judge.")
    ] = 2000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the figures to a JSON file too.")
    ] = None,
    seed: Seed = SAMPLING["seed"],
    steps: Steps = SAMPLING["steps"],
    guidance: Guidance = SAMPLING["guidance_scale"],
    interval: Interval = SAMPLING["guidance_interval"],
    sampler: Annotated[_Sampler, typer.Option(help="As for generate.")] = DEFAULT_SAMPLER,
    weights: Weights = None,
    inception: Annotated[
        bool, typer.Option("--inception", help="The usual FID too: slow, fetches a network.")
    ] = False,
) -> None:
    """Judge a model of CIFAR-10's classes: how near are its pictures to real ones?

    \b
      aetherfusion evaluate
      aetherfusion evaluate -n 500 --guidance 1.5
      aetherfusion evaluate --weights model.safetensors -o report.json
    """
    try:
        from .. import evaluation

        if inception:
            evaluation.inception_metric()  # what is missing is told before hours of work
    except ImportError as error:
        raise ValueError(str(error)) from error
    model = load_pretrained() if weights is None else load_model(weights)
    evaluation.check_model(model)
    if output is not None:
        check_writable(output)
    reference, training = load_cifar10(train=False), load_cifar10()
    model = model.to(PartialState().device)
    typer.echo(f"Making {num_samples} pictures, the classes in turn.")
    images = generate_images(
        model,
        num_samples,
        seed=seed,
        steps=steps,
        guidance_scale=guidance,
        guidance_interval=interval,
        sampler=SAMPLERS[sampler],
        progress=sys.stderr.isatty(),
    )
    typer.echo("Comparing them with real ones.")
    labels = label_numbers(model, None, num_samples)
    found = evaluation.evaluate(images, labels, evaluation.RealPictures(reference, training))
    _write_report(found.as_dict(), output)
    typer.echo(str(found))
    if inception:
        fid = evaluation.inception_distance(images, training)
        typer.echo(f"FID, {len(images):,} pictures against the training set: {fid:.1f}")
        _write_report(found.as_dict() | {"fid": fid}, output)


def _write_report(report: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(report, indent=1) + "\n")
        typer.echo(f"Wrote {output}.")


@app.command()
def picker(
    weights: Weights = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = PAGE["host"],
    port: Annotated[int, typer.Option(min=1, help="Or the next free one.")] = PAGE["port"],
    browser: Annotated[bool, typer.Option(help="Open the page here.")] = PAGE["open_browser"],
) -> None:
    """Show a page on which a class is picked and appears; F11 and Ctrl-+ suit a projector.

    \b
      aetherfusion picker
      aetherfusion picker --host 0.0.0.0       open to all in the network, without a password
    """
    if weights is not None:
        load_model(weights)  # what is wrong with it is told here
    serve(weights, host=host, port=port, open_browser=browser, say=typer.echo)


@app.command()
def doctor(
    weights: Weights = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure for a second or two, less exactly.")
    ] = False,
) -> None:
    """Say what is here, how fast it is, and what to expect of it.

    \b
      aetherfusion doctor
      aetherfusion doctor --quick
    """
    facts.examine(weights, quick=quick, epochs=EPOCHS, say=typer.echo)
