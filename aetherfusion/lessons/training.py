"""The checks of lesson 05, against formulas, counts and gradients by hand."""

import math
from typing import Any

import torch
import torch._dynamo  # the first optimizer loads it, and a time limit must not interrupt that
import torch.nn.functional as F
from torch import Tensor, arange, nn, rand, randn

from . import NotYet, Student, Table, exercise
from .unet import _edited


@exercise(lambda: [(lambda x, t, labels: 0.5 * x + (t + 0.1 * labels)[:, None, None, None],
                    rand(b, 3, s, s), arange(b), rand(b), randn(b, 3, s, s))
                   for b, s in ((6, 5), (3, 8), (9, 2))])  # fmt: skip
def my_loss(net: Any, x0: Tensor, labels: Tensor, t: Tensor, noise: Tensor) -> Table:
    """the mean squared error of the velocity, at every image's own time"""
    w, v = t[:, None, None, None], noise - x0
    xt, clean, shared = ((1 - u) * x0 + u * noise for u in (w, 1 - w, w.mean()))
    off = net(xt, t, labels) - v

    def loss(x: Tensor, time: Tensor = t, target: Tensor = v) -> Tensor:
        return (net(x, time, labels) - target).square().mean()

    return loss(xt), {
        "the target is the velocity, noise - x0": [loss(xt, t, x) for x in (noise, x0, -v)],
        "x0 and noise are exchanged in xt: t = 0 is data": loss(clean),
        "give the network xt": [loss(x0), loss(noise)],
        "every image has its own time": [loss(shared), loss(xt, 0 * t)],
        "this is the absolute error; square it": off.abs().mean(),
        "take the mean over everything": [off.square().sum(), off.square().mean(0).sum()],
    }


@exercise(lambda: [(s, n, w) for n, w in ((100, 10), (31, 4), (60, 7)) for s in range(0, n, 3)])
def my_rate(step: int, total_steps: int, warmup_steps: int) -> Table:
    """up in a line from a first step above 0, and down to 0 from the start"""
    up, down = min(1.0, (step + 1) / warmup_steps), 1 - step / total_steps
    late = 1 - max(0, step - warmup_steps) / (total_steps - warmup_steps)
    others = late, 0.5 + down / 2, 1 - down
    return min(up, down), {
        "the first step has the rate 0: count it as 1": min(1.0, step / warmup_steps, down),
        "the factor is the smaller of up and down": [max(up, down), up * down, up, down],
        "down is the part of the run that remains, from step 0 on": [min(up, x) for x in others],
    }


@exercise(lambda: [(*randn(2, 5), n, e) for n, e in ((7, 8.0), (3, 2.0), (20, 5.0))])
def mix_in(average: Tensor, newest: Tensor, n: int, exponent: float) -> Table:
    """the newest weights enter with the share 1 - (n / (n + 1)) ** (exponent + 1)"""

    def mixed(share: float, power: float = exponent + 1) -> Tensor:
        return share**power * average + (1 - share**power) * newest

    kept = n / (n + 1)
    return mixed(kept), {
        "the two are exchanged": kept ** (exponent + 1) * (newest - average) + average,
        "the power is exponent + 1": [mixed(kept, exponent), mixed(kept, 1)],
        "n counts the weights before the newest": mixed((n - 1) / n),
        "this is the usual moving average, with a fixed share": [mixed(0.999, 1), mixed(0.5, 1)],
        "the two shares must add up to 1": kept ** (exponent + 1) * average + newest,
    }


@exercise(lambda: [(*randn(3, n), rand(n), k, lr)
                   for n, k, lr in ((5, 3, 0.1), (3, 1, 0.3), (7, 40, 0.2))])  # fmt: skip
