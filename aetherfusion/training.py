"""`train`, the generator `training_steps` under it, and their pieces. Lesson 05 builds them.

Implements flow matching (Lipman et al. 2023, eq. 23) with label dropout (Ho & Salimans 2022).
"""

import contextlib
import hashlib
import itertools
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.random import fork_rng
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .diffusion import FLOW, NoisePath, recommended_sampling, sample_times
from .optimizer import averaged_copy, learning_rate_factor
from .utils.batches import check_batch, check_training
from .utils.files import content_hash
from .utils.hardware import (
    Precision,
    best_device,
    join_processes,
    kept_memory,
    num_processes,
    rank,
    training_dtype,
    unwrapped,
)
from .utils.history import History, Step
from .utils.runs import RunState, interrupt, stop_signals

Criterion = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


def train(
    model: nn.Module,
    trainloader: DataLoader[Any],
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
        model: any module with `forward(xt, t, labels) -> velocity`. Its `null_label`, if it has
            one, sometimes replaces a label; its `path`, if it has one, is the noise path.
        trainloader: batches of (images, labels): images (B, C, H, W) in [-1, 1], labels (B,).
        criterion: a mean loss of (prediction, target), normally the mean squared error.
        optimizer: any torch optimizer over the model's parameters. Its learning rate is the
            highest of the run: it is warmed up and decayed from there.
        num_epochs: how often every image is seen.
        callbacks: called with every `Step`, in process 0, after the weights have moved.
        progress: whether to show a bar with loss, images/s and time left.
        **options: of `training_steps`: `checkpoint_dir` to be able to resume, and more.

    Returns the `History` of the run, which has a `plot()`.

    Raises ValueError if the batches, the optimizer or a checkpoint do not fit; FloatingPointError
    if the loss is not finite; KeyboardInterrupt after Ctrl-C, SIGTERM, SIGHUP or SIGUSR1. Completed
    steps are saved in any case, and the model holds the averaged weights so far.
    """
    join_processes()
    history, folder = options.setdefault("history", History()), options.get("checkpoint_dir")
    steps = training_steps(model, trainloader, criterion, optimizer, num_epochs, **options)
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    bar = tqdm(unit="step", disable=not progress or rank() > 0)
    # The loop seeds torch's generators; the caller's are given back.
    with fork_rng(gpus), kept_memory(), stop_signals(interrupt), bar, contextlib.closing(steps):
        try:
            for step in steps:
                if bar.total is None:  # only now is it known where a resumed run goes on
                    bar.reset(step.total_steps)
                    bar.update(step.step - 1)
                loss, speed = history.recent_loss(), history.images_per_second()
                bar.set_postfix_str(f"loss {loss:.4f}, {speed:.0f} images/s", refresh=False)
                bar.update()
                for callback in callbacks if rank() == 0 else ():
                    callback(step)
        except KeyboardInterrupt:
            steps.close()
            done = f"{len(history)} of {bar.total}" if bar.total else len(history)
            after = f"run the same again to go on from {folder}" if folder else "nothing was saved"
            raise KeyboardInterrupt(f"stopped after step {done}; {after}") from None
    return history


def training_steps(
    model: nn.Module,
    trainloader: DataLoader[Any],
    criterion: Criterion,
    optimizer: Optimizer,
    num_epochs: int,
    *,
    label_dropout: float = 0.1,
    decay: float = 1.0,
    accumulate: int = 1,
    max_steps: int | None = None,
    precision: Precision | None = None,
    compile: bool = False,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 500,
    seed: int = 0,
    history: History | None = None,
) -> Generator[Step, None, None]:
    """The loop under `train`, one optimizer step at a time, which you can watch or stop.

    A run that was killed and started again ends with the same weights as one that was not: bit
    for bit on a CPU, if the data set draws its random numbers from torch and the loader's workers
    are not persistent. When the loop ends or is closed, the model holds the averaged weights, and
    `model.sampling` its sampling settings. Under `torchrun`, give all processes the same loader:
    each computes its slice of every batch, and the result equals that of one up to rounding.

    >>> with contextlib.closing(training_steps(model, trainloader, criterion, optimizer, 1)) as run:
    ...     losses = [step.loss for step in run]

    Args:
        model, trainloader, criterion, optimizer, num_epochs: as for `train`. A model on the CPU
            is moved to the accelerator if there is one.
        label_dropout: probability, in [0, 1], of replacing a label by the null label, for guidance.
        decay: the last share of the run, in [0, 1], in which the learning rate falls to 0.
        accumulate: batches per optimizer step, for a large batch in little memory.
        max_steps: optimizer steps after which the run ends, if that is before `num_epochs`.
        precision: "bf16", "fp16", "no" (float32), or None for what is fast here.
        compile: compile the model first. It takes a minute or more; a long run gains from it.
        checkpoint_dir: where the state is kept; a state found there is resumed.
        checkpoint_every: steps between two states; one is also written every minute and at the end.
        seed: determines order, flips, times, noise and label dropout.
        history: filled during the run; after resuming, it also holds the steps before.
    """
    settings: Any = {"num_epochs": num_epochs, "max_steps": max_steps, "accumulate": accumulate}
    settings |= {"label_dropout": label_dropout, "decay": decay, "seed": seed}
    check_training(model, trainloader, criterion, optimizer, settings, checkpoint_every)
    net, device = prepare(model, optimizer, compile)
    dtype, model = training_dtype(device, precision), unwrapped(model)
    model.sampling = recommended_sampling(0, getattr(model, "sampling", None))  # type: ignore
    average, scaler = averaged_copy(model), GradScaler(device.type, enabled=dtype is torch.float16)
    history = History() if history is None else history
    rates = [group["lr"] for group in optimizer.param_groups]
    steps_per_epoch = math.ceil(len(trainloader) / accumulate)
    total_steps = min(num_epochs * steps_per_epoch, max_steps or sys.maxsize)
    record = run_record(model, trainloader, criterion, optimizer, total_steps, settings)
    parts = {"model": model, "average": average, "optimizer": optimizer, "scaler": scaler}
    state = RunState(checkpoint_dir, record, every=checkpoint_every, history=history, **parts)
    done = state.load()
    batches = all_batches(model, trainloader, accumulate, seed, done)
    model.train()
    try:
        while done < total_steps:
            started = time.perf_counter()
            factor = learning_rate_factor(done, total_steps, decay=decay)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            epoch, some = next(batches)
            with seeded(seed, "step", done, device=device):
                total = gradient(net, some, criterion, scaler, dtype, label_dropout)
            loss = clip_and_check(total, optimizer, scaler, done + 1)
            with state.changing():  # from here on, the step counts
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                average.update_parameters(model)
                done += 1
                seen, lr = sum(len(x0) for x0, _ in some), float(rates[0] * factor)
                seconds = time.perf_counter() - started
                step = Step(done, total_steps, epoch, loss, lr, seen, seconds, average.module)
                history.append(step)
            state.save_if_due(done)
            with fork_rng([]):  # what the caller draws must not change the data
                yield step
    finally:
        finish(state, done, model, average.module, optimizer, rates, history)


def diffusion_loss(
    net: nn.Module,
    x0: Tensor,
    labels: Tensor,
    criterion: Criterion,
    path: NoisePath = FLOW,
    *,
    label_dropout: float = 0.0,
    null_label: int | None = None,
    rows: slice = slice(None),
) -> Tensor:
    """The error of the velocity that `net(xt, t, labels)` predicts, at a random time per image.

    x0 is (B, ...) in [-1, 1], labels is (B,). A share `label_dropout` of the labels, in [0, 1], is
    replaced by `null_label` (Ho & Salimans 2022, algorithm 1). Times, noise and dropped labels are
    drawn for the whole batch, and this process computes the `rows` of it. Returns a tensor ().
    """
    # Noise, xt and the target stay in float32: only the network uses a lower precision.
    t = sample_times(len(x0), device=x0.device)  # (B,)
    noise = torch.randn_like(x0)
    xt = path.mix(x0, noise, t)
    velocity = path.velocity(x0, noise, t)
    if null_label is not None:
        dropped = torch.rand(len(x0), device=x0.device) < label_dropout
        labels = torch.where(dropped, null_label, labels)
    prediction = net(xt[rows], t[rows], labels[rows]).to(velocity)
    return criterion(prediction, velocity[rows])


def gradient(
    net: nn.Module,
    batches: list[Batch],
    criterion: Criterion,
    scaler: GradScaler,
    dtype: torch.dtype,
    label_dropout: float,
) -> Tensor:
    """Adds the gradient of the mean loss of some batches to the weights; returns that loss, ()."""
    model, weight = unwrapped(net), next(net.parameters())
    device, full = weight.device, torch.promote_types(torch.float32, weight.dtype)
    path, null_label = getattr(model, "path", FLOW), getattr(model, "null_label", None)
    total = torch.zeros((), device=device, dtype=full)
    for x0, labels in batches:
        x0, labels = x0.to(device, full), labels.to(device)
        rows, share = own_rows(len(x0))
        with torch.enable_grad(), torch.autocast(device.type, dtype, dtype != torch.float32):
            drop: Any = {"label_dropout": label_dropout, "null_label": null_label}
            loss = diffusion_loss(net, x0, labels, criterion, path, rows=rows, **drop)
            loss = loss * share / len(batches)
        if loss.ndim:
            raise ValueError(f"criterion must return one number, got shape {tuple(loss.shape)}")
        scaler.scale(loss).backward()  # DistributedDataParallel averages over the processes here
        total += loss.detach()
    if num_processes() > 1:
        dist.all_reduce(total)
    return total / num_processes()


def own_rows(num_images: int) -> tuple[slice, float]:
    """The part of a batch that this process computes, and its weight, 1 if all are equal."""
    start, stop = (num_images * k // num_processes() for k in (rank(), rank() + 1))
    weight = (stop - start) / num_images * num_processes()
    return slice(start, max(stop, start + 1)), weight  # a spare row has the weight 0


def clip_and_check(loss: Tensor, optimizer: Optimizer, scaler: GradScaler, step: int) -> float:
    """Scales gradients down to length 1 at most; returns the loss if all is finite."""
    scaler.unscale_(optimizer)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(weights, max_norm=1.0)
    value, length = torch.stack([loss, norm.to(loss)]).tolist()  # the only wait for the GPU
    # A float16 scaler skips steps whose gradient overflows; nothing else may.
    if not math.isfinite(value) or not (math.isfinite(length) or scaler.get_scale() > 1):
        raise FloatingPointError(
            f"the loss or its gradient is not finite at step {step} (loss {value}); the averaged "
            "weights of the steps before are kept. Use precision='no' or a lower learning rate"
        )
    return value


def prepare(
    model: nn.Module, optimizer: Optimizer, compile: bool
) -> tuple[nn.Module, torch.device]:
    """The network to call, on its device, compiled and connected to other processes if asked."""
    join_processes()
    device = next(model.parameters()).device
    if device.type == "cpu":
        device = best_device()
    model.to(device)
    for group in optimizer.param_groups:  # torch refuses to read numpy's numbers from a state
        group.update(
            tree_map(lambda v: v.tolist() if type(v).__module__ == "numpy" else v, dict(group))
        )
    optimizer.zero_grad()
    if optimizer.state:  # what it remembers of the weights moves with them
        optimizer.load_state_dict(optimizer.state_dict())
    net = torch.compile(model) if compile else model
    if num_processes() > 1 and not isinstance(net, DistributedDataParallel):
        net = DistributedDataParallel(net)
    return net, device  # type: ignore[return-value]


def finish(
    state: RunState,
    done: int,
    model: nn.Module,
    average: nn.Module,
    optimizer: Optimizer,
    rates: Any,
    history: History,
) -> None:
    """Saves the state, puts the averaged weights into the model, and restores the optimizer."""
    try:
        state.close(done)
    finally:
        optimizer.zero_grad()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        model.load_state_dict(average.state_dict())
        model.sampling = recommended_sampling(history.images_seen(), model.sampling)  # type: ignore
        model.eval()


def mixed_seed(seed: int, name: str, number: int) -> int:
    """A seed for each epoch and step, so no draw depends on earlier ones (Karras et al. 2024)."""
    text = repr((int(seed), name, int(number)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


@contextlib.contextmanager
def seeded(seed: int, name: str, number: int, *, device: torch.device) -> Iterator[None]:
    """Seeds all random numbers drawn inside it with these three; those outside do not change."""
    with fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(mixed_seed(seed, name, number))
        yield


def epoch_batches(loader: Any, epoch: int, seed: int) -> Iterator[Any]:
    """The batches of an epoch, always the same ones for the same epoch and seed."""
    number = mixed_seed(seed, "epoch", epoch)
    torch.manual_seed(number)
    batch_sampler = getattr(loader, "batch_sampler", None)
    samplers = batch_sampler, getattr(batch_sampler, "sampler", getattr(loader, "sampler", None))
    for part in (loader, *samplers):
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):  # the user's own: manual_seed missed it
            generator.manual_seed(number)
    return iter(loader)


def all_batches(
    model: nn.Module, loader: Any, accumulate: int, seed: int, done: int
) -> Iterator[tuple[int, list[Batch]]]:
    """For every step from number `done` on: its epoch and its `accumulate` batches."""
    num_classes, steps = getattr(model, "null_label", None), math.ceil(len(loader) / accumulate)
    for epoch in itertools.count(done // steps):
        batches = epoch_batches(loader, epoch, seed)
        # A resumed epoch draws the batches it has seen again and drops them: otherwise the random
        # numbers of torch and of the user's transforms would differ from those of the first run.
        for _ in range(done % steps * accumulate):
            next(batches)
        for step in range(done % steps, steps):
            some = [check_batch(b, num_classes, step == 0) for b in islice(batches, accumulate)]
            if not some:
                raise ValueError(f"trainloader ended after {step} of {steps} steps, see its len()")
            yield epoch, some
        done = 0


def run_record(
    model: nn.Module,
    loader: Any,
    criterion: Any,
    optimizer: Optimizer,
    total_steps: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What identifies a run: a state is resumed only if its record is the same."""
    num_classes, seed = getattr(model, "null_label", None), settings["seed"]
    first, again = (check_batch(next(epoch_batches(loader, 0, seed)), num_classes) for _ in "ab")
    # Leaves out what other libraries change at random, and differences of rounding.
    same = [(255 * a).round() for a, b in zip(first, again, strict=True) if torch.equal(a, b)]
    groups = {
        f"{name} of group {i}": value
        for i, group in enumerate(optimizer.param_groups)
        for name, value in group.items()
        if name != "params"
    }
    options = {k: v for k, v in getattr(criterion, "__dict__", {}).items() if k[0] != "_"}
    return settings | {
        "total_steps": total_steps,
        "model": [type(model), sum(p.numel() for p in model.parameters())],
        "config": getattr(model, "config", None),
        "optimizer": type(optimizer),
        **groups,
        "criterion": [getattr(criterion, "__qualname__", type(criterion)), options],
        "data": content_hash(same),
    }
