"""What a batch must be, and how its order and all random numbers follow from a seed.

Owns: the checks of what a training is given, `epoch_batches` and `seeded`. Under the loop of
`training.py`, used in lesson 05. A run can be resumed exactly because nothing in here remembers
anything: each epoch and each step has a seed of its own (the habit of Karras et al. 2024).
"""

import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer


def check_images(x0: Tensor, labels: Tensor) -> None:
    """Refuses what would train without complaint and come to nothing."""
    if x0.ndim != 4 or not x0.is_floating_point() or labels.shape != (len(x0),):
        raise ValueError(
            "trainloader must give images (B, C, H, W), floats in [-1, 1], and labels (B,); "
            f"got {tuple(x0.shape)} {x0.dtype} and {tuple(labels.shape)}"
        )
    low, high = torch.stack(x0.aminmax()).tolist()
    if not (low >= -1.01 and high <= 1.01):  # written so that nan is refused
        raise ValueError(
            f"images must be in [-1, 1], got [{low:.2f}, {high:.2f}]; "
            "after transforms.ToTensor() add transforms.Normalize((0.5,) * 3, (0.5,) * 3)"
        )
    if low >= 0 and len(x0) >= 8:  # one picture may be bright all over, eight are not
        raise ValueError(
            f"images must be in [-1, 1]; these, from {low:.2f} to {high:.2f}, seem to be in "
            "[0, 1]: after transforms.ToTensor() add transforms.Normalize((0.5,) * 3, (0.5,) * 3)"
        )


def check_labels(labels: Tensor, null_label: int | None) -> None:
    """Refuses labels that the model has no class for."""
    if null_label is not None and ((labels < 0) | (labels >= null_label)).any():
        raise ValueError(
            f"labels must be in [0, {null_label}), got [{labels.min()}, {labels.max()}]; "
            "make the model with as many num_classes as the data has"
        )


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Refuses an optimizer that would move the weights of another model, and of this one none."""
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "the optimizer holds no parameter of this model; after making a model anew, make its "
            "optimizer anew: optim.Adam(model.parameters(), lr=1e-4)"
        )


def count_steps(loader: Iterable[Any], accumulate: int) -> int:
    """How many optimizer steps an epoch has, the last one with fewer batches if they do not fit."""
    try:
        batches = len(loader)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError("trainloader must know its length, len(trainloader)") from error
    if batches == 0:
        raise ValueError(
            "trainloader has no batch: are there fewer images than its batch_size, with drop_last?"
        )
    return math.ceil(batches / accumulate)


def epoch_batches(loader: Any, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch, always the same ones for the same epoch and seed."""
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(epoch)
    number = mixed_seed(seed, "epoch", epoch)
    torch.manual_seed(number)
    batch_sampler = getattr(loader, "batch_sampler", None)
    for part in (loader, batch_sampler, getattr(batch_sampler, "sampler", None)):
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):  # the user's own remembers, too
            generator.manual_seed(number)
    return iter(loader)


@contextlib.contextmanager
def seeded(accelerator: Accelerator, seed: int, step: int) -> Iterator[None]:
    """All random numbers in here follow from seed, step and process."""
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(mixed_seed(seed, "step", step, accelerator.process_index))
        yield


def mixed_seed(*parts: object) -> int:
    """A number that follows from all parts; of its 56 bits torch's CPU generator keeps 32."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "big")
