"""What the machine does fast, and memory that is kept between steps."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from aetherfusion.utils.hardware import (
    best_device,
    choose_precision,
    fast_cpu_features,
    fast_dtype,
    training_dtype,
    unwrapped,
)

# Precision


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "no"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_precision_of_a_gpu_is_what_it_does_fast(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A T4 (7.5) says yes to this question, by emulation: it must not be asked.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    choice = choose_precision("cuda", capability=capability, name="a card")
    assert choice.precision == expected
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    assert choose_precision("cuda:0").precision == expected


def test_precision_of_a_cpu_is_what_it_does_fast() -> None:
    assert choose_precision("cpu", cpu_features=frozenset()).precision == "no"
    for feature in ("avx512_bf16", "amx_bf16"):
        choice = choose_precision("cpu", cpu_features=frozenset({feature}))
        assert choice.precision == "bf16" and feature in choice.reason
    assert choose_precision("mps").precision == "no"


def test_a_gtx_16_has_no_tensor_cores_although_it_reports_the_capability_of_a_t4() -> None:
    choices = [
        choose_precision("cuda", capability=(7, 5), name=name).precision
        for name in ("Tesla T4", "NVIDIA GeForce GTX 1660 Ti", "NVIDIA GeForce RTX 2070")
    ]
    assert choices == ["fp16", "no", "fp16"]


def test_cpu_features_are_those_of_the_processor() -> None:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        pytest.skip("only Linux lists the features of the processor")
    assert fast_cpu_features() == {"avx512_bf16", "amx_bf16"} & set(flags)
    assert fast_dtype("cpu") == (torch.bfloat16 if fast_cpu_features() else torch.float32)


def test_precisions_that_a_device_does_not_have_are_refused() -> None:
    cpu = torch.device("cpu")
    assert training_dtype(cpu, "no") == torch.float32
    assert training_dtype(cpu, "bf16") == torch.bfloat16
    assert training_dtype(torch.device("cuda"), "fp16") == torch.float16
    with pytest.raises(ValueError, match=r"on a GPU .fp16., got .fp16."):
        training_dtype(cpu, "fp16")
    with pytest.raises(ValueError, match=r"must be .*got .fp8."):
        training_dtype(cpu, "fp8")  # type: ignore[arg-type]


def test_the_plain_module_is_found_in_every_wrapping() -> None:
    model = nn.Linear(2, 2)
    wrappings = [
        model,
        torch.compile(model, backend="eager"),
        nn.DataParallel(model),
        nn.DataParallel(torch.compile(model, backend="eager")),
        torch.compile(nn.DataParallel(model), backend="eager"),
    ]
    assert all(unwrapped(wrapped) is model for wrapped in wrappings)


def test_the_best_device_is_an_accelerator_if_torch_sees_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu"
    assert best_device().type == expected


# Sixteen blocks of 16 MiB, freed together, ten times; prints how many pages the system gave.
PROGRAM = """
import contextlib, resource, sys
import torch
from aetherfusion.utils.hardware import kept_memory

def work():
    for _ in range(3):
        blocks = [torch.ones(2**22) for _ in range(16)]
        del blocks

torch.set_num_threads(1)
work()
with kept_memory() if sys.argv[1] == "kept" else contextlib.nullcontext():
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
import os
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20)
"""


def measure(how: str) -> tuple[int, int]:
    """(pages asked for from the system while working, resident MiB afterwards)."""
    # Left to itself glibc raises its threshold to the first block freed, and then keeps the next
    # ones or not, by what happens to lie above them. Once named, the default stays where it is.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 * 2**10)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, env=env
    )
    pages, resident = map(int, done.stdout.split())
    return pages, resident


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep it")
def test_memory_is_kept_within_and_given_back_after() -> None:
    kept, left = measure("kept")
    given_back, usual = measure("given back")
    assert given_back > 10_000, given_back  # else the test would say nothing
    assert kept < given_back / 20, (kept, given_back)
    assert left < usual + 64, (left, usual)
