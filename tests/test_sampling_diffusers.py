"""The samplers against those of diffusers, on the same model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fakes import (
    distance,
    fake_denoiser,
    fake_velocity,
    grid,
    some,
)
from torch import Tensor

from aetherfusion.diffusion import COSINE, FLOW, NoisePath
from aetherfusion.sampling import (
    Sampler,
    ddim,
    dpmpp_2m,
    heun,
    time_grid,
)


def our_way(sampler: Sampler, x: Tensor, times: Tensor, path: NoisePath) -> list[Tensor]:
    way: list[Tensor] = []
    last = sampler(
        fake_denoiser(path), x, times, path=path, callback=lambda step: way.append(step.xt)
    )
    return [*way, last]


def same_way(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert distance(a, b) < tolerance, f"after step {i}"
    assert distance(ours[0], ours[-1]) > 0.1


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="compares with diffusers' schedulers")


TIMES = [grid(12), time_grid(12), grid(12, 0.9, 0.0)]


@pytest.mark.parametrize("times", TIMES)
def test_ddim_agrees_with_diffusers_euler(diffusers: Any, times: Tensor) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=times[:-1].tolist())
    x = some(5, 4).float()
    theirs = [x]
    for t in scheduler.timesteps:
        v = fake_velocity(theirs[-1], t / 1000)
        theirs.append(scheduler.step(v, t, theirs[-1]).prev_sample)
    same_way(our_way(ddim, x, times, FLOW), theirs, 2e-5)


@pytest.mark.parametrize("times", TIMES)
def test_heun_agrees_with_diffusers(diffusers: Any, times: Tensor) -> None:
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(12)
    # Its own grid ends at 0.001: give it ours, each inner time twice, as it does.
    sigmas = torch.cat([times[:1], times[1:-1].repeat_interleave(2), times[-1:]]).float()
    scheduler.sigmas = sigmas
    scheduler.timesteps = 1000 * torch.cat([times[:1], times[1:-1].repeat_interleave(2)]).float()
    scheduler.set_begin_index(0)
    x = some(5, 4).float()
    theirs, now = [x], x
    for t in scheduler.timesteps:
        now = scheduler.step(fake_velocity(now, t / 1000), t, now).prev_sample
        if scheduler.state_in_first_order:
            theirs.append(now)
    # The last step is of first order for both of us; it leaves their state open.
    theirs.append(now)
    same_way(our_way(heun, x, times, FLOW), theirs, 2e-5)


@pytest.mark.parametrize("times", TIMES)
def test_dpmpp_agrees_with_diffusers_on_flow(diffusers: Any, times: Tensor) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        use_flow_sigmas=True,
        prediction_type="flow_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(12)
    scheduler.sigmas = times.float()  # its own grid begins at 0.999
    scheduler.set_begin_index(0)
    x = some(5, 4).float()
    theirs = [x]
    for i, t in enumerate(scheduler.timesteps):
        v = fake_velocity(theirs[-1], times[i])
        theirs.append(scheduler.step(v, t, theirs[-1]).prev_sample)
    same_way(our_way(dpmpp_2m, x, times, FLOW), theirs, 2e-5)


def test_dpmpp_agrees_with_diffusers_on_cosine(diffusers: Any) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(12)
    times = grid(12, 0.95, 0.0)
    scheduler.sigmas = torch.tan(math.pi / 2 * times).float()  # sigma / alpha
    scheduler.set_begin_index(0)
    x = some(5, 4).float()
    theirs = [x]
    for i, t in enumerate(scheduler.timesteps):
        v = 2 / math.pi * fake_velocity(theirs[-1], times[i])
        theirs.append(scheduler.step(v, t, theirs[-1]).prev_sample)
    same_way(our_way(dpmpp_2m, x, times, COSINE), theirs, 2e-5)


def test_ddim_agrees_with_diffusers_on_cosine(diffusers: Any) -> None:
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )
    after = torch.arange(1, 1001, dtype=torch.float64) / 1000  # their step 0 is noisy already
    scheduler.alphas_cumprod = torch.cos(math.pi / 2 * after) ** 2
    scheduler.set_timesteps(10)
    x = some(5, 4)
    theirs = [x]
    for k in scheduler.timesteps:
        v = 2 / math.pi * fake_velocity(theirs[-1], after[k])
        theirs.append(scheduler.step(v, int(k), theirs[-1]).prev_sample)
    same_way(our_way(ddim, x, grid(10), COSINE), theirs, 1e-6)
