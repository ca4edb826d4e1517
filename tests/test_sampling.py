"""The samplers where the answer is known: Gaussian data, a mixture, and diffusers' schedulers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fakes import (
    PATHS,
    PRECISION,
    SAMPLERS,
    Denoiser,
    alpha_sigma,
    distance,
    fake_denoiser,
    grid,
    some,
)
from torch import Tensor

from aetherfusion.diffusion import COSINE, FLOW, NoisePath
from aetherfusion.sampling import (
    Sampler,
    SamplerStep,
    ddim,
    dpmpp_2m,
    guided,
    heun,
    time_grid,
)

# Gaussian data N(MEAN, COVARIANCE), for which everything is known.
AXES = torch.linalg.qr(some(3, 3, seed=7))[0]
VARIANCES = torch.tensor([0.05, 0.5, 2.0], dtype=torch.float64)
COVARIANCE = AXES @ torch.diag(VARIANCES) @ AXES.T
MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def gaussian_denoiser(path: NoisePath) -> Denoiser:
    """E[x0 | xt] = mean + alpha S (alpha^2 S + sigma^2)^-1 (xt - alpha mean)."""

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(path, float(t))
        total = alpha**2 * COVARIANCE + sigma**2 * torch.eye(3, dtype=xt.dtype)
        return MEAN + alpha * torch.linalg.solve(total, (xt - alpha * MEAN).T).T @ COVARIANCE

    return denoise


def gaussian_flow(path: NoisePath, x: Tensor, t: float, t_next: float) -> Tensor:
    """The exact solution of dx/dt = E[v | x]: each axis is stretched with its spread."""
    alpha, sigma = alpha_sigma(path, t)
    alpha_next, sigma_next = alpha_sigma(path, t_next)
    before = (alpha**2 * VARIANCES + sigma**2).sqrt()
    after = (alpha_next**2 * VARIANCES + sigma_next**2).sqrt()
    return alpha_next * MEAN + (x - alpha * MEAN) @ AXES @ torch.diag(after / before) @ AXES.T


def test_the_denoiser_of_these_tests_is_the_regression() -> None:
    x0 = MEAN + some(200_000, 3) @ torch.linalg.cholesky(COVARIANCE).T
    xt = 0.6 * x0 + 0.4 * some(200_000, 3, seed=1)
    design = torch.cat([torch.ones(len(xt), 1, dtype=xt.dtype), xt], 1)
    found = design @ torch.linalg.lstsq(design, x0).solution
    expected = gaussian_denoiser(FLOW)(xt, torch.tensor(0.4))
    assert (found - expected).square().mean().sqrt() < 0.01


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("sampler", "tolerance"), [(ddim, 0.1), (heun, 2e-3), (dpmpp_2m, 1e-2)])
def test_gaussian_data_come_out(sampler: Sampler, tolerance: float, path: NoisePath) -> None:
    """The denoiser is affine, and so is the sampler: x A + b, whose mean and covariance we know."""
    denoise, times = gaussian_denoiser(path), time_grid(80)
    b = sampler(denoise, torch.zeros(1, 3, dtype=torch.float64), times, path=path)
    a = sampler(denoise, torch.eye(3, dtype=torch.float64), times, path=path) - b
    assert distance(b[0], MEAN) < tolerance
    assert distance(a.T @ a, COVARIANCE) < tolerance
    # It is affine, and it is the exact map, not another one with the same covariance.
    x = some(6, 3, seed=2)
    assert distance(sampler(denoise, x, times, path=path), x @ a + b) < 1e-10
    assert distance(x @ a + b, gaussian_flow(path, x, 1, 0)) < 3 * tolerance


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_drawn_samples_have_the_mean_and_covariance_of_the_data(
    sampler: Sampler, path: NoisePath
) -> None:
    x = sampler(gaussian_denoiser(path), some(20_000, 3, seed=3), time_grid(200), path=path)
    assert distance(x.mean(0), MEAN) < 0.05
    assert distance(torch.cov(x.T), COVARIANCE) < 0.1


def order(sampler: Sampler, path: NoisePath, high: float, low: float, first: int) -> float:
    """Minus the slope of log(error) over log(steps), by least squares."""
    x, steps = some(20, 3, seed=4), [first * 2**i for i in range(4)]
    expected = gaussian_flow(path, x, high, low)
    errors = [
        distance(sampler(gaussian_denoiser(path), x, grid(n, high, low), path=path), expected)
        for n in steps
    ]
    logs = torch.tensor([[math.log(n), math.log(e)] for n, e in zip(steps, errors, strict=True)])
    return -float(torch.cov(logs.T)[0, 1] / torch.var(logs[:, 0]))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("sampler", "high", "low", "first", "expected"),
    [
        (ddim, 1.0, 0.0, 20, 1.0),
        (ddim, 0.9, 0.1, 20, 1.0),
        (heun, 1.0, 0.0, 20, 2.0),
        (heun, 0.9, 0.1, 20, 2.0),
        (dpmpp_2m, 0.9, 0.1, 20, 2.0),
        # Near both ends lambda runs away, and the error goes with log(n) / n^2: slowly to 2.
        (dpmpp_2m, 1.0, 0.0, 160, 1.75),
    ],
)
def test_order_of_convergence(
    sampler: Sampler, path: NoisePath, high: float, low: float, first: int, expected: float
) -> None:
    assert abs(order(sampler, path, high, low, first) - expected) < 0.2


def mixture_denoiser(path: NoisePath) -> Denoiser:
    """E[x0 | xt] for 0.3 N(-1, 0.2^2) + 0.7 N(1.5, 0.4^2): not affine."""
    weights, means, spreads = torch.tensor(
        [[0.3, 0.7], [-1.0, 1.5], [0.2, 0.4]], dtype=torch.float64
    )

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(path, float(t))
        variance = alpha**2 * spreads**2 + sigma**2
        away = xt[..., None] - alpha * means
        share = (weights.log() - variance.log() / 2 - away**2 / variance / 2).softmax(-1)
        return (share * (means + alpha * spreads**2 / variance * away)).sum(-1)

    return denoise


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("sampler", "tolerance"), [(ddim, 0.03), (heun, 2e-4), (dpmpp_2m, 1e-3)])
def test_a_mixture_agrees_with_scipy(sampler: Sampler, tolerance: float, path: NoisePath) -> None:
    solve_ivp = pytest.importorskip("scipy.integrate").solve_ivp
    denoise, x = mixture_denoiser(path), torch.linspace(-2, 2, 9, dtype=torch.float64)

    def velocity(t: float, x: Any) -> Any:
        x = torch.as_tensor(x)
        x0_hat = denoise(x, torch.tensor(t))
        alpha, sigma = alpha_sigma(path, t)
        d_alpha, d_sigma = (-1.0, 1.0)
        if path is COSINE:
            d_alpha, d_sigma = -math.pi / 2 * sigma, math.pi / 2 * alpha
        return (d_alpha * x0_hat + d_sigma * (x - alpha * x0_hat) / sigma).numpy()

    solution = solve_ivp(velocity, (0.95, 0.05), x.numpy(), rtol=1e-9, atol=1e-10)
    expected = torch.as_tensor(solution.y[:, -1])
    assert distance(expected, x) > 0.2
    assert distance(sampler(denoise, x, grid(200, 0.95, 0.05), path=path), expected) < tolerance


def test_on_the_straight_path_ddim_is_euler() -> None:
    denoise, times = mixture_denoiser(FLOW), grid(13)
    x = expected = some(10)
    for t, t_next in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        velocity = (expected - denoise(expected, torch.tensor(t, dtype=x.dtype))) / t
        expected = expected + (t_next - t) * velocity
    assert distance(ddim(denoise, x, times), expected) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_the_first_and_last_step_of_dpmpp_are_those_of_ddim(path: NoisePath) -> None:
    x = some(10)
    for times in (grid(1), grid(1, 0.9, 0.2), grid(1, 0.5, 0.0)):
        expected = ddim(mixture_denoiser(path), x, times, path=path)
        assert distance(dpmpp_2m(mixture_denoiser(path), x, times, path=path), expected) < 1e-12
    # Later steps use their memory.
    ours, first_order = (s(mixture_denoiser(path), x, grid(5), path=path) for s in (dpmpp_2m, ddim))
    assert distance(ours, first_order) > 0.01


@pytest.mark.parametrize(("sampler", "path"), PRECISION)
def test_the_precision_of_the_times_does_not_show(sampler: Sampler, path: NoisePath) -> None:
    """alpha(1) is 0, not whatever cos(pi / 2) is rounded to."""
    x, times = some(10), grid(8)
    ours = sampler(mixture_denoiser(path), x, times, path=path)
    assert distance(sampler(mixture_denoiser(path), x, times.float(), path=path), ours) < 1e-4


@pytest.mark.parametrize("steps", [1, 4, 5, 9, 10, 14, 15])
@pytest.mark.parametrize("tail", [0, 1, 2, 3])
def test_time_grid_is_even_but_for_the_thirds_at_its_end(steps: int, tail: int) -> None:
    times = time_grid(steps, tail=tail)
    assert times.dtype == torch.float64 and times.shape == (steps + 1,)
    assert times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    thirds = min(tail, steps // 5)
    even = steps - thirds
    for i, t in enumerate(times.tolist()[:-1]):
        expected = 1 - i / even if i < even else 1 / even / 3 ** (i - even + 1)
        assert abs(t - expected) < 1e-12
    assert torch.equal(time_grid(steps), time_grid(steps, tail=2))


def test_the_times_of_the_docstring() -> None:
    expected = torch.tensor([*range(12, 0, -1), 1 / 3, 1 / 9, 0], dtype=torch.float64) / 12
    assert distance(time_grid(14), expected) < 1e-12


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_short_last_steps_are_worth_their_cost(sampler: Sampler) -> None:
    """Data with fine details, for which the last step of an even grid is too long."""
    weights, spread = torch.tensor([0.5, 0.5], dtype=torch.float64), 0.01

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(FLOW, float(t))
        variance = alpha**2 * spread**2 + sigma**2
        means = torch.tensor([-0.1, 0.1], dtype=torch.float64)
        away = xt[..., None] - alpha * means
        share = (weights.log() - away**2 / variance / 2).softmax(-1)
        return (share * (means + alpha * spread**2 / variance * away)).sum(-1)

    x = some(200)
    exact = heun(denoise, x, time_grid(2000))
    errors = [distance(sampler(denoise, x, time_grid(14, tail=tail)), exact) for tail in (0, 2)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize(("sampler", "calls"), [(ddim, 7), (heun, 13), (dpmpp_2m, 7)])
@pytest.mark.parametrize("path", PATHS)
def test_callback_records_every_step(sampler: Sampler, calls: int, path: NoisePath) -> None:
    asked: list[float] = []
    fake = fake_denoiser(path)

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        assert t.shape == ()
        asked.append(float(t))
        return fake(xt, t)

    x, times = some(5, 4), grid(7)
    records: list[SamplerStep] = []
    last = sampler(denoise, x, times, path=path, callback=records.append)
    assert len(asked) == calls and min(asked) > 0
    assert [r.index for r in records] == list(range(7))
    assert {r.num_steps for r in records} == {7}
    assert [float(r.t) for r in records] == times[:-1].tolist()
    assert distance(records[0].xt, x) == 0
    for record in records:
        assert record.t.shape == ()
        assert distance(record.x0_hat, fake(record.xt, record.t)) < 1e-15
    assert distance(records[-1].x0_hat, last) < 1e-12, "the last step goes to what it sees"
    assert distance(sampler(fake, x, times, path=path), last) == 0, "without a callback the same"
    assert distance(x, some(5, 4)) == 0, "the noise was overwritten"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_follow_the_noise(sampler: Sampler, dtype: torch.dtype) -> None:
    x = some(2, 3, 5, 4).to(dtype)
    result = sampler(fake_denoiser(FLOW), x, grid(4))
    assert result.dtype == dtype and result.shape == x.shape


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "times",
    [[0.0, 1.0], [1.0, 0.5, 0.5, 0.0], [1.0], [1.5, 0.0], [1.0, -0.1], [[1.0, 0.0], [1.0, 0.0]]],
)
def test_samplers_refuse_times_that_do_not_fall(sampler: Sampler, times: list[float]) -> None:
    with pytest.raises(ValueError, match="times must fall from at most 1 to at least 0"):
        sampler(fake_denoiser(FLOW), some(5, 4), torch.tensor(times))


def test_a_time_grid_with_a_long_tail_still_falls() -> None:
    assert (time_grid(1000, tail=50).diff() < 0).all()


def test_time_grid_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        time_grid(0)


class LabelledFake:
    """Says label + xt, and counts the images it was shown."""

    null_label = 9

    def __init__(self) -> None:
        self.images: list[int] = []

    def __call__(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        assert len(labels) == len(xt)
        self.images.append(len(xt))
        return xt * (1 + t.to(xt)) + labels[:, None].to(xt)


def test_guidance_goes_from_any_label_towards_the_label() -> None:
    x, labels, t = some(3, 4), torch.tensor([2, 0, 5]), torch.tensor(0.5)
    null = torch.full((3,), LabelledFake.null_label)
    plain = LabelledFake()
    with_label, without = plain(x, t, labels), plain(x, t, null)
    for scale, expected in [
        (1.0, with_label),
        (0.0, without),
        (3.0, without + 3 * (with_label - without)),
        (0.5, (with_label + without) / 2),
    ]:
        fake = LabelledFake()
        ours = guided(fake, labels, fake.null_label, scale)(x, t)
        assert distance(ours, expected) < 1e-12, f"scale {scale}"
        assert sum(fake.images) == (3 if scale == 1 else 6), "images shown to the model"


def test_guidance_keeps_to_its_interval() -> None:
    fake, x, labels = LabelledFake(), some(3, 4), torch.tensor([2, 0, 5])
    steer = guided(fake, labels, fake.null_label, 2.0, (0.25, 0.75))
    for time, images in [(1.0, 3), (0.8, 3), (0.7, 6), (0.3, 6), (0.2, 3), (0.0, 3)]:
        fake.images.clear()
        t = torch.tensor(time)
        ours = steer(x, t)
        assert sum(fake.images) == images, f"at time {time}"
        if images == 3:
            assert distance(ours, fake(x, t, labels)) == 0, "outside the scale is 1"
    always = guided(fake, labels, fake.null_label, 2.0)
    for time in (0.0, 1.0):
        fake.images.clear()
        always(x, torch.tensor(time))
        assert sum(fake.images) == 6, "the whole of [0, 1] by default"


@pytest.mark.parametrize("interval", [(-0.1, 1.0), (0.0, 1.1), (0.7, 0.3)])
def test_guidance_refuses_intervals_that_are_none(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="guidance_interval must be 0 <= low <= high <= 1"):
        guided(LabelledFake(), torch.tensor([1]), 9, 2.0, interval)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e308, -2000.0])
def test_guidance_refuses_a_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match=r"guidance_scale must be in \[-1000, 1000\], got"):
        guided(LabelledFake(), torch.tensor([1]), 9, scale)
