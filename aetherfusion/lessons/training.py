"""The checks of lesson 05, against formulas, counts and gradients by hand."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import NotYet, Student, Table, exercise


def _net(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * xt + (t + 0.1 * labels)[:, None, None, None]


@exercise(
    lambda: [(_net, torch.rand(b, 3, s, s), torch.arange(b), torch.rand(b), torch.randn(b, 3, s, s))
             for b, s in ((6, 5), (3, 8), (9, 2))]
)  # fmt: skip
def my_loss(net: Any, x0: Tensor, labels: Tensor, t: Tensor, noise: Tensor) -> Table:
    """the mean squared error of the velocity, at every image's own time"""
    w, v = t[:, None, None, None], noise - x0
    xt, clean, one = ((1 - u) * x0 + u * noise for u in (w, 1 - w, w.mean()))
    answer, (far, *seen) = net(xt, t, labels), (net(x, t, labels) - v for x in (clean, x0, noise))
    wrongs = {
        "the target is the velocity, noise - x0": [answer - noise, answer - x0],
        "the sign of the target is wrong: v = noise - x0": [answer + v],
        "x0 and noise are exchanged in xt: t = 0 is data": [far],
        "give the network xt": seen,
        "every image has its own time": [net(one, t, labels) - v, net(xt, 0 * t, labels) - v],
    }
    off = answer - v
    return off.square().mean(), {k: [x.square().mean() for x in w] for k, w in wrongs.items()} | {
        "this is the absolute error; square it": off.abs().mean(),
        "take the mean over everything": [off.square().sum(), off.square().mean(0).sum()],
    }


@exercise(lambda: [(s, n, w) for n, w in ((100, 10), (31, 4), (60, 7)) for s in range(0, n, 3)])
def my_rate(step: int, total_steps: int, warmup_steps: int) -> Table:
    """up in a line from a first step above 0, and down to 0 from the start"""
    up, down = (step + 1) / warmup_steps, 1 - step / total_steps
    late = 1 - max(0, step - warmup_steps) / (total_steps - warmup_steps)
    return min(1.0, up, down), {
        "the first step has the rate 0: count it as 1": min(1.0, step / warmup_steps, down),
        "this is the larger of the two factors": max(min(1.0, up), down),
        "the factor is the smaller of the two, not their product": min(1.0, up) * down,
        "the decay is missing": min(1.0, up),
        "the warm-up is missing": down,
        "the decay begins at step 0, not after the warm-up": min(1.0, up, late),
        "the rate should fall to 0 at the end": min(1.0, up, 0.5 + down / 2),
        "down is the part of the run that remains": min(1.0, up, 1 - down),
    }


@exercise(lambda: [(*torch.randn(2, 5), n, e) for n, e in ((7, 8.0), (3, 2.0), (20, 5.0))])
def mix_in(average: Tensor, newest: Tensor, n: int, exponent: float) -> Table:
    """the newest weights enter with the share 1 - (n / (n + 1)) ** (exponent + 1)"""

    def mixed(share: float, power: float = exponent + 1) -> Tensor:
        return share**power * average + (1 - share**power) * newest

    kept = n / (n + 1)
    return mixed(kept), {
        "the two are exchanged": kept ** (exponent + 1) * (newest - average) + average,
        "the power is exponent + 1": mixed(kept, exponent),
        "this is the plain mean; raise n / (n + 1) to the power exponent + 1": mixed(kept, 1),
        "n counts the weights before the newest": mixed((n - 1) / n),
        "this is the usual moving average, with a fixed share": [mixed(0.999, 1), mixed(0.5, 1)],
        "the two shares must add up to 1": kept ** (exponent + 1) * average + newest,
    }


@exercise(
    lambda: [(*torch.randn(3, n), torch.rand(n), k, lr)
             for n, k, lr in ((5, 3, 0.1), (3, 1, 0.3), (7, 40, 0.2))]
)  # fmt: skip
def adamw_step(p: Tensor, grad: Tensor, mean: Tensor, squares: Tensor, k: int, lr: float) -> Table:
    """the weights and both means after one step of AdamW"""

    def step(
        g: Tensor = grad, keep: Any = (0.9, 0.97), decay: float = 0.01 * lr, fix: Any = (k, k),
        power: int = 2, root: float = 0.5, size: float = lr,
    ) -> dict[str, Tensor]:  # fmt: skip
        b, c = keep
        m, s = b * mean + (1 - b) * g, c * squares + (1 - c) * g**power
        move = m / (1 - 0.9 ** fix[0]) / ((s / (1 - 0.97 ** fix[1])) ** root + 1e-8)
        return {"p": (1 - decay) * p - size * move, "mean": m, "squares": s}

    kept, raw = ((0.1, 0.97), (0.9, 0.03), (0.9, 0.999)), ((999, k), (k, 999), (999, 999))
    decayed = grad + 0.01 * p
    return step(), {
        "squares is the mean of grad**2": step(power=1),
        "mean keeps 0.9 of itself, squares 0.97": [step(keep=b) for b in kept],
        "weight decay is no part of the gradient": [step(decayed, decay=d) for d in (0, 0.01 * lr)],
        "weight decay is missing": step(decay=0),
        "the weights shrink by lr * 0.01": step(decay=0.01),
        "both means begin at 0; divide by 1 - 0.9**k, 1 - 0.97**k": [step(fix=f) for f in raw],
        "divide by the root of squares_hat": step(root=1),
        "the step goes downhill, so subtract it": step(size=-lr),
        "multiply the step by lr": step(size=1),
    }