def adamw_step(p: Tensor, grad: Tensor, mean: Tensor, squares: Tensor, k: int, lr: float) -> Table:
    """the weights and both means after one step of AdamW"""
    code = """beta1 = 0.9; beta2 = 0.97; fix1 = 1 - 0.9**k; fix2 = 1 - 0.97**k; decay = lr * 0.01
m = beta1 * mean + (1 - beta1) * grad; s = beta2 * squares + (1 - beta2) * grad**2
step = lr * m / fix1 / ((s / fix2) ** 0.5 + 1e-8)
out = {"p": p - decay * p - step, "mean": m, "squares": s}"""
    coupled = "grad -> (grad + 0.01 * p)"
    return _edited(code, {
        "squares is the mean of grad**2": "grad**2 -> grad",
        "mean keeps 0.9 of itself, squares 0.97":
            "beta1 = 0.9 -> beta1 = 0.1 or beta2 = 0.97 -> beta2 = 0.03 or 0.97; -> 0.999;",
        "weight decay is no part of the gradient": f"{coupled} or {coupled} and lr * 0.01 -> 0",
        "the weights shrink by lr * 0.01": "lr * 0.01 -> 0 or lr * 0.01 -> 0.01",
        "both means begin at 0; divide by 1 - 0.9**k, 1 - 0.97**k":
            "/ fix1 ->  or / fix2 ->  or / fix1 ->  and / fix2 -> ",
        "divide by the root of squares_hat": "** 0.5 -> ",
        "the step goes downhill, and has the size lr": "- step -> + step or lr * m -> m",
    }, p=p, grad=grad, mean=mean, squares=squares, k=k, lr=lr)  # fmt: skip


