"""Which arithmetic is fast here: bfloat16, float16 or float32.

Owns: `choose_precision`, `fast_dtype` and `make_accelerator`. Used in lesson 05.
`torch.cuda.is_bf16_supported()` is not the question to ask: it says yes on a T4, which emulates
bfloat16 and is slower for it. What counts is what the hardware does fast.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration

Precision = Literal["bf16", "fp16", "no"]


@dataclass(frozen=True)
class PrecisionChoice:
    """What was chosen, as Accelerate calls it ("no" is float32), and why, in words."""

    mixed_precision: Precision
    reason: str


def choose_precision(
    device: torch.device | str,
    *,
    capability: tuple[int, int] | None = None,
    cpu_features: frozenset[str] | None = None,
) -> PrecisionChoice:
    """The fastest arithmetic that trains well on a device.

    >>> choose_precision("cuda", capability=(7, 5)).mixed_precision      # a T4
    'fp16'

    Args:
        device: where the model will be trained.
        capability: of the CUDA device; asked of it if not given.
        cpu_features: those of "avx512_bf16" and "amx_bf16" that the CPU has; asked if not given.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        if capability is None:
            capability = torch.cuda.get_device_capability(device)
        major, minor = capability
        name = f"compute capability {major}.{minor}"
        if major >= 8:
            return PrecisionChoice("bf16", f"{name} multiplies bfloat16 fast (8.0 and above do)")
        if major >= 7:
            return PrecisionChoice("fp16", f"{name} has fast float16 but only emulates bfloat16")
        return PrecisionChoice(
            "no", f"{name} has no tensor cores for half precision (7.0 and above do)"
        )
    if kind == "cpu":
        features = fast_cpu_features() if cpu_features is None else cpu_features
        if features:
            return PrecisionChoice("bf16", f"this CPU multiplies bfloat16 fast ({min(features)})")
        return PrecisionChoice("no", "this CPU has neither AVX-512 BF16 nor AMX")
    return PrecisionChoice("no", f"mixed precision is untested on {kind}")


def fast_cpu_features() -> frozenset[str]:
    """Those of "avx512_bf16" and "amx_bf16" that this CPU has."""
    # These questions have had private names in torch so far: a missing one means "no".
    questions = {
        "avx512_bf16": "_is_avx512_bf16_supported",
        "amx_bf16": "_is_amx_tile_supported",
    }
    return frozenset(
        name for name, ask in questions.items() if getattr(torch.cpu, ask, lambda: False)()
    )


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it fast, else float32; both have the same range."""
    fast = choose_precision(device).mixed_precision == "bf16"
    return torch.bfloat16 if fast else torch.float32


def make_accelerator(precision: Precision | None, *, seed: int = 0) -> Accelerator:
    """Accelerate's view of this machine, with a precision of ours.

    Args:
        precision: None to choose by the hardware.
        seed: of the order of the images.

    Raises:
        ValueError: if the precision cannot be had here (fp16 on a CPU, say).
    """
    if precision not in (None, "bf16", "fp16", "no"):
        raise ValueError(f"precision must be 'bf16', 'fp16', 'no' or None, got {precision!r}")
    device = PartialState().device
    if precision is None:
        precision = choose_precision(device).mixed_precision
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; give 'bf16', 'no' or None on a CPU")
    # Accelerate remembers the precision of its first use in a process and refuses another one.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision,
        # The order of the images follows from the seed and the epoch alone, which resuming needs.
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=seed),
    )
