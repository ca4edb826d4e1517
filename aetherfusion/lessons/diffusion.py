"""The checks of lesson 04, against Bayes' rule, slopes by autograd and the package's `ddim`."""

import math
from typing import Any

import torch
from torch import Tensor

from ..diffusion import COSINE, FLOW, NoisePath
from ..sampling import ddim, time_grid
from . import NotYet, Student, Table, draws, exercise


def _noisy(path: NoisePath, *shape: int) -> tuple[Any, ...]:
    (x0, noise), t = draws(2, *shape), torch.linspace(0.15, 0.8, shape[0])
    return path, path.mix(x0, noise, t), noise, t


@exercise(lambda: [_noisy(COSINE, 3, 2, 4, 3), _noisy(FLOW, 5, 5), _noisy(COSINE, 2, 3, 2)])
def velocity_from_noise(path: NoisePath, xt: Tensor, noise_hat: Tensor, t: Tensor) -> Table:
    """the velocity that a predicted noise means, on both paths"""
    time = t.reshape(-1, *[1] * (xt.ndim - 1))
    (alpha, sigma), noise = (path.alpha(time), path.sigma(time)), path.d_sigma(time) * noise_hat
    x0, slope = (xt - sigma * noise_hat) / alpha, path.d_alpha(time)
    flat = (xt - path.sigma(t) * noise_hat) / path.alpha(t)
    last = [path.d_alpha(t) * flat + path.d_sigma(t) * noise_hat, path.velocity(flat, noise_hat, t)]
    return slope * x0 + noise, {
        "you used xt in place of x0; take the noise out of it first": slope * xt + noise,
        "xt - sigma * noise is alpha * x0; divide it by alpha": slope * alpha * x0 + noise,
        "you divided by sigma; divide by alpha to get x0": slope * alpha / sigma * x0 + noise,
        "your times run along the last axis; reshape t to (B, 1, ...)": last,
        "that is x0; the velocity follows from it and the noise": x0,
        "noise - x0 is the velocity on the straight path only": noise_hat - x0,
    }


@exercise(lambda: [(*draws(1, 9), 0.75, 0.6), (*draws(1, 6), 0.4, 1.3), (*draws(1, 14), 0.9, 0.35)])
def two_points_x0(xt: Tensor, alpha: float, sigma: float) -> Table:
    """the optimal answer for two points, at two noise levels"""
    plus, minus = (torch.exp(-((xt - x) ** 2) / (2 * sigma**2)) for x in (alpha, -alpha))
    return (plus - minus) / (plus + minus), {
        "that is the nearer point; take the mean of both, weighted": xt.sign(),
        "alpha is missing; the points stand at -alpha and alpha": torch.tanh(xt / sigma**2),
        "sigma is not squared": torch.tanh(alpha * xt / sigma),
        "a factor of 2 is missing in the exponent": torch.tanh(alpha * xt / (2 * sigma**2)),
        "there is a factor of 2 too many": torch.tanh(2 * alpha * xt / sigma**2),
        "you rescaled xt, but the noise is still in it": [xt / alpha, (xt / alpha).clamp(-1, 1)],
        "that is the probability of 1; take the mean of -1 and 1": plus / (plus + minus),
    }


def _values(student: Student, t: Tensor) -> tuple[Tensor, ...]:
    path, names = student(), ("alpha", "sigma", "d_alpha", "d_sigma")
    if not all(callable(getattr(path, name, None)) for name in names):
        raise NotYet(f"return a NoisePath with the four functions {', '.join(names)}")
    return tuple(Student(getattr(path, name), student.time_limit)(t) for name in names)


@exercise(lambda: [(torch.linspace(0.05, 0.95, n),) for n in (19, 8, 13)], run=_values)
def my_path(t: Tensor) -> Table:
    """a path of your own, with slopes that agree with finite differences"""
    cosine, sine = torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)
    slope = torch.func.vmap(torch.func.grad(lambda t: torch.sin(math.pi / 2 * t) ** 2))(t)
    outer, inner = slope / (math.pi / 2), slope / 2
    return {"alpha": cosine**2, "sigma": sine**2, "d_alpha": -slope, "d_sigma": slope}, {
        "alpha and sigma are exchanged: t = 0 is data": {"alpha": sine**2, "sigma": cosine**2},
        "square it": {"alpha": cosine, "sigma": sine},
        "the inner derivative pi / 2 is missing": {"d_alpha": -outer, "d_sigma": outer},
        "the factor 2 of the square is missing": {"d_alpha": -inner, "d_sigma": inner},
    }


def _velocity(xt: Tensor, t: Tensor) -> Tensor:
    if not isinstance(t, Tensor) or t.shape != xt.shape[:1]:
        raise NotYet("give velocity one time for each particle, a tensor of shape (B,)")
    return torch.sin(xt + 2 * t.to(xt).reshape(-1, *[1] * (xt.ndim - 1)))


def _walk(x: Tensor, times: list[float], sign: int = -1) -> Tensor:
    for t in times:
        x = x + sign * _velocity(x, torch.full((len(x),), t)) / len(times)
    return x


@exercise(lambda: [(_velocity, *draws(1, *s), 8 - s[0]) for s in ((2, 3), (5,), (4, 2, 3))])
def euler(velocity: Any, noise: Tensor, num_steps: int) -> Table:
    """Euler's method from noise to data, like the package's first-order sampler"""
    times, late, mid = ([1 - (i + k) / num_steps for i in range(num_steps)] for k in (0, 1, 0.5))
    denoise = lambda x, t: x - t * _velocity(x, t.expand(len(x)))  # noqa: E731
    rising = [_walk(noise, ts[::-1], sign) for ts in (times, late) for sign in (-1, 1)]
    return ddim(denoise, noise, time_grid(num_steps, tail=0)), {
        "generation begins at t = 1 and ends at t = 0; your times rise": rising,
        "v points towards noise; subtract it": _walk(noise, times, 1),
        "use the velocity where a step begins": [_walk(noise, late), _walk(noise, mid)],
    }
