"""The checks of lesson 04, against Bayes' rule, closed forms and steps of Euler's method."""

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, randn

from ..diffusion import COSINE, FLOW, NoisePath
from . import NotYet, Student, Table, exercise

PATHS = (COSINE, FLOW)
ALONG = "your times run along the last axis; reshape t to (B, 1, ...)"


def _wide(t: Tensor, x: Tensor) -> Tensor:
    return t.reshape(-1, *[1] * (x.ndim - 1))


def _timed(t: Any, x: Tensor) -> Tensor:
    if not isinstance(t, Tensor) or t.shape != x.shape[:1]:
        raise NotYet("give the network one time for each example, a tensor of shape (B,)")
    return _wide(t, x).to(x)


def _four(path: NoisePath, t: Tensor) -> list[Tensor]:
    return [f(t) for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma)]


def _cases() -> list[Any]:
    """Both paths with two tensors (B, ...) and times (B,), B as long as the last axis."""
    pairs = [randn(2, *shape) for shape in ((3, 4, 3), (5, 5), (2, 1, 2))]
    return [(p, *x, 0.1 + 0.8 * torch.rand(len(x[0]))) for x in pairs for p in PATHS]


@exercise(lambda: [(torch.tanh, *randn(2, *s), s[-1] / 10) for s in ((3, 4), (5, 2, 3), (2, 7))])
def denoising_loss(network: Any, images: Tensor, noise: Tensor, t: float) -> Table:
    """the loss of finding the clean picture under the noise"""
    xt, other, loss = (1 - t) * images + t * noise, t * images + (1 - t) * noise, F.mse_loss
    answer, seen = network(xt), [network(images), network(noise)]
    right, many = loss(answer, images), loss(answer, images, reduction="sum")
    return right, {
        "compare with the clean images": [loss(answer, xt), loss(answer, noise)],
        "the network must see the noisy images": [loss(x, images) for x in seen],
        "t = 0 is data; images have the factor 1 - t": loss(network(other), images),
        "the images fade too; multiply them by 1 - t": loss(network(images + t * noise), images),
        "the network is missing": loss(xt, images),
        "take the mean of the squares": [(answer - images).abs().mean(), many],
    }


@exercise(_cases)
def mix_and_velocity(path: NoisePath, x0: Tensor, noise: Tensor, t: Tensor) -> Table:
    """the noisy picture and its velocity, on any path"""
    time = _wide(t, x0)
    (a, s, da, ds), (a_, s_, da_, ds_) = _four(path, time), _four(path, t)
    xt, v = a * x0 + s * noise, da * x0 + ds * noise
    return {"xt": xt, "v": v}, {
        ALONG: {"xt": a_ * x0 + s_ * noise, "v": da_ * x0 + ds_ * noise},
        "alpha belongs to x0": {"xt": a * noise + s * x0, "v": da * noise + ds * x0},
        "this holds on the straight path only": {"xt": x0 + time * (noise - x0), "v": noise - x0},
        "add the second term": {"xt": a * x0 - s * noise, "v": da * x0 - ds * noise},
    }


@exercise(_cases)
def split(path: NoisePath, xt: Tensor, v: Tensor, t: Tensor) -> Table:
    """x0 and the noise, from where the picture is and how it moves"""

    def by(a: Tensor, s: Tensor, da: Tensor, ds: Tensor, *, minus: int = 1) -> dict[str, Tensor]:
        x0, noise = ds * xt - minus * s * v, a * v - minus * da * xt
        return {"x0": x0 / (a * ds - da * s), "noise": noise / (a * ds - da * s)}

    a, s, da, ds = four = _four(path, time := _wide(t, xt))
    d, plus, right = a * ds - da * s, a * ds + da * s, by(*four)
    scaled = [{n: c * x for n, x in right.items()} for c in (d, d**2, d / plus)]
    return right, {
        ALONG: by(*_four(path, t)),
        "this holds on the straight path only": {"x0": xt - time * v, "noise": xt + (1 - time) * v},
        "divide by the determinant": scaled[:2],
        "the determinant is a difference": scaled[2],
        "a sign above the line is wrong": by(*four, minus=-1),
    }


