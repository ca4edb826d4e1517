"""The checks of lesson 05, against formulas, counts and the gradient of one large batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import NotYet, Student, Table, exercise


@exercise(lambda: [(step, n) for n in (40, 7, 100) for step in range(0, n + 1, 3)])
def cosine_decay(step: int, total_steps: int) -> Table:
    """half a cosine from 1 to 0, compared with the formula at 41 steps"""
    turn, double, quarter = (math.cos(f * math.pi * step / total_steps) for f in (1, 2, 0.5))
    return (1 + turn) / 2, {
        "it ends at -1; bring the cosine from [-1, 1] to [0, 1]": turn,
        "it is a straight line": 1 - step / total_steps,
        "half a cosine is an angle up to pi": [(1 + double) / 2, quarter, (1 + quarter) / 2],
    }


def _share(student: Student, labels: Tensor, probability: float, null: int) -> Tensor:
    every = [student(labels, probability, null) for _ in range(3)]
    if any(not isinstance(x, Tensor) or x.shape != labels.shape for x in every):
        raise NotYet(f"return labels, a tensor of shape {tuple(labels.shape)}")
    if any(x.dtype != labels.dtype or ((x != labels) & (x != null)).any() for x in every):
        raise NotYet("a lost label must become `null_label`, and the others must stay as they are")
    counts = {int((x != labels).sum()) for x in every}
    if len(counts) == 1 or counts <= {0, len(labels)}:
        raise NotYet("draw a random number for each label, and new ones at each call")
    return (every[0] != labels).double().mean()


@exercise(
    lambda: [(torch.arange(20_000) % n, 2.5 / n, n) for n in (10, 4, 7)], run=_share, tolerance=0.02
)
def drop_labels(labels: Tensor, probability: float, null_label: int) -> Table:
    """a quarter of 20,000 labels became the null label, each by itself"""
    return probability, {"you keep the share that should be lost": 1 - probability}


def _sum(student: Student, net: nn.Linear, inputs: Tensor, targets: Tensor) -> Tensor:
    calls: list[int] = []  # the images of each forward pass, and 0 for each backward pass
    net.register_forward_hook(lambda _, x, out: calls.extend([len(x[0])] * out.requires_grad))
    net.weight.register_hook(lambda _: calls.append(0))
    student(net, list(zip(inputs, targets, strict=True)), returns=False)
    if calls != [inputs.shape[1], 0] * len(inputs):
        raise NotYet("call net and then backward() once for each batch, to keep only one in memory")
    if net.weight.grad is None:
        raise NotYet("leave the gradient in net.weight.grad")
    return net.weight.grad


@exercise(lambda: [(nn.Linear(n, n), *torch.randn(2, n, 7 - n, n)) for n in (3, 4, 2)], run=_sum)
def summed_gradient(net: nn.Linear, inputs: Tensor, targets: Tensor) -> Table:
    """three batches of 4 give the gradient of one batch of 12"""
    (num, size), last_loss = inputs.shape[:2], F.mse_loss(net(inputs[-1]), targets[-1])
    right = torch.autograd.grad(F.mse_loss(net(inputs), targets), net.weight)[0]
    last = torch.autograd.grad(last_loss, net.weight)[0]
    return right, {
        "the losses are means already; divide each by len(batches)": num * right,
        "only one batch is in it; do not clear the gradient": [last, last / num],
        "divide by the number of batches, not of images": num * right / size,
    }
