"""From data to noise and back: the noise path, the training target and every conversion.

Built in lesson 04: `NoisePath`, its two instances `FLOW` and `COSINE`, and `sample_times`.
Implements Lipman et al. 2023 (flow matching) and Salimans & Ho 2022 (v-prediction):

    xt = alpha(t) * x0 + sigma(t) * noise,      v = dxt/dt = alpha'(t) * x0 + sigma'(t) * noise.

t = 0 is data, t = 1 is noise, and the network predicts v. On the straight path `FLOW` this is
v = noise - x0; on `COSINE` it is v-prediction times pi / 2. Other papers' conventions:

    | where                              | data is at  | they predict              | here    |
    |------------------------------------|-------------|---------------------------|---------|
    | Ho et al. 2020 (DDPM)              | step 0      | noise                     | noise   |
    | Salimans & Ho 2022, on COSINE      | t = 0       | alpha noise - sigma x0    | v 2/pi  |
    | Lipman et al. 2023, flow_matching  | t = 1       | x0 - noise                | -v      |
    | Stable Diffusion 3 (Esser 2024)    | t = 0       | noise - x0                | v       |
    | Karras et al. 2022 (EDM)           | sigma = 0   | x0                        | x0      |

DDPM's alpha-bar, the product of (1 - beta) over the steps so far, is alpha(t)^2 here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Schedule = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NoisePath:
    """A path from data to noise: four functions of time, and conversions of images (B, ...).

    >>> xt, v = FLOW.mix(x0, noise, t), FLOW.velocity(x0, noise, t)  # t is (B,) or ()
    >>> x0_hat, noise_hat = FLOW.split(xt, v, t)                     # x0 and noise again
    """

    name: str  # "flow" or "cosine"; model files store it
    alpha: Schedule  # the factor of the data at time t in [0, 1]
    sigma: Schedule  # the factor of the noise
    d_alpha: Schedule  # the derivative of alpha
    d_sigma: Schedule  # the derivative of sigma

    def __reduce__(self) -> str:
        return self.name.upper()  # copy and pickle refer to the constants FLOW and COSINE by name

    def mix(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """xt, the noisy image at time t."""
        t = _like(t, x0)
        return self.alpha(t) * x0 + self.sigma(t) * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = dxt/dt, what the network is trained to predict."""
        t = _like(t, x0)
        return self.d_alpha(t) * x0 + self.d_sigma(t) * noise

    def split(self, xt: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(x0, noise) from xt and v: the inverse of the 2x2 system of `mix` and `velocity`."""
        t = _like(t, xt)
        determinant = self.alpha(t) * self.d_sigma(t) - self.d_alpha(t) * self.sigma(t)
        x0 = (self.d_sigma(t) * xt - self.sigma(t) * v) / determinant
        noise = (self.alpha(t) * v - self.d_alpha(t) * xt) / determinant
        return x0, noise

    def noise_from_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise in xt, if its data is `x0`; for t > 0."""
        t = _like(t, xt)
        return (xt - self.alpha(t) * x0) / self.sigma(t)

    def velocity_from_x0(self, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The velocity at xt, if its data is `x0`; for t > 0."""
        return self.velocity(x0, self.noise_from_x0(xt, x0, t), t)


def _like(t: Tensor, x: Tensor) -> Tensor:
    """(B,) or () to (B, 1, 1, ...), which broadcasts with x (B, ...)."""
    return t.to(x).reshape(t.shape + (1,) * (x.ndim - t.ndim))


#: The straight path: xt = (1 - t) x0 + t noise (Liu et al. 2023, equation 1, with time reversed).
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

#: The paths that a model file can name.
PATHS = {path.name: path for path in (FLOW, COSINE)}


@dataclass(frozen=True)
class SamplingSettings:
    """The defaults of `generate_images` for one model; the model file stores them."""

    steps: int = 14
    tail: int = 2  # see `time_grid`
    guidance_scale: float = 3.5
    guidance_interval: tuple[float, float] = (0.1, 0.55)


def recommended_sampling(
    images_seen: int, before: SamplingSettings | None = None
) -> SamplingSettings:
    """The default settings of a model that has seen `images_seen` images in training (lesson 06).

    Below a million, short last steps would show the model's errors at low noise levels. The times
    are then even, and guidance acts longer; the settings `before` this training, if any, stay.
    """
    if images_seen >= 1_000_000:
        return SamplingSettings()
    return before or SamplingSettings(tail=0, guidance_interval=(0.1, 0.75))


def sample_times(
    num: int, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Draws training times (num,) in (0, 1), most of them near 1/2, in random order.

    Near t = 0 mostly the noise is left to predict, and near t = 1 the mean image; in between
    there is most to learn. The distribution is logit-normal (Esser et al. 2024, section 3.1). Each
    of `num` equally likely intervals gives one time (like Kingma et al. 2021, appendix I.1).
    """
    u = torch.rand(num, generator=generator, device=device)
    order = torch.randperm(num, generator=generator, device=device)
    u = ((order + u) / num).clamp(1e-6, 1 - 1e-6)  # at 0 and 1 the quantile is infinite
    z = math.sqrt(2) * torch.erfinv(2 * u - 1)  # normal quantile; Apple's GPUs lack ndtri
    return z.sigmoid()
