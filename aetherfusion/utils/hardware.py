"""What this machine does fast: device, arithmetic, memory and processes. Lesson 05 uses it."""

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
    """The fastest arithmetic that trains well on a device, from which all else is read.

    `torch.cuda.is_bf16_supported()` does not answer this: it says yes on a T4, which emulates
    bfloat16 and is slower for it.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        major, _ = capability or torch.cuda.get_device_capability(device)
        card = name or torch.cuda.get_device_name(device)
        if major >= 8:
            return PrecisionChoice("bf16", f"{card} multiplies bfloat16 fast")
        # The GTX 16 cards report the T4's capability, 7.5, but have no tensor cores.
        if major == 7 and "GTX 16" not in card:
            return PrecisionChoice("fp16", f"{card} has fast float16 and only emulates bfloat16")
        return PrecisionChoice("no", f"{card} has no tensor cores")
    features = fast_cpu_features() if cpu_features is None else cpu_features
    if kind == "cpu" and features:
        return PrecisionChoice("bf16", f"this CPU multiplies bfloat16 fast ({min(features)})")
    if kind == "cpu":
        return PrecisionChoice("no", "this CPU has neither AVX-512 BF16 nor AMX")
    return PrecisionChoice("no", f"half precision is untested on {kind}")


def fast_cpu_features() -> frozenset[str]:
    """Which of "avx512_bf16" and "amx_bf16" this CPU has."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.11 and later
        found = torch.cpu.get_capabilities()
    else:
        found = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}
        found["amx_bf16"] = torch.cpu._is_amx_tile_supported()
    return frozenset(name for name in ("avx512_bf16", "amx_bf16") if found.get(name))


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it fast, else float32; both have the same range."""
    return torch.bfloat16 if choose_precision(device).precision == "bf16" else torch.float32


def training_dtype(device: torch.device, precision: Precision | None) -> torch.dtype:
    """The dtype of autocast for a precision, or the one that the device does fast for None."""
    dtype = DTYPES.get(precision or choose_precision(device).precision)
    if dtype is None or (dtype is torch.float16 and device.type == "cpu"):
        wanted = "'bf16', 'no', None, or on a GPU 'fp16'"
        raise ValueError(f"precision must be {wanted}, got {precision!r}")
    return dtype


def unwrapped(model: Any) -> Any:
    """The module inside `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrapped(model.module)
    return unwrapped(model._orig_mod) if hasattr(model, "_orig_mod") else model


def join_processes(timeout_minutes: float = 10) -> None:
    """Connects the processes that `torchrun` started; one that hangs ends them all in time."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    if cuda := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    limit = timedelta(minutes=timeout_minutes)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=limit)
    atexit.register(dist.destroy_process_group)


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; process 0 is the one that prints and writes files."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, freed memory stays with the process, which makes a training step a tenth faster.

    Else the C library of Linux returns large blocks, and the system clears them. See mallopt(3).
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    set_option = getattr(libc, "mallopt", lambda *_: None)
    trim_threshold, top_pad, mmap_threshold, mib = -1, -2, -3, 2**20  # malloc.h
    for option, number in ((mmap_threshold, 32), (trim_threshold, 1024), (top_pad, 64)):
        set_option(option, number * mib)
    try:
        yield
    finally:
        set_option(trim_threshold, 64 * mib)
        set_option(top_pad, 0)
        getattr(libc, "malloc_trim", lambda _: None)(0)
