"""What a training image costs, and how much of this machine's arithmetic the training uses.

    python tests/benchmarks/training_cost.py [--seconds 30] [--memory-not-kept]

Trains the default model as the README's five lines do, with plain Adam and torchvision's own data
set where CIFAR-10 is found (pictures of noise elsewhere: the arithmetic is the same), and again
with the recommended optimizer, whose products of matrices count as arithmetic too. Then it times
3x3 convolutions at the model's widths, forward and backward, at the same batch size, in bfloat16
where this machine is fast at it and in float32 elsewhere, as the training is. The second option
trains without what memory.py does, to see what that is worth.
"""

import argparse
import contextlib
import time
from collections.abc import Callable

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
    training,
    training_steps,
)
from aetherfusion.data import find_cifar10
from aetherfusion.precision import fast_dtype

BATCH = 64


def gflop_per_image() -> float:
    """Forward and backward, counted by torch."""
    model = DiffusionTransformerUNet()
    xt, t, labels = torch.randn(8, 3, 32, 32), torch.rand(8), torch.arange(8)
    with FlopCounterMode(display=False) as counter:
        model(xt, t, labels).square().mean().backward()
    return counter.get_total_flops() / 8 / 1e9


def gflop_per_step() -> float:
    """Of the recommended optimizer itself, in one step: its products, counted by torch."""
    model = DiffusionTransformerUNet()
    optimizer = recommended_optimizer(model)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    return counter.get_total_flops() / 1e9


def images_per_second(seconds: float, make_optimizer: Callable[[nn.Module], Optimizer]) -> float:
    """Of the five lines with an optimizer, once warmed up."""
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
    criterion = nn.MSELoss()
    optimizer = make_optimizer(model)
    spent = images = 0.0
    steps = training_steps(model, trainloader, criterion, optimizer, num_epochs=50)
    for step in steps:
        if step.step > 10:
            spent, images = spent + step.seconds, images + step.images
        if spent > seconds:
            break
    steps.close()
    return images / spent


def convolution_gflops(channels: int, size: int, seconds: float = 4.0) -> tuple[float, float]:
    """GFLOP/s of a 3x3 convolution, channels last: (forward, forward and backward)."""
    dtype = fast_dtype("cpu")
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    convolution = convolution.to(dtype, memory_format=torch.channels_last)
    x = torch.randn(BATCH, channels, size, size).to(dtype, memory_format=torch.channels_last)
    flop = BATCH * 2 * size**2 * 9 * channels**2 / 1e9
    rates = []
    for backward in (False, True):
        x.requires_grad_(backward)
        gradient = torch.randn_like(x)
        with torch.set_grad_enabled(backward):
            for repeat in range(10**6):
                if repeat == 3:
                    started = time.perf_counter()
                if repeat > 3 and time.perf_counter() - started > seconds:
                    break
                y = convolution(x)
                if backward:
                    y.backward(gradient)
        rates.append(flop * (3 if backward else 1) * (repeat - 3) / (time.perf_counter() - started))
    return rates[0], rates[1]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="of training to time")
    parser.add_argument("--memory-not-kept", action="store_true")
    args = parser.parse_args()
    if args.memory_not_kept:
        training.kept_memory = contextlib.nullcontext  # type: ignore[attr-defined]
    cost = gflop_per_image()
    print(f"data: {'noise' if find_cifar10() is None else 'CIFAR-10'}")
    speed = images_per_second(args.seconds, lambda model: optim.Adam(model.parameters(), lr=1e-4))
    print(f"threads: {torch.get_num_threads()}, convolutions in {fast_dtype('cpu')}")
    print(f"cost: {cost:.3f} GFLOP a training image")
    gflops = speed * cost
    print(f"speed: {speed:.1f} images/s, {gflops:.0f} GFLOP/s")
    with_ours, own = images_per_second(args.seconds, recommended_optimizer), gflop_per_step()
    gflops_with_ours = with_ours * (cost + own / BATCH)
    print(
        f"with the recommended optimizer: {with_ours:.1f} images/s, {gflops_with_ours:.0f} GFLOP/s "
        f"({own:.1f} GFLOP a step are its own)"
    )
    for channels, size in [(64, 16), (128, 16), (192, 8)]:
        forward, both = convolution_gflops(channels, size)
        print(
            f"3x3 convolution, {channels:3} channels, {size:2}x{size:<2}: "
            f"{forward:.0f} GFLOP/s forward, {both:.0f} with backward; the training reaches "
            f"{gflops / forward:.0%} and {gflops / both:.0%} of that, with the recommended "
            f"optimizer {gflops_with_ours / forward:.0%} and {gflops_with_ours / both:.0%}"
        )


if __name__ == "__main__":
    main()
