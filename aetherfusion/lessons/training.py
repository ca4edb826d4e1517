"""The checks of lesson 05, against formulas, counts and gradients by hand."""

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


def _net(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * xt + (t + 0.1 * labels)[:, None, None, None]


@exercise(
    lambda: [(torch.rand(b, 3, s, s), torch.arange(b), torch.rand(b), torch.randn(b, 3, s, s))
             for b, s in ((6, 5), (3, 8), (9, 2))],
    run=lambda student, *case: student(_net, *case),
)  # fmt: skip
def my_loss(x0: Tensor, labels: Tensor, t: Tensor, noise: Tensor) -> Table:
    """the mean squared error of the velocity, at every image's own time"""
    w = t[:, None, None, None]
    xt, clean, v = (1 - w) * x0 + w * noise, w * x0 + (1 - w) * noise, noise - x0
    off, off_clean = _net(xt, t, labels) - v, _net(clean, t, labels) - v
    return off.square().mean(), {
        "the target is the velocity, noise - x0, not the noise": (off + v - noise).square().mean(),
        "the target is the velocity, noise - x0, not the image": (off + v - x0).square().mean(),
        "the sign of the target is wrong: v = noise - x0": (off + 2 * v).square().mean(),
        "x0 and noise are exchanged in xt: t = 0 is data": off_clean.square().mean(),
        "this is the absolute error; square it": off.abs().mean(),
        "take the mean of the squares, not their sum": off.square().sum(),
        "average over everything, not only over the images": off.square().mean(0).sum(),
        "give the network xt, not x0": (_net(x0, t, labels) - v).square().mean(),
        "give the network xt, not the noise": (_net(noise, t, labels) - v).square().mean(),
    }


def _step(student: Student, x: Tensor, target: Tensor, weight: Tensor, stale: Tensor) -> Tensor:
    net, seen = nn.Linear(x.shape[1], target.shape[1], bias=False), []
    net.weight.data, net.weight.grad = weight.clone(), stale.clone()
    net.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype))
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    student(net, x, target, optimizer, scaler, torch.bfloat16)
    if seen and seen[0] != torch.bfloat16:
        raise NotYet("the network computed in float32; call it under torch.autocast")
    moved = net.weight.detach().clone()
    if not torch.equal(moved, weight) and scaler.state_dict()["_growth_tracker"] == 0:
        raise NotYet("use the scaler to the end: scale, unscale_, step, update")
    student(net, x, math.inf * target, optimizer, scaler, torch.bfloat16)
    if not torch.equal(net.weight, moved):
        raise NotYet("a gradient that overflows must be skipped; use scaler.step(optimizer)")
    return moved


@exercise(
    lambda: [(torch.randn(b, n), 9 * torch.randn(b, m), torch.randn(m, n), torch.randn(m, n))
             for b, n, m in ((8, 5, 3), (4, 3, 2), (16, 6, 5))],
    run=_step, tolerance=5e-3,
)  # fmt: skip
def train_step(x: Tensor, target: Tensor, weight: Tensor, stale: Tensor) -> Table:
    """one step in bfloat16: scaled loss, clipped gradient, moved weights"""
    out = (x.bfloat16() @ weight.bfloat16().T).float()
    slope = 2 * (out - target).T @ x / target.numel()

    def moved(gradient: Tensor, clip: float | None = 1.0) -> Tensor:
        length = gradient.norm() if clip else torch.ones(())
        return weight - 0.5 * gradient * (clip / length if clip and length > clip else 1.0)

    return moved(slope), {
        "the weights did not move; call scaler.step(optimizer)": weight,
        "clip the gradient to length 1": moved(slope, None),
        "unscale before you clip: scaler.unscale_(optimizer)": moved(slope, 1 / 16),
        "multiply the loss first: scaler.scale(loss).backward()": moved(slope / 16),
        "clear the old gradients first: optimizer.zero_grad()": [
            moved(slope + stale), moved(slope + stale / 16), moved(slope + stale, None)
        ],
    }  # fmt: skip


@exercise(lambda: [(s, n, w) for n, w in ((100, 10), (31, 4), (60, 7)) for s in range(0, n, 3)])
def my_rate(step: int, total_steps: int, warmup_steps: int) -> Table:
    """up in a line from a first step above 0, and down to 0 from the start"""
    up, down = (step + 1) / warmup_steps, (total_steps - step) / total_steps
    before, after = step / warmup_steps, (total_steps - warmup_steps)
    late = 1 - max(0, step - warmup_steps) / after
    return min(1.0, up, down), {
        "the first step has the rate 0: count it as 1": min(1.0, before, down),
        "this is the larger of the two factors": max(min(1.0, up), down),
        "the factor is the smaller of the two, not their product": min(1.0, up) * down,
        "the decay is missing": min(1.0, up),
        "the warm-up is missing": down,
        "the decay begins at step 0, not after the warm-up": min(1.0, up, late),
        "the factor is never above 1": min(up, 2 * down),
        "the rate should fall to 0 at the end": min(1.0, up, 0.5 + down / 2),
    }


@exercise(
    lambda: [(torch.randn(5), torch.randn(5), n, e) for n, e in ((7, 8.0), (3, 2.0), (20, 5.0))]
)
def mix_in(average: Tensor, newest: Tensor, n: int, exponent: float) -> Table:
    """the newest weights enter with the share 1 - (n / (n + 1)) ** (exponent + 1)"""
    kept = (n / (n + 1)) ** (exponent + 1)

    def mixed(part: float) -> Tensor:
        return part * average + (1 - part) * newest

    return mixed(kept), {
        "the two are exchanged: the newest weights have the small share": mixed(1 - kept),
        "the power is exponent + 1": mixed((n / (n + 1)) ** exponent),
        "this is the plain mean; raise n / (n + 1) to the power exponent + 1": mixed(n / (n + 1)),
        "n counts the weights before the newest": mixed(((n - 1) / n) ** (exponent + 1)),
        "this is the usual moving average, with a fixed share": [mixed(0.999), mixed(0.9)],
        "the two shares must add up to 1": kept * average + newest,
    }
