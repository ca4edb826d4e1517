"""A whole training run, from the data to the model file: what `aetherfusion train` does.

Owns: `Recipe`, what decides the outcome, and `follow`, which trains by it and leaves in the
checkpoint folder

    training_state.pt   what resuming needs (see training_state.py)
    run.json            the recipe, and the processor time spent so far
    history.json        loss, learning rate and speed of every step
    loss.png            the same, to look at
    preview-000500.png  pictures of the averaged model after so many steps, if asked for.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn

from .._version import __version__
from ..checkpoint import load_model, read_notes, save_model
from ..data import ImageTensors, load_cifar10, load_shapes10, make_loader
from ..generation import generate_images
from ..model import DiffusionTransformerUNet
from ..optimizer import recommended_optimizer
from ..plots import save_images
from ..training import train
from ..utils.files import check_writable, atomic_write
from ..utils.hardware import Precision, choose_precision
from ..utils.history import History, Step, reporter
from ..utils.runs import STATE_FILE, epochs_begun
from .doctor import epochs_within

KEEP_EVERY = 500  # steps between two states
RUN_FILE = "run.json"

Callback = Callable[[Step], None]


@dataclass(frozen=True)
class Recipe:
    """What decides the outcome of a run, under the names of the command line's options.

    Attributes:
        num_images: to draw, or to use at most; None for as many as the data room gives.
        decay: see `learning_rate_factor`.
        start_from: a model file to go on from, of as many blocks or fewer; None to start from
            nothing.
        precision: None for what is fast here. A run may be resumed with another one.
    """

    data: str
    num_images: int | None
    epochs: int
    batch_size: int
    accumulate: int
    lr: float
    seed: int
    embedding_dim: int
    num_heads: int
    depth: int
    decay: float
    precision: Precision | None
    start_from: str | None = None

    def decided(self) -> dict[str, Any]:
        """All of it by name, without anybody's paths."""
        name = None if self.start_from is None else Path(self.start_from).name
        return asdict(self) | {"start_from": name}

    def command(self) -> str:
        """The command line of this recipe, without anybody's paths."""
        options = ((name.replace("_", "-"), value) for name, value in self.decided().items())
        return "aetherfusion train " + " ".join(
            f"--{name} {value}" for name, value in options if value is not None
        )

    def load(self) -> ImageTensors:
        """The images to train on."""
        number = self.num_images
        if self.data == "shapes10":
            return load_shapes10() if number is None else load_shapes10(number)
        images = load_cifar10()
        if number is None:
            return images
        return ImageTensors(
            images.images[:number], images.labels[:number], images.class_names, flip=images.flip
        )