@exercise(lambda: [(0.01 + 0.04 * torch.rand(n),) for n in (9, 6, 14)])
def ddpm_path(beta: Tensor) -> Table:
    """alpha and sigma at every step of DDPM"""
    bar, product, total = (1 - beta).log().cumsum(0).exp(), beta.cumprod(0), beta.cumsum(0)
    right, *wrong = (
        {"alpha": b.sqrt(), "sigma": (1 - b).sqrt()}
        for b in (bar, 1 - beta, product, 1 - product, 1 - total, bar[-1:].expand_as(bar))
    )
    return right, {
        "the squares of alpha and sigma add up to 1": {"sigma": 1 - bar.sqrt()},
        "this is one step; multiply all so far": [wrong[0], {"alpha": 1 - beta, "sigma": beta}],
        "the product is over 1 - beta; do not add up the betas": wrong[1:4],
        "every step has a product of its own (cumprod)": wrong[4],
    }


@exercise(lambda: [(*randn(2, 9 - k, k), PATHS[k % 2], torch.tensor(0.8 / k)) for k in (2, 3, 4)])
def best_x0(xt: Tensor, points: Tensor, path: NoisePath, t: Tensor) -> Table:
    """the best possible denoiser of a data set, and its weights"""
    a, s = path.alpha(t), path.sigma(t)
    log_p = torch.distributions.Normal(a * points, s).log_prob(xt[:, None]).sum(-1)
    d, plain = torch.cdist(xt, a * points), torch.cdist(xt, points)
    scores, e = -((d / s) ** 2) / 2, torch.exp(-((d / s) ** 2) / 2)

    def by(scores: Tensor, axis: int = -1) -> dict[str, Tensor]:
        w = scores.softmax(axis)
        return {"x0_hat": w @ points, "w": w}

    right = by(log_p)
    return right, {
        "the centres are alpha * points": by(-((plain / s) ** 2) / 2),
        "the minus sign in the exponent is missing": by(-scores),
        "divide by 2 sigma^2": [by(c * scores) for c in (2, s, s**2, 2 * s**2)],
        "square the distance": [by(-d / c) for c in (s, 2 * s, 2 * s**2)],
        "the softmax must run over the points": by(scores, 0),
        "take the mean of all points, weighted": by(1e9 * scores),
        "take the mean of points, not of alpha * points": {"x0_hat": a * right["x0_hat"]},
        "the weights must sum to 1; use softmax": [{"x0_hat": e @ points, "w": e}, {"w": scores}],
    }


@exercise(_cases)
def score(path: NoisePath, xt: Tensor, v: Tensor, t: Tensor) -> Table:
    """the score, from the velocity"""
    (x0, noise), time = path.split(xt, v, t), _wide(t, xt)
    s = path.sigma(time)
    return -noise / s, {
        ALONG: -noise / path.sigma(t),
        "divide the noise by sigma, once": [-noise, -noise * s, -noise / s**2, -noise / time],
        "this is the noise; the score is -noise / sigma": noise,
        "split v, and take the noise": [x / s for x in (x0, -x0, v, -v, xt, -xt)],
        "use path.split; yours is the straight path": -(xt + (1 - time) * v) / s,
    }


def _best(path: NoisePath, xt: Tensor, t: Tensor) -> Tensor:
    """The optimal velocity at xt and t, if the data are normal numbers times 3."""
    a, s, da, ds = _four(path, _timed(t, xt))
    return xt * (9 * a * da + s * ds) / (9 * a**2 + s**2)


def _loss(student: Student, path: NoisePath, x0: Tensor) -> Tensor:
    """The student's loss for the optimal network."""
    weight, times = torch.ones((), requires_grad=True), []

    def net(xt: Tensor, t: Tensor) -> Tensor:
        times.append(t)
        return weight * _best(path, xt, t)

    loss = student(net, path, x0)
    if not times or not isinstance(loss, Tensor) or not loss.requires_grad:
        raise NotYet("call net, and return the loss with its gradient: no item, detach or no_grad")
    if (times[0].sort().values - torch.linspace(0, 1, len(x0))).abs().max() > 0.05:
        raise NotYet("draw a time for each example, evenly between 0 and 1, with torch.rand")
    return loss


