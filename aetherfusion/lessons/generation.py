"""The checks of lesson 06, against the package's samplers and a denoiser known as a formula."""

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import torch
from torch import Tensor

from ..sampling import ddim, dpmpp_2m, guided, heun, time_grid
from . import Student, Table, exercise


def _denoise(xt: Tensor, t: Tensor | float, labels: Tensor | int = 0) -> Tensor:
    return torch.sin(0.7 * xt + t + labels)


@exercise(lambda: [(_denoise, torch.randn(n), *torch.tensor([n / 10, n / 17])) for n in (7, 4, 9)])
def midpoint_step(denoise: Any, x: Tensor, t: Tensor, t_next: Tensor) -> Table:
    """a step of the midpoint method, two looks and second order"""

    def walk(x: Tensor, time: Tensor) -> Tensor:
        return (t_next - t) * (x - _denoise(x, time)) / time

    half, middle, landed = (t + t_next) / 2, x + walk(x, t) / 2, x + walk(x, t)
    walked = walk(middle, half)
    old_time = [x + walk(middle, t), x + walked * half / t]
    return x + walked, {
        "this is one step of Euler; evaluate the velocity at the midpoint": landed,
        "take the whole step from x, not half of it": x + walked / 2,
        "go back to x for the whole step": [middle + walked, middle + walked / 2],
        "the second evaluation is at time (t + t_next) / 2": old_time,
        "this is Heun's step; stop at the midpoint": x + (walk(x, t) + walk(landed, t_next)) / 2,
        "the step is t_next - t, which is negative": x - walked,
        "the second evaluation is at x_half, not at x": x + walk(x, half),
    }


@exercise(lambda: [(4,), (14,), (9,), (1,)])
def images_seen(steps: int) -> Table:
    """the images that each sampler has the model look at"""
    right, heuns = {}, (4 * steps, 2 * steps, 4 * steps - 4)
    for sampler in (ddim, heun, dpmpp_2m):
        model = Mock(side_effect=_denoise)
        sampler(guided(model, torch.tensor([0]), 3, 2.5), torch.zeros(1), time_grid(steps))
        right[sampler.__name__] = sum(len(call.args[0]) for call in model.call_args_list)
    return right, {
        "with guidance each evaluation is of two images": {n: num // 2 for n, num in right.items()},
        "the last step of heun has one evaluation": [{"heun": num} for num in heuns],
        "it remembers its last estimate": [{"dpmpp_2m": 4 * steps - n} for n in (0, 2)],
    }


@exercise(lambda: [(*torch.randn(2, n), 1 / n, h) for n, h in ((5, 0.7), (3, 0.2), (8, torch.inf))])
def foreseen(x0_hat: Tensor, x0_before: Tensor, h: float, h_before: float) -> Table:
    """x0_hat at the midpoint of the next step, exact wherever it moves on a straight line"""
    change, ratio = x0_hat - x0_before, h / h_before
    return x0_hat + change * ratio / 2, {
        "this is the value at the end of the step; take the midpoint": x0_hat + ratio * change,
        "the change grows by h / h_before": [x0_hat + change * f / 2 for f in (h_before / h, 1, h)],
        "the sign is wrong; it moves on, not back": x0_hat - change * ratio / 2,
        "start from the newer estimate, x0_hat": x0_before + change * ratio / 2,
    }


def _steer(student: Student, x: Tensor, *rest: Any) -> Any:
    steered, t = replace(student, function=student(_denoise, *rest)), torch.tensor(0.6)
    steered(x, t)  # a sampler calls it many times
    return steered(x, t)


@exercise(lambda: [(torch.randn(n), torch.arange(n) % 3, 1, 9 / n) for n in (6, 5, 9)], run=_steer)
def steer_away(x: Tensor, labels: Tensor, unwanted: int, guidance_scale: float) -> Table:
    """guidance from an unwanted class past the wanted one"""
    wanted, other = _denoise(x, 0.6, labels), _denoise(x, 0.6, unwanted)
    change = guidance_scale * (wanted - other)
    return other + change, {
        "the two are exchanged; go from the unwanted to the wanted": wanted - change,
        "scale 1 is no guidance; start from the unwanted estimate": wanted + change,
        "nothing is steered; this is one estimate alone": [wanted, other],
    }