@exercise(lambda: [([torch.randn(n, 3), torch.randn(n)], x) for n, x in ((4, 1), (2, 9), (7, 2.5))])
def clip_factor(gradients: list[Tensor], max_norm: float) -> Table:
    """one factor for all gradients, which makes them max_norm long if they are longer"""
    every, each = torch.cat([g.flatten() for g in gradients]), [g.norm() for g in gradients]
    length, ratio, size = every.norm(), max_norm / every.norm(), every.abs()
    lengths = {
        "add up the squares of all gradients first": [sum(each), *each],
        "the length is the root of the sum of the squares": [length**2, length / len(size) ** 0.5],
        "the length is not the sum or the largest of the entries": [size.sum(), size.max()],
    }
    return min(1.0, ratio), {k: [min(1.0, max_norm / x) for x in v] for k, v in lengths.items()} | {
        "a short gradient stays as it is; the factor is at most 1": ratio,
        "the smaller of 1 and max_norm / length is wanted": max(1.0, ratio),
        "divide max_norm by the length": [min(1.0, 1 / ratio), max(1.0, 1 / ratio), 1 / ratio],
        "this is the length; the factor is wanted": length,
        "the length becomes max_norm, not 1": min(1.0, 1 / length),
    }


def _step(student: Student, x: Tensor, target: Tensor, weight: Tensor, stale: Tensor) -> Tensor:
    net, seen = nn.Linear(x.shape[1], target.shape[1], bias=False), []
    net.weight.data, net.weight.grad = weight.clone(), stale.clone()
    net.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype))
    scaler, sgd = torch.amp.GradScaler("cpu", init_scale=16.0), torch.optim.SGD([net.weight], 0.5)
    student(net, x, target, sgd, scaler, torch.bfloat16)
    if set(seen) != {torch.bfloat16}:
        raise NotYet(
            "call net under torch.autocast(device.type, dtype), so that it computes in dtype"
        )
    moved = net.weight.detach().clone()
    student(net, math.inf * x, target, sgd, scaler, torch.bfloat16)
    if not torch.equal(net.weight, moved):
        raise NotYet("a gradient that overflows must be skipped; use scaler.step(optimizer)")
    return moved


@exercise(
    lambda: [(torch.randn(b, n), 9 * torch.randn(b, m), torch.randn(m, n), 30 * torch.randn(m, n))
             for b, n, m in ((8, 5, 3), (4, 3, 2), (16, 6, 5))],
    run=_step, tolerance=5e-3,
)  # fmt: skip
def train_step(x: Tensor, target: Tensor, weight: Tensor, stale: Tensor) -> Table:
    """one step in bfloat16: scaled loss, clipped gradient, moved weights"""
    out = (x.bfloat16() @ weight.bfloat16().T).float()
    slope = 2 * (out - target).T @ x / target.numel()

    def moved(gradient: Tensor, longest: float = 1.0) -> Tensor:
        return weight - 0.5 * gradient / max(1.0, float(gradient.norm() / longest))

    old: Any = [(slope + stale,), (slope + stale / 16,), (slope + stale, math.inf)]
    return moved(slope), {
        "the weights did not move; call scaler.step(optimizer)": weight,
        "clip the gradient to length 1": [moved(slope, c) for c in (math.inf, 0.1, 10)],
        "unscale before you clip: scaler.unscale_(optimizer)": moved(slope, 1 / 16),
        "multiply the loss first: scaler.scale(loss).backward()": moved(slope / 16),
        "clear the old gradients first: optimizer.zero_grad()": [moved(*g) for g in old],
    }


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
    losses = F.mse_loss(net(inputs), targets), last_loss
    right, last = (torch.autograd.grad(x, net.weight)[0] for x in losses)
    return right, {
        "the losses are means already; divide each by len(batches)": num * right,
        "only one batch is in it; do not clear the gradient": [last, last / num],
        "divide by the number of batches, not of images": num * right / size,
    }


def _resume(student: Student, stop: int, last: int) -> tuple[float, ...]:
    """Two runs whose weight, learning rate and random numbers count the steps, one resumed."""

    def run(start: float, until: int, saved: Any) -> Any:
        net, generator = nn.Linear(1, 1), torch.Generator().manual_seed(int(start))
        optimizer = torch.optim.Adam([net.weight.fill_(start)], start)

        def one_step() -> None:
            net.weight.add_(1)
            optimizer.param_groups[0]["lr"] += torch.rand(1, generator=generator).numel()

        saved = student(one_step, net, optimizer, generator, until, saved)
        drawn = torch.rand(1, generator=generator)
        return saved, (float(net.weight), optimizer.param_groups[0]["lr"], float(drawn))

    with torch.no_grad():
        return run(2000.0, last, run(1000.0, stop, None)[0])[1]


