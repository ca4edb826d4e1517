"""The checks of lesson 06, against the package's samplers and a denoiser known as a formula."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import torch
from torch import Tensor

from ..diffusion import COSINE, FLOW, NoisePath
from ..sampling import ddim, dpmpp_2m, guided, heun, time_grid
from . import NotYet, Student, Table, exercise

SIGN = "the step is t_next - t, which is negative"
NULL = "scale 1 is no guidance; start from the estimate with the null label"


def _denoise(xt: Tensor, t: Tensor | float, labels: Tensor | float = 0) -> Tensor:
    if not t:
        raise NotYet("never evaluate at t = 0, where v divides by zero; the last step is Euler's")
    return torch.sin(0.7 * xt + t + labels)


def _paths(num: int, *ends: float, first: Any = None) -> list[Any]:
    """A path or `first`, `num` tensors (B,) and two times, for every time at which a step ends."""
    kinds = zip((COSINE, FLOW, COSINE, FLOW), (7, 4, 9, 5), ends, strict=False)
    return [(first or p, *torch.randn(num, n), *torch.tensor([n / 10, e])) for p, n, e in kinds]


@exercise(lambda: _paths(2, 0.5, 0.1, 0.3))
def ddim_step(path: NoisePath, x: Tensor, x0_hat: Tensor, t: Tensor, t_next: Tensor) -> Table:
    """a step of DDIM, on any path"""
    (a, s), (c, d) = ([path.alpha(time), path.sigma(time)] for time in (t, t_next))
    far, flat = x - a * x0_hat, c * x0_hat + d * (x - (1 - t) * x0_hat) / t
    euler = ddim(lambda *_: x0_hat, x, torch.stack([t, t_next]))
    straight = [flat, euler, FLOW.mix(x0_hat, far / s, t_next)]
    return c * x0_hat + d * far / s, {
        "divide what is left of x by sigma(t)": [c * x0_hat + d * far, c * x0_hat + far],
        "x is not the noise; first compute the noise that x0_hat implies": c * x0_hat + d * x,
        "the noise is x - alpha * x0_hat": [c * x0_hat + d * n / s for n in (-far, x - x0_hat)],
        "1 - t and t are the straight path only": straight,
        "this has not moved; mix for t_next, with the noise at t": x,
        "alpha belongs to x0_hat, and sigma to the noise": c * far / s + d * x0_hat,
    }


@exercise(lambda: [(_denoise, torch.randn(n), time_grid(12 - n).float()) for n in (7, 4, 10)])
def sample(denoise: Any, x: Tensor, times: Tensor) -> Table:
    """the end of the walk, and the estimate of every step"""
    steps: list[Any] = []
    end = ddim(_denoise, x, times, callback=steps.append)
    xs, kept = (torch.stack([getattr(step, name) for step in steps]) for name in ("xt", "x0_hat"))
    return {"x": end, "x0_hats": kept}, {
        "evaluate x, not the noise": {"x": ddim(lambda _, t: _denoise(x, t), x, times)},
        "the last step is missing": {"x": xs[-1], "x0_hats": kept[:-1]},
        "these are the x; keep the estimates": {"x0_hats": xs},
        "keep the estimates of all steps": [{"x0_hats": x} for x in (end, kept.flip(0))],
        "you have exchanged the two results": {"x": kept},
    }


def _go(t: Tensor, t_next: Tensor, place: Tensor, time: Tensor, seen: Any = None) -> Tensor:
    return (t_next - t) * (place - _denoise(place if seen is None else seen, time)) / time


@exercise(lambda: _paths(1, 0.4, 0.2, 0.6, 0, first=_denoise))
def heun_step(denoise: Any, x: Tensor, t: Tensor, t_next: Tensor) -> Table:
    """a step of Heun's method, and Euler's at the end"""
    go, last = partial(_go, t, t_next), t_next or t
    first, landed, half = go(x, t), x + go(x, t), (t + t_next) / 2
    second, here = go(landed, last), (go(x, last), go(landed, last, x))
    wrongs = {
        "evaluate again where Euler's step lands": landed,
        "take the mean of the two velocities, not their sum": x + first + second,
        "go back to x for the step": [landed + (first + second) / 2, landed + second],
        "take the mean of both velocities": [x + second, x + second / 2, landed + second / 2],
        "the second velocity is that of time t_next": x + (first + go(landed, t)) / 2,
        "the second velocity is seen where Euler's step lands": [x + (first + c) / 2 for c in here],
        "this is the midpoint method; go the whole step": x + go(x + first / 2, half),
        SIGN: [x - (first + c) / 2 for c in (second, go(x - first, last))],
    }
    return (x + (first + second) / 2, wrongs) if t_next else (landed, dict.fromkeys(wrongs, landed))


@exercise(lambda: _paths(1, 0.4, 0.2, 0.6, first=_denoise))
def midpoint_step(denoise: Any, x: Tensor, t: Tensor, t_next: Tensor) -> Table:
    """a step of the midpoint method, two evaluations and second order"""
    go = partial(_go, t, t_next)
    half, middle, landed = (t + t_next) / 2, x + go(x, t) / 2, x + go(x, t)
    walked = go(middle, half)
    return x + walked, {
        "this is one step of Euler; evaluate the velocity at the midpoint": landed,
        "take the whole step from x, not half of it": x + walked / 2,
        "go back to x for the whole step": [middle + walked, middle + walked / 2],
        "the second evaluation is at time t_half": [x + go(middle, t), x + walked * half / t],
        "this is Heun's step; stop at the midpoint": x + (go(x, t) + go(landed, t_next)) / 2,
        SIGN: x - walked,
        "the second evaluation is at x_half, not at x": x + go(x, half),
    }


def _errors(n: int, k: float) -> list[Tensor]:
    return [8 * 2.0 ** torch.arange(n), n * 0.5 ** (k * torch.arange(n) + torch.rand(n) / 2)]


@exercise(lambda: [_errors(4, 1), _errors(3, 2), _errors(6, 1.5)], tolerance=1e-4)
def fitted_order(steps: Tensor, errors: Tensor) -> Table:
    """the order, from the slope on logarithmic axes"""
    n, e, x, y = (z - z.mean() for z in (steps, errors, steps.log(), errors.log()))
    right, all_x, all_y = -x.dot(y) / x.dot(x), steps.log(), errors.log()
    return right, {
        "the error falls, so the order is minus the slope": -right,
        "take the logarithm of both": [-u.dot(v) / u.dot(u) for u, v in ((n, y), (x, e), (n, e))],
        "subtract the means first": [c * all_x.dot(all_y) / all_x.dot(all_x) for c in (1, -1)],
        "divide by the sum of the squares of log(steps)": [-x.dot(y), -x.dot(y) / y.dot(y)],
        "use all points": [(y[0] - y[i]) / (x[i] - x[0]) for i in (1, -1)],
    }


@exercise(lambda: _paths(3, 0.5, 0.1, 0.3, 0))
def noisy_step(path: Any, x: Tensor, x0_hat: Tensor, fresh: Tensor, t: Any, t_next: Any) -> Table:
    """a stochastic step, with as much noise as belongs to t_next"""
    (a, s), (c, d) = ([path.alpha(time), path.sigma(time)] for time in (t, t_next))
    old, kept = (x - a * x0_hat) / s, d**2 * a / (s * c)
    new, data = (d**2 - kept**2).sqrt(), c * x0_hat
    return data + kept * old + new * fresh, {
        "this is DDIM; add the fresh noise": [data + d * old, data + kept * old],
        "keep less of the old noise": [data + f * old + new * fresh for f in (d, d - new)],
        "take the square root of s^2": data + kept * old + new**2 * fresh,
        "you have exchanged the two kinds of noise": data + new * old + kept * fresh,
        "keep a part of the old noise": [data + f * fresh for f in (new, d)],
        "x is not its noise; first compute noise_hat": data + kept * x + new * fresh,
        "divide what is left of x by sigma(t)": data + kept * old * s + new * fresh,
        "the factor of x0_hat is alpha_next": (a - c) * x0_hat + data + kept * old + new * fresh,
    }


def _labels(n: int, t: float, *rest: Any, kinds: Any = slice(2)) -> list[Any]:
    labels = torch.arange(2 * n).view(2, n)[kinds] % 3
    return [_denoise, torch.randn(n), torch.tensor(t), labels, 3, *rest]


@exercise(lambda: [_labels(n, n / 10, 7 / n, (0.4, 0.7), kinds=0) for n in (6, 9, 5, 2)])
def guided_guess(
    denoise: Any, xt: Tensor, t: Any, labels: Tensor, null_label: int, scale: float, interval: Any
) -> Table:
    """guidance past the labelled estimate, between two times"""
    plain, null, zero = (_denoise(xt, t, label) for label in (labels, null_label, 0))
    on, change = 0.4 <= t <= 0.7, scale * (plain - null)
    return null + change if on else plain, {
        "guide only between the two times": null + change,
        "the estimates are exchanged": [plain - on * change, null - change if on else plain],
        NULL: plain + on * change,
        "the second estimate has the null label": zero + scale * (plain - zero) if on else plain,
        "add the estimate with the null label": change if on else plain,
        "outside the interval the estimate has the labels": null + on * change,
        "inside and outside are exchanged": plain if on else null + change,
        "nothing is guided; this is one estimate alone": [plain, null],
    }


@exercise(lambda: [_labels(n, 0.6, 2 / n, scale) for n, scale in ((6, 2.5), (5, 1.5), (9, 4.0))])
def two_labels(
    denoise: Any, xt: Tensor, t: Any, labels: Tensor, null_label: int, share: float, scale: float
) -> Table:
    """guidance towards two labels at once"""
    number = (1 - share) * labels[0] + share * labels[1]
    a, b, c, none = (_denoise(xt, t, label) for label in (*labels, number, null_label))
    to = (1 - share) * a + share * b
    right, other, mixed, *one = (none + scale * (z - none) for z in (to, a + b - to, c, a, b))
    return right, {
        "share 0 is all the first label, 1 all the second": other,
        "mix the estimates, not the numbers of the labels": mixed,
        "the guidance is missing": to,
        NULL: to + scale * (to - none),
        "the two shares add up to 1": none + scale * (a + b - 2 * none),
        "go from none towards the mixture": [x - scale * (to - none) for x in (to, none)],
        "one of the labels is missing": one,
    }


@exercise(lambda: [(4,), (14,), (9,), (1,)])
def images_seen(steps: int) -> Table:
    """the images that the model evaluates for each sampler"""
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
        "start from the newer estimate, x0_hat": [x + change * ratio / 2 for x in (x0_before, 0)],
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


def _noises(student: Student, num: int, seed: int) -> Tensor:
    full = student(range(num), seed)
    if not isinstance(full, Tensor) or full.shape != (num, 3, 32, 32):
        raise NotYet(f"a tensor of shape ({num}, 3, 32, 32) is wanted, an image for each index")
    calls = ([num - 1], seed), ([1], seed), ([0], seed + 1)
    (last,), (second,), (other,) = (student(*call) for call in calls)
    for words, wrong in {
        "all images are the same; the index must change the noise": torch.equal(full[0], full[1]),
        "another seed gives the same images": torch.equal(full[0], other),
        "image 1 of a seed is image 0 of the next; not seed + index": torch.equal(second, other),
        "an image changes with the others; seed its own generator": not torch.equal(full[-1], last),
    }.items():
        if wrong:
            raise NotYet(words)
    return full.std()


@exercise(lambda: [(7, 3), (5, 0), (9, 12)], run=_noises, tolerance=0.03)
def noise_of_each(num: int, seed: int) -> Table:
    """noise that depends on the seed and the index of the image alone"""
    return torch.tensor(1.0), {"this is uniform noise; use randn": torch.tensor(12**-0.5)}


def _clicks(student: Student, label: int, number: int) -> Tensor:
    """The picture at first, after a click, and after another choice and a click."""
    button, which, seed, picture = (Mock(value=v) for v in (None, label, number, -1.0))
    student(button, which, seed, picture, lambda c, s: 10.0 * c + s, returns=False)
    (handler, *_), _ = button.on_click.call_args or [(None,), {}]
    if not callable(handler):
        raise NotYet("give button.on_click a function; it is called later, at a click")
    seen = [picture.value]
    for which.value, seed.value in ((label, number), (label + 1, number + 3)):
        replace(student, function=handler)(button, returns=False)
        seen.append(picture.value if isinstance(picture.value, float) else torch.nan)
    return torch.tensor(seen)


@exercise(lambda: [(4, 2), (1, 7), (8, 5)], run=_clicks)
def connect(label: int, number: int) -> Table:
    """a button that makes what the controls ask for"""
    a, b = 10 * label + number, 10 * number + label
    table = [-1, a, a + 13], [-1, b, b + 31], [a, a, a + 13], [-1, -1, -1], [-1, a, a], [a, a, a]
    right, order, early, unset, *stale = torch.tensor(table).float()
    return right, {
        "make(class, seed) has the class first": order,
        "make nothing before the first click": early,
        "the handler must set picture.value": unset,
        "the values are read too early; read them in the handler": stale,
    }


def _painted(n: int) -> list[Any]:
    pixels, keep = torch.randn(2, n), torch.arange(n) % 3 == 0
    return [lambda x, t: _denoise(x + x.mean(), t), *pixels, keep, 4 / n * time_grid(n).float()]


@exercise(lambda: [_painted(n) for n in (7, 5, 9)])
def repaint(denoise: Any, x0: Tensor, noise: Tensor, keep: Tensor, times: Tensor) -> Table:
    """a new picture that keeps some pixels of the old one"""

    def walk(x: Tensor, keep: Tensor = keep, held: Any = None, late: int = 1) -> Tensor:
        for pair in pairwise(times):
            x = ddim(denoise, x, torch.stack(pair))
            x = torch.where(keep, FLOW.mix(x0, noise, pair[late]) if held is None else held, x)
        return x

    start = FLOW.mix(x0, noise, times[0])
    free = walk(start, keep & ~keep)
    return walk(start), {
        "start from the picture mixed with noise, at times[0]": [walk(noise), walk(x0)],
        "`keep` is true where the picture stays": walk(start, ~keep),
        "keep the pixels at every step": [free, torch.where(keep, x0, free)],
        "the kept pixels are those of t_next, where the step ends": walk(start, late=0),
        "the kept pixels have the noise of their time": [walk(start, held=h) for h in (x0, start)],
    }