@exercise(lambda: [(p, 3 * randn(20_000, d)) for d in (2, 5) for p in PATHS], run=_loss,
          tolerance=0.05)  # fmt: skip
def training_loss(path: NoisePath, x0: Tensor) -> Table:
    """a loss that is as small as possible for the best network, and not 0"""
    t, noise, even, loss = torch.rand(len(x0)), randn(x0.shape), torch.rand(x0.shape), F.mse_loss
    xt, v = path.mix(x0, noise, t), path.velocity(x0, noise, t)
    v_hat, fresh = _best(path, xt, t), path.velocity(x0, randn(x0.shape), t)
    flat, right = _best(path, path.mix(x0, even, t), t), loss(v_hat, v)
    seen = _best(path, x0, t), _best(path, noise, t), _best(path, xt, 1 - t)
    return right, {
        "the target is v": [loss(v_hat, x) for x in (noise, x0, xt, -v)],
        "noise - x0 is the velocity on the straight path only": loss(v_hat, noise - x0),
        "xt and v must hold the same noise": loss(v_hat, fresh),
        "draw the noise with randn": loss(flat, path.velocity(x0, even, t)),
        "the network must see xt, and the t of that mixture": [loss(x, v) for x in seen],
        "take the mean, not the sum": [right * n for n in (x0.numel(), x0.shape[1])],
        "square it": F.l1_loss(v_hat, v),
    }


@exercise(lambda: [(_velocity, lambda x, t: 1 - _velocity(x, t), *case) for case in _cases()])
def loss_floor_left(net: Any, best: Any, path: Any, x0: Tensor, noise: Tensor, t: Tensor) -> Table:
    """the loss, the floor, and what is left between them"""
    v, (a, b) = path.velocity(x0, noise, t), (f(path.mix(x0, noise, t), t) for f in (net, best))
    fars = {"loss": a - v, "floor": b - v, "left": a - b}
    right = {name: far.square().mean() for name, far in fars.items()}
    mean = {"left": right["loss"] - right["floor"]}
    return right, {
        "compare the two networks; loss - floor is this only on average": mean,
        "square the differences": {name: far.abs().mean() for name, far in fars.items()},
    }


def _stratified(student: Student, num: int) -> int:
    """`num`, if one time is in each of so many equally likely parts."""
    if not isinstance(t := student(num), Tensor) or t.shape != (num,):
        raise NotYet("a tensor of times is wanted, of shape (num,)")

    def even(u: Tensor) -> bool:
        return torch.equal((u.double() * num).long().sort().values, torch.arange(num))

    order, again, ndtr = t.sort().values, student(num).sort().values, torch.special.ndtr
    uneven, steps = not even(ndtr(t.logit())), t.diff()
    faults = {
        "this is a normal number; the sigmoid is missing": even(ndtr(t)),
        "this is u; make it a normal number with ndtri, then a time": even(t),
        "two calls give the same times; draw at random within each part": order.allclose(again),
        "the times are in order; shuffle them, with randperm": steps.max() < 0 or steps.min() > 0,
        "some of the num equally likely parts hold no time, and others several": uneven,
    }
    if found := [words for words, fault in faults.items() if fault]:
        raise NotYet(found[0])
    return num


@exercise(lambda: [(7,), (16,), (33,)], run=_stratified)
def stratified_times(num: int) -> Table:
    """logit-normal times, one in each of num equally likely parts"""
    return num, {}


@exercise(_cases)
def velocity_from_noise(path: NoisePath, xt: Tensor, noise_hat: Tensor, t: Tensor) -> Table:
    """the velocity that a predicted noise means, on both paths"""
    (a, s, da, ds), (a_, s_, da_, ds_) = _four(path, _wide(t, xt)), _four(path, t)
    x0, flat, noise = (xt - s * noise_hat) / a, (xt - s_ * noise_hat) / a_, ds * noise_hat
    return da * x0 + noise, {
        "you used xt in place of x0; take the noise out of it first": da * xt + noise,
        "divide it by alpha": [da * a / c * x0 + noise for c in (1, s)],
        ALONG: [path.velocity(flat, noise_hat, t), da_ * flat + ds_ * noise_hat],
        "this is x0; the velocity follows from it and the noise": x0,
        "noise - x0 is the velocity on the straight path only": noise_hat - x0,
    }


