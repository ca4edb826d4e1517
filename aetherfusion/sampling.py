"""From noise to picture: the samplers, the times they visit, and guidance. No network in here.

Owns: `ddim`, `heun`, `dpmpp_2m`, `time_grid` and `guided`. Built in lesson 06.

A sampler is `sampler(denoise, x, times, *, path, callback)`. `denoise(xt, t)` says what the data
at xt might be, x0_hat; `times` falls from 1 (noise) to 0 (data). Each solves the same equation,
dx/dt = v(x, t), and they differ in how far they trust one look at it.
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
    """One step of a sampler.

    Attributes:
        index, num_steps: which step, from 0, of how many.
        t: the time, a tensor (), at which `xt` and `x0_hat` stand.
        xt: (B, ...), the noisy images before the step.
        x0_hat: (B, ...), what the model took them for.
    """

    index: int
    num_steps: int
    t: Tensor
    xt: Tensor
    x0_hat: Tensor


Callback = Callable[[SamplerStep], None]
Sampler = Callable[..., Tensor]


def time_grid(steps: int, *, tail: int = 2) -> Tensor:
    """The times that a sampler visits: `steps + 1` of them, from 1 down to 0.

    They fall evenly, but for the end. The step to 0 is of first order in each sampler here, and a
    long one blurs fine detail. So the last of the even steps is cut, again and again, at a third of
    the time that is left.

    >>> time_grid(14)  # 1, 11/12, ..., 2/12, 1/12, 1/36, 1/108, 0

    Args:
        steps: at least 1.
        tail: how often to cut; 0 for even times. At most a fifth of the steps are spent on it.

    Returns:
        (steps + 1,) float64, so that differences of neighbours stay exact.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if tail < 0:
        raise ValueError(f"tail must be at least 0, got {tail}")
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
    """Steers towards what the label changes: past the labelled estimate, away from the other.

    Args:
        denoise: (xt, t, labels) to x0_hat.
        labels: (B,), what is asked for.
        null_label: the label that says "any class".
        guidance_scale: 1 is no guidance, 0 forgets the label, above 1 exaggerates it.
        guidance_interval: (low, high), the times between which to guide; outside the scale is 1.
            At high noise guidance takes away variety, at low noise it does little but cost.

    Returns:
        a denoiser (xt, t) to x0_hat; where it guides, it looks at the model with 2 B images.

    Raises:
        ValueError: for an interval that is not 0 <= low <= high <= 1, or an infinite scale or nan.

    Source: Ho & Salimans 2022, equation 6; Kynkaanniemi et al. 2024 (the interval).
    """
    low, high = guidance_interval
    if not 0 <= low <= high <= 1:
        raise ValueError(f"guidance_interval must be 0 <= low <= high <= 1, got {low}, {high}")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")
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
    """First order: take x0_hat and the noise it implies, and mix them anew for the next time.

    One look at the model a step. On the straight path this is Euler's method.

    Args:
        denoise: (xt, t) to x0_hat, with t a tensor ().
        x: (B, ...), noise to start from.
        times: (steps + 1,), falling; see `time_grid`.
        path: between data and noise.
        callback: called with every `SamplerStep`.

    Returns:
        (B, ...), like `x`.

    Source: Song, Meng & Ermon 2021, equation 12 with sigma = 0.
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
    """Second order: take a step, look again from there, and go back to take the mean of both.

    Two looks at the model a step, but for the last: at t = 0 there is no noise left to look at.
    Arguments and result as for `ddim`.

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
    """Second order from memory: foresee how x0_hat moves from how it moved in the step before.

    One look at the model a step. It counts in lambda = log(alpha / sigma), which is infinite at
    both ends: the step away from pure noise, the one after it, and the step to clean data are of
    first order. Arguments and result as for `ddim`.

    Source: Lu et al. 2022b (DPM-Solver++), algorithm 2.
    """
    _check_times(times)
    x0_before, h_before = None, torch.inf
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        x0_hat = denoise(x, t)
        if callback:
            callback(SamplerStep(i, len(times) - 1, t, x, x0_hat))
        h = _half_log_snr(path, t_next) - _half_log_snr(path, t)
        foreseen = x0_hat
        if x0_before is not None and math.isfinite(h):
            foreseen = x0_hat + (x0_hat - x0_before) * (h / h_before / 2)
        # sigma' / sigma x + alpha' (1 - e^-h) x0, written so that neither end divides by zero.
        alpha, sigma = path.alpha(t), path.sigma(t)
        alpha_next, sigma_next = path.alpha(t_next), path.sigma(t_next)
        keep = sigma_next / sigma
        x = keep.to(x) * x + (alpha_next - keep * alpha).to(x) * foreseen
        x0_before, h_before = x0_hat, h
    return x


def _half_log_snr(path: NoisePath, t: Tensor) -> float:
    """lambda = log(alpha / sigma): minus infinity at t = 1, infinity at t = 0."""
    if t >= 1:
        return -math.inf  # where rounding leaves a trace of alpha
    return float(torch.log(path.alpha(t) / path.sigma(t)))


def _check_times(times: Tensor) -> None:
    falling = times.ndim == 1 and len(times) >= 2 and bool((times.diff() < 0).all())
    if not falling or times[0] > 1 or times[-1] < 0:
        raise ValueError(
            f"times must fall from at most 1 to at least 0, as time_grid(steps) does; got {times}"
        )
