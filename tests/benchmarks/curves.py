"""How pictures get better in a run: `aetherfusion train`, watched.

    python tests/benchmarks/curves.py class_time --epochs 8     # trains, or goes on
    python tests/benchmarks/curves.py class_time --score        # shows the copies to the judge
    python tests/benchmarks/curves.py shipped --epochs 12 --seed 1 --start-from first.safetensors

The same as `aetherfusion train` with these options, which keeps a copy of the averaged model after
every epoch in runs/NAME. Scoring shows pictures of each copy to the judge and writes
aetherfusion/lessons/results/NAME.json, which lesson 05 draws.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import torch

from aetherfusion import generate_images, load_model, save_model
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import EPOCHS
from aetherfusion.progress import Step
from aetherfusion.recipe import Recipe, follow

RESULTS = Path(__file__).parents[2] / "aetherfusion" / "lessons" / "results"
SCORES = ("frechet", "frechet_soft", "precision", "recall", "class_accuracy")
POINTS = 150  # of the loss that are kept


def train(args: argparse.Namespace) -> None:
    """Follows the recipe of the command line and keeps copies."""

    def keep(step: Step) -> None:
        if step.step % (step.total_steps // args.epochs) == 0:
            path = args.folder / f"copy-{step.step:06d}.safetensors"
            save_model(step.averaged_model, path, dtype=torch.float16)

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
    follow(recipe, args.folder / "model.safetensors", args.folder, callbacks=[keep])


def score(args: argparse.Namespace) -> None:
    """Pictures of every copy, seen by the judge, beside the loss."""
    from aetherfusion.data import load_cifar10
    from aetherfusion.evaluation import RealPictures, evaluate

    real = RealPictures(load_cifar10(train=False), load_cifar10())
    labels = torch.arange(args.num_samples) % 10
    copies: list[dict[str, Any]] = []
    for path in sorted(args.folder.glob("copy-*.safetensors")):
        with torch.autocast("cpu", torch.bfloat16):
            images = generate_images(load_model(path), args.num_samples)
        found = evaluate(images, labels, real)
        seen = args.images_before + 64 * int(path.stem.partition("-")[2])
        copies.append({"images_seen": seen} | {k: round(getattr(found, k), 4) for k in SCORES})
        print(copies[-1], flush=True)
    history = json.loads((args.folder / "history.json").read_text())
    notes = read_notes(args.folder / "model.safetensors")
    steps = len(history["loss"])
    edges = [round(i * steps / POINTS) for i in range(POINTS + 1)]
    result = {
        "command": notes["command"],
        "images_before": args.images_before,
        "images_seen": notes["images_seen"],
        "cpu_seconds": round(notes["cpu_seconds"]),
        "wall_seconds": round(sum(history["seconds"])),
        "num_samples": args.num_samples,
        "loss": [
            [args.images_before + 64 * b, round(sum(history["loss"][a:b]) / (b - a), 4)]
            for a, b in itertools.pairwise(edges)
        ],
        "copies": copies,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Trains or scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--start-from", help="a model file whose weights to go on from")
    parser.add_argument("--images-before", type=int, default=0, help="that model has seen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--folder", type=Path, help="default: runs/NAME")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--num-samples", type=int, default=1000)
    args = parser.parse_args()
    args.folder = args.folder or Path("runs") / args.name
    (score if args.score else train)(args)


if __name__ == "__main__":
    main()
