"""Memory that is not given back and asked for again at every step.

Owns: `kept_memory`. Used in lesson 05.
A step of training on a CPU frees some hundred megabytes, and the next one needs them again. The
C library of Linux returns large blocks to the system at once, and the system clears every page
before it hands it out: a tenth of the time of a step goes there unless the blocks are kept
(369 images/s with them, 330 without: tests/benchmarks/training_cost.py, `--memory-not-kept`).
"""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator

# The numbers of mallopt(3), from malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MiB = 2**20


# The allocator is one for the whole process, and so is the number of those who use it like this.
_lock, _users = threading.Lock(), 0


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, freed memory stays with the process; afterwards what is free is returned.

    Uses within each other, a preview in a training for one, are one use. It does something where
    the C library is glibc (most Linux systems, Colab among them), and nothing elsewhere.

    >>> with kept_memory():
    ...     train(model, trainloader, criterion, optimizer, num_epochs=1)

    Source: the manual page mallopt(3).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    global _users
    with _lock:
        _users += 1
        # 32 MiB is the largest threshold there is: larger blocks come from the system each time.
        libc.mallopt(MMAP_THRESHOLD, 32 * MiB)
        libc.mallopt(TRIM_THRESHOLD, 1024 * MiB)
        libc.mallopt(TOP_PAD, 64 * MiB)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                # What glibc would by itself have come to, once a block of 32 MiB was freed.
                libc.mallopt(TRIM_THRESHOLD, 64 * MiB)
                libc.mallopt(TOP_PAD, 0)
                libc.malloc_trim(0)
