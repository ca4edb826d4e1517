"""The checks of lesson 06, against the package's samplers and a denoiser known as a formula."""

import math
from typing import Any

import torch
from torch import Tensor

from ..diffusion import FLOW
from ..sampling import ddim, dpmpp_2m, guided, heun, time_grid
from . import NotYet, Student, Table, draws, exercise


def _denoise(xt: Tensor, t: Tensor, labels: Tensor | int = 0) -> Tensor:
    return torch.sin(0.7 * xt + t + labels)


def _start(num: int, *numbers: float) -> tuple[Tensor, ...]:
    return *draws(1, num, dtype=torch.float64), *torch.tensor(numbers, dtype=torch.float64)


@exercise(lambda: [(_denoise, *_start(n, 0.1 * n, 0.03 * n**1.2)) for n in (7, 4, 9)])
def midpoint_step(denoise: Any, x: Tensor, t: Tensor, t_next: Tensor) -> Table:
    """a step of the midpoint method, two looks and second order"""
    half, step = (t + t_next) / 2, t_next - t

    def v(x: Tensor, t: Tensor) -> Tensor:
        return FLOW.velocity_from_x0(x, _denoise(x, t), t)

    middle, landed, back = (x + factor * step * v(x, t) for factor in (0.5, 1, -0.5))
    up = [x - step * v(y, half) for y in (middle, back)]
    old_time = [x + step * v(middle, t), x + step * (middle - _denoise(middle, half)) / t]
    return x + step * v(middle, half), {
        "this is one step of Euler; look again half-way": landed,
        "take the whole step from x, not half of it": x + step / 2 * v(middle, half),
        "the second walk begins at x": middle + step * v(middle, half),
        "these are two short steps; go back to x": middle + step / 2 * v(middle, half),
        "the second look is at time (t + t_next) / 2": old_time,
        "this is Heun's step; look half-way": x + step * (v(x, t) + v(landed, t_next)) / 2,
        "the step is t_next - t, which is negative": up,
        "the second look is at x_half, not at x": x + step * v(x, half),
    }


def _images(sampler: Any, steps: int) -> int:
    seen = []

    def look(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        seen.append(xt)
        return _denoise(xt, t, labels)

    sampler(guided(look, torch.tensor([0]), 3, 2.5), torch.zeros(1), time_grid(steps))
    return len(torch.cat(seen))


@exercise(lambda: [(4,), (14,), (9,), (1,)])
def images_seen(steps: int) -> Table:
    """the images that each sampler has the model look at"""
    right = {sampler.__name__: _images(sampler, steps) for sampler in (ddim, heun, dpmpp_2m)}
    last = "the last step of heun has one look, not two or none"
    return right, {
        "with guidance each look is at two images": {name: n // 2 for name, n in right.items()},
        last: [{"heun": 4 * steps}, {"heun": 2 * steps}, {"heun": 4 * steps - 4}],
        "it remembers its second look": [{"dpmpp_2m": 4 * steps}, {"dpmpp_2m": 4 * steps - 2}],
    }


@exercise(lambda: [(*draws(2, n), 1 / n, h) for n, h in ((5, 0.7), (3, 0.2), (8, math.inf))])
def foreseen(x0_hat: Tensor, x0_before: Tensor, h: float, h_before: float) -> Table:
    """x0_hat half-way through the next step, exact wherever it moves on a straight line"""
    change, ratio = x0_hat - x0_before, h / h_before
    return x0_hat + change * ratio / 2, {
        "this is the value at the end of the step; go half-way": x0_hat + ratio * change,
        "the fraction is upside down": x0_hat + change * (h_before / h / 2),
        "half of the old change is right for equal steps only": x0_hat + change / 2,
        "the sign is wrong; it moves on, not back": x0_hat - change * ratio / 2,
        "start from the newer look, x0_hat": x0_before + change * ratio / 2,
        "divide the change by h_before to get a slope": x0_hat + change * h / 2,
    }


def _steer(student: Student, x: Tensor, t: Tensor, *rest: Any) -> Any:
    steered = student(_denoise, *rest)
    first, second = steered(x, t), steered(x, t)  # a sampler calls it many times
    if isinstance(first, Tensor) and not torch.equal(first, second):
        raise NotYet("called twice, your denoiser gives two results; does it change its labels?")
    return first


@exercise(
    lambda: [(*_start(n, 0.6), torch.arange(n) % 3, 1, 15 / n) for n in (6, 5, 15)], run=_steer
)
def steer_away(x: Tensor, t: Tensor, labels: Tensor, unwanted: int, guidance_scale: float) -> Table:
    """guidance from an unwanted class past the wanted one"""
    wanted, other = _denoise(x, t, labels), _denoise(x, t, torch.full_like(labels, unwanted))
    change = guidance_scale * (wanted - other)
    return other + change, {
        "the two are exchanged; go from the unwanted to the wanted": wanted - change,
        "scale 1 is no guidance; start from the unwanted estimate": wanted + change,
        "nothing is steered; this is one estimate alone": [wanted, other],
    }
