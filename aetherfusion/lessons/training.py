"""The checks of lesson 05, against formulas, counts and the gradient of one large batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import NotYet, Student, Table, draws, exercise


@exercise(lambda: [(step, n) for n in (40, 7, 100) for step in range(0, n + 1, 3)])
def cosine_decay(step: int, total_steps: int) -> Table:
    """half a cosine from 1 to 0, compared with the formula at 41 steps"""
    turn, double, quarter = (math.cos(f * math.pi * step / total_steps) for f in (1, 2, 0.5))
    return (1 + turn) / 2, {
        "it ends at -1; bring the cosine from [-1, 1] to [0, 1]": turn,
        "it falls and rises again; half a turn is an angle of pi": (1 + double) / 2,
        "it is a straight line": 1 - step / total_steps,
        "half a cosine is wanted, an angle up to pi": [quarter, (1 + quarter) / 2],
    }


def _share_lost(student: Student, labels: Tensor, probability: float, null: int) -> float:
    found, again = (student(labels, probability, null) for _ in range(2))
    if not isinstance(found, Tensor) or found.shape != labels.shape or found.dtype != labels.dtype:
        raise NotYet(f"return labels, a tensor of shape {tuple(labels.shape)} and {labels.dtype}")
    lost = found != labels
    if bool((found[lost] != null).any()):
        raise NotYet("a lost label must become `null_label`, and one of yours became another")
    share = float(lost.double().mean())
    if share in (0, 1):
        raise NotYet("you lose all labels or none; draw a number for each")
    if torch.equal(found, again) or share == (again != labels).double().mean():
        raise NotYet("you lose the same number of labels each time; draw anew for each label")
    return share


def _many(num: int, classes: int, probability: float) -> tuple[Tensor, float, int]:
    return torch.arange(num) % classes, probability, classes


@exercise(
    lambda: [_many(20_000, 10, 0.25), _many(9_000, 3, 0.6), _many(30_000, 7, 0.1)],
    run=_share_lost,
    tolerance=0.08,
)
def drop_labels(labels: Tensor, probability: float, null_label: int) -> Table:
    """a quarter of 20,000 labels became the null label, each by itself"""
    return probability, {"you keep the share that should be lost": 1 - probability}


def _gradient(student: Student, net: nn.Linear, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    sizes, waiting, weight = [len(x) for x, _ in batches], [0], net.weight.detach().clone()

    def look(_: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        if len(args[0]) > max(sizes) or waiting[0]:
            raise NotYet("more than one batch is in memory at once; call backward() after each")
        waiting[0] += out.requires_grad
        if out.requires_grad:
            out.register_hook(lambda _: waiting.__setitem__(0, 0))

    with net.register_forward_hook(look):
        student(net, batches, returns=False)
    if net.weight.grad is None or not torch.equal(net.weight, weight):
        raise NotYet("leave the gradient in net.weight.grad, and the weights as they are")
    return net.weight.grad


def _batches(num: int, size: int, width: int) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    data, targets = draws(num, size, width), draws(num, size, 2)
    return nn.Linear(width, 2), list(zip(data, targets, strict=True))


@exercise(lambda: [_batches(3, 4, 5), _batches(4, 3, 7), _batches(2, 5, 3)], run=_gradient)
def summed_gradient(net: nn.Linear, batches: list[tuple[Tensor, Tensor]]) -> Table:
    """three batches of 4 give the gradient of one batch of 12"""
    inputs, targets = map(torch.cat, zip(*batches, strict=True))
    parts = [torch.autograd.grad(F.mse_loss(net(x), y), net.weight)[0] for x, y in batches]
    num, once = (
        len(batches),
        [parts[0], parts[-1], parts[0] / len(batches), parts[-1] / len(batches)],
    )
    right = torch.autograd.grad(F.mse_loss(net(inputs), targets), net.weight)[0]
    return right, {
        "the losses are means already; divide each by len(batches)": num * right,
        "only one batch is in it; do not clear the gradient": once,
        "divide by len(batches) once, and by nothing else": right / num,
        "divide by the number of batches, not of images": num * right / len(batches[0][0]),
    }
