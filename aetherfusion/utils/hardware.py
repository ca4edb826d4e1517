"""What this machine does fast: its device, its arithmetic, its memory and its processes.

Lesson 05 uses it.
"""

import atexit
import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

Precision = Literal["bf16", "fp16", "no"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}


def best_device() -> torch.device:
    """The accelerator of this process if torch sees one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


class PrecisionChoice(NamedTuple):
    """What to compute in ("no" is float32), and the reason in words."""

    precision: Precision
    reason: str


def choose_precision(
    device: torch.device | str,
    *,
    capability: tuple[int, int] | None = None,
    name: str | None = None,
    cpu_features: frozenset[str] | None = None,
) -> PrecisionChoice:
    """The fastest arithmetic that trains well on a device.

    `torch.cuda.is_bf16_supported()` does not answer this: it says yes on a T4, which emulates
    bfloat16 and is slower for it.

    >>> choose_precision("cuda", capability=(7, 5), name="Tesla T4").precision
    'fp16'

    Args:
        device: where the model will be trained.
        capability, name: of the CUDA device; read from it if not given.
        cpu_features: of the CPU, see `fast_cpu_features`; read from it if not given.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        major, minor = capability or torch.cuda.get_device_capability(device)
        card = name or torch.cuda.get_device_name(device)
        if major >= 8:
            return PrecisionChoice("bf16", f"{card} multiplies bfloat16 fast")
        # The GTX 16 cards report the T4's capability, 7.5, but have no tensor cores.
        if major == 7 and "GTX 16" not in card:
            return PrecisionChoice("fp16", f"{card} has fast float16 and only emulates bfloat16")
        return PrecisionChoice("no", f"{card} (capability {major}.{minor}) has no tensor cores")
    if kind == "cpu":
        features = fast_cpu_features() if cpu_features is None else cpu_features
        if features:
            return PrecisionChoice("bf16", f"this CPU multiplies bfloat16 fast ({min(features)})")
        return PrecisionChoice("no", "this CPU has neither AVX-512 BF16 nor AMX")
    return PrecisionChoice("no", f"half precision is untested on {kind}")


def fast_cpu_features() -> frozenset[str]:
    """Which of "avx512_bf16" and "amx_bf16" this CPU has."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.11 and later
        found = torch.cpu.get_capabilities()
        return frozenset(name for name in ("avx512_bf16", "amx_bf16") if found.get(name))
    ask = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return frozenset(name for name, ask in ask.items() if getattr(torch.cpu, ask, bool)())


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it fast, else float32; both have the same range."""
    fast = choose_precision(device).precision == "bf16"
    return torch.bfloat16 if fast else torch.float32


def training_dtype(device: torch.device, precision: Precision | None) -> torch.dtype:
    """The dtype of autocast for a precision; None chooses by the hardware.

    Raises:
        ValueError: for an unknown precision, or one that this device does not have.
    """
    precision = precision or choose_precision(device).precision
    if precision not in DTYPES:
        raise ValueError(f"precision must be 'bf16', 'fp16', 'no' or None, got {precision!r}")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; use 'bf16', 'no' or None on a CPU")
    return DTYPES[precision]


def unwrapped(model: Any) -> Any:
    """The module inside `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def join_processes(timeout_minutes: float = 10) -> None:
    """Connects the processes that `torchrun` started; in an ordinary process it does nothing.

    Args:
        timeout_minutes: how long they wait for one that hangs before the run ends with an error.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        backend = "nccl"
    dist.init_process_group(backend, timeout=timedelta(minutes=timeout_minutes))
    atexit.register(dist.destroy_process_group)


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; process 0 is the one that prints and writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, freed memory stays with the process, for the next step to use again.

    The C library of Linux returns large blocks at once, and the system clears every page before it
    hands it out again: a tenth of a training step (`training_cost.py --memory-not-kept` in
    tests/benchmarks). Elsewhere it does nothing. Source: the manual page mallopt(3).
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim_threshold, top_pad, mmap_threshold, mib = -1, -2, -3, 2**20  # malloc.h
    if known := hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        libc.mallopt(mmap_threshold, 32 * mib)  # the largest that there is
        libc.mallopt(trim_threshold, 1024 * mib)
        libc.mallopt(top_pad, 64 * mib)
    try:
        yield
    finally:
        if known:
            libc.mallopt(trim_threshold, 64 * mib)
            libc.mallopt(top_pad, 0)
            libc.malloc_trim(0)
