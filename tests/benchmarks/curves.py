"""How the pictures get better in a long run: the run that makes the shipped weights, watched.

    python tests/benchmarks/curves.py --epochs 32 --checkpoint-dir runs/long    # trains, or goes on
    python tests/benchmarks/curves.py --score --checkpoint-dir runs/long        # the figure

The same as `aetherfusion train --epochs 32`, which keeps a copy of the averaged model now and
then. Scoring shows pictures of each copy to the judge, and writes
tests/benchmarks/results/curves.json and docs/curves.png.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from aetherfusion import generate_images, load_model, save_model
from aetherfusion.progress import Step
from aetherfusion.recipe import Recipe, follow

ROOT = Path(__file__).parent.parent.parent
RESULTS = Path(__file__).parent / "results" / "curves.json"
EVERY = 781  # steps between two copies: an epoch


def train(args: argparse.Namespace) -> None:
    """Follows the recipe of the command line and keeps copies."""
    import time

    started = time.process_time()

    def keep(step: Step) -> None:
        if step.step % EVERY == 0 or step.step == step.total_steps:
            notes = {
                "step": step.step,
                "cpu_seconds_of_this_process": time.process_time() - started,
            }
            path = args.checkpoint_dir / f"copy-{step.step:06d}.safetensors"
            save_model(step.averaged_model, path, dtype=torch.float16, notes=notes)

    recipe = Recipe(
        data="cifar10",
        num_images=None,
        epochs=args.epochs,
        batch_size=64,
        accumulate=1,
        lr=args.lr,
        seed=args.seed,
        embedding_dim=128,
        num_heads=4,
        depth=4,
        precision=None,
        start_from=args.start_from,
    )
    output = args.checkpoint_dir / "model.safetensors"
    follow(recipe, output, args.checkpoint_dir, callbacks=[keep])


def score(args: argparse.Namespace) -> None:
    """Pictures of every copy, seen by the judge; the figure."""
    from matplotlib.figure import Figure

    from aetherfusion.data import load_cifar10
    from aetherfusion.evaluation import RealPictures, evaluate

    real = RealPictures(load_cifar10(train=False), load_cifar10())
    labels = torch.arange(args.num_samples) % 10
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    known = {row["step"] for row in rows if row["num_samples"] == args.num_samples}
    for path in sorted(args.checkpoint_dir.glob("copy-*.safetensors")):
        step = int(path.stem.partition("-")[2])
        if step in known:
            continue
        with torch.autocast("cpu", torch.bfloat16):
            images = generate_images(load_model(path), args.num_samples)
        found = evaluate(images, labels, real)
        row = {"step": step, "images_seen": 64 * step, "num_samples": args.num_samples}
        for name in ("frechet", "frechet_soft", "recall", "class_accuracy"):
            row[name] = round(getattr(found, name), 4)
        rows.append(row)
        print(row, flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(sorted(rows, key=lambda r: r["step"]), indent=1) + "\n")
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    seen = [row["images_seen"] / 1e6 for row in rows]
    for name, words in [("frechet", "plain"), ("frechet_soft", "softened")]:
        left.plot(seen, [row[name] for row in rows], marker="o", label=words)
    left.set(xlabel="million images seen", ylabel="Fréchet distance", ylim=(0, None))
    left.legend()
    for name, words in [("class_accuracy", "named as asked"), ("recall", "recall")]:
        right.plot(seen, [row[name] for row in rows], marker="o", label=words)
    right.set(xlabel="million images seen", ylim=(0, 1))
    right.legend()
    figure.savefig(ROOT / "docs" / "curves.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--start-from", help="a model file whose weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--checkpoint-dir", type=Path, default=Path("runs/long"))
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--num-samples", type=int, default=1000)
    args = parser.parse_args()
    (score if args.score else train)(args)


if __name__ == "__main__":
    main()
