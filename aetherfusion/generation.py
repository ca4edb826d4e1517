"""Images from labels: `generate_images`, and `denoising_trajectory` for every step on the way.

Built in lesson 06 from the samplers and guidance in `sampling.py`, whose equations they solve.
Each image has its own random generator, so it does not depend on the others in its batch.
"""

import difflib
import hashlib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .data import CIFAR10_CLASSES, from_unit, to_unit
from .diffusion import FLOW, SamplingSettings
from .sampling import Callback, Sampler, SamplerStep, ddim, dpmpp_2m, guided, heun, time_grid
from .utils.hardware import unwrapped

ALIASES = {"plane": "airplane", "aeroplane": "airplane", "car": "automobile"}
SAMPLERS: dict[Any, Sampler] = {"ddim": ddim, "heun": heun, "dpmpp_2m": dpmpp_2m}
Labels = int | str | Iterable[int | str] | Tensor | None


@torch.no_grad()
def generate_images(
    model: nn.Module,
    num_samples: int | None = None,
    *,
    labels: Labels = None,
    seed: int = 0,
    steps: int | None = None,
    tail: int | None = None,
    guidance_scale: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    sampler: Sampler | str = dpmpp_2m,
    batch_size: int = 100,
    callback: Callback | None = None,
    progress: bool = False,
) -> Tensor:
    """Generates images (num_samples, channels, H, W), float32 in [0, 1], on the CPU, from noise.

    The model runs on its own device and noise path. An unknown class, an option out of range and
    half-precision weights are a ValueError; images that are not finite a FloatingPointError.

    >>> samples = generate_images(model, num_samples=10)
    >>> pets = generate_images(model, labels=["cat", "dog"], seed=7)

    Args:
        num_samples: None for one image per label if `labels` is a list, else 10.
        labels: numbers or names of classes, used in turn; None for all, `null_label` for any.
        seed: an integer. Image i depends only on the seed, i, its label and the options; up to
            rounding it is the same for any `num_samples`, `batch_size` and device.
        steps, tail: see `time_grid`. None, here and below, means the value in `model.sampling`.
        guidance_scale: 1 for no guidance; more makes the class clearer and the images less varied.
        guidance_interval: (low, high), the times in [0, 1] between which to guide.
        sampler: "ddim", "heun", "dpmpp_2m", or a function with the same arguments.
        callback: called with every `SamplerStep` of every batch.
    """
    net: Any = unwrapped(model)
    numbers = label_numbers(net, labels, num_samples)
    asked: Any = steps, tail, guidance_scale, guidance_interval
    default = astuple(getattr(net, "sampling", None) or SamplingSettings())
    use = SamplingSettings(*(d if a is None else a for a, d in zip(asked, default, strict=True)))
    times, path = time_grid(use.steps, tail=use.tail), getattr(net, "path", FLOW)
    solve = SAMPLERS.get(sampler, sampler)
    if not callable(solve):
        raise ValueError(f"sampler must be a function or one of {list(SAMPLERS)}, got {sampler!r}")
    dtype, device = next(net.parameters()).dtype, next(net.parameters()).device
    if dtype.itemsize < 4 and not torch.is_autocast_enabled(device.type):
        raise ValueError(f"the weights are {dtype}: use model.float(), or torch.autocast")

    def denoise(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        t = t.to(xt).expand(len(xt))  # (B,)
        return path.split(xt, model(xt, t, labels), t)[0]

    images, was_training = [], model.training
    bar = tqdm(total=len(numbers), unit="image", disable=not progress)
    model.eval()
    try:
        for indices in torch.arange(len(numbers)).split(batch_size):
            wanted = numbers[indices].to(device)  # (B,)
            steered = guided(
                denoise, wanted, net.null_label, use.guidance_scale, use.guidance_interval
            )
            x = starting_noise(net, indices.tolist(), seed)  # (B, channels, H, W)
            x0 = solve(steered, x, times, path=path, callback=callback)
            if not x0.isfinite().all():
                raise FloatingPointError("the images are not finite: train again, or use float32")
            images.append(to_unit(x0).cpu())
            bar.update(len(x0))
    finally:
        model.train(was_training)
        bar.close()
    return torch.cat(images)


def starting_noise(model: Any, indices: Sequence[int], seed: int) -> Tensor:
    """Noise (len(indices), channels, H, W), each image from its own generator on the CPU."""
    shape, images = (model.channels, model.image_size, model.image_size), []
    for i in indices:
        # torch uses 32 bits of a seed; a hash makes all of them depend on both numbers.
        digest = hashlib.blake2b(f"{operator.index(seed)}, {i}".encode(), digest_size=4).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        images.append(torch.randn(shape, generator=generator, dtype=torch.float32))
    weights = next(model.parameters())
    return torch.stack(images).to(weights.device, torch.promote_types(weights.dtype, torch.float32))


def label_numbers(model: Any, labels: Any, num_samples: int | None = None) -> Tensor:
    """Class numbers (num_samples,) from numbers and names of classes, used in turn."""
    wanted = labels.tolist() if hasattr(labels, "tolist") else labels
    several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
    wanted = list(wanted) if several else [wanted]
    num_samples = num_samples if num_samples is not None else len(wanted) if several else 10
    if labels is None:
        wanted = list(range(model.num_classes))[:num_samples]
    if not 1 <= len(wanted) <= num_samples:
        raise ValueError(f"expected 1 to num_samples={num_samples} labels, got {len(wanted)}")
    numbers = torch.tensor([_label_number(model, label) for label in wanted])
    return numbers[torch.arange(num_samples) % len(numbers)]


def _label_number(model: Any, label: Any) -> int:
    names = model.class_names or (CIFAR10_CLASSES if model.num_classes == 10 else ())
    label = label.tolist() if hasattr(label, "tolist") else label
    if isinstance(label, str) and (label in names or not label.strip().isdecimal()):
        known = {alias: names.index(name) for alias, name in ALIASES.items() if name in names}
        known |= {name.strip().lower(): i for i, name in enumerate(names)}
        known |= {name: i for i, name in enumerate(names)}
        key = label if label in known else label.strip().lower()
        if key not in known:
            names = names or [str(i) for i in range(model.num_classes)]
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise ValueError(f"no class {label!r}; did you mean {near!r}? All: {', '.join(names)}")
        return known[key]
    number = int(label) if isinstance(label, str) else label
    if type(number) is not int or not 0 <= number <= model.null_label:
        raise ValueError(f"labels must be names or in [0, {model.num_classes}), got {number!r}")
    return number


@dataclass(frozen=True)
class Trajectory:
    """Images at every step of a sampler, as `denoising_trajectory` returns them."""

    times: Tensor  # (steps + 1,), from 1 to 0
    xt: Tensor  # (steps + 1, N, channels, H, W), the noisy images
    x0_hat: Tensor  # (steps, N, channels, H, W), the data predicted from them
    images: Tensor  # (N, channels, H, W) in [0, 1], the result


def denoising_trajectory(model: nn.Module, num_samples: int = 1, **options: Any) -> Trajectory:
    """Generates images like `generate_images`, in one batch, and keeps every step.

    >>> trajectory = denoising_trajectory(model, labels="horse", steps=10)
    """
    kept: list[SamplerStep] = []
    options |= {"callback": kept.append, "batch_size": num_samples}
    images = generate_images(model, num_samples, **options)
    return Trajectory(
        times=torch.stack([*(step.t for step in kept), torch.zeros_like(kept[0].t)]),
        xt=torch.stack([*(step.xt.cpu() for step in kept), from_unit(images)]),
        x0_hat=torch.stack([step.x0_hat.cpu() for step in kept]),
        images=images,
    )
