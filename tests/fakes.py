"""What the tests of the samplers share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aetherfusion.diffusion import COSINE, FLOW, NoisePath
from aetherfusion.sampling import ddim, dpmpp_2m, heun

PATHS = [pytest.param(FLOW, id="flow"), pytest.param(COSINE, id="cosine")]
SAMPLERS = [ddim, heun, dpmpp_2m]
Denoiser = Callable[[Tensor, Tensor], Tensor]

PRECISION = [
    pytest.param(s, p, id=f"{s.__name__}-{p.name}") for s in SAMPLERS for p in (FLOW, COSINE)
]


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def grid(steps: int, high: float = 1.0, low: float = 0.0) -> Tensor:
    return torch.linspace(high, low, steps + 1, dtype=torch.float64)


def alpha_sigma(path: NoisePath, t: float) -> tuple[float, float]:
    """Written out again, so that a wrong schedule cannot hide in both the sampler and the test."""
    if path is FLOW:
        return 1 - t, t
    return math.cos(math.pi / 2 * t), math.sin(math.pi / 2 * t)


# The same fake network for them and for us: a velocity that is not affine.
WEIGHT = some(4, 4, seed=5)


def fake_velocity(xt: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(xt @ WEIGHT.to(xt)) * (1 + t.to(xt)) - 0.5 * xt


def fake_denoiser(path: NoisePath) -> Denoiser:
    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(path, float(t))
        if path is FLOW:
            return xt - sigma * fake_velocity(xt, t)
        return alpha * xt - sigma * 2 / math.pi * fake_velocity(xt, t)

    return denoise
