"""Samplers, which solve dx/dt = v(x, t) from noise to data; their times; and guidance.

Built in lesson 06. Implements DDIM (Song et al. 2021), Heun's method (Karras et al. 2022) and
DPM-Solver++ 2M (Lu et al. 2022b), and classifier-free guidance (Ho & Salimans 2022). `denoise(xt,
t)` predicts the data, x0_hat, and the times fall from 1 (noise) to 0 (data).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .diffusion import FLOW, NoisePath

Denoiser = Callable[[Tensor, Tensor], Tensor]
LabelledDenoiser = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SamplerStep:
    """One step of a sampler, which its callback receives."""

    index: int  # of the step, from 0
    num_steps: int  # of the whole sampler
    t: Tensor  # (), the time before the step
    xt: Tensor  # (B, ...), the noisy images at time t
    x0_hat: Tensor  # (B, ...), the data predicted from them


Callback = Callable[[SamplerStep], None]
Sampler = Callable[..., Tensor]


def time_grid(steps: int, *, tail: int = 2) -> Tensor:
    """The times (steps + 1,) of a sampler, from 1 down to 0, evenly spaced except near 0.

    The step to 0 is of first order in every sampler here, and a long one blurs fine detail. So the
    last of the even steps is split, `tail` times but at most `steps // 5` times, at a third of the
    remaining time. Times are float64, so that differences between neighbours stay exact.

    >>> time_grid(14)  # 1, 11/12, ..., 2/12, 1/12, 1/36, 1/108, 0
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    tail = min(tail, steps // 5)
    even = torch.linspace(1, 0, steps - tail + 1, dtype=torch.float64)
    cuts = even[-2] / 3 ** torch.arange(1, tail + 1, dtype=torch.float64)
    return torch.cat([even[:-1], cuts, even[-1:]])


def guided(
    denoise: LabelledDenoiser,
    labels: Tensor,
    null_label: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """Classifier-free guidance: extrapolates from the unconditional to the labelled prediction.

    Turns `denoise(xt, t, labels)` into a denoiser of (xt, t) for the labels (B,). Where it guides,
    a function evaluation takes 2 B images. Source: Ho & Salimans 2022, equation 6.

    The scale 1 is no guidance, 0 ignores the label, and more than 1 exaggerates its effect.
    It guides between the times (low, high) in [0, 1]: at high noise guidance reduces variety, at
    low noise it has little effect (Kynkaanniemi et al. 2024).
    """
    low, high = guidance_interval
    if not 0 <= low <= high <= 1:
        raise ValueError(f"guidance_interval must be 0 <= low <= high <= 1, got {low}, {high}")
    if not -1000 <= guidance_scale <= 1000:
        raise ValueError(f"guidance_scale must be in [-1000, 1000], got {guidance_scale}")
    both_labels = torch.cat([labels, torch.full_like(labels, null_label)])  # (2 B,)

    def steered(xt: Tensor, t: Tensor) -> Tensor:
        if guidance_scale == 1 or not low <= t <= high:
            return denoise(xt, t, labels)
        with_label, without = denoise(torch.cat([xt, xt]), t, both_labels).chunk(2)
        return torch.lerp(without, with_label, guidance_scale)

    return steered


def ddim(
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    path: NoisePath = FLOW,
    callback: Callback | None = None,
) -> Tensor:
    """First order: mixes x0_hat with the noise that it implies, for the next time.

    One function evaluation per step. On the straight path this is Euler's method.
    Source: Song, Meng & Ermon 2021, equation 12 with sigma = 0.

    `denoise` takes (xt, t) to x0_hat, with t a tensor (). The result has the shape and dtype of the
    starting noise x (B, ...). The times (steps + 1,) decrease, see `time_grid`. The callback is
    called with every `SamplerStep`.
    """
    _check_times(times)
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        x0_hat = denoise(x, t)
        if callback:
            callback(SamplerStep(i, len(times) - 1, t, x, x0_hat))
        x = path.mix(x0_hat, path.noise_from_x0(x, x0_hat, t), t_next)
    return x


def heun(
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    path: NoisePath = FLOW,
    callback: Callback | None = None,
) -> Tensor:
    """Second order: takes an Euler step, evaluates there, and steps with the mean velocity instead.

    Two function evaluations per step, except for the last, which is a step of `ddim`: at t = 0
    x0_hat does not determine the velocity. Arguments and result: see `ddim`.
    Source: Karras et al. 2022, algorithm 1.
    """
    _check_times(times)
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        x0_hat = denoise(x, t)
        if callback:
            callback(SamplerStep(i, len(times) - 1, t, x, x0_hat))
        velocity = path.velocity_from_x0(x, x0_hat, t)
        if t_next == 0:
            x = path.mix(x0_hat, path.noise_from_x0(x, x0_hat, t), t_next)
        else:
            step = (t_next - t).to(x)
            x_next = x + step * velocity
            velocity_next = path.velocity_from_x0(x_next, denoise(x_next, t_next), t_next)
            x = x + step * (velocity + velocity_next) / 2
    return x


def dpmpp_2m(
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    path: NoisePath = FLOW,
    callback: Callback | None = None,
) -> Tensor:
    """Second order, multistep: extrapolates x0_hat from its change over the previous step.

    One function evaluation per step. Its variable lambda = log(alpha / sigma) is infinite at both
    ends, so the first two steps and the last are of first order. Arguments and result: see `ddim`.
    Source: Lu et al. 2022b (DPM-Solver++), algorithm 2.
    """
    _check_times(times)
    x0_before, h_before = None, torch.inf
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        x0_hat = denoise(x, t)
        if callback:
            callback(SamplerStep(i, len(times) - 1, t, x, x0_hat))
        h = _half_log_snr(path, t_next) - _half_log_snr(path, t)
        x0_mid = x0_hat  # at the midpoint of the step
        if x0_before is not None and math.isfinite(h):
            x0_mid = x0_hat + (x0_hat - x0_before) * (h / h_before / 2)
        # sigma_next / sigma x + alpha_next (1 - e^-h) x0_mid, without a division by zero.
        alpha, sigma = path.alpha(t), path.sigma(t)
        alpha_next, sigma_next = path.alpha(t_next), path.sigma(t_next)
        keep = sigma_next / sigma
        x = keep.to(x) * x + (alpha_next - keep * alpha).to(x) * x0_mid
        x0_before, h_before = x0_hat, h
    return x


def _half_log_snr(path: NoisePath, t: Tensor) -> float:
    """lambda = log(alpha / sigma): minus infinity at t = 1, infinity at t = 0."""
    if t >= 1:
        return -math.inf  # rounding would leave a small alpha on the cosine path
    return float(torch.log(path.alpha(t) / path.sigma(t)))


def _check_times(times: Tensor) -> None:
    falling = times.ndim == 1 and len(times) >= 2 and bool((times.diff() < 0).all())
    if not falling or times[0] > 1 or times[-1] < 0:
        raise ValueError(
            f"times must fall from at most 1 to at least 0, like time_grid(steps); got {times}"
        )