@exercise(lambda: [(4, 9), (2, 7), (6, 8)], run=_resume)
def resumable(stop: int, last: int) -> Table:
    """a run that is stopped and resumed ends as one that never stopped"""

    def ends(start: int, steps: int) -> dict[str, float]:
        drawn = torch.rand(steps + 1, generator=torch.Generator().manual_seed(start))[-1]
        return {"net": start + steps, "optimizer": start + steps, "generator": float(drawn)}

    return ends(1000, last), {
        "save its state, and load it": [ends(2000, n) for n in (last - stop, last)],
        "save after the loop, not before": ends(1000, last - stop),
        "go on from the step that was saved, not from 0": ends(1000, stop + last),
        "`last` steps in all are wanted": [ends(1000, n) for n in (stop, last - 1, last + 1)],
    }


@exercise(lambda: [()])
def diagnose() -> Table:
    """what is wrong with each of the four runs"""
    words = [
        "with far too high a rate the loss jumps",
        "with far too low a rate the loss falls, but hardly",
        "noise that is not in xt cannot be predicted, and its variance of 1 remains",
        "one image alone is easier than all, so the loss falls below that of the healthy run",
        "the squares of bytes are in the thousands; look at the first loss",
    ]
    causes = {name: dict.fromkeys("ABCD", i + 1) for i, name in enumerate(words)}
    return {"A": 4, "B": 1, "C": 3, "D": 2}, causes


@exercise(lambda: [(s, n) for n in (40, 7, 100) for s in range(0, n + 1, 3)])
def cosine_decay(step: int, total_steps: int) -> Table:
    """half a cosine from 1 to 0, compared with the formula at 51 steps"""
    turn, double, quarter = (math.cos(f * math.pi * step / total_steps) for f in (1, 2, 0.5))
    return (1 + turn) / 2, {
        "it ends at -1; bring the cosine from [-1, 1] to [0, 1]": [turn, turn / 2],
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
    """each of 20,000 labels became the null label with that probability, by itself"""
    return probability, {"you keep the share that should be lost": 1 - probability}


@exercise(
    lambda: [
        (2 * torch.randn(n, 1).cumsum(0) + torch.randn(n, s),)
        for n, s in ((30, 2), (21, 5), (40, 3))
    ]
)
def more_than_chance(distances: Tensor) -> Table:
    """which gains are more than two standard errors"""
    num, mean, spread = distances.shape[1], distances.mean(1), distances.std(1)
    gain, k = mean[:-1] - mean[1:], 2 * (2 / num) ** 0.5
    error, spreads = k * spread.square().mean() ** 0.5, (spread[:-1], spread[1:])
    return gain > error, {
        "a smaller distance is better: the line above minus this one": -gain > error,
        "only a gain counts; do not take the absolute value": gain.abs() > error,
        "twice the standard error is wanted": gain > error / 2,
        "two means differ, and both have an error": gain > error / 2**0.5,
        "a mean of S seeds has S times less variance": gain > error * num**0.5,
        "one variance for all, the mean of the lines'": [gain > k * x for x in spreads],
        "the variance of a line is over its seeds, dim=1": gain > k * distances.std(),
        "any gain is let through; compare with the error": gain > 0,
        "take the mean of the variances, not of their roots": gain > k * spread.mean(),
        "var(1) divides by S - 1, as it should": gain > error * ((num - 1) / num) ** 0.5,
    }


@exercise(
    lambda: [(torch.randn(m, 3).double(), torch.arange(1, m + 1) * n // (m + 1),
              torch.arange(m).double(), n) for m, n in ((6, 60), (5, 40), (8, 90))],
    tolerance=1e-3,
)  # fmt: skip
def chosen_afterwards(copies: Tensor, times: Tensor, exponents: Tensor, n: int) -> Table:
    """an average with the exponent 8, from copies with others"""
    k, p, q = torch.arange(1, n + 1).double()[:, None], exponents + 1, 9.0

    def shares(time: Any, power: Any) -> Tensor:
        return (k**power - (k - 1) ** power) / time**power * (k <= time)

    def mixed(columns: Tensor, less: int = 0) -> Tensor:
        return torch.linalg.pinv(columns) @ shares(n, q - less)[:, 0] @ copies

    return mixed(shares(times, p)), {
        "steps after the time of a copy have no share in it": mixed(
            shares(n, p) * (n / times) ** p
        ),
        "the power is exponent + 1": mixed(shares(times, p - 1), 1),
        "a copy of time T is an average of T steps": mixed(shares(n, p)),
        "the copies have unequal parts in it": copies.mean(0),
        "this is one copy; mix all of them": [copies[-1], copies[0]],
    }
