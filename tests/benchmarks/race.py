"""A race: ours against others, at equal CPU time, data and threads.

    pip install -e ".[race,eval]"
    python tests/benchmarks/race.py --cpu-seconds 860 --threads 1 --num-samples 2000 --output race
    python tests/benchmarks/race.py --score --output race     # the table again, without training

Each racer trains in a process of its own for so much CPU time (`time.process_time`: all threads,
this process alone); imports, reading the data and building the network are not counted, anything
else is. Then it makes pictures with its own sampler, which is timed but not limited. Everything
is kept in race/NAME.npz, and a racer whose file is there does not run again. CIFAR-10 is looked
for in $AETHERFUSION_DATA. See racers.py and peers.py for who runs, scoring.py for the table.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import racers
import torch
import torch._dynamo  # the first step of an optimizer imports it, and imports are not counted
from racers import BATCH, Racer, low_precision
from scoring import score
from torch.utils.flop_counter import FlopCounterMode

from aetherfusion import ImageTensors, load_cifar10
from aetherfusion.data import to_uint8
from aetherfusion.utils.hardware import kept_memory

RACERS: dict[str, Callable[..., Racer]] = {
    "aetherfusion": racers.aetherfusion,
    "diffusers": peers.diffusers,
    "denoising-diffusion-pytorch": peers.denoising_diffusion_pytorch,
    "smalldiffusion": peers.smalldiffusion,
    "one-shot": racers.one_shot,
}


@torch.no_grad()
def arithmetic(racer: Racer) -> tuple[float, float]:
    """(GFLOP of the network on one image, GFLOP of making one picture), counted by torch."""
    labels = torch.zeros(1, dtype=torch.long)
    with low_precision(), FlopCounterMode(display=False) as one_pass:
        racer.forward(torch.randn(1, 3, 32, 32), labels)
    with low_precision(), FlopCounterMode(display=False) as pictures:
        racer.sample(labels)
    return one_pass.get_total_flops() / 1e9, pictures.get_total_flops() / 1e9


def run(
    name: str,
    data: ImageTensors,
    *,
    cpu_seconds: float,
    num_samples: int,
    output: Path,
    seed: int = 0,
    **sizes: Any,
) -> None:
    """Trains one racer, lets it make pictures of the classes in turn, and keeps what it did."""
    torch.manual_seed(seed)
    racer = RACERS[name](data, **sizes)
    with kept_memory():
        started = time.process_time()
        losses = racer.learn(cpu_seconds)
        spent = time.process_time() - started
        print(f"{name}: {len(losses)} steps in {spent:.1f} CPU-seconds", flush=True)
        racer.network.eval()
        labels = torch.arange(num_samples) % 10
        started = time.process_time()
        with torch.no_grad(), low_precision():
            images = racer.sample(labels)
        sampling = time.process_time() - started
    one_pass, picture = arithmetic(racer)
    output.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        output / f"{name}.npz",
        images=to_uint8(images).numpy(),  # (N, 3, 32, 32)
        labels=labels.numpy(),
        losses=np.array(losses),
        name=name,
        setup=racer.setup,
        sampler=racer.sampler,
        budget=cpu_seconds,
        threads=torch.get_num_threads(),
        cpu_seconds=spent,
        images_seen=BATCH * len(losses),
        images_per_second=BATCH * len(losses) / spent,
        parameters=sum(p.numel() for p in racer.network.parameters()),
        gflop=one_pass,
        evaluations=round(picture / one_pass),  # of the network, for one picture
        sampling_seconds=sampling,
    )


def main() -> None:
    """Lets everybody run, one after the other, and scores them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cpu-seconds", type=float, default=860, help="for training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--num-samples", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path("race"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=RACERS, default=list(RACERS), metavar="NAME")
    parser.add_argument("--run", choices=RACERS, help="let this one run, in this process")
    parser.add_argument("--score", action="store_true", help="only make the table")
    args = parser.parse_args()
    if args.run:
        torch.set_num_threads(args.threads)
        run(
            args.run,
            load_cifar10(),
            cpu_seconds=args.cpu_seconds,
            num_samples=args.num_samples,
            output=args.output,
            seed=args.seed,
        )
        return
    # smalldiffusion would take a GPU where there is one, and the race is about CPU time.
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(args.threads),
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_CPU": "true",
    }
    for name in [] if args.score else args.only:
        if (args.output / f"{name}.npz").exists():
            print(f"{name}: has run already, {args.output / name}.npz is there")
            continue
        command = [sys.executable, __file__, "--run", name, "--output", str(args.output)]
        for option in ("cpu_seconds", "threads", "num_samples", "seed"):
            command += ["--" + option.replace("_", "-"), str(getattr(args, option))]
        if subprocess.run(command, env=environment).returncode:
            print(f'{name}: did not finish; the peers come with: pip install -e ".[race,eval]"')
    score(args.output)


if __name__ == "__main__":
    main()
