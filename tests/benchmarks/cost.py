"""What training and generating cost, ours and the peers': ratios, each part in one run.

    pip install -e ".[race,eval]"
    python tests/benchmarks/cost.py                    # all of it, about a quarter of an hour
    python tests/benchmarks/cost.py --only scaling     # or one of: training, sampling, scaling

- training: images/s of every racer of race.py, its arithmetic, and the share of what this machine
  reaches in a 3x3 convolution (forward and backward, 64 channels at 16x16, in the arithmetic that
  is fast here); memory; ours compiled, too.
- sampling: seconds for ten pictures at 5 to 100 steps of three samplers, one also with other
  times, and the Fréchet distance of each.
- scaling: cost of a training image against image size and batch size, with fitted exponents.

Writes tests/benchmarks/results/cost.json, where each part says under what it was measured. Nothing
else should run meanwhile.
"""

import argparse
import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

RESULTS = Path(__file__).parent / "results" / "cost.json"
BATCH = 64
OURS = ("aetherfusion", "aetherfusion, compiled")
PEERS = ("diffusers", "denoising-diffusion-pytorch", "smalldiffusion", "one-shot")


def of_training(name: str, seconds: float) -> dict[str, float]:
    """Images/s and GFLOP/s of one racer's training, in this process, and its peak memory."""
    from race import RACERS

    from aetherfusion.data import load_cifar10
    from aetherfusion.utils.hardware import kept_memory

    racer = RACERS[name.partition(",")[0]](load_cifar10())
    if name.endswith("compiled"):
        racer.network.compile()
    labels = torch.arange(8)
    with FlopCounterMode(display=False) as counter:
        racer.forward(torch.randn(8, 3, 32, 32), labels)
    flop = 3 * counter.get_total_flops() / 8  # backward is two more of the same size
    ends: list[float] = []

    # Every racer has one Adam (ours moves matrices by Muon), which steps once for each batch.
    def note_the_time(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
            ends.append(time.perf_counter())

    register_optimizer_step_post_hook(note_the_time)
    with kept_memory():
        racer.learn(15 if name in OURS else 5)  # warm; a compiled one compiles here
        before = len(ends)
        racer.learn(seconds * torch.get_num_threads())
    # The second half: ours begins with a short trial, which is not training.
    late = ends[(before + len(ends)) // 2 :]
    images_per_second = BATCH * (len(late) - 1) / (late[-1] - late[0])
    return {
        "images_per_second": images_per_second,
        "gflop_per_image": flop / 1e9,
        "gflops": images_per_second * flop / 1e9,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def training(seconds: float) -> dict[str, Any]:
    """Every racer in a process of its own, and the convolution that they are compared with."""
    from training_cost import convolution_gflops

    forward, both = (
        convolution_gflops(64, 16, backward=backward, seconds=4) for backward in (False, True)
    )
    rows = {}
    print(f"3x3 convolution: {forward:.0f} GFLOP/s forward, {both:.0f} forward and backward")
    for name in OURS + PEERS:
        command = [sys.executable, __file__, "--racer", name, "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: did not run; {done.stderr.strip().splitlines()[-1]}")
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        row["share"] = row["gflops"] / both
        rows[name] = row
        print(
            f"{name}: {row['images_per_second']:.0f} images/s, {row['gflop_per_image']:.2f} GFLOP "
            f"an image, {row['gflops']:.0f} GFLOP/s ({row['share']:.0%} of the convolution), "
            f"{row['peak_gib']:.1f} GiB",
            flush=True,
        )
    return {"convolution_forward": forward, "convolution_both": both, "racers": rows}


def sampling(num_samples: int) -> dict[str, Any]:
    """Seconds for ten pictures, and the Fréchet distance of many, by number of steps."""
    from aetherfusion import generate_images, load_cifar10, load_pretrained
    from aetherfusion.evaluation import RealPictures, evaluate
    from aetherfusion.sampling import ddim, dpmpp_2m, heun

    real = RealPictures(load_cifar10(train=False), load_cifar10())
    model, rows = load_pretrained(), []
    for sampler, steps, tail in [
        *((dpmpp_2m, steps, 2) for steps in (5, 8, 10, 14, 20, 50, 100)),
        *((dpmpp_2m, steps, 0) for steps in (5, 14, 18)),
        (dpmpp_2m, 14, 1),
        *((heun, steps, 2) for steps in (5, 10)),
        *((ddim, steps, 2) for steps in (10, 20)),
    ]:
        options: Any = {"sampler": sampler, "steps": steps, "tail": tail}
        seconds = min(_timed(lambda o=options: generate_images(model, 10, **o)) for _ in range(3))
        with torch.autocast("cpu", torch.bfloat16):
            images = generate_images(model, num_samples, **options)
        scores = evaluate(images, torch.arange(num_samples) % 10, real)
        row = {
            "sampler": f"{sampler.__name__}, tail {tail}",
            "steps": steps,
            "seconds_for_ten": seconds,
            "num_samples": num_samples,
            "frechet": scores.frechet,
            "frechet_soft": scores.frechet_soft,
            "class_accuracy": scores.class_accuracy,
        }
        rows.append(row)
        print(
            f"{sampler.__name__}, {steps} steps: ten pictures in {seconds:.2f} s; FD "
            f"{scores.frechet:.1f}, FD-soft {scores.frechet_soft:.1f}, class accuracy "
            f"{scores.class_accuracy:.1%} (N = {num_samples})",
            flush=True,
        )
    return {"rows": rows}


def scaling(seconds: float) -> dict[str, Any]:
    """Seconds of a training image by image size and by batch size, with fitted exponents."""
    sizes = {size: _cost_of_an_image(size, BATCH, seconds) for size in (16, 32, 64)}
    batches = {batch: _cost_of_an_image(32, batch, seconds) for batch in (8, 16, 32, 64, 128)}
    side = _exponent({size: cost for size, (cost, _) in sizes.items()})
    flop = _exponent({size: flop for size, (_, flop) in sizes.items()})
    batch = _exponent({batch: cost * batch for batch, (cost, _) in batches.items()})
    print(f"an image of side s costs s^{side:.2f} seconds and s^{flop:.2f} FLOP (16, 32, 64)")
    print(f"a step of batch B costs B^{batch:.2f} seconds (8 to 128)")
    return {
        "seconds_by_size": {size: cost for size, (cost, _) in sizes.items()},
        "seconds_by_batch": {batch: cost for batch, (cost, _) in batches.items()},
        "exponents": {"size": side, "size_flop": flop, "batch": batch},
    }


def _cost_of_an_image(size: int, batch: int, seconds: float) -> tuple[float, float]:
    """(seconds, FLOP) of one image in training, optimizer included."""
    from aetherfusion import DiffusionTransformerUNet, recommended_optimizer, training_steps
    from aetherfusion.utils.hardware import kept_memory

    model = DiffusionTransformerUNet(image_size=size)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, size, size), torch.rand(2), torch.arange(2)).sum().backward()
    images, labels = torch.rand(batch, 3, size, size) * 2 - 1, torch.arange(batch) % 10
    spent, seen, optimizer = 0.0, 0, recommended_optimizer(model)
    loader = [(images, labels)] * 1000
    steps = training_steps(model, loader, nn.MSELoss(), optimizer, num_epochs=10**6)
    with kept_memory(), contextlib.closing(steps):
        for step in steps:
            if step.step > 4:
                spent, seen = spent + step.seconds, seen + batch
            if spent > seconds:
                break
    cost = spent / seen
    print(f"size {size}, batch {batch}: {1 / cost:.0f} images/s", flush=True)
    return cost, counter.get_total_flops() / 2


def _exponent(costs: dict[int, float]) -> float:
    """The slope of log cost over log size, by least squares."""
    x = torch.tensor([math.log(size) for size in costs])
    y = torch.tensor([math.log(cost) for cost in costs.values()])
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measures what is asked for and adds it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=["training", "sampling", "scaling"])
    parser.add_argument("--seconds", type=float, default=30, help="of each timed training")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--racer", help="measure this one's training in this process")
    args = parser.parse_args()
    if args.racer:
        print(json.dumps(of_training(args.racer, args.seconds)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in args.only:
        # Taken before: afterwards the load is our own.
        under = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        under["load"] = os.getloadavg()[0]
        measured = {
            "training": lambda: training(args.seconds),
            "sampling": lambda: sampling(args.num_samples),
            "scaling": lambda: scaling(args.seconds / 5),
        }[part]()
        results[part] = under | measured
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