def follow(
    recipe: Recipe,
    output: Path,
    checkpoint_dir: Path,
    minutes: float | None = None,
    *,
    compile: bool = False,
    preview_every: int = 0,
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] = print,
) -> History:
    """Trains by a recipe, or goes on where the same recipe was stopped, and writes the model.

    Args:
        output: the model file.
        checkpoint_dir: for everything else, see above.
        minutes: do as many epochs as fit into them here instead of the recipe's; a run that was
            begun in the folder keeps the number that it was begun with.
        compile: see `training_steps`.
        preview_every: steps between two previews; 0 for none.
        callbacks: more of them, for `train`.
        say: is told what goes on, line by line.

    Raises:
        ValueError: a part of the recipe is impossible, the minutes are too few for one epoch, or
            the folder holds another run.
        OSError: something cannot be written or fetched.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    processes = PartialState()
    if minutes is not None and processes.num_processes > 1:
        raise ValueError("--minutes measures a single process; give several the number --epochs")
    clock = time.monotonic()
    begun = None if minutes is None else epochs_begun(checkpoint_dir)
    if begun is not None:
        recipe = replace(recipe, epochs=begun)
    spent_before = _spent_before(checkpoint_dir, recipe)
    started = time.process_time()
    with processes.main_process_first():  # the others find what it has downloaded
        dataset = recipe.load().to(processes.device)
    torch.manual_seed(recipe.seed)
    model = DiffusionTransformerUNet(
        image_size=dataset.images.shape[-1],
        num_classes=len(dataset.class_names),
        embedding_dim=recipe.embedding_dim,
        num_heads=recipe.num_heads,
        depth=recipe.depth,
        class_names=dataset.class_names,
    )
    before = None if recipe.start_from is None else _start_from(model, recipe.start_from)
    loader = make_loader(dataset, recipe.batch_size)
    optimizer = recommended_optimizer(model, recipe.lr)
    check_writable(output)
    check_writable(checkpoint_dir / STATE_FILE)
    if minutes is not None and begun is None:
        measured = time.process_time()
        epochs = epochs_within(
            minutes,
            len(dataset),
            since=clock,
            say=say,
            batch_size=recipe.batch_size,
            precision=recipe.precision,
            compile=compile,
            embedding_dim=recipe.embedding_dim,
            num_heads=recipe.num_heads,
            depth=recipe.depth,
        )
        recipe = replace(recipe, epochs=epochs)
        started += time.process_time() - measured  # that was not the training yet

    trained, found_state = False, (checkpoint_dir / STATE_FILE).exists()

    def keep_record(step: Step | None = None) -> None:
        nonlocal trained
        trained = trained or step is not None
        if step is None or step.step % KEEP_EVERY == 0:
            spent = round(spent_before + time.process_time() - started, 3)
            record = {"recipe": asdict(recipe), "cpu_seconds": spent}
            _write_json(record, checkpoint_dir / RUN_FILE)

    callbacks = list(callbacks)
    terminal = sys.stderr.isatty()
    precision = recipe.precision or choose_precision(processes.device).mixed_precision
    if processes.is_main_process:
        if found_state:
            say(f"Resuming the run of {recipe.epochs} epochs in {checkpoint_dir}.")
        weights = sum(p.numel() for p in model.parameters())
        say(
            f"Training {weights:,} weights on {len(dataset):,} images of {recipe.data}, "
            f"on {processes.device.type}, in {'float32' if precision == 'no' else precision}."
        )
        callbacks.append(keep_record)
        if not terminal:
            callbacks.append(reporter(say))
        if preview_every:
            callbacks.append(_previewer(checkpoint_dir, preview_every))
    try:
        history = train(
            model,
            loader,
            nn.MSELoss(),
            optimizer,
            recipe.epochs,
            callbacks=callbacks,
            progress=terminal,
            accumulate=recipe.accumulate,
            precision=precision,
            compile=compile,
            checkpoint_dir=checkpoint_dir,
            checkpoint_every=KEEP_EVERY,
            seed=recipe.seed,
            decay=recipe.decay,
        )
    finally:
        # A run that left no state leaves no record, and another run's state gets none from us.
        ours = trained or not found_state
        if processes.is_main_process and ours and (checkpoint_dir / STATE_FILE).exists():
            keep_record()
    if processes.is_main_process:
        spent = _spent_before(checkpoint_dir, recipe)
        notes = _notes(recipe, history, precision=precision, cpu_seconds=spent)
        if before is not None:
            notes["started_from"] = before
        save_model(model, output, notes=notes)
        _write_json(history.as_dict(), checkpoint_dir / "history.json")
        _draw(history, checkpoint_dir / "loss.png")
        if not trained:
            say(f"That run was finished already. To train anew, delete {checkpoint_dir}.")
        say(f"{history.images_seen():,} images seen; mean loss at the end {notes['loss']:.4f}.")
        say(f"Wrote {output}, and the losses to {checkpoint_dir / 'loss.png'}. Now try")
        say(f"  aetherfusion generate {dataset.class_names[0]} --weights {output}")
    return history


def _start_from(model: DiffusionTransformerUNet, path: str) -> dict[str, Any]:
    """Gives a new model the weights of a file of the same kind, and returns the notes in it.

    The file's model may have fewer transformer blocks: those that come after them start as the
    identity, so that the deeper model begins exactly where the other one stopped.
    """
    found = load_model(path)
    more_blocks = len(model.unet.blocks) - len(found.unet.blocks)
    different = [
        f"{name} {found.config.get(name)!r}, not {value!r}"
        for name, value in model.config.items()
        if found.config.get(name) != value and not (name == "depth" and more_blocks > 0)
    ]
    if different:
        raise ValueError(f"{path} holds another kind of model: it has {', '.join(different)}")
    # What is missing are blocks, and those are as they were made.
    model.load_state_dict({**model.state_dict(), **found.state_dict()})
    return read_notes(path)


def _spent_before(directory: Path, recipe: Recipe) -> float:
    """Processor seconds of the run in a folder, 0 if there is none; refuses another recipe's."""
    path = directory / RUN_FILE
    if not (directory / STATE_FILE).exists() or not path.exists():
        return 0.0
    advice = f"Give another --checkpoint-dir, or delete {directory / STATE_FILE} to start afresh."
    try:
        record = json.loads(path.read_text())
        saved, spent = dict(record["recipe"]), float(record["cpu_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged. {advice}") from error
    different = [
        f"--{name.replace('_', '-')} was {saved.get(name)} and is now {value}"
        for name, value in asdict(recipe).items()
        if name != "precision" and saved.get(name) != value
    ]
    if different:
        raise ValueError(f"{directory} holds another run: {'; '.join(different)}. {advice}")
    return spent


def _previewer(directory: Path, every: int) -> Callback:
    """Draws every class once with the averaged weights, each time from the same noise."""

    def preview(step: Step) -> None:
        if step.step % every == 0 or step.step == step.total_steps:
            images = generate_images(step.averaged_model)
            save_images(images, directory / f"preview-{step.step:06d}.png")

    return preview


def _notes(recipe: Recipe, history: History, **more: Any) -> dict[str, Any]:
    """What the header of the model file tells of its making."""
    return {
        "recipe": recipe.decided(),
        "command": recipe.command(),
        "images_seen": history.images_seen(),
        "loss": round(history.recent_loss(), 6),
        "seconds": round(sum(history.seconds), 1),
        "aetherfusion": __version__,
        "torch": torch.__version__,
        **more,
    }


def _write_json(value: Any, path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value))


def _draw(history: History, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    history.plot(figure.subplots())
    with atomic_write(path) as partial:
        figure.savefig(partial)
