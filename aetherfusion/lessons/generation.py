"""The checks of lesson 06: does the student's sampler, count or guidance do what it shall?

Each prints one line. The data are Gaussian, so that the right answer is a formula, and the usual
mistakes are worked out beside it and recognised.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..diffusion import FLOW
from ..sampling import ddim, dpmpp_2m, guided, heun, time_grid
from . import compared, run_check

MEANS = torch.tensor([-0.6, 0.1, 0.8], dtype=torch.float64)
SPREADS = torch.tensor([0.2, 0.4, 0.3], dtype=torch.float64)


def midpoint_step(function: Callable[..., Any]) -> None:
    """`function(denoise, x, t, t_next)` walks from t to t_next with the velocity of half-way."""
    x = _noise(7)
    t, t_next = torch.tensor([0.8, 0.5], dtype=torch.float64)
    half, step = (t + t_next) / 2, t_next - t

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return FLOW.velocity_from_x0(x, _gaussian(x, t), t)

    first = velocity(x, t)
    middle = x + step / 2 * first
    right = x + step * velocity(middle, half)
    landed = x + step * first
    wrong = {
        "this is one step of Euler: look again from half-way and walk with what you see there": (
            landed
        ),
        "you stopped half-way: from x, walk the whole step with the velocity of half-way": (
            x + step / 2 * velocity(middle, half)
        ),
        "you walked on from half-way and overshot: the second walk begins at x": (
            middle + step * velocity(middle, half)
        ),
        "these are two short steps of Euler: go back to x, then walk the whole step": (
            middle + step / 2 * velocity(middle, half)
        ),
        "the second look is at x_half but divides by the old t; its time is (t + t_next) / 2": (
            x + step * (middle - _gaussian(middle, half)) / t
        ),
        "the second look is told the old time t; its time is (t + t_next) / 2": (
            x + step * velocity(middle, t)
        ),
        "this is Heun's step: look half-way, not at the end": (
            x + step * (first + velocity(landed, t_next)) / 2
        ),
        "you walk towards noise: the step is t_next - t, which is negative": (
            x - step * velocity(x - step / 2 * first, half)
        ),
    }
    run_check(
        "a step of the midpoint method, two looks and second order",
        lambda: function(_gaussian, x, t, t_next),
        lambda answer: compared(answer, right, wrong),
    )


def images_seen(function: Callable[..., Any]) -> None:
    """`function(steps)` foretells (ddim, heun, dpmpp_2m): images through the model, guided."""

    def judge(answers: Any) -> str | None:
        for steps, answer in answers.items():
            if not isinstance(answer, (tuple, list)) or len(answer) != 3:
                return f"return three numbers (ddim, heun, dpmpp_2m); you returned {answer!r}"
            counted = tuple(_count(sampler, steps) for sampler in (ddim, heun, dpmpp_2m))
            found = tuple(int(n) for n in answer)
            if found == counted:
                continue
            start = f"for {steps} steps "
            if found == tuple(n // 2 for n in counted):
                return start + "you count looks; with guidance each look is at two images"
            if found[1] == 2 * found[0]:
                return start + "heun's last step has one look: at t = 0 nothing is left to see"
            if found[2] == found[1]:
                return start + "dpmpp_2m remembers its second look instead of paying for it"
            name = next(n for n, a, b in zip(NAMES, found, counted, strict=True) if a != b)
            return start + f"the answer for {name} is not {found[NAMES.index(name)]}"
        return None

    def student() -> Any:
        answers = {steps: function(steps) for steps in (4, 14, 1)}
        return None if answers[4] is None else answers

    run_check("the images that each sampler has the model look at", student, judge)


NAMES = ["ddim", "heun", "dpmpp_2m"]


def foreseen(function: Callable[..., Any]) -> None:
    """`function(x0_hat, x0_before, h, h_before)` goes half a step further on a straight line."""
    slope, start = _noise(5), _noise(5, seed=1)
    h_before, h = 0.7, 0.4
    x0_before, x0_hat = start, start + h_before * slope
    change = x0_hat - x0_before
    right = x0_hat + h / 2 * slope
    wrong = {
        "this is the value at the end of the step; half-way is wanted": x0_hat + h * slope,
        "the fraction is upside down: a longer step must foresee a larger change": (
            x0_hat + change * (h_before / h / 2)
        ),
        "you foresee half of the old change, as if both steps were equally long": (
            x0_hat + change / 2
        ),
        "the sign is turned: x0_hat moves on from where it was before, not back": (
            x0_hat - h / 2 * slope
        ),
        "the line has to start from the newer look, x0_hat": x0_before + h / 2 * slope,
        "nothing is foreseen: this is x0_hat itself, which makes a DDIM": x0_hat,
    }
    run_check(
        "x0_hat half-way through the next step, exact wherever it moves on a straight line",
        lambda: function(x0_hat, x0_before, h, h_before),
        lambda answer: compared(answer, right, wrong),
    )


def steer_away(function: Callable[..., Any]) -> None:
    """`function(denoise, labels, unwanted, guidance_scale)` goes from one label past another."""
    x, t, scale = _noise(6), torch.tensor(0.6, dtype=torch.float64), 2.5
    labels, unwanted = torch.tensor([0, 2, 0, 2, 0, 2]), 1
    wanted = _labelled(x, t, labels)
    other = _labelled(x, t, torch.full_like(labels, unwanted))
    null = _labelled(x, t, torch.full_like(labels, 3))
    right = other + scale * (wanted - other)
    wrong = {
        "the two are swapped: you steer towards the unwanted class": (
            wanted + scale * (other - wanted)
        ),
        "scale 1 shall be no guidance: start at the unwanted estimate, not at the wanted one": (
            wanted + scale * (wanted - other)
        ),
        "you steer away from the null label; here the unwanted class takes its place": (
            null + scale * (wanted - null)
        ),
        "nothing is steered: this is the plain labelled estimate": wanted,
    }

    def student() -> Any:
        steered = function(_labelled, labels, unwanted, scale)
        return None if steered is None else steered(x, t)

    run_check(
        "guidance from an unwanted class past the wanted one",
        student,
        lambda answer: compared(answer, right, wrong),
    )


def _gaussian(xt: Tensor, t: Tensor) -> Tensor:
    """E[x0 | xt] for pixels about 0.5 with spread 0.3."""
    return _estimate(xt, t, torch.full_like(xt, 0.5), torch.full_like(xt, 0.3))


def _labelled(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The same for three classes; any other label is the mean of the three answers."""
    answers = torch.stack(
        [
            _estimate(xt, t, mean.expand_as(xt), spread.expand_as(xt))
            for mean, spread in zip(MEANS, SPREADS, strict=True)
        ]
    )
    answers = torch.cat([answers, answers.mean(0, keepdim=True)])  # (4, B)
    return answers.gather(0, labels.clamp(max=3)[None])[0]


def _estimate(xt: Tensor, t: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    alpha, sigma = FLOW.alpha(t).to(xt), FLOW.sigma(t).to(xt)
    variance = alpha**2 * spread**2 + sigma**2
    return mean + alpha * spread**2 / variance * (xt - alpha * mean)


def _count(sampler: Callable[..., Tensor], steps: int) -> int:
    """Images through the model for one guided picture."""
    seen = 0

    def look(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        nonlocal seen
        seen += len(xt)
        return _labelled(xt, t, labels)

    sampler(guided(look, torch.tensor([0]), 3, 2.5), _noise(1), time_grid(steps))
    return seen


def _noise(num: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, generator=generator, dtype=torch.float64)