@exercise(lambda: [(randn(n), 4 / n, n / 10) for n in (9, 6, 14)])
def two_points_x0(xt: Tensor, alpha: float, sigma: float) -> Table:
    """the optimal answer for two points, at two noise levels"""
    plus, minus = (torch.exp(-((xt - x) ** 2) / (2 * sigma**2)) for x in (alpha, -alpha))
    twos = [torch.tanh(factor * alpha * xt / sigma**2) for factor in (0.5, 2)]
    return (plus - minus) / (plus + minus), {
        "this is the nearer point; take the mean of both, weighted": xt.sign(),
        "alpha is missing; the points stand at -alpha and alpha": torch.tanh(xt / sigma**2),
        "sigma is not squared": torch.tanh(alpha * xt / sigma),
        "the factor of 2 in the exponent is missing, or there twice": twos,
        "you rescaled xt, but the noise is still in it": [xt / alpha, (xt / alpha).clamp(-1, 1)],
        "this is the probability of 1; take the mean of -1 and 1": plus / (plus + minus),
    }


def _values(student: Student, t: Tensor) -> list[Tensor]:
    path, names = student(), ("alpha", "sigma", "d_alpha", "d_sigma")
    functions = [getattr(path, name, None) for name in names]
    if None in functions:
        raise NotYet(f"return a NoisePath with the four functions {', '.join(names)}")
    return [replace(student, function=function)(t) for function in functions]


@exercise(lambda: [(torch.linspace(0.05, 0.95, n),) for n in (19, 8, 13)], run=_values)
def my_path(t: Tensor) -> Table:
    """a path of your own, with slopes that agree with finite differences"""
    cosine, sine = torch.cos(torch.pi * t) / 2, torch.sin(torch.pi * t)
    alpha, sigma, slope = 0.5 + cosine, 0.5 - cosine, torch.pi / 2 * sine
    return {"alpha": alpha, "sigma": sigma, "d_alpha": -slope, "d_sigma": slope}, {
        "the sign is wrong": {"d_alpha": slope, "d_sigma": -slope},
        "the inner derivative pi / 2 is missing": {"d_alpha": -sine, "d_sigma": sine},
    }


def _velocity(xt: Tensor, t: Tensor) -> Tensor:
    return torch.sin(xt + 2 * _timed(t, xt))


@exercise(lambda: [(_velocity, randn(s), 8 - s[0]) for s in ((2, 3), (5,), (4, 2, 3))])
def euler(velocity: Any, noise: Tensor, num_steps: int) -> Table:
    """Euler's method from noise to data, like the package's first-order sampler"""

    def walk(start: float, sign: int = -1) -> Tensor:
        x, times = noise, [abs(start - i / num_steps) for i in range(num_steps)]
        for t in times:
            x = x + sign * _velocity(x, torch.full((len(x),), t)) / num_steps
        return x

    rising = [walk(start, sign) for start in (0, -1 / num_steps) for sign in (-1, 1)]
    return walk(1), {
        "generation begins at t = 1 and ends at t = 0; your times rise": rising,
        "v points towards noise; subtract it": walk(1, 1),
        "use the velocity where a step begins": [walk(1 - n / num_steps) for n in (1, 0.5)],
    }


@exercise(lambda: [(_velocity, randn(n), 20 - 2 * n) for n in (5, 3, 8)], tolerance=2e-3)
def log_density(velocity: Any, x: Tensor, num_steps: int) -> Table:
    """the logarithm of the density, by the change of volume along the path"""
    y, total, half = x, torch.zeros(len(x)), math.log(2 * math.pi) / 2
    for i in range(num_steps):
        total = total + torch.cos(y + 2 * i / num_steps) / num_steps  # the slope of `_velocity`
        y = y + torch.sin(y + 2 * i / num_steps) / num_steps
    end = -(y**2) / 2 - half
    return end + total, {
        "dv/dx has the wrong sign": end - total,
        "add up dv/dx, divided by the number of steps": [end, end + num_steps * total],
        "take the normal density where the walk ends": total - x**2 / 2 - half,
        "add the normal density at the end of the walk": [total, -total],
    }
