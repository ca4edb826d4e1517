"""The checks of lesson 04, against Bayes' rule, closed forms and steps of Euler's method."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..diffusion import COSINE, FLOW, NoisePath
from . import NotYet, Student, Table, exercise


@exercise(
    lambda: [
        (p, *torch.randn(2, n, 4, n), torch.rand(n)) for n in (3, 5, 2) for p in (COSINE, FLOW)
    ]
)
def velocity_from_noise(path: NoisePath, xt: Tensor, noise_hat: Tensor, t: Tensor) -> Table:
    """the velocity that a predicted noise means, on both paths"""
    time = t.reshape(-1, *[1] * (xt.ndim - 1))
    alpha, slope, noise = path.alpha(time), path.d_alpha(time), path.d_sigma(time) * noise_hat
    x0 = (xt - path.sigma(time) * noise_hat) / alpha
    flat = (xt - path.sigma(t) * noise_hat) / path.alpha(t)
    last = [path.d_alpha(t) * flat + path.d_sigma(t) * noise_hat, path.velocity(flat, noise_hat, t)]
    undivided = [slope * alpha / other * x0 + noise for other in (1, path.sigma(time))]
    return slope * x0 + noise, {
        "you used xt in place of x0; take the noise out of it first": slope * xt + noise,
        "xt - sigma * noise is alpha * x0; divide it by alpha": undivided,
        "your times run along the last axis; reshape t to (B, 1, ...)": last,
        "that is x0; the velocity follows from it and the noise": x0,
        "noise - x0 is the velocity on the straight path only": noise_hat - x0,
    }


@exercise(lambda: [(torch.randn(n), 4 / n, n / 10) for n in (9, 6, 14)])
def two_points_x0(xt: Tensor, alpha: float, sigma: float) -> Table:
    """the optimal answer for two points, at two noise levels"""
    plus, minus = (torch.exp(-((xt - x) ** 2) / (2 * sigma**2)) for x in (alpha, -alpha))
    twos = [torch.tanh(factor * alpha * xt / sigma**2) for factor in (0.5, 2)]
    return (plus - minus) / (plus + minus), {
        "that is the nearer point; take the mean of both, weighted": xt.sign(),
        "alpha is missing; the points stand at -alpha and alpha": torch.tanh(xt / sigma**2),
        "sigma is not squared": torch.tanh(alpha * xt / sigma),
        "the factor of 2 in the exponent is missing, or there twice": twos,
        "you rescaled xt, but the noise is still in it": [xt / alpha, (xt / alpha).clamp(-1, 1)],
        "that is the probability of 1; take the mean of -1 and 1": plus / (plus + minus),
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
    half, cosine, sine = torch.pi / 2 * t, torch.cos(torch.pi * t) / 2, torch.sin(torch.pi * t) / 2
    slope = torch.pi * sine
    return {"alpha": 0.5 + cosine, "sigma": 0.5 - cosine, "d_alpha": -slope, "d_sigma": slope}, {
        "t = 0 is data, so alpha begins at 1": {"alpha": 0.5 - cosine, "sigma": 0.5 + cosine},
        "square it": {"alpha": half.cos(), "sigma": half.sin()},
        "the inner derivative pi / 2 is missing": {"d_alpha": -2 * sine, "d_sigma": 2 * sine},
    }


def _velocity(xt: Tensor, t: Tensor) -> Tensor:
    if not isinstance(t, Tensor) or t.shape != xt.shape[:1]:
        raise NotYet("give velocity one time for each particle, a tensor of shape (B,)")
    return torch.sin(xt + 2 * t.to(xt).reshape(-1, *[1] * (xt.ndim - 1)))


@exercise(lambda: [(_velocity, torch.randn(s), 8 - s[0]) for s in ((2, 3), (5,), (4, 2, 3))])
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
