"""What ten pictures cost.

    python tests/benchmarks/generation_cost.py

Loads the shipped weights and makes ten pictures at the default settings, five times.
"""

import resource
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from aetherfusion import generate_images, load_pretrained


def main() -> None:
    """Measures and prints."""
    started = time.perf_counter()
    model = load_pretrained()
    print(f"threads: {torch.get_num_threads()}")
    print(f"loading: {time.perf_counter() - started:.2f} s")
    seconds = []
    for seed in range(5):
        started = time.perf_counter()
        generate_images(model, num_samples=10, seed=seed)
        seconds.append(time.perf_counter() - started)
    print("ten pictures: " + ", ".join(f"{s:.2f}" for s in seconds) + " s")
    # Kilobytes on Linux, bytes on a Mac.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory: {peak / (1e9 if sys.platform == 'darwin' else 1e6):.2f} GB")
    with FlopCounterMode(display=False) as counter:
        generate_images(model, num_samples=10)
    print(f"arithmetic: {counter.get_total_flops() / 1e9:.0f} GFLOP")


if __name__ == "__main__":
    main()
