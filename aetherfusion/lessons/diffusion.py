"""The checks of lesson 04: one conversion, one closed form, a path of one's own, one sampler.

Owns: `velocity_from_noise`, `two_points_x0`, `my_path` and `euler`. Each compares with something
that the lesson did not use: formulas written out, a sum over both points, slopes measured by
finite differences, the package's own sampler.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..diffusion import COSINE, FLOW, NoisePath
from ..sampling import ddim, time_grid
from . import near, run_check, unlike


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def velocity_from_noise(function: Callable[..., Any]) -> None:
    """`function(path, xt, noise_hat, t)`: the velocity, for a network that predicts the noise.

    Images are (B, ...), t is (B,) with 0 <= t < 1, and `path` is any `NoisePath`.
    """
    # As many images as pixels in a row: a time that is not reshaped gives no error here.
    x0, noise = _normal(3, 2, 3, 3, seed=40), _normal(3, 2, 3, 3, seed=41)
    t = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)

    def parts(path: NoisePath, time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return path.alpha(time), path.sigma(time), path.d_alpha(time), path.d_sigma(time)

    def student() -> list[Any] | None:
        answers = []
        for path in (FLOW, COSINE):
            alpha, sigma, _, _ = parts(path, t[:, None, None, None])
            answers.append(function(path, alpha * x0 + sigma * noise, noise, t))
        return None if any(answer is None for answer in answers) else answers

    def judge(answers: list[Any]) -> str | None:
        for path, answer in zip((COSINE, FLOW), answers[::-1], strict=True):
            if wrong := unlike(answer, x0.shape):
                return wrong
            alpha, sigma, d_alpha, d_sigma = parts(path, t[:, None, None, None])
            xt = alpha * x0 + sigma * noise
            v = d_alpha * x0 + d_sigma * noise
            flat_alpha, flat_sigma, flat_d_alpha, flat_d_sigma = parts(path, t)
            flat = (xt - flat_sigma * noise) / flat_alpha
            mistakes = [
                (d_alpha * xt + d_sigma * noise, "you used xt where x0 belongs: take the noise "
                 "out of xt first, and divide by alpha"),
                (d_alpha * (xt - sigma * noise) + d_sigma * noise, "xt - sigma * noise is "
                 "alpha * x0: divide it by alpha to get x0"),
                (d_alpha * (xt - sigma * noise) / sigma + d_sigma * noise, "you divided by "
                 "sigma; solved for x0, xt = alpha * x0 + sigma * noise divides by alpha"),
                (flat_d_alpha * flat + flat_d_sigma * noise, "your times run along the last axis "
                 "(the pixels of a row), not over the batch: reshape t to (B, 1, 1, 1), or let "
                 "path.mix and path.velocity do it"),
                (path.velocity(flat, noise, t), "your x0 is taken with times that run along the "
                 "last axis (the pixels of a row), not over the batch: reshape t to (B, 1, 1, 1)"),
                (-v, "the sign is the wrong way round: v points from data to noise"),
                (x0, "that is x0; now ask the path for the velocity"),
                (noise - x0, "noise - x0 is the velocity on the straight path only: use the "
                 "path's own derivatives"),
            ]  # fmt: skip
            if near(answer, v, 1e-4):
                continue
            for mistake, words in mistakes:
                if near(answer, mistake, 1e-4):
                    return words
            return f"on the path {path.name!r} your velocity is not dxt/dt"
        return None

    run_check("the velocity that a predicted noise means, on both paths", student, judge)


def two_points_x0(function: Callable[..., Any]) -> None:
    """`function(xt, alpha, sigma)`: the optimal x0_hat where the data are -1 and 1, each half.

    xt is (B,), alpha and sigma are positive numbers; the result is (B,).
    """
    xt = torch.linspace(-1.7, 1.9, 9, dtype=torch.float64)
    settings = ((0.75, 0.6), (0.4, 1.3))

    def student() -> list[Any] | None:
        answers = [function(xt, alpha, sigma) for alpha, sigma in settings]
        return None if any(answer is None for answer in answers) else answers

    def judge(answers: list[Any]) -> str | None:
        for (alpha, sigma), answer in zip(settings, answers, strict=True):
            if wrong := unlike(answer, xt.shape):
                return wrong
            # Bayes' rule for two points, written out: no hyperbolic function in it.
            for_plus = torch.exp(-((xt - alpha) ** 2) / (2 * sigma**2))
            for_minus = torch.exp(-((xt + alpha) ** 2) / (2 * sigma**2))
            expected = (for_plus - for_minus) / (for_plus + for_minus)
            mistakes = [
                (xt.sign(), "that is the nearer point; the best answer is the mean of both, "
                 "weighted by how probable they are, so it hesitates around 0"),
                (torch.tanh(xt / sigma**2), "alpha is missing: at time t the two points stand "
                 "at -alpha and alpha"),
                (torch.tanh(alpha * xt / sigma), "sigma is not squared: the exponent of a "
                 "Gaussian has sigma ** 2 below"),
                (torch.tanh(alpha * xt / (2 * sigma**2)), "a factor of 2 is missing: the "
                 "two squares differ by 4 alpha xt, over 2 sigma ** 2"),
                (torch.tanh(2 * alpha * xt / sigma**2), "a factor of 2 is too many: tanh(z) "
                 "is (e^z - e^-z) / (e^z + e^-z)"),
                (xt / alpha, "you rescaled xt, but the noise is still in it"),
                (for_plus / (for_plus + for_minus), "that is the probability of the point 1; "
                 "x0_hat is the mean of -1 and 1 under it"),
            ]  # fmt: skip
            if near(answer, expected, 1e-4):
                continue
            for mistake, words in mistakes:
                if near(answer, mistake, 1e-4):
                    return words
            return (
                f"for xt = {xt[6]:.2f}, alpha = {alpha}, sigma = {sigma} the best answer is "
                f"{expected[6]:.3f}, yours is {float(answer[6]):.3f}"
            )
        return None

    run_check("the optimal answer for two points, at two noise levels", student, judge)


def my_path(function: Callable[..., Any]) -> None:
    """`function()`: a `NoisePath`, alpha = cos^2(pi t / 2), sigma = sin^2(pi t / 2), and slopes."""
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)

    def judge(path: Any) -> str | None:
        names = ("alpha", "sigma", "d_alpha", "d_sigma")
        if not all(callable(getattr(path, name, None)) for name in names):
            return f"return a NoisePath with the four functions {', '.join(names)}"
        values = {}
        for name in names:
            values[name] = getattr(path, name)(t)
            if wrong := unlike(values[name], t.shape):
                return f"{name}: {wrong}"
        cosine, sine = torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)
        if near(values["alpha"], sine**2, 1e-4) and near(values["sigma"], cosine**2, 1e-4):
            return "alpha and sigma have changed places: t = 0 is data, so alpha(0) = 1"
        if near(values["alpha"], cosine, 1e-4):
            return "alpha is the cosine itself; square it"
        for name, wanted in (("alpha", cosine**2), ("sigma", sine**2)):
            if not near(values[name], wanted, 1e-4):
                return f"{name}(0.5) should be 0.5, and {name} the square that was asked for"
        for name in ("alpha", "sigma"):
            of_time, h = getattr(path, name), 1e-5
            slope = (of_time(t + h) - of_time(t - h)) / (2 * h)  # measured, not derived
            found = values["d_" + name]
            if near(found, slope, 1e-4):
                continue
            if near(found, -slope, 1e-4):
                return f"d_{name} has the wrong sign: {name} {'falls' if slope[0] < 0 else 'rises'}"
            ratio = found / slope
            if (ratio - ratio[0]).abs().max() < 1e-4:
                return (
                    f"d_{name} is {float(ratio[0]):.3g} times the slope of {name}: one of the two "
                    "rules for squares and for inner functions (the factor pi / 2) was left out"
                )
            return f"d_{name} is not the slope of {name}; at t = 0.5 that is {slope[9]:.3f}"
        return None

    run_check("a path of your own, with slopes that agree with finite differences", function, judge)


def euler(function: Callable[..., Any]) -> None:
    """`function(velocity, noise, num_steps)`: follows dx/dt = v from t = 1 down to t = 0.

    `velocity(xt, t)` takes xt (B, ...) and t (B,); the steps are equal, and each uses the velocity
    at the time where it begins.
    """
    num_steps = 5
    noise = _normal(6, 2, seed=42)
    given = noise.clone()  # what the student gets, and may write into
    mean, spread = 0.5, 0.3
    seen: list[Tensor] = []

    def x0_hat(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = 1 - t, t
        return mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (xt - alpha * mean)

    def velocity(xt: Tensor, t: Any) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.float64)
        seen.append(t.flatten())
        if t.ndim == 1:
            t = t.reshape(-1, *[1] * (xt.ndim - 1))
        alpha, sigma = 1 - t, t
        variance = alpha**2 * spread**2 + sigma**2
        noise_hat = sigma / variance * (xt - alpha * mean)
        return noise_hat - x0_hat(xt, t)  # finite at t = 0 too

    def student() -> Any:
        seen.clear()
        given.copy_(noise)
        return function(velocity, given, num_steps)

    def judge(answer: Any) -> str | None:
        if wrong := unlike(answer, noise.shape):
            return wrong
        if not torch.equal(given, noise):
            return "your steps write into `noise` itself: write x = x - ..., not x -= ..."
        if any(len(t) != len(noise) for t in seen):
            return "give velocity one time for each particle: t of shape (B,), filled with one time"
        if near(answer, ddim(x0_hat, noise, time_grid(num_steps, tail=0)), 1e-3):
            return None
        visited = [float(t[0]) for t in seen]
        if len(visited) != num_steps:
            return (
                f"you asked for the velocity {len(visited)} times; {num_steps} steps need as many"
            )
        if visited[0] < visited[-1]:
            return (
                f"your times rise from {visited[0]:.2f} to {visited[-1]:.2f}; generation goes from "
                "noise, t = 1, to data, t = 0"
            )
        if abs(visited[-1]) < 1e-6:
            return (
                "each step should use the velocity where it begins: the first at t = 1, none at 0"
            )
        x = noise
        for t in visited:
            x = x + velocity(x, t) / num_steps
        if near(answer, x, 1e-3):
            return (
                "you went with the velocity; it points to the noise, so time falling subtracts it"
            )
        wanted = [1 - step / num_steps for step in range(num_steps)]
        if not near(torch.tensor(visited), torch.tensor(wanted), 1e-4):
            said, right = (", ".join(f"{t:.2f}" for t in times[:3]) for times in (visited, wanted))
            return f"you ask at the times {said}, ...; the steps begin at {right}, ..."
        return "the times are right, but not the steps: each moves x by -v / num_steps"

    run_check("Euler's method from noise to data, like the package's first-order sampler",
              student, judge)  # fmt: skip
