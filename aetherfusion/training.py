"""How it is trained: one loop, on whatever hardware there is, that can be stopped and resumed.

Owns: `train`, the generator `training_steps` under it, and `diffusion_loss` under that. Built in
lesson 05.
Implements flow matching (Lipman et al. 2023, equation 23) as a plain regression of the velocity,
with label dropout (Ho & Salimans 2022, algorithm 1).
"""

import contextlib
import math
import operator
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from .diffusion import FLOW, NoisePath, sample_times
from .optimizer import averaged_copy, learning_rate_factor
from .utils.batches import (
    check_images,
    check_labels,
    check_optimizer,
    count_steps,
    epoch_batches,
    seeded,
)
from .utils.hardware import Precision, make_accelerator
from .utils.history import History, Step
from .utils.memory import kept_memory
from .utils.runs import (
    Interruption,
    check_readable,
    interrupted,
    load_state,
    name_of,
    not_finite,
    plain,
    save_state,
)

Criterion = Callable[[Tensor, Tensor], Tensor]


def train(
    model: nn.Module,
    trainloader: Iterable[Any],
    criterion: Criterion,
    optimizer: Optimizer,
    num_epochs: int,
    *,
    callbacks: Sequence[Callable[[Step], None]] = (),
    progress: bool = True,
    **options: Any,
) -> History:
    """Trains a model to predict the velocity; afterwards it holds the averaged weights.

    >>> criterion = nn.MSELoss()
    >>> optimizer = optim.Adam(model.parameters(), lr=1e-4)
    >>> history = train(model, trainloader, criterion, optimizer, num_epochs=50)

    Args:
        model: any module with `forward(xt, t, labels) -> velocity`. If it has a `null_label`,
            labels are sometimes replaced by it.
        trainloader: batches of (images, labels): images (B, C, H, W) in [-1, 1], labels (B,).
        criterion: a loss of (prediction, target); the mean squared error is the one meant.
        optimizer: any torch optimizer over the model's parameters whose step needs no closure.
            Its learning rate is the highest of the run: it is warmed up and decayed from there.
        num_epochs: how often every image is seen.
        callbacks: each is called with every `Step`, after the weights have moved.
        progress: whether to show a bar with loss, images/s and time left.
        **options: passed on to `training_steps`: `checkpoint_dir` to be able to resume, and more.

    Returns:
        the `History` of the run, with a `plot()`.

    Raises:
        ValueError: if the batches, the labels, the optimizer or a checkpoint do not fit.
        FloatingPointError: if the loss is no longer finite; the last good weights are kept.
        KeyboardInterrupt: after Ctrl-C, once the step is done and the state is saved; the model
            then holds the averaged weights so far.
    """
    history = History()
    steps = training_steps(
        model, trainloader, criterion, optimizer, num_epochs, history=history, **options
    )
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with contextlib.ExitStack() as stack:
        # The loop seeds torch's global generator; the caller's is given back.
        stack.enter_context(torch.random.fork_rng(gpus))
        stack.enter_context(contextlib.closing(steps))
        bar = None
        for step in steps:
            if bar is None:  # only now is it known where a resumed run goes on
                hidden = not (progress and PartialState().is_main_process)
                bar = stack.enter_context(
                    tqdm(total=step.total_steps, initial=step.step - 1, unit="step", disable=hidden)
                )
            bar.set_postfix_str(
                f"loss {history.recent_loss():.4f}, {history.images_per_second():.0f} images/s",
                refresh=False,
            )
            bar.update()
            for callback in callbacks:
                callback(step)
    return history


