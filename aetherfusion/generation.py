"""Pictures on demand: labels in, images out.

Owns: `generate_images`, `denoising_trajectory` and `label_numbers`. Built in lesson 06.
"""

import difflib
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .data import CIFAR10_CLASSES, from_unit, to_unit
from .diffusion import FLOW, NoisePath
from .sampling import Callback, Sampler, SamplerStep, dpmpp_2m, guided, time_grid
from .utils.memory import kept_memory

Label = int | float | str
#: What people call two of the classes of CIFAR-10.
ALIASES = {"plane": "airplane", "aeroplane": "airplane", "car": "automobile"}


def generate_images(
    model: nn.Module,
    num_samples: int = 10,
    *,
    labels: Label | Iterable[Label] | Tensor | None = None,
    seed: int = 0,
    steps: int = 14,
    guidance_scale: float = 3.5,
    guidance_interval: tuple[float, float] = (0.1, 0.55),
    sampler: Sampler = dpmpp_2m,
    path: NoisePath = FLOW,
    batch_size: int = 100,
    callback: Callback | None = None,
    progress: bool = False,
) -> Tensor:
    """Makes pictures out of noise.

    >>> samples = generate_images(model, num_samples=10)
    >>> horses = generate_images(model, labels="horse", seed=7)
    >>> pets = generate_images(model, 6, labels=["cat", "dog"])

    Args:
        model: a trained `DiffusionTransformerUNet`.
        num_samples: how many pictures.
        labels: numbers or names of classes, used in turn; one for all of one class; None for
            every class in turn. `model.null_label` asks for a picture of any class.
        seed: of the noise. Picture i follows from `seed`, i, its label and the options alone: it
            starts from the same noise, and is the same but for rounding, however many are made and
            whatever `batch_size` or device.
        steps: of the sampler; more is slower and, up to a point, finer.
        guidance_scale: 1 for none; higher is plainer to see and less varied.
        guidance_interval: (low, high) times in [0, 1] between which to guide; (0, 1) for always,
            which is plainer to see and less varied (Kynkäänniemi et al. 2024).
        sampler: `dpmpp_2m`, `heun` or `ddim`.
        path: the one that the model was trained on.
        batch_size: pictures at a time.
        callback: called with every `SamplerStep`, for each batch anew.
        progress: whether to show a bar.

    Returns:
        (num_samples, channels, H, W) float32 in [0, 1], on the CPU.

    Raises:
        ValueError: for a class that there is not, with the nearest one suggested, for options out
            of their range, and for weights in half precision without autocast.
        FloatingPointError: if the model answers with numbers that are not finite.
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(
            f"num_samples and batch_size must be at least 1, got {num_samples} and {batch_size}"
        )
    numbers = label_numbers(model, labels, num_samples)
    null_label: Any = model.null_label
    if null_label == 0:
        guidance_scale = 1.0  # there is no label to steer by
    times = time_grid(steps)
    weights = next(model.parameters())
    device = weights.device
    halved = weights.dtype in (torch.float16, torch.bfloat16)
    if halved and not torch.is_autocast_enabled(device.type):
        raise ValueError(
            f"the weights are {weights.dtype}, the pictures float32: call model.float(), or, to "
            f'compute in half precision, use `with torch.autocast("{device.type}", '
            f"{weights.dtype}):`"
        )
    was_training = model.training
    model.eval()

    def denoise(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        t = t.to(xt).expand(len(xt))  # (B,)
        return path.split(xt, model(xt, t, labels), t)[0]

    batches = []
    bar = tqdm(total=num_samples, unit="image", disable=not progress)
    try:
        with torch.inference_mode(), kept_memory(), bar:
            for start in range(0, num_samples, batch_size):
                indices = range(start, min(start + batch_size, num_samples))
                batch_labels = numbers[start : start + batch_size].to(device)
                guide = guided(denoise, batch_labels, null_label, guidance_scale, guidance_interval)
                x = starting_noise(model, indices, seed).to(device)
                x0 = sampler(guide, x, times, path=path, callback=callback)
                if not x0.isfinite().all():
                    raise FloatingPointError(
                        "the model answered with numbers that are not finite: its training "
                        "diverged, or its arithmetic has too narrow a range (try float32)"
                    )
                batches.append(to_unit(x0).cpu())
                bar.update(len(indices))
    finally:
        model.train(was_training)
    return torch.cat(batches)


def starting_noise(model: Any, indices: Sequence[int], seed: int) -> Tensor:
    """(len(indices), channels, H, W), each image from a generator of its own, on the CPU."""
    shape = (model.channels, model.image_size, model.image_size)
    generators = (torch.Generator().manual_seed(_mixed(seed, i)) for i in indices)
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def _mixed(seed: int, index: int) -> int:
    """One number for both: torch keeps 32 bits of a seed, and all of them shall depend on both."""
    digest = hashlib.blake2b(f"{seed}, {index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def label_numbers(
    model: Any,
    labels: Label | Iterable[Label] | Tensor | None,
    num_samples: int,
) -> Tensor:
    """Labels as people write them to (num_samples,) integers, going round if they are fewer.

    Raises:
        ValueError: for a class that there is not, or more labels than samples.
    """
    if labels is None:
        # A model without classes has only the null label.
        wanted: list[Label] = list(range(model.num_classes)) or [model.null_label]
    elif isinstance(labels, str) or not isinstance(labels, Iterable):
        wanted = [labels]
    else:
        wanted = labels.flatten().tolist() if isinstance(labels, Tensor) else list(labels)
        if not 1 <= len(wanted) <= num_samples:
            raise ValueError(
                f"{len(wanted)} labels for num_samples={num_samples}; give between 1 and as many "
                "labels as samples, they are used in turn"
            )
    numbers = [_label_number(model, label) for label in wanted]
    return torch.tensor(list(itertools.islice(itertools.cycle(numbers), num_samples)))


def _label_number(model: Any, label: Label) -> int:
    names = model.class_names
    if names is None and model.num_classes == len(CIFAR10_CLASSES):
        names = CIFAR10_CLASSES
    if isinstance(label, str) and label in (names or ()):
        return names.index(label)
    if isinstance(label, str) and label.strip().isdecimal():
        label = int(label)
    if isinstance(label, str):
        if not names:
            raise ValueError(
                f"this model's {model.num_classes} classes have no names; ask by number, from 0"
            )
        lowered = [name.strip().lower() for name in names]
        name = label.strip().lower()
        if name not in lowered:
            name = ALIASES.get(name, name)
        if name in lowered:
            return lowered.index(name)
        near = names[lowered.index(difflib.get_close_matches(name, lowered, n=1, cutoff=0.0)[0])]
        raise ValueError(
            f"there is no class {label!r}; did you mean {near!r}? The classes are "
            f"{', '.join(names)}"
        )
    if int(label) != label:
        raise ValueError(f"labels are whole numbers or names of classes, got {label!r}")
    number = int(label)  # of numpy's numbers, too
    if not 0 <= number < model.num_classes and number != model.null_label:
        raise ValueError(f"labels must be in [0, {model.num_classes}), got {number}")
    return number


@dataclass(frozen=True)
class Trajectory:
    """Pictures on their way out of the noise.

    Attributes:
        times: (steps + 1,), from 1 to 0.
        xt: (steps + 1, N, channels, H, W) in [-1, 1] and beyond, as the network sees them.
        x0_hat: (steps, N, channels, H, W) in [-1, 1] and about, what the network takes them for.
        images: (N, channels, H, W) in [0, 1], what comes out.
    """

    times: Tensor
    xt: Tensor
    x0_hat: Tensor
    images: Tensor


def denoising_trajectory(model: nn.Module, num_samples: int = 1, **options: object) -> Trajectory:
    """Makes pictures as `generate_images` does and keeps everything on the way.

    >>> way = denoising_trajectory(model, labels="horse", steps=10)
    >>> way.xt.shape
    torch.Size([11, 1, 3, 32, 32])

    Args:
        model, num_samples, options: as for `generate_images`, but for `callback`, which is in
            use, and `batch_size`, as all are made at once.
    """
    kept: list[SamplerStep] = []
    images = generate_images(
        model,
        num_samples,
        callback=kept.append,
        batch_size=num_samples,
        **options,  # type: ignore[arg-type]
    )
    return Trajectory(
        times=torch.stack([*(step.t for step in kept), torch.zeros_like(kept[0].t)]),
        xt=torch.stack([*(step.xt.cpu() for step in kept), from_unit(images)]),
        x0_hat=torch.stack([step.x0_hat.cpu() for step in kept]),
        images=images,
    )
