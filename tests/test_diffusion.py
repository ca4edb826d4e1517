"""The paths: their derivatives, the inversion, the times, and what the regression finds."""

from __future__ import annotations

import copy
import math
import pickle
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from aetherfusion.diffusion import COSINE, FLOW, NoisePath, sample_times
from aetherfusion.diffusion import PATHS as NAMED

PATHS = [pytest.param(FLOW, id="flow"), pytest.param(COSINE, id="cosine")]


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def times(num: int, low: float = 0.01, high: float = 0.99) -> Tensor:
    return torch.linspace(low, high, num, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS)
def test_data_at_zero_and_noise_at_one(path: NoisePath) -> None:
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert distance(path.alpha(zero), one) < 1e-15 and distance(path.sigma(zero), zero) < 1e-15
    assert distance(path.alpha(one), zero) < 1e-15 and distance(path.sigma(one), one) < 1e-15
    x0, noise = some(1, 2, 3), some(1, 2, 3, seed=1)
    assert distance(path.mix(x0, noise, zero), x0) < 1e-14
    assert distance(path.mix(x0, noise, one), noise) < 1e-14
    assert (path.alpha(times(50)).diff() < 0).all() and (path.sigma(times(50)).diff() > 0).all()


def test_the_two_paths_are_their_formulas() -> None:
    for t in (0.0, 0.1, 1 / 3, 0.5, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        for ours, value in [
            (FLOW.alpha, 1 - t),
            (FLOW.sigma, t),
            (FLOW.d_alpha, -1.0),
            (FLOW.d_sigma, 1.0),
            (COSINE.alpha, math.cos(math.pi * t / 2)),
            (COSINE.sigma, math.sin(math.pi * t / 2)),
            (COSINE.d_alpha, -math.pi / 2 * math.sin(math.pi * t / 2)),
            (COSINE.d_sigma, math.pi / 2 * math.cos(math.pi * t / 2)),
        ]:
            assert abs(float(ours(time)) - value) < 1e-14
    assert NAMED == {"flow": FLOW, "cosine": COSINE}
    assert all(path.name == name for name, path in NAMED.items())


@pytest.mark.parametrize("path", PATHS)
def test_a_copy_of_a_path_is_that_path(path: NoisePath) -> None:
    """So that a model can be copied (its average is a copy) and pickled."""
    assert copy.deepcopy(path) is path and pickle.loads(pickle.dumps(path)) is path
    mine = NoisePath("mine", path.alpha, path.sigma, path.d_alpha, path.d_sigma)
    assert copy.deepcopy(mine) is mine
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(mine)


@pytest.mark.parametrize("path", PATHS)
def test_derivatives_are_those_of_autograd(path: NoisePath) -> None:
    for function, derivative in ((path.alpha, path.d_alpha), (path.sigma, path.d_sigma)):
        t = times(23, 0.0, 1.0).requires_grad_()
        (expected,) = torch.autograd.grad(function(t).sum(), t)
        assert distance(derivative(t), expected) < 1e-14


@pytest.mark.parametrize("path", PATHS)
def test_velocity_is_the_slope_of_mix(path: NoisePath) -> None:
    x0, noise, t, h = some(7, 2, 3), some(7, 2, 3, seed=1), times(7), 1e-5
    slope = (path.mix(x0, noise, t + h) - path.mix(x0, noise, t - h)) / (2 * h)
    assert distance(path.velocity(x0, noise, t), slope) < 1e-8


@pytest.mark.parametrize("path", PATHS)
def test_mix_takes_one_time_for_each_image_or_one_for_all(path: NoisePath) -> None:
    x0, noise, t = some(4, 3, 2, 2), some(4, 3, 2, 2, seed=1), times(4)
    for method in (path.mix, path.velocity):
        together = method(x0, noise, t)
        for i in range(4):
            assert distance(method(x0[i], noise[i], t[i]), together[i]) < 1e-15
        same = method(x0, noise, t[2])
        assert distance(method(x0, noise, t[2].expand(4)), same) < 1e-15
    assert path.mix(x0.float(), noise.float(), t).dtype == torch.float32


@pytest.mark.parametrize("path", PATHS)
def test_split_inverts_mix_and_velocity(path: NoisePath) -> None:
    x0, noise, t = some(9, 2, 3), some(9, 2, 3, seed=1), times(9, 0.0, 1.0)
    xt, v = path.mix(x0, noise, t), path.velocity(x0, noise, t)
    x0_hat, noise_hat = path.split(xt, v, t)
    assert distance(x0_hat, x0) < 1e-12 and distance(noise_hat, noise) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_noise_and_velocity_follow_from_the_data(path: NoisePath) -> None:
    x0, noise, t = some(9, 2, 3), some(9, 2, 3, seed=1), times(9, 0.01, 1.0)
    xt, v = path.mix(x0, noise, t), path.velocity(x0, noise, t)
    assert distance(path.noise_from_x0(xt, x0, t), noise) < 1e-12
    assert distance(path.velocity_from_x0(xt, x0, t), v) < 1e-12
    # For any estimate, right or wrong, the three ways to say it agree.
    guess = some(9, 2, 3, seed=2)
    v_hat = path.velocity_from_x0(xt, guess, t)
    again, noise_hat = path.split(xt, v_hat, t)
    assert distance(again, guess) < 1e-11
    assert distance(noise_hat, path.noise_from_x0(xt, guess, t)) < 1e-11


def test_flow_velocity_is_noise_minus_data() -> None:
    x0, noise, t = some(5, 3), some(5, 3, seed=1), times(5)
    assert distance(FLOW.velocity(x0, noise, t), noise - x0) < 1e-15


def test_cosine_velocity_is_that_of_salimans_and_ho_times_half_pi() -> None:
    x0, noise, t = some(5, 3), some(5, 3, seed=1), times(5)
    alpha, sigma = (f(math.pi / 2 * t)[:, None] for f in (torch.cos, torch.sin))
    expected = math.pi / 2 * (alpha * noise - sigma * x0)
    assert distance(COSINE.velocity(x0, noise, t), expected) < 1e-14


@pytest.mark.parametrize("num", [1, 2, 128, 1000])
def test_times_are_stratified_logit_normal(num: int) -> None:
    """Exactly one in each of `num` parts of equal probability."""
    t = sample_times(num, generator=torch.Generator().manual_seed(0))
    assert t.shape == (num,) and t.dtype == torch.float32
    assert t.min() > 0 and t.max() < 1
    u = sorted(NormalDist().cdf(math.log(x / (1 - x))) for x in t.double().tolist())
    for i, place in enumerate(u):
        assert i - 1e-3 <= num * place <= i + 1 + 1e-3, f"part {i} of {num}"
    if num == 1000:
        inside = [num * place - i for i, place in enumerate(u)]
        mean = sum(inside) / num
        variance = sum((x - mean) ** 2 for x in inside) / num
        assert abs(mean - 1 / 2) < 0.05 and abs(variance - 1 / 12) < 0.02, "not uniform in a part"


def test_times_pass_kolmogorov_and_smirnov() -> None:
    stats = pytest.importorskip("scipy.stats")
    t = sample_times(2000, generator=torch.Generator().manual_seed(1)).double().numpy()
    result = stats.kstest(t, lambda x: stats.norm.cdf(stats.logistic.ppf(x)))
    assert result.statistic < 1.01 / 2000, "stratified draws stay within one part of the law"
    # Single draws, which are not stratified among each other, follow the same law.
    generator = torch.Generator().manual_seed(2)
    single = torch.cat([sample_times(1, generator=generator) for _ in range(1000)]).double()
    assert stats.kstest(torch.logit(single).numpy(), "norm").pvalue > 0.01


def test_times_come_in_random_order_and_follow_their_generator() -> None:
    first = sample_times(200, generator=torch.Generator().manual_seed(3))
    again = sample_times(200, generator=torch.Generator().manual_seed(3))
    other = sample_times(200, generator=torch.Generator().manual_seed(4))
    assert distance(first, again) == 0 and distance(first, other) > 0.1
    rank = torch.stack([first.argsort().argsort().double(), torch.arange(200.0).double()])
    assert abs(float(torch.corrcoef(rank)[0, 1])) < 0.25, "the order tells the time"
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    sample_times(10, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.rand(3), expected), "the global generator was touched"


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("num", [1, 1000])
def test_times_never_reach_the_ends(draw: float, num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with the least and the greatest number that `torch.rand` can draw."""
    monkeypatch.setattr(torch, "rand", lambda num, **_: torch.full((num,), draw))
    t = sample_times(num)
    assert t.isfinite().all() and t.min() > 0 and t.max() < 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("time", [0.1, 0.5, 0.85])
def test_the_best_prediction_of_the_target_is_its_conditional_mean(
    path: NoisePath, time: float
) -> None:
    """Least squares on (xt, v) finds E[v | xt], and split turns it into E[x0 | xt]."""
    mean, spread, num = 0.7, 0.4, 200_000
    x0, noise = mean + spread * some(num), some(num, seed=1)
    t = torch.tensor(time, dtype=torch.float64)
    xt, v = path.mix(x0, noise, t), path.velocity(x0, noise, t)
    design = torch.stack([torch.ones_like(xt), xt], -1)
    offset, slope = torch.linalg.lstsq(design, v[:, None]).solution[:, 0]

    alpha, sigma = float(path.alpha(t)), float(path.sigma(t))
    variance = alpha**2 * spread**2 + sigma**2
    points = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    x0_hat = mean + alpha * spread**2 / variance * (points - alpha * mean)
    noise_hat = sigma / variance * (points - alpha * mean)
    v_hat = float(path.d_alpha(t)) * x0_hat + float(path.d_sigma(t)) * noise_hat
    found = offset + slope * points
    assert distance(found, v_hat) < 0.03
    assert distance(path.split(points, found, t.expand(3))[0], x0_hat) < 0.03
