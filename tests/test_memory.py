"""`kept_memory`: what is freed within it is not asked for from the system again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import ClassVar

import pytest

from aetherfusion.utils import memory
from aetherfusion.utils.memory import kept_memory

# Sixteen blocks of 16 MiB, freed together, ten times; prints how many pages the system gave.
PROGRAM = """
import contextlib, resource, sys
import torch
from aetherfusion.utils.memory import kept_memory

def work():
    for _ in range(10):
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep it")
def test_a_use_within_another_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        calls: ClassVar[list[tuple[int, ...]]] = []

        def mallopt(self, *call: int) -> None:
            self.calls.append(call)

        def malloc_trim(self, pad: int) -> None:
            self.calls.append((pad,))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Libc())
    with kept_memory():
        before = len(Libc.calls)
        with pytest.raises(KeyboardInterrupt), kept_memory():
            raise KeyboardInterrupt
        with kept_memory():
            pass
        within = Libc.calls[before:]
        assert (memory.TRIM_THRESHOLD, 1024 * memory.MiB) in within
        assert (memory.TRIM_THRESHOLD, 64 * memory.MiB) not in within and (0,) not in within
    assert Libc.calls[-3:] == [
        (memory.TRIM_THRESHOLD, 64 * memory.MiB),
        (memory.TOP_PAD, 0),
        (0,),
    ]


def test_without_such_a_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with kept_memory():
        pass
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    with kept_memory():
        pass
