"""How good the images of one model are at other settings: scale, interval, number of steps.

    python tests/benchmarks/guidance.py 3.5,0.1,0.55 3,0.1,0.6 2.5,0,1
    python tests/benchmarks/guidance.py 3.5,0.1,0.55,100 3.5,0.1,0.65,14,0 --weights FILE

One row for each SCALE,LOW,HIGH[,STEPS[,TAIL]], with TAIL as in `time_grid` (0 for even times):
images of the ten classes in turn, from the same noise for every row, in bfloat16 where this machine
is fast at it, compared with real ones. STEPS and TAIL that are left out are the model's own. It is
how the defaults and the model card's table were made.
"""

import argparse
from pathlib import Path

import torch

from aetherfusion import generate_images, load_cifar10, load_model, load_pretrained
from aetherfusion.evaluation import RealPictures, evaluate
from aetherfusion.utils.hardware import choose_precision


def settings(text: str) -> tuple[float, float, float, int | None, int | None]:
    """(scale, low, high, steps, tail) of "3,0.1,0.6,14,2"; None for the last two if left out."""
    scale, low, high, *rest = text.split(",")
    steps, tail = [*map(int, rest), None, None][:2]
    return float(scale), float(low), float(high), steps, tail


def main() -> None:
    """Prints a row for each setting, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "settings", nargs="+", type=settings, metavar="SCALE,LOW,HIGH[,STEPS[,TAIL]]"
    )
    parser.add_argument("--weights", type=Path, help="default: the shipped ones")
    parser.add_argument("--num-samples", type=int, default=2000)
    args = parser.parse_args()
    model = load_model(args.weights) if args.weights else load_pretrained()
    real = RealPictures(load_cifar10(train=False), load_cifar10())
    fast = choose_precision("cpu").precision == "bf16"
    print(f"{args.num_samples:,} pictures each, sampled in {'bfloat16' if fast else 'float32'}\n")
    print("| scale, times, steps, tail | FD | FD-soft | recall | named as asked | copy ratio |")
    print("|---|---|---|---|---|---|")
    for scale, low, high, steps, tail in args.settings:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            images = generate_images(
                model,
                args.num_samples,
                guidance_scale=scale,
                guidance_interval=(low, high),
                steps=steps,
                tail=tail,
            )
        found = evaluate(images, torch.arange(args.num_samples) % 10, real)
        print(
            f"| {scale:g}, {low:g} to {high:g}, {steps}, {tail} | {found.frechet:.1f} | "
            f"{found.frechet_soft:.1f} | {found.recall:.3f} | {found.class_accuracy:.1%} | "
            f"{found.copy_ratio:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
