"""Who runs in race.py: what a racer is, ours, and the idea of the original script. See peers.py.

Everybody gets the same batches of 64, flipped at random, bfloat16 where the CPU is fast at it,
channels last in memory where that is the faster, and `kept_memory`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from budget import train_for
from torch import Tensor, nn

from aetherfusion import (
    DiffusionTransformerUNet,
    ImageTensors,
    UNetWithAttention,
    generate_images,
    make_loader,
    recommended_optimizer,
    to_unit,
)
from aetherfusion.utils.hardware import choose_precision

BATCH = 64
SAMPLING_BATCH = 100
PRECISION = choose_precision("cpu").precision


@dataclass(frozen=True)
class Racer:
    """One at the start line.

    Attributes:
        network: what learns.
        forward: of (images, labels), one evaluation of it, for counting its arithmetic.
        learn: trains for so many CPU-seconds; gives the loss of each step, of 64 images each.
        sample: labels (N,) to pictures (N, 3, 32, 32) in [0, 1].
        setup: how it is trained, in words.
        sampler: how it makes pictures, in words.
    """

    network: nn.Module
    forward: Callable[[Tensor, Tensor], Any]
    learn: Callable[[float], list[float]]
    sample: Callable[[Tensor], Tensor]
    setup: str
    sampler: str


def low_precision() -> Any:
    """bfloat16 where this CPU is fast at it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16")


def batches_for(seconds: float, data: ImageTensors) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Batches until so many CPU-seconds are over, with the part of them that is spent."""
    started = time.process_time()
    while True:
        for images, labels in make_loader(data, BATCH):
            spent = (time.process_time() - started) / seconds
            if spent >= 1:
                return
            yield images, labels, spent


def in_batches(sample: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
    """The pictures of many labels, some at a time."""
    return torch.cat([sample(some) for some in labels.split(SAMPLING_BATCH)])


def aetherfusion(data: ImageTensors, **sizes: Any) -> Racer:
    """Ours, all defaults; a short trial finds the number of steps, which the decay needs.

    The trial counts in the budget, and its weights are thrown away.
    """
    model, seed = DiffusionTransformerUNet(**sizes), torch.initial_seed()

    def learn(seconds: float) -> list[float]:
        options: Any = {"warmup": 5, "timed": 20} if seconds >= 200 else {"warmup": 1, "timed": 3}
        options |= {"overrun": 1.0, "seed": seed}
        _, steps = train_for(seconds, model, recommended_optimizer, data, BATCH, **options)
        return [step.loss for step in steps]

    def sample(labels: Tensor) -> Tensor:
        return generate_images(
            model, len(labels), labels=labels, seed=seed, batch_size=SAMPLING_BATCH
        )

    return Racer(
        network=model,
        forward=lambda x, labels: model(x, torch.full((len(x),), 0.5), labels),
        learn=learn,
        sample=sample,
        setup="all defaults: `recommended_optimizer`, the loop under `train`",
        sampler="DPM-Solver++(2M), 14 even steps, guidance 3.5 between the times 0.1 and 0.75",
    )


def one_shot(data: ImageTensors, embedding_dim: int = 128) -> Racer:
    """What the original script did: an autoencoder, asked to make a picture out of noise.

    It learns `criterion(model(images, labels), images)` on clean images, with the label as a
    colour laid over the picture, and shows what one pass makes of noise. No noise is ever seen
    in training, so there is no reason why that should be a picture; it is here to show it. The
    U-Net is ours and sees only the picture, so that the idea is compared and not the network.
    """
    network = UNetWithAttention(3, 3, embedding_dim, num_heads=4)
    network.colours = nn.Embedding(10, 3)
    network.to(memory_format=torch.channels_last)

    def forward(x: Tensor, labels: Tensor) -> Tensor:
        return network(x + network.colours(labels)[:, :, None, None])

    def learn(seconds: float) -> list[float]:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        losses = []
        for x0, labels, _ in batches_for(seconds, data):
            with low_precision():
                x0_hat = forward(x0, labels)
            loss = F.mse_loss(x0_hat.float(), x0)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses

    return Racer(
        network=network,
        forward=forward,
        learn=learn,
        sample=lambda labels: in_batches(
            lambda some: to_unit(forward(torch.randn(len(some), 3, 32, 32), some)), labels
        ),
        setup="our U-Net as an autoencoder of clean images, Adam 1e-4, as in the original script",
        sampler="one pass over noise",
    )