def training_steps(
    model: nn.Module,
    trainloader: Iterable[Any],
    criterion: Criterion,
    optimizer: Optimizer,
    num_epochs: int,
    *,
    path: NoisePath = FLOW,
    label_dropout: float = 0.1,
    warmup_steps: int = 50,
    decay: float = 1.0,
    average_exponent: float = 8.0,
    max_grad_norm: float = 1.0,
    accumulate: int = 1,
    precision: Precision | None = None,
    compile: bool = False,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 500,
    seed: int = 0,
    history: History | None = None,
) -> Generator[Step, None, None]:
    """The loop under `train`, one optimizer step at a time, for those who want to watch or stop it.

    The same arguments, checkpoints included, give the same weights on the same machine, however
    often the run was killed and started again: bit for bit on a CPU, where the data set draws its
    random numbers from torch and the loader's workers are not persistent. Seeds torch's global
    generator, and the loader's own if it has one, and takes over Ctrl-C until it ends or is closed.
    Then the model holds the averaged weights, as after `train`, in `eval` mode.

    >>> steps = training_steps(model, trainloader, criterion, optimizer, num_epochs=1)
    >>> with contextlib.closing(steps):
    ...     for step in steps:
    ...         print(step.step, step.loss)

    Args:
        model, trainloader, criterion, optimizer, num_epochs: as for `train`.
        path: from data to noise. A model file does not name it: if it is not the default,
            `generate_images` must be given the same.
        label_dropout: how often a label is replaced by `model.null_label`, in [0, 1]; guidance
            needs some.
        warmup_steps, decay: see `learning_rate_factor`.
        average_exponent: see `averaged_copy`.
        max_grad_norm: longer gradients are shortened to this.
        accumulate: batches to one optimizer step, for a large batch in little memory.
        precision: "bf16", "fp16", "no" (float32), or None for what is fast here.
        compile: compile the model first, a minute or more that a long run wins back.
        checkpoint_dir: where the state is kept; a state found there is resumed from. Without one
            nothing is written.
        checkpoint_every: steps between two states; one is written at the end and after Ctrl-C too.
        seed: of order, flips, times, noise and label dropout.
        history: filled as the run goes on; after resuming, with the steps before too.
    """
    for name, count in {
        "num_epochs": num_epochs,
        "accumulate": accumulate,
        "checkpoint_every": checkpoint_every,
    }.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    for name, part in {"label_dropout": label_dropout, "decay": decay}.items():
        if not 0 <= part <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {part}")
    if not max_grad_norm > 0 or not 0 <= average_exponent < math.inf:  # nan is neither
        raise ValueError(
            "max_grad_norm must be above 0 (math.inf for no limit) and average_exponent finite and "
            f"at least 0, got {max_grad_norm} and {average_exponent}"
        )
    check_optimizer(optimizer, model)
    try:
        seed = operator.index(seed)  # numpy's integers would seed otherwise
    except TypeError as error:
        raise ValueError(f"seed must be a whole number, got {seed!r}") from error
    history = History() if history is None else history
    directory = None if checkpoint_dir is None else Path(checkpoint_dir)
    accelerator = make_accelerator(precision, seed=seed)
    optimizer_name = type(optimizer).__name__
    average = averaged_copy(model, average_exponent).to(accelerator.device)
    count_steps(trainloader, accumulate)  # before anything is changed
    net, optimizer, loader = accelerator.prepare(model, optimizer, trainloader)
    if compile:
        net.compile()
    steps_per_epoch = count_steps(loader, accumulate)
    total_steps = num_epochs * steps_per_epoch
    rates = [group["lr"] for group in optimizer.param_groups]
    # What makes this run this one and no other.
    run = {
        "num_epochs": num_epochs,
        "steps_per_epoch": steps_per_epoch,
        "accumulate": accumulate,
        "seed": seed,
        "path": path.name,
        "learning_rates": [float(rate) for rate in rates],
        "optimizer": optimizer_name,
        "weights": sum(p.numel() for p in model.parameters()),
        "config": plain(getattr(model, "config", None), others=name_of),
        "label_dropout": float(label_dropout),
        "warmup_steps": warmup_steps,
        "decay": float(decay),
        "average_exponent": float(average_exponent),
        "max_grad_norm": float(max_grad_norm),
    }
    done = 0

    def state_now() -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "run": run,
            "done": done,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": plain(optimizer.state_dict()),
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
            "history": plain(history.as_dict()),
        }

    def keep() -> None:
        if directory is not None and accelerator.is_main_process:
            save_state(directory, state_now())

    try:
        state = load_state(directory, run) if directory else None
        if state is None and directory:
            check_readable(state_now())  # before hours of work
        if state is not None:
            done = state["done"]
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            if accelerator.scaler and state["scaler"]:  # the precision may have changed
                accelerator.scaler.load_state_dict(state["scaler"])
            history.load_dict(state["history"])
        net.train()
        with kept_memory(), Interruption() as interruption:
            for epoch in range(done // steps_per_epoch, num_epochs):
                batches = epoch_batches(loader, epoch, seed)
                # What a resumed epoch has seen is drawn again and dropped: that alone leaves
                # torch's random numbers, those of the user's transforms included, as they were.
                for _ in range(done % steps_per_epoch * accumulate):
                    next(batches)
                for _ in range(done % steps_per_epoch, steps_per_epoch):
                    started = time.perf_counter()
                    factor = learning_rate_factor(
                        done, total_steps, warmup_steps=warmup_steps, decay=decay
                    )
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * factor
                    micro_batches = list(islice(batches, accumulate))
                    if not micro_batches:
                        keep()
                        raise ValueError(
                            f"trainloader ended after {done % steps_per_epoch} of the "
                            f"{steps_per_epoch} steps that len(trainloader) promises; let its "
                            "length be the number of its batches"
                        )
                    with seeded(accelerator, seed, done):
                        loss = _gradients(
                            accelerator, net, micro_batches, criterion, path, label_dropout
                        )
                    norm = accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
                    # A float16 scaler skips steps whose gradient overflows; nothing else may.
                    if not math.isfinite(loss) or not (accelerator.scaler or norm.isfinite()):
                        keep()
                        raise FloatingPointError(not_finite(loss, done + 1, directory))
                    optimizer.step()
                    optimizer.zero_grad()
                    average.update_parameters(model)
                    done += 1
                    step = Step(
                        step=done,
                        total_steps=total_steps,
                        epoch=epoch,
                        loss=loss,
                        learning_rate=float(rates[0] * factor),
                        images=sum(len(x0) for x0, _ in micro_batches) * accelerator.num_processes,
                        seconds=time.perf_counter() - started,
                        averaged_model=average.module,
                    )
                    history.append(step)
                    if done % checkpoint_every == 0 or done == total_steps:
                        keep()
                    random_state = torch.get_rng_state()
                    try:
                        yield step
                    except GeneratorExit:
                        keep()
                        raise
                    # What the caller drew shall not change what the data set draws next.
                    torch.set_rng_state(random_state)
                    if _any_process(accelerator, interruption.requested):
                        keep()
                        raise KeyboardInterrupt(interrupted(done, total_steps, directory))
    finally:
        optimizer.zero_grad()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        model.load_state_dict(average.module.state_dict())
        # Accelerate's cast of the outputs and the compiled call were for the loop alone. So was its
        # mark: a marked model would be left alone by the next training, and computed in float32.
        accelerator.unwrap_model(net, keep_fp32_wrapper=False)
        model.__dict__.pop("_is_accelerate_prepared", None)
        if compile:
            model._compiled_call_impl = None
        model.eval()


def diffusion_loss(
    net: nn.Module,
    x0: Tensor,
    labels: Tensor,
    criterion: Criterion,
    path: NoisePath = FLOW,
    *,
    label_dropout: float = 0.0,
    null_label: int | None = None,
) -> Tensor:
    """How wrong the network is about the velocity, at a random time for every image.

    Args:
        net: `forward(xt, t, labels) -> velocity`.
        x0: (B, ...) images in [-1, 1].
        labels: (B,) integers.
        criterion: a loss of (prediction, target).
        path: from data to noise.
        label_dropout: how often a label is replaced by `null_label`, in [0, 1].
        null_label: the label that says "any class"; None if there is none.

    Returns:
        what the criterion gives, a tensor ().

    Source: Lipman et al. 2023, equation 23; Ho & Salimans 2022, algorithm 1 (label dropout).
    """
    # Noise, xt and the target stay in float32: only the network computes in less.
    t = sample_times(len(x0), device=x0.device)  # (B,)
    noise = torch.randn_like(x0)
    xt = path.mix(x0, noise, t)
    velocity = path.velocity(x0, noise, t)
    if null_label is not None:
        dropped = torch.rand(len(x0), device=x0.device) < label_dropout
        labels = torch.where(dropped, null_label, labels)
    return criterion(net(xt, t, labels), velocity)


def _gradients(
    accelerator: Accelerator,
    net: nn.Module,
    micro_batches: list[tuple[Tensor, Tensor]],
    criterion: Criterion,
    path: NoisePath,
    label_dropout: float,
) -> float:
    """Adds the gradient of the mean loss of some batches to the parameters; returns that loss."""
    null_label = getattr(accelerator.unwrap_model(net), "null_label", None)
    # float32, also where the data are float64; float64 for a model that computes in it.
    dtype = torch.promote_types(torch.float32, next(net.parameters()).dtype)
    total = torch.zeros((), device=accelerator.device)
    for k, (x0, labels) in enumerate(micro_batches, start=1):
        x0, labels = x0.to(accelerator.device), labels.to(accelerator.device)
        if null_label == 0:  # a model without classes
            labels = torch.zeros_like(labels)
        else:
            check_labels(labels, null_label)
        check_images(x0, labels)
        last = k == len(micro_batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(net):
            loss = diffusion_loss(
                net,
                x0.to(dtype),
                labels,
                criterion,
                path,
                label_dropout=label_dropout,
                null_label=null_label,
            )
            loss = loss / len(micro_batches)
            accelerator.backward(loss)
        total += loss.detach()
    return float(accelerator.reduce(total, reduction="mean"))


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is up in any process: they must stop at the same step, or wait for ever."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)