@exercise(lambda: [([randn(n, 3), randn(n)], x) for n, x in ((4, 1), (2, 9), (7, 2.5))])
def clip_factor(gradients: list[Tensor], max_norm: float) -> Table:
    """one factor for all gradients, which makes them max_norm long if they are longer"""
    every, each = torch.cat([g.flatten() for g in gradients]), [g.norm() for g in gradients]
    length, size = every.norm(), every.abs()
    others = [sum(each), *each, length**2, length / len(size) ** 0.5, size.sum(), size.max()]
    factors, ratio = [min(1.0, max_norm / x) for x in others], max_norm / length
    return min(1.0, ratio), {
        "the length is the root of the sum of all squares": factors,
        "the smaller of 1 and max_norm / length is wanted": [ratio, max(1.0, ratio)],
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
        raise NotYet("call net under torch.autocast(device.type, dtype), to compute in dtype")
    moved = net.weight.detach().clone()
    student(net, math.inf * x, target, sgd, scaler, torch.bfloat16)
    if not torch.equal(net.weight, moved):
        raise NotYet("a gradient that overflows must be skipped; use scaler.step(optimizer)")
    return moved


@exercise(lambda: [(randn(b, n), 9 * randn(b, m), randn(m, n), 30 * randn(m, n))
                   for b, n, m in ((8, 5, 3), (4, 3, 2), (16, 6, 5))],
          run=_step, tolerance=5e-3)  # fmt: skip
def train_step(x: Tensor, target: Tensor, weight: Tensor, stale: Tensor) -> Table:
    """one step in bfloat16: scaled loss, clipped gradient, moved weights"""
    out = (x.bfloat16() @ weight.bfloat16().T).float()
    slope = 2 * (out - target).T @ x / target.numel()

    def moved(gradient: Tensor, longest: float = 1.0) -> Tensor:
        return weight - 0.5 * gradient / max(1.0, float(gradient.norm() / longest))

    return moved(slope), {
        "the weights did not move; call scaler.step(optimizer)": weight,
        "clip the gradient to length 1": [moved(slope, c) for c in (math.inf, 0.1, 10)],
        "unscale before you clip: scaler.unscale_(optimizer)": moved(slope, 1 / 16),
        "multiply the loss first: scaler.scale(loss).backward()": moved(slope / 16),
        "clear old gradients first: zero_grad()": [moved(slope + g) for g in (stale, stale / 16)],
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


@exercise(lambda: [(nn.Linear(n, n), *randn(2, n, 7 - n, n)) for n in (3, 4, 2)], run=_sum)
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

    def run(start: int, until: int, saved: Any) -> Any:
        net, generator = nn.Linear(1, 1), torch.Generator().manual_seed(start)
        optimizer = torch.optim.Adam([net.weight.data.fill_(start)], 1.0 * start)

        def one_step() -> None:
            net.weight.data.add_(1)
            optimizer.param_groups[0]["lr"] += len(rand(1, generator=generator))

        saved = student(one_step, net, optimizer, generator, until, saved)
        ends = net.weight.data, optimizer.param_groups[0]["lr"], rand(1, generator=generator)
        return saved, tuple(map(float, ends))

    return run(2000, last, run(1000, stop, None)[0])[1]


@exercise(lambda: [(4, 9), (2, 7), (6, 8)], run=_resume)
def resumable(stop: int, last: int) -> Table:
    """a run that is stopped and resumed ends as one that never stopped"""

    def ends(start: int, steps: int) -> dict[str, float]:
        drawn = rand(steps + 1, generator=torch.Generator().manual_seed(start))[-1]
        return {"net": start + steps, "optimizer": start + steps, "generator": float(drawn)}

    return ends(1000, last), {
        "save its state, and load it": [ends(2000, n) for n in (last - stop, last)],
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


@exercise(lambda: [(arange(20_000) % n, 2.5 / n, n) for n in (10, 4, 7)],
          run=_share, tolerance=0.02)  # fmt: skip
def drop_labels(labels: Tensor, probability: float, null_label: int) -> Table:
    """each of 20,000 labels became the null label with that probability, by itself"""
    return probability, {"you keep the share that should be lost": 1 - probability}


@exercise(lambda: [(2 * randn(n, 1).cumsum(0) + randn(n, s),)
                   for n, s in ((30, 2), (21, 5), (40, 3))])  # fmt: skip
def more_than_chance(distances: Tensor) -> Table:
    """which gains are more than two standard errors"""
    num, mean, spread = distances.shape[1], distances.mean(1), distances.std(1)
    gain, k = mean[:-1] - mean[1:], 2 * (2 / num) ** 0.5
    error, spreads = k * spread.square().mean() ** 0.5, (spread[:-1], spread[1:], spread.mean())
    return gain > error, {
        "a gain is the line above minus this, with its sign": [-gain > error, gain.abs() > error],
        "compare with twice the standard error": [gain > error / 2, gain > 0],
        "two means have errors, each of S seeds": [gain > error / 2**0.5, gain > error * num**0.5],
        "take the usual var(1)": [gain > k * distances.std(), gain > error * (1 - 1 / num) ** 0.5],
        "one variance for all, the mean of the lines'": [gain > k * x for x in spreads],
    }


@exercise(lambda: [(randn(m, 3).double(), arange(1, m + 1) * n // (m + 1), arange(m).double(), n)
                   for m, n in ((6, 60), (5, 40), (8, 90))], tolerance=1e-3)  # fmt: skip
def chosen_afterwards(copies: Tensor, times: Tensor, exponents: Tensor, n: int) -> Table:
    """an average with the exponent 8, from copies with others"""
    k, p, q = arange(1, n + 1).double()[:, None], exponents + 1, 9.0

    def shares(time: Any, power: Any) -> Tensor:
        return (k**power - (k - 1) ** power) / time**power * (k <= time)

    def mixed(columns: Tensor, power: float = q) -> Tensor:
        return torch.linalg.pinv(columns) @ shares(n, power)[:, 0] @ copies

    whole = shares(n, p)
    return mixed(shares(times, p)), {
        "steps after the time of a copy have no share in it": mixed(whole * (n / times) ** p),
        "the power is exponent + 1": mixed(shares(times, p - 1), q - 1),
        "a copy of time T is an average of T steps": mixed(whole),
        "the copies have unequal parts in it": [copies.mean(0), copies[-1], copies[0]],
    }
