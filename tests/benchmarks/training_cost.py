"""What a training image costs, and how much of this machine's arithmetic the training uses.

    python tests/benchmarks/training_cost.py [--rounds 20] [--compile] [--memory-not-kept]

Trains the default model as the README's five lines do, with plain Adam and torchvision's own data
set where CIFAR-10 is found (pictures of noise elsewhere: the arithmetic is the same), and again
with the recommended optimizer, whose products of matrices count as arithmetic too. After every few
steps it times 3x3 convolutions at the model's widths, forward and backward, at the same batch
size, in bfloat16 where this machine is fast at it and in float32 elsewhere, as the training is.
They take turns because a shared machine is now fast and now slow, by a third on some days: a
share is only worth something if both saw the same minutes. The last option trains without
`kept_memory`, to see what that is worth.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from statistics import harmonic_mean

import torch
from torch import nn, optim
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import CIFAR10

from aetherfusion import (
    DiffusionTransformerUNet,
    recommended_optimizer,
    training_steps,
)
from aetherfusion.data import find_cifar10
from aetherfusion.utils.hardware import fast_dtype, kept_memory
from aetherfusion.utils.history import Step

BATCH = 64
SHAPES = [(64, 16), (128, 16), (192, 8)]  # (channels, size) of the convolutions


def gflop_per_image() -> float:
    """Forward and backward, counted by torch."""
    model = DiffusionTransformerUNet()
    xt, t, labels = torch.randn(8, 3, 32, 32), torch.rand(8), torch.arange(8)
    with FlopCounterMode(display=False) as counter:
        model(xt, t, labels).square().mean().backward()
    return counter.get_total_flops() / 8 / 1e9


def gflop_of_optimizer() -> float:
    """Of the recommended optimizer itself, in one step: its products, counted by torch."""
    model = DiffusionTransformerUNet()
    optimizer = recommended_optimizer(model)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    return counter.get_total_flops() / 1e9


def five_lines(
    make_optimizer: Callable[[nn.Module], Optimizer], *, compile: bool = False
) -> Generator[Step, None, None]:
    """The steps of the README's five lines, with an optimizer."""
    root = find_cifar10()
    if root is not None:
        change = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )
        data = CIFAR10(root, transform=change)
    else:
        images = (torch.rand(4096, 3, 32, 32) * 2 - 1).clone()
        data = TensorDataset(images, torch.arange(4096) % 10)
    trainloader = DataLoader(data, batch_size=BATCH, shuffle=True)
    model = DiffusionTransformerUNet(image_size=32, num_classes=10, embedding_dim=128, num_heads=4)
    optimizer = make_optimizer(model)
    criterion = nn.MSELoss()
    return training_steps(
        model, trainloader, criterion, optimizer, num_epochs=1_000, compile=compile
    )


def convolution_seconds(channels: int, size: int, *, backward: bool) -> Iterator[float]:
    """Those of a 3x3 convolution, channels last, each time that one is asked for."""
    dtype = fast_dtype("cpu")
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    convolution = convolution.to(dtype, memory_format=torch.channels_last)
    x = torch.randn(BATCH, channels, size, size).to(dtype, memory_format=torch.channels_last)
    x.requires_grad_(backward)
    gradient = torch.randn_like(x)
    while True:
        started = time.perf_counter()
        with torch.set_grad_enabled(backward):
            y = convolution(x)
            if backward:  # and nothing is added up, which would be no convolution
                torch.autograd.grad(y, (x, convolution.weight), gradient)
        yield time.perf_counter() - started


def convolution_gflops(channels: int, size: int, *, backward: bool, seconds: float) -> float:
    """What a convolution reaches in so many seconds, once warm."""
    calls = convolution_seconds(channels, size, backward=backward)
    next(calls)
    times: list[float] = []
    while sum(times) < seconds:
        times.append(next(calls))
    return convolution_gflop(channels, size, backward=backward) * len(times) / sum(times)


def convolution_gflop(channels: int, size: int, *, backward: bool) -> float:
    """Of one call: a product forward, and two backward."""
    return (3 if backward else 1) * BATCH * 2 * size**2 * 9 * channels**2 / 1e9


def measure(steps: Iterator[Step], gflop_per_step: float, rounds: int) -> None:
    """Lets the training and the convolutions take turns, and prints what they reach."""
    for _ in range(12):
        next(steps)  # warm; a compiled one compiles here
    times: list[Step] = []
    rates: dict[tuple[int, int, bool], list[float]] = {
        (*shape, backward): [] for shape in SHAPES for backward in (False, True)
    }
    for _ in range(rounds):
        times += [next(steps) for _ in range(10)]
        for (channels, size, backward), found in rates.items():
            found.append(convolution_gflops(channels, size, backward=backward, seconds=0.2))
    images_per_second = sum(step.images for step in times) / sum(step.seconds for step in times)
    gflops = gflop_per_step * images_per_second / BATCH
    print(f"{images_per_second:.1f} images/s, {gflops:.0f} GFLOP/s, while 3x3 convolutions reach")
    for channels, size in SHAPES:
        # Of rates at equal work, as those of the training are.
        forward, both = (harmonic_mean(rates[channels, size, way]) for way in (False, True))
        print(
            f"  {channels:3} channels, {size:2}x{size:<2}: {both:.0f} GFLOP/s with backward, of "
            f"which that is {gflops / both:.0%}; {forward:.0f} forward, {gflops / forward:.0%}"
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="of ten steps and every convolution")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory-not-kept", action="store_true")
    args = parser.parse_args()
    memory = contextlib.nullcontext if args.memory_not_kept else kept_memory
    cost, own = gflop_per_image(), gflop_of_optimizer()
    print(f"data: {'noise' if find_cifar10() is None else 'CIFAR-10'}")
    print(f"threads: {torch.get_num_threads()}, convolutions in {fast_dtype('cpu')}")
    print(f"cost: {cost:.3f} GFLOP a training image; the recommended optimizer {own:.1f} a step")
    for name, make_optimizer, gflop in [
        ("Adam", lambda model: optim.Adam(model.parameters(), lr=1e-4), BATCH * cost),
        ("the recommended optimizer", recommended_optimizer, BATCH * cost + own),
    ]:
        print(f"{name}: ", end="", flush=True)
        steps = five_lines(make_optimizer, compile=args.compile)
        with memory(), contextlib.closing(steps):
            measure(steps, gflop, args.rounds)


if __name__ == "__main__":
    main()
