"""From data to noise and back: the path, the target, and every conversion. No network in here.

Owns: `NoisePath`, its two instances `FLOW` and `COSINE`, and `sample_times`. Built in lesson 04.

t = 0 is data, t = 1 is noise, and on the way

    xt = alpha(t) * x0 + sigma(t) * noise,      v = dxt/dt = alpha'(t) * x0 + sigma'(t) * noise.

The network predicts v. On the straight path `FLOW` (Lipman et al. 2023; Liu et al. 2023) this is
v = noise - x0; on `COSINE` it is the v-prediction of Salimans & Ho (2022) times pi / 2. What
others call it:

    | where                              | data is at  | they predict              | here    |
    |------------------------------------|-------------|---------------------------|---------|
    | Ho et al. 2020 (DDPM)              | step 0      | noise                     | noise   |
    | Salimans & Ho 2022, on COSINE      | t = 0       | alpha noise - sigma x0    | v 2/pi  |
    | Lipman et al. 2023, flow_matching  | t = 1       | x0 - noise                | -v      |
    | Stable Diffusion 3 (Esser 2024)    | t = 0       | noise - x0                | v       |
    | Karras et al. 2022 (EDM)           | sigma = 0   | x0                        | x0      |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Schedule = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NoisePath:
    """A way from data to noise: four functions of time, and what follows from them.

    >>> xt, v = FLOW.mix(x0, noise, t), FLOW.velocity(x0, noise, t)
    >>> x0_hat, noise_hat = FLOW.split(xt, v, t)            # x0 and noise again

    Args:
        name: how it is called in files.
        alpha, sigma: how much of the data and of the noise there is at time t in [0, 1].
        d_alpha, d_sigma: their derivatives.

    In every method images are (B, ...) and t is (B,) or a single number's tensor ().
    """

    name: str
    alpha: Schedule
    sigma: Schedule
    d_alpha: Schedule
    d_sigma: Schedule

    def mix(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """xt, the image at time t on the way from `x0` to `noise`."""
        t = _like(t, x0)
        return self.alpha(t) * x0 + self.sigma(t) * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = dxt/dt, what the network is trained to predict."""
        t = _like(t, x0)
        return self.d_alpha(t) * x0 + self.d_sigma(t) * noise

    def split(self, xt: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(x0, noise) from where we are and where we are going: the 2x2 system of the above."""
        t = _like(t, xt)
        determinant = self.alpha(t) * self.d_sigma(t) - self.d_alpha(t) * self.sigma(t)
        x0 = (self.d_sigma(t) * xt - self.sigma(t) * v) / determinant
        noise = (self.alpha(t) * v - self.d_alpha(t) * xt) / determinant
        return x0, noise

    def noise_from_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise in xt, if its data is `x0`; t > 0, as clean data has none."""
        t = _like(t, xt)
        return (xt - self.alpha(t) * x0) / self.sigma(t)

    def velocity_from_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The velocity at xt, if its data is `x0`; t > 0."""
        return self.velocity(x0, self.noise_from_x0(xt, x0, t), t)


def _like(t: Tensor, x: Tensor) -> Tensor:
    """(B,) or () to (B, 1, 1, ...), to be multiplied with (B, ...)."""
    return t.to(x).reshape(t.shape + (1,) * (x.ndim - t.ndim))


#: The straight path: xt = (1 - t) x0 + t noise (Liu et al. 2023, equation 1, time turned round).
FLOW = NoisePath(
    name="flow",
    alpha=lambda t: 1 - t,
    sigma=lambda t: t,
    d_alpha=lambda t: -torch.ones_like(t),
    d_sigma=lambda t: torch.ones_like(t),
)

#: The cosine path, along a quarter circle (Nichol & Dhariwal 2021; Salimans & Ho 2022, appendix D).
COSINE = NoisePath(
    name="cosine",
    alpha=lambda t: torch.cos(math.pi / 2 * t),
    sigma=lambda t: torch.sin(math.pi / 2 * t),
    d_alpha=lambda t: -math.pi / 2 * torch.sin(math.pi / 2 * t),
    d_sigma=lambda t: math.pi / 2 * torch.cos(math.pi / 2 * t),
)


def sample_times(
    num: int, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Times to train at: logit-normal, most of them in the middle, where the picture is decided.

    Near t = 0 what is left to predict is mostly the noise itself, and near t = 1 the answer is the
    mean picture; in between the network has to decide. The draw is stratified: one uniform number
    in each of `num` equal parts, so that every batch covers all noise levels.

    Args:
        num: how many.

    Returns:
        (num,) float32 in (0, 1), in random order.

    Source: Esser et al. 2024, section 3.1 (logit-normal, mean 0, scale 1); Kingma et al. 2021,
    appendix I.1 (the idea of low-discrepancy times).
    """
    u = torch.rand(num, generator=generator, device=device)
    order = torch.randperm(num, generator=generator, device=device)
    # Kept off 0 and 1, where the normal quantile is infinite.
    u = ((order + u) / num).clamp(1e-6, 1 - 1e-6)
    # The normal quantile (torch's ndtri is missing on Apple's GPUs; erfinv is everywhere).
    z = math.sqrt(2) * torch.erfinv(2 * u - 1)
    return z.sigmoid()
